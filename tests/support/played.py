"""A deployment that plays a month in seconds: its worker takes the time from the records, and commands are run as a user runs them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from monitor.local.processes import free_port
from monitor.settings import Settings
from monitor.stream import topics

ROOT = Path(__file__).parents[2]
RUN = "from monitor.cli import main; main()"


def ms(text: str) -> int:
    """Epoch milliseconds of a time with an offset."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code in (0, 1), self
        return json.loads(self.out)


class Played:
    """Topics under a prefix of their own, one worker at a time on them, and the command line."""

    def __init__(self, kafka: str, prefix: str, folder: Path, partitions: int = 2) -> None:
        self.settings = Settings(kafka_bootstrap=kafka, topic_prefix=prefix, partitions=partitions)
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")},
            "PYTHONPATH": str(ROOT),
            "MONITOR_KAFKA_BOOTSTRAP": kafka,
            "MONITOR_TOPIC_PREFIX": prefix,
            "MONITOR_PARTITIONS": str(partitions),
            "MONITOR_CLOCK": "records",
            "MONITOR_FLUSH_SECONDS": "0.2",
            "MONITOR_CHECKPOINT_SECONDS": "1",
            "MONITOR_HTTP_PORT": str(free_port()),
            "MONITOR_DATA_DIR": str(folder / "data"),
        }
        self.producer = Producer({"bootstrap.servers": kafka})
        self.newest = 0
        """The newest instant of a request, epoch milliseconds."""
        self.worker: subprocess.Popen[bytes] | None = None
        self.log = folder / "worker.log"
        asyncio.run(topics.apply(self.settings))
        # What is played is older than a broker keeps requests.
        kept = ConfigResource(ConfigResource.Type.TOPIC, self.settings.topic("auth-requests"))
        kept.add_incremental_config(ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET))
        admin = AdminClient({"bootstrap.servers": kafka})
        admin.incremental_alter_configs([kept])[kept].result(20)

    def start(self) -> None:
        """Start the worker."""
        with self.log.open("ab") as out:
            self.worker = subprocess.Popen(
                [sys.executable, "-c", RUN, "worker"],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def kill(self) -> None:
        """End the worker at once."""
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()

    def produce(self, name: str, key: str, value: bytes, at: str, partition: int = -1) -> None:
        """Produce a value of the instant `at` into one of our topics, and wait until it is there."""
        self.producer.produce(self.settings.topic(name), value, key, partition, timestamp=ms(at))
        assert self.producer.flush(20) == 0

    def contract(self, at: str, **fields: Any) -> None:
        """A contract as the system of sales hands it over."""
        self.produce("contracts", fields["tenant"], json.dumps(fields).encode(), at)

    def requests(self, tenant: str, at: str | int, good: int, bad: int = 0, **fields: Any) -> None:
        """Requests of one instant; the instant is the time for the worker."""
        at_ms = at if isinstance(at, int) else ms(at)
        self.newest = max(self.newest, at_ms)
        common = {"tenant": tenant, "portal": "login", "time": at}
        for n in range(good + bad):
            what = {"outcome": "success"} if n < good else {"outcome": "failure", "fault": "server"} | fields
            self.producer.produce(
                self.settings.topic("auth-requests"), json.dumps(common | what).encode(), timestamp=at_ms
            )
            self.producer.poll(0)
        assert self.producer.flush(20) == 0

    def run(self, *words: str) -> Said:
        """Run a command to its end; the time goes on to its `--at`."""
        if "--at" in words:
            self.newest = max(self.newest, ms(words[words.index("--at") + 1]))
        done = subprocess.run(
            [sys.executable, "-c", RUN, *words],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def until(self, what: str, reached: Callable[[], bool], seconds: float = 90.0) -> None:
        """Wait until it is so, while a minute after the other passes: what a decision does, it does once the time has moved on."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert self.worker is None or self.worker.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.log.read_text()[-2000:]}"
            self.requests("tick", self.newest + 60_000, 1)
            time.sleep(0.3)

    def close(self) -> None:
        """End what runs."""
        self.kill()
