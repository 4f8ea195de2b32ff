"""A tenant's statement for a month: what is on it, when it is due, the chain that its versions form, and what differs when it was changed.

`content` works out what a statement says; `issue` decides whether one is due and puts it on the tenant's chain; `verify` checks a chain. A
statement is canonical JSON: keys sorted, no spaces, UTF-8, no floats but promised thresholds such as 99.95. Its hash is the SHA-256 of those
bytes, and the next statement of the tenant carries it. Rules:

- *provisional* at the end of the period; *final* when `Terms.final_business_days` full business days have passed after it in the tenant's
  zone (Monday to Friday, less the headquarters' holidays); after that an *amendment*, numbered from 1, whenever the content differs. It
  names the weekdays that were holidays, and later versions of the month hold on to them: another calendar moves no date that was stated.
- A month under the coverage that the terms ask for stays provisional until a person accepts it.
- What a statement says depends on what the log had by `as_of`, on nothing else: made again, it is the same bytes.
- Requests outside the term are counted on it and promised nothing. A month without a request that counts keeps every promise and is said to
  have had no demand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal

import msgspec

from monitor.contract.agreement import Agreements, Month
from monitor.contract.exclusions import ExclusionDecision, exclusions, in_scope, segments
from monitor.contract.instant import instant, rfc3339
from monitor.contract.period import MINUTE_MS, Period, day_start, local_date
from monitor.contract.readings import (
    Affected,
    Compared,
    Counts,
    MinuteCounts,
    Sheet,
    Silence,
    Tally,
    UserMinutes,
    compare,
    coverage,
)
from monitor.contract.rulings import Ruling, rulings
from monitor.contract.terms import percent, terms_of, terms_record

FORMAT = 1
"""Of the document. A change that a reader must know of counts it up."""
Kind = Literal["interim", "provisional", "final", "amendment"]
_OF_THE_ISSUE = frozenset(
    {"kind", "number", "sequence", "previous", "supersedes", "changed", "as_of", "evidence", "final_from", "holidays"}
)
_DECIDES_NOTHING = frozenset({"outside_term", "silence"})
"""Requests outside the term go on after the final statement of a short month, and history learns what should have come; until somebody
rules on a silence, it counts for nothing."""
_HEADLINE = ("verdict", "band", "days", "affected", "readings", "counts")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Offsets [start, upto) of a partition of a topic that a statement was counted from."""

    topic: str
    partition: int
    start: int
    upto: int

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"topic": self.topic, "partition": self.partition, "from": self.start, "upto": self.upto}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a statement is made from, as the log had it. Decisions may be given that were recorded later: they are left out.

    `as_of`: epoch milliseconds, inside. `gaps`: UTC epoch minutes [from, to) that were not measured. `extension`: days of credit already
    applied to the term. `holidays`: dates that are no business days, whatever weekday they are.
    """

    agreements: Agreements
    month: str
    minutes: MinuteCounts
    as_of: int
    exclusions: Collection[ExclusionDecision] = ()
    rulings: Collection[Ruling] = ()
    silences: Sequence[Silence] = ()
    gaps: Sequence[tuple[int, int]] = ()
    users: UserMinutes | None = None
    sources: Sequence[Stretch] = ()
    journal: Sequence[Stretch] = ()
    extension: int = 0
    holidays: Container[date] = frozenset()


def final_at(period: Period, zone: str, business_days: int, holidays: Container[date]) -> int:
    """The UTC epoch minute from which the statement of a period that ends at `period.end` may be final."""
    return _final(period, zone, business_days, holidays)[0]


def _final(period: Period, zone: str, business_days: int, holidays: Container[date]) -> tuple[int, list[date]]:
    """See `final_at`; and the weekdays that were left out on the way there."""
    day, left, closed = local_date(period.end - 1, zone), business_days, []
    while left:
        day += timedelta(days=1)
        if day in holidays and day.weekday() < 5:
            closed.append(day)
        else:
            left -= day.weekday() < 5
    return day_start(day + timedelta(days=1), zone), closed


def content(facts: Facts) -> dict[str, Any]:
    """What a statement says (`deploy/schemas/statement.schema.json`), before it has a place on the chain."""
    tenant = facts.agreements.tenant
    month = facts.agreements.known(facts.as_of).month(facts.month, facts.extension)
    agreement, terms, period = month.agreement, month.agreement.terms, month.covered
    known_exclusions, _ = exclusions(facts.exclusions, facts.as_of)
    known_rulings, _ = rulings(facts.rulings, tenant, facts.as_of)
    found = in_scope(known_exclusions, tenant, period)
    sheet = Sheet(facts.minutes, period, agreement.zone, terms, known_rulings, facts.users, month.period)
    tally = sheet.count([item.window for item in found if item.counts])
    measured = coverage(period, facts.gaps)
    accepted = known_rulings.accepted(facts.month)
    promised = month.standing in {"in_term", "unknown"}
    final, closed = _final(period, agreement.zone, terms.final_business_days, facts.holidays)
    return {
        "format": FORMAT,
        "tenant": tenant,
        "month": facts.month,
        "zone": agreement.zone,
        "start": _time(period.start),
        "end": _time(period.end),
        "short": period != month.period,
        "final_from": _time(final),
        "holidays": [day.isoformat() for day in closed],
        "standing": month.standing,
        "partner": agreement.partner,
        "tier": agreement.tier,
        "term_end": agreement.end.isoformat() if agreement.end else None,
        "terms": terms_record(terms),
        "verdict": _verdict(tally, month),
        "band": percent(tally.requests.band) if tally.requests.demand and promised else None,
        "days": tally.requests.days if promised else 0,
        "counts": _totals(tally),
        "portals": {name: _portal(tally, name) for name in sorted(tally.portals)},
        "outside_term": sheet.outside._asdict(),
        "unclassified_codes": dict(sorted(sheet.unclassified.items())),
        "readings": {name: reading.record() if reading else None for name, reading in tally.readings.items()},
        "users_method": facts.users.method if facts.users else None,
        "disagree": tally.disagree,
        "affected": [day.record() for day in tally.affected],
        "exclusions": [_compared(item) for item in compare(sheet, found, tally)],
        "excluded": [
            {"from": _time(part.start), "to": _time(part.end), "exclusions": list(part.exclusions)}
            for part in segments(found, period)
        ],
        "excluded_minutes": tally.excluded_minutes,
        "silence": [_silence(item, sheet) for item in _touching(facts.silences, period)],
        "rulings": [item.record() for item in known_rulings.held if _about(item, month, sheet)],
        "coverage": measured.record()
        | {"enough": measured.enough(terms), "accepted_by": accepted.by if accepted else None},
        "as_of": rfc3339(facts.as_of),
        "evidence": {
            "sources": [stretch.record() for stretch in sorted(facts.sources, key=_place)],
            "journal": [stretch.record() for stretch in sorted(facts.journal, key=_place)],
        },
    }


def _verdict(tally: Tally, month: Month) -> str:
    if month.standing in {"ended", "not_started"}:
        return month.standing
    if not tally.requests.demand:
        return "no_demand"
    return "kept" if tally.requests.band == month.agreement.terms.thresholds[0] else "missed"


def _totals(tally: Tally) -> dict[str, Any]:
    return {
        "counted": tally.counted._asdict(),
        "excluded": tally.excluded._asdict(),
        "missing": tally.missing,
        "good": tally.requests.good,
        "bad": tally.requests.bad,
    }


def _portal(tally: Tally, name: str) -> dict[str, Any]:
    portal = tally.portals[name]
    return {"counted": portal.counted._asdict(), "excluded": portal.excluded._asdict()}


def _compared(item: Compared) -> dict[str, Any]:
    def side(tally: Tally) -> dict[str, Any]:
        return {
            **tally.requests.record(),
            "excluded_minutes": tally.excluded_minutes,
            "affected": [day.day.isoformat() for day in tally.affected],
        }

    return item.exclusion.record() | {"with": side(item.with_it), "without": side(item.without_it)}


def _silence(item: Silence, sheet: Sheet) -> dict[str, Any]:
    return {
        "from": _time(item.start),
        "to": _time(item.end),
        "expected": item.expected,
        "basis": item.basis,
        "undecided_minutes": sheet.undecided(item),
    }


def _touching(silences: Iterable[Silence], period: Period) -> list[Silence]:
    touching = (item for item in silences if item.start < period.end and item.end > period.start)
    return sorted(touching, key=lambda item: (item.start, item.end, item.basis))


def _about(item: Ruling, month: Month, sheet: Sheet) -> bool:
    """Whether a ruling has something to do with the month."""
    if item.kind == "classify":
        return item.code in sheet.ruled and item.start < month.covered.end
    if item.kind == "silence":
        return item.start < month.covered.end and item.end > month.covered.start
    return item.month == month.period.name


def _place(stretch: Stretch) -> tuple[str, int, int]:
    return stretch.topic, stretch.partition, stretch.start


def _time(minute: int) -> str:
    return rfc3339(minute * MINUTE_MS)


_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one way in which a document is written: equal documents are equal bytes."""
    return _encode(document)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as it was issued: its bytes, and what they say."""

    data: bytes
    document: Mapping[str, Any]

    @classmethod
    def of(cls, data: bytes) -> Statement:
        """The statement in these bytes; ValueError when they hold no JSON object of a statement."""
        try:
            document = msgspec.json.decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"expected a statement, found {data[:40]!r}: {error}") from None
        wanted = ("tenant", "month", "kind", "number", "sequence", "previous", "as_of")
        missing = [name for name in wanted if not isinstance(document, dict) or name not in document]
        if missing:
            raise ValueError(f"expected a statement, found {data[:40]!r} without {', '.join(missing)}")
        return cls(data, document)

    @property
    def id(self) -> str:
        """Its deterministic name, such as acme/2026-11/amendment-1."""
        kind, number = self.document["kind"], self.document["number"]
        return f"{self.document['tenant']}/{self.document['month']}/{kind}{f'-{number}' if kind == 'amendment' else ''}"

    @property
    def month(self) -> str:
        """The month's name, such as 2026-11."""
        return str(self.document["month"])

    @property
    def affected(self) -> list[Affected]:
        """The affected dates, as it says them."""
        return [
            Affected(
                date.fromisoformat(day["date"]),
                day["bad"],
                date.fromisoformat(day["claim_by"]),
                instant(day["claim_closes"]) // MINUTE_MS,
            )
            for day in self.document["affected"]
        ]

    @property
    def sha256(self) -> str:
        """The hash that the next statement of the tenant carries."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def as_of(self) -> int:
        """The instant it was made at, in epoch milliseconds."""
        return instant(self.document["as_of"])

    @property
    def settled(self) -> bool:
        """Whether it is final or amends a final one."""
        return self.document["kind"] in ("final", "amendment")

    @property
    def days(self) -> int:
        """Days of credit that the month entitles to."""
        return int(self.document["days"])


@dataclass(frozen=True, slots=True)
class Stated:
    """Holidays as a statement named them on the dates before its `final_from`; on later ones those of `others`."""

    statement: Statement
    others: Container[date]

    def __contains__(self, day: object) -> bool:
        said = self.statement.document
        until = local_date(instant(said["final_from"]) // MINUTE_MS, said["zone"])
        named = said.get("holidays", ())
        return isinstance(day, date) and (day.isoformat() in named if day < until else day in self.others)


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a tenant's chain: how many statements there are, and the hash of the newest (None: there is none)."""

    length: int = 0
    sha256: str | None = None

    def after(self, statement: Statement) -> Tail:
        """The end once the statement is on it."""
        return Tail(self.length + 1, statement.sha256)


