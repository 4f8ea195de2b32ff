"""The open chunk of one source partition: raw records in, counts by (tenant, portal, minute, class) out, refused records named.

A chunk is the interval [start, upto) of offsets; it may have holes, its count is what was in it. What is here:
- A batch is decoded and counted as a whole. Values are checked once for each distinct combination of them, not once a record, and
  what was found right is remembered; only records whose combination is in doubt are looked at one by one.
- One bad record neither stops nor miscounts its neighbours.
- Unclassified failures are counted by their code too, so that a later decision about a code can move them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from monitor.counting import request as rq
from monitor.counting.frame import Decision, Frame, Tally
from monitor.counting.request import Rejected, Request

Key = tuple[str, str | int, str, str, str | None, str | None]
"""What a record says, as it says it: tenant, time to the minute, portal, outcome, fault, code."""

REMEMBERED = 300_000
"""Combinations and endings of times that a `Reader` remembers before it starts afresh."""


MINUTE_CHARACTERS = 16
"""Length of a time like "2026-11-23T10:11", which is what a key holds of one in UTC."""


class Cell(NamedTuple):
    """Where a request counts. `minute` is a UTC epoch minute; `code` is "" unless the class is unclassified."""

    tenant: str
    portal: str
    minute: int
    class_index: int
    code: str


class Refused(NamedTuple):
    """A record that was not counted: its place in the batch and why."""

    place: int
    error: Rejected


class Reader:
    """Turns batches of native records into counted cells; keeps only what it learned about values, so it may serve many chunks."""

    def __init__(self, codes: Mapping[str, str]) -> None:
        self.codes = codes
        self._cells: dict[Key, Cell] = {}
        self._endings: set[str] = set()
        self._names: set[tuple[str, str]] = set()
        self._minutes: dict[str | int, int] = {}

    def count(self, values: Sequence[bytes | None], now_ms: int) -> tuple[dict[Cell, int], list[Refused]]:
        """Count a batch. `now_ms` (epoch) bounds how far ahead a request's time may be. Returns counts by cell, and the refused."""
        refused: list[Refused] = []
        requests = self._decode(values, refused)
        keys = self._keys(requests)
        cells = self._cells
        counts: dict[Cell, int] = {}
        doubtful: set[Key] = set()
        for key, n in Counter(keys).items():
            cell = cells.get(key) or self._learn(key, now_ms)
            if cell is None:
                doubtful.add(key)
            else:
                counts[cell] = counts.get(cell, 0) + n
        if doubtful:
            self._one_by_one(values, requests, keys, doubtful, counts, refused, now_ms)
        return counts, refused

    @staticmethod
    def _decode(values: Sequence[bytes | None], refused: list[Refused]) -> list[Request]:
        """All requests of the batch that are requests, in order; the others go to `refused`."""
        requests: list[Request] = []
        try:
            fit = max(map(len, values), default=0) <= rq.MAX_BYTES  # type: ignore[arg-type]  # None raises the TypeError below
        except TypeError:
            fit = False
        # An empty value is refused where it stands, and then read as it is.
        rest = iter(values if fit else [b"" if v is None or len(v) > rq.MAX_BYTES else v for v in values])
        while True:
            try:
                # What was decoded before an error stays in the list, and `rest` stands behind the record at fault.
                requests.extend(map(rq.decode, rest))  # type: ignore[arg-type]  # no None is left
            except rq.DECODE_ERRORS:
                place = len(requests) + len(refused)
                try:
                    rq.read(values[place])
                except Rejected as error:
                    refused.append(Refused(place, error))
                else:
                    raise AssertionError(f"record {place} of the batch was refused and then was not") from None
            else:
                return requests

    def _keys(self, requests: list[Request]) -> list[Key]:
        try:
            endings = {r.time[16:] for r in requests}  # type: ignore[index]  # a time in milliseconds raises the TypeError below
            if endings <= self._endings or self._know(endings):
                return [(r.tenant, r.time[:16], r.portal, r.outcome, r.fault, r.code) for r in requests]  # type: ignore[index]  # likewise
        except TypeError:
            pass
        return [(r.tenant, _whole_time(r.time), r.portal, r.outcome, r.fault, r.code) for r in requests]

    def _know(self, endings: set[str]) -> bool:
        """Whether all times end in seconds of a minute and Z, so that their first 16 characters are their UTC minute."""
        if len(self._endings) > REMEMBERED:
            self._endings.clear()
        new = endings - self._endings
        if not all(map(rq.ends_in_utc_seconds, new)):
            return False
        self._endings |= new
        return True

    def _learn(self, key: Key, now_ms: int) -> Cell | None:
        """The cell of a combination; None when it is wrong or when its minute is not wholly in bounds."""
        tenant, time, portal, outcome, fault, code = key
        minute = self._minutes.get(time)
        try:
            if (tenant, portal) not in self._names or code is not None:
                rq.check_names(tenant, portal, code)
                self._names.add((tenant, portal))
            if minute is None:
                minute = self._minutes[time] = _whole_minute(time, now_ms)
        except Rejected:
            return None
        cell = _cell(tenant, portal, minute, outcome, fault, code, self.codes)
        if len(self._cells) > REMEMBERED:
            for memory in (self._cells, self._names, self._minutes):
                memory.clear()
        self._cells[key] = cell
        return cell

    def _one_by_one(
        self,
        values: Sequence[bytes | None],
        requests: list[Request],
        keys: list[Key],
        doubtful: set[Key],
        counts: dict[Cell, int],
        refused: list[Refused],
        now_ms: int,
    ) -> None:
        gone = {index for index, _ in refused}
        places = (index for index in range(len(values)) if index not in gone)
        for index, r, key in zip(places, requests, keys, strict=True):
            if key not in doubtful:
                continue
            try:
                rq.check_names(r.tenant, r.portal, r.code)
                cell = _cell(r.tenant, r.portal, rq.minute(r.time, now_ms), r.outcome, r.fault, r.code, self.codes)
            except Rejected as error:
                refused.append(Refused(index, error))
            else:
                counts[cell] = counts.get(cell, 0) + 1


