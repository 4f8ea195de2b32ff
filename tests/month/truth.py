"""Thirty tenants' months: every record that is sent, and the table, worked out by hand, of what must come of it.

Times are UTC unless a comment says otherwise. Where nothing else is said a tenant makes one request an hour, at 17 minutes past, in November
2026: 720 of them. The calendar: 1 November 2026 is a Sunday, 1 December a Tuesday, 1 January 2027 a Friday. November is final after three
business days, 1, 2 and 3 December, so on the 4th; December after 4, 5 and 6 January, for New Year's Day is a holiday of the headquarters, so
on the 7th.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
REQUESTS, CONTRACTS, EXCLUSIONS, DECISIONS, CLAIMS = "auth-requests", "contracts", "exclusions", "decisions", "claims"
TOPICS = (REQUESTS, CONTRACTS, EXCLUSIONS, DECISIONS, CLAIMS)
GOOD: Mapping[str, str] = {"outcome": "success"}
WRONG_PASSWORD: Mapping[str, str] = {"outcome": "failure", "fault": "client"}
BAD: Mapping[str, str] = {"outcome": "failure", "fault": "server"}
EXTERNAL: Mapping[str, str] = {"outcome": "failure", "fault": "external"}
SILENT: Mapping[str, str] = {}
"""No request at all."""


def coded(code: str) -> Mapping[str, str]:
    """A failure of which nobody can tell yet whose fault it is."""
    return {"outcome": "failure", "code": code}


def ms(text: str) -> int:
    """Epoch milliseconds of a time in UTC such as 2026-11-23T10:00."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def instant(text: str) -> int:
    """Epoch milliseconds of a time with an offset."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


class Record(NamedTuple):
    """A record on its way to Kafka: its timestamp (epoch milliseconds), the topic, the key and the value."""

    at: int
    topic: str
    key: str
    value: bytes


class Request(NamedTuple):
    """`n` requests made at `at` (epoch milliseconds) that the log had at `seen`."""

    at: int
    what: Mapping[str, str]
    portal: str = "login"
    n: int = 1
    seen: int | None = None


class Said(NamedTuple):
    """A statement as it must be. `as_of`: None where it is not to the minute; `band`: None without demand."""

    kind: str
    as_of: str | None
    good: int
    bad: int
    band: float | None
    days: int
    affected: Mapping[str, int]
    excluded_minutes: int = 20
    outside: int = 0
    """Requests of the calendar month outside the term, where it is final."""


class Owed(NamedTuple):
    """A credit as it must stand in the end. `refused`: the decisions that were, by id, with the reason."""

    state: str
    days: int
    applied: int
    old_end: str | None = "2026-12-31"
    new_end: str | None = "2026-12-31"
    refused: Mapping[str, str] = {}


@dataclass(frozen=True)
class Tenant:
    """`decisions`: when the log had them, the topic, the record. `others`: its other months with the times of the two statements each has, none
    of them with a credit; without demand, or with so many good requests as `busy` says."""

    name: str
    traffic: Sequence[Request]
    said: Sequence[Said]
    owed: Owed | None = None
    decisions: Sequence[tuple[str, str, Mapping[str, Any]]] = ()
    month: str = "2026-11"
    contract: Mapping[str, Any] | None = field(default_factory=dict)
    contract_at: str = "2026-10-30T10:30"
    others: Mapping[str, tuple[str, str]] = field(
        default_factory=lambda: {"2026-12": ("2027-01-01T00:00", "2027-01-07T00:00")}
    )
    busy: Mapping[str, int] = field(default_factory=dict)

    @property
    def zone(self) -> str:
        return str((self.contract or {}).get("zone", "UTC"))

    def records(self) -> Iterator[Record]:
        """All its records, in no order."""
        if self.contract is not None:
            terms = {"tenant": self.name, "partner": "north", "start": "2026-11-01", "end": "2026-12-31"}
            yield record(self.contract_at, CONTRACTS, self.name, {**terms, **self.contract})
        for at, topic, value in self.decisions:
            said = {"at": f"{at}:00Z", "by": "grace", "tenant": self.name, "month": self.month}
            if topic == EXCLUSIONS:
                del said["tenant"], said["month"]
            yield record(at, topic, str(value.get("tenant", self.name)), said | value)
        zone = ZoneInfo(self.zone)
        for request in self.traffic:
            # As the customer's own servers write it, with their offset.
            local = datetime.fromtimestamp(request.at / 1000, zone).isoformat()
            value = {"time": local, "tenant": self.name, "portal": request.portal, **request.what}
            for _ in range(request.n):
                yield Record(request.seen or request.at, REQUESTS, self.name, json.dumps(value).encode())


def record(at: str, topic: str, key: str, value: Mapping[str, Any]) -> Record:
    return Record(ms(at), topic, key, json.dumps(value).encode())


Spell = tuple[str, str, Mapping[str, str]]
"""From, to, and what becomes of requests in between."""


def hourly(
    *spells: Spell, start: str = "2026-11-01T00:00", end: str = "2026-12-01T00:00", portal: str = "login"
) -> list[Request]:
    """A request at 17 minutes past each hour of [start, end): good, but for the spells."""
    times = range(ms(start) + 17 * MINUTE_MS, ms(end), HOUR_MS)
    found = []
    for at in times:
        what = next((what for since, until, what in spells if ms(since) <= at < ms(until)), GOOD)
        if what:
            found.append(Request(at, what, portal))
    return found


def some(at: str, n: int, what: Mapping[str, str], seen: str | None = None) -> list[Request]:
    """`n` requests in one minute."""
    return [Request(ms(at), what, "login", n, ms(seen) if seen else None)]


def down(start: str, end: str) -> Spell:
    return start, end, BAD


def declared(
    name: str, start: str, end: str, *tenants: str, portals: Any = "*", category: str = "maintenance"
) -> dict[str, Any]:
    window = {"from": f"{start}:00Z", "to": f"{end}:00Z", "category": category, "reason": "upgrade"}
    return {"exclusion": name, "action": "declare", "tenants": list(tenants) or "*", "portals": portals, **window}


def approved(name: str) -> dict[str, Any]:
    return {"exclusion": name, "action": "approve"}


def revoked(name: str) -> dict[str, Any]:
    return {"exclusion": name, "action": "revoke", "reason": "it was not announced"}


def filed(name: str, *dates: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "action": "file", "partner": "north", "dates": list(dates), "attested": True, **more}


def decided(name: str, action: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "action": action, "claim": "c1", **more}


def ruled(name: str, **what: Any) -> dict[str, Any]:
    return {"id": name, "reason": "looked into it", **what}


P, F = "2026-12-01T00:00", "2026-12-04T00:00"
NOON = "2026-11-12T10:30"
CLAIMED_IN_TIME = (NOON, CLAIMS, filed("c1", "2026-11-10"))

# For all tenants of November: twenty minutes without a request of anybody's are maintenance, so every count stays as
# it is.
PLATFORM = [
    ("2026-11-03T10:30", EXCLUSIONS, declared("platform", "2026-11-05T12:20", "2026-11-05T12:40")),
    ("2026-11-03T10:40", EXCLUSIONS, approved("platform")),
]

TENANTS = [
    # Nothing fails.
    Tenant(
        "ant", hourly(), [Said("provisional", P, 720, 0, 99, 0, {}), Said("final", F, 720, 0, 99, 0, {})], decisions=PLATFORM
    ),
    # 720 + 72 good and 8 bad: 792 of 800 is 99 % exactly, which keeps the promise. The claim finds nothing owed.
    Tenant(
        "bat",
        [*hourly(), *some("2026-11-20T12:00", 72, GOOD), *some("2026-11-10T12:00", 8, BAD)],
        [Said("provisional", P, 792, 8, 99, 0, {"2026-11-10": 8}), Said("final", F, 792, 8, 99, 0, {"2026-11-10": 8})],
        Owed("refused", 0, 0, refused={"c1": "nothing_owed"}),
        [("2026-12-05T10:30", CLAIMS, filed("c1", "2026-11-10"))],
    ),
    # One good request less: 791 of 799 is 98.998 %. 3 days. Nobody claims: it lapses when 10 December, the 30th day,
    # is over.
    Tenant(
        "cod",
        [*hourly(), *some("2026-11-20T12:00", 71, GOOD), *some("2026-11-10T12:00", 8, BAD)],
        [Said("provisional", P, 791, 8, 95, 3, {"2026-11-10": 8}), Said("final", F, 791, 8, 95, 3, {"2026-11-10": 8})],
        Owed("lapsed", 3, 0),
    ),
    # 36 hours down: 684 of 720 is 95 % exactly, so 3 days and not 5. Held, claimed, confirmed, applied: the term ends
    # on 3 January, and January has a statement of three days, final after 4, 5 and 6 January. Applying it once more
    # does not fit.
    Tenant(
        "doe",
        hourly(down("2026-11-10T00:00", "2026-11-11T12:00")),
        [
            Said("provisional", P, 684, 36, 95, 3, {"2026-11-10": 24, "2026-11-11": 12}),
            Said("final", F, 684, 36, 95, 3, {"2026-11-10": 24, "2026-11-11": 12}),
        ],
        Owed("applied", 3, 3, new_end="2027-01-03", refused={"k3": "wrong_state"}),
        [
            CLAIMED_IN_TIME,
            ("2026-12-05T10:30", CLAIMS, decided("k1", "confirm")),
            ("2026-12-06T10:30", CLAIMS, decided("k2", "apply", days=3)),
            ("2026-12-07T10:30", CLAIMS, decided("k3", "apply", days=3)),
        ],
        others={
            "2026-12": ("2027-01-01T00:00", "2027-01-07T00:00"),
            "2027-01": ("2027-01-04T00:00", "2027-01-07T00:00"),
        },
    ),
    # 37 hours down: 683 of 720 is 94.86 %, 5 days. Another partner's claim is refused, the right one's stands.
    Tenant(
        "eel",
        hourly(down("2026-11-10T00:00", "2026-11-11T13:00")),
        [
            Said("provisional", P, 683, 37, 90, 5, {"2026-11-10": 24, "2026-11-11": 13}),
            Said("final", F, 683, 37, 90, 5, {"2026-11-10": 24, "2026-11-11": 13}),
        ],
        Owed("claimed", 5, 0, new_end="2027-01-05", refused={"c1": "wrong_partner"}),
        [
            (NOON, CLAIMS, filed("c1", "2026-11-10", partner="south")),
            ("2026-11-13T10:30", CLAIMS, filed("c2", "2026-11-10")),
        ],
    ),
    # 72 hours down: 648 of 720 is 90 % exactly, so 5 days and not 10. A second claim while the first is held is
    # refused. Confirmed.
    Tenant(
        "fox",
        hourly(down("2026-11-09T00:00", "2026-11-12T00:00")),
        [
            Said("provisional", P, 648, 72, 90, 5, {"2026-11-09": 24, "2026-11-10": 24, "2026-11-11": 24}),
            Said("final", F, 648, 72, 90, 5, {"2026-11-09": 24, "2026-11-10": 24, "2026-11-11": 24}),
        ],
        Owed("confirmed", 5, 0, new_end="2027-01-05", refused={"c2": "second_claim"}),
        [
            CLAIMED_IN_TIME,
            ("2026-11-13T10:30", CLAIMS, filed("c2", "2026-11-11")),
            ("2026-12-05T10:30", CLAIMS, decided("k1", "confirm")),
        ],
    ),
    # 73 hours down: 647 of 720 is 89.86 %, 10 days. A claim that does not attest is refused, the next one is
    # disputed.
    Tenant(
        "gnu",
        hourly(down("2026-11-08T23:00", "2026-11-12T00:00")),
        [
            Said("provisional", P, 647, 73, 0, 10, {"2026-11-08": 1, "2026-11-09": 24, "2026-11-10": 24, "2026-11-11": 24}),
            Said("final", F, 647, 73, 0, 10, {"2026-11-08": 1, "2026-11-09": 24, "2026-11-10": 24, "2026-11-11": 24}),
        ],
        Owed("disputed", 10, 0, new_end="2027-01-10", refused={"c0": "not_attested"}),
        [
            (NOON, CLAIMS, filed("c0", "2026-11-10", attested=False)),
            ("2026-11-13T10:30", CLAIMS, filed("c1", "2026-11-10")),
            ("2026-12-05T10:30", CLAIMS, decided("k1", "dispute", reason="its own firewall was down")),
        ],
    ),
    # Terms of its own: 14 days under 90 %, capped at 10 a month. 100 hours down: 620 of 720 is 86.11 %.
    Tenant(
        "hen",
        hourly(down("2026-11-08T00:00", "2026-11-12T04:00")),
        [
            Said("provisional", P, 620, 100, 0, 10,
                 {"2026-11-08": 24, "2026-11-09": 24, "2026-11-10": 24, "2026-11-11": 24, "2026-11-12": 4}),
            Said("final", F, 620, 100, 0, 10,
                 {"2026-11-08": 24, "2026-11-09": 24, "2026-11-10": 24, "2026-11-11": 24, "2026-11-12": 4}),
        ],
        Owed("claimed", 10, 0, new_end="2027-01-10"),
        [CLAIMED_IN_TIME],
        contract={
            "terms": {
                "version": "generous-1",
                "tiers": [{"below": 99, "days": 3}, {"below": 95, "days": 5}, {"below": 90, "days": 14}],
                "cap_days": 10,
            }
        },
    ),
    # 22 hours down: 698 of 720 is 96.94 %, 3 days. Sixteen of the hours were maintenance, declared and approved on 8
    # December only: 698 of 704 is 99.14 %, nothing is owed, and the claim that stood falls.
    Tenant(
        "ibis",
        hourly(down("2026-11-10T00:00", "2026-11-10T22:00")),
        [
            Said("provisional", P, 698, 22, 95, 3, {"2026-11-10": 22}),
            Said("final", F, 698, 22, 95, 3, {"2026-11-10": 22}),
            Said("amendment-1", "2026-12-08T11:00", 698, 6, 99, 0, {"2026-11-10": 6}, 20 + 16 * 60),
        ],
        Owed("refused", 0, 0, refused={"c1": "nothing_owed"}),
        [
            CLAIMED_IN_TIME,
            ("2026-12-08T10:30", EXCLUSIONS, declared("late", "2026-11-10T00:00", "2026-11-10T16:00", "ibis")),
            ("2026-12-08T10:40", EXCLUSIONS, approved("late")),
        ],
    ),
    # New York, from 1 November 04:00 UTC to 1 December 05:00 UTC: 721 hours, for the clock goes back on the 1st. All
    # its 25 hours are bad: 696 of 721 is 96.53 %, 3 days. The 30th day is 1 December there; notice is given half an
    # hour into the 2nd. Three requests of the minute before are October's, of which the 31st is a Saturday, and four
    # of the minute after are December's.
    Tenant(
        "jay",
        [
            *hourly(down("2026-11-01T04:00", "2026-11-02T05:00"), start="2026-11-01T04:00", end="2026-12-01T05:00"),
            *some("2026-11-01T03:59", 3, GOOD),
            *some("2026-12-01T05:00", 4, GOOD),
        ],
        [
            Said("provisional", "2026-12-01T05:00", 696, 25, 95, 3, {"2026-11-01": 25}),
            Said("final", "2026-12-04T05:00", 696, 25, 95, 3, {"2026-11-01": 25}),
        ],
        Owed("refused", 3, 0, refused={"c1": "late"}),
        [("2026-12-02T05:30", CLAIMS, filed("c1", "2026-11-01"))],
        contract={"zone": "America/New_York", "start": "2026-10-15"},
        others={
            "2026-10": ("2026-11-01T04:00", "2026-11-05T05:00"),
            "2026-12": ("2027-01-01T05:00", "2027-01-07T05:00"),
        },
        busy={"2026-10": 3, "2026-12": 4},
    ),
    # Auckland's September: from 31 August 12:00 UTC to 30 September 11:00 UTC, 719 hours, for the clock goes forward
    # on the 27th. All 23 hours of that date are bad: 696 of 719 is 96.80 %, 3 days. Final after 1, 2 and 5 October
    # there. Notice is given in the last minute of the 30th day, 27 October there. Its other months end at 11:00 UTC
    # on the day before; January's three days are final after 4, 5 and 6 January there.
    Tenant(
        "kea",
        [
            *hourly(down("2026-09-26T12:00", "2026-09-27T11:00"), start="2026-08-31T12:00", end="2026-09-30T11:00"),
        ],
        [
            Said("provisional", "2026-09-30T11:00", 696, 23, 95, 3, {"2026-09-27": 23}, 0),
            Said("final", "2026-10-05T11:00", 696, 23, 95, 3, {"2026-09-27": 23}, 0),
        ],
        Owed("applied", 3, 3, new_end="2027-01-03"),
        [
            ("2026-10-27T10:59", CLAIMS, filed("c1", "2026-09-27")),
            ("2026-10-28T10:30", CLAIMS, decided("k1", "confirm")),
            ("2026-10-29T10:30", CLAIMS, decided("k2", "apply", days=3)),
        ],
        month="2026-09",
        contract={"zone": "Pacific/Auckland", "start": "2026-09-01"},
        contract_at="2026-08-31T10:30",
        others={
            "2026-10": ("2026-10-31T11:00", "2026-11-04T11:00"),
            "2026-11": ("2026-11-30T11:00", "2026-12-03T11:00"),
            "2026-12": ("2026-12-31T11:00", "2027-01-06T11:00"),
            "2027-01": ("2027-01-03T11:00", "2027-01-06T11:00"),
        },
    ),
    # Kolkata, half an hour aside: from 31 October 18:30 UTC, 720 hours, of which ten are silent on 19 November there.
    # A person excludes the silence before the month is final, and says a week later that it was bad and that 8
    # requests are missing: 710 of 718 is 98.88 %, 3 days. The 30th day is 19 December there.
    Tenant(
        "lark",
        hourly(("2026-11-18T18:30", "2026-11-19T04:30", SILENT), start="2026-10-31T18:30", end="2026-11-30T18:30"),
        [
            Said("provisional", "2026-11-30T18:30", 710, 0, 99, 0, {}),
            Said("final", "2026-12-03T18:30", 710, 0, 99, 0, {}),
            Said("amendment-1", "2026-12-08T11:00", 710, 8, 95, 3, {"2026-11-19": 8}),
        ],
        Owed("lapsed", 3, 0),
        [
            ("2026-12-01T12:30", DECISIONS,
             ruled("d1", kind="silence", **{"from": "2026-11-18T18:30:00Z", "to": "2026-11-19T04:30:00Z", "as": "excluded"})),
            ("2026-12-08T10:30", DECISIONS,
             ruled("d2", kind="silence", requests=8, **{"from": "2026-11-18T18:30:00Z", "to": "2026-11-19T04:30:00Z", "as": "bad"})),
        ],
        contract={"zone": "Asia/Kolkata"},
        others={"2026-12": ("2026-12-31T18:30", "2027-01-06T18:30")},
    ),
    # Ten hours without a request, four of them before midnight. Ruled bad with 10 missing, one in each hour: 710 of
    # 720 is 98.61 %, 3 days; 4 and 6 on the two dates. The 30th day of the later one is 18 December.
    Tenant(
        "mole",
        hourly(("2026-11-17T20:00", "2026-11-18T06:00", SILENT)),
        [
            Said("provisional", P, 710, 0, 99, 0, {}),
            Said("final", F, 710, 10, 95, 3, {"2026-11-17": 4, "2026-11-18": 6}),
        ],
        Owed("lapsed", 3, 0),
        [
            ("2026-12-01T12:30", DECISIONS,
             ruled("d1", kind="silence", requests=10, **{"from": "2026-11-17T20:00:00Z", "to": "2026-11-18T06:00:00Z", "as": "bad"})),
        ],
    ),
    # 20 failures with a code that nobody knows count as bad: 700 of 720 is 97.22 %, 3 days are offered. On 8 December
    # it turns out that the customer's own network says so: they count on neither side, and nothing is owed.
    Tenant(
        "newt",
        hourly(("2026-11-10T00:00", "2026-11-10T20:00", coded("E-17"))),
        [
            Said("provisional", P, 700, 20, 95, 3, {"2026-11-10": 20}),
            Said("final", F, 700, 20, 95, 3, {"2026-11-10": 20}),
            Said("amendment-1", "2026-12-08T11:00", 700, 0, 99, 0, {}),
        ],
        Owed("none", 0, 0),
        [
            ("2026-12-08T10:30", DECISIONS,
             ruled("d1", kind="classify", code="E-17", **{"from": "2026-11-01T00:00:00Z", "as": "external"})),
        ],
    ),
    # 16 failures with a code: 704 of 720 is 97.77 %. For all tenants it is ruled to be a refused password from the
    # 15th on, which makes 8 of them good: 712 of 720 is 98.88 %, still 3 days. Only the 10th is affected then.
    Tenant(
        "olm",
        hourly(
            ("2026-11-10T00:00", "2026-11-10T08:00", coded("E-71")), ("2026-11-20T00:00", "2026-11-20T08:00", coded("E-71"))
        ),
        [
            Said("provisional", P, 704, 16, 95, 3, {"2026-11-10": 8, "2026-11-20": 8}),
            Said("final", F, 712, 8, 95, 3, {"2026-11-10": 8}),
        ],
        Owed("lapsed", 3, 0),
        [
            ("2026-12-02T10:30", DECISIONS,
             ruled("all", tenant="*", kind="classify", code="E-71", **{"from": "2026-11-15T00:00:00Z", "as": "client"})),
        ],
    ),
    # 10 failures, four of them in a window that was approved in time: 710 of 716 is 99.16 %. It is revoked a week
    # after the final statement: 710 of 720 is 98.61 %, 3 days. The claim of 14 December is in time for the 20th of
    # November.
    Tenant(
        "pug",
        hourly(down("2026-11-20T00:00", "2026-11-20T10:00")),
        [
            Said("provisional", P, 710, 6, 99, 0, {"2026-11-20": 6}, 20 + 4 * 60),
            Said("final", F, 710, 6, 99, 0, {"2026-11-20": 6}, 20 + 4 * 60),
            Said("amendment-1", "2026-12-11T11:00", 710, 10, 95, 3, {"2026-11-20": 10}),
        ],
        Owed("claimed", 3, 0, new_end="2027-01-03"),
        [
            ("2026-11-12T10:30", EXCLUSIONS, declared("night", "2026-11-20T00:00", "2026-11-20T04:00", "pug")),
            ("2026-11-12T10:40", EXCLUSIONS, approved("night")),
            ("2026-12-11T10:30", EXCLUSIONS, revoked("night")),
            ("2026-12-14T10:30", CLAIMS, filed("c1", "2026-11-20")),
        ],
    ),
    # Approved and, a day later, revoked: as if it had never been. 20 hours down: 700 of 720 is 97.22 %. A claim for a
    # date on which nothing failed is refused, the next one stands.
    Tenant(
        "quail",
        hourly(down("2026-11-10T00:00", "2026-11-10T20:00")),
        [
            Said("provisional", P, 700, 20, 95, 3, {"2026-11-10": 20}),
            Said("final", F, 700, 20, 95, 3, {"2026-11-10": 20}),
        ],
        Owed("claimed", 3, 0, new_end="2027-01-03", refused={"c1": "unaffected_date"}),
        [
            ("2026-11-12T10:30", EXCLUSIONS, declared("mistake", "2026-11-10T00:00", "2026-11-11T00:00", "quail")),
            ("2026-11-12T10:40", EXCLUSIONS, approved("mistake")),
            ("2026-11-13T10:30", EXCLUSIONS, revoked("mistake")),
            ("2026-12-05T10:30", CLAIMS, filed("c1", "2026-11-12")),
            ("2026-12-06T10:30", CLAIMS, filed("c2", "2026-11-10")),
        ],
    ),
    # 14 hours down. Six of them are excluded in time: 706 of 714 is 98.87 %. Another window, approved on 2 December,
    # overlaps it for two hours and goes on for four: 706 of 710 is 99.43 %. The ten hours count once.
    Tenant(
        "rook",
        hourly(down("2026-11-10T00:00", "2026-11-10T14:00")),
        [
            Said("provisional", P, 706, 8, 95, 3, {"2026-11-10": 8}, 20 + 6 * 60),
            Said("final", F, 706, 4, 99, 0, {"2026-11-10": 4}, 20 + 10 * 60),
        ],
        None,
        [
            ("2026-11-12T10:30", EXCLUSIONS, declared("first", "2026-11-10T00:00", "2026-11-10T06:00", "rook")),
            ("2026-11-12T10:40", EXCLUSIONS, approved("first")),
            ("2026-12-02T10:30", EXCLUSIONS,
             declared("second", "2026-11-10T04:00", "2026-11-10T10:00", "rook", category="internet")),
            ("2026-12-02T10:40", EXCLUSIONS, approved("second")),
        ],
    ),
    # Two portals, each once an hour, both down for ten hours: 20 of 1,440. One portal's hours are excluded: 1,420 of
    # 1,430 is 99.30 %.
    Tenant(
        "swan",
        [
            *hourly(down("2026-11-10T00:00", "2026-11-10T10:00")),
            *hourly(down("2026-11-10T00:00", "2026-11-10T10:00"), portal="admin"),
        ],
        [
            Said("provisional", P, 1420, 10, 99, 0, {"2026-11-10": 10}, 20 + 10 * 60),
            Said("final", F, 1420, 10, 99, 0, {"2026-11-10": 10}, 20 + 10 * 60),
        ],
        None,
        [
            ("2026-11-12T10:30", EXCLUSIONS,
             declared("admins", "2026-11-10T00:00", "2026-11-10T10:00", "swan", portals=["admin"])),
            ("2026-11-12T10:40", EXCLUSIONS, approved("admins")),
        ],
    ),
    # No request at all: no breach, no credit, and no availability either.
    Tenant("tern", [], [Said("provisional", P, 0, 0, None, 0, {}), Said("final", F, 0, 0, None, 0, {})]),
    # The term starts on the 16th: 360 of the 720 hours count, 4 of them bad: 356 of 360 is 98.88 %. What failed
    # before does not count, and the platform's window was before, too.
    Tenant(
        "urial",
        hourly(down("2026-11-10T00:00", "2026-11-11T06:00"), down("2026-11-20T00:00", "2026-11-20T04:00")),
        [
            Said("provisional", P, 356, 4, 95, 3, {"2026-11-20": 4}, 0, outside=360),
            Said("final", F, 356, 4, 95, 3, {"2026-11-20": 4}, 0, outside=360),
        ],
        Owed("lapsed", 3, 0),
        contract={"start": "2026-11-16"},
    ),
    # The term ends on the 15th, a Sunday: 360 hours, 16 bad: 344 of 360 is 95.55 %, 3 days; final after 16, 17 and 18
    # November. Applied on the 20th, the days make the term end on the 18th: 432 hours, 416 of them good: 96.29 %, as
    # many days. What fails on the 25th is nobody's promise.
    Tenant(
        "vole",
        hourly(down("2026-11-10T00:00", "2026-11-10T16:00"), down("2026-11-25T00:00", "2026-11-26T12:00")),
        [
            Said("provisional", "2026-11-16T00:00", 344, 16, 95, 3, {"2026-11-10": 16}),
            Said("final", "2026-11-19T00:00", 344, 16, 95, 3, {"2026-11-10": 16}),
            Said("amendment-1", "2026-11-20T11:00", 416, 16, 95, 3, {"2026-11-10": 16}),
        ],
        Owed("applied", 3, 3, "2026-11-15", "2026-11-18"),
        [
            CLAIMED_IN_TIME,
            ("2026-11-19T10:30", CLAIMS, decided("k1", "confirm")),
            ("2026-11-20T10:30", CLAIMS, decided("k2", "apply", days=3)),
        ],
        contract={"end": "2026-11-15"},
        others={},
    ),
    # Nobody has a contract with it: judged by the standard terms, 700 of 720 is 97.22 %, but nobody may claim.
    # Without requests it has no statement for December.
    Tenant(
        "wren",
        hourly(down("2026-11-10T00:00", "2026-11-10T20:00")),
        [
            Said("provisional", P, 700, 20, 95, 3, {"2026-11-10": 20}),
            Said("final", F, 700, 20, 95, 3, {"2026-11-10": 20}),
        ],
        Owed("refused", 3, 0, None, None, {"c1": "no_contract"}),
        [("2026-12-05T10:30", CLAIMS, filed("c1", "2026-11-10"))],
        contract=None,
        others={},
    ),
    # All is well until 7 December, when the log gets 15 failures of 20 November: 720 of 735 is 97.95 %, 3 days. The
    # 30th day is 20 December.
    Tenant(
        "xerus",
        [*hourly(), *some("2026-11-20T12:00", 15, BAD, seen="2026-12-07T10:30")],
        [
            Said("provisional", P, 720, 0, 99, 0, {}),
            Said("final", F, 720, 0, 99, 0, {}),
            Said("amendment-1", None, 720, 15, 95, 3, {"2026-11-20": 15}),
        ],
        Owed("lapsed", 3, 0),
    ),
    # 40 hours down: 680 of 720 is 94.44 %, 5 days, applied on 6 December. On the 8th 20 of the hours are excluded:
    # 680 of 700 is 97.14 %, 3 days, but what was applied stays. On the 12th the log gets 60 more failures: 680 of 760
    # is 89.47 %, 10 days; the 5 that are missing are confirmed anew. Who applies "5" once more has not read it; then
    # 10 in all are applied. The term ends on 10 January, a Sunday: final after 11, 12 and 13.
    Tenant(
        "yak",
        [
            *hourly(down("2026-11-20T00:00", "2026-11-21T16:00")),
            *some("2026-11-21T05:40", 60, BAD, seen="2026-12-12T10:30"),
        ],
        [
            Said("provisional", P, 680, 40, 90, 5, {"2026-11-20": 24, "2026-11-21": 16}),
            Said("final", F, 680, 40, 90, 5, {"2026-11-20": 24, "2026-11-21": 16}),
            Said("amendment-1", "2026-12-08T11:00", 680, 20, 95, 3, {"2026-11-20": 4, "2026-11-21": 16}, 20 + 20 * 60),
            Said("amendment-2", None, 680, 80, 0, 10, {"2026-11-20": 4, "2026-11-21": 76}, 20 + 20 * 60),
        ],
        Owed("applied", 10, 10, new_end="2027-01-10", refused={"k3": "wrong_days"}),
        [
            ("2026-11-23T10:30", CLAIMS, filed("c1", "2026-11-20")),
            ("2026-12-05T10:30", CLAIMS, decided("k1", "confirm")),
            ("2026-12-06T10:30", CLAIMS, decided("k2", "apply", days=5)),
            ("2026-12-08T10:30", EXCLUSIONS,
             declared("storm", "2026-11-20T00:00", "2026-11-20T20:00", "yak", category="force_majeure")),
            ("2026-12-08T10:40", EXCLUSIONS, approved("storm")),
            ("2026-12-13T10:30", CLAIMS, decided("k3", "apply", days=5)),
            ("2026-12-13T10:31", CLAIMS, decided("k4", "apply", days=10)),
        ],
        others={
            "2026-12": ("2027-01-01T00:00", "2027-01-07T00:00"),
            "2027-01": ("2027-01-11T00:00", "2027-01-14T00:00"),
        },
    ),
    # Promised 99.5 % for 2 days, 98 % for 6. 4 hours down: 716 of 720 is 99.44 %.
    Tenant(
        "zebu",
        hourly(down("2026-11-10T00:00", "2026-11-10T04:00")),
        [
            Said("provisional", P, 716, 4, 98, 2, {"2026-11-10": 4}),
            Said("final", F, 716, 4, 98, 2, {"2026-11-10": 4}),
        ],
        Owed("lapsed", 2, 0),
        contract={
            "terms": {"version": "strict-1", "tiers": [{"below": 99.5, "days": 2}, {"below": 98, "days": 6}], "cap_days": 6}
        },
    ),
    # 20 hours down on the 10th, so the 30th day is 10 December; notice is given half an hour before it is over.
    Tenant(
        "asp",
        hourly(down("2026-11-10T00:00", "2026-11-10T20:00")),
        [
            Said("provisional", P, 700, 20, 95, 3, {"2026-11-10": 20}),
            Said("final", F, 700, 20, 95, 3, {"2026-11-10": 20}),
        ],
        Owed("claimed", 3, 0, new_end="2027-01-03"),
        [("2026-12-10T23:30", CLAIMS, filed("c1", "2026-11-10"))],
    ),
    # The same, and notice is given half an hour into the 31st day.
    Tenant(
        "boa",
        hourly(down("2026-11-10T00:00", "2026-11-10T20:00")),
        [
            Said("provisional", P, 700, 20, 95, 3, {"2026-11-10": 20}),
            Said("final", F, 700, 20, 95, 3, {"2026-11-10": 20}),
        ],
        Owed("refused", 3, 0, refused={"c1": "late"}),
        [("2026-12-11T00:30", CLAIMS, filed("c1", "2026-11-10"))],
    ),
    # A hundred wrong passwords are answered as they should be, and twenty failures of the customer's own network
    # count on neither side.
    Tenant(
        "cub",
        hourly(
            ("2026-11-02T00:00", "2026-11-06T04:00", WRONG_PASSWORD), ("2026-11-10T00:00", "2026-11-10T20:00", EXTERNAL)
        ),
        [Said("provisional", P, 700, 0, 99, 0, {}), Said("final", F, 700, 0, 99, 0, {})],
    ),
    # New York again. Ten hours down from midnight of 1 November there; a window from 00:00 to 03:00 has four hours on
    # that night: 711 of 717 is 99.16 %.
    Tenant(
        "dab",
        hourly(down("2026-11-01T04:00", "2026-11-01T14:00"), start="2026-11-01T04:00", end="2026-12-01T05:00"),
        [
            Said("provisional", "2026-12-01T05:00", 711, 6, 99, 0, {"2026-11-01": 6}, 20 + 4 * 60),
            Said("final", "2026-12-04T05:00", 711, 6, 99, 0, {"2026-11-01": 6}, 20 + 4 * 60),
        ],
        None,
        [
            ("2026-11-12T10:30", EXCLUSIONS, declared("clocks", "2026-11-01T04:00", "2026-11-01T08:00", "dab")),
            ("2026-11-12T10:40", EXCLUSIONS, approved("clocks")),
        ],
        contract={"zone": "America/New_York"},
        others={"2026-12": ("2027-01-01T05:00", "2027-01-07T05:00")},
    ),
]  # fmt: skip

# Lapses that fall on no other step: 11, 19, 19 18:30 and 21 December.
LAPSES = ("2026-12-11T00:00", "2026-12-19T00:00", "2026-12-19T18:30", "2026-12-21T00:00")
# An hour after requests came late.
LATE = ("2026-12-07T13:00", "2026-12-12T13:00")
FIRST, LAST = "2026-08-31T11:00", "2027-01-20T00:00"


def steps(days: int = 0) -> list[int]:
    """Instants (ms) up to which the world is played, one after the other: whenever something falls due, and each full hour after a decision.

    With `days`, at most so many days lie between two.
    """
    due = {*LAPSES, *LATE, FIRST, LAST}
    for tenant in TENANTS:
        due |= {said.as_of for said in tenant.said if said.as_of}
        due |= {at for times in tenant.others.values() for at in times}
    found = {ms(at) for at in due}
    found |= {-(-record.at // HOUR_MS) * HOUR_MS for record in records() if record.topic != REQUESTS}
    if days:
        found |= set(range(min(found), max(found), days * 24 * HOUR_MS))
    return sorted(found)


def records() -> list[Record]:
    """Everything that is sent, in the order of time."""
    return sorted((each for tenant in TENANTS for each in tenant.records()), key=lambda record: record.at)


# -- what came of it, against the table


def statements(values: Iterable[bytes]) -> dict[str, list[tuple[str, Said]]]:
    """By tenant and month: what each statement says, in the words of `Said`, with its verdict in front."""
    found: dict[str, list[tuple[str, Said]]] = {}
    for document in sorted(map(json.loads, values), key=lambda document: document["sequence"]):
        kind = document["kind"] + (f"-{document['number']}" if document["number"] else "")
        affected = {day["date"]: day["bad"] for day in document["affected"]}
        said = Said(
            kind, document["as_of"], document["counts"]["good"], document["counts"]["bad"], document["band"],
            document["days"], affected, document["excluded_minutes"], sum(document["outside_term"].values()),
        )  # fmt: skip
        found.setdefault(f"{document['tenant']}/{document['month']}", []).append((document["verdict"], said))
    return found


def expected_statements() -> dict[str, list[Said]]:
    """The table, by tenant and month; months without demand are in it too."""
    found = {}
    for tenant in TENANTS:
        found[f"{tenant.name}/{tenant.month}"] = list(tenant.said)
        for month, times in tenant.others.items():
            good = tenant.busy.get(month, 0)
            out = 20 if month == "2026-11" else 0
            found[f"{tenant.name}/{month}"] = [
                Said(kind, at, good, 0, 99 if good else None, 0, {}, out)
                for kind, at in zip(("provisional", "final"), times, strict=True)
            ]
    return found


def chains(values: Iterable[bytes]) -> dict[str, list[bytes]]:
    """Each tenant's statements in the order of its chain."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    for value in values:
        document = json.loads(value)
        found.setdefault(document["tenant"], []).append((document["sequence"], value))
    return {tenant: [value for _, value in sorted(mine)] for tenant, mine in found.items()}


