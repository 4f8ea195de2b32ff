"""All metric families in one table. The collector, the rules, the dashboards and the runbooks take names from here.

A family in an f-string is its name; called, it is a PromQL selector that refuses a label which the family has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

JOB = "monitor"
"""The name under which Prometheus scrapes the workers."""

_ADDED = ("job", "instance")
"""Labels that Prometheus adds to every series of a scrape."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family: `help` gives its unit, what it leaves out and, where there is one, the remedy."""

    name: str
    type: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def __call__(self, **values: str) -> str:
        """A selector of the series with these values, `class_` for `class`; ValueError for a label it has not.

        A leading `!`, `~` or `!~` is the matcher; without one the values are equal.
        """
        matchers = []
        for key, value in values.items():
            label = key.rstrip("_")
            if label not in self.labels + _ADDED:
                raise ValueError(
                    f"{self.name}: expected one of the labels {', '.join(self.labels + _ADDED)}, found {label!r}"
                )
            sign = next((each for each in ("!~", "!", "~") if value.startswith(each)), "")
            operator = {"": "=", "!": "!=", "~": "=~", "!~": "!~"}[sign]
            matchers.append(f'{label}{operator}"{value.removeprefix(sign)}"')
        return f"{self.name}{{{','.join(matchers)}}}"


_T = ("tenant",)
_W = ("tenant", "window")
_H = ("tenant", "threshold")
_S = ("topic", "partition")
_P = ("partition",)

REQUESTS = Family(
    "sla_requests_total",
    "counter",
    "Requests of the month so far, by class: good, bad, excluded, unclassified. Starts again at 0 with each month.",
    ("tenant", "portal", "class"),
)
AVAILABILITY = Family(
    "sla_availability_ratio",
    "gauge",
    "Share of counted requests that were good, 0 to 1, in a window or the month; absent without demand.",
    _W,
)
WINDOW_REQUESTS = Family(
    "sla_window_requests", "gauge", "Counted requests in a window or the month; excluded ones are left out.", _W
)
WINDOW_FAILURES = Family(
    "sla_window_failures", "gauge", "Failed requests in a window or the month, the unclassified among them.", _W
)
BUDGET_REMAINING = Family(
    "sla_error_budget_remaining_ratio",
    "gauge",
    "Share of the month's error budget at the highest threshold that is left; negative once it is overspent.",
    _T,
)
PROJECTED = Family(
    "sla_projected_availability_ratio",
    "gauge",
    "The month's availability at its end, 0 to 1, by quantile of the forecast.",
    ("tenant", "quantile"),
)
BREACH_PROBABILITY = Family(
    "sla_breach_probability", "gauge", "Probability, 0 to 1, that the month ends below a threshold in percent.", _H
)
POINT_OF_NO_RETURN = Family(
    "sla_point_of_no_return_seconds",
    "gauge",
    "Seconds of the present failure left until the threshold is certain to be missed; absent when nothing fails.",
    _H,
)
BUDGET_EXHAUSTION = Family(
    "sla_budget_exhaustion_seconds",
    "gauge",
    "Seconds until the error budget is used up at the present rate; absent when it lasts.",
    _T,
)
BAND = Family(
    "sla_band_percent", "gauge", "The highest threshold in percent that the month so far keeps; 0 when none.", _T
)
COVERAGE = Family("sla_coverage_ratio", "gauge", "Share of the month so far that was measured, 0 to 1.", _T)
BREACHED = Family(
    "sla_breached", "gauge", "1 while the verdict stands that a threshold is missed even if nothing fails any more.", _H
)
AT_RISK = Family("sla_at_risk", "gauge", "1 while the verdict stands that a threshold will probably be missed.", _H)
MAINTENANCE = Family("sla_maintenance", "gauge", "1 while an approved exclusion runs.", _T)
SILENCE_START = Family(
    "sla_silence_start_timestamp_seconds",
    "gauge",
    "Since when nothing has come from the tenant though something must have, epoch seconds; absent while that is not so.",
    _T,
)
EXPECTED_REQUESTS = Family("sla_expected_requests", "gauge", "Requests expected in the whole month.", _T)

