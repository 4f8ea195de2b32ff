"""What the benchmarks share: a backlog in topics of their own, programs started and measured, and tables printed.

Nothing is left behind: each run has topics of its own, which are deleted, and programs are ended by their process id.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from monitor.cli.load import backfill
from monitor.local import traffic
from monitor.local.processes import LocalError
from monitor.local.stack import Stack
from monitor.settings import load
from monitor.stream import topics
from monitor.stream.sending import sender

ROOT = Path(__file__).parents[2]
MONITOR = f"{shlex.quote(sys.executable)} -c 'from monitor.cli import main; main()'"
"""The command line of this environment."""
PORTALS = {"authentication": 0.70, "administration": 0.05, "self-service": 0.10, "radius-proxy": 0.15}
BAD = [
    b"{not json",
    b'{"time":"2026-11-02T10:00:00Z","portal":"authentication","outcome":"success"}',
    b'{"time":"2026-11-02T10:00:00","tenant":"tenant-0001","portal":"authentication","outcome":"success"}',
    b'{"time":"2099-01-01T00:00:00Z","tenant":"tenant-0001","portal":"authentication","outcome":"success"}',
    b'{"time":"2026-11-02T10:00:00Z","tenant":"tenant-0001","portal":"authentication","outcome":"maybe"}',
    b'{"time":"2026-11-02T10:00:00Z","tenant":"Tenant 1","portal":"authentication","outcome":"success"}',
]
"""Records to be rejected: no JSON, no tenant, no offset, ahead of its time, unknown outcome, no name."""


@dataclass(frozen=True)
class Place:
    """A run's own topics: the broker, the prefix, and the environment that tells a worker of them."""

    bootstrap: str
    prefix: str
    port: int
    environment: dict[str, str]

    @property
    def source(self) -> str:
        """The topic of the requests."""
        return self.prefix + "auth-requests"


def broker(given: str | None) -> str:
    """The broker to use: the one given, `MONITOR_KAFKA_BOOTSTRAP`'s, or the one that `monitor local up` started in this directory."""
    try:
        return given or os.environ.get("MONITOR_KAFKA_BOOTSTRAP") or Stack(Path(".local")).address("kafka")
    except LocalError as error:
        sys.exit(f"no broker: {error}; or give --bootstrap")


@contextmanager
def place(bootstrap: str) -> Iterator[Place]:
    """Make a run's topics with 8 partitions each, as `monitor topics apply` does, and delete them in the end. Only a broker on this machine."""
    for address in bootstrap.split(","):
        if address.rpartition(":")[0] not in {"127.0.0.1", "localhost", "[::1]"}:
            sys.exit(f"expected a broker on the loopback interface, found {address}: a benchmark is no load for others")
    prefix = f"bench-{secrets.token_hex(3)}."
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")} | {
        "MONITOR_KAFKA_BOOTSTRAP": bootstrap,
        "MONITOR_TOPIC_PREFIX": prefix,
        "MONITOR_HTTP_PORT": str(port),
        "MONITOR_PARTITIONS": "8",
        "PYTHONPATH": str(ROOT),
    }
    try:
        asyncio.run(topics.apply(load(environment)))
        yield Place(bootstrap, prefix, port, environment)
    finally:
        admin = AdminClient({"bootstrap.servers": bootstrap})
        mine = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
        for done in admin.delete_topics(mine).values() if mine else ():
            done.result()


def drawn(records: int, tenants: int, minutes: int, seed: int) -> tuple[traffic.Fleet, traffic.Requests]:
    """About that many requests of the last minutes, and whose they are."""
    now_ms = time.time_ns() // 1_000_000
    start_ms = now_ms - minutes * traffic.MINUTE_MS
    weekly = records / traffic.weeks(start_ms, now_ms)
    fleet = traffic.Fleet.draw(seed, traffic.zipf(tenants, 1.1), weekly, PORTALS)
    fleet = replace(fleet, background=np.full(tenants, 0.02))
    return fleet, traffic.requests(fleet, start_ms, now_ms, (), seed)


