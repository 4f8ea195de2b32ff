"""Alerts on what fails now: a tenant's error budget burning too fast, and one for the whole platform.

A burn rate of 1 uses a month's budget in a month. At the 90 % tier a total outage burns at 10, so the textbook's 14.4
can never fire there: a share that a rule waits for is held at 80 %.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.prometheus.rule import LEAST_FAILURES, LEAST_REQUESTS, Alert, Record, counted, in_maintenance
from deploy.prometheus.verdicts import THRESHOLDS
from monitor.outlets.families import (
    COMPLETE,
    PLATFORM_SILENCE_START,
    REQUESTS,
    SILENCE_START,
    WINDOW_FAILURES,
    WINDOW_REQUESTS,
)

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


LONG = "tenant_window:sla_failing_long:ratio"
SHORT = "tenant_window:sla_failing_short:ratio"


def rules() -> list[Alert | Record]:
    """The shares, one alert for each burn and threshold, the platform's, and the one on what nobody could class."""
    burns = [_burn(burn, threshold) for burn in BURNS for threshold in THRESHOLDS]
    return [*_records(), *burns, _platform(), *_silent(), _unclassified()]


def _records() -> list[Record]:
    """The failing shares, 0 to 1, that some alert could fire on, so that each alert reads those few and not every tenant's.

    They come from the counts, since 1 - 0.95 is more than 0.05 in floats.
    """
    least = min(share(burn, threshold) for burn in BURNS for threshold in THRESHOLDS)
    long, short = (
        "~" + "|".join(dict.fromkeys(windows)) for windows in zip(*((b.long, b.short) for b in BURNS), strict=True)
    )
    return [
        Record(
            LONG,
            f"max by (tenant, window) (\n"
            f"  ({WINDOW_FAILURES(window=long)} >= {LEAST_FAILURES}) / ({WINDOW_REQUESTS(window=long)} >= {LEAST_REQUESTS})"
            f" >= {least}\n)\nunless on (tenant) {in_maintenance()}",
        ),
        Record(
            SHORT,
            f"max by (tenant, window) (\n"
            f"  ({WINDOW_FAILURES(window=short)} > 0) / {WINDOW_REQUESTS(window=short)} >= {least}\n)\n"
            f"unless on (tenant) {in_maintenance()}",
        ),
    ]


def _burn(burn: Burn, threshold: str) -> Alert:
    least = share(burn, threshold)
    times = f"{least / (100 - int(threshold)) * 100:.3g}"
    beyond = "more than" if times == "1" else f"over {times} times what"
    return Alert(
        burn.name,
        burn.severity,
        f'max by (tenant) ({LONG}{{window="{burn.long}"}} >= {least})\n'
        f'and on (tenant) {SHORT}{{window="{burn.short}"}} >= {least}',
        f"{{{{ $labels.tenant }}}}: {{{{ $value | humanizePercentage }}}} of requests failed in {burn.long}, "
        f"{beyond} {threshold} % allows",
        f"{counted(burn.long)} failed in {burn.long}, {counted(burn.short)} in the last {burn.short}.",
        threshold=threshold,
    )


def failing_tenants() -> str:
    """One series for each tenant that fails now."""
    return f'{SHORT}{{window="5m"}} > {FAILING}'


def _platform() -> Alert:
    many = f"count({failing_tenants()})"
    demand = f"{WINDOW_REQUESTS(window='5m')} > 0 unless on (tenant) {in_maintenance()}"
    with_demand = f"count(count by (tenant) ({demand}))"
    return Alert(
        "PlatformOutage",
        "page",
        f"{many} >= 5\nand {many} / {with_demand} >= 0.3",
        "{{ $value }} tenants are failing at once",
        "More than 5 % of requests failed in the last 5 minutes at each: 30 % or more of the tenants with demand. "
        "Look for one common cause. Pages of single tenants are held back meanwhile.",
    )


def _silent() -> list[Alert]:
    partitions = f"count(count by (partition) ({PLATFORM_SILENCE_START}))"
    return [
        Alert(
            "PlatformSilent",
            "page",
            f"{partitions} / count(count by (partition) ({COMPLETE})) >= 0.5",
            "No requests come in from nearly anybody",
            "Half or more of the journal's partitions have none though their past says that they must. Either nobody can reach the "
            "service, or its logs do not reach Kafka. No failure rate can show it.",
        ),
        Alert(
            "TenantSilent",
            "inform",
            f"time() - max by (tenant) ({SILENCE_START})",
            "{{ $labels.tenant }}: no request for {{ $value | humanizeDuration }} though there must be some",
            "Its past says that requests should have come. The statement lists the minutes until somebody decides what they were.",
            wait="1m",
        ),
    ]


def _unclassified() -> Alert:
    unclassified = f"sum by (tenant) ({REQUESTS(class_='unclassified')}) >= {LEAST_FAILURES}"
    month = f"max by (tenant) ({WINDOW_REQUESTS(window='month')})"
    return Alert(
        "UnclassifiedRequests",
        "inform",
        f"({unclassified}) / {month} >= 0.001",
        "{{ $labels.tenant }}: nobody can tell whose fault {{ $value | humanizePercentage }} of requests were",
        "They count as the provider's failures until somebody decides, by code. "
        "From 0.1 % they use a tenth of what 99 % allows.",
        wait="5m",
    )
