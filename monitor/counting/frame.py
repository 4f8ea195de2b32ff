"""A frame: what one chunk of a source partition holds for one partition of the journal. The journal is made of frames and is the truth.

A frame names its chunk by (topic, partition, start) and says where it ends (`upto`, outside). An empty one, start = upto, only says that
everything before `start` is committed. Encoded as a MessagePack array with a version in front. The counts are left encoded until
somebody asks for them: a frame waits for what seals it, and many are dropped.
"""

from __future__ import annotations

import operator

import msgspec

VERSION = 1
Row = list[int]
"""Counts of a minute, by class in the order of `request.CLASSES`."""


class Tally(msgspec.Struct, array_like=True, gc=False):
    """Counts of one tenant at one portal. `minutes`: UTC epoch minute to `Row`; `codes`: unclassified ones by code and minute."""

    minutes: dict[int, Row] = {}
    codes: dict[str, dict[int, int]] = {}


Tallies = dict[str, dict[str, Tally]]
"""Counts by tenant and portal."""


class Decision(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A person's decision on its way through the journal.

    `kind` is the topic's name in the settings ("contracts"), `offset` where it stood there, `tenant` may be "*", `value` its JSON.
    """

    kind: str
    offset: int
    tenant: str
    value: bytes


class Frame(msgspec.Struct, array_like=True, gc=False, kw_only=True):
    """See the module. `at_ms`: the worker's clock; `complete_ms`: all that the source held up to here stands before `start`
    (both epoch milliseconds; 0 when the worker has just taken over and does not know).

    `users`: samples (`counting.users`) by tenant and UTC epoch minute; empty when users are not counted.
    `partitions` is how many the topic has; `read` and `refused` count the records of the whole chunk; `packed` are the tallies.
    """

    version: int = VERSION
    topic: str
    partition: int
    partitions: int
    start: int
    upto: int
    at_ms: int
    complete_ms: int
    read: int = 0
    refused: int = 0
    packed: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"\x80"), name="tallies")
    decisions: list[Decision] = []
    users: dict[str, dict[int, list[int]]] = {}

    def tallies(self) -> Tallies:
        """The counts; ValueError when they are none."""
        try:
            return _unpack(self.packed)
        except msgspec.MsgspecError as error:
            raise ValueError(
                f"{self.topic}-{self.partition} from {self.start}: expected a frame's counts: {error}"
            ) from None


def pack(tallies: Tallies) -> msgspec.Raw:
    """Counts as a frame holds them."""
    return msgspec.Raw(encode(tallies))


def add(whole: Tallies, more: Tallies) -> None:
    """Add counts to `whole`, which takes over what it has not had."""
    for tenant, portals in more.items():
        mine = whole.setdefault(tenant, portals)
        if mine is not portals:
            for portal, tally in portals.items():
                known = mine.setdefault(portal, tally)
                if known is not tally:
                    _add_tally(known, tally)


def _add_tally(whole: Tally, more: Tally) -> None:
    minutes = whole.minutes
    for minute, row in more.minutes.items():
        mine = minutes.get(minute)
        minutes[minute] = row if mine is None else list(map(operator.add, mine, row))
    for code, by_minute in more.codes.items():
        known = whole.codes.setdefault(code, by_minute)
        if known is not by_minute:
            for minute, n in by_minute.items():
                known[minute] = known.get(minute, 0) + n


class _Unread(msgspec.Struct, array_like=True, gc=False, kw_only=True):
    """A frame whose counts stay as bytes by tenant, and its decisions too. Its fields are those of `Frame`."""

    version: int
    topic: str
    partition: int
    partitions: int
    start: int
    upto: int
    at_ms: int
    complete_ms: int
    read: int
    refused: int
    packed: dict[str, msgspec.Raw]
    decisions: msgspec.Raw
    users: dict[str, msgspec.Raw] = {}


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode
_decode_unread = msgspec.msgpack.Decoder(_Unread).decode
_decode_samples = msgspec.msgpack.Decoder(dict[int, list[int]]).decode
_decode_portals = msgspec.msgpack.Decoder(dict[str, Tally]).decode
_unpack = msgspec.msgpack.Decoder(Tallies).decode


def decode(data: bytes) -> Frame:
    """Bytes of a journal record to a `Frame`; ValueError when it is none of ours or from a version that is not known here."""
    try:
        frame = _decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"expected a frame of version {VERSION}, got {data[:40]!r}: {error}") from None
    return _known(frame, frame.version)


def decode_of(data: bytes, tenant: str) -> Frame:
    """As `decode`, with the counts of one tenant alone and without decisions: many times as fast where there are many tenants."""
    try:
        unread = _decode_unread(data)
        mine = unread.packed.get(tenant)
        tallies = {} if mine is None else {tenant: _decode_portals(mine)}
        met = unread.users.get(tenant)
        users = {} if met is None else {tenant: _decode_samples(met)}
    except msgspec.MsgspecError as error:
        raise ValueError(f"expected a frame of version {VERSION}, got {data[:40]!r}: {error}") from None
    frame = Frame(
        topic=unread.topic,
        partition=unread.partition,
        partitions=unread.partitions,
        start=unread.start,
        upto=unread.upto,
        at_ms=unread.at_ms,
        complete_ms=unread.complete_ms,
        read=unread.read,
        refused=unread.refused,
        packed=pack(tallies),
        users=users,
    )
    return _known(frame, unread.version)


def _known(frame: Frame, version: int) -> Frame:
    if version != VERSION:
        raise ValueError(f"expected a frame of version {VERSION}, got version {version}: run the newer monitor")
    return frame