def backlog(at: Place, records: int, tenants: int, minutes: int, seed: int) -> dict[str, int]:
    """Send about that many records of the last minutes, one in 10,000 bad; counts of good, bad, failures and bytes."""
    fleet, made = drawn(records, tenants, minutes, seed)
    said = {"good": len(made), "bad": 0, "failures": made.classes()["server"], "bytes": 0}

    def blocks() -> Iterator[list[bytes]]:
        rng = np.random.default_rng(seed)
        for block in traffic.records(fleet, made, seed):
            for position in sorted(rng.integers(0, len(block), rng.poisson(len(block) / 10_000)), reverse=True):
                block.insert(int(position), BAD[said["bad"] % len(BAD)])
                said["bad"] += 1
            said["bytes"] += sum(map(len, block))
            yield block

    async def send() -> None:
        async with sender(at.bootstrap, at.source) as out:
            await backfill(out, blocks())

    asyncio.run(send())
    return said


class Program:
    """A started program: `begun` is when. CPU is user and system time of the whole process, in seconds."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.begun = time.monotonic()
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self._watched = psutil.Process(self._process.pid)

    def cpu(self) -> float:
        """CPU seconds so far."""
        times = self._watched.cpu_times()
        return float(times.user + times.system)

    def memory_mb(self) -> float:
        """Resident memory now, in MB."""
        return float(self._watched.memory_info().rss / 1e6)

    def check(self) -> None:
        """Exit with a sentence when the program has ended by itself."""
        if self._process.poll() is not None:
            sys.exit(f"{self._process.args[0]} ended with exit code {self._process.returncode}")

    def stop(self) -> float:
        """Ask it to end, wait until it has, and return all its CPU seconds. Killed after 60 s."""
        self._process.send_signal(signal.SIGTERM)
        last = self.cpu()
        deadline = time.monotonic() + 60
        while True:
            # The exit status is left in place until the CPU time of the ended process has been read.
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            last = max(last, self.cpu())
            if ended is not None:
                self._process.communicate()
                return last
            if time.monotonic() > deadline:
                self._process.kill()
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@contextmanager
def program(command: list[str], environment: dict[str, str]) -> Iterator[Program]:
    """A program that does not outlive the block."""
    one = Program(command, environment)
    try:
        yield one
    finally:
        one.kill()


def await_ready(worker: Program, port: int, timeout_s: float = 60) -> None:
    """Wait until /ready answers 200."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        worker.check()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    sys.exit(f"the worker was not ready after {timeout_s:.0f} s")


class Offsets:
    """The ends of a topic, and what a group has committed."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
        known = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._partitions = [TopicPartition(topic, number) for number in known]
        self.end = sum(self._consumer.get_watermark_offsets(p, timeout=10)[1] for p in self._partitions)

    def committed(self) -> int:
        """The sum of the committed offsets."""
        return sum(max(0, p.offset) for p in self._consumer.committed(self._partitions, timeout=10))

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def newest(bootstrap: str, topic: str) -> dict[bytes, dict[str, object]]:
    """The last JSON record of each key in a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-reader", "enable.auto.commit": False})
    try:
        known = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=10) for n in known}
        todo = {n for n, (low, high) in ends.items() if high > low}
        consumer.assign([TopicPartition(topic, n, 0) for n in todo])
        found: dict[bytes, dict[str, object]] = {}
        while todo:
            for message in consumer.consume(10_000, 5.0):
                if message.error() is None and message.value() is not None:
                    found[message.key()] = json.loads(message.value())
                if message.offset() >= ends[message.partition()][1] - 1:
                    todo.discard(message.partition())
        return found
    finally:
        consumer.close()


def machine() -> str:
    """Where the figures come from, in a line."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else name
    load = os.getloadavg()[0]
    return (
        f"{psutil.cpu_count()} cores ({name}), Python {platform.python_version()}, load average {load:.1f} at the end"
    )


def table(rows: list[list[str]]) -> None:
    """Print rows under the first one, columns aligned, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(
                cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
        )
