"""`monitor support`: what the support clocks say, for people."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from monitor.contract.instant import instant
from monitor.contract.support import (
    SEVERITIES,
    STANDARD_SUPPORT,
    SupportTerms,
    due,
    support_terms,
)

app = typer.Typer(help="Support requests: what is due when.", no_args_is_help=True)


@app.callback()
def support() -> None:
    """Support requests: what is due when."""


@app.command("due")
def show_due(
    severity: Annotated[str, typer.Option(help="P1, P2, P3 or P4.")],
    opened: Annotated[str, typer.Option(help="When the request was opened, with an offset: 2026-11-20T16:59:00Z.")],
    terms: Annotated[
        Path | None, typer.Option(help="JSON or TOML file of other terms (default: the standard package).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """When the first response and the next update to a single request are due, in UTC and on the desk's clock."""
    level = next((known for known in SEVERITIES if known == severity.upper()), None)
    if level is None:
        raise _refused(f"--severity: expected one of {', '.join(SEVERITIES)}, found {severity!r}")
    try:
        opened_at = instant(opened)
    except ValueError as error:
        raise _refused(f"--opened: {error}") from error
    try:
        answer = due(read_terms(terms), level, opened_at)
    except (OSError, ValueError) as error:
        raise _refused(f"--terms: {error}") from error
    if as_json:
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{level} request opened {answer['opened']}, terms {answer['terms']}, desk in {answer['zone']}")
    for name in ("first_response_due", "next_update_warning", "next_update_due"):
        typer.echo(f"{name.replace('_', ' '):<20} {answer[name]:<24} {answer[f'{name}_hq']}")


def read_terms(path: Path | None) -> SupportTerms:
    """The support terms in a file, JSON unless it is named .toml; without a file the standard package.

    OSError or ValueError says why there are none.
    """
    if path is None:
        return STANDARD_SUPPORT
    text = path.read_text(encoding="utf-8")
    return support_terms(tomllib.loads(text) if path.suffix == ".toml" else json.loads(text))


def _refused(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(2)
