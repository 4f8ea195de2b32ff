"""`monitor demo`: the whole thing on this machine. A month's history, live traffic, a failure, the page, the breach record.

No threshold is faked: rules, routes and verdicts are those of deploy/ and of the engine. Only the past is made so that the verdict is near.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from monitor.cli.load import backfill, live
from monitor.cli.running import run
from monitor.cli.top import Worst, worst_first
from monitor.contract.period import DAY, Period
from monitor.forecast import Fleet, History, MonthSoFar, forecast
from monitor.local import traffic
from monitor.local.processes import LocalError, Running, answers, free_port, start, stop
from monitor.local.stack import Stack
from monitor.settings import Settings, load
from monitor.stream.reading import Reader, event, reader, statuses
from monitor.stream.sending import sender

FAILING_SECONDS = 200
"""How long the two tenants fail in a long run: until the burn of their last hour pages too."""
RESOLVED_SECONDS = 720
"""From this length on a run is long. Five minutes after the failure its burn is over, the alert goes on for two, and within one more
Alertmanager says that it is resolved."""
WORST = 8
STOPS = (signal.SIGTERM, signal.SIGHUP)
"""What ends it besides Ctrl-C, also while it starts: a timeout, or a terminal that is closed."""


@dataclass
class Shown:
    """What the demo has to show so far."""

    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    breaches: list[dict[str, Any]] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    requests: int = 0


def demo(
    seconds: Annotated[float, typer.Option("--for", min=0, help="Seconds of live traffic; 0: until Ctrl-C.")] = 0,
    directory: Annotated[Path, typer.Option("--dir", help="Where data and logs are.")] = Path(".local/demo"),
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Back-fill a month for 30 tenants, let two of them fail live, and show what the monitor makes of it."""
    try:
        shown = run(_demo(seconds, directory, quiet=as_json or not sys.stdout.isatty()))
    except LocalError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from None
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "tenants": len(shown.statuses),
                    "requests": shown.requests,
                    "worst": worst_first(shown.statuses.values())[:WORST],
                    "alerts": shown.alerts,
                    "breaches": shown.breaches,
                    "pages": shown.pages,
                    "resolved": sum(page.startswith("resolved") for page in shown.pages),
                    "seconds": shown.seconds,
                }
            )
        )