def _whole_time(time: str | int) -> str | int:
    """A time as a key holds it when its batch is not all in UTC; a text as short as a UTC minute is none, and must not pass for one."""
    if isinstance(time, int):
        return time // 60_000
    return time + "?" if len(time) == MINUTE_CHARACTERS else time


def _whole_minute(time: str | int, now_ms: int) -> int:
    """The minute of a key's time, when all of it is in bounds; raises Rejected."""
    if isinstance(time, int):
        return rq.minute(time * 60_000 + 59_999, now_ms)
    return rq.minute(time + ":59.999Z" if len(time) == MINUTE_CHARACTERS else time, now_ms)


def _cell(
    tenant: str, portal: str, minute: int, outcome: str, fault: str | None, code: str | None, codes: Mapping[str, str]
) -> Cell:
    index = rq.classify(outcome, fault, code, codes)
    return Cell(tenant, portal, minute, index, (code or "") if index == rq.UNCLASSIFIED else "")


class Chunk:
    """One source partition's open chunk, from `start` up to what has been counted so far."""

    def __init__(self, topic: str, partition: int, partitions: int, start: int) -> None:
        self.topic = topic
        self.partition = partition
        self.partitions = partitions
        self.start = start
        self.upto = start
        self._clear()

    def _clear(self) -> None:
        self.read = 0
        self.refused = 0
        self.counts: dict[Cell, int] = {}
        self.decisions: list[Decision] = []

    @property
    def empty(self) -> bool:
        """Whether no offset has been added since the start."""
        return self.upto == self.start

    def add(
        self, upto: int, counts: Mapping[Cell, int], read: int, refused: int, decisions: Iterable[Decision] = ()
    ) -> None:
        """Take in a counted batch that ends before offset `upto`; AssertionError when the offsets go backwards."""
        if upto < self.upto:
            raise AssertionError(
                f"{self.topic}-{self.partition}: a batch up to {upto} after {self.upto}: offsets must not go back"
            )
        mine = self.counts
        for cell, n in counts.items():
            mine[cell] = mine.get(cell, 0) + n
        self.upto = upto
        self.read += read
        self.refused += refused
        self.decisions.extend(decisions)

    def frames(self, place: Callable[[str], int], partitions: int, at_ms: int, complete_ms: int) -> list[Frame]:
        """A frame for each of the journal's `partitions`, also the empty ones; `place` gives a tenant's partition."""
        tallies: list[dict[str, dict[str, Tally]]] = [{} for _ in range(partitions)]
        for (tenant, portal, minute, index, code), n in self.counts.items():
            portals = tallies[place(tenant)].setdefault(tenant, {})
            tally = portals.get(portal)
            if tally is None:
                tally = portals[portal] = Tally()
            row = tally.minutes.get(minute)
            if row is None:
                row = tally.minutes[minute] = [0, 0, 0, 0, 0]
            row[index] += n
            if index == rq.UNCLASSIFIED:
                by_minute = tally.codes.setdefault(code, {})
                by_minute[minute] = by_minute.get(minute, 0) + n
        decisions: list[list[Decision]] = [[] for _ in range(partitions)]
        for decision in self.decisions:
            if decision.tenant == "*":
                for each in decisions:
                    each.append(decision)
            else:
                decisions[place(decision.tenant)].append(decision)
        return [
            Frame(
                topic=self.topic,
                partition=self.partition,
                partitions=self.partitions,
                start=self.start,
                upto=self.upto,
                at_ms=at_ms,
                complete_ms=complete_ms,
                read=self.read,
                refused=self.refused,
                tallies=tallies[q],
                decisions=decisions[q],
            )
            for q in range(partitions)
        ]

    def seal_frame(self, at_ms: int, complete_ms: int) -> Frame:
        """The empty frame [start, start): it names a committed start, which seals what ended there, and tells the time."""
        return Frame(
            topic=self.topic,
            partition=self.partition,
            partitions=self.partitions,
            start=self.start,
            upto=self.start,
            at_ms=at_ms,
            complete_ms=complete_ms,
        )

    def take(self) -> Chunk:
        """What has been counted so far, as a chunk to be sent; this one goes on behind it, and may be sent once that is committed."""
        taken = Chunk(self.topic, self.partition, self.partitions, self.start)
        taken.upto, taken.read, taken.refused = self.upto, self.read, self.refused
        taken.counts, taken.decisions = self.counts, self.decisions
        self.start = self.upto
        self._clear()
        return taken
