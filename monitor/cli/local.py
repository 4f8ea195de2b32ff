"""`monitor local`: Kafka, Prometheus and Alertmanager on this machine, in one directory."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from monitor.local.processes import LocalError
from monitor.local.stack import Component, Stack

app = typer.Typer(help="Kafka, Prometheus and Alertmanager on this machine.", no_args_is_help=True)

Directory = Annotated[Path, typer.Option("--dir", help="Where data, logs and the state file are.")]
AsJson = Annotated[bool, typer.Option("--json", help="A list of objects.")]
HERE = Path(".local")


def _show(components: list[Component], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in components]))
    else:
        for each in components:
            where = f"{each.address}  pid {each.pid}" if each.pid else each.said
            typer.echo(f"{each.name:<13} {each.state:<8} {where}")
    if any(each.state == "dead" for each in components):
        raise typer.Exit(1)


@app.command()
def up(directory: Directory = HERE, *, as_json: AsJson = False) -> None:
    """Start what does not run yet, and show where everything is."""
    # As Ctrl-C does: what nobody has written down yet is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        made = Stack(directory).up(tell=lambda text: typer.echo(text, err=True))
    except LocalError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from None
    _show(made, as_json=as_json)


@app.command()
def down(directory: Directory = HERE, *, as_json: AsJson = False) -> None:
    """Stop what `up` started here, and nothing else."""
    stopped = Stack(directory).down()
    typer.echo(json.dumps(stopped) if as_json else f"stopped {', '.join(stopped) or 'nothing: nothing ran here'}")


@app.command()
def status(directory: Directory = HERE, *, as_json: AsJson = False) -> None:
    """Show what runs; exit code 1 when something has died, with the end of its log."""
    _show(Stack(directory).status(), as_json=as_json)
