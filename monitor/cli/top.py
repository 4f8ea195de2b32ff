"""`monitor top` and `monitor status`: tenants' months as the `status` topic has them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.measure import Measurement
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


class Worst:
    """The worst tenants, a line each, in as many columns as there is room for; no tenant's name is cut."""

    def __init__(self, statuses: Iterable[Status], most: int) -> None:
        self._rows = [_row(status) for status in worst_first(statuses)[:most]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As many columns as fit; a name that is wider than the terminal alone is folded."""
        shown = list(COLUMNS)
        for leaving in (*LEAVING, None):
            made = self._of(shown)
            room = options.max_width - Measurement.get(console, options.update(width=10_000), made).maximum
            if room >= 0 or leaving is None:
                break
            shown.remove(leaving)
        if room < 0:
            made.columns[0].no_wrap = False
        yield made

    def _of(self, names: Sequence[str]) -> Table:
        made = Table(box=None, pad_edge=False)
        for name in names:
            left = name in ("tenant", "verdicts")
            made.add_column(name, justify="left" if left else "right", no_wrap=True, overflow="fold")
        for row in self._rows:
            made.add_row(*(row[name] for name in names))
        return made


COLUMNS = (
    "tenant",
    "requests",
    "failed",
    "so far",
    "budget left",
    "ends at",
    "in 90 of 100 cases",
    "P(miss)",
    "verdicts",
)
LEAVING = ("in 90 of 100 cases", "requests", "failed", "so far", "P(miss)", "ends at", "verdicts")
"""The order in which columns make room. P(miss) is the chance of missing the highest threshold that was promised."""


def _row(status: Status) -> dict[str, str]:
    """A tenant's cells by column."""
    projected, chances = status["projected"] or {}, status["breach_probability"] or {}
    failed = status["bad"] + status["unclassified"]
    known = projected.get("p50") is not None
    verdicts = [f"{state.replace('_', ' ')} {at}" for at, state in status["verdicts"].items() if state != "none"]
    return {
        "tenant": status["tenant"],
        "requests": f"{status['good'] + failed}",
        "failed": f"{failed}",
        "so far": percent(status["availability"]),
        "budget left": percent(status["budget_left"], 1),
        "ends at": percent(projected.get("p50")),
        "in 90 of 100 cases": f"{percent(projected['p05'])} to {percent(projected['p95'])}" if known else "-",
        "P(miss)": f"{chances[max(chances, key=float)]:.2f}" if chances else "-",
        "verdicts": "\n".join(verdicts),
    }


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
            console.print(Worst(known.values(), most))
            return
        deadline = asyncio.get_running_loop().time() + seconds if seconds else None
        with Live(Worst(known.values(), most), console=console, auto_refresh=False) as live:
            while deadline is None or asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(1)
                await statuses(source, known)
                live.update(Worst(known.values(), most), refresh=True)


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
    console.print(Worst([found], 1))
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
