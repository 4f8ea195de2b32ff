"""`monitor judge`: what terms say about counts, without a monitor or a broker."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated

import typer

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
