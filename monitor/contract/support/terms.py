"""What is promised to who asks for help, as data: opening hours, and for each severity a first response and updates.

The source leaves open when "once per day" is late; the reading held here, and what follows from it:

- The clocks of a request start at its opening, or at the next opening time of the desk when it was closed then. So an
  opening that moves within closed hours moves nothing. First responses are counted in open minutes from there.
- An update is owed by the closing time of a working day. The day it is counted from is that of the last answer, or
  that of the start while there is none; an answer in closed hours belongs to the working day before it (it does not
  do for the next one's update).
- P1: the next working day. P2: the third one after, with a warning at the closing time of the second. P3: seven
  calendar days later. P4: the same date of the next month (31 January: the last of February). A date that is no
  working day rolls forward to the next.
- A more severe request is never due later: when a long closure would turn the order round (three working days may
  take longer than a week), it is due when the less severe one is.
- An answer at the very instant is in time.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Literal, get_args

from monitor.contract.support.hours import OpeningHours, Span, public_holidays
from monitor.settings import Settings, SettingsError

Severity = Literal["P1", "P2", "P3", "P4"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""Most severe first, so that their order is that of the strings."""

Unit = Literal["business_day", "week", "month"]
UNITS: tuple[Unit, ...] = get_args(Unit)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """An update `every` so many units.

    `warn`: after so many units people are warned; 0 leaves it to the terms' `warn_minutes`.
    """

    every: int
    unit: Unit
    warn: int = 0

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"expected one of {', '.join(UNITS)}, found {self.unit!r}")
        if not isinstance(self.every, int) or self.every < 1 or self.warn not in range(self.every):
            raise ValueError(
                f"expected an update every 1 or more, warned of earlier, found {self.every} and {self.warn}"
            )


@dataclass(frozen=True, slots=True)
class Promise:
    """For one severity: a first response within so many open minutes, then updates."""

    first_response_minutes: int
    update: UpdateRule

    def __post_init__(self) -> None:
        if not isinstance(self.first_response_minutes, int) or self.first_response_minutes < 1:
            raise ValueError(f"expected a first response in 1 or more minutes, found {self.first_response_minutes}")


@dataclass(frozen=True, slots=True)
class SupportTerms:
    """The terms of support. The defaults are the standard package; an enhanced one is another value.

    `promises`: by severity, P1 first. `warn_minutes`: open minutes before a due time at which people are warned,
    unless a rule says when.
    """

    version: str = "support-standard-1"
    hours: OpeningHours = field(default_factory=OpeningHours)
    promises: tuple[Promise, ...] = (
        Promise(4 * 60, UpdateRule(1, "business_day")),
        Promise(6 * 60, UpdateRule(3, "business_day", warn=2)),
        Promise(8 * 60, UpdateRule(1, "week")),
        Promise(12 * 60, UpdateRule(1, "month")),
    )
    warn_minutes: int = 60

    def __post_init__(self) -> None:
        faults = []
        if len(self.promises) != len(SEVERITIES):
            faults.append(f"promises: expected one for each of {', '.join(SEVERITIES)}, found {len(self.promises)}")
        minutes = [promise.first_response_minutes for promise in self.promises]
        if minutes != sorted(minutes):
            faults.append(
                f"promises: expected no first response sooner for a less severe request, found {minutes} minutes"
            )
        if self.warn_minutes < 0:
            faults.append(f"warn_minutes: expected 0 or more, found {self.warn_minutes}")
        if faults:
            raise ValueError("; ".join(faults))

    def promise(self, severity: Severity) -> Promise:
        """What is promised for a severity."""
        return self.promises[SEVERITIES.index(severity)]

    def first_response_due(self, severity: Severity, opened: int) -> int:
        """The instant by which a request opened at the instant `opened` is to be answered first."""
        return self.hours.after(opened, self.promise(severity).first_response_minutes)

    def first_response_warning(self, severity: Severity, opened: int) -> int:
        """The instant from which people are warned that the first response is owed."""
        return self.hours.before(self.first_response_due(severity, opened), self.warn_minutes)

    def update_due(self, severity: Severity, opened: int, answered: int | None = None) -> int:
        """The instant by which the next update is owed, `answered` being the last answer, if any."""
        return _update_times(self, severity, self._counted_from(opened, answered))[1]

    def update_warning(self, severity: Severity, opened: int, answered: int | None = None) -> int:
        """The instant from which people are warned that the next update is owed."""
        return _update_times(self, severity, self._counted_from(opened, answered))[0]

    def _counted_from(self, opened: int, answered: int | None) -> date:
        start = self.hours.roll(opened)
        return self.hours.business_day(start if answered is None else max(start, answered))


@lru_cache(maxsize=1 << 14)
def _update_times(terms: SupportTerms, severity: Severity, day: date) -> tuple[int, int]:
    """The warning and the due time of the update that is counted from a working day."""

    def closing(unit: Unit, count: int) -> int:
        if unit == "business_day":
            return terms.hours.closing(terms.hours.working_day(day, count))
        later = day + timedelta(weeks=count) if unit == "week" else months_later(day, count)
        return terms.hours.closing(terms.hours.working_day(later))

    rule = terms.promise(severity).update
    milder = (promise.update for promise in terms.promises[SEVERITIES.index(severity) :])
    due = min(closing(other.unit, other.every) for other in milder)
    warning = terms.hours.before(due, terms.warn_minutes)
    return (min(warning, closing(rule.unit, rule.warn)) if rule.warn else warning), due


