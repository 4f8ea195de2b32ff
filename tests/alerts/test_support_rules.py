"""Alerts on answers to support requests, judged by promtool: silent an evaluation early, on time with their full text, gone with the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.alerts.promtool import Case, Seen, judge, series

SOON, LATE, CLOSED = (f"deploy/runbooks/support-{name}.md" for name in ("due-soon", "overdue", "desk-closed"))


def clock(warning: int, due: int, values: str, kind: str = "first_response", severity: str = "P1") -> dict[str, str]:
    """A clock of acme's request 4711, its times in seconds from the test's beginning; `values` says how long it is shown."""
    whose = {"tenant": "acme", "request": "4711", "severity": severity, "clock": kind}
    return series("sla_support_warning_timestamp_seconds", f"{warning}{values}", **whose) | series(
        "sla_support_due_timestamp_seconds", f"{due}{values}", **whose
    )


def desk(opens: str, closes: str) -> dict[str, str]:
    return series("sla_support_desk_opens_timestamp_seconds", opens, tenant="acme") | series(
        "sla_support_desk_closes_timestamp_seconds", closes, tenant="acme"
    )


def whose(severity: str, kind: str, priority: str) -> dict[str, str]:
    return {"tenant": "acme", "request": "4711", "clock": kind, "priority": priority, "severity": severity}


def soon(left: str, what: str = "first response", kind: str = "first_response", priority: str = "P1") -> Seen:
    return Seen(
        whose("inform", kind, priority),
        f"acme: the {what} to request 4711 ({priority}) is due in {left}",
        "`monitor support list` shows what goes before it: by severity, then first in, first out.",
    )


def late(by: str, what: str = "first response", kind: str = "first_response", priority: str = "P1") -> Seen:
    return Seen(
        whose("page", kind, priority),
        f"acme: the {what} to request 4711 ({priority}) is {by} late",
        "It was promised and has not been given. Answer the customer; then record it, or this goes on.",
    )


SHUT = Seen(
    {"tenant": "acme", "severity": "inform"},
    "The support desk of acme is closed",
    "Alerts on its support requests wait until the desk opens, but for those on P1.",
)

CASES = [
    Case(
        "from the warning on an answer is soon due, until it is given",
        "SupportDueSoon",
        SOON,
        clock(60, 600, "x24 stale"),
        {"1m10s": [], "1m15s": [soon("8m 45s")], "2m": [soon("8m 0s")], "4m": [soon("8m 0s")], "4m5s": []},
    ),
    Case(
        "what is late is not soon due any more",
        "SupportDueSoon",
        SOON,
        clock(60, 120, "x100"),
        {"1m15s": [soon("45s")], "4m10s": []},
    ),
    Case(
        "an answer that is not given in time is late until it is given; at the very instant it is not",
        "SupportOverdue",
        LATE,
        clock(60, 120, "x48 stale", "update", "P2"),
        {
            "2m10s": [],
            "2m15s": [late("15s", "next update", "update", "P2")],
            "4m": [late("2m 0s", "next update", "update", "P2")],
            "6m5s": [],
        },
    ),
    Case(
        "an answer that is due later is neither",
        "SupportOverdue",
        LATE,
        clock(60, 900, "x100"),
        {"8m": []},
    ),
    Case(
        "two workers that show a request while partitions move make one alert of it",
        "SupportOverdue",
        LATE,
        clock(60, 120, "x40") | {name.replace("a:1", "b:1"): values for name, values in clock(60, 120, "x40").items()},
        {"3m": [late("1m 0s")]},
    ),
    Case(
        "the desk is closed from the very end of its hours, also while the worker has not yet named the next ones",
        "SupportDeskClosed",
        CLOSED,
        desk("0x30 900x100", "120x30 1800x100"),
        {"1m55s": [], "2m": [SHUT], "14m55s": [SHUT], "17m55s": [SHUT], "18m": []},
    ),
    Case(
        "a worker that starts again does not open the desk",
        "SupportDeskClosed",
        CLOSED,
        desk("900x12 stale _x12 900x100", "1800x12 stale _x12 1800x100"),
        {"30s": [SHUT], "1m30s": [SHUT], "3m": [SHUT]},
    ),
]


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_of_support(case: Case, tmp_path: Path) -> None:
    judge(case, tmp_path)
