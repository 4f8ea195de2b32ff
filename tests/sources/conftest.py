"""A real FreeRADIUS on loopback: the service of `deploy/sources/freeradius/`, and a home server that can be stopped."""

import hashlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.local.processes import free_port

RADDB = Path(__file__).parents[2] / "deploy/sources/freeradius"
SECRET = "made up for a test"


class Radius:
    """Both servers, in processes of their own. `decisions` is the file with a line for each decision."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.decisions = directory / "decisions.log"
        self.port, backend_port = free_port(), free_port()
        self._environment = {
            **os.environ,
            "PATH": os.environ["PATH"] + ":/usr/sbin",
            "RADIUS_LOG_DIR": str(directory),
            "RADIUS_PORT": str(self.port),
            "RADIUS_DIRECTORY_PORT": str(backend_port),
            "RADIUS_SECRET": SECRET,
            "RADIUS_RESPONSE_WINDOW": "1",
        }
        self._backend: subprocess.Popen[bytes] | None = None
        self.start_backend()
        self._service = self._start("radiusd")

    def start_backend(self) -> None:
        self._backend = self._start("directory")

    def stop_backend(self) -> None:
        if self._backend is not None:
            _stop(self._backend)
            self._backend = None

    def close(self) -> None:
        _stop(self._service)
        self.stop_backend()

    def ask(self, times: int, user: str, password: str, source: str = "127.0.0.1") -> dict[str, int]:
        """Ask with radclient, all at once, and again every 0.4 s until there is an answer; how many had which."""
        packet = f'Packet-Src-IP-Address = {source}, User-Name = "{user}", User-Password = "{password}"\n'
        done = subprocess.run(
            ["radclient", "-s", "-p", str(times), "-r", "20", "-t", "0.4", f"127.0.0.1:{self.port}", "auth", SECRET],
            input="\n".join([packet] * times),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return {name: int(number) for name, number in re.findall(r"(Accepted|Rejected|Lost)\s*: (\d+)", done.stdout)}

    def ask_bytes(self, users: list[bytes], password: bytes) -> list[int]:
        """Ask once for each of some names that radclient cannot send; the codes of the answers (RFC 2865, section 3)."""
        clients = []
        for user in users:
            authenticator = os.urandom(16)
            key = hashlib.md5(SECRET.encode() + authenticator).digest()
            hidden = bytes(a ^ b for a, b in zip(password.ljust(16, b"\0"), key, strict=True))
            attributes = bytes([1, 2 + len(user)]) + user + bytes([2, 18]) + hidden
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.settimeout(10)
            size = (20 + len(attributes)).to_bytes(2, "big")
            client.sendto(bytes([1, 1]) + size + authenticator + attributes, ("127.0.0.1", self.port))
            clients.append(client)
        answers = [client.recv(4096)[0] for client in clients]
        for client in clients:
            client.close()
        return answers

    def lines(self) -> list[bytes]:
        return self.decisions.read_bytes().splitlines() if self.decisions.exists() else []

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        log = self.directory / f"{name}.out"
        # The server would append, and an earlier start has been ready too.
        log.unlink(missing_ok=True)
        process = subprocess.Popen(
            ["freeradius", "-f", "-d", str(RADDB), "-n", name, "-l", str(log)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 20
        while not (log.exists() and b"Ready to process requests" in log.read_bytes()):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                said, _ = process.communicate()
                pytest.fail(f"freeradius -n {name}: {said.decode()}{log.read_text() if log.exists() else ''}")
            time.sleep(0.05)
        return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


@pytest.fixture
def radius(tmp_path: Path) -> Iterator[Radius]:
    """The service and its home server, running; mark the test `needs("freeradius", "radclient")`."""
    servers = Radius(tmp_path)
    yield servers
    servers.close()
