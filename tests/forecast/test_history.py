"""A history is a function of its days: order, repetition and restarts change nothing, and the detector sees what a person would."""

import sys

import numpy as np
import pytest

from monitor.forecast import Fleet, History, MonthSoFar, forecast
from monitor.forecast.history import KEPT, digest, rhythm_of

DAY = 1440
FIRST = 20_000


def steady(requests_a_minute=20, **failing):
    """A day of even demand; `failing` maps a name to (first minute, minute outside, share)."""
    demand = np.full(DAY, requests_a_minute, dtype=np.int64)
    bad = np.zeros(DAY, dtype=np.int64)
    for first, upto, share in failing.values():
        bad[first:upto] = round(requests_a_minute * share)
    return demand, bad


def random_days(seed, days):
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(days):
        demand = rng.poisson(rng.choice([0.02, 3, 20]), DAY)
        works = np.full(DAY, 0.999)
        if rng.random() < 0.4:
            start = int(rng.integers(0, DAY))
            works[start : start + int(30 * (rng.pareto(1) + 1))] = rng.random()
        made.append((demand, rng.binomial(demand, 1 - works)))
    return made


def incidents(*days):
    history = History()
    for place, (demand, bad) in enumerate(days):
        history.replace_day(FIRST + place, demand, bad)
    past = history.past()
    ended = [(int(s) - FIRST * DAY, int(d)) for s, d in zip(past.starts, past.durations, strict=True)]
    return ended, past.present


@pytest.mark.parametrize("seed", range(5))
def test_a_history_rebuilt_from_its_days_equals_the_one_that_was_fed_as_they_went_by(seed):
    print("seed", seed)
    rng = np.random.default_rng(100 + seed)
    days = random_days(seed, 40)
    live = History()
    for place, (demand, bad) in enumerate(days):
        for upto in (*sorted(rng.integers(1, DAY, 3).tolist()), DAY):
            seen = np.arange(DAY) < upto
            live.replace_day(FIRST + place, demand * seen, bad * seen)
            live.close((FIRST + place) * DAY + upto - 1)
            live.past()
        if place % 7 == 6:  # an exclusion is approved late, then revoked
            live.replace_day(FIRST + place - 3, demand * 0, bad * 0)
            live.replace_day(FIRST + place - 3, *days[place - 3])
    rebuilt = History()
    for place in rng.permutation(len(days)).tolist():
        rebuilt.replace_day(FIRST + place, *days[place])
    assert live == rebuilt
    live_past, past = live.past(), rebuilt.past()
    for name in ("first", "last", "present", "recent", "quiet"):
        assert getattr(live_past, name) == getattr(past, name), name
    for name in ("starts", "durations", "severities", "quiet_bad"):
        np.testing.assert_array_equal(getattr(live_past, name), getattr(past, name))


def test_a_history_longer_than_is_kept_equals_one_made_of_the_kept_days():
    days = random_days(9, KEPT + 30)
    long, short = History(), History()
    for place, (demand, bad) in enumerate(days):
        long.replace_day(FIRST + place, demand, bad)
        if place >= 30:
            short.replace_day(FIRST + place, demand, bad)
    long.replace_day(FIRST, *days[5])  # too old to matter
    assert long == short
    assert long.past().first == short.past().first


def test_a_tenants_history_is_under_ten_kilobytes():
    history = History()
    for place, (demand, bad) in enumerate(random_days(3, 90)):
        history.replace_day(FIRST + place, demand, bad)
    rows = [i for some in history._incidents.values() for i in some]
    assert history.days.nbytes + history.hours.nbytes + sum(sys.getsizeof(i) for i in rows) < 12_000
    assert history.days.nbytes + history.hours.nbytes < 10_000


def test_a_failure_is_seen_from_its_first_to_its_last_minute():
    assert incidents(steady(a=(600, 700, 0.5), b=(900, 930, 1.0)))[0] == [(600, 100), (900, 30)]


def test_a_failure_over_midnight_is_one():
    ended, present = incidents(steady(a=(1300, DAY, 0.5)), steady(a=(0, 200, 0.5)), steady())
    assert (ended, present) == ([(1300, 340)], None)


