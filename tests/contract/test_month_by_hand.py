"""A month from records to credits, worked out by hand: what each tenant's statements and credit must be, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from monitor.contract.agreement import Agreements, agreement_of
from monitor.contract.credits import Account, claim_of, fold
from monitor.contract.exclusions import exclusion_of
from monitor.contract.readings import Minutes
from monitor.contract.rulings import ruling_of
from monitor.contract.statement import Facts, Statement, Tail, issue, verify

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = 3_600_000


def ms(text: str) -> int:
    """Epoch milliseconds of a time in UTC."""
    return int((datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) / timedelta(milliseconds=1))


@dataclass(frozen=True)
class Case:
    """`traffic`: minute in UTC, good, bad. The rest are records with the time at which the log had them."""

    tenant: str
    zone: str
    month: str
    traffic: Sequence[tuple[str, int, int]]
    exclusions: Sequence[tuple[str, dict[str, Any]]] = ()
    rulings: Sequence[tuple[str, dict[str, Any]]] = ()
    claims: Sequence[tuple[str, dict[str, Any]]] = ()


def play(case: Case, until: str) -> tuple[list[Statement], Account]:
    """Look at the hours at which something happens here, from the month's last days on, and keep what is issued."""
    agreement = {
        "tenant": case.tenant,
        "zone": case.zone,
        "partner": "north",
        "start": "2026-01-01",
        "end": "2026-12-31",
    }
    facts = Facts(
        agreements=Agreements(case.tenant, (agreement_of(agreement, 0),)),
        month=case.month,
        minutes=Minutes([("vpn", ms(at) // 60_000, (good, 0, bad, 0, 0)) for at, good, bad in case.traffic]),
        as_of=0,
        exclusions=[exclusion_of({"by": "grace", **item}, ms(at)) for at, item in case.exclusions],
        rulings=[ruling_of({"by": "grace", "tenant": case.tenant, **item}, ms(at)) for at, item in case.rulings],
    )
    claims = [
        claim_of({"by": "desk", "tenant": case.tenant, "month": case.month, **item}, ms(at)) for at, item in case.claims
    ]
    chain: list[Statement] = []
    tail = Tail()
    start, end = ms(f"{case.month}-28T00:00"), ms(until)
    for now in (at for at in range(start, end + 1, HOUR) if at // HOUR % 24 in (0, 5, 8, 9, 11)):
        while made := issue(replace(facts, as_of=now), tail, chain[-1] if chain else None):
            chain.append(made)
            tail = tail.after(made)
    assert verify([item.data for item in chain], case.tenant) is None
    return chain, fold(facts.agreements, chain, claims, end)


def window(start: str, end: str, **more: Any) -> dict[str, Any]:
    scope = {"tenants": "*", "portals": "*", "category": "maintenance", "reason": "upgrade"}
    return (
        {"exclusion": "m-1", "action": "declare", "at": f"{start}:00Z", "from": f"{start}:00Z", "to": f"{end}:00Z"}
        | scope
        | more
    )


def filing(at: str, *dates: str) -> dict[str, Any]:
    return {"id": "c1", "action": "file", "at": f"{at}:00Z", "partner": "north", "dates": list(dates), "attested": True}


# Auckland's September 2026 runs from 31 August 12:00 UTC to 30 September 11:00 UTC: the clock goes forward on the 27th. The failures fall on
# the 27th there (a day of 23 hours) though it is the 26th in UTC, and what comes at 11:00 on the 30th is October's. 960 of 1,000: 96 %.
# Final after 1, 2 and 5 October there: 5 October 11:00 UTC. The last day to claim is 27 October there: until 27 October 11:00 UTC.
AUCKLAND = Case(
    "kea",
    "Pacific/Auckland",
    "2026-09",
    [
        ("2026-09-10T00:00", 960, 0),
        ("2026-09-26T13:00", 0, 40),
        ("2026-09-30T11:00", 0, 900),
        ("2026-08-31T11:59", 0, 900),
    ],
    claims=[("2026-10-27T10:59", filing("2026-10-27T10:59", "2026-09-27"))],
)
# New York's November 2026 runs from 1 November 04:00 UTC to 1 December 05:00 UTC; the clock goes back on the 1st (25 hours). 895 of 1,000 is
# under 90 %. The affected date is 1 November, so the last day is 1 December: a claim on the 2nd is on the 31st day.
NEW_YORK = Case(
    "jay",
    "America/New_York",
    "2026-11",
    [
        ("2026-11-15T00:00", 895, 0),
        ("2026-11-02T04:59", 0, 105),
        ("2026-11-01T03:59", 0, 900),
        ("2026-12-01T05:00", 0, 900),
    ],
    claims=[("2026-12-02T05:00", filing("2026-12-02T05:00", "2026-11-01"))],
)
# 940 of 1,000: 94 %, 5 days. Maintenance over 30 of the 60 failures, declared in November, is approved on 8 December: 940 of 970 is 96.9 %, 3
# days. It is revoked on the 10th: 5 days again. The claim was filed in November, held, and stands from the final statement on.
LATE_APPROVAL = Case(
    "owl",
    "UTC",
    "2026-11",
    [("2026-11-15T00:00", 940, 0), ("2026-11-20T02:00", 0, 30), ("2026-11-21T02:00", 0, 30)],
    [
        ("2026-11-20T02:00", window("2026-11-20T02:00", "2026-11-20T03:00")),
        ("2026-12-08T09:00", {"exclusion": "m-1", "action": "approve", "at": "2026-12-08T09:00Z"}),
        (
            "2026-12-10T09:00",
            {"exclusion": "m-1", "action": "revoke", "at": "2026-12-10T09:00Z", "reason": "not announced"},
        ),
    ],
    claims=[
        ("2026-11-25T09:00", filing("2026-11-25T09:00", "2026-11-21")),
        ("2026-12-04T09:00", {"id": "c2", "action": "confirm", "at": "2026-12-04T09:00Z", "claim": "c1"}),
        ("2026-12-05T09:00", {"id": "c3", "action": "apply", "at": "2026-12-05T09:00Z", "claim": "c1", "days": 5}),
    ],
)
# Nothing failed, but for two hours nothing came. Ruled bad with 12 requests missing: 988 of 1,000 is under 99 %. Midnight lies in the middle of
# it, so both dates are affected, by 6 each.
SILENCE = Case(
    "tit",
    "UTC",
    "2026-11",
    [("2026-11-15T00:00", 988, 0)],
    rulings=[
        (
            "2026-12-01T08:00",
            {
                "id": "s1",
                "kind": "silence",
                "at": "2026-12-01T08:00Z",
                "reason": "the balancer was down",
                "from": "2026-11-17T23:00:00Z",
                "to": "2026-11-18T01:00:00Z",
                "as": "bad",
                "requests": 12,
            },
        )
    ],
)

ROWS = [
    (
        AUCKLAND,
        [("provisional", "2026-09-30T11:00", 95, 3), ("final", "2026-10-05T11:00", 95, 3)],
        {"2026-09-27": 40},
        ("claimed", 3, 0, date(2027, 1, 3)),
    ),
    (
        NEW_YORK,
        [("provisional", "2026-12-01T05:00", 0, 10), ("final", "2026-12-04T05:00", 0, 10)],
        {"2026-11-01": 105},
        ("refused", 10, 0, date(2026, 12, 31)),
    ),
    (
        LATE_APPROVAL,
        [
            ("provisional", "2026-12-01T00:00", 90, 5),
            ("final", "2026-12-04T00:00", 90, 5),
            ("amendment", "2026-12-08T09:00", 95, 3),
            ("amendment", "2026-12-10T09:00", 90, 5),
        ],
        {"2026-11-20": 30, "2026-11-21": 30},
        ("applied", 5, 5, date(2027, 1, 5)),
    ),
    (
        SILENCE,
        [("provisional", "2026-12-01T00:00", 99, 0), ("final", "2026-12-04T00:00", 95, 3)],
        {"2026-11-17": 6, "2026-11-18": 6},
        ("offered", 3, 0, date(2027, 1, 3)),
    ),
]


@pytest.mark.parametrize(("case", "issued", "affected", "credit"), ROWS, ids=[row[0].tenant for row in ROWS])
def test_statements_and_credits_are_those_of_the_table(case: Case, issued: Any, affected: Any, credit: Any) -> None:
    until = f"{case.month[:5]}{int(case.month[5:]) + 1:02d}-28T00:00" if case.month != "2026-11" else "2026-12-15T00:00"
    chain, account = play(case, until)
    found = [(item.document["kind"], item.as_of, item.document["band"], item.days) for item in chain]
    assert found == [(kind, ms(at), band, days) for kind, at, band, days in issued]
    assert {day["date"]: day["bad"] for day in chain[-1].document["affected"]} == affected
    mine = account.credits[case.month]
    assert (mine.state, mine.days, mine.applied, mine.new_end) == credit


def test_while_an_amendment_says_less_what_was_applied_stays() -> None:
    _, account = play(LATE_APPROVAL, "2026-12-09T00:00")
    mine = account.credits["2026-11"]
    assert (mine.state, mine.days, mine.applied, mine.new_end) == ("applied", 5, 5, date(2027, 1, 5))


def test_played_with_every_record_given_from_the_start_or_only_as_it_comes_the_statements_are_the_same() -> None:
    whole, _ = play(LATE_APPROVAL, "2026-12-15T00:00")
    so_far, _ = play(replace(LATE_APPROVAL, exclusions=LATE_APPROVAL.exclusions[:1]), "2026-12-07T00:00")
    assert [item.data for item in so_far] == [item.data for item in whole[:2]]