PLATFORM_SILENCE_START = Family(
    "monitor_platform_silence_start_timestamp_seconds",
    "gauge",
    "Since when no tenant of a journal partition has had a request though some must have, epoch seconds; absent while that is not so.",
    _P,
)
SUPPORT_OPEN = Family(
    "sla_support_open_requests", "gauge", "Support requests whose clocks run, by severity.", ("tenant", "severity")
)
SUPPORT_OVERDUE = Family(
    "sla_support_overdue_requests",
    "gauge",
    "Those of the open support requests that owe an answer which was due, by severity.",
    ("tenant", "severity"),
)
SUPPORT_WARNING = Family(
    "sla_support_warning_timestamp_seconds",
    "gauge",
    "When people are warned that an answer falls due, epoch seconds; clock is first_response or update.",
    ("tenant", "request", "severity", "clock"),
)
SUPPORT_DUE = Family(
    "sla_support_due_timestamp_seconds",
    "gauge",
    "When an answer to a support request is due, epoch seconds. Gone once it is given. Of a tenant the fifty first in the queue.",
    ("tenant", "request", "severity", "clock"),
)
DESK_OPENS = Family(
    "sla_support_desk_opens_timestamp_seconds",
    "gauge",
    "When the opening hours of a tenant's support desk begin, epoch seconds: the present ones, else the next. Absent without open requests.",
    _T,
)
DESK_CLOSES = Family(
    "sla_support_desk_closes_timestamp_seconds", "gauge", "When those opening hours end, epoch seconds.", _T
)

SOURCE_LAG = Family(
    "monitor_source_lag_records",
    "gauge",
    "Records of a source partition that are not yet read. Growing: add workers.",
    _S,
)
SOURCE_COMMITTED = Family(
    "monitor_source_committed_timestamp_seconds",
    "gauge",
    "When the last chunk of a source partition was committed, epoch seconds.",
    _S,
)
JOURNAL_LAG = Family(
    "monitor_journal_lag_records",
    "gauge",
    "Frames of a journal partition that are not yet read. Growing: add workers.",
    _P,
)
COMPLETE = Family(
    "monitor_complete_timestamp_seconds", "gauge", "All that the sources held up to here is counted, epoch seconds.", _P
)
FRAMES = Family(
    "monitor_frames_total",
    "counter",
    "Frames by outcome: sealed, dropped (a rival was committed), ignored (a woken worker's).",
    ("outcome",),
)
GAPS = Family("monitor_gaps_total", "counter", "Stretches of source offsets that nobody counted. Any: see the runbook.")
REJECTED = Family(
    "monitor_rejected_total",
    "counter",
    "Records refused, by source topic and reason; their bytes are in auth-requests.rejected.",
    ("topic", "reason"),
)
COUNTED = Family(
    "monitor_requests_counted_total", "counter", "Requests counted by this worker, by source topic.", ("topic",)
)
CHECKPOINT = Family(
    "monitor_checkpoint_timestamp_seconds",
    "gauge",
    "When a journal partition's last checkpoint was durable, epoch seconds.",
    _P,
)
READY = Family("monitor_ready", "gauge", "1 when partitions are assigned and their tables recovered.")
TENANTS = Family("monitor_tenants", "gauge", "Tenants that this worker owns.")
ANNOUNCED = Family(
    "monitor_announced_total", "counter", "Events announced in breaches and support-breaches, by type.", ("type",)
)

FAMILIES: tuple[Family, ...] = (
    REQUESTS,
    AVAILABILITY,
    WINDOW_REQUESTS,
    WINDOW_FAILURES,
    BUDGET_REMAINING,
    PROJECTED,
    BREACH_PROBABILITY,
    POINT_OF_NO_RETURN,
    BUDGET_EXHAUSTION,
    BAND,
    COVERAGE,
    BREACHED,
    AT_RISK,
    MAINTENANCE,
    SILENCE_START,
    EXPECTED_REQUESTS,
    PLATFORM_SILENCE_START,
    SUPPORT_OPEN,
    SUPPORT_OVERDUE,
    SUPPORT_WARNING,
    SUPPORT_DUE,
    DESK_OPENS,
    DESK_CLOSES,
    SOURCE_LAG,
    SOURCE_COMMITTED,
    JOURNAL_LAG,
    COMPLETE,
    FRAMES,
    GAPS,
    REJECTED,
    COUNTED,
    CHECKPOINT,
    READY,
    TENANTS,
    ANNOUNCED,
)
"""In the order in which they are exported."""

UP = Family("up", "gauge", "1 while Prometheus reaches a worker. Made by Prometheus.")
PROCESS_START = Family(
    "process_start_time_seconds", "gauge", "When a worker's process started, epoch seconds. Made by prometheus-client."
)
PROCESS_CPU = Family(
    "process_cpu_seconds_total", "counter", "CPU seconds of a worker's process. Made by prometheus-client."
)
PROCESS_MEMORY = Family(
    "process_resident_memory_bytes",
    "gauge",
    "Bytes of memory that a worker's process holds. Made by prometheus-client.",
)

BORROWED: tuple[Family, ...] = (UP, PROCESS_START, PROCESS_CPU, PROCESS_MEMORY)
"""Families that others export and that rules and dashboards use."""
