"""What the image holds: a wheel built from what the Dockerfile copies, installed alone and run as the image runs it."""

import json
import os
import re
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest

from monitor.local.processes import free_port

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
PATIENCE = 180
"""Seconds after which something that should have come is taken as missing."""


def copied() -> list[tuple[str, str]]:
    """(path in the repository, path in the build stage) of all that the Dockerfile copies from outside."""
    lines = [line.split()[1:] for line in DOCKERFILE.splitlines() if line.startswith("COPY ") and "--from" not in line]
    return [(source, words[-1]) for words in lines for source in words[:-1]]


@dataclass
class Installed:
    """An environment with nothing but the wheel and what it asks for."""

    wheel: Path
    programs: Path
    directory: Path

    def environment(self, **settings: str) -> dict[str, str]:
        """As in the image: no setting but those given, and its own programs first."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MONITOR_", "PYTHON"))}
        return kept | {"PATH": f"{self.programs}:{os.environ['PATH']}"} | settings

    def run(self, *command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            check=False,
            cwd=self.directory,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("image")
    source, wheels, environment = folder / "source", folder / "wheels", folder / "environment"
    for path, place in copied():
        target = source / place
        if (REPOSITORY / path).is_dir():
            copytree(REPOSITORY / path, target, ignore=ignore_patterns("__pycache__"))
        else:
            made = target / Path(path).name if place.endswith("/") else target
            made.parent.mkdir(parents=True, exist_ok=True)
            copy(REPOSITORY / path, made)
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), "."]
    subprocess.run(build, cwd=source, check=True, timeout=300)
    [wheel] = wheels.iterdir()
    venv.create(environment)
    pip += ["--python", str(environment)]
    install = [
        "install",
        "--no-compile",
        "--only-binary",
        ":all:",
        "--constraint",
        "deploy/constraints.txt",
        str(wheel),
    ]
    subprocess.run([sys.executable, *pip, *install], cwd=source, check=True, timeout=300)
    (folder / "home").mkdir()
    return Installed(wheel, environment / "bin", folder / "home")


def health_check() -> list[str]:
    found = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found
    command: list[str] = json.loads(found[1])
    return command


def command() -> list[str]:
    found = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    words: list[str] = json.loads(found[-1])
    return words


@pytest.mark.parametrize("path", [path for path, _ in copied()])
def test_what_the_dockerfile_copies_exists_and_reaches_the_build(path: str) -> None:
    assert (REPOSITORY / path).exists()
    assert f"!{path}" in (REPOSITORY / ".dockerignore").read_text().splitlines()


def test_the_build_installs_as_this_test_does() -> None:
    assert "pip wheel --no-cache-dir --no-deps --wheel-dir /wheels ." in DOCKERFILE
    assert "install --no-cache-dir --only-binary :all: --constraint deploy/constraints.txt /wheels/*.whl" in DOCKERFILE


def test_the_image_is_pinned_and_the_worker_is_not_root() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.1[1-3]\.\d+-slim-\w+", base) for base in bases)
    runtime = DOCKERFILE.rpartition("FROM ")[2]
    assert re.findall(r"^USER (\S+)", runtime, re.MULTILINE) == ["monitor"]
    assert runtime.index("useradd") < runtime.index("USER monitor") < runtime.index("CMD")


def test_the_wheel_holds_the_package_and_nothing_else(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"monitor", f"{installed.wheel.name.rsplit('-', 3)[0]}.dist-info"}
    modules = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "monitor").rglob("*.py")}
    assert modules | {"monitor/py.typed"} <= set(names)


def test_installed_alone_it_tells_what_it_can_do(installed: Installed) -> None:
    said = installed.run("monitor", "--help")
    assert said.returncode == 0, said.stderr
    assert "worker" in said.stdout
    assert "topics" in said.stdout


@pytest.mark.parametrize(
    "words", ["topics apply", "worker", "top", "load --requests 9", "support open a 1 --severity P1 --by ada"]
)
def test_without_a_broker_it_says_so_and_what_to_do_in_one_line(installed: Installed, words: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    said = installed.run("monitor", *words.split(), MONITOR_KAFKA_BOOTSTRAP=address)
    expected = f"no Kafka at {address}: `monitor local up` starts one, MONITOR_KAFKA_BOOTSTRAP names another\n"
    assert (said.returncode, said.stdout, said.stderr) == (3, "", expected)


@pytest.fixture
def settings(kafka: str, unique: str, tmp_path: Path) -> dict[str, str]:
    """What the image sets, with places of this machine."""
    [stated] = [line for line in DOCKERFILE.splitlines() if line.startswith("ENV ")]
    image = dict(word.split("=", 1) for word in stated.split()[1:] if word.startswith("MONITOR_"))
    assert image["MONITOR_HTTP_HOST"] == "0.0.0.0"
    return image | {
        "MONITOR_HTTP_HOST": "127.0.0.1",
        "MONITOR_HTTP_PORT": str(free_port()),
        "MONITOR_DATA_DIR": str(tmp_path / "data"),
        "MONITOR_KAFKA_BOOTSTRAP": kafka,
        "MONITOR_TOPIC_PREFIX": f"{unique}-",
        "MONITOR_GROUP": unique,
        "MONITOR_PARTITIONS": "1",
    }


@pytest.fixture
def worker(installed: Installed, settings: dict[str, str], tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    made = installed.run("monitor", "topics", "apply", **settings)
    assert made.returncode == 0, made.stderr
    with (tmp_path / "worker.log").open("wb") as log:
        environment = installed.environment(**settings)
        process = subprocess.Popen(command(), cwd=installed.directory, env=environment, stdout=log, stderr=log)
        yield process
        process.kill()
        process.wait(PATIENCE)


def test_the_health_check_passes_while_the_worker_lives_and_no_longer(
    installed: Installed, worker: "subprocess.Popen[bytes]", settings: dict[str, str], tmp_path: Path
) -> None:
    deadline = time.monotonic() + PATIENCE
    while installed.run(*health_check(), **settings).returncode:
        assert worker.poll() is None, (tmp_path / "worker.log").read_text()
        assert time.monotonic() < deadline, (tmp_path / "worker.log").read_text()
        time.sleep(0.2)
    worker.terminate()
    worker.wait(PATIENCE)
    assert installed.run(*health_check(), **settings).returncode != 0
