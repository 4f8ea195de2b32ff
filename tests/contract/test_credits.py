"""Credits: offered, claimed, confirmed, applied, or lapsed and refused; deadlines; what was applied stays applied."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.contract.agreement import Agreements, agreement_of
from monitor.contract.credits import (
    EVENTS,
    STATES,
    TRANSITIONS,
    Account,
    ClaimDecision,
    Credit,
    NoticeDue,
    claim_of,
    fold,
    notices,
)
from monitor.contract.decisions import Reason
from monitor.contract.period import day_start
from monitor.contract.readings import Affected, deadline
from monitor.contract.statement import Statement, canonical
from monitor.contract.terms import STANDARD

DAY_MS = 86_400_000
FINAL = int(datetime(2026, 12, 4, tzinfo=UTC).timestamp() * 1000)
LATER = FINAL + 1000 * DAY_MS


def ms(day: str, zone: str = "UTC") -> int:
    """The local date's noon, or its midnight, less or more."""
    return day_start(date.fromisoformat(day), zone) * 60_000


def contract(tenant: str = "acme", **more: Any) -> Agreements:
    record = {"tenant": tenant, "partner": "north", "start": "2026-01-01", "end": "2026-12-31", **more}
    return Agreements(tenant, (agreement_of(record, 0),))


def statement(
    days: int = 3,
    affected: tuple[str, ...] = ("2026-11-10",),
    at: int = FINAL,
    month: str = "2026-11",
    zone: str = "UTC",
) -> Statement:
    """A settled statement as far as credits read one."""
    dates = [date.fromisoformat(text) for text in affected]
    document = {
        "tenant": "acme",
        "month": month,
        "kind": "final" if at == FINAL else "amendment",
        "number": 0,
        "sequence": 0,
        "previous": None,
        "as_of": datetime.fromtimestamp(at / 1000, UTC).isoformat(),
        "days": days,
        "affected": [Affected(day, 7, *deadline(day, STANDARD, zone)).record() for day in dates],
    }
    return Statement(canonical(document), document)


def filed(at: int, name: str = "c1", dates: tuple[str, ...] = ("2026-11-10",), **more: Any) -> ClaimDecision:
    record = {"id": name, "tenant": "acme", "month": "2026-11", "action": "file", "by": "desk", "at": at}
    record |= {"partner": "north", "dates": list(dates), "attested": True}
    recorded = more.pop("recorded", at)
    return claim_of(record | more, recorded)


def decided(action: str, at: int, name: str | None = None, claim: str = "c1", **more: Any) -> ClaimDecision:
    record = {"id": name or f"{action}-{at}", "tenant": "acme", "month": more.pop("month", "2026-11"), "action": action}
    record |= {"by": "desk", "at": at, "claim": claim, "reason": "because"}
    return claim_of(record | ({"days": 3} if action == "apply" else {}) | more, at)


def credit(
    decisions: list[ClaimDecision], statements: list[Statement] | None = None, as_of: int = LATER, **more: Any
) -> Credit:
    account = fold(contract(**more), [statement()] if statements is None else statements, decisions, as_of)
    return account.credits["2026-11"]


HAPPY = [
    filed(FINAL + 1),
    decided("confirm", FINAL + 2),
    decided("apply", FINAL + 3),
]


def test_a_credit_is_offered_claimed_confirmed_and_applied() -> None:
    found = [credit(HAPPY, as_of=FINAL + step) for step in range(4)]
    assert [item.state for item in found] == ["offered", "claimed", "confirmed", "applied"]
    assert [item.version for item in found] == [1, 2, 3, 4]
    assert [item.applied for item in found] == [0, 0, 0, 3]
    for item in found:
        assert (item.days, item.old_end, item.new_end) == (3, date(2026, 12, 31), date(2027, 1, 3))
    assert found[3].record()["days_to_apply"] == 0
    assert found[2].record()["days_to_apply"] == 3


def test_the_table_of_states_is_whole_and_every_state_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(STATES)
    assert {event for row in TRANSITIONS.values() for event in row} == set(EVENTS)
    assert {state for row in TRANSITIONS.values() for state in row.values()} == set(STATES) - {"open"}


def test_a_claim_before_the_month_is_final_is_held_and_decided_then() -> None:
    early = filed(ms("2026-11-12"))
    account = fold(contract(), [statement()], [early], FINAL - 1)
    held = account.credits["2026-11"]
    assert (held.state, held.claims[0].held, held.standing) == ("open", True, None)
    assert credit([early], as_of=FINAL).state == "claimed"
    refused = credit([early], [statement(0, ())])
    assert (refused.state, refused.claims[0].refused and refused.claims[0].refused.reason) == (
        "refused",
        Reason.NOTHING_OWED,
    )


