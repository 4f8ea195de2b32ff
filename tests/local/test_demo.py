"""The demo's story told to the product's own engine, at the moments of a month that are hardest for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from monitor.cli.demo import expected_month
from monitor.counting import frame as frames
from monitor.counting.frame import Decision, Frame, Tally
from monitor.counting.request import UNCLASSIFIED
from monitor.engine.engine import Engine
from monitor.local import traffic
from monitor.local.traffic import DAY_MS, Demo, Requests
from tests.tallied import packed


class Played:
    """An engine on a journal of one partition, and what it has announced, each with the instant it did."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self.engine = Engine({})
        self.upto = 0
        self.announced: list[tuple[int, dict[str, Any]]] = []

    def take(self, made: Requests, at_ms: int, *, caught_up: bool = True, decisions: tuple[Decision, ...] = ()) -> None:
        """Requests in a chunk of their own, read at `at_ms`; the engine hears of it all at once."""
        tallies: dict[str, dict[str, Tally]] = {}
        for (tenant, portal, minute), row in traffic.truth(self.demo.fleet, made).items():
            tally = tallies.setdefault(tenant, {}).setdefault(portal, Tally({}, {}))
            tally.minutes[minute] = list(row)
            if row[UNCLASSIFIED]:
                tally.codes.setdefault("E_4711", {})[minute] = row[UNCLASSIFIED]
        upto = self.upto + len(made) + len(decisions)
        for start, content, told in ((self.upto, tallies, decisions), (upto, {}, ())):
            sent = Frame(
                topic="auth-requests", partition=0, partitions=1, start=start, upto=upto, at_ms=at_ms,
                complete_ms=at_ms if caught_up else 0, packed=packed(content), decisions=list(told),
            )  # fmt: skip
            self.engine.take([(self.engine.following, frames.encode(sent))])
        self.upto = upto
        due = self.engine.checkpoint()
        self.engine.committed(due.horizon)
        self.announced += [(at_ms, {"kind": each.kind, **json.loads(each.data)}) for each in due.announcements]

    def status(self, tenant: str) -> dict[str, Any]:
        return self.engine.status(self.engine.tenants[tenant])


def days(made: Requests) -> Iterator[Requests]:
    edges = np.searchsorted(made.time_ms, np.arange(made.time_ms[0], made.time_ms[-1] + DAY_MS, DAY_MS))
    for begin, end in zip(edges, [*edges[1:], len(made)], strict=True):
        yield made[begin:end]


@pytest.mark.parametrize(
    "now",
    [
        "2026-12-01T00:10:00Z",
        "2027-01-16T12:00:00Z",
        "2027-01-31T23:20:00Z",
        # A Sunday, the first hour in which the month before runs nowhere any more.
        "2027-08-01T11:00:00Z",
    ],
)
def test_a_breach_is_recorded_within_two_minutes_at_any_time_of_a_month(now: str) -> None:
    now_ms = traffic.instant_ms(now, 0)
    demo = traffic.demo_history(now_ms, expected=expected_month)
    played = Played(demo)
    zone = Decision("contracts", 0, demo.near, json.dumps({"tenant": demo.near, "zone": demo.zone}).encode())
    played.take(demo.history[:0], now_ms, caught_up=False, decisions=(zone,))
    for day in days(demo.history):
        played.take(day, now_ms, caught_up=False)
    begin_ms = demo.incidents[0].start_ms
    for at in range(now_ms, begin_ms, 1000):
        played.take(traffic.requests(demo.fleet, at, at + 1000, demo.incidents, 1), at + 1000)
    before = played.status(demo.near)
    assert before["verdicts"].get("99", "none") != "breached"
    assert 0 < before["budget_left"] < 0.03
    for at in range(begin_ms, begin_ms + 120_000, 1000):
        played.take(traffic.requests(demo.fleet, at, at + 1000, demo.incidents, 1), at + 1000)

    breached = [(at, each) for at, each in played.announced if each["kind"] == "breached"]
    [(at, record)] = breached
    assert record["tenant"] == demo.near
    assert begin_ms < at <= begin_ms + 120_000
    after = played.status(demo.near)
    assert after["projected"]["p50"] < before["projected"]["p50"]
