"""Kafka, Prometheus and Alertmanager of one directory: brought up, told apart when something is missing or dead, and taken down."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from monitor.local import kafka
from monitor.local.processes import LocalError, Running, State, answers, free_port, start, stop

COMPONENTS = ("kafka", "alertmanager", "prometheus")
"""In the order in which they are started; they are stopped in the other."""
PACKAGES = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
PROGRAMS = {"prometheus": ("prometheus",), "alertmanager": ("prometheus-alertmanager", "alertmanager")}
NOWHERE = "http://127.0.0.1:9/"
"""Where pages go until somebody names a webhook: nothing listens there."""


@dataclass(frozen=True, slots=True)
class Component:
    """One component's state: `running`, `dead` (with the end of its log in `said`), `absent` (with what to do) or `stopped`."""

    name: str
    state: str
    address: str
    pid: int | None
    said: str


def deploy() -> Path | None:
    """The folder with rules and routes, None when the package was installed without the repository."""
    found = Path(__file__).resolve().parents[2] / "deploy"
    return found if (found / "prometheus").is_dir() else None


def program(name: str) -> str | None:
    """The path of a component's program, None when it is not installed."""
    return next((path for each in PROGRAMS[name] if (path := shutil.which(each))), None)


class Stack:
    """The components of a directory (data, logs, state file). Only loopback is listened on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.state = State(self.directory)

    def up(
        self,
        components: Iterable[str] = COMPONENTS,
        webhook: str = NOWHERE,
        tell: Callable[[str], None] = lambda _: None,
    ) -> list[Component]:
        """Start what does not run yet; `tell` hears of progress. Absent programs are left out and named; LocalError when one fails."""
        self.directory.mkdir(parents=True, exist_ok=True)
        running = self.state.read()
        for name in COMPONENTS:
            had = running.get(name)
            if name not in components or (had and had.process()):
                continue
            if name != "kafka" and (program(name) is None or deploy() is None):
                continue
            tell(f"starting {name}")
            port = had.port if had and not answers(had.port) else free_port()
            if name == "kafka":
                running[name] = kafka.up(self.directory, port)
            elif name == "alertmanager":
                running[name] = self._alertmanager(port, webhook)
            else:
                running[name] = self._prometheus(port, running.get("alertmanager"))
            self.state.write(running)
        return self.status(components)

    def down(self) -> list[str]:
        """Stop what was started here; the names of what was."""
        running = self.state.read()
        stopped = []
        for name in reversed(COMPONENTS):
            if name in running and running[name].process():
                stop(running[name])
                stopped.append(name)
        self.state.path.unlink(missing_ok=True)
        return stopped

    def status(self, components: Iterable[str] = COMPONENTS) -> list[Component]:
        """Each component as it is now."""
        running = self.state.read()
        return [self._component(name, running.get(name)) for name in COMPONENTS if name in components]

    def address(self, name: str) -> str:
        """host:port of a running component; LocalError when it does not run."""
        found = self.state.read().get(name)
        if found is None or not found.process():
            raise LocalError(f"{name} does not run in {self.directory}: `monitor local up` starts it")
        return f"127.0.0.1:{found.port}"

    def targets(self, workers: Iterable[str]) -> None:
        """Let Prometheus scrape these workers (host:port)."""
        made = self.directory / "targets.json"
        self.directory.mkdir(parents=True, exist_ok=True)
        made.write_text(json.dumps([{"targets": list(workers)}]), encoding="utf-8")

    def _component(self, name: str, had: Running | None) -> Component:
        if had is not None:
            address = f"127.0.0.1:{had.port}"
            if had.process():
                return Component(name, "running", address, had.pid, "")
            return Component(name, "dead", address, None, f"the end of {had.log}:\n{had.end_of_log()}")
        if name != "kafka" and program(name) is None:
            return Component(name, "absent", "", None, f"apt-get install {PACKAGES[name]}")
        if name != "kafka" and deploy() is None:
            return Component(name, "absent", "", None, "its rules are in the repository's deploy/, which is not here")
        return Component(name, "stopped", "", None, "")

    def _render(self, template: str, made: str, **values: str) -> Path:
        folder = deploy()
        if folder is None:
            raise LocalError("the repository's deploy/ is not here")
        text = (folder / template).read_text(encoding="utf-8")
        path = self.directory / made
        path.write_text(Template(text).safe_substitute(values), encoding="utf-8")
        return path

    def _alertmanager(self, port: int, webhook: str) -> Running:
        config = self._render("alertmanager/alertmanager.yaml", "alertmanager.yaml", WEBHOOK=webhook)
        command = [
            str(program("alertmanager")),
            f"--config.file={config}",
            f"--storage.path={self.directory / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        return start(
            "alertmanager", command, port, self.directory / "logs" / "alertmanager.log", lambda: _ready(port), 30
        )

    def _prometheus(self, port: int, alertmanager: Running | None) -> Running:
        if not (self.directory / "targets.json").exists():
            self.targets([])
        config = self._render(
            "prometheus/prometheus.yaml",
            "prometheus.yaml",
            RULES=str(deploy() / "prometheus" / "rules"),  # type: ignore[operator]  # _render has raised when there is none
            TARGETS=str(self.directory / "targets.json"),
            ALERTMANAGER=f"127.0.0.1:{alertmanager.port if alertmanager else 9}",
        )
        command = [
            str(program("prometheus")),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.directory / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-lifecycle",
        ]
        return start("prometheus", command, port, self.directory / "logs" / "prometheus.log", lambda: _ready(port), 30)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
