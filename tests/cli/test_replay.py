"""`monitor replay`: what has been recorded, in its own time, through a real Kafka and a real worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from monitor.cli.replay import in_time

MONITOR = [sys.executable, "-c", "from monitor.cli import main; main()"]
START = datetime(2026, 10, 30, tzinfo=UTC)


def recorded(at: datetime, tenant: str, *, failed: bool = False) -> str:
    outcome = {"outcome": "failure", "fault": "server"} if failed else {"outcome": "success"}
    return json.dumps({"time": at.isoformat(), "tenant": tenant, "portal": "vpn", **outcome})


def two_days() -> list[str]:
    """Two requests a minute of each tenant over the end of October; ant's fail for two hours on the 31st."""
    lines = []
    for minute in range(2 * 1440 + 600):
        at = START + timedelta(minutes=minute)
        down = START + timedelta(hours=30) <= at < START + timedelta(hours=32)
        lines += [
            recorded(at + timedelta(seconds=20 * n), tenant, failed=down and tenant == "ant")
            for n in (0, 1)
            for tenant in ("ant", "bee")
        ]
    return lines


def replay(kafka: str, folder: Path, *arguments: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")}
    done = subprocess.run(
        [*MONITOR, "replay", *arguments, "--json"],
        env={**environment, "MONITOR_KAFKA_BOOTSTRAP": kafka, "MONITOR_PARTITIONS": "2"},
        cwd=folder, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_recorded_failure_is_announced_at_its_own_time_and_the_month_that_ends_gets_its_statement(
    kafka: str, tmp_path: Path
) -> None:
    (tmp_path / "requests.jsonl").write_text("\n".join([*two_days(), "no request"]) + "\n")
    (tmp_path / "contracts.jsonl").write_text(json.dumps({"tenant": "ant", "partner": "north", "start": "2026-01-01"}))
    found = replay(kafka, tmp_path, "requests.jsonl", "--speed", "14400", "--contracts", "contracts.jsonl")

    assert found["requests"] == 2 * 2 * (2 * 1440 + 600) + 1
    assert found["tenants"] == 2
    breached = next(event for event in found["events"] if event["type"] == "breached" and event["tenant"] == "ant")
    assert "2026-10-31T06:00" < breached["as_of"] < "2026-10-31T12:00"
    notice = next(event for event in found["events"] if event["type"] == "notice_due")
    assert (notice["tenant"], notice["date"], notice["claim_by"], notice["bad"]) == (
        "ant",
        "2026-10-31",
        "2026-11-30",
        240,
    )
    assert set(found["statements"]) == {"ant/2026-10/provisional", "bee/2026-10/provisional"}
    assert {status["tenant"]: status["good"] for status in found["worst"]} == {"ant": 1200, "bee": 1200}
    left = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics
    assert not [name for name in left if name.startswith("replay-")]


def test_a_topic_is_played_by_the_times_of_its_records_and_left_as_it_was(kafka: str, tmp_path: Path) -> None:
    """A failing hour in the middle of six, recorded in a topic of somebody else's; at 20,000 times its speed."""
    topic = f"yesterday-{os.getpid()}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 2, 1, config={"retention.ms": "-1"})])[topic].result(20)
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 20})
    for minute in range(360):
        at = START + timedelta(minutes=minute)
        value = recorded(at, "ant", failed=120 <= minute < 180).encode()
        producer.produce(topic, value, partition=minute % 2, timestamp=int(at.timestamp() * 1000))
    assert producer.flush(20) == 0
    found = replay(kafka, tmp_path, topic, "--speed", "20000")

    assert (found["requests"], found["from"], found["to"]) == (360, "2026-10-30T00:00:00Z", "2026-10-30T05:59:00Z")
    [status] = found["worst"]
    assert (status["tenant"], status["good"], status["bad"]) == ("ant", 300, 60)
    left = admin.list_topics(timeout=10).topics
    assert topic in left
    assert not [name for name in left if name.startswith("replay-")]


def test_records_are_played_in_the_order_in_which_they_happened_and_one_without_a_time_stays_where_it_was() -> None:
    early, late = START, START + timedelta(minutes=1)
    lines = [b"no request", recorded(late, "ant").encode(), b"{}", recorded(early, "ant").encode()]
    first, second = (int(at.timestamp() * 1000) for at in (early, late))
    assert in_time([(None, line) for line in lines], "native") == [
        (first, lines[3]), (second, lines[0]), (second, lines[1]), (second, lines[2]),
    ]  # fmt: skip


def test_a_contract_that_cannot_be_read_is_named_with_its_line_before_anything_is_played(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text(recorded(START, "ant") + "\n")
    (tmp_path / "contracts.jsonl").write_text('{"tenant": "ant"}\n{"tenant": "ant", "zone": "Mars/Base"}\n')
    done = subprocess.run(
        [*MONITOR, "replay", "requests.jsonl", "--contracts", "contracts.jsonl"],
        env={**os.environ, "MONITOR_KAFKA_BOOTSTRAP": "127.0.0.1:1", "COLUMNS": "200"},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "line 2" in done.stderr
    assert "IANA zone" in done.stderr


def refused(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and what is said, without a Kafka."""
    done = subprocess.run(
        [*MONITOR, "replay", *arguments],
        env={**os.environ, "MONITOR_KAFKA_BOOTSTRAP": "127.0.0.1:1", "COLUMNS": "200"},
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_records_that_say_nothing_of_their_time_are_not_played_as_if_they_were_of_1970(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text("no request\n{}\n")
    code, said = refused(tmp_path, "requests.jsonl")
    assert code == 1
    assert "requests.jsonl: expected native records, found none that says when it happened; see --form" in said


def test_a_file_that_is_not_there_is_said_to_be_none_before_anybody_looks_for_a_topic(tmp_path: Path) -> None:
    code, said = refused(tmp_path, "logs/requests.jsonl")
    assert code == 2
    assert "expected a file or the name of a topic, found 'logs/requests.jsonl', which is no file" in said
    code, said = refused(tmp_path, "requests.jsonl")
    assert code == 3
    assert "requests.jsonl is no file; whether it is a topic is not known: no Kafka at 127.0.0.1:1" in said
