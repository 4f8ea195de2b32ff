"""One worker, then Kafka Streams, drain the same backlog on a broker of this machine: records per CPU second.

    python tests/benchmarks/drain.py [--bootstrap HOST:PORT] [--records 3000000] [--rounds 1] [--users]

The author's bias: we wrote one side, and the other (`peers/`, Maven and Java 17 needed) as fast as we know how. What
each does:
- The worker is the product: it decodes and checks each record, classifies it by tenant, portal, minute and class,
  sends bad ones to the topic of the rejected, writes frames, commits, assesses, forecasts, announces and writes its
  checkpoint.
- Kafka Streams reads four fields and counts requests and failures by tenant and minute, in one thread with a store in
  memory, its changelog and commits every second; bad records are dropped. "processor" keeps a count for each source
  partition; "dsl" groups by tenant, for which every request goes through the broker once more.
The backlog is two minutes of 25,000 requests a second, in the order of time. CPU is that of the whole process, from
ready (assigned and recovered; for Java: RUNNING) until all is committed, the checkpoint (the changelog) is durable and
the process is about to end. Time before ready stands apart. The broker's CPU is in neither.

A machine that others use changes its speed within minutes: `--rounds 5` does all of it five times, and prints medians.
Ratios are taken within a round.

With `--users` the worker drains the same backlog once more with users counted by keyed hashes (`MONITOR_USERS_SECRET`), and the last column
says what that costs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import harness
from harness import MONITOR, Offsets, Place, await_ready, machine, program, table

PEERS = Path(__file__).parent / "peers"
JVM = ["-XX:+UseSerialGC", "-Xms2g", "-Xmx2g"]
"""The collector that took the least CPU of those tried; memory enough that it seldom runs."""


def drain(at: Place, command: list[str], records: int, limit_s: float) -> dict[str, float]:
    """Let a worker drain the topic: wall and CPU seconds from ready to the end, CPU seconds before, MB at the end."""
    source = Offsets(at.bootstrap, at.prefix + "monitor", at.source)
    with (
        tempfile.TemporaryDirectory() as directory,
        program(command, at.environment | {"MONITOR_DATA_DIR": directory}) as worker,
    ):
        await_ready(worker, at.port)
        ready_cpu, ready = worker.cpu(), time.monotonic()
        while source.committed() < source.end:
            worker.check()
            if time.monotonic() > ready + limit_s:
                sys.exit(f"after {limit_s:.0f} s only {source.committed()} of {source.end} records were committed")
            time.sleep(0.2)
        wall, memory = time.monotonic() - ready, worker.memory_mb()
        committed_cpu = worker.cpu()
        # A clean stop seals the last chunks and writes the checkpoint.
        total = worker.stop()
    source.close()
    return {"records": records, "wall": wall, "cpu": total - ready_cpu, "before": ready_cpu, "memory": memory,
            "committed_cpu": committed_cpu - ready_cpu}  # fmt: skip


def counted(at: Place, command: str, good: int) -> int:
    """What the newest status of each tenant adds up to after a restart; waits up to a minute for `good`."""
    deadline = time.monotonic() + 60
    with (
        tempfile.TemporaryDirectory() as directory,
        program(shlex.split(command), at.environment | {"MONITOR_DATA_DIR": directory}) as worker,
    ):
        while True:
            worker.check()
            found = sum(
                int(str(status[field]))
                for status in harness.newest(at.bootstrap, at.prefix + "status").values()
                for field in ("good", "bad", "excluded", "unclassified")
            )
            if found == good or time.monotonic() > deadline:
                return found
            time.sleep(1)


def peer(at: Place, topology: str, good: int, limit_s: float) -> dict[str, float]:
    """Let Kafka Streams drain the topic; the same figures."""
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else "java"
    classpath = f"{PEERS}/target/peers-1.jar:{PEERS}/target/lib/*"
    with tempfile.TemporaryDirectory() as directory:
        arguments = [at.bootstrap, at.source, str(good), topology, directory]
        command = [str(java), *JVM, "-cp", classpath, "peer.Drain", *arguments]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=limit_s).stdout
    said = json.loads(out.splitlines()[-1])
    return {"records": said["requests"], "wall": said["wall_s"], "cpu": said["cpu_s"], "before": said["cpu_start_s"],
            "memory": said["memory_mb"]}  # fmt: skip


def _speed(run: dict[str, float]) -> float:
    """Records per CPU second."""
    return run["records"] / run["cpu"]


def _round(options: argparse.Namespace, at: Place) -> dict[str, dict[str, float]]:
    """Make a backlog and let each drain it: the figures by name."""
    begun = time.monotonic()
    made = harness.backlog(at, options.records, options.tenants, options.minutes, options.seed)
    records = made["good"] + made["bad"]
    size = made["bytes"] / records
    print(
        f"{records} records ({made['bad']} bad, {made['failures']} failures, {size:.0f} bytes each, lz4, 8 partitions)"
    )
    print(f"sent to {at.source} in {time.monotonic() - begun:.0f} s")
    runs: dict[str, dict[str, float]] = {}
    if not options.no_worker:
        runs["monitor worker"] = drain(at, shlex.split(options.worker), records, options.limit)
    if options.users:
        with harness.place(at.bootstrap) as other:
            harness.backlog(other, options.records, options.tenants, options.minutes, options.seed)
            secret = {"MONITOR_USERS_SECRET": "of this benchmark"}
            counting = replace(other, environment=other.environment | secret)
            runs["the same, users counted"] = drain(counting, shlex.split(options.worker), records, options.limit)
    for topology in options.peers:
        runs[f"Kafka Streams, {topology}"] = peer(at, topology, made["good"], options.limit)
    if not options.no_worker:
        rejected = Offsets(at.bootstrap, "bench-reader", at.prefix + "auth-requests.rejected")
        print(f"rejected: {rejected.end} of {made['bad']}")
        rejected.close()
        found = counted(at, options.worker, made["good"])
        print(f"counted, by the newest status of each tenant after a restart: {found} of {made['good']}")
    return runs


def main() -> None:
    """Make the backlog, drain it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", help="a broker on this machine (that of `monitor local up`)")
    parser.add_argument("--records", type=int, default=3_000_000)
    parser.add_argument("--tenants", type=int, default=2_000)
    parser.add_argument("--minutes", type=int, default=2, help="the last minutes they come from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="how often all of it is done, with a new backlog each")
    parser.add_argument("--limit", type=float, default=300, help="seconds that one of them may take")
    parser.add_argument("--peers", nargs="*", choices=["processor", "dsl"], default=["processor", "dsl"])
    parser.add_argument("--worker", default=f"{MONITOR} worker", help="the command that starts a worker")
    parser.add_argument("--no-worker", action="store_true", help="only the peers")
    parser.add_argument("--users", action="store_true", help="a second drain by the worker, with users counted")
    options = parser.parse_args()

    if options.peers and not shutil.which("mvn"):
        sys.exit("the peer is built by Maven: apt-get install maven openjdk-17-jdk-headless, or give --peers nothing")
    if options.peers:
        subprocess.run(["mvn", "-B", "-q", "-Dstyle.color=never", "package"], cwd=PEERS, check=True)
    bootstrap = harness.broker(options.bootstrap)
    rounds = []
    for _ in range(options.rounds):
        with harness.place(bootstrap) as at:
            rounds.append(_round(options, at))
    rows = [["", "wall s", "CPU s", "before ready", "memory MB", "records/s", "records/CPU s", "monitor is"]]
    for name in rounds[0]:
        runs = [each[name] for each in rounds]

        def middle(of: Callable[[dict[str, float]], float], runs: list[dict[str, float]] = runs) -> float:
            return median(map(of, runs))

        ratio = ""
        if "monitor worker" in rounds[0] and name != "monitor worker":
            ratios = [_speed(each["monitor worker"]) / _speed(each[name]) for each in rounds]
            ratio = f"{median(ratios):.2f} x" + (
                f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(rounds) > 1 else ""
            )
        rows.append(
            [
                name,
                f"{middle(lambda run: run['wall']):.1f}",
                f"{middle(lambda run: run['cpu']):.1f}",
                f"{middle(lambda run: run['before']):.1f}",
                f"{middle(lambda run: run['memory']):.0f}",
                f"{middle(lambda run: run['records'] / run['wall']):,.0f}",
                f"{middle(_speed):,.0f}",
                ratio,
            ]
        )
    table(rows)
    if "monitor worker" in rounds[0]:
        committed = median(run["records"] / run["committed_cpu"] for each in rounds for run in [each["monitor worker"]])
        print(f"the worker until its last commit: {committed:,.0f} records/CPU s")
    print(machine())


if __name__ == "__main__":
    main()
