"""What a month's counts say, after people's decisions: counts by portal and fault, three readings, affected dates, coverage.

Nothing is stored: everything is worked out from minute counts, so a late exclusion or a revoked one is exact. Rules:

- Unclassified failures go where a ruling puts their code; without one they are counted apart, and as bad in every verdict.
- An excluded minute counts on no side, whatever happened in it. The rest of the portal's minutes are as they were.
- *requests*: good / (good + bad). The contractual reading.
- *minutes*: a minute with more than `Terms.minute_down_percent` of its requests bad, over all portals, is down; of the minutes with requests
  that count, or ruled a bad silence, the share that was up.
- *users*: of the user-minutes, the share without a failure of the provider's. Counted by tenant, so a minute is left out when everything that
  happened in it is.
- A local date is affected when one bad request that counts fell on it; it may be claimed for until `claim_days` later, that day inside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from monitor.contract.exclusions import Exclusion, Window
from monitor.contract.instant import rfc3339
from monitor.contract.period import MINUTE_MS, Period, day_start, local_days
from monitor.contract.rulings import FAULTS, Rulings
from monitor.contract.terms import Terms, percent, shown

Integers = NDArray[np.int64]


class Counts(NamedTuple):
    """Requests by class, in the order in which they are counted everywhere."""

    success: int = 0
    client: int = 0
    server: int = 0
    external: int = 0
    unclassified: int = 0

    @property
    def good(self) -> int:
        """The service answered as it should."""
        return self.success + self.client

    @property
    def bad(self) -> int:
        """What a verdict holds against the provider: its own failures and those nobody has classified."""
        return self.server + self.unclassified

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self)

    def plus(self, other: Counts) -> Counts:
        """The sum, class by class."""
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


WIDTH = len(Counts._fields)
_SUCCESS, _CLIENT, _SERVER, _EXTERNAL, _UNCLASSIFIED = range(WIDTH)
_CLASS_OF = {fault: Counts._fields.index(fault) for fault in FAULTS}


class MinuteCounts(Protocol):
    """A tenant's counts by portal and minute, over any stretch that holds the period asked about; `engine` has them."""

    def portals(self) -> Collection[str]:
        """The portals with requests."""

    def minutes(self, portal: str) -> tuple[Integers, Integers]:
        """UTC epoch minutes (n,), rising, each once, and their counts (n, 5) in the order of `Counts`."""

    def codes(self, portal: str) -> Mapping[str, Mapping[int, int]]:
        """The unclassified ones by code and UTC epoch minute; a failure without a code is under ""."""


class Minutes:
    """Minute counts in memory, from rows: for recounts, and whoever has no days at hand."""

    def __init__(
        self,
        rows: Iterable[tuple[str, int, Sequence[int]]] = (),
        codes: Iterable[tuple[str, str, int, int]] = (),
    ) -> None:
        """`rows`: (portal, UTC epoch minute, five counts); `codes`: (portal, code, minute, n). Those of one place add up."""
        self._rows: dict[str, dict[int, list[int]]] = {}
        self._codes: dict[str, dict[str, dict[int, int]]] = {}
        for portal, minute, counts in rows:
            row = self._rows.setdefault(portal, {}).setdefault(minute, [0] * WIDTH)
            row[:] = [mine + more for mine, more in zip(row, counts, strict=True)]
        for portal, code, minute, n in codes:
            by_minute = self._codes.setdefault(portal, {}).setdefault(code, {})
            by_minute[minute] = by_minute.get(minute, 0) + n

    def portals(self) -> Collection[str]:
        """See `MinuteCounts`."""
        return self._rows.keys()

    def minutes(self, portal: str) -> tuple[Integers, Integers]:
        """See `MinuteCounts`."""
        rows = self._rows[portal]
        minutes = np.array(sorted(rows), dtype=np.int64)
        return minutes, np.array([rows[int(minute)] for minute in minutes], dtype=np.int64).reshape(-1, WIDTH)

    def codes(self, portal: str) -> Mapping[str, Mapping[int, int]]:
        """See `MinuteCounts`."""
        return self._codes.get(portal, {})


@dataclass(frozen=True, slots=True)
class UserMinutes:
    """Distinct users by minute. `minutes`: UTC epoch minutes (n,); `users` and `failed` (n,): how many there were, and how many of them met
    a failure of the provider's. `method`: how they were counted, and how exactly, for people.
    """

    minutes: Integers
    users: Integers
    failed: Integers
    method: str


@dataclass(frozen=True, slots=True)
class Silence:
    """UTC epoch minutes [start, end) without a request where history says that there must be some: `expected` so many.

    `basis`: whose silence it is, "tenant" or "platform".
    """

    start: int
    end: int
    expected: int
    basis: str = "tenant"


