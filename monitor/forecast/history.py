"""What one tenant's past looks like, made only of counts: a digest of each UTC day, and what follows from them.

A day's digest is a pure function of that day's 1,440 minutes, and trailing minutes without requests do not change it.
So a day may be replaced at any time (late events, exclusions), in any order, and a history rebuilt from the stored days
equals one that was fed as the days went by.

The incident detector (see `detector`) works within a day. A digest also tells until when a failure that came in from the
day before would have lasted, so that failures over midnight are joined when the history is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.contract.period import DAY
from monitor.forecast import detector

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

KEPT = 120
"""Days whose totals and incidents are kept."""
PROFILE_DAYS = 28
"""Days whose hours are kept: four of each weekday, so that a day's slot (its number modulo 28) tells its weekday."""
RHYTHM_DAYS = 42
"""Days whose rhythm is kept: four weeks before a silence that has lasted two."""
QUIET_DAYS = 90
"""Days that tell the background."""
RECENT = 30
"""Minutes that tell the present severity."""

_ROW = np.dtype(
    [
        ("demand", "i8"),
        ("bad", "i8"),
        ("first", "i2"),
        ("last", "i2"),
        ("recent_requests", "u4"),
        ("recent_failures", "u4"),
        ("carried_until", "i2"),
        ("carried_open", "?"),
        ("carried_requests", "u4"),
        ("carried_failures", "u4"),
    ]
)
_NO_REQUESTS = np.array((0, 0, -1, -1, 0, 0, 0, True, 0, 0), dtype=_ROW)
_NO_DAYS = np.full(KEPT, _NO_REQUESTS)


@dataclass(frozen=True, slots=True)
class Incident:
    """A failure as the detector saw it: minutes [start, end), its requests and failures. `open`: it had not ended."""

    start: int
    end: int
    requests: int
    failures: int
    open: bool

    @property
    def severity(self) -> float:
        """The share of requests that failed in it."""
        return self.failures / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Digest:
    """What is kept of a day; minutes are of the day.

    `hours`: demand by hour. `rhythm`: shape (24, 2), by hour the minutes with requests, and those of them that followed one
    without (of the day's first minute nobody knows). `incidents`: those seen when nothing failed at midnight. `carried`: the failure that came
    in over midnight, if one did. `recent`: requests and failures of the last `RECENT` minutes up to the last request.
    `first`, `last`: the first and last minute with a request, -1 without one.
    """

    demand: int
    bad: int
    hours: Ints
    rhythm: Ints
    incidents: tuple[Incident, ...]
    carried: Incident
    recent: tuple[int, int]
    first: int
    last: int


def digest(demand: Ints, bad: Ints) -> Digest:
    """The digest of a day of minutes (1,440 counts each; `bad` is part of `demand`)."""
    hours, rhythm = np.zeros(24, dtype=np.int64), np.zeros((24, 2), dtype=np.int64)
    first, last, requests, failures = _survey(demand, bad, hours, rhythm)
    if first < 0:
        return Digest(0, 0, hours, rhythm, (), Incident(0, 0, 0, 0, open=True), (0, 0), -1, -1)
    found = np.empty((detector.MOST + 1, 5), dtype=np.int64)
    many = detector.detect(demand, bad, found)
    recent = slice(max(last + 1 - RECENT, 0), last + 1)
    return Digest(
        requests,
        failures,
        hours,
        rhythm,
        tuple(_incident(row) for row in found[:many].tolist()),
        _incident(found[detector.MOST].tolist()),
        (sum(demand[recent].tolist()), sum(bad[recent].tolist())),
        first,
        last,
    )


@compiled
def _survey(demand: Ints, bad: Ints, hours: Ints, rhythm: Ints) -> tuple[int, int, int, int]:
    """Fill a day's `hours` and `rhythm` (see `Digest`), which are zeros; first and last minute with requests, -1 without one, and the sums."""
    first, last, requests, failures = -1, -1, 0, 0
    for minute in range(DAY):
        n = demand[minute]
        if n == 0:
            continue
        hour = minute // 60
        hours[hour] += n
        rhythm[hour, 0] += 1
        if minute and last < minute - 1:
            rhythm[hour, 1] += 1
        if first < 0:
            first = minute
        last = minute
        requests += n
        failures += bad[minute]
    return first, last, requests, failures


