"""All metric families in one table. The collector, the alerting rules, the dashboards and the runbooks take their names from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family: `help` gives its unit and what it leaves out."""

    name: str
    type: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


_T = ("tenant",)
_W = ("tenant", "window")
_H = ("tenant", "threshold")

FAMILIES: tuple[Family, ...] = (
    Family("sla_requests_total", "counter", "Requests of the month so far, by class: good, bad, excluded, unclassified.", ("tenant", "portal", "class")),
    Family("sla_availability_ratio", "gauge", "Share of counted requests that were good, 0 to 1, in a window or the month; absent without demand.", _W),
    Family("sla_window_requests", "gauge", "Counted requests in a window or the month; excluded ones are left out.", _W),
    Family("sla_window_failures", "gauge", "Failed requests in a window or the month, the unclassified among them.", _W),
    Family("sla_error_budget_remaining_ratio", "gauge", "Share of the month's error budget at the highest threshold that is left; negative once it is overspent.", _T),
    Family("sla_projected_availability_ratio", "gauge", "The month's availability at its end, 0 to 1, by quantile of the forecast.", ("tenant", "quantile")),
    Family("sla_breach_probability", "gauge", "Probability, 0 to 1, that the month ends below a threshold in percent.", _H),
    Family("sla_point_of_no_return_seconds", "gauge", "Seconds of the present failure left until the threshold is certain to be missed; absent when nothing fails.", _H),
    Family("sla_budget_exhaustion_seconds", "gauge", "Seconds until the error budget is used up at the present rate; absent when it lasts.", _T),
    Family("sla_band_percent", "gauge", "The highest threshold in percent that the month so far keeps; 0 when none.", _T),
    Family("sla_coverage_ratio", "gauge", "Share of the month so far that was measured, 0 to 1.", _T),
    Family("sla_breached", "gauge", "1 while the verdict stands that a threshold is missed even if nothing fails any more.", _H),
    Family("sla_at_risk", "gauge", "1 while the verdict stands that a threshold will probably be missed.", _H),
    Family("sla_maintenance", "gauge", "1 while an approved exclusion runs.", _T),
    Family("sla_expected_requests", "gauge", "Requests expected in the whole month.", _T),
    Family("monitor_source_lag_records", "gauge", "Records of a source partition that are not yet read. Growing: add workers.", ("topic", "partition")),
    Family("monitor_source_committed_timestamp_seconds", "gauge", "When the last chunk of a source partition was committed, epoch seconds.", ("topic", "partition")),
    Family("monitor_journal_lag_records", "gauge", "Frames of a journal partition that are not yet read.", ("partition",)),
    Family("monitor_complete_timestamp_seconds", "gauge", "All that the sources held up to here is counted, epoch seconds.", ("partition",)),
    Family("monitor_frames_total", "counter", "Frames by outcome: sealed, dropped (a rival was committed), ignored (a woken worker's).", ("outcome",)),
    Family("monitor_gaps_total", "counter", "Stretches of source offsets that nobody counted. Any: see the runbook."),
    Family("monitor_rejected_total", "counter", "Records refused, by source topic and reason; their bytes are in auth-requests.rejected.", ("topic", "reason")),
    Family("monitor_requests_counted_total", "counter", "Requests counted by this worker, by source topic.", ("topic",)),
    Family("monitor_checkpoint_timestamp_seconds", "gauge", "When a journal partition's last checkpoint was durable, epoch seconds.", ("partition",)),
    Family("monitor_ready", "gauge", "1 when partitions are assigned and their tables recovered."),
    Family("monitor_tenants", "gauge", "Tenants that this worker owns."),
    Family("monitor_announced_total", "counter", "Events announced in breaches, by type.", ("type",)),
)
