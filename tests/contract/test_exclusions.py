"""Windows that do not count: what holds when, who may still change it, and what is refused."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.contract.decisions import AHEAD_MS, Reason
from monitor.contract.exclusions import (
    ACTIONS,
    CATEGORIES,
    ExclusionDecision,
    Segment,
    Window,
    exclusion_of,
    exclusions,
    in_scope,
    refusal,
    segments,
)
from monitor.contract.period import Period
from monitor.contract.rulings import Ruling, ruling_of, rulings

PERIOD = Period(0, 1000, "generated")
DECLARED: dict[str, Any] = {
    "exclusion": "m-1",
    "action": "declare",
    "at": "2026-11-10T09:00:00Z",
    "by": "grace",
    "from": "2026-11-11T02:00:00Z",
    "to": "2026-11-11T04:00:00Z",
    "category": "maintenance",
    "tenants": "*",
    "portals": ["vpn"],
    "reason": "database upgrade",
    "reference": "CHG-7",
}
NOW = 1_796_000_000_000
LATER = 2_000_000_000_000


def decided(action: Any, at: int, recorded: int | None = None, **more: Any) -> ExclusionDecision:
    window = more.pop("window", Window(10, 20, "maintenance") if action in ("declare", "correct") else None)
    name = f"{action}@{at}"
    return ExclusionDecision(name, "m-1", action, at, "grace", at if recorded is None else recorded, window, **more)


def test_there_are_eleven_categories_and_each_is_read() -> None:
    assert len(CATEGORIES) == 11
    for category in CATEGORIES:
        found = exclusion_of(DECLARED | {"category": category}, NOW)
        assert found.window is not None
        assert found.window.category == category
        assert exclusion_of(found.record(), NOW) == found


def test_only_an_approved_window_counts_and_a_revoked_one_never_again() -> None:
    story = [decided("declare", 1), decided("approve", 2), decided("revoke", 3), decided("approve", 4)]
    states = [exclusions(story, as_of)[0] for as_of in range(5)]
    assert [[item.state for item in found] for found in states] == [
        [],
        ["declared"],
        ["approved"],
        ["revoked"],
        ["revoked"],
    ]
    assert [item.counts for found in states for item in found] == [False, True, False, False]
    assert [(item.id, item.reason) for item in exclusions(story, 4)[1]] == [("approve@4", Reason.REVOKED)]


def test_a_correction_holds_once_it_is_approved_and_what_was_approved_holds_until_then() -> None:
    narrow = Window(10, 15, "maintenance")
    story = [decided("declare", 1), decided("approve", 2), decided("correct", 3, window=narrow), decided("approve", 4)]
    windows = [(found.window.end, found.counts) for as_of in (2, 3, 4) for found in exclusions(story, as_of)[0]]
    assert windows == [(20, True), (20, True), (15, True)]
    assert exclusions(story, 3)[0][0].proposed == narrow
    assert exclusions(story, 4)[0][0].proposed is None


def test_a_correction_before_the_approval_is_what_is_approved() -> None:
    story = [decided("declare", 1), decided("correct", 2, window=Window(10, 15, "internet")), decided("approve", 3)]
    assert exclusions(story, 3)[0][0].window == Window(10, 15, "internet")


def test_what_was_known_at_an_instant_is_a_matter_of_record_whatever_was_dated_back() -> None:
    late = [decided("declare", 1, recorded=50), decided("approve", 2, recorded=60)]
    assert exclusions(late, 49)[0] == ()
    assert exclusions(late, 59)[0][0].counts is False
    found = exclusions(late, 60)[0][0]
    assert (found.counts, found.declared_at, found.recorded) == (True, 1, 50)


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (decided("approve", 0), Reason.UNKNOWN),
        (decided("declare", 9), Reason.ALREADY_DECLARED),
        (decided("approve", 9), Reason.ALREADY_APPROVED),
    ],
)
def test_a_decision_that_does_not_fit_is_refused_with_its_reason_and_changes_nothing(
    decision: ExclusionDecision, reason: Reason
) -> None:
    story = [decided("declare", 1), decided("approve", 2)]
    refused = refusal(
        story, ExclusionDecision(**{f: getattr(decision, f) for f in decision.__slots__} | {"recorded": 9})
    )
    assert refused is not None
    assert refused.reason is reason
    assert refused.sentence.startswith("m-1 was ")
    assert exclusions([*story, decision], 9)[0] == exclusions(story, 9)[0]
    assert refusal(story, story[0]) is None, "a repetition is not refused"


def test_an_id_used_twice_is_refused_and_the_first_on_record_holds() -> None:
    first = decided("declare", 5)
    other = ExclusionDecision(first.id, "m-1", "declare", 1, "linus", 7, Window(0, 900, "internet"))
    for story in ([first, other], [other, first], [other, first, first, other]):
        found, refused = exclusions(story, 10)
        assert [item.window for item in found] == [Window(10, 20, "maintenance")]
        assert [item.reason for item in refused] == [Reason.SAME_ID]


decisions = st.builds(
    lambda action, at, name, start, length: ExclusionDecision(
        f"{name}/{action}/{at}",
        name,
        action,
        at,
        "grace",
        at,
        Window(start, start + length, "internet") if action in ("declare", "correct") else None,
    ),
    st.sampled_from(ACTIONS),
    st.integers(0, 9),
    st.sampled_from("ab"),
    st.just(5),
    st.just(7),
)


@given(st.lists(decisions, max_size=8), st.randoms(use_true_random=False), st.integers(0, 10))
def test_neither_order_nor_repetition_of_decisions_matters(story: list[Any], random: Any, as_of: int) -> None:
    mixed = story + story[:3]
    random.shuffle(mixed)
    assert exclusions(mixed, as_of) == exclusions(story, as_of)


@given(st.lists(decisions, max_size=8), st.lists(decisions, max_size=4), st.integers(0, 10))
def test_what_comes_later_does_not_change_what_was_known(story: list[Any], more: list[Any], as_of: int) -> None:
    later = [ExclusionDecision(**{f: getattr(m, f) for f in m.__slots__} | {"recorded": as_of + 1}) for m in more]
    assert exclusions(story + later, as_of) == exclusions(story, as_of)


def test_a_minute_under_several_windows_is_excluded_once_and_all_of_them_are_named() -> None:
    #   a   |---------|            10..20
    #   b         |--------|       16..25
    #   c                  |--|    25..28, only declared: it covers nothing
    story = []
    for name, start, end, approved in (("a", 10, 20, True), ("b", 16, 25, True), ("c", 25, 28, False)):
        story.append(ExclusionDecision(f"{name}1", name, "declare", 1, "grace", 1, Window(start, end, "misuse")))
        if approved:
            story.append(ExclusionDecision(f"{name}2", name, "approve", 2, "linus", 2))
    found, _ = exclusions(story, 5)
    assert segments(found, PERIOD) == [Segment(10, 16, ("a",)), Segment(16, 20, ("a", "b")), Segment(20, 25, ("b",))]
    assert segments(found, Period(18, 22, "part")) == [Segment(18, 20, ("a", "b")), Segment(20, 22, ("b",))]


def test_a_window_for_some_tenants_leaves_the_others_alone() -> None:
    story = [decided("declare", 1, window=Window(10, 20, "internet", tenants=("acme",))), decided("approve", 2)]
    found, _ = exclusions(story, 5)
    assert [len(in_scope(found, name, PERIOD)) for name in ("acme", "bravo")] == [1, 0]
    assert in_scope(found, "acme", Period(20, 30, "after")) == []


def test_all_faults_of_an_exclusion_are_named_at_once() -> None:
    bad = {"action": "declare", "by": "", "at": "yesterday", "from": "2026-11-11T02:00:30Z", "to": "2026-11-11T02:00Z"}
    with pytest.raises(ValueError) as caught:
        exclusion_of(bad | {"category": "weather", "tenants": [], "reason": 7}, NOW)
    assert [fault.split(":")[0] for fault in str(caught.value).split("; ")] == [
        "exclusion",
        "by",
        "at",
        "from",
        "category",
        "tenants",
        "portals",
        "reason",
    ]
    for more, fault in (
        ({"to": DECLARED["from"]}, "to: expected a time after from"),
        ({"at": NOW + AHEAD_MS + 1}, "at: expected a time at most five minutes after"),
        ({"action": "delete"}, "action: expected one of declare, correct, approve, revoke"),
    ):
        with pytest.raises(ValueError, match=fault):
            exclusion_of(DECLARED | more, NOW)
    with pytest.raises(ValueError, match="reason: expected a text, found none"):
        exclusion_of({"exclusion": "m-1", "action": "revoke", "at": 1, "by": "grace"}, NOW)


CLASSIFY = {"id": "d1", "tenant": "acme", "kind": "classify", "at": 10, "by": "grace", "reason": "seen in the trace"}


def ruling(name: str, at: int, **more: Any) -> Ruling:
    return Ruling(name, more.pop("tenant", "acme"), more.pop("kind", "classify"), at, "grace", at, **more)


def test_the_latest_ruling_about_a_minute_holds_and_a_withdrawn_one_does_not() -> None:
    story = [
        ruling("r1", 1, code="E7", verdict="server", start=100),
        ruling("r2", 2, code="E7", verdict="external", start=200),
        ruling("r3", 3, code="E7", verdict="client", start=150),
        ruling("r4", 4, kind="withdraw", ruling="r3"),
        ruling("r5", 5, kind="withdraw", ruling="r9"),
    ]
    for order in permutations(story):
        held = [rulings(order, "acme", as_of)[0] for as_of in (0, 1, 2, 3, 4)]
        assert [found.fault("E7", 99) for found in held] == [None] * 5
        assert [found.fault("E7", 160) for found in held] == [None, "server", "server", "client", "server"]
        assert [found.fault("E7", 250) for found in held] == [None, "server", "external", "client", "external"]
        assert [(item.id, item.reason) for item in rulings(order, "acme", 9)[1]] == [("r5", Reason.UNKNOWN)]
    assert held[0].fault("E8", 250) is None


def test_a_ruling_about_another_tenant_changes_nothing_and_one_about_all_does() -> None:
    story = [
        ruling("r1", 1, code="E7", verdict="server", tenant="bravo"),
        ruling("r2", 1, code="E8", verdict="external", tenant="*"),
    ]
    held, _ = rulings(story, "acme", 5)
    assert [held.fault(code, 9) for code in ("E7", "E8")] == [None, "external"]


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "classify", "code": "", "as": "external", "from": "2026-11-01T00:00:00Z"},
        {"kind": "silence", "from": 60_000, "to": 120_000, "as": "bad", "requests": 30},
        {"kind": "silence", "from": 60_000, "to": 120_000, "as": "excluded"},
        {"kind": "accept_unmeasured", "month": "2026-11"},
        {"kind": "withdraw", "ruling": "d0"},
    ],
)
def test_each_kind_of_ruling_comes_back_as_it_was_written(more: dict[str, Any]) -> None:
    found = ruling_of(CLASSIFY | more, LATER)
    assert ruling_of(found.record(), LATER) == found


def test_all_faults_of_a_ruling_are_named_at_once() -> None:
    bad = {"kind": "silence", "id": 3, "tenant": "acme", "by": "grace", "at": 1, "from": 0, "to": 60_001, "as": "bad"}
    with pytest.raises(ValueError) as caught:
        ruling_of(bad, LATER)
    assert [fault.split(":")[0] for fault in str(caught.value).split("; ")] == ["id", "reason", "to", "requests"]
    for more, fault in (
        ({"kind": "classify", "code": None, "as": "server", "from": 0}, "code"),
        ({"kind": "accept_unmeasured", "month": "November"}, "month"),
    ):
        with pytest.raises(ValueError, match=fault):
            ruling_of(CLASSIFY | more, LATER)
