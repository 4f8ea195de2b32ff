"""`monitor support`: requests for support as those who have no ticket system record them, and the queue, a request and a month for all."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.cli.deciding import AsJson, At, By, Tenant, aligned, checked, finding, say, send, standing, times, usage
from monitor.cli.running import run
from monitor.contract.agreement import Agreement, Agreements
from monitor.contract.exclusions import CATEGORIES
from monitor.contract.instant import instant
from monitor.contract.period import MINUTE_MS
from monitor.contract.support import (
    DOCUMENTATION,
    RUNNING,
    SEVERITIES,
    Event,
    Request,
    SupportTerms,
    due,
    event_of,
    fold,
    headquarters,
    out_of_turn,
    requests_of,
    status,
    support_terms,
)
from monitor.contract.support import report as month_report
from monitor.counting.request import Rejected
from monitor.settings import Settings, load
from monitor.sources.decisions import read_decision

app = typer.Typer(help="Support requests: what happened, what is due, what is late.", no_args_is_help=True)
TOPIC = "support-requests"
Name = Annotated[str, typer.Argument(metavar="REQUEST", help="The request's number, unique within the tenant.")]
Severity = Annotated[str, typer.Option(help="P1, P2, P3 or P4.")]
Identification = Annotated[str | None, typer.Option(help="Identification number of the software or hardware.")]
Description = Annotated[str | None, typer.Option(help="What happened.")]
Messages = Annotated[str | None, typer.Option("--error-messages", help="The messages, as they were shown.")]
Files = Annotated[list[str] | None, typer.Option("--file", help="Reference to a file: a name or a link.")]
Contact = Annotated[str | None, typer.Option(help="Whom to ask at the customer's.")]
Breach = Annotated[str | None, typer.Option(help="Id of the availability breach that it is about.")]


@app.callback()
def support() -> None:
    """Support requests: what happened, what is due, what is late."""


# -- what happened


@app.command("open")
def open_(
    tenant: Tenant,
    request: Name,
    severity: Severity,
    by: By,
    identification: Identification = None,
    description: Description = None,
    error_messages: Messages = None,
    file: Files = None,
    contact: Contact = None,
    breach: Breach = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """A request came in: its clocks start."""
    told = _documentation(identification, description, error_messages, file, contact)
    _record(tenant, request, "opened", by, at, as_json, {"severity": severity.upper(), "breach": breach, **told})


@app.command("document")
def document(
    tenant: Tenant,
    request: Name,
    by: By,
    identification: Identification = None,
    description: Description = None,
    error_messages: Messages = None,
    file: Files = None,
    contact: Contact = None,
    breach: Breach = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Documentation that was missing came in, or the breach that it is about. The clocks ran all the while."""
    told = _documentation(identification, description, error_messages, file, contact)
    if not told and not breach:
        raise usage(
            "expected --identification, --description, --error-messages, --file, --contact or --breach, found none"
        )
    _record(tenant, request, "documented", by, at, as_json, {"breach": breach, **told})


@app.command("respond")
def respond(tenant: Tenant, request: Name, by: By, at: At = None, as_json: AsJson = False) -> None:
    """The customer got a response."""
    _record(tenant, request, "responded", by, at, as_json)


@app.command("update")
def update(tenant: Tenant, request: Name, by: By, at: At = None, as_json: AsJson = False) -> None:
    """The customer was told how it goes on."""
    _record(tenant, request, "updated", by, at, as_json)