def months_later(day: date, count: int) -> date:
    """The same date `count` months later, or the last of that month when it has no such date."""
    year, month = divmod(day.year * 12 + day.month - 1 + count, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


STANDARD_SUPPORT = SupportTerms()
"""The published package: Monday to Friday 09:00 to 17:00 in London, England's public holidays."""


def support_terms(data: Mapping[str, Any], base: SupportTerms = STANDARD_SUPPORT) -> SupportTerms:
    """Terms from a JSON or TOML document (`deploy/schemas/support-terms.schema.json`).

    What it does not name is as in `base`. Names every fault in one ValueError.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"expected an object of terms, found {type(data).__name__}")  # noqa: TRY004 - bad data
    faults: list[str] = []
    known = {"version", "zone", "hours", "public_holidays", "company_holidays", "first_response_minutes", "updates"} | {
        "warn_minutes"
    }
    faults += [f"{name}: expected one of {', '.join(sorted(known))}" for name in sorted(set(data) - known)]
    week = _week(data.get("hours"), base.hours.week, faults)
    country, subdivision = base.hours.country, base.hours.subdivision
    if "public_holidays" in data:
        country, subdivision = _place(data["public_holidays"], faults)
    promises = _promises(data, base.promises, faults)
    version, zone = (
        _typed(data, name, str, default, faults)
        for name, default in (("version", base.version), ("zone", base.hours.zone))
    )
    warn_minutes = _typed(data, "warn_minutes", int, base.warn_minutes, faults)
    closed = _dates(data["company_holidays"], faults) if "company_holidays" in data else base.hours.company_holidays
    if not faults:
        try:
            hours = OpeningHours(zone, week, country, subdivision, closed)
            _check_opens(hours)
            return SupportTerms(version, hours, promises, warn_minutes)
        except ValueError as error:
            faults.append(str(error))
    raise ValueError("; ".join(faults))


def headquarters(settings: Settings) -> SupportTerms:
    """The terms of those without a package of their own: the published ones in the headquarters' zone. SettingsError says why not."""
    days = [day.isoformat() for day in settings.company_holidays]
    place = {"zone": settings.hq_zone, "public_holidays": settings.hq_public_holidays}
    try:
        return support_terms({**place, "company_holidays": days})
    except ValueError as error:
        raise SettingsError(f"settings: the headquarters' {error}") from error


def _check_opens(hours: OpeningHours) -> None:
    """ValueError when days of the company's own shut the desk for more than a year: nothing would fall due."""
    for day in sorted(hours.company_holidays):
        if hours.working_day(day) > day + timedelta(days=366):
            raise ValueError(f"company_holidays: expected an open day within a year of {day}, found none")


def _typed(data: Mapping[str, Any], name: str, kind: type, default: Any, faults: list[str]) -> Any:
    found = data.get(name, default)
    if not isinstance(found, kind) or isinstance(found, bool):
        faults.append(f"{name}: expected {kind.__name__}, found {found!r}")
        return default
    return found


def _week(found: Any, standard: tuple[tuple[Span, ...], ...], faults: list[str]) -> tuple[tuple[Span, ...], ...]:
    """Hours such as {"mon": ["09:00-17:00"]}; a weekday that is not named is closed."""
    if found is None:
        return standard
    if not isinstance(found, Mapping):
        faults.append(f'hours: expected spans by weekday such as {{"mon": ["09:00-17:00"]}}, found {found!r}')
        return standard
    faults += [f"hours.{day}: expected one of {', '.join(WEEKDAYS)}" for day in found if day not in WEEKDAYS]
    week = []
    for day in WEEKDAYS:
        spans = []
        listed = found.get(day, [])
        if not isinstance(listed, list):
            faults.append(f"hours.{day}: expected a list of spans such as 09:00-17:00, found {listed!r}")
            continue
        for text in listed:
            match = _SPAN.fullmatch(str(text))
            if match is None:
                faults.append(f"hours.{day}: expected a span such as 09:00-17:00, found {text!r}")
                continue
            hour, minute, end_hour, end_minute = (int(part) for part in match.groups())
            spans.append((hour * 60 + minute, end_hour * 60 + end_minute))
        week.append(tuple(spans))
    return tuple(week)


def _place(found: Any, faults: list[str]) -> tuple[str, str]:
    """Whose public holidays: "GB-ENG", "US", or "" for nobody's."""
    country, _, subdivision = str(found).partition("-")
    try:
        public_holidays(country, subdivision, 2026)
    except ValueError as error:
        faults.append(f"public_holidays: {error}")
        return "", ""
    return country, subdivision


def _promises(data: Mapping[str, Any], base: tuple[Promise, ...], faults: list[str]) -> tuple[Promise, ...]:
    minutes, rules = data.get("first_response_minutes", {}), data.get("updates", {})
    for name, found in (("first_response_minutes", minutes), ("updates", rules)):
        if not isinstance(found, Mapping) or set(found) - set(SEVERITIES):
            faults.append(f"{name}: expected values by severity {', '.join(SEVERITIES)}, found {found!r}")
            return base
    promises = []
    for severity, standard in zip(SEVERITIES, base, strict=True):
        try:
            rule = UpdateRule(**rules[severity]) if severity in rules else standard.update
            promises.append(Promise(minutes.get(severity, standard.first_response_minutes), rule))
        except (TypeError, ValueError) as error:
            faults.append(f"{severity}: {error}")
    return tuple(promises)


def _dates(found: Any, faults: list[str]) -> frozenset[date]:
    """Dates as text, or as TOML's own."""
    days = set()
    for item in found if isinstance(found, list) else [found]:
        try:
            days.add(item if type(item) is date else date.fromisoformat(item))
        except (TypeError, ValueError):
            faults.append(f"company_holidays: expected a date such as 2026-12-24, found {item!r}")
    return frozenset(days)
