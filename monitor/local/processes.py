"""Processes of a local directory: started, remembered in a state file, found again, stopped. What they are is left to others.

A process is ours only while its pid and its start time are those that were written down, so `stop` never ends somebody else's.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

LOG_LINES = 15
STOP_SECONDS = 20.0
PORTS = range(20_000, 32_000)
"""Below those that outgoing connections are given: a client that knocks while its server restarts could get the server's own."""


class LocalError(Exception):
    """A local process that did not come up, or died; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that was started here. `started` is its start time, epoch seconds; `port` the one it serves."""

    name: str
    pid: int
    started: float
    port: int
    log: str

    def process(self) -> psutil.Process | None:
        """The process, None when it has ended (or its pid is somebody else's)."""
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.started) < 1 and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None

    def end_of_log(self) -> str:
        """The last lines of what it wrote."""
        try:
            lines = Path(self.log).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            return str(error)
        return "\n".join(lines[-LOG_LINES:])


class State:
    """The state file of a directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "state.json"

    def read(self) -> dict[str, Running]:
        """What was started here, by name."""
        if not self.path.is_file():
            return {}
        return {name: Running(**each) for name, each in json.loads(self.path.read_text(encoding="utf-8")).items()}

    def write(self, running: Mapping[str, Running]) -> None:
        """Replace the file at once, so that a reader never sees half of it."""
        made = self.path.with_suffix(".new")
        made.write_text(json.dumps({name: asdict(each) for name, each in running.items()}, indent=2), encoding="utf-8")
        made.replace(self.path)


def free_port() -> int:
    """A loopback port that nobody listens on now, be it by TCP or UDP."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            # As servers do: a port that only closed connections remember is free.
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
                return port
    raise LocalError(f"expected a free port from {PORTS.start} to {PORTS.stop - 1}, found none")


def start(
    name: str,
    command: Sequence[str],
    port: int,
    log: Path,
    healthy: Callable[[], bool],
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> Running:
    """Start a process in a session of its own and wait until it is healthy; LocalError when it dies or does not within `seconds`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    running: Running | None = None
    try:
        with log.open("ab") as out, _interrupted_later():
            child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
            running = Running(name, child.pid, psutil.Process(child.pid).create_time(), port, str(log))
        deadline = time.monotonic() + seconds
        while True:
            # First of all: somebody else may answer on that port.
            if child.poll() is not None:
                raise LocalError(f"{name} ended with {child.returncode}; the end of {log}:\n{running.end_of_log()}")
            if healthy():
                return running
            if time.monotonic() > deadline:
                raise LocalError(
                    f"{name} was not healthy within {seconds:.0f} s; the end of {log}:\n{running.end_of_log()}"
                )
            time.sleep(0.1)
    except BaseException:
        # Ctrl-C too: nothing that nobody has written down may stay behind.
        if running is not None:
            stop(running)
        raise


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """Let signals that interrupt by an exception do so at the end: a process that began in between is known by then."""
    came: list[int] = []
    interrupting: list[int] = []
    if threading.current_thread() is threading.main_thread():
        interrupting = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is signal.default_int_handler]
    for number in interrupting:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number in interrupting:
            signal.signal(number, signal.default_int_handler)
        for number in came[:1]:
            signal.raise_signal(number)


def stop(running: Running) -> None:
    """End a process of ours and wait for it; one that does not end in time is killed."""
    process = running.process()
    if process is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(5)


def answers(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