def _incident(row: list[int]) -> Incident:
    start, end, requests, failures, still = row
    return Incident(start, end, requests, failures, open=bool(still))


def rhythm_of(demand: Ints) -> Ints:
    """By hour the minutes with requests, and those that followed one without: (..., 24, 2) from minutes (..., 1440)."""
    active = demand > 0
    began = active.copy()
    began[..., 0] = False
    began[..., 1:] &= ~active[..., :-1]
    made = np.empty((*demand.shape[:-1], 24, 2), dtype=np.int64)
    for place, minutes in enumerate((active, began)):
        # An hour's minutes fit a byte, which adds up many times as fast as what a sum of booleans is made of.
        made[..., place] = minutes.view(np.uint8).reshape(*demand.shape[:-1], 24, 60).sum(axis=-1, dtype=np.uint8)
    return made


@dataclass(frozen=True, slots=True)
class Past:
    """What the digests together say. Times are epoch minutes; -1 stands for none.

    `first`, `last`: the first and the last known minute with a request. `starts`, `durations` (minutes), `severities`:
    the incidents that have ended, by start. `present`: the failure that goes on as of `last`. `recent`: requests and
    failures of about the last `RECENT` minutes up to `last`, which begin at `recent_since`. `quiet_demand`,
    `quiet_bad`: requests and failures outside incidents, by day, oldest first, the newest day last. `quiet`: their sums
    over the last `QUIET_DAYS` days.
    """

    first: int
    last: int
    starts: Ints
    durations: Floats
    severities: Floats
    present: Incident | None
    recent: tuple[int, int]
    recent_since: int
    quiet_demand: Ints
    quiet_bad: Ints
    quiet: tuple[int, int]


