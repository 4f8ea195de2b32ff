"""Alerts on what fails now, judged by promtool: silent an evaluation early, on time with their full text, gone when it is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.alerts.promtool import Case, Seen, judge, series


def window(name: str, failures: str, requests: str, tenant: str = "acme", maintenance: str = "0x200") -> dict[str, str]:
    """A rolling window of a tenant."""
    return (
        series("sla_window_failures", failures, tenant=tenant, window=name)
        | series("sla_window_requests", requests, tenant=tenant, window=name)
        | series("sla_maintenance", maintenance, tenant=tenant)
    )


def burning(threshold: str, severity: str, summary: str, description: str) -> Seen:
    return Seen({"tenant": "acme", "threshold": threshold, "severity": severity}, summary, description)


def fast(threshold: str, times: str, share: str = "15%", failed: str = "150", recent: str = "45") -> Seen:
    return burning(
        threshold,
        "page",
        f"acme: {share} of requests failed in 1h, over {times} times what {threshold} % allows",
        f"{failed} of 1000 requests failed in 1h, {recent} of 90 requests in the last 5m.",
    )


STEADY = burning(
    "99",
    "page",
    "acme: 7% of requests failed in 6h, over 6 times what 99 % allows",
    "70 of 1000 requests failed in 6h, 8 of 90 requests in the last 30m.",
)
SLOW = burning(
    "99",
    "inform",
    "acme: 4% of requests failed in 1d, over 3 times what 99 % allows",
    "40 of 1000 requests failed in 1d, 8 of 90 requests in the last 1h.",
)
TRICKLE = burning(
    "99",
    "inform",
    "acme: 2% of requests failed in 3d, more than 99 % allows",
    "20 of 1000 requests failed in 3d, 8 of 90 requests in the last 6h.",
)
FAST_PAGE = ("BudgetBurningFast", "deploy/runbooks/budget-burning-fast.md")

# Conditions begin at 1:00 and, where they end, end at 2:00; the alert is held for two minutes, so that a worker may start again.
BURNS = [
    Case(
        "14.4 % failing in an hour and now pages in ten seconds; calm in the last five minutes ends it",
        *FAST_PAGE,
        window("1h", "143x11 150x60", "1000x60") | window("5m", "45x23 12x60", "90x60"),
        {"1m5s": [], "1m10s": [fast("99", "14.4")], "3m50s": [fast("99", "14.4")], "4m": []},
    ),
    Case(
        "a total outage pages for all three thresholds, that of 90 % among them",
        *FAST_PAGE,
        window("1h", "1000x60", "1000x60") | window("5m", "90x60", "90x60"),
        {"1m": [fast(t, n, "100%", "1000", "90") for t, n in (("99", "14.4"), ("95", "14.4"), ("90", "8"))]},
    ),
    Case(
        "an hour that was bad and is over pages nobody",
        *FAST_PAGE,
        window("1h", "150x60", "1000x60") | window("5m", "0x60", "90x60"),
        {"4m": []},
    ),
    Case(
        "99 requests in an hour page nobody",
        *FAST_PAGE,
        window("1h", "99x60", "99x60") | window("5m", "90x60", "90x60"),
        {"4m": []},
    ),
    Case(
        "9 failures in a day inform nobody",
        "BudgetBurningSlowly",
        "deploy/runbooks/budget-burning-slowly.md",
        window("1d", "9x60", "250x60") | window("1h", "9x60", "9x60"),
        {"4m": []},
    ),
    Case(
        "a running exclusion pages nobody",
        *FAST_PAGE,
        window("1h", "150x60", "1000x60", maintenance="1x60") | window("5m", "45x60", "90x60", maintenance="1x60"),
        {"4m": []},
    ),
    Case(
        "6 % failing in six hours and now pages",
        "BudgetBurningSteadily",
        "deploy/runbooks/budget-burning-steadily.md",
        window("6h", "59x11 70x60", "1000x60") | window("30m", "8x23 5x60", "90x60"),
        {"1m5s": [], "1m10s": [STEADY], "3m50s": [STEADY], "4m": []},
    ),
    Case(
        "3 % failing in a day and now informs",
        "BudgetBurningSlowly",
        "deploy/runbooks/budget-burning-slowly.md",
        window("1d", "29x11 40x60", "1000x60") | window("1h", "8x23 2x60", "90x60"),
        {"1m5s": [], "1m10s": [SLOW], "3m50s": [SLOW], "4m": []},
    ),
    Case(
        "1 % failing in three days and now informs",
        "BudgetTricklingAway",
        "deploy/runbooks/budget-trickling-away.md",
        window("3d", "9x11 20x60", "1000x60") | window("6h", "8x23 0x60", "90x60"),
        {"1m5s": [], "1m10s": [TRICKLE], "3m50s": [TRICKLE], "4m": []},
    ),
]


def fleet(failing: int, calm: int, failures: str = "0x11 10x11 0x40", maintenance: str = "0x200") -> dict[str, str]:
    """Tenants that fail from 1:00 to 2:00, and tenants that do not fail."""
    made: dict[str, str] = {}
    for n in range(failing + calm):
        failed = failures if n < failing else "5x60"
        quiet = maintenance if n < failing else "0x200"
        made |= window("5m", failed, "100x60", f"t{n}", quiet)
    return made


OUTAGE = Seen(
    {"severity": "page"},
    "6 tenants are failing at once",
    "More than 5 % of requests failed in the last 5 minutes at each: 30 % or more of the tenants with demand. "
    "Look for one common cause. Pages of single tenants are held back meanwhile.",
)
PLATFORM_PAGE = ("PlatformOutage", "deploy/runbooks/platform-outage.md")
UNCLASSIFIED = Seen(
    {"tenant": "acme", "severity": "inform"},
    "acme: nobody can tell whose fault 0.1% of requests were",
    "They count as the provider's failures until somebody decides, by code. "
    "From 0.1 % they use a tenth of what 99 % allows.",
)
PLATFORM_SILENT = Seen(
    {"severity": "page"},
    "No requests come in from nearly anybody",
    "Half or more of the journal's partitions have none though their past says that they must. Either nobody can reach the "
    "service, or its logs do not reach Kafka. No failure rate can show it.",
)
SILENT = Seen(
    {"tenant": "acme", "severity": "inform"},
    "acme: no request for 2m 0s though there must be some",
    "Its past says that requests should have come. The statement lists the minutes until somebody decides what they were.",
)

WIDER = [
    Case(
        "6 of 20 tenants failing is one page, held for two minutes",
        *PLATFORM_PAGE,
        fleet(6, 14),
        {"1m5s": [], "1m10s": [OUTAGE], "3m50s": [OUTAGE], "4m": []},
    ),
    Case("6 of 21 tenants are not the platform", *PLATFORM_PAGE, fleet(6, 15), {"1m30s": []}),
    Case("4 tenants are not the platform, and be they all", *PLATFORM_PAGE, fleet(4, 0), {"1m30s": []}),
    Case("tenants in maintenance are not failing", *PLATFORM_PAGE, fleet(6, 0, maintenance="1x60"), {"1m30s": []}),
    Case("exactly 5 % failing is not failing", *PLATFORM_PAGE, fleet(6, 0, "5x60"), {"1m30s": []}),
    Case(
        "10 unclassified requests in 10,000 inform after five minutes, until somebody decides",
        "UnclassifiedRequests",
        "deploy/runbooks/unclassified-requests.md",
        series("sla_window_requests", "10000x300", tenant="acme", window="month")
        | series("sla_requests_total", "0x11 6x83 0x200", tenant="acme", portal="login", class_="unclassified")
        | series("sla_requests_total", "0x11 4x83 0x200", tenant="acme", portal="admin", class_="unclassified"),
        {"5m55s": [], "6m": [UNCLASSIFIED], "9m50s": [UNCLASSIFIED], "10m": []},
    ),
    Case(
        "half of the partitions silent is the platform, one of four is not",
        "PlatformSilent",
        "deploy/runbooks/platform-silent.md",
        {
            key: text
            for n in range(4)
            for key, text in series("monitor_complete_timestamp_seconds", "0+5x300", partition=str(n)).items()
        }
        | series("monitor_platform_silence_start_timestamp_seconds", "0x120", partition="0")
        | series("monitor_platform_silence_start_timestamp_seconds", "_x12 0x48 stale", partition="1"),
        {"55s": [], "1m20s": [PLATFORM_SILENT], "5m": [PLATFORM_SILENT], "8m": []},
    ),
    Case(
        "a tenant's silence informs after a minute and says how long it is",
        "TenantSilent",
        "deploy/runbooks/tenant-silent.md",
        series("sla_silence_start_timestamp_seconds", "_x12 0x36 stale", tenant="acme"),
        {"1m55s": [], "2m": [SILENT], "7m": []},
    ),
]


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("case", BURNS + WIDER, ids=str)
def test_of_an_incident(case: Case, tmp_path: Path) -> None:
    judge(case, tmp_path)
