"""`monitor backtest`: replay histories month by month and say how good the forecasts and the pages would have been.

Histories are generated (`--synthetic`) or failures from CSV files with the columns `tenant,start,end,failing_share`
and, if known, `requests_per_day`; times are RFC 3339 with an offset, the share is over 0 and at most 1. Requests by
minute are simulated on top of either. A tenant's months run from that of its first failure to the file's last; the
first month of all teaches only, when there are more. Forecasts of a month are corrected by how those of the months before it
came true, from one sample a tenant and day, as the engine does it (`monitor.forecast.calibration`).

`--json` prints one object. Scores are at the 99 % threshold where no threshold is named; "random" is at random times
(one in each quarter of a month), "incident" at random ages of each true failure while it lasts and the counts show it:
evenly in its first day, then ever more seldom (`monitor.forecast.backtest.INCIDENT_LOOKS`), and "failing" at random
among all minutes in which something fails and the counts show it, so that long failures tell the most. A Brier score
tells nothing without its base rate, and no two are comparable whose base rates differ: its skill is
1 - Brier / (p (1 - p)), p being the share of the looks whose month is missed.

- `tenant_months`, `tenants`, `base_rate` {threshold: share of months missed}, `looks` {random, incident, failing},
  `looks_missed` {threshold: {random, incident, failing}}: share of the looks whose month is missed, `seed`
- `brier`, `brier_skill`, `log_loss` {threshold: {random, incident, failing}}; `brier_interval` {random, incident,
  failing}: 90 %, by drawing tenants again; `brier_by_quarter`: of the month; `brier_first_month`: of a tenant
- `before_certain` {looks, looks_missed, brier, brier_skill, calibration_error}: the looks during incidents at which the
  miss was not yet certain; a week of failure is full of certain ones
- `calibration_error` {random, incident, failing}: expected, over ten bins; `reliability` {random, incident, failing}:
  the bins {p, missed, looks}; `calibration_by_chance` {random, incident, failing: {mean, one_in_twenty}}: what a forecast that is
  right would show on as few months, so an error near the mean is none that these histories can tell
- `coverage` {random, incident, failing}: how often the 90 % interval held the month's end, and `coverage_interval`: 90 %, by
  drawing tenants again; `coverage_first_month`, `coverage_under_300_requests_a_day`
- `policies` {name: {precision, recall, median_lead_hours, caught_with_an_hour, pages_per_missed_tenant_month,
  pages_per_tenant_month}}: the first page of each month. Precision: share of pages whose month is missed. Recall: share
  of missed months that were paged before the miss was certain. Lead: hours from the page to the request that makes it
  certain.
- `crossing` {median_hours, within_an_hour}: how fast months are lost, from the start of the failure in which the miss becomes
  certain until it is; a sure page cannot have much more lead than that
- `m_star_within_25_percent`, `m_star_median_ratio`, `m_star_looks`: the point of no return, predicted over actual
- `baselines` {name: {brier, brier_skill, log_loss, calibration_error}}
- `told_the_end` {brier, brier_skill, log_loss, calibration_error}: the forecast when it is told in which minute the
  present failure ends, which no forecast knows: how hard these histories are
- `populations` {name: {tenant_months, base_rate, looks_missed, brier, brier_skill, calibration_error, coverage,
  policies, m_star_within_25_percent}}: each history on its own
- `seconds_per_tenant`: CPU seconds for one forecast

Exit status 2 for a file that cannot be used.
"""

from __future__ import annotations

import csv
import json as jsons
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime
from math import ceil
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from time import process_time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from monitor.contract.period import Period, minute_of, month, month_after, month_at
from monitor.forecast.backtest import Population, Spent, Tenancy, Trail, replay
from monitor.forecast.baselines import TOLD
from monitor.forecast.generate import WORLDS, Crowd, Outage, World, outages
from monitor.forecast.judge import judge

COLUMNS = ("tenant", "start", "end", "failing_share")
OPTIONAL = "requests_per_day"
FAULTS_SHOWN = 10
OF_EACH = (
    "tenant_months",
    "base_rate",
    "looks_missed",
    "brier",
    "brier_skill",
    "calibration_error",
    "coverage",
    "policies",
    "m_star_within_25_percent",
)
"""The figures told of each history on its own."""
CHANCE = ("mean", "one_in_twenty")
"""What is told of the calibration error by chance."""
REPORT_WIDTH = 132
"""Columns of the tables where no terminal tells."""
FAR_LEAD_HOURS = 12.0
"""In the plot of pages, names stand to the left of points beyond this."""
CSV_WORLD = World("csv", retry=0.0, give_up=0.0, recovers=0.0)
"""How requests come where only failures are known: nothing that the file does not say happens in a failure."""