@app.command("severity")
def change_severity(
    tenant: Tenant,
    request: Name,
    severity: Annotated[str, typer.Argument(help="The severity from now on: P1, P2, P3 or P4.")],
    reason: Annotated[str, typer.Option(help="Why it is raised or lowered.")],
    by: By,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """The severity changed as things developed; due times count from the opening all the same."""
    _record(tenant, request, "severity_changed", by, at, as_json, {"severity": severity.upper(), "reason": reason})


@app.command("temporary")
def temporary(
    tenant: Tenant,
    request: Name,
    by: By,
    severity: Annotated[str | None, typer.Option(help="The lower severity; by default one lower than before.")] = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """The customer got a temporary resolution, which lowers the severity."""
    lower = severity.upper() if severity else None
    _record(tenant, request, "temporary_resolution", by, at, as_json, {"severity": lower})


@app.command("resolve")
def resolve(tenant: Tenant, request: Name, by: By, at: At = None, as_json: AsJson = False) -> None:
    """The customer got the resolution: the clocks stop."""
    _record(tenant, request, "resolved", by, at, as_json)


@app.command("reopen")
def reopen(tenant: Tenant, request: Name, by: By, at: At = None, as_json: AsJson = False) -> None:
    """It was not resolved after all: the clocks start anew, its place in the queue is the old one."""
    _record(tenant, request, "reopened", by, at, as_json)


@app.command("not-covered")
def not_covered(
    tenant: Tenant,
    request: Name,
    category: Annotated[str, typer.Argument(help=f"The cause: {', '.join(CATEGORIES)}.")],
    by: By,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Its cause is one that is not covered: it promised nothing, and what was announced of it is withdrawn."""
    _record(tenant, request, "not_covered", by, at, as_json, {"category": category})


def _documentation(*given: str | list[str] | None) -> dict[str, Any]:
    found = {name: value for name, value in zip(DOCUMENTATION, given, strict=True) if value}
    return {"documentation": found} if found else {}


def _record(
    tenant: str, request: str, kind: str, by: str, at: str | None, as_json: bool, more: Mapping[str, Any] | None = None
) -> None:
    """Check what happened, by itself and against what is there, and send it."""
    settings = load()
    made, recorded = times(settings, at)
    if made > recorded:
        raise usage(f"--at: expected a time that is over, found {at}")
    given = {"tenant": tenant, "request": request, "type": kind, "time": made, "by": by, **(more or {})}
    event: Event = checked(TOPIC, {name: value for name, value in given.items() if value is not None}, recorded)
    known = [item for item in _events(settings, tenant) if item.request == event.request]
    if event in known:
        raise finding(f"refused: {event.id} is recorded already; nothing was sent")
    after = fold([*known, event])
    why = next((item.reason for item in after.refused if item.event == event), None)
    if why:
        if as_json:
            typer.echo(json.dumps({"refused": {"id": event.id, "reason": why}}))
        raise finding(f"refused: {why}; nothing was sent")
    sent = send(settings, TOPIC, tenant, event.record(), recorded)
    terms = _terms(settings)(after)
    say(sent, f"{tenant} {event.request}: {'; '.join(_stands(status(after, terms, recorded)))}", as_json)


def _stands(record: Mapping[str, Any]) -> Iterator[str]:
    """Where a request stands, in parts of a sentence."""
    yield f"{_words(record['state'])}, {record['severity']}"
    for owed, utc, hq in _owed(record):
        yield f"{_words(owed)} due {_shown(hq)}, {utc}"
    if record["missing"] and record["state"] in RUNNING:
        yield f"still missing: {', '.join(map(_words, record['missing']))}"


# -- what is due


@app.command("list")
def show_queue(as_json: Annotated[bool, typer.Option("--json", help="A list, for programs.")] = False) -> None:
    """The queue as it should be worked: by severity, then first in, first out. Exit code 1 when something is overdue."""
    settings = load()
    waiting = sorted(
        (record for record in _statuses(settings).values() if record["state"] in RUNNING),
        key=lambda record: (record["severity"], instant(record["opened"]), record["tenant"], record["request"]),
    )
    now = _now(settings, waiting)
    passed, passed_by = _turns(_events(settings), now)
    queue = []
    for record in waiting:
        name = (record["tenant"], record["request"])
        late = [owed for owed, utc, _ in _owed(record) if instant(utc) < now]
        queue.append(
            {**record, "overdue": late, "passed_over": passed.get(name, []), "passed_over_by": passed_by.get(name, [])}
        )
    if as_json:
        typer.echo(json.dumps(queue))
    elif queue:
        header = (
            "",
            "severity",
            "tenant",
            "request",
            "state",
            "owed",
            "due, desk's time",
            "due, UTC",
            "turn",
            "missing",
        )
        lines = aligned(header, [_row(record) for record in queue]).splitlines()
        typer.echo(lines[0])
        for record, line in zip(queue, lines[1:], strict=True):
            typer.echo(typer.style(line, fg="red") if record["overdue"] else line)
    else:
        typer.echo("no support request is open")
    if any(record["overdue"] for record in queue):
        raise typer.Exit(1)


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    owed, utc, hq = min(_owed(record), key=lambda found: instant(found[1]))
    mark = "OVERDUE" if record["overdue"] else "soon" if record["due_soon"] else ""
    turn = [f"answered before {other}" for other in record["passed_over"]]
    turn += [f"passed over for {other}" for other in record["passed_over_by"]]
    whose = (record["severity"], record["tenant"], record["request"], _words(record["state"]))
    return (mark, *whose, _words(owed), _shown(hq), utc, ", ".join(turn), ", ".join(map(_words, record["missing"])))


def _turns(
    events: Iterable[Event], now: int
) -> tuple[dict[tuple[str, str], list[str]], dict[tuple[str, str], list[str]]]:
    """By tenant and request: whom its first response passed over, and whose first responses passed it over."""
    passed: dict[tuple[str, str], list[str]] = {}
    passed_by: dict[tuple[str, str], list[str]] = {}
    for turn in out_of_turn(requests_of(events, now)):
        name = turn.answered[2:]
        for place in turn.ahead:
            passed.setdefault(name, []).append("/".join(place[2:]))
            passed_by.setdefault(place[2:], []).append("/".join(name))
    return passed, passed_by


@app.command("show")
def show_request(
    tenant: Tenant,
    request: Name,
    as_json: Annotated[bool, typer.Option("--json", help="The status record.")] = False,
) -> None:
    """One request: where it stands, its history with the due times that were in force, and what its documentation lacks."""
    settings = load()
    record = _statuses(settings, tenant).get(f"{tenant}/{request}")
    if record is None:
        known = any(item.request == request for item in _events(settings, tenant))
        why = "the workers have not read it yet" if known else "nobody recorded anything of it"
        raise finding(f"no status of {tenant} {request}: {why}")
    if as_json:
        typer.echo(json.dumps(record))
        return
    typer.echo("\n".join(_lines(record)))


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"{record['tenant']} {record['request']}: {'; '.join(_stands(record))}"
    yield f"as of {record['as_of']}, terms {record['terms']}, the desk in {record['zone']} is {'open' if record['desk_open'] else 'closed'}"
    if record["overdue"]:
        yield f"OVERDUE: {', '.join(map(_words, record['overdue']))}"
    if record["first_response"] in ("in_time", "late"):
        yield f"first response {_words(record['first_response'])}, {record['first_response_at']}"
    if record["breach"]:
        yield f"availability breach {record['breach']}"
    if record["not_covered"]:
        yield f"not covered: {record['not_covered']}"
    yield ""
    header = ("time", "what", "state", "severity", "first response due", "next update due", "by", "reason")
    yield aligned(
        header,
        [
            (
                step["time"],
                _words(step["type"]),
                _words(step["state"]),
                step["severity"],
                step["first_response_due"] or "-",
                step["next_update_due"] or "-",
                step.get("by", ""),
                step.get("reason") or step.get("category", ""),
            )
            for step in record["history"]
        ],
    )
    for item in record["refused"]:
        yield f"refused: {_words(item['type'])} of {item['time']}: {item['reason']}"
    for item in record["ahead"]:
        yield f"not yet in effect: {_words(item['type'])} of {item['time']}"
    if record["left_out"]:
        yield f"{record['left_out']} events were not kept: a request holds no more than 1,000"
    yield ""
    for name in DOCUMENTATION:
        found = record["documentation"].get(name)
        shown = ", ".join(found) if isinstance(found, list) else found
        yield f"{'[x]' if found else '[ ]'} {_words(name):<16} {shown or 'missing'}"


@app.command("report")
def report(
    month: Annotated[str, typer.Argument(help="The month in the headquarters' zone, such as 2026-11.")],
    as_json: AsJson = False,
) -> None:
    """A month's requests: by severity, the share answered in time. Exit code 1 when an answer was late."""
    settings = load()
    standard = headquarters(settings)
    events = _events(settings)
    now = _now(settings, [], events)
    try:
        made = month_report(requests_of(events), standard, month, now, _terms(settings))
    except ValueError as error:
        raise usage(f"MONTH: {error}") from None
    if as_json:
        typer.echo(json.dumps(made))
    else:
        typer.echo(f"support requests of {made['month']} ({made['zone']}), as of {made['as_of']}")
        header = (
            "severity",
            "first responses",
            "in time",
            "late",
            "waiting",
            "updates",
            "in time",
            "late",
            "not covered",
        )
        rows = []
        for severity, counts in made["severities"].items():
            first, updates = counts["first_response"], counts["updates"]
            shares = [_share(first["share"]), *(str(first[name]) for name in ("in_time", "late", "waiting"))]
            shares += [_share(updates["share"]), str(updates["in_time"]), str(updates["late"])]
            rows.append((severity, *shares, str(counts["not_covered"])))
        typer.echo(aligned(header, rows))
        for turn in made["out_of_turn"]:
            ahead = ", ".join(f"{item['tenant']}/{item['request']} ({item['severity']})" for item in turn["ahead"])
            typer.echo(
                f"out of turn: {turn['tenant']}/{turn['request']} ({turn['severity']}) at {turn['at']}, before {ahead}"
            )
    if any(counts[what]["late"] for counts in made["severities"].values() for what in ("first_response", "updates")):
        raise typer.Exit(1)


def _share(found: float | None) -> str:
    return "-" if found is None else f"{found:.2%}"


@app.command("due")
def show_due(
    severity: Severity,
    opened: Annotated[str, typer.Option(help="When the request was opened, with an offset: 2026-11-20T16:59:00Z.")],
    terms: Annotated[
        Path | None, typer.Option(help="JSON or TOML file of other terms (default: the headquarters' own).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """When the first response and the next update to a single request are due, in UTC and on the desk's clock."""
    level = next((known for known in SEVERITIES if known == severity.upper()), None)
    if level is None:
        raise usage(f"--severity: expected one of {', '.join(SEVERITIES)}, found {severity!r}")
    try:
        opened_at = instant(opened)
    except ValueError as error:
        raise usage(f"--opened: {error}") from error
    standard = headquarters(load())
    try:
        answer = due(read_terms(terms, standard), level, opened_at)
    except (OSError, ValueError) as error:
        raise usage(f"--terms: {error}") from error
    if as_json:
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{level} request opened {answer['opened']}, terms {answer['terms']}, desk in {answer['zone']}")
    for name in ("first_response_due", "next_update_warning", "next_update_due"):
        typer.echo(f"{_words(name):<20} {answer[name]:<24} {answer[f'{name}_hq']}")


def read_terms(path: Path | None, standard: SupportTerms) -> SupportTerms:
    """The support terms in a file, JSON unless it is named .toml; `standard` without a file and for what it does not name.

    OSError or ValueError says why there are none.
    """
    if path is None:
        return standard
    text = path.read_text(encoding="utf-8")
    return support_terms(tomllib.loads(text) if path.suffix == ".toml" else json.loads(text), standard)


# -- what the topics hold


def _events(settings: Settings, tenant: str | None = None) -> list[Event]:
    """What people said of requests, of one tenant or of all; what the workers refuse to read is left out."""
    from monitor.stream.reading import records

    found = []
    for record in run(records(settings, TOPIC, tenant)):
        try:
            read_decision(TOPIC, record.offset, record.value or b"", record.timestamp)
        except Rejected:
            continue
        event = event_of(json.loads(record.value))
        if tenant in (None, event.tenant):
            found.append(event)
    return found


def _statuses(settings: Settings, tenant: str | None = None) -> dict[str, dict[str, Any]]:
    """The newest status of each request by tenant/request; with `tenant`, of those that share its partition."""
    from monitor.stream.reading import reader, statuses

    async def read() -> dict[str, dict[str, Any]]:
        async with reader(settings, "support-status", tenant) as source:
            return await statuses(source, {})

    return run(read())


def _terms(settings: Settings) -> Callable[[Request], SupportTerms]:
    """Gives the terms of a request, from its tenant's contracts."""
    standard = headquarters(settings)
    contracts: dict[str, list[Agreement]] = {}
    for agreement in standing(settings, "contracts"):
        contracts.setdefault(agreement.tenant, []).append(agreement)
    agreements = {tenant: Agreements(tenant, tuple(found)) for tenant, found in contracts.items()}

    def terms_of(request: Request) -> SupportTerms:
        if request.tenant not in agreements or request.opened is None:
            return standard
        return agreements[request.tenant].at(request.opened // MINUTE_MS).support_terms(standard)

    return terms_of


def _now(settings: Settings, statuses: Iterable[Mapping[str, Any]], events: Iterable[Event] = ()) -> int:
    """The present, epoch milliseconds; where the workers take the time from records, the newest that is known."""
    if settings.clock != "records":
        return time.time_ns() // 1_000_000
    newest = [instant(record["as_of"]) for record in statuses] + [event.time for event in events]
    return max(newest, default=0)


# -- for people


def _owed(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What is owed: first_response or update, when it is due in UTC, and on the desk's clock."""
    if record["first_response"] in ("waiting", "overdue"):
        yield "first_response", record["first_response_due"], record["first_response_due_hq"]
    if record["next_update_due"]:
        yield "update", record["next_update_due"], record["next_update_due_hq"]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shown(local: str) -> str:
    """An instant on the desk's clock for people, to the minute, with its offset."""
    return f"{local[:10]} {local[11:16]} {local[-6:]}"
