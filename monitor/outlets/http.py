"""The worker's own port: /metrics for Prometheus, /live and /ready for whoever runs it. What they say comes from the vitals."""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from monitor.engine.vitals import Vitals
from monitor.outlets.collector import Exposition


def application(vitals: Vitals) -> web.Application:
    """The three pages. /ready is 503 until partitions are assigned and their tables recovered."""
    exposition = Exposition(vitals)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_: web.Request) -> web.Response:
        if vitals.ready:
            return web.Response(text="ready\n")
        return web.Response(text="not ready: waiting for partitions and their tables\n", status=503)

    made = web.Application()
    made.add_routes([web.get("/metrics", metrics), web.get("/live", live), web.get("/ready", ready)])
    return made


async def serve(host: str, port: int, vitals: Vitals) -> None:
    """Serve until cancelled; OSError when the port is taken."""
    runner = web.AppRunner(application(vitals), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
