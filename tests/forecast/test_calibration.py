"""What forecasts learn from the months before: the interval's ends, and P, and when they may."""

from dataclasses import replace
from itertools import pairwise
from time import process_time

import numpy as np
import pytest

from monitor.cli.backtest import populations_of
from monitor.forecast.backtest import Population, Spent, Trail, replay
from monitor.forecast.calibration import (
    CHANCES,
    KEPT_MONTHS,
    LEAST_MISSES,
    SHARES,
    Correction,
    Ended,
    Sample,
    forget,
    outcomes,
    sample,
    sampled_at,
)
from monitor.forecast.mixture import FAILING_TAIL, LEVELS, TAIL, Forecast

SEED = 5
TOP = 9900
REQUESTS = 1_000_000


def forecast_of(quantile, p=0.5, *, failing=False):
    """A forecast whose share of bad requests has this quantile function."""
    bad = [quantile(1 - level) for level in LEVELS] + [quantile(level) for level in LEVELS]
    at = FAILING_TAIL if failing else TAIL
    ends = (1 - quantile(1 - at), 1 - quantile(0.5), 1 - quantile(at))
    return Forecast(1.0, *ends, {TOP: p, 9500: p / 2}, {}, None, failing, 0.0, tuple(1 - share for share in bad))


def month_ended(made, shares, days=30):
    """What months teach that end with these shares of bad requests, when each day of them the same was forecast."""
    ended = Ended()
    for share in shares:
        bad = round(share * REQUESTS)
        ended.add(outcomes([sample(made)] * days, REQUESTS - bad, bad, TOP))
    return ended


def spread(n, factor):
    """Shares of bad requests, evenly over a range around .005."""
    return [0.005 + factor * ((i + 0.5) / n - 0.5) for i in range(n)]


def even(u):
    """Forecasts say that the month ends evenly between .1 and .9 % of bad requests."""
    return 0.001 + 0.008 * u


def test_an_interval_that_is_too_wide_becomes_narrower_as_months_show_it_and_not_before():
    made = forecast_of(even)
    # The months end in half the range that was said: nine tenths of them between .32 and .68 %.
    widths = []
    for n in (0, 10, 100, 10_000):
        told = Correction.of({"2026-10": month_ended(made, spread(n, 0.004))} if n else {}).corrected(made)
        widths.append(told.p95 - told.p05)
    assert widths[0] == made.p95 - made.p05
    assert all(wide > narrow for wide, narrow in pairwise(widths))
    assert widths[1] > 0.9 * widths[0]
    # No end is read from further inside than the last level that is kept.
    assert widths[3] == pytest.approx(0.008 * (1 - 2 * LEVELS[-1]), rel=0.01)


def test_an_interval_that_is_too_narrow_becomes_wider_up_to_what_was_seen():
    made = forecast_of(even)
    beyond = 1 / 0.85  # 15 % of the months end beyond the ends that nine tenths should be within
    told = Correction.of({"2026-10": month_ended(made, spread(10_000, 0.0072 * beyond))}).corrected(made)
    assert made.p05 > told.p05 >= 1 - even(0.99)
    assert made.p95 < told.p95 <= 1 - even(0.01)


def test_each_end_learns_from_the_months_that_end_on_its_side():
    made = forecast_of(even)
    shares = [even(0.5 + 0.5 * (i + 0.5) / 1000) for i in range(1000)]  # never better than the middle
    told = Correction.of({"2026-10": month_ended(made, shares)}).corrected(made)
    assert told.p05 < made.p05
    assert told.p95 < made.p95


@pytest.mark.parametrize("failing", [False, True])
def test_what_forecasts_of_one_state_teach_does_not_touch_those_of_the_other(failing):
    taught, other = (forecast_of(even, failing=state) for state in (failing, not failing))
    correction = Correction.of({"2026-10": month_ended(taught, spread(500, 0.002))})
    assert correction.corrected(taught) != taught
    assert correction.corrected(other) == other


def test_forecasts_that_came_true_are_left_as_they_are():
    made = forecast_of(even)
    correction = Correction.of({"2026-10": month_ended(made, [even((i + 0.5) / 2000) for i in range(2000)])})
    told = correction.corrected(made)
    assert (told.p05, told.p95) == pytest.approx((made.p05, made.p95), abs=1e-5)
    assert told.p50 == made.p50


def missing(made, missed, of):
    """What a month teaches in which `missed` of `of` tenants miss the highest threshold."""
    return month_ended(made, [0.02] * missed + [0.002] * (of - missed))


def test_a_fleet_without_misses_enough_leaves_p_alone():
    made = forecast_of(even, p=0.6)
    for missed in (0, int(LEAST_MISSES) - 1):
        correction = Correction.of({"2026-10": missing(made, missed, 1000)})
        assert correction.corrected(made).probability == made.probability
    assert Correction.of({"2026-10": missing(made, int(LEAST_MISSES), 1000)}).corrected(made).probability[TOP] < 0.6


def test_p_moves_towards_what_happened_and_half_of_the_way():
    made = forecast_of(even, p=0.5)
    for missed in (200, 800):
        told = Correction.of({"2026-10": missing(made, missed, 1000)}).corrected(made).probability[TOP]
        logit, seen = np.log(told / (1 - told)), np.log(missed / (1000 - missed))
        assert 0.4 * abs(seen) < abs(logit) <= 0.5 * abs(seen)
        assert np.sign(logit) == np.sign(seen)


