"""Who is promised what, and since when: a tenant's agreements, and the months that they divide time into. No counts here.

Rules:
- A record of the topic `contracts` is the whole agreement as it stands from `effective_from` on. The newest to take effect is in force;
  of two that take effect on the same date, the one recorded last.
- A month is governed by the agreement in force at its start, or, when there was none, by the first to take effect in it. Its terms, zone,
  partner and tier hold for all of the month.
- Months follow each other without gap or overlap: when the zone changes, the first month in the new zone starts where the last one in the
  old zone ended. Before the first agreement months are in UTC.
- The term runs from the local date `start` to the local date `end`, both inside. Credits that were applied come on top of `end`, which is
  always the one agreed on. Requests outside the term are counted and shown, and promised nothing.
- A tenant that nobody has a contract with is under the standard terms, in UTC: shown as unknown, judged, but nobody may claim for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from monitor.contract.decisions import Fields
from monitor.contract.period import Period, day_start, month_after, month_at, month_before, month_named
from monitor.contract.support.terms import SupportTerms, support_terms
from monitor.contract.terms import STANDARD, Terms, terms_of, terms_record

Standing = Literal["in_term", "not_started", "ended", "unknown"]
_TENANT = re.compile(r"[a-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one tenant is promised from the local date `effective_from` on (None: since ever).

    `portals`: those named in the contract; all portals count. `start` and `end`: first and last local date of the term, None where the
    contract names none. `support`: the document of its package of support (`support_terms` reads it), None for the headquarters' own.
    `contracted`: False for the agreement of a tenant that nobody knows. `recorded`: when the log had it, in ms.
    """

    tenant: str
    terms: Terms = STANDARD
    zone: str = "UTC"
    partner: str = ""
    tier: str = ""
    portals: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None
    effective_from: date | None = None
    contracted: bool = False
    recorded: int = 0
    support: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def effective_minute(self) -> int:
        """The UTC epoch minute from which it is in force."""
        return day_start(self.effective_from, self.zone) if self.effective_from else 0

    def term_end(self, extension: int = 0) -> date | None:
        """The last local date of the term with `extension` days of credit on top."""
        return self.end + timedelta(days=extension) if self.end else None

    def covered(self, period: Period, extension: int = 0) -> Period:
        """The part of the period that lies in the term; start and end are equal when none does."""
        last = self.term_end(extension)
        start = max(period.start, day_start(self.start, self.zone)) if self.start else period.start
        end = min(period.end, day_start(last + timedelta(days=1), self.zone)) if last else period.end
        start = min(start, period.end)
        return Period(start, max(start, end), period.name)

    def standing(self, minute: int, extension: int = 0) -> Standing:
        """Whether the UTC epoch minute is in the term."""
        if not self.contracted:
            return "unknown"
        if self.start and minute < day_start(self.start, self.zone):
            return "not_started"
        last = self.term_end(extension)
        return "ended" if last and minute >= day_start(last + timedelta(days=1), self.zone) else "in_term"

    def support_terms(self, standard: SupportTerms) -> SupportTerms:
        """The terms of its package of support, `standard` where it has none or names nothing."""
        return standard if self.support is None else support_terms(self.support, standard)

    def record(self) -> dict[str, Any]:
        """The agreement as the JSON object that `agreement_of` reads."""
        dates = {"start": self.start, "end": self.end, "effective_from": self.effective_from}
        return {
            "tenant": self.tenant,
            "terms": terms_record(self.terms),
            "zone": self.zone,
            "partner": self.partner,
            "tier": self.tier,
            "portals": list(self.portals),
            **({} if self.support is None else {"support": dict(self.support)}),
        } | {name: day.isoformat() for name, day in dates.items() if day}


def agreement_of(data: Any, recorded: int) -> Agreement:
    """The agreement in a record of the topic `contracts` (`deploy/schemas/contract.schema.json`), recorded at the instant `recorded` (ms).

    Without `effective_from` it is in force from the start of the term, without that since ever. Other fields are left alone. Names every
    fault in one ValueError.
    """
    fields = Fields(data)
    tenant = fields.text("tenant", needed=True)
    if tenant and not _TENANT.fullmatch(tenant):
        fields.fault("tenant", "[a-z0-9_-], 1 to 64 characters")
    terms = STANDARD
    if data.get("terms") is not None:
        try:
            terms = terms_of(data["terms"])
        except ValueError as error:
            fields.faults += [f"terms.{fault}" for fault in str(error).split("; ")]
    zone = fields.text("zone") or "UTC"
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, LookupError):
        fields.fault("zone", "an IANA zone such as Europe/London")
    support = data.get("support")
    if support is not None:
        try:
            support_terms(support)
        except ValueError as error:
            fields.faults += [f"support.{fault}" for fault in str(error).split("; ")]
    partner, tier, portals = fields.text("partner"), fields.text("tier"), fields.texts("portals")
    start, end, effective = (_day(fields, name) for name in ("start", "end", "effective_from"))
    if start and end and end < start:
        fields.fault("end", f"a date not before the start, {start}")
    fields.check()
    return Agreement(
        tenant, terms, zone, partner, tier, portals, start, end, effective or start, True, recorded, support
    )