@dataclass(frozen=True, slots=True)
class Reading:
    """Availability in one unit: requests, minutes or user-minutes that were `good` or `bad`; `band` in basis points; `days` of credit."""

    good: int
    bad: int
    band: int
    days: int

    @classmethod
    def of(cls, good: int, bad: int, terms: Terms) -> Reading:
        """The reading of these counts under the terms."""
        return cls(good, bad, terms.band(bad, good + bad), terms.days(bad, good + bad))

    @property
    def demand(self) -> bool:
        """Whether there was anything to be available for."""
        return self.good + self.bad > 0

    def record(self) -> dict[str, Any]:
        """As a JSON object. Without demand there is no band."""
        return {
            "good": self.good,
            "bad": self.bad,
            "availability": shown(self.good, self.bad),
            "band": percent(self.band) if self.demand else None,
            "days": self.days,
        }


@dataclass(frozen=True, slots=True)
class Affected:
    """A local date with `bad` requests that count. `claim_by`: the last local date to claim for it; `closes`: the UTC minute after that."""

    day: date
    bad: int
    claim_by: date
    closes: int

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "date": self.day.isoformat(),
            "bad": self.bad,
            "claim_by": self.claim_by.isoformat(),
            "claim_closes": rfc3339(self.closes * MINUTE_MS),
        }


def deadline(day: date, terms: Terms, zone: str) -> tuple[date, int]:
    """The last local date on which an affected date may be claimed for, and the UTC epoch minute at which that date has passed."""
    last = day + timedelta(days=terms.claim_days)
    return last, day_start(last + timedelta(days=1), zone)


@dataclass(frozen=True, slots=True)
class PortalCounts:
    """One portal's month: what was counted, and what exclusions left out, both by class."""

    counted: Counts
    excluded: Counts


@dataclass(frozen=True, slots=True)
class Tally:
    """A month's counts under one set of windows.

    `missing`: bad requests that were ruled to be missing in silent minutes; they belong to no portal. `excluded_minutes`: minutes that any
    approved window covers. `affected`: by date, in order.
    """

    portals: Mapping[str, PortalCounts]
    missing: int
    excluded_minutes: int
    requests: Reading
    minutes: Reading
    users: Reading | None
    affected: tuple[Affected, ...]

    @property
    def counted(self) -> Counts:
        """What was counted, over all portals, the missing ones aside."""
        return _sum(portal.counted for portal in self.portals.values())

    @property
    def excluded(self) -> Counts:
        """What exclusions left out, over all portals."""
        return _sum(portal.excluded for portal in self.portals.values())

    @property
    def readings(self) -> dict[str, Reading | None]:
        """The three readings by name; None where nothing was counted for one."""
        return {"requests": self.requests, "minutes": self.minutes, "users": self.users}

    @property
    def disagree(self) -> bool:
        """Whether the readings put the month in different bands."""
        return len({reading.band for reading in self.readings.values() if reading and reading.demand}) > 1


def _sum(counts: Iterable[Counts]) -> Counts:
    total = Counts()
    for item in counts:
        total = total.plus(item)
    return total


