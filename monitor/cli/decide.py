"""`monitor decide`: what people rule where counts cannot tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from monitor.cli.deciding import (
    AsJson,
    At,
    By,
    Tenant,
    TenantOrAll,
    aligned,
    checked,
    refused,
    say,
    send,
    shown_minute,
    shown_ms,
    standing,
    times,
)
from monitor.contract.instant import rfc3339
from monitor.contract.rulings import FAULTS, SILENCE, Ruling, rulings
from monitor.settings import load

app = typer.Typer(help="Rulings: whose fault a code is, what a silence was, an unmeasured month.", no_args_is_help=True)
From = Annotated[str, typer.Option("--from", help="Its first minute, such as 2026-11-11T02:00:00Z.")]
Why = Annotated[str, typer.Option(help="Why.")]


@app.callback()
def decide() -> None:
    """Rulings: whose fault a code is, what a silence was, an unmeasured month."""


@app.command("classify")
def classify(
    tenant: TenantOrAll,
    code: Annotated[str, typer.Argument(help="The code of failures that nobody could classify; '' for none.")],
    as_: Annotated[str, typer.Option("--as", help=f"Whose fault it is: {', '.join(FAULTS)}.")],
    from_: From,
    reason: Why,
    by: By,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Say whose fault failures with a code are, from a minute on."""
    sent = _rule(tenant, "classify", by, reason, at, as_json, {"code": code, "as": as_, "from": from_})
    say(sent, f"{sent['record']['id']}: {code or 'no code'} is {as_} from {from_} on", as_json)


@app.command("silence")
def silence(
    tenant: TenantOrAll,
    from_: From,
    to: Annotated[str, typer.Option("--to", help="The minute after its last.")],
    as_: Annotated[str, typer.Option("--as", help=f"What it was: {', '.join(SILENCE)}.")],
    reason: Why,
    by: By,
    requests: Annotated[
        int | None, typer.Option(min=1, help="Requests held to be missing, spread evenly; with --as bad.")
    ] = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Say what minutes were in which nothing came: bad, with so many requests missing, or excluded."""
    more = {"from": from_, "to": to, "as": as_} | ({} if requests is None else {"requests": requests})
    sent = _rule(tenant, "silence", by, reason, at, as_json, more)
    say(sent, f"{sent['record']['id']}: the silence from {from_} to {to} was {as_}", as_json)


@app.command("accept")
def accept(
    tenant: TenantOrAll,
    month: Annotated[str, typer.Argument(help="The month, such as 2026-11.")],
    reason: Why,
    by: By,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Accept that a month becomes final although too little of it was measured."""
    sent = _rule(tenant, "accept_unmeasured", by, reason, at, as_json, {"month": month})
    say(sent, f"{sent['record']['id']}: {month} may be final as it was measured", as_json)


@app.command("withdraw")
def withdraw(
    tenant: TenantOrAll,
    ruling: Annotated[str, typer.Argument(help="The ruling's id: `monitor decide list` shows it.")],
    reason: Why,
    by: By,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a ruling, as if it had not been made."""
    sent = _rule(tenant, "withdraw", by, reason, at, as_json, {"ruling": ruling})
    say(sent, f"{sent['record']['id']}: {ruling} holds no more", as_json)


def _rule(
    tenant: str, kind: str, by: str, reason: str, at: str | None, as_json: bool, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Check, judge and send a ruling; what was sent."""
    settings = load()
    made, recorded = times(settings, at)
    identity = f"{tenant}/{kind}/{rfc3339(made)}"
    record = {"id": identity, "tenant": tenant, "kind": kind, "at": rfc3339(made), "by": by, "reason": reason, **more}
    known: list[Ruling] = standing(settings, "decisions")
    new: Ruling = checked("decisions", record, recorded, known)
    _, turned_down = rulings([*known, new], tenant, new.recorded)
    why = next((item for item in turned_down if item.id == new.id), None)
    if why:
        raise refused(why, as_json)
    return send(settings, "decisions", tenant, new.record(), recorded)


@app.command("list")
def show(tenant: Tenant, as_json: AsJson = False) -> None:
    """The rulings that hold for a tenant, those about all tenants among them; then those that were refused."""
    settings = load()
    known: list[Ruling] = standing(settings, "decisions")
    held, turned_down = rulings(known, tenant, max((item.recorded for item in known), default=0))
    if as_json:
        typer.echo(
            json.dumps({"rulings": [i.record() for i in held.held], "refused": [i.record() for i in turned_down]})
        )
        return
    if held.held:
        header = ("ruling", "about", "what", "decided", "reason")
        rows = [(i.id, i.tenant, _what(i), f"{shown_ms(i.at)} by {i.by}", i.reason) for i in held.held]
        typer.echo(aligned(header, rows))
    else:
        typer.echo(f"no ruling holds for {tenant}")
    for item in turned_down:
        typer.echo(f"refused ({item.reason}): {item.id}: {item.sentence}")


def _what(ruling: Ruling) -> str:
    if ruling.kind == "classify":
        return f"{ruling.code or 'no code'} is {ruling.verdict} from {shown_minute(ruling.start)} on"
    if ruling.kind == "silence":
        missing = f", {ruling.requests} requests missing" if ruling.requests else ""
        return f"silence {shown_minute(ruling.start)} to {shown_minute(ruling.end)} was {ruling.verdict}{missing}"
    return f"{ruling.month} may be final although too little was measured"
