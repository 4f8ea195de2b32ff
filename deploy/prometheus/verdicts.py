"""Alerts on where a tenant's month will end, by threshold. They resolve when the verdict does: not when a failure
pauses, and not because the monitor stopped and its series are gone, for which the last known probability stands in.

A calibrated probability that crosses p is right about p of the time: 0.5 informs early, 0.8 pages with hours to go,
0.95 says act now.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.prometheus.rule import LEAST_FAILURES, LEAST_REQUESTS, Alert, Record, counted, in_maintenance, looked_up
from monitor.outlets.families import (
    BREACH_PROBABILITY,
    BREACHED,
    POINT_OF_NO_RETURN,
    PROJECTED,
    WINDOW_FAILURES,
    WINDOW_REQUESTS,
)

THRESHOLDS = ("99", "95", "90")
"""In percent: a missed month costs more days of credit at each."""


REMEMBERED = "10m"
"""How long the last known value stands in for one that nobody exports. By then MonitorStopped has paged."""

JUDGED = "tenant_threshold:sla_breach_probability:judged"
HELD = "tenant_threshold:sla_breach_probability:held"


@dataclass(frozen=True, slots=True)
class Level:
    """Fires from probability `fires`, and once it has fired stays while the probability is over `stays`."""

    name: str
    severity: str
    fires: float
    stays: float
    wait: str
    summary: str


LEVELS = (
    Level("BreachPossible", "inform", 0.5, 0.35, "1m", "may end the month below"),
    Level("BreachLikely", "page", 0.8, 0.5, "10s", "will probably end the month below"),
    Level("BreachImminent", "page", 0.95, 0.8, "10s", "will almost certainly end the month below"),
)


def rules() -> list[Alert | Record]:
    """The probabilities that count, then one alert for each level: the threshold is a label of the series."""
    return [*_records(), *(_level(level) for level in LEVELS), _breached(), _maintenance()]


def _records() -> list[Record]:
    """Only what some level could keep, and one series where two workers show a tenant while partitions move."""
    least = min(level.stays for level in LEVELS)
    probability = BREACH_PROBABILITY(threshold="~" + "|".join(THRESHOLDS))
    enough = (
        f"and on (tenant) {WINDOW_REQUESTS(window='month')} >= {LEAST_REQUESTS}\n"
        f"and on (tenant) {WINDOW_FAILURES(window='month')} >= {LEAST_FAILURES}"
    )
    remembered = f"last_over_time({JUDGED}[{REMEMBERED}]) unless on (tenant, threshold) {BREACH_PROBABILITY}"
    return [
        Record(JUDGED, f"max by (tenant, threshold) ({probability} > {least})\n{enough}"),
        Record(HELD, f"{JUDGED}\nor ({remembered})"),
    ]


def _level(level: Level) -> Alert:
    firing = f'ALERTS{{alertname="{level.name}",alertstate="firing"}}'
    expr = f"{HELD} >= {level.fires}\nor {HELD} > {level.stays} and on (tenant, threshold) {firing}"
    return Alert(
        level.name,
        level.severity,
        expr,
        f"{{{{ $labels.tenant }}}} {level.summary} {{{{ $labels.threshold }}}} % "
        "(probability {{ $value | humanizePercentage }})",
        f"{counted('month')} failed so far this month.{_projected()} {_point_of_no_return()}",
        wait=level.wait,
        hold="",
    )


def _projected() -> str:
    """Truncated to thousandths of a percent: rounding could show a missed month as kept."""
    query = f"floor(100000 * {PROJECTED(tenant='%s', quantile='0.5')}) / 1000"
    return looked_up(query, ("tenant",), " The middle forecast for its end is {{ . }} %.")


def _point_of_no_return() -> str:
    return looked_up(
        POINT_OF_NO_RETURN(tenant="%s", threshold="%s"),
        ("tenant", "threshold"),
        "If the present failure goes on, {{ $labels.threshold }} % is lost for certain in {{ . | humanizeDuration }}.",
        "No failure is known to go on.",
    )


def _breached() -> Alert:
    return Alert(
        "Breached",
        "page",
        f"(\n  max by (tenant, threshold) ({BREACHED})\n"
        f"  or max by (tenant, threshold) (last_over_time({BREACHED}[{REMEMBERED}]))\n) == 1",
        "{{ $labels.tenant }} has missed {{ $labels.threshold }} % for this month",
        f"{counted('month')} failed: more than the month's expected requests allow, even if nothing fails any more.",
        wait="",
        hold="",
    )


def _maintenance() -> Alert:
    """Tells nobody: Alertmanager takes it as the reason to keep the tenant's other alerts quiet."""
    return Alert(
        "MaintenanceRunning",
        "inform",
        f"max by (tenant) ({in_maintenance()})",
        "{{ $labels.tenant }} is in approved maintenance",
        "An approved exclusion runs. Its minutes count on neither side, and its other alerts are silent.",
        wait="",
        hold="",
    )