def issue(facts: Facts, tail: Tail, earlier: Statement | None) -> Statement | None:
    """The statement that is due at `facts.as_of`, or None. `earlier`: the newest version of the same month's, if there is one.

    At most one is returned; who comes late calls again with it as `earlier`.
    """
    month = facts.agreements.known(facts.as_of).month(facts.month, facts.extension)
    if facts.as_of < month.covered.end * MINUTE_MS:
        return None
    if earlier is None and month.standing in {"ended", "not_started"}:
        return None
    said = content(replace(facts, holidays=Stated(earlier, facts.holidays)) if earlier else facts)
    kind: Kind = "provisional"
    if earlier is not None and earlier.settled:
        if _says(earlier.document) == _says(said):
            return None
        kind = "amendment"
    elif earlier is not None:
        ripe = facts.as_of >= instant(said["final_from"])
        if not ripe or not (said["coverage"]["enough"] or said["coverage"]["accepted_by"]):
            return None
        kind = "final"
    return seal(said, kind, tail, earlier)


def interim(facts: Facts) -> Statement:
    """What the statement would say at `facts.as_of`; it has no place on the chain."""
    return seal(content(facts), "interim", Tail(), None)


def seal(said: Mapping[str, Any], kind: Kind, tail: Tail, earlier: Statement | None) -> Statement:
    """Content as a statement of this kind after `tail`; `earlier`: the version of the same month that it replaces."""
    before = earlier.document if earlier else None
    number = 1 + (before["number"] if before and before["kind"] == "amendment" else 0) if kind == "amendment" else 0
    document = {
        **said,
        "kind": kind,
        "number": number,
        "sequence": tail.length,
        "previous": tail.sha256,
        "supersedes": earlier.sha256 if earlier else None,
        "changed": [name for name in _HEADLINE if before and before.get(name) != said[name]],
    }
    return Statement(canonical(document), document)


