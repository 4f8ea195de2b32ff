"""`monitor contract`: who is promised what."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.cli.deciding import AsJson, aligned, checked, finding, newest_credits, say, send, standing, times, usage
from monitor.cli.judge import TermsFile, read_terms
from monitor.contract.agreement import Agreement, Agreements, namesake
from monitor.contract.credits import Account, Credit
from monitor.contract.period import MINUTE_MS
from monitor.contract.terms import terms_record
from monitor.settings import Settings, load

app = typer.Typer(help="Contracts: who is promised what, and since when.", no_args_is_help=True)
FIELDS = ("tenant", "terms", "zone", "partner", "tier", "portals", "start", "end", "effective_from", "support")


@app.callback()
def contract() -> None:
    """Contracts: who is promised what, and since when."""


@app.command("add")
def add(
    tenant: Annotated[str | None, typer.Argument(help="The tenant's id; may stand in the file.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="JSON or TOML file of the contract, terms included; options stand over it.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="IANA zone of its months and dates; by default UTC.")] = None,
    partner: Annotated[str | None, typer.Option(help="Who claims for the customer.")] = None,
    tier: Annotated[str | None, typer.Option(help="The customer's tier.")] = None,
    portal: Annotated[
        list[str] | None, typer.Option(help="A portal that the contract names (all portals count).")
    ] = None,
    start: Annotated[str | None, typer.Option(help="First date of the term.")] = None,
    end: Annotated[str | None, typer.Option(help="Last date of the term, credits not counted.")] = None,
    effective_from: Annotated[
        str | None, typer.Option(help="Date from which this holds; by default the term's start.")
    ] = None,
    terms: TermsFile = None,
    as_json: AsJson = False,
) -> None:
    """Record what a tenant is promised from a date on: the whole of it, which replaces what was recorded before from that date on."""
    settings = load()
    _, recorded = times(settings, None)
    record = _file(file) if file else {}
    given = {
        "tenant": tenant,
        "zone": zone,
        "partner": partner,
        "tier": tier,
        "portals": portal or None,
        "start": start,
        "end": end,
        "effective_from": effective_from,
    }
    record |= {name: value for name, value in given.items() if value is not None}
    if terms:
        try:
            record["terms"] = terms_record(read_terms(terms))
        except (OSError, ValueError) as error:
            raise usage(f"--terms: {error}") from None
    agreement: Agreement = checked("contracts", record, recorded)
    known: list[Agreement] = standing(settings, "contracts")
    other = namesake(known, agreement)
    if other:
        raise finding(
            f"refused: the terms {agreement.terms.version!r} of {other.tenant} say otherwise: "
            "give these a version of their own; nothing was sent"
        )
    mine = Agreements(agreement.tenant, tuple(item for item in known if item.tenant == agreement.tenant))
    before = mine.at(agreement.effective_minute)
    if before.contracted and before.record() | {"effective_from": ""} == agreement.record() | {"effective_from": ""}:
        raise finding(f"refused: {agreement.tenant} is promised exactly that{_since(before)} already; nothing was sent")
    sent = send(settings, "contracts", agreement.tenant, agreement.record(), recorded)
    say(sent, f"{agreement.tenant}: terms {agreement.terms.version}, {agreement.zone}{_since(agreement)}", as_json)
    if agreement.effective_minute < recorded // MINUTE_MS and mine.all:
        typer.echo("that is in the past: settled months in which it changes something will be amended", err=True)


def _since(agreement: Agreement) -> str:
    return f" from {agreement.effective_from} on" if agreement.effective_from else ""


def _file(path: Path) -> dict[str, Any]:
    """A contract's record from a file, dates as texts; what it holds is checked later, but for unknown fields."""
    try:
        text = path.read_text(encoding="utf-8")
        found: Any = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise usage(f"--file: {path}: {error}") from None
    if not isinstance(found, dict):
        raise usage(f"--file: {path}: expected an object with a contract's fields, found {type(found).__name__}")
    unknown = sorted(set(found) - set(FIELDS))
    if unknown:
        raise usage(f"--file: {path}: {', '.join(unknown)}: expected only {', '.join(FIELDS)}")
    return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    """TOML's own dates as texts."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


@app.command("list")
def show(
    tenant: Annotated[str | None, typer.Argument(help="Only this tenant.")] = None, as_json: AsJson = False
) -> None:
    """Who is promised what now, and until when, with the days of credit that were applied to the term."""
    settings = load()
    known: list[Agreement] = standing(settings, "contracts")
    names = sorted({item.tenant for item in known} & ({tenant} if tenant else {item.tenant for item in known}))
    if tenant and not names:
        raise finding(f"no contract with {tenant!r}: `monitor contract add` records one")
    accounts = applied(settings)
    minute = time.time_ns() // 1_000_000 // MINUTE_MS
    rows = [
        _row(Agreements(name, tuple(item for item in known if item.tenant == name)), accounts.get(name), minute)
        for name in names
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    if not rows:
        typer.echo("no contracts: `monitor contract add` records one")
        return
    header = ("tenant", "standing", "zone", "partner", "tier", "terms", "promises", "term", "with credits", "later")
    typer.echo(aligned(header, [_cells(row) for row in rows]))


def applied(settings: Settings) -> dict[str, Account]:
    """The days of credit that were applied, by tenant."""
    months: dict[str, dict[str, Credit]] = {}
    for (tenant, month), credit in newest_credits(settings).items():
        months.setdefault(tenant, {})[month] = Credit(tenant, month, applied=credit["applied_days"])
    return {tenant: Account(tenant, found) for tenant, found in months.items()}


def _row(agreements: Agreements, account: Account | None, minute: int) -> dict[str, Any]:
    """What a tenant is promised at the UTC epoch minute; before its first agreement takes effect, that one."""
    now = agreements.at(minute)
    if not now.contracted:
        now = agreements.all[0]
    extension = account.extension(now) if account else 0
    end = now.term_end(extension)
    later = [item.record() for item in agreements.all if item.effective_minute > max(minute, now.effective_minute)]
    return now.record() | {
        "standing": now.standing(minute, extension),
        "credit_days": extension,
        "end_with_credits": end.isoformat() if end else None,
        "later": later,
    }


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    thresholds = [f"{tier['below']:g}" for tier in row["terms"]["tiers"]]
    term = f"{row.get('start', '')} to {row.get('end', '')}" if row.get("start") or row.get("end") else "-"
    extended = f"{row['end_with_credits']} (+{row['credit_days']})" if row["credit_days"] else "-"
    later = ", ".join(f"{item['terms']['version']} from {item['effective_from']}" for item in row["later"])
    return (
        row["tenant"],
        row["standing"].replace("_", " "),
        row["zone"],
        row["partner"] or "-",
        row["tier"] or "-",
        row["terms"]["version"],
        " ".join(thresholds),
        term,
        extended,
        later or "-",
    )
