"""The queue, answers out of turn, and the month."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from monitor.contract.instant import instant, rfc3339
from monitor.contract.support import (
    STANDARD_SUPPORT,
    Event,
    event_of,
    out_of_turn,
    p1_request,
    queue,
    report,
    requests_of,
)


def event(request: str, kind: str, time: str, **more: Any) -> Event:
    return event_of({"tenant": "acme", "request": request, "type": kind, "time": time, **more})


def opened(request: str, time: str, severity: str, **more: Any) -> Event:
    return event(request, "opened", time, severity=severity, **more)


def test_the_queue_is_by_severity_and_then_first_in_first_out() -> None:
    requests = requests_of(
        [
            opened("mild-early", "2026-11-16T09:00Z", "P3"),
            opened("grave-late", "2026-11-16T12:00Z", "P1"),
            opened("grave-early", "2026-11-16T11:00Z", "P1"),
            opened("done", "2026-11-16T08:00Z", "P1"),
            event("done", "resolved", "2026-11-16T10:00Z"),
        ]
    )
    assert [request.id for request in queue(requests)] == ["grave-early", "grave-late", "mild-early"]


def test_a_reopened_request_keeps_its_place() -> None:
    requests = requests_of(
        [
            opened("first", "2026-11-16T09:00Z", "P2"),
            opened("second", "2026-11-16T10:00Z", "P2"),
            event("first", "resolved", "2026-11-16T11:00Z"),
            event("first", "reopened", "2026-11-18T11:00Z"),
        ]
    )
    assert [request.id for request in queue(requests)] == ["first", "second"]


def test_an_answer_while_a_request_ahead_waits_is_out_of_turn() -> None:
    requests = requests_of(
        [
            opened("older", "2026-11-16T09:00Z", "P3"),
            opened("younger", "2026-11-16T10:00Z", "P3"),
            opened("grave", "2026-11-16T11:00Z", "P1"),
            event("younger", "responded", "2026-11-16T12:00Z"),
            event("grave", "responded", "2026-11-16T12:30Z"),
            event("older", "responded", "2026-11-16T13:00Z"),
        ]
    )
    (turn,) = out_of_turn(requests)
    assert (turn.answered[3], rfc3339(turn.at), [place[3] for place in turn.ahead]) == (
        "younger",
        "2026-11-16T12:00:00Z",
        ["grave", "older"],
    )


def test_who_was_ahead_is_judged_by_the_severities_at_the_answer() -> None:
    requests = requests_of(
        [
            opened("older", "2026-11-16T09:00Z", "P3"),
            opened("younger", "2026-11-16T10:00Z", "P2"),
            event("younger", "responded", "2026-11-16T12:00Z"),
            event("older", "severity_changed", "2026-11-16T12:30Z", severity="P1", reason="all users"),
        ]
    )
    assert out_of_turn(requests) == []


def test_a_request_that_is_not_covered_is_passed_over_by_nobody() -> None:
    requests = requests_of(
        [
            opened("theirs", "2026-11-16T09:00Z", "P1"),
            opened("ours", "2026-11-16T10:00Z", "P2"),
            event("ours", "responded", "2026-11-16T11:00Z"),
            event("theirs", "not_covered", "2026-11-16T12:00Z", category="internet"),
        ]
    )
    assert out_of_turn(requests) == []


def test_a_breach_is_linked_to_the_tenants_first_running_p1_request() -> None:
    requests = requests_of(
        [
            opened("mild", "2026-11-16T08:00Z", "P2"),
            opened("second", "2026-11-16T10:00Z", "P1"),
            opened("first", "2026-11-16T09:00Z", "P1"),
            event_of(
                {"tenant": "other", "request": "x", "type": "opened", "time": "2026-11-16T07:00Z", "severity": "P1"}
            ),
        ]
    )
    assert (p1_request(requests, "acme"), p1_request(requests, "nobody")) == ("first", None)


def test_a_month_counts_what_was_answered_in_time_by_severity() -> None:
    requests = requests_of(
        [
            # Opened on 31 October at 23:30 UTC: a Saturday in London, in October.
            opened("before", "2026-10-31T23:30Z", "P1"),
            opened("kept", "2026-11-16T10:00Z", "P1"),
            event("kept", "responded", "2026-11-16T12:00Z"),
            event("kept", "updated", "2026-11-17T12:00Z"),
            event("kept", "resolved", "2026-11-19T12:00Z"),
            opened("late", "2026-11-17T10:00Z", "P1"),
            event("late", "responded", "2026-11-17T16:00Z"),
            event("late", "resolved", "2026-11-17T16:30Z"),
            opened("unanswered", "2026-11-18T10:00Z", "P1"),
            opened("fresh", "2026-11-20T09:30Z", "P2"),
            opened("theirs", "2026-11-18T10:00Z", "P3"),
            event("theirs", "not_covered", "2026-11-18T12:00Z", category="misuse"),
        ]
    )
    month = report(requests, STANDARD_SUPPORT, "2026-11", instant("2026-11-20T10:00Z"))
    assert month["severities"]["P1"] == {
        "first_response": {"in_time": 1, "late": 2, "waiting": 0, "share": 0.3333},
        # Of "kept" Tuesday's update came, Wednesday's did not; "late" was resolved half an hour after its response.
        "updates": {"in_time": 2, "late": 1, "waiting": 0, "share": 0.6666},
        "not_covered": 0,
    }
    assert month["severities"]["P2"]["first_response"] == {"in_time": 0, "late": 0, "waiting": 1, "share": None}
    assert month["severities"]["P3"]["not_covered"] == 1
    assert [(turn["request"], [ahead["request"] for ahead in turn["ahead"]]) for turn in month["out_of_turn"]] == [
        ("kept", ["before"]),
        ("late", ["before"]),
    ]


@given(st.lists(st.tuples(st.sampled_from(["P1", "P2", "P3"]), st.integers(0, 40), st.none() | st.integers(1, 40))))
def test_out_of_turn_is_what_comparing_every_pair_finds(rows: list[tuple[str, int, int | None]]) -> None:
    start = instant("2026-11-16T00:00Z")
    events, times = [], {}
    for number, (severity, begin, wait) in enumerate(rows):
        name = f"r{number:02}"
        answered = None if wait is None else start + (begin + wait) * 60_000
        times[name] = (severity, start + begin * 60_000, answered)
        events.append(opened(name, rfc3339(times[name][1]), severity))
        if answered is not None:
            events.append(event(name, "responded", rfc3339(answered)))
    expected = set()
    for name, (severity, begin, answered) in times.items():
        for other, (graver, earlier, theirs) in times.items():
            waits = answered is not None and earlier < answered and (theirs is None or theirs > answered)
            if waits and (graver, earlier, other) < (severity, begin, name):
                expected.add((name, other))
    found = {(turn.answered[3], place[3]) for turn in out_of_turn(requests_of(events)) for place in turn.ahead}
    assert found == expected