def _says(document: Mapping[str, Any]) -> bytes:
    """What an amendment is measured by: an exclusion that nobody has approved, or a correction of one, decides nothing yet."""
    said = {name: value for name, value in document.items() if name not in _OF_THE_ISSUE | _DECIDES_NOTHING}
    said["exclusions"] = [
        {name: value for name, value in item.items() if name not in ("proposed", "corrected")}
        for item in document["exclusions"]
        if "approved" in item
    ]
    return canonical(said)


def as_of(chain: Iterable[Statement], month: str, at: int) -> Statement | None:
    """The newest version of a month's statement that had been issued by the instant `at` (epoch milliseconds, inside)."""
    issued = [item for item in chain if item.document["month"] == month and item.as_of <= at]
    return max(issued, key=lambda item: item.document["sequence"], default=None)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing that differs: in which statement of the chain (its place from 0), where in it, what was expected and found."""

    place: int
    path: str
    expected: Any
    found: Any

    def sentence(self) -> str:
        """For people."""
        return f"statement {self.place}, {self.path}: expected {self.expected!r}, found {self.found!r}"


def difference(expected: Any, found: Any, path: str = "$") -> tuple[str, Any, Any] | None:
    """The first place, in sorted order of keys, at which two JSON values differ: (path, expected, found); None when they are equal."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name in sorted(set(expected) | set(found)):
            if name not in expected or name not in found:
                return f"{path}.{name}", expected.get(name), found.get(name)
            differs = difference(expected[name], found[name], f"{path}.{name}")
            if differs:
                return differs
        return None
    if isinstance(expected, list) and isinstance(found, list):
        for place, (mine, theirs) in enumerate(zip(expected, found, strict=False)):
            differs = difference(mine, theirs, f"{path}[{place}]")
            if differs:
                return differs
        return None if len(expected) == len(found) else (f"{path}.length", len(expected), len(found))
    return None if type(expected) is type(found) and expected == found else (path, expected, found)


