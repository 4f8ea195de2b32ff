"""`monitor claim`: credits as customers, account managers and billing move them on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from monitor.cli.deciding import (
    AsJson,
    At,
    By,
    Tenant,
    checked,
    finding,
    newest_credits,
    refused,
    say,
    send,
    standing,
    times,
)
from monitor.cli.statement import Month, current, issued
from monitor.contract.agreement import Agreement, Agreements
from monitor.contract.credits import Account, ClaimDecision, Credit, fold
from monitor.contract.decisions import Reason
from monitor.contract.instant import rfc3339
from monitor.settings import Settings, load

app = typer.Typer(help="Claims for credits: nothing is credited unasked.", no_args_is_help=True)
Claim = Annotated[str | None, typer.Argument(help="The claim's id; by default the one that stands for the month.")]


@app.callback()
def claim() -> None:
    """Claims for credits: nothing is credited unasked."""


@app.command("file")
def file(
    tenant: Tenant,
    month: Month,
    date: Annotated[list[str], typer.Option(help="A date on which service was affected; repeat it.")],
    by: By,
    partner: Annotated[str, typer.Option(help="The partner who claims for the customer.")] = "",
    attested: Annotated[
        bool, typer.Option("--attested", help="The customer attests that it kept its own obligations.")
    ] = False,
    identity: Annotated[str | None, typer.Option("--id", help="The claim's id; by default the month's next.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would become of it; nothing is sent.")
    ] = False,
    at: Annotated[str | None, typer.Option(help="When the customer gave notice; by default now.")] = None,
    as_json: AsJson = False,
) -> None:
    """File a customer's claim for a month. One that comes before the month is final is held until then.

    One that is refused is kept with the reason, for that the customer claimed is a fact, and an amendment may decide it again.
    """
    settings = load()
    before = _Before(settings, tenant)
    number = 1 + sum(item.action == "file" and item.month == month for item in before.decisions)
    more = {
        "id": identity or f"{tenant}/{month}/claim-{number}",
        "partner": partner,
        "dates": date,
        "attested": attested,
    }
    new, recorded = before.new("file", month, by, at, more)
    credit, why = before.after(new)
    # Where there is no contract there is nobody to keep it for: the tenant may be mistyped.
    if why and (dry_run or why.reason is Reason.NO_CONTRACT):
        raise refused(why, as_json)
    if dry_run:
        would = "stand" if credit.standing else f"be held until {month} is final"
        told = json.dumps({"would": would, "record": new.record()})
        typer.echo(told if as_json else f"claim {new.id} would {would}; nothing was sent")
        return
    sent = send(settings, "claims", tenant, new.record(), recorded)
    if why:
        raise refused(why, as_json, sent)
    if credit.standing:
        say(sent, f"claim {new.id} stands: {credit.days} days, once they are confirmed", as_json)
    else:
        say(sent, f"claim {new.id} is held until {month} is final", as_json)


@app.command("confirm")
def confirm(
    tenant: Tenant,
    month: Month,
    by: By,
    claim: Claim = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Confirm that the customer kept its own obligations: the credit may be applied."""
    sent, credit = _decide(tenant, month, "confirm", claim, by, at, as_json, {"reason": reason})
    say(
        sent,
        f"confirmed: {credit.days} days, the term then ends on {credit.new_end or 'a date not agreed on'}",
        as_json,
    )