def namesake(known: Iterable[Agreement], new: Agreement) -> Agreement | None:
    """An agreement whose terms have the version of the new one's and say otherwise; None when there is none: a version names its terms."""
    return next((a for a in known if a.terms.version == new.terms.version and a.terms != new.terms), None)


def _day(fields: Fields, name: str) -> date | None:
    day = fields.day(name)
    if day and not 2015 <= day.year < 2100:
        fields.fault(name, "a date between 2015 and 2099")
        return None
    return day


@dataclass(frozen=True, slots=True)
class Month:
    """A tenant's month: the agreement that governs it, the whole `period` of it, and the part `covered` by the term."""

    agreement: Agreement
    period: Period
    covered: Period

    @property
    def standing(self) -> Standing:
        """Where the month stands to the term: in it when any minute is."""
        if self.agreement.contracted and self.covered.start < self.covered.end:
            return "in_term"
        return self.agreement.standing(self.period.start)


@dataclass(frozen=True, slots=True)
class Agreements:
    """All agreements with one tenant, in any order; none for a tenant that nobody knows."""

    tenant: str
    all: tuple[Agreement, ...] = ()
    _months: dict[tuple[str, int], Month] = field(init=False, compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        others = {agreement.tenant for agreement in self.all} - {self.tenant}
        if others:
            raise ValueError(f"expected agreements with {self.tenant}, found {', '.join(sorted(others))}")
        ordered = sorted(self.all, key=lambda item: (item.effective_minute, item.recorded))
        object.__setattr__(self, "all", tuple(ordered))

    def known(self, as_of: int) -> Agreements:
        """Those recorded by the instant `as_of` (ms, inside)."""
        if all(item.recorded <= as_of for item in self.all):
            return self
        return Agreements(self.tenant, tuple(item for item in self.all if item.recorded <= as_of))

    def at(self, minute: int) -> Agreement:
        """The agreement in force at the UTC epoch minute; the default one before the first."""
        return next((item for item in reversed(self.all) if item.effective_minute <= minute), Agreement(self.tenant))

    def month(self, name: str, extension: int = 0) -> Month:
        """The month called like "2026-11", the term being `extension` days longer than agreed; ValueError for another form."""
        found = self._months.get((name, extension))
        if found is None:
            agreement = self._governing(name)
            # Without agreements all are calendar months in UTC.
            period = Period(self._starts(name), self._starts(_after(name)), name) if self.all else month_named(name)
            found = self._months[name, extension] = Month(agreement, period, agreement.covered(period, extension))
        return found

    def month_at(self, minute: int, extension: int = 0) -> Month:
        """The month that holds the UTC epoch minute."""
        for period in _around(month_at(minute)):
            found = self.month(period.name, extension)
            if minute in found.period:
                return found
        raise AssertionError(f"no month of {self.tenant} holds minute {minute}")

    def _governing(self, name: str) -> Agreement:
        """See the rules of the module."""
        at_start = [item for item in self.all if item.effective_minute <= month_named(name, item.zone).start]
        if at_start:
            return at_start[-1]
        within = (item for item in self.all if item.effective_minute < month_named(name, item.zone).end)
        return next(within, Agreement(self.tenant))

    def _starts(self, name: str) -> int:
        """The UTC epoch minute at which the month starts: in the zone of the month before, when a contract governed that."""
        before = self._governing(_before(name))
        zone = before.zone if before.contracted else self._governing(name).zone
        return month_named(name, zone).start


def _around(middle: Period) -> Iterator[Period]:
    """The month, and those beside it if they are asked for: a tenant's may start up to a day sooner or later than UTC's."""
    yield middle
    yield month_before(middle)
    yield month_after(middle)


def _after(name: str) -> str:
    return month_after(month_named(name)).name


def _before(name: str) -> str:
    return month_before(month_named(name)).name
