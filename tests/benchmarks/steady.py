"""One worker under steady traffic: its CPU, its memory, and how long after a request its tenant's `status` has it.

    python tests/benchmarks/steady.py [--bootstrap HOST:PORT] [--rate 30000] [--seconds 60]

Traffic comes from a second process (`monitor load`), in small batches ten times a second to each of 8 partitions. A
probe is one request of a tenant of its own, in a batch of its own; its latency is from just before it is sent to when
a `status` record that counts it has been read back. Broker, traffic and worker share the machine, so latency includes
their quarrels over its cores.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime

import harness
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from harness import MONITOR, Place, await_ready, machine, program, table


class Probes:
    """Sends a probe every `every_s` seconds, each of a new tenant, and reads `status` until all have come back."""

    def __init__(self, at: Place, every_s: float) -> None:
        self.sent: dict[str, float] = {}
        self.latency_s: list[float] = []
        self._at = at
        self._every_s = every_s
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._read)]
        topic = at.prefix + "status"
        self._reader = Consumer(
            {
                "bootstrap.servers": at.bootstrap,
                "group.id": "bench-reader",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 5,
            }
        )
        known = self._reader.list_topics(topic, timeout=10).topics[topic].partitions
        ends = {n: self._reader.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1] for n in known}
        self._reader.assign([TopicPartition(topic, n, end) for n, end in ends.items()])

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self, wait_s: float = 15) -> None:
        """Send no more, and wait at most that long for those that are out."""
        deadline = time.monotonic() + wait_s
        self._over.set()
        self._threads[0].join()
        while self.sent and time.monotonic() < deadline:
            time.sleep(0.1)
        self._every_s = 0
        self._threads[1].join()
        self._reader.close()

    def _send(self) -> None:
        producer = Producer({"bootstrap.servers": self._at.bootstrap, "linger.ms": 0, "compression.type": "lz4"})
        number = 0
        while not self._over.wait(self._every_s):
            tenant = f"probe-{number}"
            number += 1
            value = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "tenant": tenant,
                "portal": "authentication",
                "outcome": "success",
            }
            self.sent[tenant] = time.monotonic()
            producer.produce(self._at.source, json.dumps(value).encode(), partition=number % 8)
            producer.flush(5)

    def _read(self) -> None:
        while self._every_s:
            for message in self._reader.consume(10_000, 0.02):
                if message.error() is None and message.key() and message.key().startswith(b"probe-"):
                    begun = self.sent.pop(message.key().decode(), None)
                    if begun is not None and json.loads(message.value())["good"] == 1:
                        self.latency_s.append(time.monotonic() - begun)


def _traffic(options: argparse.Namespace, at: Place) -> list[str]:
    """The command that sends requests for as long as it is measured."""
    where = ["--bootstrap", at.bootstrap, "--topic", at.source, "--requests", "0", "--json"]
    how_many = ["--tenants", str(options.tenants), "--rate", str(options.rate), "--for", str(options.seconds + 20)]
    return [*shlex.split(options.load), *where, *how_many]


def main() -> None:
    """Run the worker and the traffic, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", help="a broker on this machine (that of `monitor local up`)")
    parser.add_argument("--rate", type=int, default=30_000, help="requests a second")
    parser.add_argument("--seconds", type=int, default=60, help="how long it is measured, after a settling time of 10")
    parser.add_argument("--tenants", type=int, default=2_000)
    parser.add_argument("--every", type=float, default=0.25, help="seconds between probes")
    parser.add_argument("--worker", default=f"{MONITOR} worker", help="the command that starts a worker")
    parser.add_argument("--load", default=f"{MONITOR} load", help="the command that makes the traffic")
    options = parser.parse_args()

    with (
        harness.place(harness.broker(options.bootstrap)) as at,
        tempfile.TemporaryDirectory() as directory,
        program(shlex.split(options.worker), at.environment | {"MONITOR_DATA_DIR": directory}) as worker,
    ):
        await_ready(worker, at.port)
        with program(_traffic(options, at), at.environment) as load:
            probes = Probes(at, options.every)
            time.sleep(10)
            source = harness.Offsets(at.bootstrap, at.prefix + "monitor", at.source)
            before, begun, first = worker.cpu(), time.monotonic(), source.end
            probes.start()
            memory = []
            while time.monotonic() < begun + options.seconds:
                worker.check()
                load.check()
                memory.append(worker.memory_mb())
                time.sleep(0.5)
            cpu, wall = worker.cpu() - before, time.monotonic() - begun
            came = harness.Offsets(at.bootstrap, at.prefix + "monitor", at.source)
            rate, behind = (came.end - first) / wall, came.end - came.committed()
            probes.finish()
        worker.stop()
    if not probes.latency_s:
        sys.exit(f"none of {len(probes.sent)} probes came back in a status")
    p50, p99 = np.percentile(probes.latency_s, [50, 99])
    table(
        [
            ["steady traffic", "measured"],
            ["requests/s", f"{rate:,.0f}"],
            ["CPU of a core", f"{100 * cpu / wall:.1f} %"],
            ["request to status, p50", f"{p50:.2f} s"],
            ["request to status, p99", f"{p99:.2f} s"],
            ["probes back / lost", f"{len(probes.latency_s)} / {len(probes.sent)}"],
            ["memory, highest", f"{max(memory):.0f} MB"],
            ["not yet committed at the end", f"{behind:,}"],
        ]
    )
    print(machine())


if __name__ == "__main__":
    main()
