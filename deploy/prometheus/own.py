"""Alerts on the monitor itself: while it is blind, silence about tenants means nothing."""

from __future__ import annotations

from deploy.prometheus.rule import Alert, grown
from monitor.outlets.families import (
    CHECKPOINT,
    COMPLETE,
    COUNTED,
    GAPS,
    JOB,
    PROCESS_START,
    READY,
    REJECTED,
    SOURCE_LAG,
    UP,
)


def alerts() -> list[Alert]:
    """From the monitor being gone to its merely being slow."""
    return [*_stopped(), *_late(), *_lossy()]


def _stopped() -> list[Alert]:
    up = UP(job=JOB)
    return [
        Alert(
            "MonitorStopped",
            "page",
            f"absent({up} == 1)",
            "No worker of the monitor can be reached",
            "Nothing is judged and nobody is paged until one is back. No request is lost: they wait in Kafka.",
            wait="30s",
            hold="",
        ),
        Alert(
            "WorkerStopped",
            "inform",
            f"{up} == 0",
            "The worker {{ $labels.instance }} cannot be reached",
            "The others take its partitions over. With this one gone for good, see whether they keep up.",
            wait="1m",
            hold="",
        ),
        Alert(
            "WorkerNotReady",
            "page",
            f"{READY(job=JOB)} == 0",
            "The worker {{ $labels.instance }} has not been ready for 2 minutes",
            "It waits for its partitions, or for their tables to be recovered. Its tenants are not judged.",
            wait="2m",
            hold="",
        ),
        Alert(
            "WorkerRestarting",
            "page",
            f"changes({PROCESS_START(job=JOB)}[15m]) >= 3",
            "The worker {{ $labels.instance }} started {{ $value }} times again in 15 minutes",
            "It stops rather than skip a record, so it meets the same fault again. The last line of its log names it.",
            wait="",
            hold="",
        ),
    ]


def _late() -> list[Alert]:
    lag = f"sum by (topic) (max by (topic, partition) ({SOURCE_LAG}))"
    return [
        Alert(
            "MonitorLagging",
            "inform",
            f"{lag} >= 1000\nand on (topic)\n{lag} > 30 * sum by (topic) (rate({COUNTED}[1m]))",
            "{{ $value }} records of {{ $labels.topic }} are not yet read",
            "At the present speed that is more than 30 seconds of work. What the alerts about tenants say is as late.",
            wait="1m",
        ),
        Alert(
            "MonitorLate",
            "page",
            f"time() - min(max by (partition) ({COMPLETE})) > 60",
            "What the monitor knows is {{ $value | humanizeDuration }} old",
            "The oldest partition of the journal is complete up to then. Failures since are in no alert about a tenant.",
            wait="30s",
            hold="",
        ),
        Alert(
            "CheckpointOld",
            "inform",
            f"time() - max by (partition) ({CHECKPOINT}) > 300",
            "The checkpoint of journal partition {{ $labels.partition }} is {{ $value | humanizeDuration }} old",
            "Counts are right, but a worker that starts again reads the journal from there and is the later ready.",
            wait="1m",
            hold="",
        ),
    ]


def _lossy() -> list[Alert]:
    rejected = grown(str(REJECTED), "5m", "topic")
    share = f"{rejected} / (({grown(str(COUNTED), '5m', 'topic')} or 0 * {rejected}) + {rejected})"
    return [
        Alert(
            "MonitorGap",
            "page",
            f"{grown(str(GAPS), '1h')} > 0",
            "Records of a source were skipped and are in no count",
            "Offsets were passed that nobody counted: a reset by hand, or records that expired before they were read. "
            "The statements show the minutes as unmeasured. While Kafka still holds the records, they show what is missing.",
            wait="",
            hold="",
        ),
        Alert(
            "MonitorRejecting",
            "inform",
            f"{rejected} >= 10",
            '{{ printf "%.0f" $value }} records of {{ $labels.topic }} were refused in 5 minutes',
            "They are in no count. Their bytes, with the reason and where they stood, are in auth-requests.rejected.",
            wait="30s",
            hold="",
        ),
        Alert(
            "MonitorRejecting",
            "page",
            f"{share} >= 0.05\nand on (topic) {rejected} >= 10",
            "{{ $value | humanizePercentage }} of the records of {{ $labels.topic }} were refused in 5 minutes",
            "They are in no count, so tenants look better or emptier than they are. "
            "Their bytes, with the reason and where they stood, are in auth-requests.rejected.",
            wait="30s",
            hold="",
        ),
    ]