def test_a_claim_for_a_date_that_had_not_come_is_refused_even_if_the_service_fails_then() -> None:
    found = credit([filed(ms("2026-11-09"))])
    assert (found.state, found.reason) == ("refused", "by 2026-11-09 no request that counts had failed on 2026-11-10")
    assert credit([filed(ms("2026-11-10"))]).state == "claimed"


def test_a_held_claim_is_not_confirmed() -> None:
    early = [filed(ms("2026-11-12")), decided("confirm", ms("2026-11-13"))]
    found = credit(early)
    assert (found.state, [item.reason for item in found.refused]) == ("claimed", [Reason.NOT_FINAL])


@pytest.mark.parametrize(
    ("zone", "last"), [("UTC", "2026-12-10"), ("Pacific/Auckland", "2026-12-10"), ("America/New_York", "2026-12-10")]
)
def test_a_claim_is_in_time_through_the_thirtieth_day_there_and_late_on_the_thirty_first(zone: str, last: str) -> None:
    over = (day_start(date.fromisoformat(last), zone) + 1440) * 60_000
    settled = [statement(zone=zone)]
    in_time = credit([filed(over - 1)], settled, zone=zone)
    late = credit([filed(over)], settled, zone=zone)
    assert (in_time.state, late.state) == ("claimed", "refused")
    assert late.reason == "notice was given on 2026-12-11; the last day for 2026-11-10 was 2026-12-10"
    assert late.claims[0].refused is not None
    assert late.claims[0].refused.reason is Reason.LATE


def test_each_affected_date_has_its_own_deadline_and_one_in_time_is_enough() -> None:
    settled = [statement(affected=("2026-11-01", "2026-11-20"))]
    on_5_december = ms("2026-12-05")
    assert credit([filed(on_5_december, dates=("2026-11-01",))], settled).state == "refused"
    assert credit([filed(on_5_december, dates=("2026-11-01", "2026-11-20"))], settled).state == "claimed"


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (filed(FINAL + 1, partner="south"), Reason.WRONG_PARTNER),
        (filed(FINAL + 1, attested=False), Reason.NOT_ATTESTED),
        (filed(FINAL + 1, dates=("2026-11-11",)), Reason.UNAFFECTED_DATE),
        (filed(FINAL + 1, dates=("2026-10-10",)), Reason.LATE),
        (filed(FINAL + 90 * DAY_MS), Reason.LATE),
    ],
)
def test_a_claim_that_cannot_be_is_refused_and_kept_and_another_may_follow(claim: Any, reason: Reason) -> None:
    found = credit([claim], as_of=claim.recorded)
    assert found.claims[0].refused is not None
    assert (found.claims[0].filed, found.claims[0].refused.reason) == (claim, reason)
    assert found.state in ("refused", "lapsed")
    assert found.reason
    again = credit([claim, filed(FINAL + 2, "c2")]) if claim.recorded < FINAL + 2 else None
    assert again is None or (again.state, again.standing and again.standing.filed.id) == ("claimed", "c2")


def test_a_second_claim_is_refused_and_the_first_goes_on() -> None:
    for first in (ms("2026-11-12"), FINAL + 1):
        found = credit([filed(first), filed(first + 1, "c2"), decided("confirm", FINAL + 2)])
        assert found.state == "confirmed"
        assert [claim.refused and claim.refused.reason for claim in found.claims] == [None, Reason.SECOND_CLAIM]


def test_nobody_claims_for_a_tenant_without_a_contract() -> None:
    account = fold(Agreements("acme"), [statement()], [filed(FINAL + 1)], LATER)
    assert account.credits["2026-11"].claims[0].refused is not None
    assert account.credits["2026-11"].claims[0].refused.reason is Reason.NO_CONTRACT
    refusal = account.refusal("c1")
    assert refusal is not None
    assert refusal.sentence == "there is no contract with acme for 2026-11"


def test_a_credit_that_nobody_claims_lapses_with_its_last_deadline_and_a_notice_given_in_time_revives_it() -> None:
    over = ms("2026-12-11")
    assert credit([], as_of=over - 1).state == "offered"
    lapsed = credit([], as_of=over)
    assert (lapsed.state, lapsed.reason, lapsed.new_end) == (
        "lapsed",
        "nobody claimed by 2026-12-10",
        date(2026, 12, 31),
    )
    assert credit([filed(over - 1, recorded=over + 5 * DAY_MS)]).state == "claimed"


