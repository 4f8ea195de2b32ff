"""`monitor worker` as a user meets it: real processes on a real Kafka, killed, joined, stopped and fed with rubbish."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from monitor.local.processes import free_port
from monitor.settings import Settings
from monitor.stream import topics

ROOT = Path(__file__).parents[2]
WORKER = "from monitor.cli import main; main()"
CLASSES = ("good", "bad", "excluded", "unclassified")
SERIES = re.compile(r'^sla_requests_total\{tenant="([^"]+)",portal="([^"]+)",class="([^"]+)"\} (\d+)', re.MULTILINE)
COMPLETE = re.compile(r"^monitor_complete_timestamp_seconds\{[^}]*\} (\S+)$", re.MULTILINE)
ENDS = (75, 78)
"""Exit codes by which a worker gives up what another takes over. 72, a bug of ours, is not among them."""
READ = re.compile(r"^monitor_requests_counted_total\{[^}]*\} (\S+)$", re.MULTILINE)
GAPS = re.compile(r"^monitor_gaps_total (\S+)$", re.MULTILINE)
KINDS: tuple[tuple[str, dict[str, str]], ...] = (
    ("good", {"outcome": "success"}),
    ("good", {"outcome": "failure", "fault": "client"}),
    ("bad", {"outcome": "failure", "fault": "server"}),
    ("excluded", {"outcome": "failure", "fault": "external"}),
    ("unclassified", {"outcome": "failure", "code": "E-17"}),
)
Counts = Counter[tuple[str, str, str]]
"""Requests by tenant, portal and class."""


class Worker:
    """A worker's process and its own port."""

    def __init__(self, environment: dict[str, str], folder: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self.log = folder / f"worker-{uuid.uuid4().hex[:8]}.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", WORKER, "worker"],
                env={
                    **environment,
                    "MONITOR_HTTP_PORT": str(self.port),
                    "MONITOR_DATA_DIR": str(folder / str(self.port)),
                },
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def page(self, name: str) -> str:
        """What the worker serves under a name; empty while it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{name}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def series(self) -> Counts:
        """The tenants' series of a scrape that are not zero."""
        found = {(t, p, c): int(n) for t, p, c, n in SERIES.findall(self.page("metrics")) if int(n)}
        return Counter(found)

    def tenants(self) -> set[str]:
        return {tenant for tenant, _, _ in self.series()}

    def requests(self) -> int:
        """How many requests it has read and counted, in frames or not yet."""
        return sum(int(float(n)) for n in READ.findall(self.page("metrics")))

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def ended(self, seconds: float) -> int:
        """Its exit code, once it has ended."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the worker did not end within {seconds} s; it said:\n{self.said()[-2000:]}"
            ) from None


class Deployment:
    """Topics under a prefix of their own, the workers on them, and what a user can read of it."""

    def __init__(self, kafka: str, unique: str, folder: Path, partitions: int) -> None:
        self.settings = Settings(kafka_bootstrap=kafka, topic_prefix=f"{unique}.", partitions=partitions)
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")},
            "PYTHONPATH": str(ROOT),
            "MONITOR_KAFKA_BOOTSTRAP": kafka,
            "MONITOR_TOPIC_PREFIX": f"{unique}.",
            "MONITOR_PARTITIONS": str(partitions),
            "MONITOR_CHECKPOINT_SECONDS": "2",
        }
        self.workers: list[Worker] = []
        self.source = self.settings.topic("auth-requests")
        self.producer = Producer({"bootstrap.servers": kafka, "linger.ms": 20})
        self.truth: Counts = Counter()
        self.produced_at = 0.0
        self.statuses: dict[str, dict[str, Any]] = {}
        self._status_reader: Consumer | None = None

    def make_topics(self) -> None:
        asyncio.run(topics.apply(self.settings))

    def start(self) -> Worker:
        worker = Worker(self.environment, self.folder)
        self.workers.append(worker)
        return worker

    def request(self, tenant: str, portal: str, kind: int, partition: int = -1) -> None:
        """Produce a request of now, and remember how it counts."""
        named, what = KINDS[kind]
        value = {"tenant": tenant, "portal": portal, "time": time.time_ns() // 1_000_000, **what}
        self.produce(json.dumps(value).encode(), partition)
        self.truth[tenant, portal, named] += 1

    def produce(self, value: bytes | None, partition: int = -1) -> None:
        self.producer.produce(self.source, value, partition=partition)
        self.producer.poll(0)

    def all_produced(self) -> None:
        assert self.producer.flush(20) == 0
        self.produced_at = time.time()

    def read(self, name: str) -> list[Any]:
        """All records that stand in one of our topics now."""
        consumer = self._consumer(name)
        found = []
        while (message := consumer.poll(1)) is not None:
            assert message.error() is None
            found.append(message)
        consumer.close()
        return found

    def _consumer(self, name: str) -> Consumer:
        topic = self.settings.topic(name)
        consumer = Consumer(
            {"bootstrap.servers": self.settings.kafka_bootstrap, "group.id": "reads", "enable.auto.commit": False}
        )
        there = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in there])
        return consumer

    def counted(self) -> Counts:
        """What the status topic says now; no status may ever say more than was produced."""
        if self._status_reader is None:
            self._status_reader = self._consumer("status")
        while (message := self._status_reader.poll(0.1)) is not None:
            assert message.error() is None
            status = json.loads(message.value())
            over = _counts(status) - self.truth
            assert not over, f"counted more than was produced: {over}"
            if status["stamp"] >= self.statuses.get(status["tenant"], status)["stamp"]:
                self.statuses[status["tenant"]] = status
        return Counter({key: n for status in self.statuses.values() for key, n in _counts(status).items()})

    def committed(self) -> int:
        """How many requests the group has committed."""
        group = self.settings.topic_prefix + self.settings.group
        admin = AdminClient({"bootstrap.servers": self.settings.kafka_bootstrap})
        partitions = [TopicPartition(self.source, p) for p in range(self.settings.partitions)]
        asked = ConsumerGroupTopicPartitions(group, partitions)
        [found] = admin.list_consumer_group_offsets([asked]).values()
        return sum(each.offset for each in found.result().topic_partitions or [] if each.offset > 0)

    def until(self, what: str, reached: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until it is so. Meanwhile do as a supervisor does: a worker that gave up is started again."""
        deadline = time.monotonic() + seconds
        while not reached():
            for worker in list(self.workers):
                if worker.process.poll() is not None:
                    print(worker.said()[-3000:])
                    assert worker.process.returncode in ENDS
                    self.workers.remove(worker)
                    self.start()
            if time.monotonic() > deadline:
                logs = "\n".join(worker.said()[-1500:] for worker in self.workers)
                raise AssertionError(f"not within {seconds} s: {what}\n{logs}")
            time.sleep(0.1)

    def complete(self) -> bool:
        """Whether the workers say that all that was produced is counted for good."""
        marks = [float(at) for worker in self.workers for at in COMPLETE.findall(worker.page("metrics"))]
        return len(marks) == self.settings.partitions and min(marks) > self.produced_at

    def shown(self) -> Counts:
        """What a scrape of all workers says."""
        return sum((worker.series() for worker in self.workers), Counter())

    def assert_exact(self) -> None:
        """Once the workers say that all is counted, every count is what was produced, and no gap is known."""
        self.until("all that was produced is complete", self.complete, 45)
        self.until(f"status says {self.truth}", lambda: self.counted() == self.truth)
        self.until("a scrape of the workers says the same", lambda: self.shown() == self.truth)
        for worker in self.workers:
            assert GAPS.findall(worker.page("metrics")) == ["0.0"]
        assert {status["coverage"] for status in self.statuses.values()} == {1.0}

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()
        if self._status_reader is not None:
            self._status_reader.close()


