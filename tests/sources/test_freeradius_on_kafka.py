"""From a real FreeRADIUS through `monitor ship` into a topic of a real Kafka: nothing lost, and nothing twice when nothing died."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from monitor.local.processes import answers, free_port, start, stop
from monitor.settings import Settings
from monitor.stream import topics
from monitor.stream.reading import reader, statuses

SHIP = "import typer; from monitor.cli.ship import ship; typer.run(ship)"
Ship = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def topic(kafka: str) -> str:
    name = f"radius-{uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(20)
    return name


@pytest.fixture
def ship() -> Iterator[Ship]:
    """Starts `monitor ship` in a process of its own; none outlives the test."""
    running: list[subprocess.Popen[str]] = []

    def start(log: Path, topic: str, kafka: str, *more: str) -> "subprocess.Popen[str]":
        shipper = subprocess.Popen(
            [sys.executable, "-c", SHIP, str(log), "--topic", topic, "--bootstrap", kafka, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")},
        )
        running.append(shipper)
        return shipper

    yield start
    for shipper in running:
        shipper.kill()
        shipper.communicate()


def records(kafka: str, topic: str) -> list[bytes]:
    """All values that stand in the topic now."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": uuid4().hex, "enable.auto.commit": False})
    ends = [(partition, consumer.get_watermark_offsets(TopicPartition(topic, partition))[1]) for partition in range(2)]
    consumer.assign([TopicPartition(topic, partition, 0) for partition, _ in ends])
    values: list[bytes] = []
    while len(values) < sum(end for _, end in ends):
        message = consumer.poll(10)
        assert message is not None
        assert message.error() is None
        values.append(message.value())
    consumer.close()
    return values


def wait_for(kafka: str, topic: str, lines: list[bytes]) -> Counter[bytes]:
    """What the topic has once all lines are there."""
    deadline = time.monotonic() + 30
    while not set(lines) <= set(found := records(kafka, topic)):
        assert time.monotonic() < deadline, f"{len(set(lines) - set(found))} lines did not arrive"
        time.sleep(0.2)
    return Counter(found)


@pytest.mark.needs("freeradius", "radclient")
def test_each_decision_arrives_once_through_a_rotation_and_an_outage(
    radius, ship: Ship, kafka: str, topic: str
) -> None:
    shipper = ship(radius.decisions, topic, kafka)
    radius.ask(20, "alice", "correct horse")
    # A first run begins with the log that is there when it starts, not with those that were rotated before.
    wait_for(kafka, topic, radius.lines())
    radius.ask(5, "alice", "wrong")
    radius.stop_backend()
    radius.ask(8, "alice", "correct horse")
    radius.start_backend()
    before = radius.lines()
    radius.decisions.rename(f"{radius.decisions}.1")
    radius.ask(10, "bob", "battery staple")
    lines = before + radius.lines()
    assert len(lines) == 43

    assert wait_for(kafka, topic, lines) == Counter(lines)
    shipper.send_signal(signal.SIGTERM)
    said, complained = shipper.communicate(timeout=20)
    assert (shipper.returncode, said, complained) == (0, f"43 records to {topic}\n", "")

    # The next run goes on where this one stopped.
    again = ship(radius.decisions, topic, kafka, "--once")
    assert again.communicate(timeout=20) == (f"0 records to {topic}\n", "")
    assert again.returncode == 0


def test_a_shipper_that_is_killed_loses_nothing(tmp_path: Path, ship: Ship, kafka: str, topic: str) -> None:
    log = tmp_path / "log"
    lines = [b'{"n":%d,"filling":"%s"}' % (n, b"x" * 300) for n in range(20_000)]
    log.write_bytes(b"".join(line + b"\n" for line in lines[:15_000]))
    shipper = ship(log, topic, kafka)
    while not (tmp_path / ".log.position").exists():
        assert shipper.poll() is None
        time.sleep(0.01)
    shipper.kill()
    shipper.communicate()
    with log.open("ab") as file:
        file.writelines(line + b"\n" for line in lines[15_000:])

    assert ship(log, topic, kafka, "--once").wait(30) == 0
    assert set(records(kafka, topic)) == set(lines)


def test_a_topic_that_does_not_exist_is_named_and_nothing_is_marked_as_sent(
    tmp_path: Path, ship: Ship, kafka: str
) -> None:
    log = tmp_path / "log"
    log.write_text("one\n")
    shipper = ship(log, "no-such-topic", kafka, "--once")
    _, complained = shipper.communicate(timeout=30)
    assert shipper.returncode == 1
    assert "no-such-topic" in complained
    assert not (tmp_path / ".log.position").exists()


def test_a_broker_that_does_not_answer_is_unreachable(tmp_path: Path, ship: Ship) -> None:
    log = tmp_path / "log"
    log.write_text("one\n")
    shipper = ship(log, "any", "127.0.0.1:1", "--once")
    _, complained = shipper.communicate(timeout=30)
    assert shipper.returncode == 3
    assert "127.0.0.1:1" in complained


def test_a_log_that_is_not_there_and_a_position_that_is_none_are_usage_errors(tmp_path: Path, ship: Ship) -> None:
    assert ship(tmp_path / "log", "any", "127.0.0.1:1", "--once").wait(30) == 2
    assert ship(tmp_path / "nowhere" / "log", "any", "127.0.0.1:1").wait(30) == 2
    (tmp_path / "log").write_text("one\n")
    (tmp_path / ".log.position").write_text("12")
    assert ship(tmp_path / "log", "any", "127.0.0.1:1").wait(30) == 2


@pytest.mark.needs("freeradius", "radclient")
async def test_a_broken_backend_stands_in_status_with_exactly_its_failures(
    radius, ship: Ship, kafka: str, unique: str, tmp_path: Path
) -> None:
    settings = Settings(
        kafka_bootstrap=kafka,
        topic_prefix=f"{unique}.",
        sources={"radius": "freeradius"},
        http_port=free_port(),
        data_dir=str(tmp_path / "worker"),
    )
    await topics.apply(settings)
    environment = {
        "MONITOR_KAFKA_BOOTSTRAP": kafka,
        "MONITOR_TOPIC_PREFIX": settings.topic_prefix,
        "MONITOR_SOURCES": "radius=freeradius",
        "MONITOR_HTTP_PORT": str(settings.http_port),
        "MONITOR_DATA_DIR": settings.data_dir,
    }
    command = [sys.executable, "-c", "from monitor.cli import main; main()", "worker"]
    address = settings.http_port
    worker = start("worker", command, address, tmp_path / "worker.log", lambda: answers(address), 60, environment)
    try:
        ship(radius.decisions, settings.topic("radius"), kafka)
        radius.ask(20, "alice", "correct horse")
        radius.ask(5, "alice", "wrong")
        radius.stop_backend()
        radius.ask(8, "alice", "correct horse")
        radius.start_backend()
        radius.ask(10, "alice", "correct horse")
        expected = {"good": 20 + 5 + 10, "bad": 8, "excluded": 0, "unclassified": 0}
        known: dict[str, dict[str, object]] = {}
        async with reader(settings, "status") as source:
            deadline = time.monotonic() + 60
            while {name: known.get("acme", {}).get(name) for name in expected} != expected:
                assert time.monotonic() < deadline, f"expected {expected}, status has {known}"
                await asyncio.sleep(0.3)
                await statuses(source, known)
    finally:
        stop(worker)