class History:
    """One tenant's past. Feed it with `replace_day` and `close`; the forecast reads the rest.

    `newest`: the newest day's number, -1 before the first. `days`: ring of `KEPT` day rows at number % KEPT. `hours`:
    ring of demand by hour, shape (28, 24), at number % 28. `rhythm`: ring of each day's rhythm (see `Digest`), shape
    (42, 24, 2), at number % 42. 10 kB a tenant, and 150 bytes for each incident.
    """

    __slots__ = ("_incidents", "_past", "_settled", "days", "hours", "newest", "rhythm")

    def __init__(self) -> None:
        self.newest = -1
        self.days = _NO_DAYS.copy()
        self.hours = np.zeros((PROFILE_DAYS, 24), dtype=np.uint32)
        self.rhythm = np.zeros((RHYTHM_DAYS, 24, 2), dtype=np.uint8)
        self._incidents: dict[int, tuple[Incident, ...]] = {}
        self._past: Past | None = None
        self._settled: _Settled | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and (
            self.newest == other.newest
            and bool(np.array_equal(self.days, other.days))
            and bool(np.array_equal(self.hours, other.hours))
            and bool(np.array_equal(self.rhythm, other.rhythm))
            and self._incidents == other._incidents
        )

    __hash__ = None  # type: ignore[assignment]  # it changes

    def replace_day(self, number: int, demand: Ints, bad: Ints) -> None:
        """Take in the UTC day `number` (days since 1970-01-01) as it is now known.

        `demand` and `bad` have 1,440 counts, a minute each: good + bad + unclassified, and bad + unclassified, without
        what is excluded. A day older than `KEPT` days before the newest is ignored. ValueError for other shapes or a
        day before 1970.
        """
        if demand.shape != (DAY,) or bad.shape != (DAY,) or number < 0:
            raise ValueError(f"expected {DAY} minutes of a day, found {demand.shape} and {bad.shape} of day {number}")
        self._advance(number)
        if number <= self.newest - KEPT:
            return
        if number < self.newest:
            self._settled = None
        made = digest(np.ascontiguousarray(demand, dtype=np.int64), np.ascontiguousarray(bad, dtype=np.int64))
        carried = made.carried
        self.days[number % KEPT] = (
            made.demand,
            made.bad,
            made.first,
            made.last,
            *made.recent,
            carried.end,
            carried.open,
            carried.requests,
            carried.failures,
        )
        if number > self.newest - PROFILE_DAYS:
            self.hours[number % PROFILE_DAYS] = made.hours
        if number > self.newest - RHYTHM_DAYS:
            self.rhythm[number % RHYTHM_DAYS] = made.rhythm
        if made.incidents:
            self._incidents[number] = made.incidents
        else:
            self._incidents.pop(number, None)
        self._past = None

    def close(self, minute: int) -> None:
        """Say that time has come to the epoch minute `minute`: days until there that were not fed had no requests."""
        self._advance(minute // DAY)

    def _advance(self, number: int) -> None:
        if number <= self.newest:
            return
        known = self.newest >= 0
        if known:
            for day in range(max(self.newest + 1, number - KEPT + 1), number + 1):
                self.days[day % KEPT] = _NO_REQUESTS
                self.hours[day % PROFILE_DAYS] = 0
                self.rhythm[day % RHYTHM_DAYS] = 0
        self.newest = number
        for day in [d for d in self._incidents if d <= number - KEPT]:
            del self._incidents[day]
        self._settled = None if known else _NOTHING_SETTLED
        self._past = None

    def copy(self) -> History:
        """The same history; later changes to either do not show in the other."""
        other = History()
        other.newest = self.newest
        other.days, other.hours = self.days.copy(), self.hours.copy()
        other.rhythm = self.rhythm.copy()
        other._incidents = dict(self._incidents)
        other._past, other._settled = self._past, self._settled
        return other

    def past(self) -> Past:
        """What the digests together say, as of the newest day; made once after each change."""
        if self._past is None:
            self._past = self._read()
        return self._past

    def shares(self) -> tuple[Floats, int]:
        """Cumulated daily shares of requests that failed in incidents, over the finished days since the first request, and their number.

        Of shape (KEPT + 1,): from 0 up to the sum of the days, oldest first; there it stays.
        """
        settled = self._finished()
        return settled.shares, settled.days

    def _finished(self) -> _Settled:
        # Only the newest day changes from minute to minute.
        if self._settled is None:
            self._settled = self._settle()
        return self._settled

    def _read(self) -> Past:
        before, columns, (quiet_demand, quiet_bad), _, _ = self._finished()
        reading = before.copy()
        row = self.days[self.newest % KEPT]
        reading.take(row, KEPT - 1, self.newest, self._incidents.get(self.newest, ()))
        if reading.ended:
            starts, durations, severities = _columns(reading.ended)
            columns = (
                np.concatenate((columns[0], starts)),
                np.concatenate((columns[1], durations)),
                np.concatenate((columns[2], severities)),
            )
        quiet = quiet_demand + int(reading.quiet_demand[-1]), quiet_bad + int(reading.quiet_bad[-1])
        known = *columns, reading.present
        if reading.first < 0:
            return Past(-1, -1, *known, (0, 0), -1, reading.quiet_demand, reading.quiet_bad, quiet)
        last, row = reading.last, self.days[reading.last % KEPT]
        requests, failures = int(row["recent_requests"]), int(row["recent_failures"])
        since = last * DAY + max(int(row["last"]) + 1 - RECENT, 0)
        evening = self.days[(last - 1) % KEPT]
        if row["last"] < RECENT and last - 1 > self.newest - KEPT and evening["demand"]:
            requests += int(evening["recent_requests"])
            failures += int(evening["recent_failures"])
            since = min(since, (last - 1) * DAY + int(evening["last"]) + 1 - RECENT)
        return Past(
            reading.first,
            last * DAY + int(row["last"]),
            *known,
            (requests, failures),
            since,
            reading.quiet_demand,
            reading.quiet_bad,
            quiet,
        )

    def _settle(self) -> _Settled:
        numbers = np.arange(self.newest - KEPT + 1, self.newest)
        rows = self.days[numbers % KEPT]
        quiet_demand, quiet_bad = np.zeros((2, KEPT), dtype=np.int64)
        quiet_demand[:-1], quiet_bad[:-1] = rows["demand"], rows["bad"]
        reading = _Reading([], None, -1, -1, quiet_demand, quiet_bad)
        asked = np.flatnonzero(rows["demand"])
        if asked.size:
            reading.first = int(numbers[asked[0]]) * DAY + int(rows["first"][asked[0]])
        for place in asked.tolist():
            number = int(numbers[place])
            mine = self._incidents.get(number, ())
            if mine or reading.present is not None:
                reading.take(rows[place], place, number, mine)
            reading.last = number
        columns = _columns(reading.ended)
        reading.ended.clear()
        quiet = int(quiet_demand[-QUIET_DAYS:].sum()), int(quiet_bad[-QUIET_DAYS:].sum())
        days = self.newest - reading.first // DAY if reading.first >= 0 else 0
        shares = np.zeros(KEPT + 1)
        if days:
            failures = rows["bad"][-days:] - quiet_bad[:-1][-days:]
            shares[1 : days + 1] = np.cumsum(failures / np.maximum(rows["demand"][-days:], 1))
            shares[days + 1 :] = shares[days]
        return _Settled(reading, columns, quiet, shares, days)


@dataclass(slots=True)
class _Reading:
    """Days read one after the other, oldest first.

    `ended`: the incidents that have ended. `present`: the one that goes on. `first`: the first minute with a request,
    `last`: the number of the last day with one; -1 without. `quiet_demand`, `quiet_bad`: as in `Past`.
    """

    ended: list[Incident]
    present: Incident | None
    first: int
    last: int
    quiet_demand: Ints
    quiet_bad: Ints

    def copy(self) -> _Reading:
        return _Reading(
            [*self.ended], self.present, self.first, self.last, self.quiet_demand.copy(), self.quiet_bad.copy()
        )

    def take(self, row: np.void, place: int, number: int, mine: tuple[Incident, ...]) -> None:
        """Read the day `number`, whose row and own incidents are given and whose place is that of the quiet counts."""
        demand, bad = int(row["demand"]), int(row["bad"])
        if not demand:
            return
        base = number * DAY
        if self.present is not None:
            if number > self.last + 1:
                # A whole day without requests between them: nobody knows that it went on.
                self.ended.append(_ended(self.present))
                self.present = None
            else:
                self.present, mine, requests, failures = _carry(self.present, base, row, mine)
                demand, bad = demand - requests, bad - failures
                if not self.present.open:
                    self.ended.append(self.present)
                    self.present = None
        for one in mine:
            demand, bad = demand - one.requests, bad - one.failures
            moved = Incident(base + one.start, base + one.end, one.requests, one.failures, one.open)
            if one.open:
                self.present = moved
            else:
                self.ended.append(moved)
        self.quiet_demand[place], self.quiet_bad[place] = demand, bad
        if self.first < 0:
            self.first = base + int(row["first"])
        self.last = number


def _ended(one: Incident) -> Incident:
    return Incident(one.start, one.end, one.requests, one.failures, open=False)


def _carry(
    present: Incident, base: int, row: np.void, mine: tuple[Incident, ...]
) -> tuple[Incident, tuple[Incident, ...], int, int]:
    """Join a failure that was open at midnight with the day's own.

    Returns it as of the end of the day, the day's incidents that are left, and the day's requests and failures that are
    in it.
    """
    until, still = int(row["carried_until"]), bool(row["carried_open"])
    requests, failures = int(row["carried_requests"]), int(row["carried_failures"])
    while mine and not still and mine[0].start <= until:
        # The day's own detector saw the same failure; whichever lasts longer tells its end.
        one, mine = mine[0], mine[1:]
        if one.end >= until:
            until, still = one.end, one.open
            requests, failures = max(one.requests, requests), max(one.failures, failures)
    if still:
        mine = ()
    end = base + until if failures or still else present.end
    joined = Incident(present.start, end, present.requests + requests, present.failures + failures, still)
    return joined, mine, requests, failures


def _columns(incidents: list[Incident]) -> tuple[Ints, Floats, Floats]:
    return (
        np.array([i.start for i in incidents], dtype=np.int64),
        np.array([max(i.end - i.start, 1) for i in incidents], dtype=np.float64),
        np.array([i.severity for i in incidents], dtype=np.float64),
    )


class _Settled(NamedTuple):
    """The days before the newest: as they were read, their ended incidents as columns, `Past.quiet` of them, and what `History.shares` tells."""

    reading: _Reading
    columns: tuple[Ints, Floats, Floats]
    quiet: tuple[int, int]
    shares: Floats
    days: int


_NO_COUNTS = np.zeros(KEPT, dtype=np.int64)
_NOTHING_SETTLED = _Settled(
    _Reading([], None, -1, -1, _NO_COUNTS, _NO_COUNTS), _columns([]), (0, 0), np.zeros(KEPT + 1), 0
)
"""Before the first day."""
