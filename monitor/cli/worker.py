"""`monitor worker`: one worker of the group, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import sys
from pathlib import Path

import typer

from monitor.settings import Settings, load

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""As malloc.h has them."""
KEPT_BYTES = 128 << 20
"""Freed memory at the heap's end that is kept."""


def worker() -> None:
    """Count requests, judge months, announce; serve /metrics, /live and /ready. Settings: MONITOR_* or monitor.toml."""
    from monitor.stream.topics import MissingTopics, Unreachable, partitions

    settings = load()
    try:
        found = asyncio.run(partitions(settings))
    except Unreachable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from None
    except MissingTopics as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    run(settings, found)


def run(settings: Settings, partitions: dict[str, int]) -> None:
    """Build the Faust app, bind sources and outlets to it, and run its worker."""
    import faust

    from monitor import sources
    from monitor.outlets.http import serve
    from monitor.outlets.records import CloudEvents
    from monitor.stream import app as stream
    from monitor.stream.topics import DECISIONS

    adapters = {topic: sources.adapter(form) for topic, form in settings.source_topics.items()}
    codes = {topic: {**sources.codes(form), **settings.codes} for topic, form in settings.source_topics.items()}
    decisions = {settings.topic(name): kind for name, kind in DECISIONS.items()}
    Path(settings.data_dir).mkdir(parents=True, exist_ok=True)
    app = stream.build(settings, partitions, CloudEvents(), adapters, codes, decisions, sources.read_decision)

    async def http() -> None:
        await serve(settings.http_host, settings.http_port, app.vitals)

    # From the start: whoever asks whether the worker lives must not take a long recovery for its death.
    app.early.append(http)

    # Else a record is made of each debug line, and thrown away.
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    # What is loaded by now stays: no need to look for cycles in it. Counting makes none, but many objects: look seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 50, 100)
    _keep_freed_memory()
    # Faust reads the command line when it runs.
    sys.argv = ["monitor", "worker", "--loglevel", "warning", "--without-web"]
    faust.Worker(app, loglevel="warning", quiet=True).execute_from_commandline()


def _keep_freed_memory() -> None:
    """Let the C library keep what a batch frees for the next one: the kernel would clear each page again. Other C libraries: no effect."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES // 8)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
