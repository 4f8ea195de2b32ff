"""Alerts on a month's end, judged by promtool: silent an evaluation early, on time with their full text, gone with the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.alerts.promtool import Case, Seen, judge, series


def month(requests: str = "90000x400", failures: str = "512x400") -> dict[str, str]:
    """A month of acme in which verdicts can stand."""
    return (
        series("sla_window_requests", requests, tenant="acme", window="month")
        | series("sla_window_failures", failures, tenant="acme", window="month")
        | series("sla_projected_availability_ratio", "0.9899996x400", tenant="acme", quantile="0.5")
    )


def probability(values: str, threshold: str = "99", worker: str = "a:1") -> dict[str, str]:
    return series(
        "sla_breach_probability", values, f'instance="{worker}",job="monitor"', tenant="acme", threshold=threshold
    )


def failing(values: str) -> dict[str, str]:
    return series("sla_point_of_no_return_seconds", values, tenant="acme", threshold="99")


SO_FAR = "512 of 90000 requests failed so far this month. The middle forecast for its end is 98.999 %. "
PAUSED = "No failure is known to go on."
LASTING = "If the present failure goes on, 99 % is lost for certain in 2h 14m 0s."


def seen(severity: str, summary: str, then: str = PAUSED, threshold: str = "99") -> Seen:
    return Seen({"tenant": "acme", "threshold": threshold, "severity": severity}, summary, SO_FAR + then)


def possible(p: str) -> Seen:
    return seen("inform", f"acme may end the month below 99 % (probability {p})")


def likely(p: str, then: str = PAUSED, threshold: str = "99") -> Seen:
    return seen(
        "page", f"acme will probably end the month below {threshold} % (probability {p})", then, threshold=threshold
    )


def imminent(p: str, then: str = PAUSED) -> Seen:
    return seen("page", f"acme will almost certainly end the month below 99 % (probability {p})", then)


BREACHED = Seen(
    {"tenant": "acme", "threshold": "95", "severity": "page"},
    "acme has missed 95 % for this month",
    "512 of 90000 requests failed: more than the month's expected requests allow, even if nothing fails any more.",
)
MAINTENANCE = Seen(
    {"tenant": "acme", "severity": "inform"},
    "acme is in approved maintenance",
    "An approved exclusion runs. Its minutes count on neither side, and its other alerts are silent.",
)

POSSIBLE, LIKELY, IMMINENT = (
    (name, f"deploy/runbooks/{runbook}.md")
    for name, runbook in (
        ("BreachPossible", "breach-possible"),
        ("BreachLikely", "breach-likely"),
        ("BreachImminent", "breach-imminent"),
    )
)

# "0.49x11" is 12 values: 0:00 to 0:55; what follows begins at 1:00.
CASES = [
    Case(
        "a probability of .5 informs after a minute, stays to over .35 and ends at it",
        *POSSIBLE,
        month() | probability("0.49x11 0.55x23 0.36x11 0.35x20"),
        {"1m55s": [], "2m": [possible("55%")], "3m55s": [possible("36%")], "4m": []},
    ),
    Case(
        "a probability of .8 pages in ten seconds with the time that is left, stays to over .5 and ends at it",
        *LIKELY,
        month() | failing("8040x50") | probability("0.79x11 0.8314x11 0.51x11 0.5x20"),
        {
            "1m5s": [],
            "1m10s": [likely("83.14%", LASTING)],
            "2m55s": [likely("51%", LASTING)],
            "3m": [],
        },
    ),
    Case(
        "a probability of .95 says act now, stays to over .8 and ends at it",
        *IMMINENT,
        month() | failing("8040x50") | probability("0.94x11 0.97x11 0.81x11 0.8x20"),
        {"1m5s": [], "1m10s": [imminent("97%", LASTING)], "2m55s": [imminent("81%", LASTING)], "3m": []},
    ),
    Case(
        "a pause of the failure takes its time away and keeps the page",
        *LIKELY,
        month() | failing("8040x11 stale") | probability("0.85x40"),
        {"55s": [likely("85%", LASTING)], "1m": [likely("85%")]},
    ),
    Case(
        "each threshold has its own page",
        *LIKELY,
        month() | probability("0.99x20") | probability("0.81x20", "95") | probability("0.79x20", "90"),
        {"1m": [likely("99%"), likely("81%", threshold="95")]},
    ),
    Case("a page that never began does not begin at .6", *LIKELY, month() | probability("0.6x60"), {"5m": []}),
    Case(
        "nobody is told of 99 requests in a month",
        *POSSIBLE,
        month(requests="99x60") | probability("1x60"),
        {"4m": []},
    ),
    Case(
        "nobody is told of 9 failures in a month", *POSSIBLE, month(failures="9x60") | probability("1x60"), {"4m": []}
    ),
    Case(
        "a tenant that moves to another worker keeps its page, also while nobody has it",
        *LIKELY,
        month() | probability("0.9x11 stale") | probability("_x23 0.9x20", worker="b:1"),
        {"55s": [likely("90%")], "1m30s": [likely("90%")], "2m5s": [likely("90%")]},
    ),
    Case(
        "two workers that both show a tenant for a moment make one page",
        *LIKELY,
        month() | probability("0.9x30") | probability("0.9x30", worker="b:1"),
        {"1m": [likely("90%")]},
    ),
    Case(
        "a stopped monitor takes no page back for ten minutes",
        *LIKELY,
        month() | probability("0.9x11 stale"),
        {"10m55s": [likely("90%")], "11m5s": []},
    ),
    Case(
        "a missed month pages at once, and until its verdict is taken back",
        "Breached",
        "deploy/runbooks/breached.md",
        month() | series("sla_breached", "0x11 1x11 0x20", tenant="acme", threshold="95"),
        {"55s": [], "1m": [BREACHED], "1m55s": [BREACHED], "2m": []},
    ),
    Case(
        "a stopped monitor does not take a missed month back",
        "Breached",
        "deploy/runbooks/breached.md",
        month() | series("sla_breached", "1x11 stale", tenant="acme", threshold="95"),
        {"9m": [BREACHED]},
    ),
    Case(
        "a running exclusion is known at once and only while it runs",
        "MaintenanceRunning",
        "deploy/runbooks/maintenance-running.md",
        series("sla_maintenance", "0x11 1x11 0x11", tenant="acme"),
        {"55s": [], "1m": [MAINTENANCE], "2m": []},
    ),
]


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_of_a_verdict(case: Case, tmp_path: Path) -> None:
    judge(case, tmp_path)
