"""A tenant's month so far: sums by portal, with what approved exclusions leave out apart. Kept up to date as minutes come in.

Sums are of integers by class; whoever wants good and bad adds classes up. An excluded minute of a portal is left out once, however many
windows cover it. Rulings on codes and silences are not incremental: where one matters, `settle` puts a whole recount in place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.contract.exclusions import Window
from monitor.contract.period import DAY, Period
from monitor.contract.readings import Tally, apart
from monitor.counting.day import WIDTH, Day, add_row
from monitor.counting.frame import Row

DayAt = Callable[[int], Day | None]
"""Gives a UTC day by its number; None when it holds nothing."""
Spans = list[tuple[int, int]]
"""UTC epoch minutes [from, to), in order and apart."""


class LeftOut:
    """The approved windows that concern one tenant, by portal. `between` gives the excluded minutes of a portal within a period."""

    __slots__ = ("_spans", "windows")

    def __init__(self, windows: Sequence[Window] = ()) -> None:
        self.windows = tuple(windows)
        self._spans: dict[tuple[str, Period], Spans] = {}

    def between(self, portal: str, period: Period) -> Spans:
        """Minutes of the period in which the portal is excluded."""
        if not self.windows:
            return []
        key = (portal, period)
        found = self._spans.get(key)
        if found is None:
            found = self._spans[key] = apart(period, ((w.start, w.end) for w in self.windows if w.covers(portal)))
        return found

    def at(self, minute: int) -> bool:
        """Whether any window covers the UTC epoch minute."""
        return any(window.start <= minute < window.end for window in self.windows)

    def touches(self, first: int, upto: int) -> bool:
        """Whether any window has a minute in [first, upto)."""
        return any(window.start < upto and window.end > first for window in self.windows)


class MonthSums:
    """See the module. `rows`: five counts by portal that count; `excluded`: those in excluded minutes; `missing`: ruled to be missing.
    `recounted`: whether a recount stands in place of the sums, so that the next one is needed too.
    """

    __slots__ = ("excluded", "left_out", "missing", "period", "recounted", "rows")

    def __init__(self, period: Period, left_out: LeftOut) -> None:
        self.period = period
        self.left_out = left_out
        self.rows: dict[str, Row] = {}
        self.excluded: dict[str, Row] = {}
        self.missing = 0
        self.recounted = False

    def add(self, portal: str, minute: int, row: Row) -> None:
        """Add five counts of a portal in a UTC epoch minute; one outside the period is none of this month's."""
        if not self.period.start <= minute < self.period.end:
            return
        spans = self.left_out.between(portal, self.period) if self.left_out.windows else ()
        if not spans:
            _add(self.rows, portal, row)
            return
        place = bisect_right(spans, (minute, self.period.end)) - 1
        out = place >= 0 and minute < spans[place][1]
        _add(self.excluded if out else self.rows, portal, row)

    def fill(self, numbers: Container[int], day_at: DayAt) -> None:
        """Add all minutes of the period; `numbers`: the days that hold any."""
        first, last = self.period.start // DAY, (self.period.end - 1) // DAY
        days = {n: day for n in range(first, last + 1) if n in numbers and (day := day_at(n)) is not None}
        self._sum(days, self.period.start, self.period.end, self.rows, 1)
        for portal in list(self.rows):
            for start, end in self.left_out.between(portal, self.period):
                self._sum(days, start, end, self.excluded, 1, portal)
                self._sum(days, start, end, self.rows, -1, portal)

    @staticmethod
    def _sum(
        days: Mapping[int, Day], first: int, upto: int, into: dict[str, Row], sign: int, portal: str | None = None
    ) -> None:
        for number, day in days.items():
            if not first // DAY <= number <= (upto - 1) // DAY:
                continue
            for name, row in day.between(first - number * DAY, upto - number * DAY).items():
                if portal is None or name == portal:
                    _add(into, name, [sign * n for n in row])

    def settle(self, tally: Tally) -> None:
        """Take a recount's sums in place of one's own."""
        self.rows = {name: list(portal.counted) for name, portal in tally.portals.items()}
        self.excluded = {name: list(portal.excluded) for name, portal in tally.portals.items() if any(portal.excluded)}
        self.missing = tally.missing
        self.recounted = True

    @property
    def total(self) -> Row:
        """Five counts over all portals, of what counts."""
        return add_up(self.rows.values())

    @property
    def came(self) -> dict[str, Row]:
        """Five counts by portal of all that came, exclusions not regarded."""
        if not self.excluded:
            return self.rows
        return {
            name: add_up([self.rows.get(name, NOTHING), self.excluded.get(name, NOTHING)])
            for name in {**self.rows, **self.excluded}
        }


class DayMinutes:
    """A tenant's minutes over some days, as statements read them: `contract.readings.MinuteCounts`."""

    def __init__(self, days: Sequence[Day]) -> None:
        """`days` in order."""
        self._days = days

    def portals(self) -> set[str]:
        """The portals with requests."""
        return {portal for day in self._days for portal in day.portals}

    def minutes(self, portal: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """UTC epoch minutes (n,), rising, and their counts (n, 5)."""
        parts = [(day.first_minute, day.portals[portal].table()) for day in self._days if portal in day.portals]
        minutes = [first + minutes.astype(np.int64) for first, (minutes, _) in parts]
        return np.concatenate(minutes), np.concatenate([counts for _, (_, counts) in parts])

    def codes(self, portal: str) -> dict[str, dict[int, int]]:
        """The unclassified ones by code and UTC epoch minute."""
        found: dict[str, dict[int, int]] = {}
        for day in self._days:
            for code, minutes in day.codes.get(portal, {}).items():
                mine = found.setdefault(code, {})
                for minute, n in minutes.items():
                    mine[day.first_minute + minute] = n
        return found


NOTHING: Row = [0] * WIDTH


def _add(into: dict[str, Row], portal: str, row: Row) -> None:
    mine = into.get(portal)
    if mine is None:
        mine = into[portal] = [0] * WIDTH
    add_row(mine, 0, row)


def add_up(rows: Iterable[Row]) -> Row:
    """The sum of rows of five counts."""
    return [sum(column) for column in zip(NOTHING, *rows, strict=True)]
