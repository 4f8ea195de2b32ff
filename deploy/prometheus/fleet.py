"""Recording rules: the whole fleet in a few series, for dashboards that must not read every tenant's."""

from __future__ import annotations

from deploy.prometheus.incidents import failing_tenants
from deploy.prometheus.rule import Record
from monitor.outlets.families import (
    BAND,
    BREACH_PROBABILITY,
    COMPLETE,
    COUNTED,
    SOURCE_LAG,
    WINDOW_FAILURES,
    WINDOW_REQUESTS,
)


def records() -> list[Record]:
    """Counts of tenants, then of requests, then the monitor's own speed. While partitions move a tenant may count twice."""
    return [
        Record("fleet:sla_tenants:count", f"count({BAND})"),
        Record("band:sla_tenants:count", f'count_values("band", {BAND})'),
        Record("fleet:sla_tenants_failing:count", f"count({failing_tenants()}) or vector(0)"),
        Record("threshold:sla_breaches_expected:sum", f"sum by (threshold) ({BREACH_PROBABILITY})"),
        Record("window:sla_window_requests:sum", f"sum by (window) ({WINDOW_REQUESTS})"),
        Record("window:sla_window_failures:sum", f"sum by (window) ({WINDOW_FAILURES})"),
        Record(
            "window:sla_availability:ratio",
            "1 - window:sla_window_failures:sum / (window:sla_window_requests:sum > 0)",
        ),
        Record("topic:monitor_requests_counted:rate1m", f"sum by (topic) (rate({COUNTED}[1m]))"),
        Record("topic:monitor_source_lag_records:sum", f"sum by (topic) ({SOURCE_LAG})"),
        Record("fleet:monitor_complete_age_seconds:max", f"time() - min(max by (partition) ({COMPLETE}))"),
    ]
