"""Alerts on the monitor itself, judged by promtool: silent an evaluation early, on time with their full text, gone when it is well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.alerts.promtool import Case, Seen, judge, series

RUNBOOK = "deploy/runbooks/{}.md".format
AUTH = {"topic": "auth-requests"}


def worker(severity: str, summary: str, description: str) -> Seen:
    return Seen({"instance": "a:1", "job": "monitor", "severity": severity}, summary, description)


STOPPED = Seen(
    {"severity": "page"},
    "No worker of the monitor can be reached",
    "Nothing is judged and nobody is paged until one is back. No request is lost: they wait in Kafka.",
)
ONE_STOPPED = worker(
    "inform",
    "The worker a:1 cannot be reached",
    "The others take its partitions over. With this one gone for good, see whether they keep up.",
)
NOT_READY = worker(
    "page",
    "The worker a:1 has not been ready for 2 minutes",
    "It waits for its partitions, or for their tables to be recovered. Its tenants are not judged.",
)
RESTARTING = worker(
    "page",
    "The worker a:1 started 3 times again in 15 minutes",
    "It stops rather than skip a record, so it meets the same fault again. The last line of its log names it.",
)
LAGGING = Seen(
    {"topic": "auth-requests", "severity": "inform"},
    "40000 records of auth-requests are not yet read",
    "At the present speed that is more than 30 seconds of work. What the alerts about tenants say is as late.",
)


def late(age: str) -> Seen:
    return Seen(
        {"severity": "page"},
        f"What the monitor knows is {age} old",
        "The oldest partition of the journal is complete up to then. Failures since are in no alert about a tenant.",
    )


def checkpoint(age: str) -> Seen:
    return Seen(
        {"partition": "3", "severity": "inform"},
        f"The checkpoint of journal partition 3 is {age} old",
        "Counts are right, but a worker that starts again reads the journal from there and is the later ready.",
    )


GAP = Seen(
    {"severity": "page"},
    "Records of a source were skipped and are in no count",
    "Offsets were passed that nobody counted: a reset by hand, or records that expired before they were read. "
    "The statements show the minutes as unmeasured. While Kafka still holds the records, they show what is missing.",
)


def rejecting(severity: str, summary: str) -> Seen:
    where = "Their bytes, with the reason and where they stood, are in auth-requests.rejected."
    told = "They are in no count, so tenants look better or emptier than they are. " if severity == "page" else ""
    return Seen({"topic": "auth-requests", "severity": severity}, summary, (told or "They are in no count. ") + where)


# Values stand 5 seconds apart: what follows "x11" or "_x12" begins at 1:00.
CASES = [
    Case(
        "the last worker gone pages in half a minute, until one is back",
        "MonitorStopped",
        RUNBOOK("monitor-stopped"),
        series("up", "1x11 0x23 1x20"),
        {"1m25s": [], "1m30s": [STOPPED], "2m55s": [STOPPED], "3m": []},
    ),
    Case(
        "no worker known at all pages too",
        "MonitorStopped",
        RUNBOOK("monitor-stopped"),
        {},
        {"25s": [], "30s": [STOPPED]},
    ),
    Case(
        "one worker of two gone for a minute informs",
        "WorkerStopped",
        RUNBOOK("worker-stopped"),
        series("up", "1x11 0x23 1x20") | series("up", "1x60", 'instance="b:1",job="monitor"'),
        {"1m55s": [], "2m": [ONE_STOPPED], "2m55s": [ONE_STOPPED], "3m": []},
    ),
    Case(
        "while one worker is left the monitor has not stopped",
        "MonitorStopped",
        RUNBOOK("monitor-stopped"),
        series("up", "0x60") | series("up", "1x60", 'instance="b:1",job="monitor"'),
        {"4m": []},
    ),
    Case(
        "a worker that is not ready for two minutes pages",
        "WorkerNotReady",
        RUNBOOK("worker-not-ready"),
        series("monitor_ready", "1x11 0x35 1x20"),
        {"2m55s": [], "3m": [NOT_READY], "3m55s": [NOT_READY], "4m": []},
    ),
    Case(
        "the third start in a quarter of an hour pages",
        "WorkerRestarting",
        RUNBOOK("worker-restarting"),
        series("process_start_time_seconds", "1x11 60x11 120x11 180x300"),
        {"2m55s": [], "3m": [RESTARTING], "15m55s": [RESTARTING], "16m5s": []},
    ),
    Case(
        "more lag than 30 seconds of work informs after a minute, until it is read",
        "MonitorLagging",
        RUNBOOK("monitor-lagging"),
        series("monitor_requests_counted_total", "0+5000x100", **AUTH)
        | series("monitor_source_lag_records", "100x11 20000x23 100x60", partition="0", **AUTH)
        | series("monitor_source_lag_records", "100x11 20000x23 100x60", partition="1", **AUTH),
        {"1m55s": [], "2m": [LAGGING], "4m50s": [LAGGING], "5m": []},
    ),
    Case(
        "a few hundred records nobody reads are no lag",
        "MonitorLagging",
        RUNBOOK("monitor-lagging"),
        series("monitor_source_lag_records", "999x60", partition="0", **AUTH),
        {"4m": []},
    ),
    Case(
        "the oldest partition more than a minute behind for half a minute pages",
        "MonitorLate",
        RUNBOOK("monitor-late"),
        series("monitor_complete_timestamp_seconds", "0+5x100", partition="0")
        | series("monitor_complete_timestamp_seconds", "0x23 120+5x100", partition="1"),
        {"1m30s": [], "1m35s": [late("1m 35s")], "1m55s": [late("1m 55s")], "2m5s": []},
    ),
    Case(
        "a partition that moved to another worker is as new as the newest shows it",
        "MonitorLate",
        RUNBOOK("monitor-late"),
        series("monitor_complete_timestamp_seconds", "0x60", partition="0")
        | series("monitor_complete_timestamp_seconds", "0+5x60", 'instance="b:1",job="monitor"', partition="0"),
        {"4m": []},
    ),
    Case(
        "a checkpoint of more than five minutes ago informs after one more",
        "CheckpointOld",
        RUNBOOK("checkpoint-old"),
        series("monitor_checkpoint_timestamp_seconds", "0x83 420x20", partition="3"),
        {"6m": [], "6m5s": [checkpoint("6m 5s")], "6m55s": [checkpoint("6m 55s")], "7m5s": []},
    ),
    Case(
        "one gap pages at once and for an hour",
        "MonitorGap",
        RUNBOOK("monitor-gap"),
        series("monitor_gaps_total", "0x732 1x800"),
        {"1h1m": [], "1h1m15s": [GAP], "2h1m": [GAP], "2h1m10s": []},
    ),
    Case(
        "a gap that a worker meets as it starts pages too",
        "MonitorGap",
        RUNBOOK("monitor-gap"),
        series("monitor_gaps_total", "_x12 1x800"),
        {"55s": [], "1m": [GAP], "59m": [GAP], "1h2m": []},
    ),
    Case(
        "ten refused records inform in half a minute, from the first of their kind on",
        "MonitorRejecting",
        RUNBOOK("monitor-rejecting"),
        series("monitor_requests_counted_total", "0+5000x300", **AUTH)
        | series("monitor_rejected_total", "_x12 4x100", reason="time", **AUTH)
        | series("monitor_rejected_total", "_x12 6x100", reason="json", **AUTH),
        {
            "1m25s": [],
            "1m30s": [rejecting("inform", "10 records of auth-requests were refused in 5 minutes")],
            "5m50s": [rejecting("inform", "10 records of auth-requests were refused in 5 minutes")],
            "6m5s": [],
        },
    ),
    Case(
        "nine refused records are for the dashboard",
        "MonitorRejecting",
        RUNBOOK("monitor-rejecting"),
        series("monitor_rejected_total", "_x12 9x100", reason="time", **AUTH),
        {"4m": []},
    ),
    Case(
        "5 % of records refused pages",
        "MonitorRejecting",
        RUNBOOK("monitor-rejecting"),
        series("monitor_requests_counted_total", "_x12 95x100", **AUTH)
        | series("monitor_rejected_total", "_x12 5x100", reason="time", **AUTH)
        | series("monitor_rejected_total", "_x12 0x11 5x100", reason="json", **AUTH),
        {
            "2m25s": [],
            "2m30s": [
                rejecting("page", "9.524% of the records of auth-requests were refused in 5 minutes"),
                rejecting("inform", "10 records of auth-requests were refused in 5 minutes"),
            ],
        },
    ),
    Case(
        "a topic of which every record is refused pages, though none was ever counted",
        "MonitorRejecting",
        RUNBOOK("monitor-rejecting"),
        series("monitor_rejected_total", "_x12 50x100", reason="json", **AUTH),
        {
            "1m30s": [
                rejecting("page", "100% of the records of auth-requests were refused in 5 minutes"),
                rejecting("inform", "50 records of auth-requests were refused in 5 minutes"),
            ]
        },
    ),
]


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_of_the_monitor(case: Case, tmp_path: Path) -> None:
    judge(case, tmp_path)
