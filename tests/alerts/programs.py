"""A real Prometheus, a real Alertmanager and something that listens, on free loopback ports and gone at the end."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from monitor.local.processes import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
PATIENCE = 50.0
"""Seconds after which something that should have come is taken as missing."""


def until(found: Callable[[], Any], what: str, log: Path | None = None) -> Any:
    """The first true answer of `found`, asked again and again."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {PATIENCE:.0f} s" + (f"\n{log.read_text()[-3000:]}" if log else ""))


def ask(url: str, body: Any = None) -> Any:
    """The JSON answer to a GET, or to a POST with a body; None while nobody listens or the program is still starting."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            text = answer.read()
            return json.loads(text) if text.startswith((b"{", b"[")) else {"text": text.decode()}
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return None
        raise AssertionError(f"{url}: {error.code} {error.read().decode()}") from error
    except (urllib.error.URLError, ConnectionError):
        return None


@contextmanager
def listening(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """An HTTP server on loopback that hands each request's body to `answer`; yields host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply()

        def do_POST(self) -> None:
            self.reply()

        def reply(self) -> None:
            body = answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Phone:
    """A webhook, and what it was told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._posts: list[dict[str, Any]] = []

    def take(self, body: bytes) -> bytes:
        """A notification."""
        with self._lock:
            self._posts.append(json.loads(body))
        return b""

    def alerts(self) -> list[dict[str, Any]]:
        """All alerts of all notifications, in the order in which they came; each with its receiver."""
        with self._lock:
            posts = list(self._posts)
        return [{**each, "receiver": post["receiver"]} for post in posts for each in post["alerts"]]

    def told(self, tenant: str | None) -> list[tuple[str, str, str, str]]:
        """(receiver, alert, threshold, status) about a tenant, or about none: each once, in order."""
        said = [
            (each["receiver"], each["labels"]["alertname"], each["labels"].get("threshold", ""), each["status"])
            for each in self.alerts()
            if each["labels"].get("tenant") == tenant
        ]
        return list(dict.fromkeys(said))


@contextmanager
def prometheus(folder: Path, target: str, *, every: str, rules: str = "", alertmanager: str = "") -> Iterator[str]:
    """A Prometheus with the configuration of deploy/ that scrapes `target` and evaluates `every` so often; yields its address."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    config["rule_files"] = [rules] if rules else []
    config["scrape_configs"][0]["file_sd_configs"][0]["files"] = [str(folder / "targets.yaml")]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager] if alertmanager else []
    (folder / "targets.yaml").write_text(yaml.safe_dump([{"targets": [target]}]))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with _running(command, folder / "prometheus.log") as log:
        until(lambda: ask(f"{address}/-/ready"), "Prometheus is ready", log)
        yield address


@contextmanager
def alertmanager(folder: Path, config: str) -> Iterator[str]:
    """An Alertmanager without peers; yields its address."""
    (folder / "alertmanager.yaml").write_text(config)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        shutil.which("prometheus-alertmanager") or "alertmanager",
        f"--config.file={folder / 'alertmanager.yaml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with _running(command, folder / "alertmanager.log") as log:
        until(lambda: ask(f"{address}/-/ready"), "Alertmanager is ready", log)
        yield address


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[Path]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            yield log
        finally:
            process.terminate()
            process.wait(PATIENCE)


def query(address: str, expr: str) -> list[dict[str, Any]]:
    """The series that an instant query gives now."""
    answer = ask(f"{address}/api/v1/query?{urllib.parse.urlencode({'query': expr})}")
    return list(answer["data"]["result"])
