"""Alerts on what fails now: a tenant's error budget burning too fast, and one for the whole platform.

A burn rate of 1 uses a month's budget in a month. At the 90 % tier a total outage burns at 10, so the textbook's 14.4
can never fire there: a share that a rule waits for is held at 80 %.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.prometheus.rule import Alert, by_tenant, counted, enough, failing, not_in_maintenance
from deploy.prometheus.verdicts import THRESHOLDS
from monitor.outlets.families import REQUESTS, WINDOW_REQUESTS

MOST = 0.8
"""The largest failing share, 0 to 1, that a rule waits for."""

FAILING = 0.05
"""A tenant fails, for the platform's sake, when more than this share of its requests did in 5 minutes."""


@dataclass(frozen=True, slots=True)
class Burn:
    """Fires when both windows burn at `factor` or faster: the long one says it matters, the short one that it lasts."""

    name: str
    severity: str
    long: str
    short: str
    factor: float


BURNS = (
    Burn("BudgetBurningFast", "page", "1h", "5m", 14.4),
    Burn("BudgetBurningSteadily", "page", "6h", "30m", 6),
    Burn("BudgetBurningSlowly", "inform", "1d", "1h", 3),
    Burn("BudgetTricklingAway", "inform", "3d", "6h", 1),
)


def share(burn: Burn, threshold: str) -> float:
    """The failing share, 0 to 1, from which a burn fires at a threshold."""
    return round(min(burn.factor * (100 - int(threshold)) / 100, MOST), 4)


def alerts() -> list[Alert]:
    """One rule for each burn and threshold, the platform's, and the one on requests that nobody could class."""
    return [_burn(burn, threshold) for burn in BURNS for threshold in THRESHOLDS] + [_platform(), _unclassified()]


def _burn(burn: Burn, threshold: str) -> Alert:
    least = share(burn, threshold)
    times = f"{least / (100 - int(threshold)) * 100:.3g}"
    beyond = "more than" if times == "1" else f"over {times} times what"
    return Alert(
        burn.name,
        burn.severity,
        f"{failing(burn.long)} >= {least}\nand on (tenant) {failing(burn.short)} >= {least}\n{enough(burn.long)}\n{not_in_maintenance()}",
        f"{{{{ $labels.tenant }}}}: {{{{ $value | humanizePercentage }}}} of requests failed in {burn.long}, "
        f"{beyond} {threshold} % allows",
        f"{counted(burn.long)} failed in {burn.long}, {counted(burn.short)} in the last {burn.short}.",
        threshold=threshold,
    )


def failing_tenants() -> str:
    """One series for each tenant that fails now."""
    return f"{failing('5m')} > {FAILING} {not_in_maintenance()}"


def _platform() -> Alert:
    many = f"count({failing_tenants()})"
    with_demand = f"count({by_tenant(WINDOW_REQUESTS(window='5m'))} > 0 {not_in_maintenance()})"
    return Alert(
        "PlatformOutage",
        "page",
        f"{many} >= 5\nand {many} / {with_demand} >= 0.3",
        "{{ $value }} tenants are failing at once",
        "More than 5 % of requests failed in the last 5 minutes at each: 30 % or more of the tenants with demand. "
        "Look for one common cause. Pages of single tenants are held back meanwhile.",
    )


def _unclassified() -> Alert:
    unclassified = f"sum by (tenant) ({REQUESTS(class_='unclassified')})"
    counted_ = f"sum by (tenant) ({REQUESTS(class_='!excluded')})"
    return Alert(
        "UnclassifiedRequests",
        "inform",
        f"{unclassified} / {counted_} >= 0.001\nand {unclassified} >= 10",
        "{{ $labels.tenant }}: nobody can tell whose fault {{ $value | humanizePercentage }} of requests were",
        "They count as the provider's failures until somebody decides, by code. "
        "From 0.1 % they use a tenth of what 99 % allows.",
        wait="5m",
    )
