"""A request as a fold over its events, its clocks, and what is announced of it."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.contract.exclusions import CATEGORIES
from monitor.contract.instant import instant, rfc3339
from monitor.contract.support import (
    DOCUMENTATION,
    EVENT_TYPES,
    SEVERITIES,
    STANDARD_SUPPORT,
    Event,
    Request,
    SupportBreach,
    announcements,
    breaches,
    clocks,
    event_of,
    events_between,
    fold,
    status,
)
from monitor.contract.support.requests import TRANSITIONS

TERMS = STANDARD_SUPPORT


def event(kind: str, time: str, **more: Any) -> Event:
    return event_of({"tenant": "acme", "request": "R1", "type": kind, "time": time, **more})


def told(request: Request, now: str) -> list[tuple[str, str]]:
    return [(breach.type, rfc3339(breach.at)) for breach in breaches(request, TERMS, instant(now))]


OPENED = event("opened", "2026-11-16T10:00Z", severity="P1")
"""A Monday; the first response is due at 14:00, the first update on Tuesday at 17:00."""


def test_an_unanswered_request_is_warned_of_and_then_overdue_on_both_clocks() -> None:
    assert told(fold([OPENED]), "2026-11-18T10:00Z") == [
        ("first_response_due_soon", "2026-11-16T13:00:00Z"),
        ("first_response_overdue", "2026-11-16T14:00:00Z"),
        ("update_warning", "2026-11-17T16:00:00Z"),
        ("update_overdue", "2026-11-17T17:00:00Z"),
    ]


def test_an_answer_at_the_very_instant_is_in_time_and_one_a_millisecond_later_is_not() -> None:
    just = fold([OPENED, event("responded", "2026-11-16T14:00Z")])
    late = fold([OPENED, event("responded", "2026-11-16T14:00:00.001Z")])
    now = "2026-11-16T20:00Z"
    assert told(just, now) == [("first_response_due_soon", "2026-11-16T13:00:00Z")]
    assert ("first_response_overdue", "2026-11-16T14:00:00Z") in told(late, now)
    assert [status(r, TERMS, instant(now))["first_response"] for r in (just, late)] == ["in_time", "late"]


def test_a_due_time_is_not_missed_while_it_is_now() -> None:
    assert status(fold([OPENED]), TERMS, instant("2026-11-16T14:00Z"))["overdue"] == []
    assert status(fold([OPENED]), TERMS, instant("2026-11-16T14:00:00.001Z"))["overdue"] == ["first_response"]


@pytest.mark.parametrize("kind", ["responded", "updated", "temporary_resolution", "resolved"])
def test_whatever_the_customer_hears_first_is_the_first_response(kind: str) -> None:
    request = fold([OPENED, event(kind, "2026-11-16T11:00Z")])
    record = status(request, TERMS, instant("2026-11-20T10:00Z"))
    assert (record["first_response"], record["first_response_at"]) == ("in_time", "2026-11-16T11:00:00Z")


def test_documentation_that_comes_in_is_no_answer() -> None:
    request = fold([OPENED, event("documented", "2026-11-16T11:00Z", documentation={"contact": "Ada"})])
    assert ("first_response_overdue", "2026-11-16T14:00:00Z") in told(request, "2026-11-16T15:00Z")


def test_what_the_documentation_lacks_is_listed_and_the_clock_keeps_running() -> None:
    request = fold([event("opened", "2026-11-16T10:00Z", severity="P1", documentation={"contact": "Ada", "files": []})])
    before = status(request, TERMS, instant("2026-11-16T10:00Z"))
    assert before["missing"] == ["identification", "description", "error_messages", "files"]
    assert before["first_response_due"] == "2026-11-16T14:00:00Z"
    rest = {"identification": "SN-7", "description": "nobody can log in", "error_messages": "504", "files": ["idp.log"]}
    after = status(
        fold([*request.events, event("documented", "2026-11-16T12:00Z", documentation=rest)]),
        TERMS,
        instant("2026-11-16T12:00Z"),
    )
    assert after["missing"] == []
    assert after["documentation"] == {**rest, "contact": "Ada"}
    assert after["first_response_due"] == "2026-11-16T14:00:00Z"


def test_a_change_of_severity_counts_again_from_the_opening_and_keeps_the_history() -> None:
    raised = event("severity_changed", "2026-11-16T11:00Z", severity="P1", reason="all users now", by="Grace")
    request = fold([event("opened", "2026-11-16T10:00Z", severity="P3"), raised])
    record = status(request, TERMS, instant("2026-11-16T11:00Z"))
    assert (record["first_response_due"], record["next_update_due"]) == ("2026-11-16T14:00:00Z", "2026-11-17T17:00:00Z")
    assert [(step["severity"], step["first_response_due"], step["next_update_due"]) for step in record["history"]] == [
        ("P3", "2026-11-17T10:00:00Z", "2026-11-23T17:00:00Z"),
        ("P1", "2026-11-16T14:00:00Z", "2026-11-17T17:00:00Z"),
    ]
    assert (record["history"][1]["reason"], record["history"][1]["by"]) == ("all users now", "Grace")


def test_a_severity_raised_after_its_due_time_is_missed_from_the_change_on() -> None:
    raised = event("severity_changed", "2026-11-17T09:30Z", severity="P1", reason="all users now")
    request = fold([event("opened", "2026-11-16T10:00Z", severity="P3"), raised])
    assert told(request, "2026-11-17T09:31Z") == [
        ("first_response_due_soon", "2026-11-17T09:00:00Z"),
        ("first_response_overdue", "2026-11-17T09:30:00Z"),
    ]
    reason = breaches(request, TERMS, instant("2026-11-17T09:31Z"))[1].reason
    assert reason == "raised to P1 at 2026-11-17T09:30:00Z, when the first response was due at 2026-11-16T14:00:00Z"


def test_lowering_the_severity_moves_what_is_owed_but_forgives_nothing() -> None:
    lowered = event("severity_changed", "2026-11-16T14:30Z", severity="P3", reason="one user only")
    request = fold([OPENED, lowered, event("responded", "2026-11-16T16:00Z")])
    record = status(request, TERMS, instant("2026-11-16T16:00Z"))
    assert record["first_response"] == "late"
    assert record["first_response_due"] == "2026-11-17T10:00:00Z"
    assert clocks(request, TERMS)[0].severity(instant("2026-11-16T16:00Z")) == "P1"


def test_a_due_time_that_is_replaced_before_it_passes_was_never_missed() -> None:
    lowered = event("severity_changed", "2026-11-16T14:00Z", severity="P3", reason="one user only")
    request = fold([OPENED, lowered, event("responded", "2026-11-16T16:00Z")])
    assert status(request, TERMS, instant("2026-11-16T16:00Z"))["first_response"] == "in_time"


def test_an_answer_given_in_time_stays_so_when_the_severity_is_raised_later() -> None:
    opened = event("opened", "2026-11-16T10:00Z", severity="P3")
    raised = event("severity_changed", "2026-11-16T16:30Z", severity="P1", reason="all users now")
    request = fold([opened, event("responded", "2026-11-16T16:00Z"), raised])
    record = status(request, TERMS, instant("2026-11-16T16:40Z"))
    assert (record["first_response"], record["overdue"]) == ("in_time", [])
    assert record["next_update_due"] == "2026-11-17T17:00:00Z"


def test_a_p2_request_is_warned_of_at_two_working_days_and_late_after_three() -> None:
    opened = event("opened", "2026-11-16T10:00Z", severity="P2")
    request = fold([opened, event("responded", "2026-11-16T11:00Z")])
    assert told(request, "2026-11-25T10:00Z") == [
        ("update_warning", "2026-11-18T17:00:00Z"),
        ("update_overdue", "2026-11-19T17:00:00Z"),
    ]
    assert status(request, TERMS, instant("2026-11-19T10:00Z"))["due_soon"] == ["update"]


def test_a_temporary_resolution_answers_and_lowers_the_severity() -> None:
    request = fold([OPENED, event("temporary_resolution", "2026-11-16T11:00Z", severity="P3")])
    record = status(request, TERMS, instant("2026-11-16T11:00Z"))
    assert (record["state"], record["severity"], record["next_update_due"]) == (
        "mitigated",
        "P3",
        "2026-11-23T17:00:00Z",
    )
    assert fold([OPENED, event("temporary_resolution", "2026-11-16T11:00Z")]).severity == "P2"


def test_a_temporary_resolution_cannot_raise_or_keep_the_severity() -> None:
    request = fold([OPENED, event("temporary_resolution", "2026-11-16T11:00Z", severity="P1")])
    assert [item.reason for item in request.refused] == [
        "a temporary resolution lowers the severity: expected one under P1, found P1"
    ]
    assert request.state == "waiting"


def test_a_resolved_request_owes_nothing_until_it_is_reopened_and_then_a_first_response_again() -> None:
    resolved = [OPENED, event("responded", "2026-11-16T11:00Z"), event("resolved", "2026-11-16T12:00Z")]
    record = status(fold(resolved), TERMS, instant("2026-12-01T10:00Z"))
    assert (record["state"], record["next_update_due"], record["overdue"]) == ("resolved", None, [])
    again = fold([*resolved, event("reopened", "2026-11-30T10:00Z")])
    record = status(again, TERMS, instant("2026-11-30T10:00Z"))
    assert (record["state"], record["reopened"], record["first_response"]) == ("waiting", 1, "waiting")
    assert (record["opened"], record["first_response_due"]) == ("2026-11-16T10:00:00Z", "2026-11-30T14:00:00Z")


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_request_that_is_not_covered_promised_nothing(category: str) -> None:
    request = fold([OPENED, event("not_covered", "2026-11-16T15:00Z", category=category, by="Grace")])
    assert told(request, "2026-12-01T10:00Z") == []
    record = status(request, TERMS, instant("2026-12-01T10:00Z"))
    assert (record["not_covered"], record["first_response"], record["overdue"]) == (category, "not_covered", [])


def test_the_eleven_categories_are_those_of_the_exclusions() -> None:
    assert len(set(CATEGORIES)) == 11


def test_a_request_is_refused_what_does_not_fit_and_says_why() -> None:
    request = fold(
        [
            event("responded", "2026-11-16T09:00Z"),
            OPENED,
            event("opened", "2026-11-16T10:05Z", severity="P2"),
            event("severity_changed", "2026-11-16T10:10Z", severity="P1", reason="still"),
            event("reopened", "2026-11-16T10:20Z"),
            event("resolved", "2026-11-16T11:00Z"),
            event("updated", "2026-11-16T12:00Z"),
        ]
    )
    assert [(item.event.type, item.reason) for item in request.refused] == [
        ("responded", "the request is not open yet"),
        ("opened", "the request is open since 2026-11-16T10:00:00Z"),
        ("severity_changed", "the severity is P1 already"),
        ("reopened", "the request is open: there is nothing to reopen"),
        ("updated", "the request is resolved since 2026-11-16T11:00:00Z: reopen it first"),
    ]
    assert (request.state, len(request.steps)) == ("resolved", 2)


def test_every_state_says_what_becomes_of_every_event() -> None:
    for state, ways in TRANSITIONS.items():
        assert set(ways) <= set(EVENT_TYPES)
        assert set(ways.values()) <= set(TRANSITIONS), state


def test_an_event_that_comes_late_takes_its_place_in_time() -> None:
    resolved = event("resolved", "2026-11-16T15:00Z")
    early = event("responded", "2026-11-16T11:00Z")
    assert status(fold([OPENED, resolved]), TERMS, instant("2026-11-16T16:00Z"))["first_response"] == "late"
    assert status(fold([OPENED, resolved, early]), TERMS, instant("2026-11-16T16:00Z"))["first_response"] == "in_time"


def test_an_id_that_is_used_for_something_else_is_refused_whichever_comes_first() -> None:
    one = event("responded", "2026-11-16T11:00Z", id="e1")
    other = event("resolved", "2026-11-16T12:00Z", id="e1")
    for order in ([OPENED, one, other], [other, one, OPENED], [other, other, OPENED, one]):
        request = fold(order)
        assert request.state == "answered"
        assert [item.reason for item in request.refused] == ["the id e1 is that of a responded of 2026-11-16T11:00:00Z"]


def test_an_event_of_the_future_has_not_taken_effect_yet() -> None:
    request = fold([OPENED, event("resolved", "2062-11-16T11:00Z", id="typo")])
    record = status(request, TERMS, instant("2026-11-16T15:00Z"))
    assert (record["state"], record["overdue"]) == ("waiting", ["first_response"])
    assert record["ahead"] == [{"id": "typo", "type": "resolved", "time": "2062-11-16T11:00:00Z"}]


def test_a_late_event_takes_back_a_miss_that_was_announced() -> None:
    now = instant("2026-11-16T15:00Z")
    announced = {breach.id: breach for breach in announcements(fold([OPENED]), TERMS, {}, now)}
    assert [breach.type for breach in announced.values()] == ["first_response_due_soon", "first_response_overdue"]
    answered = fold([OPENED, event("responded", "2026-11-16T13:30Z")])
    (taken,) = announcements(answered, TERMS, announced, now)
    assert (taken.type, taken.withdraws) == (
        "withdrawn",
        "acme/R1/0/first_response_overdue/2026-11-16T14:00:00Z",
    )
    assert taken.reason == "by what came to be known later nothing was missed"


def test_a_miss_that_comes_true_again_is_announced_under_an_id_of_its_own() -> None:
    now = instant("2026-11-16T15:00Z")
    answer = event("responded", "2026-11-16T13:30Z", id="a")
    # Of two events with one id the earlier holds: the answer turns out to have been another's id.
    earlier = event("documented", "2026-11-16T10:15Z", id="a")
    told: dict[str, SupportBreach] = {}
    ids = []
    for events in ([OPENED], [OPENED, answer], [OPENED, answer, earlier], [OPENED, answer, earlier]):
        for breach in announcements(fold(events), TERMS, told, now):
            told[breach.about] = breach
            ids.append((breach.id, breach.withdraws))
    missed = "acme/R1/0/first_response_overdue/2026-11-16T14:00:00Z"
    assert ids[1:] == [(missed, ""), (f"{missed}/withdrawn", missed), (f"{missed}/2", "")]


def test_a_late_event_can_add_a_miss_of_last_week() -> None:
    opened = event("opened", "2026-11-16T10:00Z", severity="P3")
    answered = event("responded", "2026-11-16T16:00Z")
    raised = event("severity_changed", "2026-11-16T11:00Z", severity="P1", reason="all users")
    now = instant("2026-11-20T10:00Z")
    announced = {breach.id: breach for breach in announcements(fold([opened, answered]), TERMS, {}, now)}
    new = announcements(fold([opened, answered, raised]), TERMS, announced, now)
    assert ("first_response_overdue", "2026-11-16T14:00:00Z") in [(b.type, rfc3339(b.at)) for b in new]


def test_what_was_announced_is_not_announced_again() -> None:
    now = instant("2026-11-18T15:00Z")
    announced = {breach.id: breach for breach in announcements(fold([OPENED]), TERMS, {}, now)}
    assert announcements(fold([OPENED, OPENED]), TERMS, announced, now) == []


def test_a_running_p1_request_is_linked_to_the_tenants_open_breach() -> None:
    now = instant("2026-11-16T11:00Z")
    assert status(fold([OPENED]), TERMS, now, "acme/2026-11/breached")["breach"] == "acme/2026-11/breached"
    own = event("documented", "2026-11-16T10:30Z", breach="acme/2026-10/breached")
    assert status(fold([OPENED, own]), TERMS, now, "acme/2026-11/breached")["breach"] == "acme/2026-10/breached"
    mild = event("opened", "2026-11-16T10:00Z", severity="P2")
    assert status(fold([mild]), TERMS, now, "acme/2026-11/breached")["breach"] is None


def test_a_faulty_event_is_told_all_its_faults_at_once() -> None:
    with pytest.raises(ValueError) as told_all:
        event_of({"type": "severity_changed", "time": "2026-11-16T10:00", "request": "R1", "severity": "high"})
    assert str(told_all.value) == (
        "tenant: expected a text, found none; severity: expected one of P1, P2, P3, P4, found 'high'; "
        "reason: expected a text, found none; time: expected a time with an offset such as 2026-11-20T16:59:00Z or "
        "2026-11-20T16:59:00+01:00, found '2026-11-16T10:00', which does not say in which zone"
    )


def test_an_event_without_an_id_is_named_by_what_it_says() -> None:
    assert OPENED.id == "R1/opened/2026-11-16T10:00:00Z"


# --- laws over arbitrary histories

HOUR = 3_600_000
START = instant("2026-12-21T00:00Z")


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Mostly an opening, then anything at all, within three weeks around Christmas."""
    events = []
    for number in range(draw(st.integers(1, 12))):
        kind = "opened" if not number and draw(st.booleans()) else draw(st.sampled_from(EVENT_TYPES))
        data: dict[str, Any] = {
            "id": f"e{draw(st.integers(0, 14))}",
            "tenant": "acme",
            "request": "R1",
            "type": kind,
            "time": START + draw(st.integers(0, 2 * 24 * 21)) * HOUR // 2,
        }
        if kind in {"opened", "severity_changed"} or (kind == "temporary_resolution" and draw(st.booleans())):
            data["severity"] = draw(st.sampled_from(SEVERITIES))
        if kind == "severity_changed":
            data["reason"] = "it changed"
        if kind == "not_covered":
            data["category"] = draw(st.sampled_from(CATEGORIES))
        if draw(st.booleans()):
            data["documentation"] = {draw(st.sampled_from(("description", "contact"))): draw(st.sampled_from("xyz"))}
        events.append(event_of(data))
    return events


