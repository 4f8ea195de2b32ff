"""`monitor worker`: one worker of the group, until it is told to stop."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import sys
from pathlib import Path

import typer

from monitor.cli.running import run
from monitor.settings import Settings, load

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
KEPT_BYTES = 256 << 20


def worker() -> None:
    """Count requests, judge months, announce; serve /metrics, /live and /ready. Settings: MONITOR_* or monitor.toml."""
    from monitor.stream.topics import partitions

    settings = load()
    work(settings, run(partitions(settings)))


def work(settings: Settings, partitions: dict[str, int]) -> None:
    """Build the Faust app, bind sources and outlets to it, and run its worker."""
    import faust

    from monitor import sources
    from monitor.outlets.http import Pages
    from monitor.outlets.records import CloudEvents
    from monitor.stream import app as stream
    from monitor.stream.topics import DECISIONS

    adapters = {topic: sources.adapter(form) for topic, form in settings.source_topics.items()}
    codes = {topic: {**sources.codes(form), **settings.codes} for topic, form in settings.source_topics.items()}
    decisions = {settings.topic(name): kind for name, kind in DECISIONS.items()}
    Path(settings.data_dir).mkdir(parents=True, exist_ok=True)
    app = stream.build(settings, partitions, CloudEvents(), adapters, codes, decisions, sources.read_decision)

    warm()
    pages = Pages(app.vitals)
    try:
        pages.listen(settings.http_host, settings.http_port)
    except OSError as error:
        typer.echo(
            f"cannot listen on {settings.http_host}:{settings.http_port}: {error.strerror}; set MONITOR_HTTP_PORT",
            err=True,
        )
        raise typer.Exit(1) from None
    app.early.append(pages.turn)

    # Else a record is made of each debug line, and thrown away.
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    # What is loaded by now stays: no need to look for cycles in it. Counting makes none, but many objects: look seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 50, 100)
    _keep_memory()
    # Faust reads the command line when it runs.
    sys.argv = ["monitor", "worker", "--loglevel", "warning", "--without-web"]
    run_by = faust.Worker(app, loglevel="warning", quiet=True)
    # It would write a terminal's escapes into logs.
    run_by.spinner = None
    run_by.execute_from_commandline()


def warm() -> None:
    """Have the compiled code at hand: the first time on a machine that takes seconds, in which nothing should wait for it."""
    from monitor import forecast
    from monitor.counting import chunk, day
    from monitor.counting.records import PADDING
    from monitor.stream.batches import unpack

    chunk.warm()
    day.warm()
    forecast.warm()
    unpack(bytearray(PADDING), [])


def _keep_memory() -> None:
    """Let glibc keep what batches were read into, where it is the C library: getting pages anew costs a tenth of a worker's time."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
