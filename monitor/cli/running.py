"""Running a command's work, and ending it by the house's exit codes: 1 finding, 3 unreachable."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it to its end; what cannot be reached or is missing ends the command with one line."""
    from monitor.stream.topics import MissingTopics, Unreachable

    try:
        return asyncio.run(work)
    except Unreachable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from None
    except MissingTopics as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
