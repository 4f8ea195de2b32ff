"""`monitor replay`: recorded requests in their own time through a worker of their own, to try terms and policies on what has been."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from monitor.cli.running import run
from monitor.cli.top import Worst, worst_first
from monitor.counting import request
from monitor.counting.request import Rejected
from monitor.local.processes import LocalError, Running, free_port, start, stop
from monitor.settings import Settings, load
from monitor.sources import FORMATS, adapter

STEP_SECONDS = 0.25
"""How often a piece of what was recorded is sent."""
QUIET_SECONDS = 3.0
"""The worker has counted everything when it has had nothing to do for this long."""
DRAIN_SECONDS = 600.0
WORST = 10
TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""What Kafka takes as the name of a topic."""
HANDED_ON = (
    "kafka_bootstrap", "http_port", "topic_prefix", "data_dir", "clock", "flush_seconds", "checkpoint_seconds",
    "at_risk_probability", "clear_probability", "partitions",
)  # fmt: skip
"""Settings that the worker is started with."""

Recorded = tuple[int, bytes]
"""When it happened (epoch milliseconds), and the record."""


@dataclass(slots=True)
class Played:
    """What came of it. `events` are the records of `breaches`, `statements` the ids of those issued."""

    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)


def replay(
    source: Annotated[str, typer.Argument(help="A file with a record on each line, or a topic of the broker.")],
    speed: Annotated[float, typer.Option(min=0.001, help="Seconds of recorded time in each second.")] = 600.0,
    form: Annotated[str, typer.Option(help=f"What the records are: {', '.join(FORMATS)}.")] = "native",
    contracts: Annotated[
        Path | None, typer.Option(help="Contracts to try, a JSON object on each line (schema: contract).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Play recorded requests in their own time through topics and a worker of their own, and show what would have been announced.

    All records are held in memory. The topics are removed at the end. When a month is announced as at risk is set by
    MONITOR_AT_RISK_PROBABILITY and MONITOR_CLEAR_PROBABILITY, what is promised by --contracts.
    """
    settings = load()
    try:
        adapter(form)
        agreed = _contracts(contracts) if contracts else []
        found = list(_lines(Path(source))) if Path(source).is_file() else None
        if found is None and not TOPIC.fullmatch(source):
            raise ValueError(f"expected a file or the name of a topic, found {source!r}, which is no file")
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    try:
        records, played = run(_replay(settings, source, found, speed, form, agreed, quiet=as_json))
    except LocalError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from None
    except asyncio.CancelledError:
        raise typer.Exit(0) from None
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "requests": len(records),
                    "from": _instant(records[0][0]),
                    "to": _instant(records[-1][0]),
                    "tenants": len(played.statuses),
                    "worst": worst_first(played.statuses.values())[:WORST],
                    "events": played.events,
                    "statements": played.statements,
                }
            )
        )


def _contracts(path: Path) -> list[bytes]:
    """The records of a file of contracts; ValueError names the line that is none."""
    from monitor.contract.agreement import agreement_of

    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            agreement_of(json.loads(line), 0)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        found.append(line)
    return found


async def _replay(
    settings: Settings,
    source: str,
    found: Sequence[tuple[int | None, bytes]] | None,
    speed: float,
    form: str,
    agreed: Sequence[bytes],
    *,
    quiet: bool,
) -> tuple[list[Recorded], Played]:
    from monitor.stream import topics

    out = Console(stderr=quiet)
    # Like Ctrl-C: the worker is stopped and the topics are removed.
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    records = in_time(await _topic(settings, source) if found is None else found, form)
    if not records:
        raise topics.MissingTopics(f"{source}: expected records, found none")
    if not records[-1][0]:
        raise topics.MissingTopics(
            f"{source}: expected {form} records, found none that says when it happened; see --form"
        )
    own = replace(
        settings,
        topic_prefix=f"replay-{os.getpid()}-{int(time.time())}.",
        sources={"auth-requests": form},
        http_port=free_port(),
        clock="records",
        flush_seconds=0.1,
        checkpoint_seconds=2.0,
    )
    begin, end = (_instant(at) for at, _ in (records[0], records[-1]))
    out.print(f"{len(records)} records from {begin} to {end}, {speed:g} times as fast")
    played = Played()
    await topics.apply(own, for_ever=True)
    try:
        with tempfile.TemporaryDirectory(prefix="monitor-replay-") as folder:
            own = replace(own, data_dir=folder)
            worker = await asyncio.to_thread(_worker, own, Path(folder))
            try:
                await _play(own, records, agreed, speed, played, out)
            finally:
                await asyncio.to_thread(stop, worker)
    finally:
        await topics.remove(own)
    if not quiet:
        out.print(Worst(played.statuses.values(), WORST))
    return records, played


def _lines(path: Path) -> Iterator[tuple[int | None, bytes]]:
    with path.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield None, line.rstrip(b"\r\n")


async def _topic(settings: Settings, name: str) -> list[tuple[int | None, bytes]]:
    from monitor.stream.reading import reader
    from monitor.stream.topics import MissingTopics, Unreachable

    try:
        async with reader(replace(settings, topic_prefix=""), name) as source:
            return [(record.timestamp, record.value) for record in await source.news() if record.value is not None]
    except MissingTopics:
        where = settings.kafka_bootstrap
        raise MissingTopics(f"{name}: expected a file, or a topic on {where}, found neither") from None
    except Unreachable as error:
        raise Unreachable(f"{name} is no file; whether it is a topic is not known: {error}") from None


def in_time(found: Sequence[tuple[int | None, bytes]], form: str) -> list[Recorded]:
    """Records in the order in which they happened: by the time given with each, else by that of the request inside.

    One whose time cannot be read stays with the one before it: the worker will refuse it as it would have.
    """
    made = adapter(form)
    own = [given if given is not None else _time_of(value, made) for given, value in found]
    at = next((each for each in own if each is not None), 0)
    dated: list[Recorded] = []
    for each, (_, value) in zip(own, found, strict=True):
        at = at if each is None else each
        dated.append((at, value))
    return sorted(dated, key=itemgetter(0))


def _time_of(value: bytes, made: Any) -> int | None:
    """When a request happened, epoch milliseconds; None when its record does not say so."""
    native = made.requests([value])[0] if made else value
    if not isinstance(native, bytes):
        return None
    try:
        found = request.read(native).time
        return found if isinstance(found, int) else int(datetime.fromisoformat(found).timestamp() * 1000)
    except (Rejected, ValueError):
        return None


def _worker(settings: Settings, folder: Path) -> Running:
    environment = {f"MONITOR_{name.upper()}": str(getattr(settings, name)) for name in HANDED_ON}
    environment["MONITOR_SOURCES"] = ",".join(f"{topic}={form}" for topic, form in settings.sources.items())
    command = [sys.executable, "-c", "from monitor.cli import main; main()", "worker"]
    ready = f"http://127.0.0.1:{settings.http_port}/ready"
    log = folder / "worker.log"
    return start("worker", command, settings.http_port, log, lambda: _get(ready) is not None, 60, environment)


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # our own loopback address only
            return str(answer.read().decode())
    except OSError:
        return None


class _Audience:
    """Reads what the worker says and shows it."""

    def __init__(self, readers: Mapping[str, Any], played: Played, out: Console) -> None:
        self._readers = readers
        self._played = played
        self._out = out

    async def look(self) -> None:
        """Read and show what is new."""
        from monitor.stream.reading import event, statuses

        await statuses(self._readers["status"], self._played.statuses)
        for record in await self._readers["breaches"].news():
            made = event(record)
            self._played.events.append(made)
            self._out.print(f"{made['time']}  {made['type']:<10} {made['tenant']}  {_says(made)}", soft_wrap=True)
        for record in await self._readers["statements"].news():
            self._played.statements.append(record.key.decode())
            self._out.print(f"{'':<24}  statement  {self._played.statements[-1]}", soft_wrap=True)


def _says(made: Mapping[str, Any]) -> str:
    if made["type"] == "notice_due":
        return f"{made['bad']} failed on {made['date']}: to be claimed by {made['claim_by']}"
    return f"{made['threshold']} %: {made['reason']}"


async def _play(
    settings: Settings, records: Sequence[Recorded], agreed: Sequence[bytes], speed: float, played: Played, out: Console
) -> None:
    """Send the records as their time comes, and show what comes of them."""
    from contextlib import AsyncExitStack

    from aiokafka import AIOKafkaProducer

    from monitor.stream.reading import reader

    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, acks="all", compression_type="lz4", linger_ms=20
    )
    await producer.start()
    try:
        async with AsyncExitStack() as stack:
            names = ("status", "breaches", "statements")
            readers = {name: await stack.enter_async_context(reader(settings, name)) for name in names}
            audience = _Audience(readers, played, out)
            first = records[0][0]
            for value in agreed:
                tenant = json.loads(value)["tenant"].encode()
                await producer.send_and_wait(settings.topic("contracts"), value, key=tenant, timestamp_ms=first)
            position, played_ms, then = 0, float(first), time.monotonic()
            while position < len(records):
                passed, then = time.monotonic() - then, time.monotonic()
                # A stretch without records is passed over.
                played_ms = max(played_ms + passed * speed * 1000, records[position][0])
                sent = []
                while position < len(records) and records[position][0] <= played_ms:
                    at, value = records[position]
                    sent.append(await producer.send(settings.topic("auth-requests"), value, timestamp_ms=at))
                    position += 1
                await asyncio.gather(*sent)
                await audience.look()
                await asyncio.sleep(STEP_SECONDS)
            await _drained(settings, audience)
    finally:
        await producer.stop()


async def _drained(settings: Settings, audience: _Audience) -> None:
    """Wait until the worker has had nothing to read for a while."""
    idle_since: float | None = None
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        text = await asyncio.to_thread(_get, f"http://127.0.0.1:{settings.http_port}/metrics")
        if text is None:
            raise LocalError("the worker does not answer any more")
        lags = [
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith(("monitor_source_lag_records{", "monitor_journal_lag_records{"))
        ]
        idle_since = (idle_since or time.monotonic()) if not any(lags) else None
        await audience.look()
        if idle_since and time.monotonic() - idle_since > QUIET_SECONDS:
            return
        await asyncio.sleep(STEP_SECONDS)
    raise LocalError(f"the worker did not count all records within {DRAIN_SECONDS:.0f} s")


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
