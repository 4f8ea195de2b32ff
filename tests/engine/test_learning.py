"""What the engine learns from its forecasts: samples kept day by day, held against the month's end, through restarts at any moment."""

from __future__ import annotations

import pytest
from engine.test_engine import BAD, GOOD, Journal, minute, status

from monitor.counting.frame import Decision
from monitor.engine import state
from monitor.engine.engine import Checkpoint, Engine
from monitor.engine.state import Taught
from monitor.forecast.calibration import Correction, Ended, Outcomes, Sample, outcomes, sampled_at

TENANTS = ("ant", "bee")
TURN = minute("2026-12-01T00:00")
FIRST = TURN - 3 * 1440
STEP = 30


class Sparse(Journal):
    """A chunk every `STEP` minutes, for whole days."""

    def days(self, first: int, upto: int, *decisions: Decision) -> Sparse:
        for at in range(first, upto, STEP):
            rows = {name: {at: BAD if name == "bee" and at % 1440 < 60 else GOOD} for name in TENANTS}
            start, self.upto = self.upto, self.upto + 200
            self._frame(start, self.upto, (at + 1) * 60_000, 0, rows, *decisions)
            decisions = ()
        return self


@pytest.fixture(scope="module")
def turn() -> Sparse:
    """The last three days of a month and the first hours of the next."""
    return Sparse().days(FIRST, TURN + 360)


@pytest.fixture(scope="module")
def straight(turn: Sparse) -> Engine:
    """The engine that nothing has happened to."""
    return turn.feed(Engine({}))


def kept(engine: Engine) -> dict[str, list[Sample]]:
    return {name: [Sample.unpacked(one) for one in engine.tenants[name].samples.packed] for name in TENANTS}


def sampled_before(name: str, upto: int) -> int:
    """How many of the days before a minute have their hashed minute before the day's last chunk."""
    days = range(FIRST // 1440, upto // 1440)
    return sum(sampled_at(name, day) <= 1440 - STEP for day in days)


def test_a_forecast_a_day_is_kept_and_what_is_kept_survives_a_restart(turn: Sparse) -> None:
    table: dict[bytes, bytes] = {}
    engine = Engine(table)
    until = 2 * 1440 // STEP
    engine.take((offset, turn.records[offset]) for offset in range(until))
    found = kept(engine)
    assert {name: len(samples) for name, samples in found.items()} == {
        name: sampled_before(name, FIRST + 2 * 1440) for name in TENANTS
    }
    made = engine.checkpoint()
    restarted = Engine(table, offset=made.offset, horizon=made.horizon)
    assert kept(restarted) == found
    assert max(len(table[state.samples_key(name)]) for name in TENANTS) < 200


def test_when_the_month_has_ended_its_forecasts_are_held_against_how_it_did(turn: Sparse) -> None:
    engine = Engine({})
    until = 3 * 1440 // STEP
    engine.take((offset, turn.records[offset]) for offset in range(until))
    samples = kept(engine)
    assert not engine.taught.months
    turn.feed(engine)
    expected = Ended()
    requests = 3 * 1440 // STEP * 100
    bad = {"ant": 0, "bee": 3 * 60 // STEP * 50}
    for name in TENANTS:
        expected.add(outcomes(samples[name], requests - bad[name], bad[name], 9900))
    assert engine.taught.months == {"2026-11": expected}
    assert expected.quiet.months + expected.failing.months >= 2
    assert expected.quiet.missed_months + expected.failing.missed_months >= 1
    assert engine.correction == Correction.of({"2026-11": expected}) != Correction()


def test_a_restart_between_the_months_teaches_the_same_as_none(turn: Sparse, straight: Engine) -> None:
    for hour in (-30, 0, 1, 5):
        table: dict[bytes, bytes] = {}
        engine = Engine(table)
        until = (TURN + hour * 60 - FIRST) // STEP
        engine.take((offset, turn.records[offset]) for offset in range(until))
        made = engine.checkpoint()
        restarted = turn.feed(Engine(table, offset=made.offset, horizon=made.horizon))
        assert restarted.taught.months == straight.taught.months, hour
        assert restarted.correction == straight.correction


def test_a_crash_before_what_was_taught_is_durable_or_after_it_is_teaches_nothing_twice_and_forgets_nothing(
    turn: Sparse,
) -> None:
    straight = turn.feed(Engine({}))
    made: Checkpoint = turn.feed(Engine({})).checkpoint()
    order = list(made.accounts.items())
    keys = [key for key, _ in order]
    assert keys.index(state.TAUGHT) > max(keys.index(state.samples_key(name)) for name in TENANTS)
    for durable in (*range(keys.index(state.TAUGHT) + 2), len(order)):
        restarted = turn.feed(Engine(dict(order[:durable]), offset=0, horizon=-1))
        assert restarted.taught.months == straight.taught.months, keys[:durable]
        table: dict[bytes, bytes] = {}
        restarted.table = table
        restarted.checkpoint()
        again = Engine(dict(order[:durable]) | table, offset=len(turn.records), horizon=len(turn.records) - 1)
        assert again.taught.months == straight.taught.months
        assert again.correction == straight.correction


def test_what_was_taught_narrows_or_widens_the_interval_that_is_told_and_leaves_its_middle() -> None:
    journal = Sparse().days(FIRST, FIRST + 720)
    levels = 6
    never, often = ([0] * levels, [400] * levels)
    widths = []
    for beyond in (never, None, often):
        table = {}
        if beyond is not None:
            lesson = Outcomes(months=1000, samples=1000, beyond_low=[*beyond], beyond_high=[*beyond])
            months = {"2026-10": Ended(quiet=lesson, failing=lesson)}
            table[state.TAUGHT] = state.encode(Taught(0, months))
        told = status(journal.feed(Engine(table)), "bee")["projected"]
        widths.append((told["p95"] - told["p05"], told["p50"]))
    assert widths[0][0] < widths[1][0] < widths[2][0]
    assert len({middle for _, middle in widths}) == 1


def test_what_was_said_of_other_terms_teaches_nothing_about_these() -> None:
    strict = {"version": "strict-1", "tiers": [{"below": 99.5, "days": 2}]}
    made = b'{"tenant": "bee", "terms": %b, "effective_from": "2026-11-01"}' % state.msgspec.json.encode(strict)
    journal = Sparse().days(FIRST, FIRST + 1440)
    engine = journal.feed(Engine({}))
    assert [len(samples) for samples in kept(engine).values()] == [1, 1]
    journal.days(FIRST + 1440, FIRST + 2880, Decision("contracts", 5, "bee", made))
    journal.feed(engine)
    assert {name: len(samples) for name, samples in kept(engine).items()} == {"ant": 2, "bee": 1}
    assert engine.tenants["bee"].samples.threshold == 9950
