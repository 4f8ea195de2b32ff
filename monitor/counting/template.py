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
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import repeat
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.counting import request as rq
from monitor.counting import times
from monitor.counting.records import Records

Places = NDArray[np.int64]
Bytes = NDArray[np.uint8]

Said = tuple[str, str, str, str | None, str | None]
"""What a record says besides its time, as it says it: tenant, portal, outcome, fault, code."""

COUNTED_BY = frozenset({"tenant", "portal", "outcome", "fault", "code"})
TEMPLATES = 8
"""How many forms a `Templates` knows."""
PATIENCE = 1000
"""After this many records that make no new one, no more are tried."""
_DIGITS = 16
"""Longest number that is taken, in characters."""

_FIELD = re.compile(
    rb'(?P<key>"(?P<name>[^"\\]*)"[ ]*:[ ]*)'
    rb'(?:"(?P<string>[^"\\]*)"|(?P<number>(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)|(?P<literal>true|false|null))'
    rb"(?P<after>[ ]*(?:,[ ]*|\}\Z))"
)
_OPENING = re.compile(rb"\{[ ]*")
_QUOTE, _BACKSLASH = b'"\\'
_ZERO = np.uint8(ord("0"))
_POINT = np.uint8((ord(".") - ord("0")) % 256)
"""A decimal point less a zero."""
START, END = -1, -2
_PRINTABLE = range(0x20, 0x7F)