class Sheet:
    """A month's minutes with all rulings applied, ready to be counted under any set of windows.

    `outside`: requests before or after `period` but within `whole`, the calendar month: the contract did not run. `unclassified`: what is
    left unclassified in the period by code, exclusions not regarded. `silent`: by minute of the period, 0 or the ruling's place + 1.
    """

    def __init__(
        self,
        minutes: MinuteCounts,
        period: Period,
        zone: str,
        terms: Terms,
        rulings: Rulings,
        users: UserMinutes | None = None,
        whole: Period | None = None,
    ) -> None:
        self.period, self.zone, self.terms = period, zone, terms
        self.days = local_days(period, zone)
        self.unclassified: dict[str, int] = {}
        self.ruled: dict[str, int] = {}
        self.outside = Counts()
        self._users = users
        self._portals: dict[str, tuple[Integers, Integers, Counts]] = {}
        self._good = np.zeros(period.minutes, dtype=np.int64)
        self._bad = np.zeros(period.minutes, dtype=np.int64)
        self._busy = np.zeros(period.minutes, dtype=np.int64)
        """By minute of the period, no window regarded: good, bad, and how many portals had requests of any kind."""
        for portal in sorted(minutes.portals()):
            at, counts = minutes.minutes(portal)
            if whole is not None:
                low, high = np.searchsorted(at, (whole.start, whole.end))
                within = (at[low:high] >= period.start) & (at[low:high] < period.end)
                self.outside = self.outside.plus(_counts(counts[low:high][~within].sum(axis=0)))
            low, high = np.searchsorted(at, (period.start, period.end))
            if low == high:
                continue
            here = at[low:high] - period.start
            rows = np.array(counts[low:high], dtype=np.int64)
            self._rule(here, rows, minutes.codes(portal), rulings)
            self._portals[portal] = (here, rows, _counts(rows.sum(axis=0)))
            self._good[here] += _good(rows)
            self._bad[here] += _bad(rows)
            self._busy[here] += 1
        self.silent, self._missing = self._silences(rulings)
        self._bad += self._missing

    def _rule(self, here: Integers, rows: Integers, codes: Mapping[str, Mapping[int, int]], rulings: Rulings) -> None:
        """Move unclassified failures to the class that a ruling gives them; `here` are minutes of the period."""
        start, end = self.period.start, self.period.end
        for code in sorted(codes):
            decided = code in rulings.codes
            for minute, n in sorted(codes[code].items()) if decided else codes[code].items():
                if not start <= minute < end:
                    continue
                fault = rulings.fault(code, minute) if decided else None
                if fault is None:
                    self.unclassified[code] = self.unclassified.get(code, 0) + n
                    continue
                place = int(np.searchsorted(here, minute - start))
                if place == len(here) or here[place] != minute - start or rows[place, _UNCLASSIFIED] < n:
                    raise AssertionError(
                        f"code {code!r}: {n} unclassified in minute {minute}, which does not hold as many"
                    )
                rows[place, _UNCLASSIFIED] -= n
                rows[place, _CLASS_OF[fault]] += n
                self.ruled[code] = self.ruled.get(code, 0) + n

    def _silences(self, rulings: Rulings) -> tuple[Integers, Integers]:
        """By minute of the period: which ruling on silence holds, and how many requests it holds to be missing."""
        silent = np.zeros(self.period.minutes, dtype=np.int64)
        missing = np.zeros(self.period.minutes, dtype=np.int64)
        for place, ruling in enumerate(rulings.silences, start=1):
            first, upto = max(ruling.start, self.period.start), min(ruling.end, self.period.end)
            if first >= upto:
                continue
            length = ruling.end - ruling.start
            # Minute k of the ruling's n gets floor((k + 1) r / n) - floor(k r / n) of its r requests: they add up to r, whatever is cut off.
            shares = (
                np.arange(first - ruling.start, upto - ruling.start + 1, dtype=np.int64) * ruling.requests // length
            )
            here = slice(first - self.period.start, upto - self.period.start)
            silent[here] = place
            missing[here] = np.diff(shares)
        silent[self._busy > 0] = 0
        missing[self._busy > 0] = 0
        return silent, missing

    def count(self, windows: Sequence[Window]) -> Tally:
        """The month with these windows, which all concern the tenant, left out."""
        portals, good, bad, missing, out = self._without(windows)
        total = good + bad
        with_demand = int(np.count_nonzero(total))
        down = int(np.count_nonzero(100 * bad > self.terms.minute_down_percent * total))
        return Tally(
            portals,
            int(missing.sum()),
            sum(end - start for start, end in self._spans(windows)),
            Reading.of(int(good.sum()), int(bad.sum()), self.terms),
            Reading.of(with_demand - down, down, self.terms),
            self._by_users(out),
            self._affected(bad),
        )

    def by_minute(self, windows: Sequence[Window]) -> tuple[Integers, Integers]:
        """Good and bad requests by minute of the period, with these windows, which all concern the tenant, left out."""
        _, good, bad, _, _ = self._without(windows)
        return good, bad

    def _without(
        self, windows: Sequence[Window]
    ) -> tuple[dict[str, PortalCounts], Integers, Integers, Integers, NDArray[np.bool_]]:
        """What the windows leave: counts by portal; by minute good, bad, the missing in it, and whether all that happened is left out."""
        good, bad, left = self._good.copy(), self._bad.copy(), self._busy.copy()
        portals: dict[str, PortalCounts] = {}
        for portal, (at, rows, came) in self._portals.items():
            out = [slice(*np.searchsorted(at, span)) for span in self._spans(w for w in windows if w.covers(portal))]
            gone = _sum(_counts(rows[part].sum(axis=0)) for part in out)
            portals[portal] = PortalCounts(Counts(*(all_ - n for all_, n in zip(came, gone, strict=True))), gone)
            for part in out:
                good[at[part]] -= _good(rows[part])
                bad[at[part]] -= _bad(rows[part])
                left[at[part]] -= 1
        everywhere = np.zeros(self.period.minutes, dtype=np.bool_)
        for start, end in self._spans(w for w in windows if w.portals is None):
            everywhere[start:end] = True
        missing = np.where(everywhere, 0, self._missing)
        bad -= self._missing - missing
        return portals, good, bad, missing, everywhere | ((left == 0) & (self._busy > 0))

    def by_portal(self, windows: Sequence[Window]) -> dict[str, tuple[Integers, Integers]]:
        """Each portal's UTC epoch minutes (n,) that no window covers, and their counts (n, 5) with all rulings applied."""
        found = {}
        for portal, (at, rows, _) in self._portals.items():
            kept = np.ones(len(at), dtype=np.bool_)
            for span in self._spans(w for w in windows if w.covers(portal)):
                kept[slice(*np.searchsorted(at, span))] = False
            found[portal] = (at[kept] + self.period.start, rows[kept])
        return found

    def _spans(self, windows: Iterable[Window]) -> list[tuple[int, int]]:
        """Minutes of the period [from, to) that a window covers, in order and apart."""
        start = self.period.start
        return [(a - start, b - start) for a, b in apart(self.period, ((w.start, w.end) for w in windows))]

    def _by_users(self, out: NDArray[np.bool_]) -> Reading | None:
        if self._users is None:
            return None
        at = self._users.minutes - self.period.start
        within = (at >= 0) & (at < self.period.minutes)
        within[within] = ~out[at[within]]
        users, failed = int(self._users.users[within].sum()), int(self._users.failed[within].sum())
        return Reading.of(users - failed, failed, self.terms)

    def _affected(self, bad: Integers) -> tuple[Affected, ...]:
        found = []
        for day, start, end in self.days:
            n = int(bad[max(0, start - self.period.start) : end - self.period.start].sum())
            if n:
                found.append(Affected(day, n, *deadline(day, self.terms, self.zone)))
        return tuple(found)

    def undecided(self, silence: Silence) -> int:
        """Minutes of a silence that really are silent in the period and that nobody has ruled on."""
        start, end = (
            min(max(m, self.period.start), self.period.end) - self.period.start for m in (silence.start, silence.end)
        )
        return int(np.count_nonzero((self.silent[start:end] == 0) & (self._busy[start:end] == 0)))


