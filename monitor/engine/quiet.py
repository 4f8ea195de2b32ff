"""Where nobody asks though somebody must: each tenant's silence as it goes on, and the partition's. What makes one is `forecast.silence`'s.

The platform is a tenant whose requests are those of all tenants of the partition; they are spread over partitions alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.contract.period import DAY
from monitor.contract.readings import Silence
from monitor.counting.day import Day
from monitor.engine.state import Tenant
from monitor.forecast import History
from monitor.forecast.silence import LEAST, LOOKBACK, Rhythm, ongoing, rhythms, silences

Gaps = Sequence[tuple[int, int]]
"""UTC epoch minutes [from, to) that were not measured."""
Integers = NDArray[np.int64]
PLATFORM = "platform"
PLATFORM_DAYS = LOOKBACK + 45
"""Days of the platform that are kept: a month until its final statement, and the weeks before that tell its silences."""


class Platform:
    """All tenants of a partition as one."""

    def __init__(self) -> None:
        self.silence: Silence | None = None
        self._days: dict[int, list[int]] = {}
        self._unfed: set[int] = set()
        self._history = History()
        self._last = -1
        self._rhythm: Rhythm | None = None

    def count(self, minutes: Mapping[int, int]) -> None:
        """Requests came: how many, by UTC epoch minute."""
        for minute, n in minutes.items():
            number, within = divmod(minute, DAY)
            self._day(number)[within] += n
        self._last = max(self._last, max(minutes, default=-1))

    def recovered(self, number: int, by_minute: Integers) -> None:
        """A day of a tenant was read from the table; `by_minute` (1440,)."""
        day = self._day(number)
        busy = np.flatnonzero(by_minute)
        for minute in busy.tolist():
            day[minute] += int(by_minute[minute])
        if len(busy):
            self._last = max(self._last, number * DAY + int(busy[-1]))

    def _day(self, number: int) -> list[int]:
        self._unfed.add(number)
        found = self._days.get(number)
        if found is None:
            found = self._days[number] = [0] * DAY
        return found

    def look(self, now: int, gaps: Gaps) -> None:
        """Bring `silence` up to the UTC epoch minute `now` (outside)."""
        for number in sorted(self._unfed):
            total = np.array(self._days[number], dtype=np.int64)
            self._history.replace_day(number, total, np.zeros(DAY, dtype=np.int64))
        self._unfed.clear()
        self._history.close(now)
        for number in [number for number in self._days if number < now // DAY - PLATFORM_DAYS]:
            del self._days[number]
        self.silence = None
        if self._last < 0 or now - self._last <= LEAST:
            return
        if self._rhythm is None or self._rhythm.day != self._last // DAY:
            (self._rhythm,) = rhythms([self._history], [self._last // DAY])
        self.silence = ongoing(self._rhythm, self._history, self._last, now, self._seen, gaps, PLATFORM)

    def _seen(self, first: int, upto: int) -> int:
        found = (self._days.get(minute // DAY, _EMPTY)[minute % DAY] for minute in range(first, upto))
        return sum(n > 0 for n in found)

    def between(self, start: int, upto: int, gaps: Gaps) -> list[Silence]:
        """The platform's silences that touch the UTC epoch minutes [start, upto), as far back as its days are kept."""

        def day_at(number: int) -> Integers | None:
            found = self._days.get(number)
            return np.array(found, dtype=np.int64) if found else None

        return silences(day_at, start, upto, gaps, PLATFORM)


_EMPTY = [0] * DAY


def look(tenants: Iterable[Tenant], now: int, gaps: Gaps, table: MutableMapping[bytes, bytes]) -> Iterator[Tenant]:
    """Bring `silence` of these tenants up to the UTC epoch minute `now` (outside); those for whom it began or ended."""
    waiting = []
    for tenant in tenants:
        last = last_minute(tenant, table)
        if last < 0 or now - last <= LEAST or tenant.history is None:
            if tenant.silence is not None:
                tenant.silence = None
                yield tenant
        else:
            waiting.append(tenant)
    new = [tenant for tenant in waiting if tenant.rhythm is None or tenant.rhythm.day != tenant.last_minute // DAY]
    made = rhythms([t.history for t in new if t.history is not None], [t.last_minute // DAY for t in new])
    for tenant, rhythm in zip(new, made, strict=True):
        tenant.rhythm = rhythm
    for tenant in waiting:
        if tenant.rhythm is None or tenant.history is None:
            continue
        before = tenant.silence
        seen = _seen(tenant, table)
        tenant.silence = ongoing(tenant.rhythm, tenant.history, tenant.last_minute, now, seen, gaps)
        if (before is None) != (tenant.silence is None):
            yield tenant


def last_minute(tenant: Tenant, table: MutableMapping[bytes, bytes]) -> int:
    """The last UTC epoch minute with a request of any kind, -1 without one."""
    if tenant.last_minute < 0 and tenant.numbers:
        number = max(tenant.numbers)
        day = tenant.day(number, table)
        if day is not None:
            newest = (portal.minutes[-1] if portal.minutes else 0 for portal in day.portals.values())
            tenant.last_minute = number * DAY + max(newest)
    return tenant.last_minute


def _seen(tenant: Tenant, table: MutableMapping[bytes, bytes]) -> Callable[[int, int], int]:
    def seen(first: int, upto: int) -> int:
        found = 0
        for number in range(first // DAY, (upto - 1) // DAY + 1):
            day = tenant.day(number, table)
            if day is not None:
                base = number * DAY
                found += int(np.count_nonzero(day.by_minute()[max(first - base, 0) : max(upto - base, 0)]))
        return found

    return seen


def of_month(tenant: Tenant, day_at: Callable[[int], Day | None], start: int, upto: int, gaps: Gaps) -> list[Silence]:
    """The tenant's silences that touch the UTC epoch minutes [start, upto), for a statement."""

    def requests(number: int) -> Integers | None:
        day = day_at(number) if number in tenant.numbers else None
        return None if day is None else day.by_minute()

    return silences(requests, start, upto, gaps)
