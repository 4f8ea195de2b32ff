"""Opening hours of a support desk: which instants are open, and where so many business minutes end.

The hours are read off the wall clock of the desk's zone: an instant is open when the local date is a working day and
the local time of day lies in one of that weekday's spans. What passes is real time: when the clock is put forward
inside the hours, the day has an hour less to offer; when it is put back, an hour more. Instants are UTC epoch
milliseconds; the end of every span is outside.

A working day is a weekday with hours that is neither a public holiday of the desk's country (as the `holidays`
package knows it) nor a day the company closes. A holiday proclaimed after that package was released is entered as a
day of the company's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(1970, 1, 1)
_SEARCH_DAYS = 400
"""A desk that stays shut for longer than this has no opening hours worth the name."""

Span = tuple[int, int]
NINE_TO_FIVE: tuple[Span, ...] = ((9 * 60, 17 * 60),)


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """When a desk is open.

    `week`: for each weekday from Monday the spans [start, end) in minutes of the local day, in order; 1440 is
    midnight at its end. `country` and `subdivision`: whose public holidays close it, in ISO 3166 codes; an empty
    country means nobody's. `company_holidays`: further local dates on which it is closed. All faults are named in one
    ValueError.
    """

    zone: str = "Europe/London"
    week: tuple[tuple[Span, ...], ...] = (NINE_TO_FIVE,) * 5 + ((), ())
    country: str = "GB"
    subdivision: str = "ENG"
    company_holidays: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        faults = []
        try:
            ZoneInfo(self.zone)
        except (ValueError, OSError, LookupError):
            faults.append(f"zone: expected an IANA zone such as Europe/London, found {self.zone!r}")
        if len(self.week) != 7:
            faults.append(f"week: expected 7 weekdays from Monday, found {len(self.week)}")
        elif not any(self.week):
            faults.append("week: expected hours on one weekday at least")
        for spans in self.week:
            edges = [edge for span in spans for edge in span]
            if edges != sorted(set(edges)) or any(not 0 <= edge <= 1440 for edge in edges):
                faults.append(f"week: expected spans in order, apart, within minutes 0 to 1440, found {spans}")
        if self.subdivision and not self.country:
            faults.append(f"subdivision: expected none without a country, found {self.subdivision!r}")
        if faults:
            raise ValueError("; ".join(faults))

    @property
    def holidays(self) -> Holidays:
        """The local dates on which it is closed whatever weekday they are."""
        return Holidays(self)

    def spans(self, day: date) -> tuple[Span, ...]:
        """The open spans of a local date as instants [start, end), in order; empty when it is no working day."""
        return _spans(self, day)

    def span(self, at: int) -> Span:
        """The open span that holds the instant, or the next one."""
        return next(self._spans_from(at))

    def is_open(self, at: int) -> bool:
        """Whether the desk is open at the instant."""
        return self.span(at)[0] <= at

    def roll(self, at: int) -> int:
        """The instant itself when the desk is open then, else the next opening."""
        return max(at, self.span(at)[0])

    def after(self, at: int, minutes: int) -> int:
        """The first instant at which `minutes` open minutes have passed since `at`; it may be a closing time."""
        left = minutes * MINUTE_MS
        for opening, closing in self._spans_from(at):
            start = max(opening, at)
            if left <= closing - start:
                return start + left
            left -= closing - start
        raise AssertionError("the spans of a desk do not end")

    def before(self, at: int, minutes: int) -> int:
        """The last instant from which `minutes` open minutes pass until `at`; it may be an opening time."""
        left = minutes * MINUTE_MS
        for opening, closing in self._spans_back_from(at):
            end = min(closing, at)
            if left <= end - opening:
                return end - left
            left -= end - opening
        raise AssertionError("the spans of a desk do not begin")

    def business_day(self, at: int) -> date:
        """The newest working day that has begun by the instant: at night and on closed days the one before."""
        day = self.local(at).date() + timedelta(days=1)
        for back in range(_SEARCH_DAYS):
            spans = self.spans(day - timedelta(days=back))
            if spans and spans[0][0] <= at:
                return day - timedelta(days=back)
        raise ValueError(self._shut(day))

    def working_day(self, day: date, count: int = 0) -> date:
        """The first working day at or after `day` when `count` is 0, else the `count`-th working day after `day`."""
        if count == 0:
            day -= timedelta(days=1)
            count = 1
        for _ in range(count):
            for ahead in range(1, _SEARCH_DAYS + 1):
                if self.spans(day + timedelta(days=ahead)):
                    day += timedelta(days=ahead)
                    break
            else:
                raise ValueError(self._shut(day))
        return day

    def closing(self, day: date) -> int:
        """The closing time of a working day."""
        return self.spans(day)[-1][1]

    def local(self, at: int) -> datetime:
        """The instant on the desk's wall clock."""
        return (_EPOCH + timedelta(milliseconds=at)).astimezone(ZoneInfo(self.zone))

    def _spans_from(self, at: int) -> Iterator[Span]:
        """The spans that end after the instant, in order, without end."""
        day, shut = self.local(at).date() - timedelta(days=1), 0
        while shut < _SEARCH_DAYS:
            shut += 1
            for span in self.spans(day):
                if span[1] > at:
                    shut = 0
                    yield span
            day += timedelta(days=1)
        raise ValueError(self._shut(day))

    def _spans_back_from(self, at: int) -> Iterator[Span]:
        """The spans that begin before the instant, newest first, without end."""
        day, shut = self.local(at).date() + timedelta(days=1), 0
        while shut < _SEARCH_DAYS:
            shut += 1
            for span in reversed(self.spans(day)):
                if span[0] < at:
                    shut = 0
                    yield span
            day -= timedelta(days=1)
        raise ValueError(self._shut(day))

    def _shut(self, day: date) -> str:
        return f"expected an open day within {_SEARCH_DAYS} days of {day}, found none: look at the closed days"