class _Runs(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    tenant: str
    portal: str
    outcome: Literal["success", "failure"]
    fault: Literal["server", "client", "external"] | None = None
    code: str | None = None


_decode_runs = msgspec.json.Decoder(_Runs).decode


def read_runs(text: bytes) -> Said | None:
    """What runs say, joined by commas; None when they hold anything but the fields a request is counted by, each of its type."""
    try:
        said = _decode_runs(b"{" + text + b"}")
    except rq.DECODE_ERRORS:
        return None
    return said.tenant, said.portal, said.outcome, said.fault, said.code


class _Scratch:
    """Arrays that are used again for each page: fresh memory would cost more than what is done with it."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, dtype=np.uint8)
        self._flags = np.empty(0, dtype=np.bool_)

    def bytes(self, size: int) -> Bytes:
        """At least that many, with any content."""
        if len(self._bytes) < size:
            self._bytes = np.empty(2 * size, dtype=np.uint8)
        return self._bytes[:size]

    def flags(self, size: int) -> NDArray[np.bool_]:
        """Likewise."""
        if len(self._flags) < size:
            self._flags = np.empty(2 * size, dtype=np.bool_)
        return self._flags[:size]


class Page:
    """Records with the places of their quotes; `fit` are those of printable ASCII without a backslash.

    Shape (n,): `starts` and `ends` in `text`; of a record's quotes the `first` one's place in `quotes`, and their `count`.
    """

    def __init__(self, records: Records, scratch: _Scratch) -> None:
        begin, end = int(records.starts[0]), int(records.starts[-1] + max(0, records.lengths[-1]))
        self.text: Bytes = np.frombuffer(records.buffer, dtype=np.uint8)[begin:end]
        self.bytes = bytes(self.text)
        self.starts = records.starts - begin
        self.ends = self.starts + np.maximum(records.lengths, 0)
        self.fit = self._fit(scratch)
        # Between two records there are line ends alone.
        self.quotes = np.flatnonzero(np.equal(self.text, _QUOTE, out=scratch.flags(len(self.text))))
        self.first = np.searchsorted(self.quotes, self.starts)
        self.count = np.diff(self.first, append=len(self.quotes))

    def _fit(self, scratch: _Scratch) -> NDArray[np.bool_]:
        size = len(self.text)
        shifted = np.subtract(self.text, np.uint8(_PRINTABLE.start), out=scratch.bytes(size))
        odd = np.greater_equal(shifted, len(_PRINTABLE), out=scratch.flags(size))
        # Line ends are not printable.
        between = size - int((self.ends - self.starts).sum())
        if np.count_nonzero(odd) == between and _BACKSLASH not in self.bytes:
            return np.ones(len(self.starts), dtype=np.bool_)
        where = np.flatnonzero(odd | (self.text == _BACKSLASH))
        fit: NDArray[np.bool_] = np.searchsorted(where, self.ends) == np.searchsorted(where, self.starts)
        return fit

    def windows(self, at: Places, width: int) -> NDArray[np.bytes_]:
        """The `width` bytes from each of these places; what begins too near the end is another's."""
        all_of_them: NDArray[np.bytes_] = np.ndarray(
            max(0, len(self.text) - width + 1), dtype=f"S{width}", buffer=self.bytes, strides=(1,)
        )
        return all_of_them[np.minimum(at, len(all_of_them) - 1)]


class Matched(NamedTuple):
    """Records that a template takes: their places, the labels of their times (see `times`), their runs, and their users if they name any."""

    places: Places
    labels: NDArray[np.bytes_]
    texts: list[bytes]
    users: list[bytes] | None


@dataclass(slots=True)
class Template:
    """See the module. A place is told by a quote's number in the record, and how far from it."""

    quotes: int = 0
    time: tuple[int, int] | None = None
    """The quote before the time, and how many characters it has."""
    head: bytes = b""
    """What stands before the first place that varies."""
    fixed: list[tuple[int, int, bytes]] = field(default_factory=list)
    """What stands at a quote plus an offset."""
    tail: tuple[int, int, bytes] | None = None
    """Likewise, from there to the end; None when the last value is a number."""
    ending: bytes = b""
    """What stands at the end."""
    numbers: list[tuple[int, int, int, int]] = field(default_factory=list)
    """From a quote plus an offset to a quote (`END`: the record's end) plus an offset."""
    runs: list[tuple[int, int] | bytes] = field(default_factory=list)
    """From a quote to another, or what always stands there."""
    user: int | None = None
    """The quote before the user."""

    @classmethod
    def of(cls, value: bytes) -> Template | None:
        """The template of a record that the decoder accepts; None when its form is not one that can be read so."""
        opening = _OPENING.match(value)
        if opening is None or b"\\" in value or not all(byte in _PRINTABLE for byte in value):
            return None
        made = cls()
        names = set()
        at = opening.end()
        # What has stood since the last place that varied, and where that begins.
        anchor, offset, constant = START, 0, opening.group()
        in_run = False
        while at < len(value):
            found = _FIELD.match(value, at)
            if found is None or found["name"] in names:
                return None
            names.add(found["name"])
            at = found.end()
            key, after, name = found["key"], found["after"], found["name"].decode()
            first = made.quotes
            if name in COUNTED_BY and found["string"] is not None:
                made.quotes += 4
                if in_run:
                    made.runs[-1] = (made.runs[-1][0], first + 3)
                else:
                    made._fix(anchor, offset, constant + b'"')
                    made.runs.append((first, first + 3))
                anchor, offset, constant, in_run = first + 3, 0, b'"' + after, True
                continue
            in_run = False
            constant += key
            made.quotes += 2
            if found["string"] is not None:
                made._fix(anchor, offset, constant + b'"')
                made.quotes += 2
                if name == "time":
                    made.time = (first + 2, len(found["string"]))
                elif name == "user":
                    made.user = first + 2
                anchor, offset, constant = first + 3, 0, b'"' + after
            elif found["number"] is not None:
                made._fix(anchor, offset, constant)
                anchor, offset, constant = END if at == len(value) else made.quotes, -len(after), after
                made.numbers.append((first + 1, len(key) - key.rindex(b'"'), anchor, offset))
            else:
                constant += found["literal"] + after
                if name in COUNTED_BY:
                    made.runs.append(key + found["literal"])
        if at != len(value) or made.time is None:
            return None
        if anchor == END:
            made.ending = constant
        else:
            made.tail = (anchor, offset, constant)
        return made

    def _fix(self, anchor: int, offset: int, constant: bytes) -> None:
        if anchor == START:
            self.head = constant
        else:
            self.fixed.append((anchor, offset, constant))

    def match(self, page: Page, places: Places, *, with_users: bool) -> Matched:
        """Those of the records at `places`, each with as many quotes as the sample, that this template takes."""
        first, ends = page.first[places], page.ends[places]

        def quote(number: int) -> Places:
            return page.quotes[first + number]

        good = page.windows(page.starts[places], len(self.head)) == self.head
        for number, offset, constant in self.fixed:
            good &= page.windows(quote(number) + offset, len(constant)) == constant
        if self.tail is None:
            good &= page.windows(ends - len(self.ending), len(self.ending)) == self.ending
        else:
            number, offset, constant = self.tail
            at = quote(number) + offset
            good &= (at + len(constant) == ends) & (page.windows(at, len(constant)) == constant)
        for number, offset, closing, back in self.numbers:
            good &= _are_numbers(page, quote(number) + offset, (ends if closing == END else quote(closing)) + back)
        time, width = self.time or (0, 0)
        good &= quote(time + 1) - quote(time) == width + 1
        labels, timely = times.labels(page.windows(quote(time) + 1, width))
        good &= timely
        if not good.all():
            places, first, labels = places[good], first[good], labels[good]
        return Matched(places, labels, self._texts(page, first), self._users(page, first) if with_users else None)

    def _users(self, page: Page, first: Places) -> list[bytes] | None:
        if self.user is None:
            return None
        begins, ends = (page.quotes[first + self.user] + 1).tolist(), page.quotes[first + self.user + 1].tolist()
        return [page.bytes[begin:end] for begin, end in zip(begins, ends, strict=True)]

    def _texts(self, page: Page, first: Places) -> list[bytes]:
        columns: list[Iterable[bytes]] = []
        for run in self.runs:
            if isinstance(run, bytes):
                columns.append(repeat(run, len(first)))
                continue
            begins, ends = page.quotes[first + run[0]].tolist(), (page.quotes[first + run[1]] + 1).tolist()
            columns.append([page.bytes[begin:end] for begin, end in zip(begins, ends, strict=True)])
        return columns[0] if len(columns) == 1 else list(map(b",".join, zip(*columns, strict=True)))  # type: ignore[return-value]  # a single column is a list: a request has a tenant


def _are_numbers(page: Page, begins: Places, ends: Places) -> NDArray[np.bool_]:
    """Whether a number that is taken stands there."""
    size = ends - begins
    good: NDArray[np.bool_] = (size >= 1) & (size <= _DIGITS) & (ends >= _DIGITS)
    size = np.where(good, size, 1)
    columns = page.windows(np.maximum(ends, _DIGITS) - _DIGITS, _DIGITS).view(np.uint8).reshape(-1, _DIGITS) - _ZERO
    inside = np.arange(_DIGITS) >= _DIGITS - size[:, None]
    rows, leading = np.arange(len(size)), _DIGITS - size
    other = (columns > 9) & inside
    if other.any():
        points = columns == _POINT
        good &= (points | ~other).all(axis=1) & ((points & inside).sum(axis=1) <= 1)
        good &= ~points[rows, leading] & ~points[:, -1]
        integer = (columns[rows, leading] != 0) | (size == 1) | points[rows, np.minimum(leading + 1, _DIGITS - 1)]
    else:
        integer = (columns[rows, leading] != 0) | (size == 1)
    good &= integer
    return good


class Templates:
    """The forms that have been met."""

    def __init__(self) -> None:
        self._made: list[Template] = []
        self._failed = 0
        self._scratch = _Scratch()

    def match(
        self, records: Records, unfit: Collection[int], *, with_users: bool = False
    ) -> tuple[list[Matched], list[int]]:
        """What templates take of records whose buffer is lines but for the `unfit` (`Records.as_lines`), and the places of the others."""
        page = Page(records, self._scratch)
        page.fit[list(unfit)] = False
        done = np.zeros(len(records), dtype=np.bool_)
        left = np.flatnonzero(page.fit)
        matched = []
        tried = 0
        while len(left) and (tried < len(self._made) or self._learn(records[int(left[0])])):
            template = self._made[tried]
            tried += 1
            places = left[page.count[left] == template.quotes]
            found = template.match(page, places, with_users=with_users) if len(places) else None
            if found is not None and len(found.places):
                matched.append(found)
                done[found.places] = True
                left = left[~done[left]]
        return matched, np.flatnonzero(~done).tolist()

    def _learn(self, value: bytes | None) -> bool:
        """Whether a template could be made of a record that none takes."""
        if value is None or len(self._made) >= TEMPLATES or self._failed >= PATIENCE:
            return False
        try:
            rq.decode(value)
            made = Template.of(value)
        except rq.DECODE_ERRORS:
            made = None
        if made is None or made in self._made:
            self._failed += 1
            return False
        self._made.append(made)
        return True