def test_a_disputed_claim_waits_for_a_confirmation_and_is_not_applied() -> None:
    story = [filed(FINAL + 1), decided("dispute", FINAL + 2), decided("apply", FINAL + 3)]
    found = credit(story)
    assert (found.state, found.reason) == ("disputed", "because")
    assert [item.reason for item in found.refused] == [Reason.WRONG_STATE]
    assert credit([*story, decided("confirm", FINAL + 4), decided("apply", FINAL + 5)]).state == "applied"


def test_a_decision_that_comes_again_changes_nothing_and_other_days_than_owed_are_not_applied() -> None:
    assert credit([*HAPPY, *HAPPY]) == credit(HAPPY)
    wrong = credit([*HAPPY[:2], decided("apply", FINAL + 3, days=5)])
    assert (wrong.state, wrong.applied, wrong.refused[0].reason) == ("confirmed", 0, Reason.WRONG_DAYS)
    twice = credit([*HAPPY, decided("apply", FINAL + 4, name="again")])
    assert (twice.applied, twice.refused[0].reason) == (3, Reason.WRONG_STATE)


def test_an_amendment_never_takes_back_what_was_applied_and_grants_the_rest_anew() -> None:
    less = statement(0, (), at=FINAL + 10)
    more = statement(5, at=FINAL + 20)
    back = statement(3, at=FINAL + 30)
    found = credit(HAPPY, [statement(), less])
    assert (found.state, found.days, found.applied, found.new_end) == ("applied", 3, 3, date(2027, 1, 3))
    found = credit(HAPPY, [statement(), less, more])
    assert (found.state, found.days, found.applied) == ("confirmed", 5, 3)
    assert (found.old_end, found.new_end, found.record()["days_to_apply"]) == (date(2026, 12, 31), date(2027, 1, 5), 2)
    assert (credit(HAPPY, [statement(), more, back]).state, credit(HAPPY, [statement(), more, back]).days) == (
        "applied",
        3,
    )
    applied = credit([*HAPPY, decided("apply", FINAL + 25, days=5)], [statement(), more, back])
    assert (applied.state, applied.days, applied.applied, applied.new_end) == ("applied", 5, 5, date(2027, 1, 5))


def test_a_claim_that_an_amendment_unfounds_stands_again_when_that_is_taken_back() -> None:
    story = [filed(FINAL + 1)]
    gone = credit(story, [statement(), statement(0, (), at=FINAL + 10)])
    assert (gone.state, gone.reason) == ("refused", "2026-11 entitles to no credit after an amendment")
    back = credit(story, [statement(), statement(0, (), at=FINAL + 10), statement(3, at=FINAL + 20)])
    assert (back.state, back.standing and back.standing.filed.id, back.reason) == ("claimed", "c1", "")