def expected_month(counts: Mapping[int, int], period: Period, now: int) -> float:
    """What the monitor itself will take a tenant's whole month to be, from its requests by UTC epoch minute."""
    history = History()
    for day in sorted({minute // DAY for minute in counts}):
        demand = np.zeros(DAY, dtype=np.int64)
        for minute in range(day * DAY, (day + 1) * DAY):
            demand[minute - day * DAY] = counts.get(minute, 0)
        history.replace_day(day, demand, np.zeros(DAY, dtype=np.int64))
    history.close(now)
    so_far = sum(n for minute, n in counts.items() if minute in period)
    month = MonthSoFar("expected", period.start, period.end, now, so_far, 0)
    return forecast([month], [history], Fleet.of([history]))[0].expected_requests


async def _demo(seconds: float, directory: Path, *, quiet: bool) -> Shown:
    out = Console(stderr=quiet)
    stack, shown, worker = Stack(directory), Shown(), None
    loop, myself = asyncio.get_running_loop(), asyncio.current_task()
    if myself is not None:
        for number in STOPS:
            loop.add_signal_handler(number, myself.cancel)
    webhook = await _webhook(shown, out if quiet else None)
    clock = _Clock(shown)
    try:
        with clock("local"):
            for each in stack.up(webhook=f"http://127.0.0.1:{webhook}/", tell=out.print):
                out.print(f"  {each.name:<13} {each.state:<8} {each.address or each.said}")
        settings = replace(
            load(),
            kafka_bootstrap=stack.address("kafka"),
            http_port=free_port(),
            topic_prefix=f"demo-{int(time.time())}.",
            data_dir=str(stack.directory / "worker"),
            checkpoint_seconds=5.0,
        )
        await _topics(settings)
        with clock("history"):
            made = traffic.demo_history(time.time_ns() // 1_000_000, expected=expected_month)
            now_ms = time.time_ns() // 1_000_000
            await _send_history(settings, made)
        shown.requests = len(made.history)
        out.print(f"  {len(made.history)} requests of {len(made.fleet.names)} tenants in {shown.seconds['history']} s")
        with clock("worker"):
            worker = _worker(settings, stack)
            stack.targets([f"127.0.0.1:{settings.http_port}"])
            await _caught_up(settings, shown, len(made.history))
        out.print(f"  counted {len(made.history)} requests {shown.seconds['worker']} s after the worker was started")
        failing_s = FAILING_SECONDS if not seconds or seconds >= RESOLVED_SECONDS else seconds
        out.print(f"  for {failing_s:.0f} s from now on all requests of {made.near} and {made.hit} fail")
        with clock("live"):
            await _play(settings, stack, made, now_ms, seconds, failing_s, shown, out, quiet=quiet)
    except asyncio.CancelledError:
        out.print("stopping")
    finally:
        with clock("down"):
            if worker is not None:
                stop(worker)
            stack.down()
    return shown


class _Clock:
    """Notes how long each phase takes."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    @contextlib.contextmanager
    def __call__(self, phase: str) -> Any:
        begin = time.monotonic()
        try:
            yield
        finally:
            self._shown.seconds[phase] = round(time.monotonic() - begin, 1)


async def _topics(settings: Settings) -> None:
    from monitor.stream import topics

    await topics.apply(settings)


async def _send_history(settings: Settings, made: traffic.Demo) -> None:
    if made.zone != "UTC":
        async with sender(settings.kafka_bootstrap, settings.topic("contracts")) as contracts:
            await contracts.send([json.dumps({"tenant": made.near, "zone": made.zone}).encode()])
    async with sender(settings.kafka_bootstrap, settings.topic("auth-requests")) as out:
        await backfill(out, traffic.records(made.fleet, made.history, 1))


def _worker(settings: Settings, stack: Stack) -> Running:
    names = ("kafka_bootstrap", "http_port", "topic_prefix", "data_dir", "checkpoint_seconds")
    environment = {f"MONITOR_{name.upper()}": str(getattr(settings, name)) for name in names}
    command = [sys.executable, "-c", "from monitor.cli import main; main()", "worker"]
    log = stack.directory / "logs" / "worker.log"
    return start("worker", command, settings.http_port, log, lambda: answers(settings.http_port), 60, environment)


async def _caught_up(settings: Settings, shown: Shown, requests: int) -> None:
    """Wait until every request of the history stands in `status` or in a month before this one."""
    deadline = time.monotonic() + 120
    url = f"http://127.0.0.1:{settings.http_port}/metrics"
    while time.monotonic() < deadline:
        text = await asyncio.to_thread(_get, url)
        counted = sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith("monitor_requests_counted_total{")
        )
        if counted >= requests:
            break
        await asyncio.sleep(0.2)
    else:
        raise LocalError(f"the worker counted fewer than {requests} requests in two minutes; see its log")
    async with reader(settings, "status") as source:
        while not shown.statuses and time.monotonic() < deadline:
            await statuses(source, shown.statuses)
            await asyncio.sleep(0.2)


def _get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # our own loopback addresses only
            return str(answer.read().decode())
    except OSError:
        return ""


async def _play(
    settings: Settings,
    stack: Stack,
    made: traffic.Demo,
    since_ms: int,
    seconds: float,
    failing_s: float,
    shown: Shown,
    out: Console,
    *,
    quiet: bool,
) -> None:
    """Send live traffic and show what comes of it, until the time is over or somebody says stop."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, *STOPS):
        loop.add_signal_handler(number, stopped.set)
    now_ms = time.time_ns() // 1_000_000
    begin_ms = now_ms + 5_000
    incidents = tuple(
        replace(each, start_ms=begin_ms, end_ms=begin_ms + int(failing_s * 1000)) for each in made.incidents
    )

    def told(piece: traffic.Requests) -> None:
        shown.requests += len(piece)

    async def send() -> None:
        async with sender(settings.kafka_bootstrap, settings.topic("auth-requests")) as to:
            await live(to, made.fleet, incidents, 1, since_ms, seconds or 86_400, told)

    sending = asyncio.create_task(send())
    try:
        async with reader(settings, "status") as status, reader(settings, "breaches") as breaches:
            screen = contextlib.nullcontext() if quiet else Live(console=out, auto_refresh=False)
            with screen as view:
                while not stopped.is_set() and not sending.done():
                    await _look(stack, status, breaches, shown, out if quiet else None)
                    if view is not None:
                        view.update(_page(settings, stack, shown), refresh=True)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stopped.wait(), 1.0)
        if sending.done():
            await sending
        if quiet:
            out.print(_page(settings, stack, shown))
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


async def _look(stack: Stack, status: Reader, breaches: Reader, shown: Shown, tell: Console | None) -> None:
    await statuses(status, shown.statuses)
    for record in await breaches.news():
        made = event(record)
        shown.breaches.append(made)
        if tell:
            tell.print(f"breaches: {made['type']} {made['id']}: {_says(made)}")
    with contextlib.suppress(LocalError):
        text = await asyncio.to_thread(_get, f"http://{stack.address('alertmanager')}/api/v2/alerts")
        before = {alert["fingerprint"] for alert in shown.alerts}
        shown.alerts = json.loads(text) if text else shown.alerts
        for alert in shown.alerts if tell else ():
            if alert["fingerprint"] not in before and tell:
                tell.print(f"alert: {_name(alert)}: {alert['annotations'].get('summary', '')}")


def _says(made: Mapping[str, Any]) -> str:
    """What a record of `breaches` says, in a sentence."""
    return str(made["reason"]) if "reason" in made else f"claim for {made['date']} by {made['claim_by']}"


def _name(alert: Mapping[str, Any]) -> str:
    labels = alert["labels"]
    return " ".join(str(labels[key]) for key in ("alertname", "tenant", "threshold") if key in labels)


def _page(settings: Settings, stack: Stack, shown: Shown) -> Group:
    alerts = Table("alert (as Alertmanager has it)", "says", box=None, pad_edge=False)
    for alert in shown.alerts[:10]:
        alerts.add_row(_name(alert), alert["annotations"].get("summary", ""))
    breaches = Table("breach record (as read from Kafka)", "decided on", box=None, pad_edge=False)
    for made in shown.breaches[-6:]:
        breaches.add_row(made["id"], _says(made))
    where = Table("where to look", "", box=None, pad_edge=False)
    where.add_row("metrics", f"http://127.0.0.1:{settings.http_port}/metrics")
    for name in ("prometheus", "alertmanager"):
        with contextlib.suppress(LocalError):
            where.add_row(name, f"http://{stack.address(name)}/")
    kafka = f"MONITOR_KAFKA_BOOTSTRAP={settings.kafka_bootstrap} MONITOR_TOPIC_PREFIX={settings.topic_prefix}"
    where.add_row("command", f"{kafka} .venv/bin/monitor top")
    pages = Table("page (as the webhook got it)", "", box=None, pad_edge=False)
    for page in shown.pages[-6:]:
        pages.add_row(*reversed(page.split(" ", 1)))
    return Group(Worst(shown.statuses.values(), WORST), "", alerts, "", breaches, "", pages, "", where)


async def _webhook(shown: Shown, tell: Console | None) -> int:
    """A receiver of pages on a free port, as a team would have one; returns the port."""
    from aiohttp import web

    async def take(request: web.Request) -> web.Response:
        told = await request.json()
        # A message has all alerts of its group, those that were told before too.
        standing = {name: state for state, name in (page.split(" ", 1) for page in shown.pages)}
        for alert in told["alerts"]:
            if standing.get(_name(alert)) != alert["status"]:
                shown.pages.append(f"{alert['status']} {_name(alert)}")
                if tell:
                    tell.print(f"webhook: {shown.pages[-1]}")
        return web.Response()

    made = web.Application()
    made.add_routes([web.post("/{tail:.*}", take)])
    runner = web.AppRunner(made, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return port
