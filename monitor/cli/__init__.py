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
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS = {
    "demo": "demo:demo",
    "worker": "worker:worker",
    "load": "load:load",
    "ship": "ship:ship",
    "top": "top:top",
    "status": "top:status",
    "check": "check:check",
    "judge": "judge:judge",
    "backtest": "backtest:backtest",
}
GROUPS = {"topics": "topics", "local": "local", "support": "support"}


def _register() -> None:
    for name, place in COMMANDS.items():
        module, _, function = place.partition(":")
        app.command(name)(getattr(importlib.import_module(f"monitor.cli.{module}"), function))
    for name, module in GROUPS.items():
        app.add_typer(importlib.import_module(f"monitor.cli.{module}").app, name=name)


def main() -> None:
    """Run the command line; settings that cannot be used are a usage error."""
    _register()
    try:
        app()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(USAGE)