class BadCsv(ValueError):
    """Files of failures that cannot be used; the message has a line for each fault."""


def backtest(
    files: Annotated[
        list[Path] | None, typer.Argument(help="CSV files: tenant,start,end,failing_share[,requests_per_day]")
    ] = None,
    *,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Replay generated histories.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    plots: Annotated[Path | None, typer.Option(help="Write reliability, paging and quarters as PNG here.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of everything that is drawn.")] = 1,
    tenant_months: Annotated[int, typer.Option(min=1, help="How many generated months to judge, at least.")] = 3200,
) -> None:
    """Replay histories month by month, walking forward, and judge the forecasts and the pages against simpler ways."""
    errors = Console(stderr=True)
    if synthetic == bool(files):
        found = "both" if files else "neither"
        errors.print(f"Expected either --synthetic or CSV files, found {found}.", style="red")
        raise typer.Exit(2)
    try:
        populations = populations_of(tenant_months, seed) if synthetic else [from_csv(files or [], seed)]
    except BadCsv as fault:
        errors.print(str(fault), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    trails: list[Trail] = []
    spent = Spent()
    with errors.status("replaying") as status:
        for replayed, mine in _each(populations):
            trails += replayed
            spent.seconds += mine.seconds
            spent.forecasts += mine.forecasts
            status.update(f"{len(trails)} months replayed")
    result = report(trails, spent, seed)
    if json:
        print(jsons.dumps(result))
    else:
        plain = Console()
        show(plain if plain.is_terminal else Console(width=REPORT_WIDTH), result)
    if plots is not None:
        draw(result, plots)


def _each(populations: Sequence[Population]) -> Iterator[tuple[list[Trail], Spent]]:
    """The trails of each population; they know nothing of each other, so each of several has a process."""
    if len(populations) == 1:
        yield _replayed(populations[0])
        return
    with ProcessPoolExecutor(min(len(populations), cpu_count() or 1), get_context("spawn")) as pool:
        yield from pool.map(_replayed, populations)


def _replayed(population: Population) -> tuple[list[Trail], Spent]:
    spent = Spent()
    return list(replay(population, process_time, spent)), spent


def populations_of(tenant_months: int, seed: int) -> list[Population]:
    """The generated worlds, each with as many tenants as it takes to judge `tenant_months` in all."""
    made = []
    for number, world in enumerate(WORLDS):
        tenants = ceil(tenant_months / len(WORLDS) / (world.months - 1))
        sized = replace(world, tenants=tenants)
        periods = [month(2025, 1)]
        while len(periods) < world.months:
            periods.append(month_after(periods[-1]))
        own = seed * 1000 + number
        failures = outages(sized, periods, own)
        names = [f"{world.name} {i}" for i in range(tenants)]
        tenancies = [Tenancy(name, Crowd.of(sized, own, i), failures[i]) for i, name in enumerate(names)]
        made.append(Population(world.name, periods, tenancies, own))
    return made


def from_csv(files: Iterable[Path], seed: int) -> Population:
    """One population of all tenants in the files; BadCsv when one cannot be used."""
    failures: dict[str, list[Outage]] = {}
    requests: dict[str, float] = {}
    faults: list[str] = []
    for file in files:
        try:
            _read(file, failures, requests, faults)
        except FileNotFoundError:
            faults.append(f"{file}: expected a CSV file, found nothing of that name")
        except OSError as fault:
            faults.append(f"{file}: expected a CSV file, found none that can be read: {fault.strerror}")
        except (UnicodeDecodeError, csv.Error):
            faults.append(f"{file}: expected a CSV file in UTF-8, found bytes that are none")
    if faults:
        more = [f"and {len(faults) - FAULTS_SHOWN} more"] if len(faults) > FAULTS_SHOWN else []
        raise BadCsv("\n".join(faults[:FAULTS_SHOWN] + more))
    if not failures:
        raise BadCsv("expected at least one failure in the files, found none")
    periods = [month_at(min(o.start for mine in failures.values() for o in mine))]
    last = max(o.end for mine in failures.values() for o in mine) - 1
    while periods[-1].end <= last:
        periods.append(month_after(periods[-1]))
    tenancies = []
    for number, name in enumerate(sorted(failures)):
        mine = sorted(failures[name])
        crowd = Crowd.of(CSV_WORLD, seed, number, requests.get(name))
        tenancies.append(Tenancy(name, crowd, mine, _place(periods, mine[0].start)))
    return Population("csv", periods, tenancies, seed, scored=min(1, len(periods) - 1))


def _place(periods: Sequence[Period], minute: int) -> int:
    return next(i for i, period in enumerate(periods) if minute in period)


def _read(file: Path, failures: dict[str, list[Outage]], requests: dict[str, float], faults: list[str]) -> None:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.reader(stream)
        header = [name.strip() for name in next(rows, [])]
        absent = [name for name in COLUMNS if name not in header]
        if absent:
            found = ",".join(header) or "nothing"
            faults.append(f"{file}: line 1: expected the columns {','.join(COLUMNS)}, found {found}")
            return
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{file}: line {rows.line_num}"
            if len(row) != len(header):
                faults.append(f"{where}: expected {len(header)} fields, found {len(row)}")
                continue
            cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
            try:
                tenant, outage, daily = _failure(cells)
            except ValueError as fault:
                faults.append(f"{where}: {fault}")
                continue
            failures.setdefault(tenant, []).append(outage)
            if daily is not None:
                requests[tenant] = daily


def _failure(cells: Mapping[str, str]) -> tuple[str, Outage, float | None]:
    """A row's tenant, failure and requests a day; ValueError says what was expected and found."""
    if not cells["tenant"]:
        raise ValueError("tenant: expected a name, found nothing")
    start, end = _moment("start", cells["start"]), _moment("end", cells["end"])
    if end <= start:
        raise ValueError(f"end: expected a time after the start {cells['start']}, found {cells['end']}")
    share = _number("failing_share", cells["failing_share"])
    if not 0 < share <= 1:
        raise ValueError(f"failing_share: expected over 0 and at most 1, found {cells['failing_share']}")
    daily = None
    if cells.get(OPTIONAL):
        daily = _number(OPTIONAL, cells[OPTIONAL])
        if not 0 < daily <= 1e9:
            raise ValueError(f"{OPTIONAL}: expected over 0 and at most 1e9, found {cells[OPTIONAL]}")
    first = minute_of(start)
    upto = minute_of(end) + (1 if end.second or end.microsecond else 0)
    return cells["tenant"], Outage(first, max(upto, first + 1), share), daily


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{name}: expected a time like 2026-11-23T09:30:00Z, found {text or 'nothing'}")
    return moment


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: expected a number, found {text or 'nothing'}") from None


def report(trails: Sequence[Trail], spent: Spent, seed: int) -> dict[str, Any]:
    """The object that `--json` prints."""
    result = judge(trails)
    each = {}
    for name in dict.fromkeys(trail.population for trail in trails):
        own = judge([trail for trail in trails if trail.population == name])
        each[name] = {key: own[key] for key in OF_EACH}
    result["populations"] = each
    result["seconds_per_tenant"] = spent.seconds / max(spent.forecasts, 1)
    result["seed"] = seed
    return result


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print the figures as tables."""
    base = ", ".join(f"{_text(rate)} under {name} %" for name, rate in result["base_rate"].items())
    console.print(f"{result['tenant_months']} months of {result['tenants']} tenants; missed: {base}")
    missed = ", ".join(f"{_pair(shares)} under {name} %" for name, shares in result["looks_missed"].items())
    console.print(f"Looks at random times / during incidents whose month is missed: {missed}")
    columns = ("", "Brier 99 %", "95 %", "90 %", "skill 99 %", "log loss 99 %", "calibration")
    table = Table(*columns, title="At random times / during incidents")
    compared = {"forecast": result, **result["baselines"], TOLD: result["told_the_end"]}
    for name, one in compared.items():
        scores = [_pair(one["brier"][threshold]) for threshold in result["base_rate"]]
        others = (one["brier_skill"]["99"], one["log_loss"]["99"], one["calibration_error"])
        table.add_row(name, *scores, *(_pair(other) for other in others))
    console.print(table)
    usual, most = ({kind: one and one[key] for kind, one in result["calibration_by_chance"].items()} for key in CHANCE)
    console.print(f"Calibration by chance, were the forecast right: {_pair(usual)}, once in twenty over {_pair(most)}")
    doubt = ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in result["before_certain"].items())
    console.print(f"During incidents, before the miss is certain: {doubt}")
    alike = [f"Brier {name} % {_text(score['failing'])}" for name, score in result["brier"].items()]
    alike += [
        f"{name} {_text(result[key]['failing'])}"
        for name, key in (("calibration", "calibration_error"), ("interval", "coverage"))
    ]
    console.print(f"At all failing minutes alike: {', '.join(alike)}")
    quarters = " ".join(_text(score) for score in result["brier_by_quarter"])
    held = " / ".join(_span(result["coverage_interval"][kind]) for kind in ("random", "incident"))
    console.print(f"The 90 % interval holds {_pair(result['coverage'])} (by the tenants drawn: {held})")
    console.print(f"Brier by quarter of the month: {quarters}")
    close, ratio = _text(result["m_star_within_25_percent"]), _text(result["m_star_median_ratio"])
    console.print(f"Point of no return: within 25 % in {close} of {result['m_star_looks']} looks, median ratio {ratio}")
    hours, fast = (
        _text(result["crossing"][key], digits) for key, digits in (("median_hours", 1), ("within_an_hour", 2))
    )
    console.print(f"From a failure's start to the certain miss: median {hours} h, within an hour in {fast}")
    heads = ("first page of a month", "precision", "recall", "median lead", "1 h or more", "pages/miss", "pages/month")
    table = Table(*heads)
    for name, policy in result["policies"].items():
        table.add_row(name, *(_text(value) for value in policy.values()))
    console.print(table)
    table = Table("history", "missed", "Brier", "skill", "calibration", "interval", "P>=0.8", "P>=0.9", "M*")
    table.title = "At 99 %, each history alone"
    for name, one in result["populations"].items():
        pages = [one["policies"][f"P>={level}"] for level in (0.8, 0.9)]
        paging = [f"{_text(page['precision'], 2)}, {_text(page['median_lead_hours'], 1)} h" for page in pages]
        pairs = (one["brier"]["99"], one["brier_skill"]["99"], one["calibration_error"], one["coverage"])
        cells = (*(_pair(pair) for pair in pairs), *paging, _text(one["m_star_within_25_percent"], 2))
        table.add_row(name, _text(one["base_rate"]["99"], 2), *cells)
    console.print(table)
    console.print(f"{result['seconds_per_tenant'] * 1e6:.0f} us of CPU for a forecast; seed {result['seed']}")


def _text(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _span(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else " to ".join(map(_text, interval))


def _pair(scores: Mapping[str, float | None]) -> str:
    return f"{_text(scores['random'])} / {_text(scores['incident'])}"


def draw(result: Mapping[str, Any], directory: Path) -> None:
    """Write the plots as PNG files to `directory`, which is made; typer.Exit(2) where matplotlib is missing."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        errors = Console(stderr=True)
        errors.print("Expected matplotlib for --plots: install monitor[report].", style="red", markup=False)
        raise typer.Exit(2) from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    directory.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(5, 5))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for kind, bins in result["reliability"].items():
        axes.plot([b["p"] for b in bins], [b["missed"] for b in bins], marker="o", label=kind)
    axes.set(xlabel="P(below 99 %)", ylabel="share missed", title="Reliability")
    axes.legend()
    figure.savefig(directory / "reliability.png", dpi=120, bbox_inches="tight")
    figure, axes = plt.subplots(figsize=(6, 5))
    for name, policy in result["policies"].items():
        precision, lead = policy["precision"], policy["median_lead_hours"]
        if precision is not None and lead is not None:
            axes.scatter(lead, precision)
            far = lead > FAR_LEAD_HOURS
            axes.annotate(f" {name} ", (lead, precision), ha="right" if far else "left", va="center")
    axes.set(xlabel="median lead, hours", ylabel="precision", title="First page of a month", ylim=(0, 1.02))
    axes.set_xscale("symlog")
    axes.set_xlim(left=min(0.0, axes.dataLim.x0))
    figure.savefig(directory / "paging.png", dpi=120, bbox_inches="tight")
    figure, axes = plt.subplots(figsize=(5, 4))
    axes.bar(range(1, 5), [score or 0.0 for score in result["brier_by_quarter"]])
    axes.set(xlabel="quarter of the month", ylabel="Brier at 99 %", xticks=range(1, 5), title="Random times")
    figure.savefig(directory / "quarters.png", dpi=120, bbox_inches="tight")
    plt.close("all")