times = st.integers(START, START + 24 * 30 * HOUR)


@given(histories(), st.integers(), times)
def test_a_replay_and_any_order_of_arrival_change_nothing(events: list[Event], seed: int, now: int) -> None:
    again = [*events, *events[::2]]
    random.Random(seed).shuffle(again)
    once, twice = fold(events), fold(again)
    assert twice == once
    assert status(twice, TERMS, now) == status(once, TERMS, now)
    assert breaches(twice, TERMS, now) == breaches(once, TERMS, now)


@given(histories(), times)
def test_a_request_known_early_and_asked_later_is_as_if_folded_then(events: list[Event], now: int) -> None:
    assert status(fold(events, START + 24 * HOUR), TERMS, now) == status(fold(events), TERMS, now)


@given(histories(), st.lists(times, min_size=2, max_size=6))
def test_intervals_that_join_tell_each_breach_once(events: list[Event], cuts: list[int]) -> None:
    request, cuts = fold(events), sorted(cuts)
    pieces = [breach for since, now in pairwise(cuts) for breach in events_between(request, TERMS, since, now)]
    # A round found not to be covered takes back what was told of it; nothing else does.
    whole = events_between(request, TERMS, cuts[0], cuts[-1])
    if not request.not_covered:
        assert pieces == whole
    assert {breach.id for breach in whole} <= {breach.id for breach in pieces}