def recounted(statement: Statement, facts: Facts, place: int = 0) -> Difference | None:
    """The first thing in which a statement differs from what these facts, recounted, say; None when nothing does."""
    said = content(facts)
    found = difference(
        msgspec.json.decode(canonical(said)),
        {name: value for name, value in statement.document.items() if name in said},
    )
    return Difference(place, *found) if found else None


def verify(chain: Sequence[bytes], tenant: str) -> Difference | None:
    """The first thing wrong with a tenant's chain, oldest statement first; None when all is well.

    Checked for each statement, in this order: that it is one, written canonically, of the tenant; its place and the hash of the one before;
    its version after the ones of the same month; that portals add up; that band, days and dates follow from its own counts and terms.
    """
    tail, newest = Tail(), dict[str, Statement]()
    for place, data in enumerate(chain):
        try:
            statement = Statement.of(data)
        except ValueError as error:
            return Difference(place, "$", "a statement", str(error))
        found = _faults(statement, tenant, tail, newest.get(str(statement.document["month"])))
        if found:
            return Difference(place, *found)
        newest[str(statement.document["month"])] = statement
        tail = tail.after(statement)
    return None


def _faults(statement: Statement, tenant: str, tail: Tail, earlier: Statement | None) -> tuple[str, Any, Any] | None:
    document = statement.document
    if canonical(document) != statement.data:
        return "$", canonical(document).decode(), statement.data.decode(errors="replace")
    kinds: tuple[tuple[str, int], ...] = (("provisional", 0),)
    if earlier:
        number = earlier.document["number"] + 1
        kinds = (("amendment", number),) if earlier.settled else (("final", 0),)
    expected = {"tenant": tenant, "sequence": tail.length, "previous": tail.sha256}
    expected |= {"kind": kinds[0][0], "number": kinds[0][1], "supersedes": earlier.sha256 if earlier else None}
    for name in ("tenant", "sequence", "previous", "kind", "number", "supersedes"):
        found = difference(expected[name], document.get(name), f"$.{name}")
        if found:
            return found
    try:
        return _arithmetic(document)
    except (KeyError, TypeError, ValueError) as error:
        return "$", "the fields of a statement", repr(error)


def _arithmetic(document: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """Whether the statement's own counts add up, and lead to its verdict."""
    counts, terms = document["counts"], terms_of(document["terms"])
    for side in ("counted", "excluded"):
        total = Counts()
        for portal in document["portals"].values():
            total = total.plus(Counts(**portal[side]))
        found = difference(total._asdict(), counts[side], f"$.counts.{side}")
        if found:
            return found
    counted = Counts(**counts["counted"])
    good, bad = counted.good, counted.bad + counts["missing"]
    promised = document["standing"] not in ("ended", "not_started")
    band = percent(terms.band(bad, good + bad)) if good + bad and promised else None
    days = terms.days(bad, good + bad) if promised else 0
    dates = sum(day["bad"] for day in document["affected"])
    checks = (
        ("counts.good", good, counts["good"]),
        ("counts.bad", bad, counts["bad"]),
        ("band", band, document["band"]),
        ("days", days, document["days"]),
        ("affected.bad", bad, dates),
    )
    return next((found for path, mine, its in checks if (found := difference(mine, its, f"$.{path}"))), None)