def test_what_is_certain_stays_so_and_likelier_stays_likelier():
    made = replace(forecast_of(even), probability={9900: 1.0, 9500: 0.7, 9000: 0.3, 8000: 0.0})
    samples = forecast_of(even, p=0.9)
    for missed in (30, 970):
        told = list(Correction.of({"2026-10": missing(samples, missed, 1000)}).corrected(made).probability.values())
        assert (told[0], told[3]) == (1.0, 0.0)
        assert told[0] > told[1] > told[2] > told[3]
        assert told[1] != 0.7


def test_many_days_of_a_month_are_no_more_evidence_than_few():
    made = forecast_of(even, p=0.5)
    shares = spread(60, 0.004) + [0.02] * 20
    often, seldom = (Correction.of({"2026-10": month_ended(made, shares, days)}) for days in (31, 1))
    assert often == seldom


def test_the_order_in_which_tenants_end_their_months_changes_nothing():
    made, failing = forecast_of(even, p=0.4), forecast_of(even, p=0.8, failing=True)
    parts = [month_ended(one, spread(40, factor)) for one, factor in ((made, 0.03), (failing, 0.01), (made, 0.002))]
    forth, back = Ended(), Ended()
    for part in parts:
        forth.add(part)
    for part in reversed(parts):
        back.add(part)
    assert Correction.of({"2026-10": forth, "2026-09": parts[0]}) == Correction.of(
        {"2026-09": parts[0], "2026-10": back}
    )


def test_old_months_fade_and_are_forgotten():
    made = forecast_of(even)
    narrow, wide = month_ended(made, spread(200, 0.005)), month_ended(made, spread(200, 0.009))
    widths = []
    for old in ("2026-09", "2025-10", "2024-11"):
        told = Correction.of({old: narrow, "2026-10": wide}).corrected(made)
        widths.append(told.p95 - told.p05)
    assert widths[0] < widths[1] < widths[2]
    months = {"2024-10": narrow, "2026-10": wide}  # as old as what is forgotten
    assert Correction.of(months) == Correction.of({"2026-10": wide})
    forget(months)
    assert set(months) == {"2026-10"}
    assert KEPT_MONTHS == 24


def test_a_month_without_requests_and_a_forecast_that_says_nothing_teach_nothing():
    made = forecast_of(even)
    assert outcomes([sample(made)], 0, 0, TOP) == Ended()
    nothing = replace(made, p05=None, p50=None, p95=None, tails=())
    assert sample(nothing) is None
    assert Correction.of({"2026-10": month_ended(made, spread(500, 0.002))}).corrected(nothing) == nothing


def test_a_month_that_ends_exactly_where_it_was_said_to_end_is_within():
    kept = Sample(False, 0, (SHARES // 3,) * len(LEVELS), (SHARES // 3,) * len(LEVELS))
    ended = outcomes([kept], 2, 1, TOP).quiet
    assert (ended.beyond_low, ended.beyond_high) == ([0] * len(LEVELS), [0] * len(LEVELS))
    assert sum(ended.said) == 0  # certain, and nothing about P


def test_the_minute_of_the_day_at_which_a_forecast_is_kept_is_as_likely_any_as_another():
    minutes = np.array([sampled_at(f"tenant {i}", 20_000 + day) for i in range(50) for day in range(40)])
    assert (minutes.min() >= 0) & (minutes.max() < 1440)
    assert np.abs(np.bincount(minutes // 144, minlength=10) - 200).max() < 60
    assert sampled_at("tenant 1", 20_000) == sampled_at("tenant 1", 20_000)


@pytest.fixture(scope="module")
def replayed() -> tuple[Population, list[Trail]]:
    print("seed", SEED)
    world = populations_of(1500, SEED)[3]
    population = replace(world, periods=world.periods[:4])
    return population, list(replay(population, process_time, Spent()))


def test_forecasts_of_a_month_are_corrected_by_the_months_before_it_alone(replayed):
    population, trails = replayed
    second = population.periods[2]
    cut = replace(population, periods=population.periods[:3])
    again = [t for t in replay(cut, process_time, Spent()) if t.period == second]
    assert [[look.made for look in t.looks] for t in again] == [
        [look.made for look in t.looks] for t in trails if t.period == second
    ]
    # The first scored month has none before it that was forecast.
    for trail in (t for t in trails if t.period == population.periods[1]):
        for look in trail.looks:
            assert look.made.p05 == look.made.tails[LEVELS.index(FAILING_TAIL if look.made.failing else TAIL)]
    later = [look for t in trails if t.period == population.periods[3] for look in t.looks]
    assert any(look.made.p05 != look.made.tails[LEVELS.index(TAIL)] for look in later if not look.made.failing)


def test_a_day_has_one_sample_of_the_uncorrected_forecast(replayed):
    _, trails = replayed
    for trail in trails:
        days = trail.period.minutes // 1440
        assert days - 1 <= len(trail.samples) <= days
        for kept in trail.samples:
            assert list(kept.low) == sorted(kept.low, reverse=True)
            assert list(kept.high) == sorted(kept.high)
            assert 0 <= kept.chance <= CHANCES
    share = np.mean([kept.failing for trail in trails for kept in trail.samples])
    assert 0 < share < 0.3
