"""Service periods: calendar months in a tenant's zone, as half-open ranges of UTC epoch minutes.

A month is calendar arithmetic, never hours divided by 24: with a clock change inside it is 60 minutes shorter or longer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

DAY = 1440
"""Minutes of a UTC day."""
MINUTE_MS = 60_000
"""Milliseconds of a minute."""
_NAME = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A calendar month: `start` and `end` are UTC epoch minutes, the end outside. `name` is like "2026-11"."""

    start: int
    end: int
    name: str

    def __contains__(self, minute: int) -> bool:
        return self.start <= minute < self.end

    @property
    def minutes(self) -> int:
        """The period's length in minutes."""
        return self.end - self.start


def minute_of(moment: datetime) -> int:
    """The UTC epoch minute that an aware datetime falls in."""
    if moment.tzinfo is None:
        raise ValueError(f"expected a time with an offset, found {moment.isoformat()}")
    return int((moment - _EPOCH).total_seconds()) // 60


def moment_of(minute: int, zone: str = "UTC") -> datetime:
    """The start of a UTC epoch minute, as an aware datetime in `zone`."""
    return (_EPOCH + timedelta(minutes=minute)).astimezone(ZoneInfo(zone))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def month(year: int, number: int, zone: str = "UTC") -> Period:
    """The calendar month `number` (1 to 12) of `year` in the IANA zone."""
    tz = ZoneInfo(zone)
    after = (year + number // 12, number % 12 + 1)
    start = minute_of(datetime(year, number, 1, tzinfo=tz))
    return Period(start, minute_of(datetime(*after, 1, tzinfo=tz)), f"{year:04d}-{number:02d}")


def month_named(name: str, zone: str = "UTC") -> Period:
    """The month called like "2026-11"; ValueError for another form."""
    found = _NAME.fullmatch(name)
    if not found:
        raise ValueError(f'expected a month like "2026-11", found {name!r}')
    return month(int(found[1]), int(found[2]), zone)


def month_at(minute: int, zone: str = "UTC") -> Period:
    """The calendar month in `zone` that holds the UTC epoch minute."""
    if zone == "UTC":
        return _utc_month_of_day(minute // DAY)
    local = moment_of(minute, zone)
    return month(local.year, local.month, zone)


@lru_cache(maxsize=4096)
def _utc_month_of_day(day: int) -> Period:
    first = date(1970, 1, 1) + timedelta(days=day)
    return month(first.year, first.month)


def month_before(period: Period, zone: str = "UTC") -> Period:
    """The month that ends where `period` starts."""
    return month_at(period.start - 1, zone)


def month_after(period: Period, zone: str = "UTC") -> Period:
    """The month that starts where `period` ends."""
    return month_at(period.end, zone)


@lru_cache(maxsize=1 << 16)
def day_start(day: date, zone: str = "UTC") -> int:
    """The UTC epoch minute at which a local date starts; where the clock skips midnight, the first minute after."""
    return minute_of(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)))


def local_date(minute: int, zone: str = "UTC") -> date:
    """The local date in `zone` that the UTC epoch minute falls on."""
    return moment_of(minute, zone).date()


def local_days(period: Period, zone: str = "UTC") -> list[tuple[date, int, int]]:
    """The local dates that touch the period, each with its first and end minute in UTC (the end outside), not clipped."""
    if period.start >= period.end:
        return []
    first, last = local_date(period.start, zone), local_date(period.end - 1, zone)
    days = [first + timedelta(days=ahead) for ahead in range((last - first).days + 2)]
    return [(day, day_start(day, zone), day_start(after, zone)) for day, after in pairwise(days)]