@app.command("dispute")
def dispute(
    tenant: Tenant,
    month: Month,
    by: By,
    reason: Annotated[str, typer.Option(help="Which obligation was not kept, and how that is known.")],
    claim: Claim = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Dispute that the customer kept its own obligations: nothing is applied unless somebody confirms."""
    sent, _ = _decide(tenant, month, "dispute", claim, by, at, as_json, {"reason": reason})
    say(sent, f"disputed: {reason}", as_json)


@app.command("apply")
def apply(
    tenant: Tenant,
    month: Month,
    by: By,
    claim: Claim = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Days in all, those applied before included; by default what is owed.")
    ] = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Note that the licence term was extended."""
    sent, credit = _decide(tenant, month, "apply", claim, by, at, as_json, {} if days is None else {"days": days})
    say(
        sent,
        f"applied: {credit.applied} days, the term now ends on {credit.new_end or 'a date not agreed on'}",
        as_json,
    )


class _Before:
    """What is known of a tenant's credits before a decision."""

    def __init__(self, settings: Settings, tenant: str) -> None:
        self.settings = settings
        self.tenant = tenant
        contracts: list[Agreement] = standing(settings, "contracts")
        self.agreements = Agreements(tenant, tuple(item for item in contracts if item.tenant == tenant))
        self.decisions: list[ClaimDecision] = [i for i in standing(settings, "claims") if i.tenant == tenant]
        self.statements = issued(settings, tenant)

    def new(
        self, action: str, month: str, by: str, at: str | None, more: Mapping[str, Any]
    ) -> tuple[ClaimDecision, int]:
        """The decision that is asked for, and when it is recorded."""
        made, recorded = times(self.settings, at)
        record = {"tenant": self.tenant, "month": month, "action": action, "at": rfc3339(made), "by": by, **more}
        known = [*self.decisions, *self.agreements.all]
        new: ClaimDecision = checked("claims", record, recorded, known)
        return new, recorded

    def account(self, at: int, more: Iterable[ClaimDecision] = ()) -> Account:
        """The tenant's credits at an instant."""
        at = max([at, *(statement.as_of for statement in self.statements)])
        return fold(self.agreements, self.statements, [*self.decisions, *more], at)

    def after(self, new: ClaimDecision) -> tuple[Credit, Any]:
        """The month's credit once the decision is known, and why it would be refused, if it would."""
        account = self.account(new.recorded, [new])
        return account.credits[new.month], account.refusal(new.id)


def _decide(
    tenant: str,
    month: str,
    action: str,
    claim: str | None,
    by: str,
    at: str | None,
    as_json: bool,
    more: Mapping[str, Any],
) -> tuple[dict[str, Any], Credit]:
    """Check, judge and send a decision about a claim; what was sent, and the credit after it."""
    settings = load()
    before = _Before(settings, tenant)
    made, recorded = times(settings, at)
    now = before.account(recorded).credits.get(month) or Credit(tenant, month)
    if claim is None:
        pending = [item.filed.id for item in now.claims if not item.refused]
        if not pending:
            why = "; ".join(item.refused.sentence for item in now.claims if item.refused)
            raise finding(
                f"refused: no claim of {tenant} for {month} stands{f': {why}' if why else ''}; nothing was sent"
            )
        claim = pending[0]
    record = {"id": f"{claim}/{action}/{rfc3339(made)}", "claim": claim, **more}
    if action == "apply":
        record.setdefault("days", now.days or 1)
    new, recorded = before.new(action, month, by, at, {name: value for name, value in record.items() if value != ""})
    credit, why = before.after(new)
    if why:
        raise refused(why, as_json)
    return send(settings, "claims", tenant, new.record(), recorded), credit


@app.command("deadlines")
def deadlines(tenant: Tenant, month: Month, as_json: AsJson = False) -> None:
    """The month's affected dates, and until when each may be claimed for; of a month that still runs, those so far."""
    statement = current(load(), tenant, month)
    rows = [day.record() for day in statement.affected]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    if not rows:
        typer.echo(f"{tenant}, {month}: no date was affected")
    for row in rows:
        typer.echo(f"{row['date']}  {row['bad']} failed  claim by {row['claim_by']}, before {row['claim_closes']}")


@app.command("list")
def show(
    tenant: Annotated[str | None, typer.Argument(help="Only this tenant.")] = None,
    month: Annotated[str | None, typer.Option(help="Only this month, such as 2026-11.")] = None,
    as_json: AsJson = False,
) -> None:
    """Credits by tenant and month: where each stands, days, dates, deadlines, claims, and what was refused and why."""
    settings = load()
    found = [
        credit
        for (name, period), credit in sorted(newest_credits(settings).items())
        if tenant in (None, name) and month in (None, period)
    ]
    taken = {item["id"] for credit in found for item in (*credit["claims"], *credit["refused"])}
    waiting = [
        item.record()
        for item in standing(settings, "claims")
        if item.action == "file" and tenant in (None, item.tenant) and month in (None, item.month)
        if item.id not in taken
    ]
    if as_json:
        typer.echo(json.dumps({"credits": found, "not_taken_up": waiting}))
        return
    if not found and not waiting:
        typer.echo("no credits: no month that is settled was missed, and nobody claimed")
    for credit in found:
        typer.echo("\n".join(_lines(credit)))
    for item in waiting:
        typer.echo(f"{item['tenant']} {item['month']}  claim {item['id']} was sent, and no worker has taken it up yet")


def _lines(credit: Mapping[str, Any]) -> list[str]:
    days = f"{credit['days']} days" if credit["days"] else "no days"
    applied = f", {credit['applied_days']} applied" if credit["applied_days"] else ""
    lines = [f"{credit['tenant']} {credit['month']}  {credit['state']}  {days}{applied}"]
    if credit["days"] and credit["new_end"]:
        lines.append(f"  the term ends on {credit['old_end']} without, {credit['new_end']} with them")
    if credit["reason"]:
        lines.append(f"  {credit['reason']}")
    lines += [
        f"  affected {day['date']}: {day['bad']} failed, claim by {day['claim_by']}, before {day['claim_closes']}"
        for day in credit["affected"]
    ]
    for item in credit["claims"]:
        why = f": {item['refusal']['sentence']}" if "refusal" in item else ""
        dates = ", ".join(item["dates"])
        lines.append(f"  claim {item['id']} by {item['partner'] or 'nobody'} for {dates} {item['status']}{why}")
    lines += [f"  refused {item['id']}: {item['sentence']}" for item in credit["refused"]]
    return lines
