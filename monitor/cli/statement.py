"""`monitor statement`: a tenant's month as it was said, or as it stands while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli.deciding import AsJson, Tenant, aligned, epoch_ms, finding, shown_minute, usage
from monitor.cli.running import run
from monitor.contract.instant import instant, rfc3339
from monitor.contract.period import MINUTE_MS, month_named
from monitor.contract.statement import Facts, Statement, as_of, interim
from monitor.contract.support import headquarters
from monitor.settings import Settings, load

if TYPE_CHECKING:
    from monitor.engine.engine import Engine

Month = Annotated[str, typer.Argument(help="The month, such as 2026-11.")]
VERDICTS = {
    "no_demand": "no request came that counts: nothing was missed, nothing is owed",
    "ended": "the contract had ended: nothing was promised",
    "not_started": "the contract had not started: nothing was promised",
}


def statement(
    tenant: Tenant,
    month: Month,
    at: Annotated[
        str | None,
        typer.Option("--as-of", help="The version that had been issued by this instant, such as 2026-12-04T00:00:00Z."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write it to this file too, as one page that can be sent and printed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A tenant's statement for a month: the newest version, or that of an instant; what stands so far while none was issued."""
    settings = load()
    found = current(settings, tenant, month, at)
    if html:
        try:
            html.write_text(_page(settings, found), encoding="utf-8")
        except (OSError, ModuleNotFoundError) as error:
            raise usage(f"--html: {error}") from None
    typer.echo(found.data.decode() if as_json else "\n".join(lines(found)))


def _page(settings: Settings, made: Statement) -> str:
    """The statement as HTML. Its chart needs the minutes that it was made from: the present ones, or, where others came since, the journal's."""
    from monitor.cli.verify import minutes_of
    from monitor.outlets.statement_page import page

    tenant = made.document["tenant"]
    try:
        return page(made, facts(settings, tenant, made.month)[1].minutes)
    except ValueError:
        minutes = run(minutes_of(settings, tenant, made))
    if minutes is None:
        raise finding(
            f"{made.id} cannot be drawn: requests came for the month since, and the journal that it was counted from "
            "is not retained any more"
        )
    return page(made, minutes)


def current(settings: Settings, tenant: str, month: str, at: str | None = None) -> Statement:
    """The newest version issued, or the newest by the instant `at`; without one, an interim statement. Ends the command when there is none."""
    try:
        month_named(month)
    except ValueError as error:
        raise usage(str(error)) from None
    chain = issued(settings, tenant)
    if at is None:
        return as_of(chain, month, 1 << 60) or so_far(settings, tenant, month)
    found = as_of(chain, month, epoch_ms("--as-of", at))
    if found is None:
        first = next((item for item in chain if item.month == month), None)
        why = f"the first was on {first.document['as_of']}" if first else "none has been issued yet"
        raise finding(f"no statement of {tenant} for {month} had been issued by {at}: {why}")
    return found


def issued(settings: Settings, tenant: str) -> list[Statement]:
    """The tenant's statements in the order of its chain; what cannot be read as one is left to `monitor verify`."""
    from monitor.stream.reading import statements

    found = []
    for record in run(statements(settings, tenant)):
        try:
            found.append(Statement.of(record.value))
        except ValueError:
            continue
    return sorted(found, key=lambda item: item.document["sequence"])


def so_far(settings: Settings, tenant: str, month: str) -> Statement:
    """What a month that still runs, or has just ended, would be: made from the workers' table as of the last checkpoint."""
    engine, found = facts(settings, tenant, month)
    return interim(engine.listened(found))


def facts(settings: Settings, tenant: str, month: str) -> tuple[Engine, Facts]:
    """What the workers' table says of a tenant's month as of the last checkpoint, and the engine made from it. Ends the command without any."""
    from monitor.engine.dues import credits_of
    from monitor.engine.engine import Engine
    from monitor.stream.reading import table

    records, stamp, partition = run(table(settings, tenant))
    place = (settings.topic("journal"), partition)
    engine = Engine(records, offset=stamp + 1, horizon=stamp, place=place, support=headquarters(settings))
    found = engine.tenants.get(tenant)
    if found is None:
        raise finding(
            f"nothing is known of {tenant!r}: no request of it has been counted, and no contract taken up, "
            "or no worker has made a checkpoint since"
        )
    known = found.agreements.known(engine.clock_ms)
    begins = known.month(month).period.start
    if begins * MINUTE_MS > engine.clock_ms:
        raise finding(f"{month} begins on {shown_minute(begins)} UTC; the counts are of {rfc3339(engine.clock_ms)}")
    found.credits = credits_of(found, engine.clock_ms)
    return engine, engine.facts(found, month, engine.clock_ms)


