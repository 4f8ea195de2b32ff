"""What the commands for people's decisions share: the time, what a topic holds already, checking, refusing and sending.

A decision is checked by the reader that the workers check it with, and judged against what the topics hold, before it is sent. What two people
send at the same moment is judged by the workers alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from monitor.cli.running import run
from monitor.contract.decisions import Refused
from monitor.contract.exclusions import ALL
from monitor.contract.instant import instant
from monitor.contract.period import MINUTE_MS, moment_of
from monitor.counting.request import Rejected
from monitor.settings import Settings
from monitor.sources.decisions import READERS, read_decision

By = Annotated[str, typer.Option(help="Who decides.")]
At = Annotated[str | None, typer.Option(help="When it was decided, such as 2026-11-23T10:00:00Z; by default now.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
Tenant = Annotated[str, typer.Argument(help="The tenant's id.")]
TenantOrAll = Annotated[str, typer.Argument(help="The tenant's id, or '*' for all.")]


def usage(message: str) -> typer.Exit:
    """Say what is wrong with the command's words; exit code 2."""
    typer.echo(message, err=True)
    return typer.Exit(2)


def finding(message: str) -> typer.Exit:
    """Say what was found; exit code 1."""
    typer.echo(message, err=True)
    return typer.Exit(1)


def refused(refusal: Refused, as_json: bool, sent: Mapping[str, Any] | None = None) -> typer.Exit:
    """Say why a decision is refused, and whether it was `sent` all the same, to be kept."""
    if as_json:
        typer.echo(json.dumps({**(sent or {}), "refused": refusal.record()}))
    kept = f"it is kept as {refusal.id} ({_where(sent)})" if sent else "nothing was sent"
    return finding(f"refused ({refusal.reason}): {refusal.sentence}; {kept}")


def _where(sent: Mapping[str, Any]) -> str:
    return f"{sent['topic']}-{sent['partition']}+{sent['offset']}"


def epoch_ms(option: str, text: str) -> int:
    """An option's RFC 3339 instant as UTC epoch milliseconds."""
    try:
        return instant(text)
    except ValueError as error:
        raise usage(f"{option}: {error}") from None


def times(settings: Settings, at: str | None) -> tuple[int, int]:
    """When a decision was made, and when it is recorded, both epoch milliseconds.

    Where the workers take the time from records, a decision is recorded when it was made.
    """
    now = time.time_ns() // 1_000_000
    made = now if at is None else epoch_ms("--at", at)
    return made, made if settings.clock == "records" else now


def standing(settings: Settings, kind: str) -> list[Any]:
    """The decisions of a kind that its topic holds, in order of time; those that the workers refuse to read are left out."""
    from monitor.stream.reading import records

    found = []
    for record in run(records(settings, kind)):
        try:
            read_decision(kind, record.offset, record.value or b"", record.timestamp)
        except Rejected:
            continue
        found.append(READERS[kind](json.loads(record.value), record.timestamp))
    return found


def newest_credits(settings: Settings) -> dict[tuple[str, str], dict[str, Any]]:
    """The newest record of each credit by tenant and month, as the topic `credits` has them."""
    from monitor.stream.reading import records

    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for record in run(records(settings, "credits")):
        credit = json.loads(record.value)
        place = (credit["tenant"], credit["month"])
        if place not in newest or newest[place]["version"] < credit["version"]:
            newest[place] = credit
    return newest


def note_strangers(settings: Settings, names: Sequence[str] | None) -> None:
    """Say so when somebody decides about a tenant that nobody has a contract with, though there are contracts: it may be mistyped."""
    known = {agreement.tenant for agreement in standing(settings, "contracts")}
    strangers = sorted(set(names or ()) - known) if known else []
    for name in strangers:
        close = get_close_matches(name, known, n=1)
        meant = f": did you mean {close[0]}?" if close else ""
        typer.echo(f"there is no contract with {name!r}{meant}", err=True)


def checked(kind: str, record: Mapping[str, Any], recorded: int, known: Iterable[Any] = ()) -> Any:
    """The decision in a record, as the workers will read it, recorded after all that is known; what is wrong with it is a usage error."""
    try:
        read_decision(kind, 0, json.dumps(record).encode(), recorded)
    except Rejected as error:
        raise usage(str(error).removesuffix(" - at `$`")) from None
    return READERS[kind](record, max([recorded, *(item.recorded for item in known)]))


def send(settings: Settings, kind: str, key: str, record: Mapping[str, Any], recorded: int) -> dict[str, Any]:
    """Send a decision; where it stands, and what was sent."""
    from monitor.stream.writing import write

    partition, offset = run(write(settings, kind, key, json.dumps(record).encode(), recorded))
    return {"topic": settings.topic(kind), "partition": partition, "offset": offset, "record": dict(record)}


def say(sent: Mapping[str, Any], sentence: str, as_json: bool) -> None:
    """Tell that a decision was sent."""
    typer.echo(json.dumps(sent) if as_json else f"{sentence} ({_where(sent)})")


def shown_minute(minute: int, zone: str = "UTC") -> str:
    """A UTC epoch minute for people."""
    return f"{moment_of(minute, zone):%Y-%m-%d %H:%M}"


def shown_ms(at: int) -> str:
    """An instant in epoch milliseconds for people, to the minute."""
    return shown_minute(at // MINUTE_MS)


def shown_scope(names: Sequence[str] | None) -> str:
    """Names for people; None is all."""
    return "all" if names is None else ", ".join(names)


def scope(names: Sequence[str]) -> str | list[str]:
    """Names as a record has them."""
    return ALL if ALL in names else list(names)


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a header, in columns as wide as need be: nothing is cut off for whoever greps."""
    lines = [tuple(header), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
