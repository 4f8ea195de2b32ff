"""`monitor exclude`: windows that do not count, from declaring them to revoking them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from monitor.cli.deciding import (
    AsJson,
    At,
    By,
    aligned,
    checked,
    epoch_ms,
    finding,
    refused,
    say,
    scope,
    send,
    shown_minute,
    shown_scope,
    standing,
    times,
)
from monitor.contract.exclusions import ALL, CATEGORIES, Exclusion, ExclusionDecision, Window, exclusions, refusal
from monitor.contract.instant import rfc3339
from monitor.settings import Settings, load

app = typer.Typer(help="Exclusions: minutes that count on neither side, once approved.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The exclusion's name, such as a change number.")]
From = Annotated[str, typer.Option("--from", help="Its first minute, such as 2026-11-11T02:00:00Z.")]
To = Annotated[str, typer.Option("--to", help="The minute after its last.")]
Category = Annotated[str, typer.Option(help=f"One of {', '.join(CATEGORIES)}.")]
Tenants = Annotated[list[str], typer.Option("--tenant", help="A tenant that it is about, or '*' for all; repeat it.")]
Portals = Annotated[list[str], typer.Option("--portal", help="A portal, or '*' for all; repeat it.")]
Why = Annotated[str, typer.Option(help="Why.")]
Reference = Annotated[str, typer.Option(help="A ticket, a change, a page.")]
EVERY = [ALL]


@app.callback()
def exclude() -> None:
    """Exclusions: minutes that count on neither side, once approved."""


@app.command("add")
def add(
    name: Name,
    from_: From,
    to: To,
    category: Category,
    tenant: Tenants,
    reason: Why,
    by: By,
    portal: Portals = EVERY,
    reference: Reference = "",
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Declare a window. It leaves nothing out until it is approved, and may lie in the past."""
    window = {"from": from_, "to": to, "category": category, "tenants": scope(tenant), "portals": scope(portal)}
    settings = load()
    sent, now = _decide(
        settings, name, "declare", by, at, as_json, {**window, "reason": reason, "reference": reference}
    )
    say(
        sent, f"{name} declared: {_where(now.window)}; it counts once approved: monitor exclude approve {name}", as_json
    )


@app.command("correct")
def correct(
    name: Name,
    reason: Why,
    by: By,
    from_: Annotated[str | None, typer.Option("--from", help="Its first minute.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="The minute after its last.")] = None,
    category: Annotated[str | None, typer.Option(help="Its category.")] = None,
    tenant: Annotated[list[str] | None, typer.Option("--tenant", help="A tenant, or '*' for all.")] = None,
    portal: Annotated[list[str] | None, typer.Option("--portal", help="A portal, or '*' for all.")] = None,
    reference: Annotated[str | None, typer.Option(help="A ticket, a change, a page.")] = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Change a window; what is not given stays. What was approved before holds until the correction is approved."""
    settings = load()
    _, recorded = times(settings, at)
    decisions: list[ExclusionDecision] = standing(settings, "exclusions")
    known, _ = exclusions(decisions, max([recorded, *(item.recorded for item in decisions)]))
    before = next((item for item in known if item.id == name), None)
    if before is None:
        raise finding(f"refused: nobody declared {name!r}: `monitor exclude list` shows what was; nothing was sent")
    given = {
        "from": from_,
        "to": to,
        "category": category,
        "tenants": scope(tenant) if tenant else None,
        "portals": scope(portal) if portal else None,
        "reason": reason,
        "reference": reference,
    }
    window = (before.proposed or before.window).record()
    window |= {field: value for field, value in given.items() if value is not None}
    sent, now = _decide(settings, name, "correct", by, at, as_json, window)
    waits = "it waits for approval" if now.proposed else "it counts once approved"
    say(sent, f"{name} corrected: {_where(now.proposed or now.window)}; {waits}", as_json)


@app.command("approve")
def approve(name: Name, by: By, at: At = None, as_json: AsJson = False) -> None:
    """Approve a window, with the corrections made so far: its minutes are left out from now on, also of months that are settled."""
    sent, now = _decide(load(), name, "approve", by, at, as_json, {})
    say(sent, f"{name} approved: {_where(now.window)} counts on neither side", as_json)


@app.command("revoke")
def revoke(name: Name, reason: Why, by: By, at: At = None, as_json: AsJson = False) -> None:
    """Revoke a window for good: its minutes count again, as if it had not been."""
    sent, _ = _decide(load(), name, "revoke", by, at, as_json, {"reason": reason})
    say(sent, f"{name} revoked: its minutes count again", as_json)


def _decide(
    settings: Settings, name: str, action: str, by: str, at: str | None, as_json: bool, more: Mapping[str, Any]
) -> tuple[dict[str, Any], Exclusion]:
    """Check, judge and send a decision; what was sent, and the exclusion after it."""
    made, recorded = times(settings, at)
    record = {"exclusion": name, "action": action, "at": rfc3339(made), "by": by, **more}
    known: list[ExclusionDecision] = standing(settings, "exclusions")
    new: ExclusionDecision = checked("exclusions", record, recorded, known)
    why = refusal(known, new)
    if why:
        raise refused(why, as_json)
    after, _ = exclusions([*known, new], new.recorded)
    sent = send(settings, "exclusions", name, new.record(), recorded)
    return sent, next(item for item in after if item.id == name)


def _where(window: Window) -> str:
    tenants, portals = shown_scope(window.tenants), shown_scope(window.portals)
    span = f"{shown_minute(window.start)} to {shown_minute(window.end)} UTC"
    return f"{span} ({window.end - window.start} minutes), tenants: {tenants}, portals: {portals}"


@app.command("list")
def show(
    tenant: Annotated[str | None, typer.Option(help="Only those that are about this tenant.")] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="As they were known at this instant; by default now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The windows by start: where each stands, and who decided what; then the decisions that were refused."""
    settings = load()
    known: list[ExclusionDecision] = standing(settings, "exclusions")
    now = max((item.recorded for item in known), default=0) if as_of is None else epoch_ms("--as-of", as_of)
    found, turned_down = exclusions(known, now)
    found = tuple(item for item in found if tenant is None or item.window.concerns(tenant))
    if as_json:
        typer.echo(
            json.dumps({"exclusions": [i.record() for i in found], "refused": [i.record() for i in turned_down]})
        )
        return
    if not found:
        typer.echo("no exclusions: `monitor exclude add` declares one")
    else:
        header = ("exclusion", "state", "category", "from (UTC)", "to", "tenants", "portals", "decided", "reason")
        typer.echo(aligned(header, [_cells(item) for item in found]))
    for item in turned_down:
        typer.echo(f"refused ({item.reason}): {item.sentence}")


def _cells(item: Exclusion) -> tuple[str, ...]:
    window = item.window
    acts = [("declared", item.declared_by), ("approved", item.approved_by), ("revoked", item.revoked_by)]
    decided = ", ".join(f"{act} by {by}" for act, by in acts if by)
    if item.corrected_by:
        decided += f", corrected by {item.corrected_by}" + (": waits for approval" if item.proposed else "")
    return (
        item.id,
        item.state,
        window.category,
        shown_minute(window.start),
        shown_minute(window.end),
        shown_scope(window.tenants),
        shown_scope(window.portals),
        decided,
        f"{window.reason} [{window.reference}]" if window.reference else window.reason,
    )
