"""The engine: from journal records to statuses and announcements, through crashes at the worst moments, gaps and the month's end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from monitor.counting import frame as frames
from monitor.counting.frame import Decision, Frame, Tally
from monitor.engine.engine import Checkpoint, Engine
from monitor.engine.state import Announcement
from tests.tallied import packed

GOOD, BAD = [100, 0, 0, 0, 0], [50, 0, 50, 0, 0]
Counts = dict[str, dict[int, list[int]]]
"""A row by tenant and UTC epoch minute."""


def minute(text: str) -> int:
    """A UTC epoch minute from "2026-11-23T10:00"."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 60


class Journal:
    """One partition of the journal, fed by one source partition whose chunks are all committed."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.upto = 0

    def chunk(self, at: int, counts: Counts, *, lag_seconds: int = 0, skipped: int = 0) -> None:
        """A minute's chunk at its end, read `lag_seconds` behind the present; before it a sign of life every ten seconds.

        With `skipped` there was silence, and that many offsets were never read.
        """
        ends_ms = (at + 1) * 60_000
        for before_ms in () if skipped else range(50_000, 0, -10_000):
            self._frame(self.upto, self.upto, ends_ms - before_ms, lag_seconds, {})
        start = self.upto + skipped
        self.upto = start + sum(sum(row) for rows in counts.values() for row in rows.values())
        self._frame(start, self.upto, ends_ms, lag_seconds, counts)

    def decide(self, at: int, contract: dict[str, Any]) -> None:
        """A contract, at a UTC epoch minute."""
        made = Decision("contracts", self.upto, contract["tenant"], json.dumps(contract).encode())
        self.upto += 1
        self._frame(self.upto - 1, self.upto, at * 60_000, 0, {}, made)

    def _frame(self, start: int, upto: int, at_ms: int, lag_seconds: int, counts: Counts, *decisions: Decision) -> None:
        made = Frame(
            topic="auth-requests", partition=0, partitions=1, start=start, upto=upto, at_ms=at_ms,
            complete_ms=at_ms - lag_seconds * 1000,
            packed=packed({tenant: {"login": Tally(dict(rows))} for tenant, rows in counts.items()}),
            decisions=list(decisions),
        )  # fmt: skip
        self.records.append(frames.encode(made))

    def minutes(self, span: Iterable[int], row: list[int], tenants: Iterable[str] = ("ant",), **how: Any) -> None:
        for at in span:
            self.chunk(at, {tenant: {at: row} for tenant in tenants}, **how)

    def feed(self, engine: Engine) -> Engine:
        for offset in range(engine.following, len(self.records)):
            engine.take([(offset, self.records[offset])])
        return engine


def status(engine: Engine, tenant: str = "ant") -> dict[str, Any]:
    """What the engine says of a tenant, after it has said all that is new."""
    for _ in engine.statuses(10):
        pass
    return engine.status(engine.tenants[tenant])


def sent(made: Iterable[Announcement]) -> list[tuple[str, bytes]]:
    return [(each.id, each.data) for each in made]


START = minute("2026-11-30T21:30")  # so late that a bad quarter of an hour decides the month


@pytest.fixture
def outage() -> Journal:
    journal = Journal()
    journal.minutes(range(START, START + 60), GOOD, ("ant", "bee"))
    for at in range(START + 60, START + 75):
        journal.chunk(at, {"ant": {at: BAD}, "bee": {at: GOOD}})
    return journal


def test_an_outage_is_announced_once_for_each_threshold_under_ids_that_name_what_changed(outage: Journal) -> None:
    made = outage.feed(Engine({})).checkpoint().announcements
    ids = [each.id for each in made]
    assert ids
    assert len(set(ids)) == len(ids)
    assert {each.tenant for each in made} == {"ant"}
    for each in made:
        data = json.loads(each.data)
        assert each.id.split("/") == ["ant", "2026-11", f"{data['threshold']:g}", each.kind, each.id.rpartition("/")[2]]
        assert (data["type"], data["tenant"], data["period"]) == (each.kind, "ant", "2026-11")
        assert data["reason"]


def test_two_engines_that_read_the_same_journal_announce_the_same_bytes(outage: Journal) -> None:
    first, second = (outage.feed(Engine({})).checkpoint() for _ in range(2))
    assert sent(first.announcements) == sent(second.announcements)


@pytest.mark.parametrize("durable", ["nothing", "accounts", "accounts and days"])
def test_a_restart_before_the_commit_sends_the_same_announcements_again_and_counts_the_same(
    outage: Journal, durable: str
) -> None:
    made = outage.feed(Engine({})).checkpoint()
    table: dict[bytes, bytes] = {}
    if "accounts" in durable:
        table |= made.accounts
    if "days" in durable:
        table |= made.days
    restarted = outage.feed(Engine(table, offset=0, horizon=-1))
    again = restarted.checkpoint()
    assert sorted(sent(again.announcements)) == sorted(sent(made.announcements))
    assert sorted(restarted.rows()) == sorted(outage.feed(Engine({})).rows())


def test_a_restart_after_the_commit_announces_nothing_again_and_goes_on_from_there(outage: Journal) -> None:
    table: dict[bytes, bytes] = {}
    made = outage.feed(Engine(table)).checkpoint()
    restarted = outage.feed(Engine(table, offset=made.offset, horizon=made.horizon))
    assert not restarted.urgent
    assert not restarted.checkpoint().announcements
    outage.minutes(range(START + 75, START + 80), GOOD, ("ant", "bee"))
    straight = outage.feed(Engine({}))
    assert sorted(outage.feed(restarted).rows()) == sorted(straight.rows())
    assert status(restarted)["portals"] == status(straight)["portals"]


def test_a_crash_at_any_record_leaves_the_same_counts_and_repeats_only_what_was_said(outage: Journal) -> None:
    straight = outage.feed(Engine({}))
    for until in range(1, len(outage.records), 47):
        table: dict[bytes, bytes] = {}
        engine = Engine(table)
        for offset in range(until):
            engine.take([(offset, outage.records[offset])])
        made: Checkpoint = engine.checkpoint()
        restarted = outage.feed(Engine(table, offset=made.offset, horizon=made.horizon))
        assert sorted(restarted.rows()) == sorted(straight.rows())
        ids = [each.id for each in (*made.announcements, *restarted.checkpoint().announcements)]
        assert len(set(ids)) == len(ids)


def test_no_verdict_is_given_while_the_sources_lag_and_it_comes_once_they_have_caught_up() -> None:
    journal = Journal()
    journal.minutes(range(START, START + 30), BAD, lag_seconds=31)
    engine = journal.feed(Engine({}))
    assert not engine.urgent
    assert status(engine)["bad"] == 29 * 50
    assert not status(engine)["verdicts"]
    journal.minutes(range(START + 30, START + 32), BAD, lag_seconds=30)
    journal.feed(engine)
    assert engine.urgent
    assert status(engine)["verdicts"]


def test_a_new_month_starts_at_nothing_and_the_old_one_keeps_its_requests() -> None:
    turn = minute("2026-12-01T00:00")
    journal = Journal()
    journal.minutes(range(turn - 20, turn), BAD)
    engine = journal.feed(Engine({}))
    assert (status(engine)["period"], status(engine)["bad"]) == ("2026-12", 0)
    journal.minutes(range(turn, turn + 3), GOOD)
    found = status(journal.feed(engine))
    assert (found["period"], found["good"], found["bad"]) == ("2026-12", 200, 0)
    assert found["portals"]["login"] == {"good": 200, "bad": 0, "excluded": 0, "unclassified": 0}
    assert not found["verdicts"]
    assert sum(row[2] for _, _, at, row in engine.rows() if at < turn) == 20 * 50


def test_a_request_that_comes_late_counts_in_the_month_it_was_made_in() -> None:
    turn = minute("2026-12-01T00:00")
    journal = Journal()
    journal.minutes(range(turn, turn + 2), GOOD)
    journal.chunk(turn + 2, {"ant": {turn - 1: BAD, turn + 2: GOOD}})
    journal.minutes(range(turn + 3, turn + 4), GOOD)
    found = status(journal.feed(Engine({})))
    assert (found["period"], found["good"], found["bad"]) == ("2026-12", 300, 0)


def test_a_gap_takes_the_minutes_it_may_have_come_from_out_of_the_coverage_also_after_a_restart() -> None:
    first = minute("2026-11-01T00:00")
    journal = Journal()
    journal.minutes(range(first, first + 60), GOOD)
    table: dict[bytes, bytes] = {}
    engine = journal.feed(Engine(table))
    assert status(engine)["coverage"] == 1.0
    # Silence, and then offsets that nobody has read: they may be from any time since the last chunk's end.
    journal.minutes(range(first + 69, first + 70), GOOD, skipped=500)
    journal.minutes(range(first + 70, first + 100), GOOD)
    engine = journal.feed(engine)
    # The clock stands at minute 100, the gap touches the minutes 60 to 70.
    assert status(engine)["coverage"] == pytest.approx(1 - 11 / 100)
    assert status(engine)["good"] == 99 * 100 - 9 * 100 - 0
    made = engine.checkpoint()
    restarted = Engine(table, offset=made.offset, horizon=made.horizon)
    journal.minutes(range(first + 100, first + 110), GOOD)
    assert status(journal.feed(restarted))["coverage"] == pytest.approx(1 - 11 / 110)


def test_offsets_of_the_journal_do_not_go_back() -> None:
    journal = Journal()
    journal.minutes(range(START, START + 2), GOOD)
    engine = journal.feed(Engine({}))
    with pytest.raises(AssertionError, match="must not go back"):
        engine.take([(0, journal.records[0])])


def test_a_tenant_is_evaluated_though_the_clock_jumps_over_its_tick() -> None:
    journal = Journal()
    for at in range(START, START + 75):
        upto = journal.upto + 100
        journal._frame(journal.upto, upto, (at + 1) * 60_000, 0, {"ant": {at: GOOD if at < START + 60 else BAD}})
        journal.upto = upto
    found = status(journal.feed(Engine({})))
    assert found["expected_requests"] >= found["good"] + found["bad"]


def test_a_tenant_whose_terms_change_with_the_month_has_a_status_while_its_forecast_is_of_the_old_ones() -> None:
    turn = minute("2026-12-01T00:00")
    strict = {"version": "strict-1", "tiers": [{"below": 99.5, "days": 2}]}
    journal = Journal()
    journal.decide(turn - 30, {"tenant": "ant", "terms": strict, "effective_from": "2026-12-01"})
    journal.minutes(range(turn - 20, turn - 1), GOOD)
    engine = journal.feed(Engine({}))
    assert list(status(engine)["breach_probability"]) == ["99", "95", "90"]
    journal.chunk(turn, {"ant": {turn: GOOD}}, lag_seconds=60)  # too far behind for a new one
    assert (status(journal.feed(engine))["period"], status(engine)["breach_probability"]) == ("2026-12", None)
    journal.minutes(range(turn + 1, turn + 3), GOOD)
    assert list(status(journal.feed(engine))["breach_probability"]) == ["99.5"]
