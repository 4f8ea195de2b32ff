"""The command line. Each command is a module of this folder; exit codes are 0 fine, 1 finding, 2 usage, 3 unreachable."""

from __future__ import annotations

import importlib
import sys

import typer

from monitor.settings import SettingsError

FINDING, USAGE, UNREACHABLE = 1, 2, 3

app = typer.Typer(
    name="monitor",
    help="Streaming SLA monitor for authentication providers.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _monitor() -> None:
    """Streaming SLA monitor for authentication providers."""


COMMANDS = {
    "demo": "demo:demo",
    "worker": "worker:worker",
    "load": "load:load",
    "ship": "ship:ship",
    "top": "top:top",
    "status": "top:status",
    "explain": "explain:explain",
    "replay": "replay:replay",
    "check": "check:check",
    "judge": "judge:judge",
    "statement": "statement:statement",
    "verify": "verify:verify",
    "backtest": "backtest:backtest",
}
GROUPS = ("topics", "local", "support", "contract", "exclude", "decide", "claim")


def register(only: str | None = None) -> typer.Typer:
    """The command line with all its commands, or with `only` the one named: importing all of them takes half a second."""
    for name, place in COMMANDS.items():
        if only in (None, name):
            module, _, function = place.partition(":")
            app.command(name)(getattr(importlib.import_module(f"monitor.cli.{module}"), function))
    for name in GROUPS:
        if only in (None, name):
            app.add_typer(importlib.import_module(f"monitor.cli.{name}").app, name=name)
    return app


def main() -> None:
    """Run the command line; settings that cannot be used are a usage error."""
    first = next(iter(sys.argv[1:]), "")
    try:
        register(first if first in (*COMMANDS, *GROUPS) else None)()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(USAGE)