@dataclass(frozen=True, slots=True)
class Holidays:
    """The public holidays of a desk's place, in any year, and the days on which the company closes."""

    hours: OpeningHours

    def __contains__(self, day: object) -> bool:
        hours = self.hours
        return isinstance(day, date) and (
            day in hours.company_holidays or day in public_holidays(hours.country, hours.subdivision, day.year)
        )


@lru_cache(maxsize=1 << 16)
def _spans(hours: OpeningHours, day: date) -> tuple[Span, ...]:
    local = hours.week[day.weekday()]
    if not local or day in hours.holidays:
        return ()
    midnight = (day - _FIRST_DAY).days * DAY_MS
    # Offsets run from -12 to +14 hours: in UTC the local date lies within these two instants.
    low, high = midnight - 14 * HOUR_MS, midnight + 36 * HOUR_MS
    old, new = _offset(hours.zone, low), _offset(hours.zone, high)
    edges = [(midnight + start * MINUTE_MS, midnight + end * MINUTE_MS) for start, end in local]
    if old == new:
        return tuple((start - old, end - old) for start, end in edges)
    change = _change(hours.zone, low, high)
    # Either side of the change has its own wall clock: a span may lose a piece, gain one, or fall in two.
    pieces = [(start - old, min(end - old, change)) for start, end in edges]
    pieces += [(max(start - new, change), end - new) for start, end in edges]
    joined: list[Span] = []
    for start, end in sorted(piece for piece in pieces if piece[0] < piece[1]):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)


def _offset(zone: str, at: int) -> int:
    """Milliseconds that the zone's wall clock is ahead of UTC at the instant."""
    offset = (_EPOCH + timedelta(milliseconds=at)).astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None  # noqa: S101 - a ZoneInfo always knows its offset
    return offset // timedelta(milliseconds=1)


def _change(zone: str, low: int, high: int) -> int:
    """The instant in (low, high] from which the offset is that at `high`; there is one change between them."""
    new = _offset(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == new:
            high = middle
        else:
            low = middle
    return high


@lru_cache(maxsize=1024)
def public_holidays(country: str, subdivision: str, year: int) -> frozenset[date]:
    """The public holidays of a year, days in lieu included; ValueError for a place that `holidays` does not know."""
    if not country:
        return frozenset()
    import holidays  # here, because few commands need it and it is slow to load

    try:
        return frozenset(holidays.country_holidays(country, subdiv=subdivision or None, years=year))
    except NotImplementedError as error:
        place = f"{country}-{subdivision}" if subdivision else country
        raise ValueError(f"expected a country (and subdivision) such as GB-ENG, found {place!r}: {error}") from error