def differences(values: Iterable[bytes], credit_records: Iterable[bytes], *, to_the_minute: bool = True) -> list[str]:
    """Where statements and credits, given as records of all versions, differ from the table: a line each.

    Not `to_the_minute`, the table's times of amendments are left alone: a decision may be taken up before the step that it is before.
    """
    found, expected = statements(values), expected_statements()
    lines = []
    for name in sorted(found.keys() | expected.keys()):
        for n, (mine, theirs) in enumerate(zip_longest(expected.get(name, []), found.get(name, []))):
            a = mine and (_verdict(mine), _alike(mine, mine, to_the_minute=to_the_minute))
            b = theirs and (theirs[0], _alike(theirs[1], mine or theirs[1], to_the_minute=to_the_minute))
            if a != b:
                lines.append(f"{name} {n}: expected {a}, found {b}")
    newest: dict[str, dict[str, Any]] = {}
    for credit in map(json.loads, credit_records):
        name = f"{credit['tenant']}/{credit['month']}"
        if credit["version"] >= newest.get(name, credit)["version"]:
            newest[name] = credit
    owed = {f"{tenant.name}/{tenant.month}": tenant.owed for tenant in TENANTS if tenant.owed}
    for name in sorted(newest.keys() | owed.keys()):
        a, b = owed.get(name), _owed(newest[name]) if name in newest else None
        if a != b:
            lines.append(f"{name} credit: expected {a}, found {b}")
    return lines


def _verdict(said: Said) -> str:
    return "no_demand" if said.band is None else "missed" if said.days else "kept"


def _alike(said: Said, expected: Said, *, to_the_minute: bool) -> Said:
    """Without the instants and the requests outside the term where the table does not say them."""
    exact = to_the_minute or not expected.kind.startswith("amendment")
    as_of = said.as_of[:16] if said.as_of and expected.as_of and exact else None
    return said._replace(as_of=as_of, affected=dict(said.affected), outside=said.outside if expected.outside else 0)


def _owed(credit: Mapping[str, Any]) -> Owed:
    refused = {item["id"]: item["reason"] for item in credit["refused"]}
    refused |= {claim["id"]: claim["refusal"]["reason"] for claim in credit["claims"] if claim["status"] == "refused"}
    return Owed(credit["state"], credit["days"], credit["applied_days"], credit["old_end"], credit["new_end"], refused)