@given(histories(), times)
def test_each_breach_has_an_id_of_its_own_and_each_event_one_fate(events: list[Event], now: int) -> None:
    request = fold(events, now)
    ids = [breach.id for breach in breaches(request, TERMS, now)]
    assert len(ids) == len(set(ids))
    fates = [*(s.event for s in request.steps), *(r.event for r in request.refused), *request.ahead]
    assert sorted(map(repr, fates)) == sorted({repr(item) for item in events})


@settings(max_examples=50)
@given(histories(), times)
def test_announcing_step_by_step_ends_where_announcing_at_once_does(events: list[Event], now: int) -> None:
    told: dict[str, SupportBreach] = {}
    ids: list[str] = []
    for count in range(1, len(events) + 1):
        for breach in announcements(fold(events[:count]), TERMS, told, now):
            assert not breach.withdraws or breach.withdraws in ids
            ids.append(breach.id)
            told[breach.about] = breach
    misses = {b.about for b in breaches(fold(events), TERMS, now) if b.type.endswith("overdue")}
    assert {about for about, b in told.items() if b.type.endswith("overdue")} == misses
    assert len(ids) == len(set(ids)), "an id stands for one announcement"


@given(histories())
def test_an_event_written_out_is_read_back_as_it_was(events: list[Event]) -> None:
    assert [event_of(item.record()) for item in events] == events


def test_the_checklist_is_the_contracts() -> None:
    assert DOCUMENTATION == ("identification", "description", "error_messages", "files", "contact")