def _counts(row: Integers) -> Counts:
    return Counts(*map(int, row))


def _good(rows: Integers) -> Integers:
    found: Integers = rows[:, _SUCCESS] + rows[:, _CLIENT]
    return found


def _bad(rows: Integers) -> Integers:
    found: Integers = rows[:, _SERVER] + rows[:, _UNCLASSIFIED]
    return found


@dataclass(frozen=True, slots=True)
class Compared:
    """What one exclusion does to the month: the same month with and without it, everything else as it stands."""

    exclusion: Exclusion
    with_it: Tally
    without_it: Tally


def compare(sheet: Sheet, found: Sequence[Exclusion], now: Tally) -> list[Compared]:
    """Each exclusion's effect; `now` is the month as it stands. One that does not count is shown as if it did, beside the month as it is."""
    windows = {item.id: item.window for item in found if item.counts}
    compared = []
    for item in found:
        if item.counts:
            others = [window for name, window in windows.items() if name != item.id]
            compared.append(Compared(item, now, sheet.count(others)))
        else:
            compared.append(Compared(item, sheet.count([*windows.values(), item.window]), now))
    return compared


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many `minutes` the period has, how many were `measured`, and the UTC epoch minutes [from, to) that were not, apart."""

    minutes: int
    measured: int
    gaps: tuple[tuple[int, int], ...]

    def enough(self, terms: Terms) -> bool:
        """Whether a statement may be final without a person's decision."""
        return 100 * self.measured >= terms.coverage_percent * self.minutes

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "minutes": self.minutes,
            "measured": self.measured,
            "share": shown(self.measured, self.minutes - self.measured),
            "gaps": [{"from": rfc3339(a * MINUTE_MS), "to": rfc3339(b * MINUTE_MS)} for a, b in self.gaps],
        }


def coverage(period: Period, gaps: Iterable[tuple[int, int]]) -> Coverage:
    """The coverage of a period with these gaps, UTC epoch minutes [from, to), which may overlap and reach beyond it."""
    found = apart(period, gaps)
    return Coverage(period.minutes, period.minutes - sum(b - a for a, b in found), tuple(found))


def apart(period: Period, stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The minutes of the period that lie in any of the stretches [from, to): in order, none touching another."""
    found: list[tuple[int, int]] = []
    for start, end in sorted((max(a, period.start), min(b, period.end)) for a, b in stretches):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
