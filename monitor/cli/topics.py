"""`monitor topics`: the topics a deployment needs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from monitor.cli.running import run
from monitor.settings import load

app = typer.Typer(help="The topics a deployment needs.", no_args_is_help=True)


@app.callback()
def _topics() -> None:
    """The topics a deployment needs."""


@app.command("apply")
def apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of {action, topic, said}.")] = False,
) -> None:
    """Make the missing topics, and alter the configuration of those that differ; a source that is there is left alone.

    Partitions that do not fit are a finding (exit code 1), for nothing here can change them. A second run finds nothing to do.
    """
    from monitor.stream import topics

    steps = run(topics.apply(load(), dry_run=dry_run))
    if as_json:
        typer.echo(json.dumps([asdict(step) for step in steps]))
    else:
        done = {"make": "made", "alter": "altered", "keep": "kept"} if not dry_run else {}
        for step in steps:
            typer.echo(f"{done.get(step.action, step.action):<8} {step.topic}: {step.said}")
        if not any(step.action != "keep" for step in steps):
            typer.echo("all topics are as they should be")
    if any(step.action == "misfit" for step in steps):
        raise typer.Exit(1)
