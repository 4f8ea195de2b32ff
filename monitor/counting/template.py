"""Records of one form, read by columns: most producers write the same keys in the same order. All others are left to the decoder.

A `Template` is made of one record that the decoder has accepted. It takes a record only when all of this holds:
- The record is printable ASCII without a backslash, so a quote is always the begin or the end of a string, and every string is in order.
- It has as many quotes as the sample, and what stands between the varying parts of the sample stands between its own, byte by byte: keys,
  punctuation, white space, true, false and null.
- What varies is: the content of strings; numbers of up to 16 characters (digits, no zero before another one, perhaps a point between two);
  the *runs*.
- A run is a stretch of fields that a request is counted by, from the first one's key to the end of the last one's value. Here it is only
  known to hold as many quotes as the sample's; `read_runs` tells what it says, once for all records with the same one.
- `time` is a string as long as the sample's that ends in seconds, perhaps a fraction, and Z.

So whatever a template takes, and whose runs `read_runs` reads, the decoder takes as well, and reads the same in it: the other fields are
those of the sample with other strings and numbers of the same type, and no field stands twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.counting import request as rq
from monitor.counting import times
from monitor.counting.kernel import AT_ONCE, LABELS, NOTHING, NUMBER, RUN, STRING, TIME, USER, Form, Known, take
from monitor.counting.records import Records
from monitor.counting.times import MINUTE_CHARACTERS
from monitor.counting.vectors import HALF

Places = NDArray[np.int64]

Said = tuple[str, str, str, str | None, str | None]
"""What a record says besides its time, as it says it: tenant, portal, outcome, fault, code."""

QUOTES = 4
"""Of a field whose value is a string."""
COUNTED_BY = frozenset({"tenant", "portal", "outcome", "fault", "code"})
TEMPLATES = 8
"""How many forms a `Templates` knows."""
PATIENCE = 1000
"""After this many records that make no new one, no more are tried."""

_FIELD = re.compile(
    rb'(?P<key>"(?P<name>[^"\\]*)"[ ]*:[ ]*)'
    rb'(?:"(?P<string>[^"\\]*)"|(?P<number>(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)|(?P<literal>true|false|null))'
    rb"(?P<after>[ ]*(?:,[ ]*|\}\Z))"
)
_OPENING = re.compile(rb"\{[ ]*")
_PRINTABLE = range(0x20, 0x7F)


class _Runs(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    tenant: str
    portal: str
    outcome: Literal["success", "failure"]
    fault: Literal["server", "client", "external"] | None = None
    code: str | None = None


_decode_runs = msgspec.json.Decoder(list[_Runs]).decode


def read_runs(texts: Sequence[bytes]) -> list[Said | None]:
    """What each text of runs says, joined by commas; None when it holds anything but the fields a request is counted by, each of its type.

    Together they are as many objects as there are texts only if each is one: none may end in an object that goes on, for nothing in it may hold
    another object.
    """
    try:
        said = _decode_runs(b"[{" + b"},{".join(texts) + b"}]")
    except rq.DECODE_ERRORS:
        said = []
    if len(said) == len(texts):
        return [(each.tenant, each.portal, each.outcome, each.fault, each.code) for each in said]
    return [None] if len(texts) == 1 else [found for text in texts for found in read_runs([text])]


class Matched(NamedTuple):
    """Records that a template takes, shape (n,): their `places`, the `texts` they say as numbers, and the `minutes` as numbers of `labels`.

    `new`: texts that were not met before; the first one's number is `known`. `users`: if they are asked for and named.
    """

    places: Places
    texts: Places
    minutes: Places
    labels: list[str]
    template: int
    known: int
    new: list[bytes]
    users: list[bytes] | None


@dataclass(slots=True)
class Template:
    """See the module."""

    steps: list[tuple[int, int, bytes]] = field(default_factory=list)
    """What varies (see `kernel`), how many quotes it takes to its end, and what stands behind it."""
    runs: int = 0
    """How many runs vary."""
    always: list[bytes] = field(default_factory=list)
    """Fields that a request is counted by and that do not vary."""
    width: int = 0
    """Characters of the time."""

    @classmethod
    def of(cls, value: bytes) -> Template | None:
        """The template of a record that the decoder accepts; None when its form is not one that can be read so."""
        opening = _OPENING.match(value)
        if opening is None or b"\\" in value or not all(byte in _PRINTABLE for byte in value):
            return None
        made = cls()
        names = set()
        at = opening.end()
        varies = NOTHING, 0
        # What has stood since the last place that varied.
        constant = opening.group()
        in_run = False
        while at < len(value):
            found = _FIELD.match(value, at)
            if found is None or found["name"] in names:
                return None
            names.add(found["name"])
            at = found.end()
            key, after, name = found["key"], found["after"], found["name"].decode()
            if name in COUNTED_BY and found["string"] is not None:
                if in_run:
                    varies = RUN, varies[1] + QUOTES
                else:
                    made.steps.append((*varies, constant))
                    made.runs += 1
                    varies = RUN, QUOTES
                constant, in_run = after, True
                continue
            in_run = False
            constant += key
            if found["string"] is not None:
                made.steps.append((*varies, constant + b'"'))
                varies = {"time": TIME, "user": USER}.get(name, STRING), 1
                made.width = len(found["string"]) if name == "time" else made.width
                constant = b'"' + after
            elif found["number"] is not None:
                made.steps.append((*varies, constant))
                varies = NUMBER, 0
                constant = after
            else:
                constant += found["literal"] + after
                if name in COUNTED_BY:
                    made.always.append(key + found["literal"])
        made.steps.append((*varies, constant))
        return made if times.form(made.width) is not None else None

    @property
    def names_users(self) -> bool:
        """Whether users vary in it."""
        return any(kind == USER for kind, _, _ in self.steps)

    def form(self) -> Form:
        """The same for `kernel`."""
        rows, text = [], b""
        for kind, quotes, constant in self.steps:
            rows.append((kind, quotes, len(text), len(constant)))
            text += constant
        lowest, spans = times.form(self.width) or (np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.uint8))
        steps, padded = np.array(rows, dtype=np.uint64), np.frombuffer(text + bytes(HALF), dtype=np.uint8)
        return Form(steps, padded, self.width, lowest, spans)

    def said(self, runs: bytes) -> bytes:
        """The text of runs that vary, joined by commas, with what does not."""
        return b",".join([*self.always, runs])


class _Matcher:
    """A template with what it has met."""

    def __init__(self, template: Template, number: int) -> None:
        self.template = template
        self.number = number
        self.taken = 0
        """How many records it took."""
        self.form = template.form()
        self.runs = np.empty((AT_ONCE, template.runs, 2), dtype=np.uint64)
        self.hashes = np.empty(AT_ONCE, dtype=np.uint64)
        self.known = Known.empty(1 << 10, 1 << 16)

    def take(self, records: Records, places: Places, *, with_users: bool) -> tuple[Matched, Places]:
        """Those of the records at `places` that have the form, and the places of the others."""
        text = np.frombuffer(records.buffer, dtype=np.uint8)
        n = len(places)
        self.known = self.known.with_room(n, len(text) + n)
        before = int(self.known.size[0])
        mine, said, minutes, left = np.empty((4, n), dtype=np.int64)
        label_at = np.empty(LABELS, dtype=np.int64)
        users = np.empty((n if with_users and self.template.names_users else 0, 2), dtype=np.uint64)
        taken, labels = take(
            text, records.starts.view(np.uint64), records.lengths, places, rq.MAX_BYTES, self.form, self.known, self.runs, self.hashes,
            (mine, said, minutes), left, label_at, users,
        )  # fmt: skip
        self.taken += taken
        named = [bytes(records.buffer[at : at + MINUTE_CHARACTERS]).decode() for at in label_at[:labels].tolist()]
        new = [self.template.said(each) for each in self.known.texts(before)] if self.known.size[0] > before else []
        who = [bytes(records.buffer[begin:end]) for begin, end in users[:taken].tolist()] if len(users) else None
        matched = Matched(mine[:taken], said[:taken], minutes[:taken], named, self.number, before, new, who)
        return matched, left[: n - taken]


class Templates:
    """The forms that have been met, and the texts."""

    def __init__(self) -> None:
        self._made: list[_Matcher] = []
        self._failed = 0

    def match(self, records: Records, *, with_users: bool = False) -> tuple[list[Matched], list[int]]:
        """What templates take of records, and the places of the others."""
        left = np.arange(len(records))
        matched: list[Matched] = []
        self._made.sort(key=lambda each: -each.taken)
        tried = 0
        while len(left) and (tried < len(self._made) or self._learn(records[int(left[0])])):
            found, left = self._made[tried].take(records, left, with_users=with_users)
            tried += 1
            if len(found.places):
                matched.append(found)
        return matched, left.tolist()

    def forget(self) -> None:
        """Forget the texts that have been met."""
        for each in self._made:
            each.known = Known.empty(1 << 10, 1 << 16)

    def _learn(self, value: bytes | None) -> bool:
        """Whether a template could be made of a record that none takes."""
        if value is None or len(self._made) >= TEMPLATES or self._failed >= PATIENCE:
            return False
        made = None
        with suppress(*rq.DECODE_ERRORS):
            rq.decode(value)
            made = Template.of(value)
        if made is None or any(made == each.template for each in self._made):
            self._failed += 1
            return False
        self._made.append(_Matcher(made, len(self._made)))
        return True
