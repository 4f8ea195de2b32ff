from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from monitor.local import kafka, processes
from monitor.local.processes import LocalError, Running, State
from monitor.local.stack import Stack

QUICK = ("alertmanager", "prometheus")
WAITS = "import signal; signal.pause()"
NEEDED = pytest.mark.needs("prometheus", "prometheus-alertmanager")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path)
    yield made
    made.down()


@NEEDED
def test_a_second_up_starts_nothing(stack: Stack) -> None:
    first = stack.up(QUICK)
    assert [each.state for each in first] == ["running", "running"]
    assert stack.up(QUICK) == first


@NEEDED
def test_down_leaves_nothing_of_what_up_started(stack: Stack) -> None:
    pids = [each.pid for each in stack.up(QUICK)]
    assert stack.down() == ["prometheus", "alertmanager"]
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert {each.state for each in stack.status(QUICK)} == {"stopped"}
    assert stack.down() == []


def test_a_process_that_was_given_a_known_id_is_left_alone(stack: Stack) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        found = Running("kafka", other.pid, psutil.Process(other.pid).create_time(), 9, str(stack.directory / "log"))
        State(stack.directory).write({"kafka": replace(found, started=found.started - 3600)})
        assert [each.state for each in stack.status(["kafka"])] == ["dead"]
        assert stack.down() == []
        assert other.poll() is None


def test_absent_programs_are_named_with_the_command_that_installs_them(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(stack.directory))
    absent = {each.name: (each.state, each.said) for each in stack.up(QUICK)}
    assert absent == {
        "alertmanager": ("absent", "apt-get install prometheus-alertmanager"),
        "prometheus": ("absent", "apt-get install prometheus"),
    }


def test_a_program_that_ends_as_it_starts_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no room on the disk')"]
    with pytest.raises(LocalError, match=r"(?s)broker ended with 1; the end of .*no room on the disk"):
        processes.start("broker", command, 9, tmp_path / "log", lambda: False, 30)


def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.start("broker", [sys.executable, "-c", WAITS, str(tmp_path)], 9, tmp_path / "log", interrupted, 30)
    assert [each for each in psutil.Process().children() if str(tmp_path) in each.cmdline()] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_a_process_begins_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    class Slow(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            signal.raise_signal(number)

    monkeypatch.setattr(subprocess, "Popen", Slow)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            processes.start(
                "broker", [sys.executable, "-c", WAITS, str(tmp_path)], 9, tmp_path / "log", lambda: True, 30
            )
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert [each for each in psutil.Process().children() if str(tmp_path) in each.cmdline()] == []


def test_jars_that_could_not_be_fetched_are_never_taken_for_the_jars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def cut(repository: Path, folder: Path) -> None:
        (folder / "half.jar").touch()
        raise OSError("connection lost")

    monkeypatch.setattr(kafka, "_fetch", cut)
    with pytest.raises(LocalError, match="could not be fetched from Maven: connection lost"):
        kafka.classpath()
    assert list((tmp_path / "monitor").iterdir()) == []


@pytest.mark.parametrize(
    ("command", "number"), [("local up", signal.SIGTERM), ("demo", signal.SIGTERM), ("demo", signal.SIGHUP)]
)
def test_a_command_that_is_ended_while_it_starts_a_broker_leaves_none(
    tmp_path: Path, command: str, number: signal.Signals
) -> None:
    words = [*command.split(), "--dir", str(tmp_path / "made")]
    starting = subprocess.Popen(
        [sys.executable, "-c", "from monitor.cli import main; main()", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert starting.stdout is not None
    assert starting.stdout.readline() == "starting kafka\n"
    while not brokers(tmp_path):
        assert starting.poll() is None, "it ended before the broker's process began"
    starting.send_signal(number)
    said = starting.communicate(timeout=60)[0]
    left = brokers(tmp_path)
    for pid in left:
        psutil.Process(pid).kill()
    assert left == [], said


def brokers(folder: Path) -> list[int]:
    """Processes of Kafka with their files in a folder."""
    words = {each.pid: " ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])}
    return [pid for pid, line in words.items() if "kafka.Kafka" in line and str(folder) in line]