def lines(made: Statement) -> Iterator[str]:
    """The statement for people."""
    said = made.document
    yield f"{said['tenant']}, {said['month']}: {_kind(said)}, as of {said['as_of']}"
    zone = said["zone"]
    short = ", shorter than the month because of the term" if said["short"] else ""
    yield f"from {_local(said['start'], zone)} to {_local(said['end'], zone)} {zone}{short}"
    who = ", ".join(f"{name} {said[name]}" for name in ("partner", "tier") if said[name])
    ends = f"the agreed term ends on {said['term_end']}" if said["term_end"] else "no end of the term is agreed on"
    yield f"terms {said['terms']['version']}{f', {who}' if who else ''}; {ends}"
    yield ""
    yield from _verdict(said)
    yield ""
    header = ("portal", "good", "bad", "unclassified", "not counted")
    yield aligned(header, [_portal(name, portal) for name, portal in said["portals"].items()])
    yield ""
    readings = said["readings"]
    if said["disagree"]:
        yield "the readings put the month in different bands; the one by requests is the contract's"
    yield aligned(
        ("reading", "good", "bad", "availability", "band", "days"),
        [
            (name, str(r["good"]), str(r["bad"]), r["availability"], _band(r["band"]), str(r["days"]))
            for name in ("requests", "minutes", "users")
            if (r := readings[name])
        ],
    )
    yield from _decided(said)
    coverage = said["coverage"]
    if coverage["measured"] < coverage["minutes"]:
        yield ""
        enough = "" if coverage["enough"] else ", too little for a final statement"
        by = f"; accepted by {coverage['accepted_by']}" if coverage["accepted_by"] else ""
        yield f"{coverage['share']} of the minutes were measured{enough}{by}"
    yield ""
    yield f"sha256 {made.sha256}" + (f", after {said['previous']}" if said["previous"] else "")


def _kind(said: Mapping[str, Any]) -> str:
    kinds = {
        "interim": "what stands so far, not a statement yet",
        "provisional": f"provisional, final from {said['final_from']} on",
        "final": "final",
        "amendment": f"amendment {said['number']}",
    }
    return kinds[said["kind"]]


def _verdict(said: Mapping[str, Any]) -> Iterator[str]:
    """What became of the promise, and what is owed until when."""
    reading = said["readings"]["requests"]
    counts = said["counts"]
    yield f"availability  {reading['availability']} ({counts['good']} good, {counts['bad']} bad)"
    promised = [tier["below"] for tier in said["terms"]["tiers"]]
    if said["verdict"] in VERDICTS:
        yield f"verdict       {VERDICTS[said['verdict']]}"
    elif said["verdict"] == "kept":
        yield f"verdict       {promised[0]:g} % was promised and is kept"
    else:
        missed = min(share for share in promised if share > (said["band"] or 0))
        kept = f"{said['band']:g} % is kept" if said["band"] else "nothing that was promised is kept"
        yield f"verdict       {missed:g} % is missed; {kept}"
    if said["standing"] == "unknown":
        yield "              nobody has a contract with the tenant: judged by the published terms, nobody may claim"
    if said["days"]:
        yield f"owed          {said['days']} days of term, if they are claimed in time"
    for day in said["affected"]:
        yield f"  affected    {day['date']}: {day['bad']} bad, claim by {day['claim_by']} (before {day['claim_closes']})"
    codes = said["unclassified_codes"]
    if codes:
        named = ", ".join(f"{code or 'no code'} {n}" for code, n in codes.items())
        yield f"unclassified  {named}: counted as bad until `monitor decide classify`"
    if counts["missing"]:
        yield f"silence       {counts['missing']} requests are held to be missing, and count as bad"
    outside = sum(said["outside_term"].values())
    if outside:
        yield f"outside       {outside} requests came outside the term and count on no side"


def _portal(name: str, portal: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    counted = portal["counted"]
    left_out = counted["external"] + sum(portal["excluded"].values())
    numbers = (counted["success"] + counted["client"], counted["server"], counted["unclassified"], left_out)
    return (name, *map(str, numbers))


def _decided(said: Mapping[str, Any]) -> Iterator[str]:
    """Exclusions, silence and rulings."""
    if said["exclusions"]:
        yield ""
        yield aligned(
            ("exclusion", "state", "category", "from (UTC)", "to", "month with it", "without it"),
            [
                (
                    item["id"],
                    item["state"],
                    item["category"],
                    _local(item["from"], "UTC"),
                    _local(item["to"], "UTC"),
                    f"{item['with']['availability']}, {item['with']['days']} days",
                    f"{item['without']['availability']}, {item['without']['days']} days",
                )
                for item in said["exclusions"]
            ],
        )
    for part in said["excluded"]:
        if len(part["exclusions"]) > 1:
            span = f"{_local(part['from'], 'UTC')} to {_local(part['to'], 'UTC')} UTC"
            yield f"excluded once {span}: under {' and '.join(part['exclusions'])}"
    for item in said["silence"]:
        span = f"{_local(item['from'], 'UTC')} to {_local(item['to'], 'UTC')} UTC"
        open_ = (
            f", {item['undecided_minutes']} minutes undecided: `monitor decide silence`"
            if item["undecided_minutes"]
            else ""
        )
        yield f"silence       {span}: about {item['expected']} requests were to be expected ({item['basis']}){open_}"
    for item in said["rulings"]:
        yield f"ruling        {item['id']} by {item['by']}: {item['reason']}"


def _band(band: float | None) -> str:
    return "-" if band is None else f"{band:g} % kept" if band else "none kept"


def _local(time: str, zone: str) -> str:
    return shown_minute(instant(time) // MINUTE_MS, zone)
