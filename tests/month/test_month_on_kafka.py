"""The month of thirty tenants on a real Kafka: real workers, in the records' own time, left alone and killed at random."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import murmur2
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from month import truth
from month.truth import REQUESTS, TOPICS, Record

from monitor.contract.statement import verify
from monitor.local.processes import free_port
from monitor.settings import Settings
from monitor.stream import topics

ROOT = Path(__file__).parents[2]
PARTITIONS = 2
GIVEN_UP = (75, 78)
"""Exit codes by which a worker gives up what another takes over."""
KILLS = 6


def clocks() -> list[str]:
    """A tenant in each partition that makes one request at each step, so that its status tells how late it is there."""
    found: dict[int, str] = {}
    for n in range(100):
        found.setdefault((murmur2(b"clock-%d" % n) & 0x7FFFFFFF) % PARTITIONS, f"clock-{n}")
    assert len(found) == PARTITIONS
    return sorted(found.values())


class Replay:
    """Topics under a prefix of their own, the workers on them, and the world as far as it has been played."""

    def __init__(self, kafka: str, unique: str, folder: Path) -> None:
        self.settings = Settings(kafka_bootstrap=kafka, topic_prefix=f"{unique}.", partitions=PARTITIONS)
        self.folder = folder
        self.group = self.settings.topic_prefix + self.settings.group
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")},
            "PYTHONPATH": str(ROOT),
            "MONITOR_KAFKA_BOOTSTRAP": kafka,
            "MONITOR_TOPIC_PREFIX": f"{unique}.",
            "MONITOR_PARTITIONS": str(PARTITIONS),
            "MONITOR_CLOCK": "records",
            "MONITOR_FLUSH_SECONDS": "0.1",
            "MONITOR_CHECKPOINT_SECONDS": "1",
        }
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        """By the name under which a worker keeps its partitions over a restart."""
        self.log = folder / "workers.log"
        self.producer = Producer({"bootstrap.servers": kafka, "linger.ms": 5})
        self.clocks = clocks()
        self.at: dict[str, int] = dict.fromkeys(self.clocks, 0)
        self.ends: Counter[tuple[str, int]] = Counter()
        self.kill_at: list[float] = []
        self.killed = 0
        self.random = random.Random()
        self._statuses = self._reader("status") if self._make() else None
        self._committed = Consumer({"bootstrap.servers": kafka, "group.id": self.group, "enable.auto.commit": False})

    def _make(self) -> bool:
        admin = AdminClient({"bootstrap.servers": self.settings.kafka_bootstrap})
        # Records of other years: none may be too old to be kept, and none too far ahead to be taken.
        config = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}
        made = [NewTopic(self.settings.topic(name), PARTITIONS, 1, config=config) for name in TOPICS]
        for done in admin.create_topics(made).values():
            done.result(20)
        asyncio.run(topics.apply(self.settings))
        return True

    def _reader(self, name: str) -> Consumer:
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap, "group.id": "reads", "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
            }
        )  # fmt: skip
        consumer.assign([TopicPartition(self.settings.topic(name), q, 0) for q in range(PARTITIONS)])
        return consumer

    def read(self, name: str) -> list[Any]:
        """All records that stand in one of our topics now."""
        consumer = self._reader(name)
        found = []
        while (message := consumer.poll(2)) is not None:
            assert message.error() is None
            found.append(message)
        consumer.close()
        return found

    def start(self, instance: str) -> None:
        port = free_port()
        with self.log.open("ab") as out:
            worker = subprocess.Popen(
                [sys.executable, "-c", "from monitor.cli import main; main()", "worker"],
                env={
                    **self.environment,
                    "MONITOR_INSTANCE": instance,
                    "MONITOR_HTTP_PORT": str(port),
                    "MONITOR_DATA_DIR": str(self.folder / str(port)),
                },
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        self.workers[instance] = worker

    def supervise(self) -> None:
        """Kill when it is time to, and start again what has ended."""
        if self.kill_at and time.monotonic() >= self.kill_at[0]:
            self.kill_at.pop(0)
            victim = self.random.choice(sorted(self.workers))
            self.workers[victim].send_signal(signal.SIGKILL)
            self.workers[victim].wait()
            self.killed += 1
        for instance, worker in list(self.workers.items()):
            if worker.poll() is not None:
                if worker.returncode not in (-signal.SIGKILL, *GIVEN_UP):
                    raise AssertionError(f"a worker ended with {worker.returncode}:\n{self.said()}")
                self.start(instance)

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def produce(self, record: Record) -> None:
        """Send a record under its own timestamp; requests go to any partition."""
        keyed = record.topic != REQUESTS
        place = murmur2((record.key if keyed else record.value.decode()).encode()) & 0x7FFFFFFF
        partition = place % PARTITIONS
        self.producer.produce(
            self.settings.topic(record.topic), record.value, key=record.key if keyed else None,
            partition=partition, timestamp=record.at,
        )  # fmt: skip
        self.ends[self.settings.topic(record.topic), partition] += 1

    def play(self, records: list[Record], steps: list[int]) -> None:
        """Up to each step in turn: first everything before it, until that is counted; then the time itself."""
        waiting = iter(records)
        following = next(waiting, None)
        for at in steps:
            while following is not None and following.at <= at:
                self.produce(following)
                self.producer.poll(0)
                following = next(waiting, None)
            self.until(f"all before {at} is counted", self._counted, 60)
            self._tell(at)
            # Whoever takes over knows the time from what it reads: after a while it is told again.
            self.until(f"the workers' clocks show {at}", partial(self._reached, at), 60, partial(self._tell, at))

    def _tell(self, at: int) -> None:
        for clock in self.clocks:
            value = json.dumps({"time": at, "tenant": clock, "portal": "clock", **truth.GOOD}).encode()
            for partition in range(PARTITIONS):
                self.producer.produce(self.settings.topic(REQUESTS), value, partition=partition, timestamp=at)
                self.ends[self.settings.topic(REQUESTS), partition] += 1
        assert self.producer.flush(20) == 0

    def _counted(self) -> bool:
        assert self.producer.flush(20) == 0
        asked = [TopicPartition(topic, partition) for topic, partition in self.ends]
        if not asked:
            return True
        found = self._committed.committed(asked, timeout=20)
        return all(tp.offset >= self.ends[tp.topic, tp.partition] for tp in found)

    def _reached(self, at: int) -> bool:
        assert self._statuses is not None
        while (message := self._statuses.poll(0.02)) is not None:
            assert message.error() is None
            status = json.loads(message.value())
            if status["tenant"] in self.at and status["complete_to"]:
                self.at[status["tenant"]] = max(self.at[status["tenant"]], truth.instant(status["complete_to"]))
        return min(self.at.values()) >= at

    def until(
        self, what: str, reached: Callable[[], bool], seconds: float, again: Callable[[], None] | None = None
    ) -> None:
        """Wait until it is so, doing something again every three seconds."""
        begun = since = time.monotonic()
        while not reached():
            self.supervise()
            if time.monotonic() > begun + seconds:
                raise AssertionError(f"not within {seconds} s: {what}\n{self.said()}")
            if again and time.monotonic() > since + 3:
                again()
                since = time.monotonic()
            time.sleep(0.02)
        self.supervise()

    def close(self) -> None:
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
        for consumer in (self._statuses, self._committed):
            if consumer is not None:
                consumer.close()
        del self.producer


@pytest.fixture
def replay(kafka: str, unique: str, tmp_path: Path) -> Iterator[Replay]:
    made = Replay(kafka, unique, tmp_path)
    yield made
    made.close()


def assert_the_table(replay: Replay) -> None:
    """What the topics hold is the table; an id that came more than once came with the same bytes."""
    once: dict[str, dict[str, bytes]] = {"statements": {}, "credits": {}}
    for name, found in once.items():
        for record in replay.read(name):
            identity = dict(record.headers())["ce_id"].decode()
            assert found.setdefault(identity, record.value()) == record.value(), (
                f"{identity} was said twice and differs"
            )
    statements = [value for name, value in once["statements"].items() if not name.startswith("clock-")]
    found_wrong = truth.differences(statements, once["credits"].values(), to_the_minute=False)
    assert not found_wrong, "\n".join(found_wrong)
    chains = truth.chains(once["statements"].values())
    assert len(chains) == len(truth.TENANTS) + PARTITIONS
    assert {tenant: verify(chain, tenant) for tenant, chain in chains.items()} == dict.fromkeys(chains)


def settled(replay: Replay) -> None:
    """The last announcements are out, and committed, once workers that are told to stop have ended."""
    for worker in replay.workers.values():
        worker.terminate()
    assert [worker.wait(30) for worker in replay.workers.values()] == [0] * len(replay.workers), replay.said()
    replay.workers.clear()


def test_statements_and_credits_on_kafka_are_those_of_the_table(replay: Replay) -> None:
    replay.start("a")
    replay.play(truth.records(), truth.steps())
    settled(replay)
    assert_the_table(replay)


def test_killed_at_random_during_the_whole_replay_two_workers_say_the_same(replay: Replay) -> None:
    seed = int(os.environ.get("MONTH_SEED", random.SystemRandom().randrange(10**6)))
    print(f"MONTH_SEED={seed}")
    replay.random.seed(seed)
    begun = time.monotonic()
    replay.kill_at = [begun + 12 + 10 * n + replay.random.uniform(0, 10) for n in range(KILLS)]
    replay.start("a")
    replay.start("b")
    replay.play(truth.records(), truth.steps())
    assert replay.killed >= KILLS - 2
    settled(replay)
    assert_the_table(replay)