def test_a_failure_over_a_whole_day_is_one():
    ended, _ = incidents(steady(a=(1300, DAY, 0.3)), steady(a=(0, DAY, 0.3)), steady(a=(0, 60, 0.3)))
    assert ended == [(1300, 140 + DAY + 60)]


def test_a_failure_that_goes_on_is_present_with_the_counts_it_has():
    ended, present = incidents(steady(), steady(a=(1000, DAY, 0.5)))
    assert ended == []
    assert (present.start, present.requests, present.failures) == ((FIRST + 1) * DAY + 1000, 440 * 20, 440 * 10)


def test_failures_by_chance_are_no_incident():
    rng = np.random.default_rng(4)
    days = []
    for _ in range(60):
        demand = rng.poisson(10, DAY)
        days.append((demand, rng.binomial(demand, 0.001)))
    assert incidents(*days)[0] == []


def test_a_failure_of_a_tiny_tenant_is_seen_through_its_silences():
    demand, bad = np.zeros(DAY, dtype=np.int64), np.zeros(DAY, dtype=np.int64)
    demand[::20] = 1
    bad[600:1000:20] = 1
    (ended,), _ = incidents((demand, bad), (demand, bad * 0))
    assert ended == (600, 381)


def test_a_day_of_other_than_1440_minutes_is_refused_with_what_was_found():
    with pytest.raises(ValueError, match=r"expected 1440 minutes of a day, found \(60,\)"):
        History().replace_day(FIRST, np.zeros(60, dtype=np.int64), np.zeros(60, dtype=np.int64))


def test_a_digest_tells_hours_rhythm_and_ends_as_sums_of_its_minutes_do():
    rng = np.random.default_rng(1)
    for share in (0.0, 0.001, 0.01, 0.3, 0.9, 1.0):
        demand = rng.integers(1, 50, DAY) * (rng.random(DAY) < share)
        bad = rng.binomial(demand, 0.01)
        made, asked = digest(demand, bad), np.flatnonzero(demand).tolist()
        assert (made.demand, made.bad) == (demand.sum(), bad.sum())
        assert made.hours.tolist() == demand.reshape(24, 60).sum(axis=1).tolist()
        assert made.rhythm.tolist() == rhythm_of(demand).tolist()
        assert (made.first, made.last) == ((asked[0], asked[-1]) if asked else (-1, -1))


def test_minutes_without_requests_change_no_digest():
    demand, bad = steady(a=(600, 700, 0.5))
    seen = np.arange(DAY) < 650
    made = digest(demand * seen, bad * seen)
    assert (made.last, made.incidents[0].open, made.recent) == (649, True, (600, 300))


def test_silent_days_are_days_without_demand():
    history, month = History(), FIRST * DAY
    for place in range(28):
        history.replace_day(FIRST + place, *steady(1))
    before = forecast(
        [MonthSoFar("a", month, month + 60 * DAY, month + 28 * DAY, 28 * DAY, 0)], [history], Fleet.of([])
    )
    history.close(month + 42 * DAY)
    after = forecast([MonthSoFar("a", month, month + 60 * DAY, month + 42 * DAY, 28 * DAY, 0)], [history], Fleet.of([]))
    assert before[0].expected_requests == pytest.approx(60 * DAY, rel=0.02)
    assert after[0].expected_requests < 50 * DAY


def test_a_history_read_at_every_step_equals_one_read_at_the_end():
    rng = np.random.default_rng(7)
    often, once = History(), History()
    for step in range(300):
        number = 20_000 + step // 5 - int(rng.integers(0, 3))
        demand = rng.poisson(3 * rng.integers(0, 2), DAY)
        bad = np.zeros_like(demand)
        for first in rng.integers(0, DAY, rng.integers(0, 3)):
            upto = first + int(rng.exponential(600))
            bad[first:upto] = rng.binomial(demand[first:upto], 0.7)
        for history in (often, once):
            history.replace_day(number, demand, bad)
        often.past()
    mine, theirs = often.past(), once.past()
    for name in ("starts", "durations", "severities", "quiet_demand", "quiet_bad"):
        assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
    assert (mine.first, mine.last, mine.present, mine.recent, mine.quiet) == (
        theirs.first,
        theirs.last,
        theirs.present,
        theirs.recent,
        theirs.quiet,
    )
