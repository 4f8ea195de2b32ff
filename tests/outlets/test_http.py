"""The worker's port as whoever runs it meets it: a busy worker lives, a stuck one does not, and none is ready before it can count."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from monitor.engine.vitals import Vitals
from monitor.local.processes import free_port
from monitor.outlets import http
from monitor.outlets.http import Pages


class Asked:
    """Pages of vitals on a port, asked from another thread than the worker's."""

    def __init__(self) -> None:
        self.vitals = Vitals()
        self.port = free_port()
        self.pages = Pages(self.vitals)
        self.pages.listen("127.0.0.1", self.port)

    def get(self, page: str) -> tuple[int, str]:
        """The status and the text."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{page}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture
async def asked() -> Iterator[Asked]:
    made = Asked()
    turning = asyncio.create_task(made.pages.turn())
    await asyncio.sleep(0)
    yield made
    turning.cancel()


def test_a_worker_lives_before_its_event_loop_runs_and_has_no_metrics_yet() -> None:
    made = Asked()
    assert made.get("live") == (200, "live\n")
    assert made.get("ready")[0] == 503
    assert made.get("metrics") == (503, "not started yet\n")


async def test_a_worker_is_ready_once_its_partitions_are_taken_up_and_not_after_it_has_lost_them(asked: Asked) -> None:
    for taken, status in ((False, 503), (True, 200), (False, 503)):
        asked.vitals.ready = taken
        assert (await asyncio.to_thread(asked.get, "ready"))[0] == status
        assert (await asyncio.to_thread(asked.get, "live"))[0] == 200


async def test_a_busy_event_loop_still_lives_and_a_stuck_one_does_not(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "STUCK_SECONDS", 2.0)
    # The loop of this test is the worker's, and is held here.
    assert asked.get("live")[0] == 200
    time.sleep(2.1)  # noqa: ASYNC251  # that is the fault
    status, said = asked.get("live")
    assert (status, said.split(" for ")[0]) == (503, "stuck: the event loop has not turned")
    await asyncio.sleep(1.1)
    assert asked.get("live")[0] == 200


async def test_metrics_wait_for_the_workers_loop_and_say_so_when_it_is_too_busy(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, text = await asyncio.to_thread(asked.get, "metrics")
    assert (status, "monitor_ready 0.0" in text) == (200, True)
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.2)
    assert asked.get("metrics") == (503, "the worker was busy for 0 s\n")


async def test_a_port_that_is_taken_is_told_to_who_asked_for_it(asked: Asked) -> None:
    with pytest.raises(OSError, match="in use"):
        Pages(Vitals()).listen("127.0.0.1", asked.port)
