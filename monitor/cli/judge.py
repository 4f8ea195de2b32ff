"""`monitor judge` and the sums behind `monitor claim deadlines`: what terms say about counts, without a monitor or a broker."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from monitor.contract.instant import rfc3339
from monitor.contract.period import MINUTE_MS
from monitor.contract.readings import deadline
from monitor.contract.terms import STANDARD, Terms, label, percent, ratio, shown, terms_of, until

TermsFile = Annotated[Path | None, typer.Option(help="TOML file of other terms (default: the published ones).")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


def judge(
    good: Annotated[int, typer.Option(min=0, help="Requests the service answered as it should.")],
    bad: Annotated[
        int, typer.Option(min=0, help="Requests that failed by the provider's fault, or nobody knows whose.")
    ],
    terms: TermsFile = None,
    as_json: AsJson = False,
) -> None:
    """What a month with these counts would be: availability, band, days of credit, and what is left until each threshold."""
    promised = _terms(terms)
    total = good + bad
    band, days = promised.band(bad, total), promised.days(bad, total)
    left = {label(threshold): until(good, bad, threshold) for threshold in promised.thresholds}
    if as_json:
        answer = {"availability": ratio(good, bad), "band": percent(band) if total else None, "days": days}
        typer.echo(json.dumps({**answer, "good": good, "bad": bad, "left": left}))
        return
    typer.echo(f"{'availability':<14}{shown(good, bad)}")
    kept = f"{label(band)} %" if band else "under all that is promised"
    typer.echo(f"{'band':<14}{kept if total else 'none: there is nothing to judge'}")
    typer.echo(f"{'credit':<14}{days} days, if claimed" if days else f"{'credit':<14}none")
    for threshold, room in left.items():
        missing = f"missed: back at it after {-room} more that succeed"
        typer.echo(f"{f'{threshold} %':<14}{f'kept: {room} more may fail' if room >= 0 else missing}")


def deadlines(
    dates: Annotated[list[str], typer.Argument(help="Affected dates, such as 2026-11-23.")],
    zone: Annotated[str, typer.Option(help="The zone of the tenant's contract.")] = "UTC",
    terms: TermsFile = None,
    as_json: AsJson = False,
) -> None:
    """Until when each affected date may be claimed for: the last local date, and the instant at which it is over."""
    promised = _terms(terms)
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, LookupError):
        raise _refused(f"--zone: expected an IANA zone such as Europe/London, found {zone!r}") from None
    try:
        days = sorted({date.fromisoformat(text) for text in dates})
    except ValueError as error:
        raise _refused(f"expected dates such as 2026-11-23: {error}") from None
    rows = [deadline_record(day, promised, zone) for day in days]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo(f"{row['date']}  claim by {row['claim_by']}, before {row['claim_closes']}")


def deadline_record(day: date, terms: Terms, zone: str) -> dict[str, Any]:
    """An affected date with its deadline, as a JSON object like those on a statement."""
    last, closes = deadline(day, terms, zone)
    return {"date": day.isoformat(), "claim_by": last.isoformat(), "claim_closes": rfc3339(closes * MINUTE_MS)}


def read_terms(path: Path | None) -> Terms:
    """The terms in a TOML file; without a file the published ones. OSError or ValueError says why there are none."""
    return STANDARD if path is None else terms_of(tomllib.loads(path.read_text(encoding="utf-8")))


def _terms(path: Path | None) -> Terms:
    try:
        return read_terms(path)
    except (OSError, ValueError) as error:
        raise _refused(f"--terms: {error}") from None


def _refused(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(2)