def _counts(status: dict[str, Any]) -> Counts:
    return Counter(
        {
            (status["tenant"], portal, named): row[named]
            for portal, row in status["portals"].items()
            for named in CLASSES
            if row[named]
        }
    )


@pytest.fixture
def deployment(kafka: str, unique: str, tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(kafka, unique, tmp_path, partitions=4)
    yield made
    made.close()


def iso(ahead_seconds: float = 0.0, ending: str = "Z") -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + ahead_seconds)) + ending


def test_bad_records_are_kept_with_reason_and_place_and_their_neighbours_count(deployment: Deployment) -> None:
    deployment.make_topics()
    worker = deployment.start()
    good = {"tenant": "ant", "portal": "login", "time": iso(), "outcome": "success"}

    def wrong(**fields: object) -> bytes:
        return json.dumps({**good, **fields}).encode()

    bad: list[tuple[bytes | None, str, str]] = [
        (wrong(latency_ms=float("nan")), "not_json", "$"),
        (wrong(tenant="\ud800"), "not_json", "$"),
        (wrong(user="x").replace(b'"x"', b'"\xed\xa0\x80"'), "not_json", "$"),
        (wrong(time=iso(ending="")), "time_form", "$.time"),
        (wrong(time=iso(600)), "time_ahead", "$.time"),
        (wrong()[:-1] + b', "extra": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "too_deep", "$"),
        (wrong(extra="x" * 70_000), "too_large", "$"),
        (json.dumps({key: value for key, value in good.items() if key != "portal"}).encode(), "wrong_field", "$"),
        (wrong(tenant=7), "wrong_field", "$.tenant"),
        (None, "no_value", "$"),
    ]
    for each, (value, _, _) in enumerate(bad):
        for kind in range(len(KINDS)):
            deployment.request("ant", "login" if kind % 2 else "admin", kind, partition=0)
        deployment.produce(value, partition=0)
        deployment.request("bee", "login", each % len(KINDS), partition=0)
    deployment.all_produced()
    deployment.assert_exact()
    assert (deployment.statuses["ant"]["good"], deployment.statuses["ant"]["bad"]) == (20, 10)
    assert (deployment.statuses["ant"]["excluded"], deployment.statuses["ant"]["unclassified"]) == (10, 10)

    said = {}
    for record in deployment.read("auth-requests.rejected"):
        headers = dict(record.headers())
        at = int(headers["offset"])
        assert record.key() == f"{deployment.source}-0+{at}".encode()
        assert (headers["topic"], headers["partition"]) == (deployment.source.encode(), b"0")
        said[at] = (record.value(), headers["reason"].decode(), headers["place"].decode())
    assert said == {each * 7 + 5: what for each, what in enumerate(bad)}
    assert worker.process.poll() is None


def test_three_kills_while_two_workers_count_leave_every_count_exact(deployment: Deployment) -> None:
    seed = int(os.environ.get("WORKER_SEED", random.SystemRandom().randrange(10**6)))
    print(f"WORKER_SEED={seed}")
    rng = random.Random(seed)
    deployment.make_topics()
    for _ in range(2):
        deployment.start()
    tenants = [f"tenant-{n}" for n in range(12)]

    def some(n: int) -> None:
        for _ in range(n):
            deployment.request(rng.choice(tenants), rng.choice(("login", "admin")), rng.randrange(len(KINDS)))

    some(2_000)
    deployment.until("counting has begun", lambda: bool(deployment.counted()))
    for _ in range(3):
        moment = time.monotonic() + rng.uniform(0.2, 4.0)
        while time.monotonic() < moment:
            some(200 if deployment.truth.total() < 18_000 else 0)
            time.sleep(0.05)
        victim = rng.choice(deployment.workers)
        victim.process.send_signal(signal.SIGKILL)
        victim.process.wait()
        deployment.workers.remove(victim)
        deployment.start()
    some(20_000 - deployment.truth.total())
    deployment.all_produced()
    deployment.assert_exact()
    assert deployment.truth.total() == 20_000


def test_requests_of_a_transaction_count_once_it_is_committed_and_never_when_it_is_aborted(
    deployment: Deployment,
) -> None:
    deployment.make_topics()
    worker = deployment.start()
    inside = Producer({"bootstrap.servers": deployment.settings.kafka_bootstrap, "transactional.id": deployment.source})
    inside.init_transactions(20)
    for kept in (True, False, True, False):
        inside.begin_transaction()
        for n in range(40):
            value = {"tenant": "ant", "portal": "login", "time": iso(), "outcome": "success" if kept else "failure"}
            inside.produce(deployment.source, json.dumps(value).encode(), partition=n % 2)
        if kept:
            inside.commit_transaction(20)
            deployment.truth["ant", "login", "good"] += 40
        else:
            inside.abort_transaction(20)
    deployment.request("bee", "login", 0, partition=3)
    deployment.all_produced()
    deployment.assert_exact()
    assert worker.process.poll() is None


def test_a_worker_that_is_told_to_stop_ends_well_and_leaves_nothing_to_recount(deployment: Deployment) -> None:
    deployment.make_topics()
    first = deployment.start()
    for n in range(500):
        deployment.request(f"tenant-{n % 7}", "login", n % len(KINDS))
    deployment.all_produced()
    deployment.until("counting has begun", lambda: bool(deployment.counted()))
    deployment.workers.remove(first)
    first.process.terminate()
    assert first.ended(15) == 0, first.said()
    # Status says before the next worker starts what this one has counted and committed.
    assert deployment.counted().total() == deployment.committed() > 0
    second = deployment.start()
    deployment.assert_exact()
    assert "monitor_requests_counted_total{" not in second.page("metrics")


def test_a_worker_that_is_stopped_right_behind_the_last_record_has_said_all_of_it(deployment: Deployment) -> None:
    deployment.make_topics()
    # No flush but the last: what is counted stands in no frame yet when the stop comes.
    deployment.environment["MONITOR_FLUSH_SECONDS"] = "600"
    worker = deployment.start()
    for n in range(700):
        deployment.request(f"tenant-{n % 50}", "login", n % len(KINDS))
    deployment.all_produced()
    deployment.until("all is read", lambda: worker.requests() == 700)
    assert deployment.counted().total() == 0
    deployment.workers.remove(worker)
    worker.process.terminate()
    assert worker.ended(25) == 0, worker.said()
    deployment.until("status says what was produced", lambda: deployment.counted() == deployment.truth, 5)


def test_a_second_worker_takes_over_tenants_and_the_first_stops_cleanly(deployment: Deployment) -> None:
    deployment.make_topics()
    first = deployment.start()
    tenants = {f"tenant-{n}" for n in range(24)}
    for tenant in tenants:
        for kind in range(len(KINDS)):
            deployment.request(tenant, "login", kind)
    deployment.all_produced()
    deployment.until("the first worker shows all tenants", lambda: first.series() == deployment.truth)

    second = deployment.start()
    deployment.until("the second worker shows tenants", lambda: second.tenants() not in (set(), tenants))
    deployment.until("each tenant is on one worker", lambda: first.tenants() == tenants - second.tenants())
    deployment.assert_exact()
    assert deployment.workers == [first, second], "a worker gave up when another joined"
    assert first.tenants()
    assert not first.tenants() & second.tenants()

    deployment.workers.remove(first)
    first.process.terminate()
    assert first.ended(15) == 0, first.said()
    deployment.until("the second worker shows all tenants", lambda: second.series() == deployment.truth)
    deployment.assert_exact()


def test_requests_read_again_because_an_operator_set_the_group_back_count_once(deployment: Deployment) -> None:
    deployment.make_topics()
    first = deployment.start()
    for n in range(400):
        deployment.request("acme", "login", n % len(KINDS), partition=n % 4)
    deployment.all_produced()
    deployment.until("all is counted", lambda: first.series() == deployment.truth)
    deployment.workers.remove(first)
    first.process.terminate()
    assert first.ended(15) == 0, first.said()

    settings = deployment.settings
    source = settings.topic("auth-requests")
    back = [TopicPartition(source, partition, 3) for partition in range(4)]
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    group = ConsumerGroupTopicPartitions(settings.topic_prefix + settings.group, back)
    admin.alter_consumer_group_offsets([group])[group.group_id].result(20)

    for n in range(100):
        deployment.request("acme", "login", n % len(KINDS), partition=n % 4)
    deployment.all_produced()
    second = deployment.start()
    deployment.until("all is counted, once", lambda: second.series() == deployment.truth)
    deployment.assert_exact()


def test_a_source_with_more_partitions_than_the_journal_counts_exactly(deployment: Deployment) -> None:
    admin = AdminClient({"bootstrap.servers": deployment.settings.kafka_bootstrap})
    admin.create_topics([NewTopic(deployment.source, 7, 1)])[deployment.source].result(20)
    deployment.make_topics()
    deployment.start()
    for n in range(2_100):
        deployment.request(f"tenant-{n % 13}", ("login", "admin")[n % 2], n % len(KINDS), partition=n % 7)
    deployment.all_produced()
    deployment.assert_exact()


def test_a_recovering_worker_lives_and_is_ready_only_with_its_tables(deployment: Deployment) -> None:
    deployment.make_topics()
    changelog = topics.changelog(deployment.settings)
    # Deletions of records that are long gone: a recovery that takes a while, and changes nothing.
    for n in range(90_000):
        deployment.producer.produce(changelog, None, b"gone-%d\0%d" % (n, 1), n % 4)
        deployment.producer.poll(0)
    deployment.request("acme", "login", 0)
    deployment.all_produced()
    worker = deployment.start()
    deployment.until("the worker lives", lambda: worker.page("live") == "live\n")
    asked = Counter()
    while not worker.page("ready"):
        asked[worker.page("live"), worker.page("metrics").count("monitor_ready 0.0")] += 1
        assert asked.total() < 3_000, worker.said()
        time.sleep(0.02)
    assert {page for page, _ in asked} == {"live\n"}
    assert asked["live\n", 1] > 0, "it was asked before it was ready, and said so to Prometheus"
    deployment.assert_exact()


def test_a_worker_that_was_asleep_calls_nothing_complete_that_it_has_not_read(deployment: Deployment) -> None:
    deployment.make_topics()
    # Else the group would throw it out meanwhile.
    deployment.environment["MONITOR_SESSION_SECONDS"] = "15"
    worker = deployment.start()
    deployment.request("ant", "login", 0, partition=0)
    deployment.all_produced()
    deployment.assert_exact()
    for _ in range(3):
        worker.process.send_signal(signal.SIGSTOP)
        first = time.time()
        for n in range(40):
            deployment.request("bee", "login", n % len(KINDS), partition=n % 3 + 1)
        deployment.all_produced()
        time.sleep(4)
        worker.process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 30
        while worker.series() != deployment.truth:
            assert time.monotonic() < deadline, worker.said()
            page = worker.page("metrics")
            counted = sum(int(n) for _, _, _, n in SERIES.findall(page))
            marks = [float(at) for at in COMPLETE.findall(page)]
            if page and counted < deployment.truth.total():
                assert min(marks) <= first, f"{counted} of {deployment.truth.total()} counted"
    assert worker.process.poll() is None


def test_a_worker_whose_port_is_taken_says_which_and_what_to_set(deployment: Deployment) -> None:
    deployment.make_topics()
    worker = deployment.start()
    deployment.until("the worker lives", lambda: bool(worker.page("live")))
    second = Worker(deployment.environment, deployment.folder, worker.port)
    assert second.ended(20) == 1
    assert f"cannot listen on 127.0.0.1:{worker.port}: " in second.said()
    assert "MONITOR_HTTP_PORT" in second.said()


def test_a_worker_without_topics_says_which_command_makes_them(deployment: Deployment) -> None:
    worker = deployment.start()
    assert worker.ended(15) == 1
    assert "monitor topics apply" in worker.said()
    assert deployment.source in worker.said()


def test_a_worker_without_a_broker_ends_as_unreachable(unique: str, tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    deployment = Deployment(nobody, unique, tmp_path, partitions=4)
    worker = deployment.start()
    try:
        assert worker.ended(20) == 3
        assert nobody in worker.said()
    finally:
        deployment.close()
