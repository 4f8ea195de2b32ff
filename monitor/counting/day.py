"""One tenant's UTC day: counts by portal and minute, compact in memory and on disk. What they mean for a contract is left to others.

A portal's minutes are kept as a sorted array of minutes (0 to 1439) beside a flat array of five counts each, so that a quiet tenant's day
takes a few bytes and a busy one's 32 kB. Encoded, each class is as narrow as its largest count and absent when it is all zeros.

A tenant has at most `PORTALS` portals and `CODES` unclassified codes a day; what comes on top counts under `OTHER`, so that a producer
that writes an id where a name belongs cannot fill the memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, MutableSequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.contract.period import DAY
from monitor.counting.frame import Row, Tally, narrow, widen
from monitor.counting.request import CLASSES

PORTALS = 64
CODES = 256
OTHER = "(other)"
MANY_ROWS = 60
"""Rows from which numpy sums them up faster."""
WIDTH = len(CLASSES)
NO_COUNTS = (0,) * WIDTH
_NARROW = 0xFF

Ints = NDArray[np.int64]
Counts = Ints
"""Counts of a portal's day, shape (n, 5): a row for each minute with requests, a column for each class."""
ALL = np.arange(WIDTH)
"""All classes."""


def add_row(counts: MutableSequence[int], at: int, row: Row) -> None:
    """Add a row of five counts to those from place `at` on. Most are zeros; a loop over them takes twice the time."""
    success, client, server, external, unclassified = row
    if success:
        counts[at] += success
    if client:
        counts[at + 1] += client
    if server:
        counts[at + 2] += server
    if external:
        counts[at + 3] += external
    if unclassified:
        counts[at + 4] += unclassified


@compiled
def _add_classes(into: Ints, minutes: NDArray[np.uint16], counts: NDArray[np.uint32], classes: Ints) -> None:
    """Add the counts of these classes, from rows of five one after the other, to their minutes."""
    for place in range(len(minutes)):
        for index in classes:
            into[minutes[place]] += counts[place * WIDTH + index]


def warm() -> None:
    """Have the compiled code of days at hand."""
    day = Day(0)
    day.portal("")[1].add(0, [0] * WIDTH)
    day.by_minute()


class PortalDay:
    """The minutes of one portal on one day. `totals` is the sum of all rows."""

    __slots__ = ("counts", "minutes", "totals")

    def __init__(self) -> None:
        self.minutes = array("H")
        self.counts = array("I")
        self.totals = [0] * WIDTH

    def add(self, minute: int, row: Row) -> None:
        """Add a row of five counts to a minute of the day (0 to 1439)."""
        minutes, counts = self.minutes, self.counts
        n = len(minutes)
        place = n if not n or minutes[-1] < minute else n - 1 if minutes[-1] == minute else bisect_left(minutes, minute)
        if place == n or minutes[place] != minute:
            minutes.insert(place, minute)
            counts[place * WIDTH : place * WIDTH] = array("I", row)
        else:
            add_row(counts, place * WIDTH, row)
        add_row(self.totals, 0, row)

    def sums(self, low: int, high: int) -> Row:
        """Five counts over the rows [low, high)."""
        if high - low > MANY_ROWS:
            rows = np.frombuffer(self.counts, dtype=np.uint32)[low * WIDTH : high * WIDTH].reshape(-1, WIDTH)
            found: Row = rows.sum(axis=0, dtype=np.int64).tolist()
            return found
        part = self.counts[low * WIDTH : high * WIDTH]
        return [sum(part[index::WIDTH]) for index in range(WIDTH)]

    def table(self) -> tuple[NDArray[np.uint16], Counts]:
        """The minutes (n,) and their counts (n, 5), as copies."""
        return (
            np.array(self.minutes, dtype=np.uint16),
            np.array(self.counts, dtype=np.int64).reshape(-1, WIDTH),
        )


class _Record(msgspec.Struct, array_like=True):
    stamp: int
    portals: dict[str, tuple[list[int], bytes, list[bytes]]]
    codes: dict[str, dict[str, dict[int, int]]]


