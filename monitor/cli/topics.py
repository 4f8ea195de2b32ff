"""`monitor topics`: the topics a deployment needs."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from monitor.settings import load

app = typer.Typer(help="The topics a deployment needs.", no_args_is_help=True)


@app.callback()
def _topics() -> None:
    """The topics a deployment needs."""


@app.command("apply")
def apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be made.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of lines as JSON.")] = False,
) -> None:
    """Make the missing topics. Nothing that exists is changed: other settings are said, other partitions are a finding (exit code 1)."""
    from monitor.stream import topics

    settings = load()
    try:
        said = asyncio.run(topics.apply(settings, dry_run=dry_run))
    except topics.Unreachable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from None
    typer.echo(json.dumps(said) if as_json else "\n".join(said) or "all topics are as they should be")
    if any(line.startswith("misfit") for line in said):
        raise typer.Exit(1)
