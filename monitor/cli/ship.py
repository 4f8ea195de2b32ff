"""`monitor ship`: the lines of a log file into a Kafka topic, one record each, at least once."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError

from monitor.cli.running import run
from monitor.settings import load
from monitor.sources.tail import Position, Tail, load_position, save_position
from monitor.stream.sending import Sender, sender

POLL_SECONDS = 0.5
"""How often a file without new lines is looked at."""


def ship(
    file: Annotated[
        Path, typer.Argument(help="The log: one record a line. It may be rotated by rename or by copytruncate.")
    ],
    *,
    topic: Annotated[str, typer.Option(help="Where the records go; it must exist.")],
    bootstrap: Annotated[str | None, typer.Option(help="The broker; by default the one in the settings.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Keeps the position; by default .FILE.position beside the log.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--once", help="Wait for more lines, or stop at the last.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Carry a log file into Kafka, at least once; the next run goes on where this one stopped.

    The position is saved once the broker has the records. Exit code 1: there is no such topic, or a part
    of the log was gone before it was read.
    """
    settings = load()
    bootstrap = bootstrap or settings.kafka_bootstrap
    place = state or file.with_name(f".{file.name}.position")
    if not file.parent.is_dir():
        raise typer.BadParameter(f"expected a file in a directory that exists, got {file}")
    try:
        position = load_position(place)
        if position is None and not follow and not file.is_file():
            raise typer.BadParameter(f"expected a file, found none at {file}")
        tail = Tail(file, position)
        sent = run(_ship(tail, place, bootstrap, settings.topic(topic), follow=follow))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    except KafkaError as error:
        typer.echo(f"monitor ship: the broker at {bootstrap} did not take the records: {error!r}", err=True)
        raise typer.Exit(3) from None
    except OSError as error:
        raise typer.BadParameter(f"{error.strerror}: {error.filename or file}") from None
    if as_json:
        typer.echo(json.dumps({"records": sent, "topic": settings.topic(topic), "lost": tail.lost}))
    else:
        typer.echo(f"{sent} records to {settings.topic(topic)}")
    if tail.lost:
        raise typer.Exit(1)


async def _ship(tail: Tail, place: Path, bootstrap: str, topic: str, *, follow: bool) -> int:
    """Send until told to stop, or to the end; how many records are durable. Raises Unreachable, MissingTopics, KafkaError, OSError."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        async with sender(bootstrap, topic) as out:
            await carry(tail, place, out, stopped, follow=follow)
            return out.sent
    finally:
        tail.close()


async def carry(tail: Tail, place: Path, out: Sender, stopped: asyncio.Event, *, follow: bool) -> None:
    """Send batch after batch, each durable before its position is saved. Raises KafkaError and OSError."""
    saved: Position | None = None
    told = 0
    while not stopped.is_set():
        batch = tail.read(patient=follow)
        for sentence in tail.lost[told:]:
            typer.echo(f"monitor ship: {sentence}", err=True)
        told = len(tail.lost)
        if batch is not None:
            await out.send(batch.lines)
            await out.done()
        # Without a batch all is durable that was read: the place may have moved to the next file.
        position = tail.position if batch is None else batch.position
        if position is not None and position != saved:
            save_position(place, position)
            saved = position
        if batch is None:
            if not follow:
                return
            await _either(stopped, POLL_SECONDS)


async def _either(stopped: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopped.wait(), seconds)
    except TimeoutError:
        return
