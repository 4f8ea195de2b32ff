"""A frame: what one chunk of a source partition holds for one partition of the journal. The journal is made of frames and is the truth.

A frame names its chunk by (topic, partition, start) and says where it ends (`upto`, outside). An empty one, start = upto, only says that
everything before `start` is committed. Encoded as a MessagePack array with a version in front. The counts are left encoded until
somebody asks for them: a frame waits for what seals it, and many are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.counting.request import CLASSES

Ints = NDArray[np.int64]
VERSION = 2
Row = list[int]
"""Counts of a minute, by class in the order of `request.CLASSES`."""


class Tally(msgspec.Struct, array_like=True, gc=False):
    """Counts of one tenant at one portal. `minutes`: UTC epoch minute to `Row`; `codes`: unclassified ones by code and minute."""

    minutes: dict[int, Row] = {}
    codes: dict[str, dict[int, int]] = {}


Tallies = dict[str, dict[str, Tally]]
"""Counts by tenant and portal."""
Codes = dict[str, dict[str, dict[str, dict[int, int]]]]
"""Unclassified failures by tenant, portal, code and UTC epoch minute."""


class Columns(msgspec.Struct, array_like=True, gc=False):
    """Counts in rows, one for each tenant, portal and minute, kept as columns of little-endian integers.

    `portals`: by tenant. As they stand there the portals have places, from 0 on; rows stand in the order of places. `many`: how many rows
    each place has (4 bytes). `minutes`: UTC epoch minutes (4 bytes), in order within a place. `counts`: a column for each class (see `narrow`).
    """

    portals: dict[str, list[str]] = {}
    many: bytes = b""
    minutes: bytes = b""
    counts: list[bytes] = []
    codes: Codes = {}

    @property
    def tenants(self) -> Iterable[str]:
        """Who has rows."""
        return self.portals.keys()

    @property
    def at(self) -> NDArray[np.uint32]:
        """The UTC epoch minute of each row."""
        return np.frombuffer(self.minutes, dtype="<u4")

    def table(self) -> Ints:
        """The counts, shape (rows, classes)."""
        rows = len(self.minutes) // 4
        table = np.zeros((rows, len(CLASSES)), dtype=np.int64)
        for index, column in enumerate(self.counts):
            if column:
                table[:, index] = widen(column, rows)
        return table

    def check(self) -> None:
        """ValueError when the columns do not fit together."""
        rows, places = len(self.minutes) // 4, sum(map(len, self.portals.values()))
        wide = [0, *(rows * width for width in (1, 2, 4, 8))]
        if (
            len(self.many) != 4 * places
            or len(self.minutes) != 4 * int(np.frombuffer(self.many, dtype="<u4").sum())
            or len(self.counts) != (len(CLASSES) if rows else 0)
            or any(len(column) not in wide for column in self.counts)
        ):
            raise ValueError(f"columns of {rows} rows and {places} portals that do not fit together")


def narrow(column: NDArray[np.signedinteger[Any] | np.unsignedinteger[Any]]) -> bytes:
    """Counts (n,) as integers of 1, 2, 4 or 8 bytes, whatever the largest needs; nothing when all are 0."""
    largest = int(column.max(initial=0))
    if not largest:
        return b""
    width = next(width for width in (1, 2, 4, 8) if largest < 1 << 8 * width)
    return column.astype(f"<u{width}").tobytes()


def widen(column: bytes, rows: int) -> NDArray[np.unsignedinteger[Any]]:
    """The counts that `narrow` wrote, of which there are some; ValueError when they are not as many as `rows`."""
    if len(column) not in (rows, 2 * rows, 4 * rows, 8 * rows):
        raise ValueError(f"expected {rows} counts, got {len(column)} bytes")
    return np.frombuffer(column, dtype=f"<u{len(column) // rows}")


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
    `partitions` is how many the topic has; `read` and `refused` count the records of the whole chunk; `packed` are the counts.
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
    packed: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"\x90"), name="counts")
    decisions: list[Decision] = []
    users: dict[str, dict[int, list[int]]] = {}

    def columns(self) -> Columns:
        """The counts; ValueError when they are none."""
        try:
            found = _unpack(self.packed)
            found.check()
        except ValueError as error:
            raise ValueError(
                f"{self.topic}-{self.partition} from {self.start}: expected a frame's counts: {error}"
            ) from None
        return found


def pack(counts: Columns) -> msgspec.Raw:
    """Counts as a frame holds them."""
    return msgspec.Raw(encode(counts))


def add_up(parts: Sequence[Columns]) -> Tallies:
    """The counts of all parts together, minutes in order."""
    places: dict[tuple[str, str], int] = {}
    whose: list[Ints] = []
    for part in parts:
        mine = [
            places.setdefault((tenant, portal), len(places))
            for tenant, names in part.portals.items()
            for portal in names
        ]
        whose.append(np.repeat(np.array(mine, dtype=np.int64), np.frombuffer(part.many, dtype="<u4")))
    keys = np.concatenate([own << 32 | part.at for own, part in zip(whose, parts, strict=True)])
    table = np.concatenate([part.table() for part in parts])
    if len(parts) > 1:
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.diff(keys, prepend=-1))
        keys, table = keys[begins], np.add.reduceat(table[order], begins) if len(keys) else table
    ends = np.searchsorted(keys, np.arange(1, len(places) + 1) << 32).tolist()
    minutes, rows = (keys & 0xFFFFFFFF).tolist(), table.tolist()
    made: Tallies = {}
    begin = 0
    for (tenant, portal), end in zip(places, ends, strict=True):
        made.setdefault(tenant, {})[portal] = Tally(dict(zip(minutes[begin:end], rows[begin:end], strict=True)), {})
        begin = end
    for part in parts:
        for tenant, coded in part.codes.items():
            for portal, codes in coded.items():
                for code, by_minute in codes.items():
                    known = made[tenant][portal].codes.setdefault(code, {})
                    for minute, n in by_minute.items():
                        known[minute] = known.get(minute, 0) + n
    return made


class _Unread(msgspec.Struct, array_like=True, gc=False, kw_only=True):
    """A frame whose decisions stay as bytes, and its users by tenant. Its fields are those of `Frame`."""

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
    packed: Columns
    decisions: msgspec.Raw
    users: dict[str, msgspec.Raw] = {}


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode
_decode_unread = msgspec.msgpack.Decoder(_Unread).decode
_decode_samples = msgspec.msgpack.Decoder(dict[int, list[int]]).decode
_unpack = msgspec.msgpack.Decoder(Columns).decode


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
        unread.packed.check()
        met = unread.users.get(tenant)
        users = {} if met is None else {tenant: _decode_samples(met)}
    except ValueError as error:
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
        packed=pack(_of(unread.packed, tenant)),
        users=users,
    )
    return _known(frame, unread.version)


def _of(whole: Columns, tenant: str) -> Columns:
    """The rows of one tenant."""
    if tenant not in whole.portals:
        return Columns()
    place = 0
    for name, portals in whole.portals.items():
        if name == tenant:
            break
        place += len(portals)
    upto = place + len(whole.portals[tenant])
    many = np.frombuffer(whole.many, dtype="<u4")
    begin, end = int(many[:place].sum()), int(many[:upto].sum())
    return Columns(
        {tenant: whole.portals[tenant]},
        whole.many[4 * place : 4 * upto],
        whole.minutes[4 * begin : 4 * end],
        [narrow(column) for column in whole.table()[begin:end].T],
        {tenant: whole.codes[tenant]} if tenant in whole.codes else {},
    )


def _known(frame: Frame, version: int) -> Frame:
    if version != VERSION:
        raise ValueError(f"expected a frame of version {VERSION}, got version {version}: run the monitor that wrote it")
    return frame
