"""`monitor top` and `monitor status`: tenants' months as the `status` topic has them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from monitor.cli.running import run
from monitor.settings import Settings, load

Status = Mapping[str, Any]


def worst_first(statuses: Iterable[Status]) -> list[Status]:
    """Least error budget left first; tenants without demand last."""
    return sorted(statuses, key=lambda s: (s["budget_left"] is None, s["budget_left"] or 0, s["tenant"]))


def percent(ratio: float | None, digits: int = 3) -> str:
    """A ratio in percent, truncated; a dash for none."""
    return "-" if ratio is None else f"{int(ratio * 10 ** (digits + 2)) / 10**digits:.{digits}f} %"


def table(statuses: Iterable[Status], most: int) -> Table:
    """The worst tenants, a line each."""
    made = Table(box=None, pad_edge=False)
    for name in (
        "tenant",
        "requests",
        "failed",
        "so far",
        "budget left",
        "ends at (5 to 95 %)",
        "P(<99)",
        "P(<95)",
        "verdicts",
    ):
        made.add_column(name, justify="left" if name in ("tenant", "verdicts") else "right", no_wrap=True)
    for status in worst_first(statuses)[:most]:
        projected, probability = status["projected"] or {}, status["breach_probability"] or {}
        failed = status["bad"] + status["unclassified"]
        standing = ", ".join(
            f"{state} {threshold}" for threshold, state in status["verdicts"].items() if state != "none"
        )
        made.add_row(
            status["tenant"],
            f"{status['good'] + failed}",
            f"{failed}",
            percent(status["availability"]),
            percent(status["budget_left"], 1),
            percent(projected.get("p50")),
            f"{probability['99']:.2f}" if "99" in probability else "-",
            standing,
        )
    return made


def top(
    most: Annotated[int, typer.Option("--most", min=1, help="How many tenants.")] = 20,
    seconds: Annotated[
        float, typer.Option("--for", min=0, help="Seconds to go on; 0: until Ctrl-C on a terminal, once elsewhere.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The status records, worst first, once.")] = False,
) -> None:
    """Tenants with the least error budget left, live."""
    run(_top(load(), most, seconds, as_json=as_json))


async def _top(settings: Settings, most: int, seconds: float, *, as_json: bool) -> None:
    from monitor.stream.reading import reader, statuses

    known: dict[str, dict[str, Any]] = {}
    console = Console()
    async with reader(settings, "status") as source:
        await statuses(source, known)
        if as_json:
            typer.echo(json.dumps(worst_first(known.values())[:most]))
            return
        if not seconds and not sys.stdout.isatty():
            console.print(table(known.values(), most))
            return
        deadline = asyncio.get_running_loop().time() + seconds if seconds else None
        with Live(table(known.values(), most), console=console, auto_refresh=False) as live:
            while deadline is None or asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(1)
                await statuses(source, known)
                live.update(table(known.values(), most), refresh=True)


def status(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    as_json: Annotated[bool, typer.Option("--json", help="The status record.")] = False,
) -> None:
    """One tenant's month so far. Exit code 1 when a threshold is at risk or missed, or the tenant is unknown."""
    found = run(_status(load(), tenant))
    if found is None:
        typer.echo(
            f"no status of {tenant!r}: no request of it has been counted; `monitor top` lists who is known", err=True
        )
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _print(found)
    if any(state != "none" for state in found["verdicts"].values()):
        raise typer.Exit(1)


async def _status(settings: Settings, tenant: str) -> dict[str, Any] | None:
    from monitor.stream.reading import reader, statuses

    async with reader(settings, "status") as source:
        return (await statuses(source, {})).get(tenant)


def _print(found: Status) -> None:
    console = Console()
    console.print(table([found], 1))
    portals = Table(box=None, pad_edge=False)
    for name in ("portal", "good", "bad", "excluded", "unclassified"):
        portals.add_column(name, justify="left" if name == "portal" else "right")
    for name, counts in found["portals"].items():
        portals.add_row(name, *(str(counts[each]) for each in ("good", "bad", "excluded", "unclassified")))
    console.print(portals)
    if found["support"]:
        console.print(f"open P1 support requests: {', '.join(found['support'])}")
    left = {t: m for t, m in (found["minutes_left"] or {}).items() if m is not None}
    projected = found["projected"] or {}
    if projected.get("p50") is not None:
        low, high = percent(projected["p05"]), percent(projected["p95"])
        console.print(f"the month ends between {low} and {high} in 90 of 100 cases")
    for threshold, minutes in left.items():
        console.print(
            f"below {threshold} % is certain in {minutes:.0f} minutes of the present failure"
            if minutes
            else f"below {threshold} % is certain"
        )
    console.print(
        f"period {found['period']}, as of {found['as_of']}, counted to {found['complete_to']}, coverage {percent(found['coverage'], 2)}"
    )
