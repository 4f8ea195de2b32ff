"""`monitor check`: settings, topics, rules, in the order in which a deployment fails."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import Annotated

import typer

from monitor.contract.support import headquarters
from monitor.settings import load


def check(as_json: Annotated[bool, typer.Option("--json", help="A list of {what, fine, said}.")] = False) -> None:
    """Check the settings, the topics on the broker, and the alerting rules. Exit code 1 for a finding, 3 without a broker."""
    from monitor.local.stack import deploy
    from monitor.stream import topics

    settings = load()  # a fault in them ends the command with all of them named
    headquarters(settings)
    found: list[tuple[str, bool, str]] = [
        ("settings", True, f"kafka {settings.kafka_bootstrap}, sources {', '.join(settings.sources)}")
    ]
    unreachable = False
    try:
        # What is kept although it differs hurts nobody.
        steps = [s for s in asyncio.run(topics.apply(settings, dry_run=True)) if s.action != "keep"]
        said = "; ".join(f"{step.action} {step.topic}: {step.said}" for step in steps)
        advice = "" if all(s.action == "misfit" for s in steps) else "; `monitor topics apply` does that"
        found.append(("topics", not steps, said + advice if steps else "as they should be"))
    except topics.Unreachable as error:
        unreachable = True
        found.append(("topics", False, str(error)))
    folder = deploy()
    if folder is None:
        found.append(("rules", True, "not checked: the repository's deploy/ is not here"))
    elif shutil.which("promtool") is None:
        found.append(("rules", True, "not checked: apt-get install prometheus brings promtool"))
    else:
        rules = sorted(str(path) for path in (folder / "prometheus" / "rules").glob("*.yaml"))
        done = subprocess.run(["promtool", "check", "rules", *rules], capture_output=True, text=True, check=False)
        found.append(
            (
                "rules",
                done.returncode == 0,
                f"{len(rules)} files" if done.returncode == 0 else done.stdout + done.stderr,
            )
        )
    if as_json:
        typer.echo(json.dumps([{"what": what, "fine": fine, "said": said} for what, fine, said in found]))
    else:
        for what, fine, text in found:
            typer.echo(f"{'fine' if fine else 'NOT FINE':<9} {what:<9} {text}")
    if unreachable:
        raise typer.Exit(3)
    if not all(fine for _, fine, _ in found):
        raise typer.Exit(1)
