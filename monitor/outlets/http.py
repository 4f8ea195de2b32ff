"""The worker's own port: /metrics for Prometheus, /live and /ready for whoever runs it. What they say comes from the vitals.

A thread of its own serves it, so that a worker answers from the start and while it is busy: taking up thousands of tenants holds its event
loop for many seconds, and whoever asks must not take that for its death. Metrics are read in the worker's loop, where nothing changes meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
import time

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from monitor.engine.vitals import Vitals
from monitor.outlets.collector import Exposition

TURN_SECONDS = 1.0
"""How often the worker's event loop notes that it turns."""
STUCK_SECONDS = 300.0
"""A loop that has not turned for this long is dead; Kafka waits as long for a consumer that does not ask for more (`max.poll.interval.ms`)."""
ANSWER_SECONDS = 10.0
"""How long a scrape waits for the worker's loop."""


class Pages:
    """The three pages. /live fails once the worker's event loop is stuck; /ready until partitions are assigned and their tables recovered."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self._exposition = Exposition(vitals)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turned = time.monotonic()

    def listen(self, host: str, port: int) -> None:
        """Serve from now on, until the process ends; OSError when the port cannot be had."""
        serving = asyncio.new_event_loop()
        threading.Thread(target=serving.run_forever, name="http", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._listen(host, port), serving).result()

    async def turn(self) -> None:
        """Note that the loop in which this runs, the worker's, turns; until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._turned = time.monotonic()
            await asyncio.sleep(TURN_SECONDS)

    async def _listen(self, host: str, port: int) -> None:
        made = web.Application()
        pages = (("/metrics", self._metrics), ("/live", self._live), ("/ready", self._ready))
        made.add_routes([web.get(path, page) for path, page in pages])
        runner = web.AppRunner(made, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()

    async def _metrics(self, _: web.Request) -> web.Response:
        if self._loop is None:
            return web.Response(text="not started yet\n", status=503)
        rendered = asyncio.run_coroutine_threadsafe(self._render(), self._loop)
        try:
            body = await asyncio.wait_for(asyncio.wrap_future(rendered), ANSWER_SECONDS)
        except TimeoutError:
            return web.Response(text=f"the worker was busy for {ANSWER_SECONDS:.0f} s\n", status=503)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _render(self) -> bytes:
        return self._exposition.render()

    async def _live(self, _: web.Request) -> web.Response:
        still = time.monotonic() - self._turned
        if still < STUCK_SECONDS:
            return web.Response(text="live\n")
        return web.Response(text=f"stuck: the event loop has not turned for {still:.0f} s\n", status=503)

    async def _ready(self, _: web.Request) -> web.Response:
        if self._vitals.ready:
            return web.Response(text="ready\n")
        return web.Response(text="not ready: waiting for partitions and their tables\n", status=503)