class Day:
    """One tenant's UTC day. `stamp` is the journal offset of the newest seal in it, -1 when it is empty."""

    __slots__ = ("codes", "number", "portals", "stamp")

    def __init__(self, number: int) -> None:
        self.number = number
        self.stamp = -1
        self.portals: dict[str, PortalDay] = {}
        self.codes: dict[str, dict[str, dict[int, int]]] = {}
        """Unclassified failures: portal, code, minute of the day, count."""

    @property
    def first_minute(self) -> int:
        """The UTC epoch minute at which the day starts."""
        return self.number * DAY

    def portal(self, name: str) -> tuple[str, PortalDay]:
        """The portal's day, made when it is new; beyond `PORTALS` of them, `OTHER`'s."""
        found = self.portals.get(name)
        if found is None:
            if len(self.portals) >= PORTALS:
                name = OTHER
            found = self.portals.setdefault(name, PortalDay())
        return name, found

    def add_codes(self, portal: str, code: str, minutes: Mapping[int, int]) -> None:
        """Add unclassified failures by UTC epoch minute under their code."""
        codes = self.codes.setdefault(portal, {})
        if code not in codes and len(codes) >= CODES:
            code = OTHER
        mine = codes.setdefault(code, {})
        base = self.first_minute
        for minute, n in minutes.items():
            mine[minute - base] = mine.get(minute - base, 0) + n

    def totals(self) -> dict[str, list[int]]:
        """Five counts for each portal, over the whole day."""
        return {name: portal.totals for name, portal in self.portals.items()}

    def between(self, first: int, upto: int) -> dict[str, list[int]]:
        """Five counts for each portal over the minutes of the day [first, upto)."""
        if first <= 0 and upto >= DAY:
            return self.totals()
        out = {}
        for name, portal in self.portals.items():
            minutes = portal.minutes
            if not minutes or minutes[-1] < first or minutes[0] >= upto:
                continue
            if minutes[0] >= first and minutes[-1] < upto:
                out[name] = portal.totals
                continue
            low, high = bisect_left(minutes, first), bisect_left(minutes, upto)
            if low < high:
                out[name] = portal.sums(low, high)
        return out

    def by_minute(self, classes: Ints = ALL) -> Ints:
        """Counts of the `classes` and all portals together, by minute of the day, shape (1440,)."""
        out = np.zeros(DAY, dtype=np.int64)
        for portal in self.portals.values():
            counts = np.frombuffer(portal.counts, dtype=np.uint32)
            _add_classes(out, np.frombuffer(portal.minutes, dtype=np.uint16), counts, classes)
        return out

    def rows(self) -> Iterator[tuple[str, int, Row]]:
        """Each portal's minutes: (portal, UTC epoch minute, five counts)."""
        base = self.first_minute
        for name, portal in self.portals.items():
            for place, minute in enumerate(portal.minutes):
                yield name, base + minute, list(portal.counts[place * WIDTH : place * WIDTH + WIDTH])

    def encode(self) -> bytes:
        """The day as a table record's payload."""
        return _encode(_Record(self.stamp, {name: _pack(portal) for name, portal in self.portals.items()}, self.codes))

    @classmethod
    def decode(cls, number: int, data: bytes) -> Day:
        """The day that `encode` wrote; ValueError when the bytes are none."""
        try:
            record = _decode(data)
        except msgspec.MsgspecError as error:
            raise ValueError(f"expected a day's record, got {data[:40]!r}: {error}") from None
        day = cls(number)
        day.stamp = record.stamp
        day.codes = record.codes
        for name, packed in record.portals.items():
            day.portals[name] = _unpack(*packed)
        return day


def split_by_day(portals: dict[str, Tally]) -> dict[int, dict[str, Tally]]:
    """A tenant's tallies by UTC day and portal."""
    minutes = [tally.minutes for tally in portals.values()]
    number = min(map(min, minutes)) // DAY
    if max(map(max, minutes)) // DAY == number:  # as nearly always
        return {number: portals}
    days: dict[int, dict[str, Tally]] = {}
    for portal, tally in portals.items():
        for minute, row in tally.minutes.items():
            day = days.setdefault(minute // DAY, {})
            if portal not in day:
                day[portal] = Tally({}, {})
            day[portal].minutes[minute] = row
        for code, by_minute in tally.codes.items():
            for minute, n in by_minute.items():
                days[minute // DAY][portal].codes.setdefault(code, {})[minute] = n
    return days


def _pack(portal: PortalDay) -> tuple[list[int], bytes, list[bytes]]:
    columns: list[bytes] = []
    for index, total in enumerate(portal.totals):
        column = portal.counts[index::WIDTH]
        if total <= _NARROW:  # then so is each of them, and there is no need to look
            columns.append(bytes(column.tolist()) if total else b"")
            continue
        columns.append(narrow(np.frombuffer(column, dtype=np.uint32)))
    return portal.totals, portal.minutes.tobytes(), columns


def _unpack(totals: list[int], minutes: bytes, columns: list[bytes]) -> PortalDay:
    portal = PortalDay()
    portal.minutes.frombytes(minutes)
    portal.totals = totals
    n = len(portal.minutes)
    counts = np.zeros((n, WIDTH), dtype=np.uint32)
    for index, column in enumerate(columns):
        if column:
            counts[:, index] = widen(column, n)
    portal.counts.frombytes(counts.tobytes())
    return portal


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode
