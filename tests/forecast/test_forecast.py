"""What a forecast must say where the answer is known, and what it may not depend on."""

from dataclasses import replace

import numpy as np
import pytest

from monitor.forecast import Fleet, History, MonthSoFar, forecast
from monitor.forecast.mixture import (
    ARRIVING,
    CHUNK,
    MOST_INCIDENTS,
    OWN_INCIDENTS,
    arriving,
    facts_of,
    stretches,
    uniform,
)

DAY = 1440
FIRST = 20_002
"""A Monday."""
TOP = 9900


def tenant(days, requests_a_minute=20, failing=(), background=0.0, seed=1, hours=range(24)):
    """A history of whole days and the month made of them, `failing` being (first minute, minute outside, share) from the start.

    Requests come in these `hours` of the day only.
    """
    rng = np.random.default_rng(seed)
    demand = np.full(days * DAY, requests_a_minute, dtype=np.int64)
    demand[~np.isin(np.arange(days * DAY) % DAY // 60, hours)] = 0
    bad = rng.binomial(demand, background)
    for first, upto, share in failing:
        bad[first:upto] = np.round(demand[first:upto] * share)
    history = History()
    for day in range(days):
        history.replace_day(FIRST + day, demand[day * DAY : (day + 1) * DAY], bad[day * DAY : (day + 1) * DAY])
    return history, demand, bad


def month(history_demand_bad, now, length=30 * DAY, start=0, name="a"):
    """The history up to minute `now`, and the month that starts at minute `start` of it."""
    _, demand, bad = history_demand_bad
    history = History()
    for day in range(-(-now // DAY)):
        seen = np.arange(day * DAY, (day + 1) * DAY) < now
        part = slice(day * DAY, (day + 1) * DAY)
        history.replace_day(FIRST + day, demand[part] * seen, bad[part] * seen)
    base = FIRST * DAY
    history.close(base + now)
    total, failed = int(demand[start:now].sum()), int(bad[start:now].sum())
    return MonthSoFar(name, base + start, base + start + length, base + now, total - failed, failed), history


def one(asked, fleet=None):
    return forecast([asked[0]], [asked[1]], fleet or Fleet.of([]))[0]


def test_a_month_without_requests_is_no_verdict():
    made = forecast([MonthSoFar("a", 0, 30 * DAY, 100, 0, 0)], [History()], Fleet.of([]))[0]
    assert (made.p05, made.p50, made.p95, made.expected_requests) == (None, None, None, 0.0)
    assert set(made.probability.values()) == {0.0}


def test_an_ended_month_is_what_it_was():
    asked = MonthSoFar("a", 0, 30 * DAY, 30 * DAY, 989, 11), History()
    made = one(asked)
    assert (made.p05, made.p50, made.p95) == pytest.approx((0.989, 0.989, 0.989))
    assert made.probability == {9900: 1.0, 9500: 0.0, 9000: 0.0}


def test_exactly_on_the_threshold_is_not_below_it():
    made = one((MonthSoFar("a", 0, 30 * DAY, 30 * DAY, 990, 10), History()))
    assert made.probability[9900] == 0.0


def test_a_miss_that_nothing_can_undo_is_certain():
    asked = month(tenant(30, failing=[(0, 3 * DAY, 0.5)]), 25 * DAY)
    made = one(asked)
    assert made.probability[9900] == 1.0
    assert made.probability[9500] < 0.9
    assert made.p95 < 0.99


def test_the_month_ends_about_where_an_even_one_must():
    made = one(month(tenant(58, background=0.001), 43 * DAY, start=28 * DAY))
    assert made.expected_requests == pytest.approx(30 * DAY * 20, rel=0.01)
    assert made.p50 == pytest.approx(0.999, abs=0.0007)
    assert made.probability[9900] < 0.2


def test_worse_is_likelier():
    p = [
        one(month(tenant(30, failing=[(0, n, 1.0)]), 10 * DAY)).probability[TOP] for n in (10, 100, 200, 300, 400, 500)
    ]
    assert p == sorted(p)
    made = one(month(tenant(30, failing=[(0, 100, 1.0)]), 10 * DAY))
    assert made.probability[9900] >= made.probability[9500] >= made.probability[9000]
    assert made.p05 <= made.p50 <= made.p95


def test_the_point_of_no_return_is_the_minute_at_which_the_budget_is_gone():
    # 1 % of 30 even days is 432 minutes of total failure, 864 of half of it; 100 minutes have passed.
    for share, minutes in ((1.0, 432), (0.5, 864)):
        made = one(month(tenant(30, failing=[(9 * DAY, 12 * DAY, share)]), 9 * DAY + 100))
        assert made.failing
        assert made.severity == pytest.approx(share, abs=0.01)
        assert made.minutes_left[TOP] == pytest.approx(minutes - 100, rel=0.03)
        assert made.minutes_left[9500] == pytest.approx(5 * minutes - 100, rel=0.03)
        assert made.budget_exhausted_in == made.minutes_left[TOP]


def test_the_point_of_no_return_follows_the_hours_of_the_week():
    # Requests come from 8 to 18 o'clock only. 1 % of 300 hours is 180 minutes of total failure: at 17:00 there were 30 of
    # them, 60 are left today, and tomorrow's first 90 are the last.
    demand = np.tile(np.repeat([0, 20, 0], [8 * 60, 10 * 60, 6 * 60]), 58)
    bad = np.zeros_like(demand)
    now = 30 * DAY + 17 * 60
    bad[now - 30 : now] = 20
    asked = month((None, demand, bad), now, start=28 * DAY)
    made = one(asked, Fleet.of([asked[1]]))
    assert made.minutes_left[TOP] == pytest.approx(60 + 14 * 60 + (180 - 60 - 30), abs=12)


def test_the_point_of_no_return_of_a_small_tenant_follows_its_own_day_and_not_the_fleets():
    """Some 500 requests a day, all at night, where everybody else works by day; a failure from 21:00."""
    fleet = Fleet.of([tenant(58, 50, hours=range(8, 18))[0] for _ in range(20)])
    history_demand_bad = tenant(58, 1, hours=[*range(20, 24), *range(4)])
    _, demand, bad = history_demand_bad
    since = 28 * DAY + 21 * 60
    bad[since:] = demand[since:]
    asked = month(history_demand_bad, since + 60, start=28 * DAY)
    made = one(asked, fleet)
    # A month's budget is 144 requests: 60 are gone, and 84 more come in as many minutes.
    assert made.expected_requests == pytest.approx(30 * 480, rel=0.02)
    assert made.minutes_left[TOP] == pytest.approx(84, rel=0.15)


def test_nothing_is_left_when_it_is_missed_and_nothing_is_said_when_nothing_fails():
    asked = month(tenant(30, failing=[(0, 2 * DAY, 1.0)]), DAY)
    assert one(asked).minutes_left[TOP] == 0.0
    assert one(month(tenant(30), 9 * DAY)).minutes_left == {9900: None, 9500: None, 9000: None}


def test_a_failure_seen_minutes_ago_is_told_at_its_own_severity():
    made = one(month(tenant(30, failing=[(9 * DAY, 10 * DAY, 0.8)]), 9 * DAY + 6))
    assert made.severity == pytest.approx(0.8, abs=0.02)


def test_whoever_fails_just_now_is_taken_for_one_of_those_that_often_fail():
    calm = [tenant(100, seed=n)[0] for n in range(9)]
    often = tenant(100, failing=[(day * DAY + 600, day * DAY + 660, 1.0) for day in range(0, 99, 3)])[0]
    fleet = Fleet.of([*calm, often])
    sound = month(tenant(2), DAY + 650)
    failing = month(tenant(2, failing=[(DAY + 600, DAY + 660, 0.5)]), DAY + 650)
    shares = stretches(facts_of([sound[0], failing[0]], [sound[1], failing[1]], fleet), fleet).mean(axis=1)
    # An hour of every third day is 1.4 % of them, of a tenth of the tenants.
    assert shares == pytest.approx([0.0014, 0.014], rel=0.2)


def test_what_fails_at_all_times_elsewhere_fails_there_only():
    fleet = Fleet.of([tenant(100, background=0.008, seed=n)[0] for n in range(20)])
    clean = one(month(tenant(58, background=0.0002), 29 * DAY, start=28 * DAY), fleet)
    assert clean.p05 > 0.995
    fleet = Fleet.of([tenant(100, background=0.0002, seed=n)[0] for n in range(20)])
    noisy = one(month(tenant(58, background=0.008), 29 * DAY, start=28 * DAY), fleet)
    assert noisy.p95 < 0.997


def test_maintenance_ahead_takes_requests_out_of_the_month():
    asked, history = month(tenant(58), 43 * DAY, start=28 * DAY)
    window = (asked.now + 100, asked.now + 100 + 3 * DAY)
    plain, quiet = (one((a, history)) for a in (asked, replace(asked, maintenance=(window, window))))
    assert plain.expected_requests - quiet.expected_requests == pytest.approx(3 * DAY * 20, rel=0.01)


def test_a_failure_cannot_use_the_budget_in_maintenance():
    asked, history = month(tenant(30, failing=[(9 * DAY, 12 * DAY, 1.0)]), 9 * DAY + 100)
    window = (asked.now + 60, asked.now + 180)
    later = one((replace(asked, maintenance=(window,)), history))
    assert later.minutes_left[TOP] - one((asked, history)).minutes_left[TOP] == pytest.approx(120, abs=5)


def test_a_contract_that_starts_in_mid_month_has_a_shorter_month():
    whole = one(month(tenant(58), 43 * DAY, start=28 * DAY))
    short = one(month(tenant(58), 43 * DAY, start=38 * DAY, length=20 * DAY))
    assert short.expected_requests == pytest.approx(whole.expected_requests * 2 / 3, rel=0.01)


@pytest.mark.parametrize("minutes", [1, 5, 60, 700])
def test_a_tenants_first_minutes_are_enough_for_an_answer(minutes):
    made = one(month(tenant(1), minutes))
    assert made.expected_requests == pytest.approx(30 * DAY * 20, rel=0.6)
    assert 0 < made.p05 <= made.p50 <= made.p95 <= 1
    assert 0 < made.probability[TOP] < 0.6


def test_a_handful_of_requests_a_day_is_enough_for_an_answer():
    demand = np.zeros(40 * DAY, dtype=np.int64)
    demand[500::360] = 1
    made = one(month((None, demand, demand * 0), 30 * DAY, start=28 * DAY))
    assert made.expected_requests == pytest.approx(120, rel=0.25)
    assert 0 < made.probability[TOP] < 0.9


def test_a_replay_gives_the_same_whoever_else_is_asked():
    failing = tenant(20, failing=[(9 * DAY, 12 * DAY, 0.3)])
    asked = [month(failing, 9 * DAY + 50 * i, name=f"t{i}") for i in range(5)]
    fleet = Fleet.of([h for _, h in asked])
    alone = [forecast([m], [h], fleet)[0] for m, h in asked]
    many = asked * (CHUNK // 5 + 3)
    assert forecast([m for m, _ in many], [h for _, h in many], fleet) == alone * (CHUNK // 5 + 3)


def test_two_tenants_with_the_same_past_hear_about_the_same():
    (m, h) = month(tenant(30, failing=[(0, 200, 1.0)]), 10 * DAY)
    made = forecast([replace(m, tenant=f"t{i}") for i in range(50)], [h] * 50, Fleet.of([]))
    p = np.array([f.probability[TOP] for f in made])
    assert p.std() < 0.03


def test_other_terms_are_other_thresholds():
    m, h = month(tenant(30, failing=[(0, 100, 1.0)]), 10 * DAY)
    made = forecast([m], [h], Fleet.of([]), (9995, 9900))[0]
    assert list(made.probability) == [9995, 9900]
    assert made.probability[9995] == 1.0


def test_a_percentage_is_refused_as_a_threshold():
    with pytest.raises(ValueError, match=r"basis points \(9900 is 99 %\), found \(99, 95, 90\)"):
        forecast([], [], Fleet.of([]), (99, 95, 90))


def test_a_month_without_its_history_is_refused():
    with pytest.raises(ValueError, match="expected a history for each month, found 0 for 1"):
        forecast([MonthSoFar("a", 0, 1, 0, 0, 0)], [], Fleet.of([]))


def test_later_failures_are_those_of_the_formulas_in_numpy():
    """Tenants of all kinds at once: new, by night, with many past failures, in failure, with maintenance ahead."""
    often = [(d * DAY + 900, d * DAY + 900 + 40 * (d % 5 + 1), 0.7) for d in range(1, 43, 3)]
    asked = [
        month(tenant(2), DAY // 2, name="new"),
        month(tenant(58, 1, hours=[22, 23, 0, 1]), 43 * DAY + 30, start=28 * DAY, name="by night"),
        month(tenant(58, failing=often), 43 * DAY + 30, start=28 * DAY, name="often"),
        month(tenant(58, failing=[(43 * DAY, 50 * DAY, 0.2)]), 43 * DAY + 95, start=28 * DAY, name="in failure"),
    ]
    shut = ((asked[2][0].now + 70, asked[2][0].now + 500),)
    months = [replace(each, maintenance=shut) if each.tenant == "often" else each for each, _ in asked]
    histories = [history for _, history in asked]
    fleet = Fleet.of(histories)
    facts = facts_of(months, histories, fleet)
    made = arriving(facts, fleet)
    assert (made > 0).any(axis=1).all()
    assert made == pytest.approx(arriving_in_numpy(facts, fleet), rel=1e-9, abs=1e-9)


def arriving_in_numpy(facts, fleet):
    """Poisson's arrivals at a Gamma rate, for all tenants and draws at once."""
    days = facts.left / DAY
    u = uniform(facts.seeds, 4)[:, :ARRIVING]
    odds = days / (facts.rate_days + days)
    n = np.arange(1, MOST_INCIDENTS)
    steps = odds[:, None] * (facts.rate_shape[:, None] + n - 1) / n
    chances = (1 - odds[:, None]) ** facts.rate_shape[:, None] * np.cumprod(np.insert(steps, 0, 1.0, axis=1), axis=1)
    many = (u[:, :, None] > np.cumsum(chances, axis=1)[:, None, :]).sum(axis=2)
    row, draw, nth = np.nonzero(np.arange(MOST_INCIDENTS) < many[:, :, None])
    key = facts.seeds[row] + ((draw * MOST_INCIDENTS + nth) * 4 + 1000).astype(np.uint64)
    when, whose, which, law = (splitmix(key + np.uint64(i)) for i in range(4))

    own = facts.incidents.counts[row]
    mine = whose < own / (own + OWN_INCIDENTS)
    theirs = (which * fleet.durations.size).astype(int)
    ours = np.minimum(facts.incidents.offsets[row] + (which * own).astype(int), facts.incidents.durations.size - 1)
    lawful = facts.pace[row] * fleet.lasting.residual(np.zeros(law.size), 2 * law % 1.0)
    lasting = np.where(law < 0.5, lawful, fleet.durations[theirs])
    lasting = np.where(mine, facts.incidents.durations[ours], lasting)
    severity = np.where(mine, facts.incidents.severities[ours], fleet.severities[theirs])
    hour = np.where(mine, facts.incidents.hours[ours], fleet.hours[theirs])

    start = (np.floor(when * days[row]) + (hour / 24 - facts.clock[row]) % 1.0) * DAY
    start = np.where(start < facts.left[row], start, when * facts.left[row])
    cost = severity * (facts.volume.upto(row, start + lasting) - facts.volume.upto(row, start))
    out = np.zeros(u.shape)
    np.add.at(out, (row, draw), cost)
    return out


def splitmix(keys):
    """Uniform numbers in [0, 1) from 64 bits each."""
    z = keys * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) / 2.0**64
