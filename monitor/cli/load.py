"""`monitor load`: synthetic requests into a topic, first days of history, then live traffic with incidents."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import Progress

from monitor.cli.running import run
from monitor.contract.period import month_at
from monitor.counting.request import CLASSES
from monitor.local import traffic
from monitor.local.traffic import DAY_MS, MINUTE_MS, Fleet, Incident, Requests
from monitor.settings import load as load_settings
from monitor.stream.sending import Sender, sender

TICK_S = 0.1
"""How often live traffic is sent, in seconds."""


async def backfill(out: Sender, blocks: Iterable[list[bytes]], told: Callable[[int], None] = lambda _: None) -> None:
    """Send blocks of values as fast as they are taken; `told` hears the size of each. Raises KafkaError."""
    for block in blocks:
        await out.send(block)
        told(len(block))
    await out.done()


async def live(
    out: Sender,
    fleet: Fleet,
    incidents: tuple[Incident, ...],
    seed: int,
    start_ms: int,
    seconds: float,
    told: Callable[[Requests], None] = lambda _: None,
) -> None:
    """Send the fleet's requests as their time comes, until `seconds` from now.

    From `start_ms` on: what is past goes at once. `told` hears each piece once it is sent. Raises KafkaError.
    """
    end_ms = time.time_ns() // 1_000_000 + int(seconds * 1000)
    while start_ms < end_ms:
        upto_ms = min(time.time_ns() // 1_000_000, end_ms)
        made = traffic.requests(fleet, start_ms, upto_ms, incidents, seed)
        for block in traffic.records(fleet, made, seed):
            await out.spread(block)
        start_ms = upto_ms
        told(made)
        await asyncio.sleep(TICK_S)


def load(
    bootstrap: Annotated[str | None, typer.Option(help="The broker; by default that of the settings.")] = None,
    topic: Annotated[
        str | None, typer.Option(help="Where the requests go; by default auth-requests. It must exist.")
    ] = None,
    tenants: Annotated[int, typer.Option(min=1, max=100_000, help="How many tenants.")] = 30,
    requests: Annotated[int, typer.Option(min=0, help="Requests of history, about; 0 for none.")] = 400_000,
    days: Annotated[
        float | None, typer.Option(min=0, help="Days of history; by default the month so far (UTC).")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0, help="Live requests a second; by default as many as the history has at this hour."),
    ] = None,
    seconds: Annotated[float, typer.Option("--for", min=0, help="Seconds of live traffic.")] = 0,
    incident: Annotated[
        list[str] | None,
        typer.Option(
            help="tenant=tenant-03,portal=authentication,share=0.6,start=+30s,for=10m; start: also RFC 3339, or -3d."
        ),
    ] = None,
    near: Annotated[
        list[str] | None, typer.Option(help="Where a tenant's month shall stand: tenant-03=0.9905.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, times and options make the same requests.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Fill a topic with synthetic auth requests: history first, then live traffic, with incidents."""
    settings = load_settings()
    bootstrap, topic = bootstrap or settings.kafka_bootstrap, topic or settings.topic("auth-requests")
    now_ms = time.time_ns() // 1_000_000
    start_ms = month_at(now_ms // MINUTE_MS).start * MINUTE_MS if days is None else now_ms - int(days * DAY_MS)
    try:
        fleet = _fleet(tenants, requests, start_ms, now_ms, rate, seed)
        incidents = tuple(Incident.parse(text, now_ms) for text in incident or [])
        for each in incidents:
            fleet.check(each)
        history = traffic.requests(fleet, start_ms if requests else now_ms, now_ms, incidents, seed)
        for text in near or []:
            tenant, _, availability = text.partition("=")
            history = traffic.stand_at(fleet, history, tenant, float(availability), month_at(now_ms // MINUTE_MS))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    current = float(fleet.per_second(now_ms).sum())
    lively = fleet if rate is None or not current else fleet.scaled(rate / current)

    quiet = as_json or not sys.stderr.isatty()
    try:
        summary = run(_run(bootstrap, topic, fleet, lively, history, incidents, seed, now_ms, seconds, quiet))
    except KafkaError as error:
        typer.echo(f"monitor load: the broker at {bootstrap} did not take the requests: {error!r}", err=True)
        raise typer.Exit(3) from None
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        took = summary["seconds"]
        typer.echo(f"{summary['history']} requests of history in {took['history']} s")
        typer.echo(f"{summary['live']} live requests in {took['live']} s")
        typer.echo("  ".join(f"{name} {n}" for name, n in summary["classes"].items()))


def _fleet(tenants: int, requests: int, start_ms: int, now_ms: int, rate: float | None, seed: int) -> Fleet:
    """The tenants; their density is that of the history, or, when there is none, that of the live traffic."""
    weights = traffic.zipf(tenants)
    if requests:
        if start_ms >= now_ms:
            raise ValueError("--days: expected more than 0 when there are --requests of history")
        return Fleet.draw(seed, weights, requests / traffic.weeks(start_ms, now_ms))
    if not rate:
        raise ValueError("expected --requests of history, a --rate, or both, found neither")
    return Fleet.draw(seed, weights, rate * traffic.WEEK_MS / 1000)


async def _run(
    bootstrap: str,
    topic: str,
    fleet: Fleet,
    lively: Fleet,
    history: Requests,
    incidents: tuple[Incident, ...],
    seed: int,
    now_ms: int,
    seconds: float,
    quiet: bool,
) -> dict[str, Any]:
    classes = Counter(history.classes())
    begin = time.monotonic()
    async with sender(bootstrap, topic) as out:
        with Progress(console=Console(stderr=True), disable=quiet) as progress:
            task = progress.add_task("history", total=len(history))
            await backfill(out, traffic.records(fleet, history, seed), lambda n: progress.advance(task, n))
            between = time.monotonic()
            if seconds:
                playing = progress.add_task("live", total=None)

                def told(made: Requests) -> None:
                    classes.update(made.classes())
                    progress.advance(playing, len(made))

                await live(out, lively, incidents, seed, now_ms, seconds, told)
                await out.done()
        sent = out.sent
    return {
        "tenants": len(fleet.names),
        "requests": sent,
        "history": len(history),
        "live": sent - len(history),
        "classes": {name: classes[name] for name in CLASSES},
        "incidents": len(incidents),
        "seconds": {"history": round(between - begin, 1), "live": round(time.monotonic() - between, 1)},
    }