def test_the_credits_of_two_months_add_up_at_the_end_of_the_term_whichever_is_applied_first() -> None:
    october = statement(5, ("2026-10-30",), month="2026-10")
    other = [
        replace(filed(ms("2026-11-20"), "o1", ("2026-10-30",)), month="2026-10"),
        decided("confirm", FINAL + 1, "o2", "o1", month="2026-10"),
        decided("apply", FINAL + 2, "o3", "o1", month="2026-10", days=5),
    ]
    account = fold(contract(), [october, statement()], [*other, HAPPY[0]], FINAL + 2)
    november = account.credits["2026-11"]
    assert (november.old_end, november.new_end) == (date(2027, 1, 5), date(2027, 1, 8)), "read before it is applied"
    account = fold(contract(), [october, statement()], [*other, *HAPPY], LATER)
    assert (account.credits["2026-10"].old_end, account.credits["2026-10"].new_end) == (
        date(2026, 12, 31),
        date(2027, 1, 5),
    )
    assert account.extension(contract().at(FINAL // 60_000)) == 8
    renewed = agreement_of({"tenant": "acme", "start": "2027-01-01", "end": "2027-12-31"}, 0)
    assert account.extension(renewed) == 0, "they went to the term before"


def test_a_contract_that_names_no_end_has_none_to_extend() -> None:
    found = credit(HAPPY, end=None)
    assert (found.state, found.applied, found.old_end, found.new_end) == ("applied", 3, None, None)


def test_a_claim_decides_only_its_own_tenants_month() -> None:
    account = fold(contract("bravo"), [], HAPPY, LATER)
    assert account == Account("bravo", {})


events = st.lists(
    st.tuples(
        st.sampled_from(["file", "confirm", "dispute", "apply", "amend"]),
        st.integers(0, 60),
        st.sampled_from([0, 3, 5, 10, 99]),
        st.sampled_from(["c1", "c2"]),
        st.sampled_from(["2026-11-10", "2026-11-20"]),
    ),
    max_size=12,
)


def told(story: list[Any]) -> tuple[list[Statement], list[ClaimDecision]]:
    statements = [statement(3)]
    decisions: list[ClaimDecision] = []
    for place, (action, day, days, claim, affected) in enumerate(sorted(story, key=lambda item: item[1])):
        at = FINAL + 1 + day * DAY_MS + place
        if action == "amend":
            statements.append(statement(days, (affected,) if days else (), at=at))
        elif action == "file":
            decisions.append(filed(at, claim, (affected,)))
        else:
            more = {"days": days or 1} if action == "apply" else {}
            decisions.append(decided(action, at, f"d{place}", claim, **more))
    return statements, decisions


@settings(max_examples=150)
@given(events)
def test_a_credit_stays_under_the_cap_and_is_never_negative_nor_less_than_was_applied(story: list[Any]) -> None:
    statements, decisions = told(story)
    applied, version = 0, 0
    for at in sorted({FINAL, *(item.as_of for item in statements), *(item.recorded for item in decisions)}):
        found = credit(decisions, statements, at)
        assert 0 <= applied <= found.applied <= found.days <= STANDARD.cap_days
        assert found.version >= version
        assert found.state != "applied" or found.applied == found.days
        assert found.old_end is not None
        assert found.new_end is not None
        assert (found.new_end - found.old_end).days in (found.days, found.applied)
        applied, version = found.applied, found.version


@settings(max_examples=100)
@given(events, st.randoms(use_true_random=False), st.integers(0, 60))
def test_a_credit_as_of_an_instant_is_the_same_in_whatever_order_it_is_told_and_whatever_comes_later(
    story: list[Any], random: Any, day: int
) -> None:
    statements, decisions = told(story)
    as_of = FINAL + 1 + day * DAY_MS
    early = fold(
        contract(),
        [item for item in statements if item.as_of <= as_of],
        [item for item in decisions if item.recorded <= as_of],
        as_of,
    )
    random.shuffle(decisions)
    assert fold(contract(), statements[::-1], decisions + decisions[:2], as_of) == early


def test_a_notice_goes_out_once_for_each_affected_date_when_it_is_over_while_the_month_still_runs() -> None:
    zone = "Pacific/Auckland"
    days = [Affected(day, 4, *deadline(day, STANDARD, zone)) for day in (date(2026, 11, 10), date(2026, 11, 12))]
    told: set[str] = set()
    said = []
    for day in range(9, 15):
        for hour in (0, 11, 23):
            now = ms(f"2026-11-{day:02d}", zone) + hour * 3_600_000
            for notice in notices("acme", "2026-11", zone, days, told, now):
                told.add(notice.id)
                said.append((notice.id, day, hour))
    assert said == [("acme/2026-11-10/notice-due", 11, 0), ("acme/2026-11-12/notice-due", 13, 0)]
    assert notices("acme", "2026-11", zone, days, set(), ms("2026-12-12", zone))[0].affected.day == date(2026, 11, 12)
    assert NoticeDue("acme", "2026-11", days[0]).record()["claim_by"] == "2026-12-10"


def test_all_faults_of_a_claim_are_named_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        claim_of({"id": "c1", "month": "11/2026", "action": "file", "dates": ["tenth"], "attested": "yes", "at": 1}, 5)
    assert [fault.split(":")[0] for fault in str(caught.value).split("; ")] == [
        "tenant",
        "by",
        "month",
        "dates",
        "attested",
    ]
    for more, fault in (
        ({"action": "file", "dates": []}, "dates: expected the dates"),
        ({"action": "apply", "claim": "c1", "days": 0}, "days: expected a whole number from 1 to"),
        ({"action": "dispute", "claim": "c1"}, "reason: expected a text"),
        ({"action": "confirm"}, "claim: expected a text"),
        ({"action": "grant"}, "action: expected one of file, confirm, dispute, apply"),
    ):
        with pytest.raises(ValueError, match=fault):
            claim_of({"id": "c1", "tenant": "acme", "month": "2026-11", "by": "desk", "at": 1} | more, 5)


def test_a_decision_about_a_claim_comes_back_as_it_was_written() -> None:
    for item in [*HAPPY, decided("dispute", FINAL)]:
        assert claim_of(item.record(), item.recorded) == item
