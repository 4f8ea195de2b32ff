"""Silence: nobody asked though somebody must have. Years of made-up demand, and small cases by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from monitor.contract.period import DAY
from monitor.contract.readings import Silence
from monitor.forecast import History
from monitor.forecast.silence import CLOSED_DAYS, DAYS_LEAST, FALSE_ALARM_MONTHS, LEAST, ongoing, rhythms, silences

Ints = NDArray[np.int64]
BASE = 20_000
"""The first day's number, a Friday's: 1970-01-01 was a Thursday, and 20,000 is 7 * 2,857 + 1."""
YEAR = 420
"""Days generated: eight weeks to learn from, and a year."""


def demand(seed: int, daily: float) -> Ints:
    """A year's requests by minute from day `BASE` on, of a tenant with about `daily` a day, drawn from the seed.

    What varies from tenant to tenant: the zone, summer time, nights and weekends (none to most of the daytime's requests), office hours with
    soft or sharp edges, growth, sessions of up to four requests in following minutes, a nightly batch. What varies in time: days by a gamma
    law of 16 %, hours by one of 13 to 45 %, twelve holidays a year at any time, and ten closed days in a row. Who is closed on weekends is
    closed at night, and as quiet on holidays as on weekends; who is not has .2 to .6 of its requests on a holiday. One day turns into the next
    over three hours.
    """
    rng, days = np.random.default_rng([seed, round(daily)]), YEAR
    night, weekend = rng.choice([0.0, 0.02, 0.1, 0.3]), rng.choice([0.0, 0.05, 0.3, 0.8])
    night = night if weekend else 0.0
    session, evenness = rng.choice([1.0, 1.5, 4.0]), rng.choice([5.0, 10.0, 60.0])
    minutes = np.arange(days * DAY)
    summer = rng.integers(0, 2) * 60 * (minutes // DAY % 365 > 180)
    local = minutes + rng.integers(0, 24) * 60 + summer
    day, hour = local // DAY, local % DAY / 60
    if rng.random() < 0.3:
        shape = np.where((hour >= 8) & (hour < 18), 1.0, night)
    else:
        shape = np.maximum(night, np.exp(-(((hour - 10) / 2.2) ** 2)) + 0.9 * np.exp(-(((hour - 15) / 2.2) ** 2)))
    level = rng.gamma(40, 1 / 40, days + 3)
    closed = weekend <= 0.05 and night <= 0.02
    low = (weekend * rng.uniform(0.3, 1.2) if weekend else rng.choice([0.0, 0.05])) if closed else rng.uniform(0.2, 0.6)
    level[rng.choice(days, 12 * days // 365, replace=False)] *= low
    shut = rng.integers(60, days - 12)
    level[shut : shut + 10] *= low if closed else rng.uniform(0.3, 0.8)
    level *= np.where((BASE + np.arange(days + 3) + 3) % 7 >= 5, weekend, 1.0)
    place = np.clip(local % DAY / 180, 0, 1)
    before = np.maximum(day - 1, 0)
    rate = shape * (level[before] * (1 - place) + level[day] * place)
    rate *= np.exp(rng.normal(0, 0.1) * minutes / (30 * DAY)) * np.repeat(
        rng.gamma(evenness, 1 / evenness, days * 24), 60
    )
    rate *= daily * days / rate.sum()
    starts = rng.poisson(rate / session)
    requests = starts.copy()
    for later in range(1, 6) if session > 1 else ():
        requests[later:] += rng.binomial(starts, (session - 1) / 5)[:-later]
    if rng.random() < 0.25:
        at = slice(int(rng.integers(0, DAY)), None, DAY)
        requests[at] += rng.poisson(daily / 10 + 5, days)
    return requests


def day_at(requests: Ints) -> Callable[[int], Ints | None]:
    """The days of minutes that begin with day `BASE`."""
    rows = requests[: len(requests) // DAY * DAY].reshape(-1, DAY)
    return lambda number: rows[number - BASE] if 0 <= number - BASE < len(rows) else None


def found(requests: Ints, first: int, upto: int, gaps: tuple[tuple[int, int], ...] = ()) -> list[tuple[int, int]]:
    """Silences that touch [first, upto), all in minutes since `BASE`."""
    base = BASE * DAY
    made = silences(day_at(requests), base + first, base + upto, [(base + low, base + high) for low, high in gaps])
    return [(one.start - base, one.end - base) for one in made]


def ten_a_minute(days: int = 40) -> Ints:
    return np.full(days * DAY, 10, dtype=np.int64)


def office(days: int = 70) -> Ints:
    """From Monday to Friday, 8 to 18 o'clock, a request a minute; nothing else."""
    minutes = np.arange(days * DAY)
    working = (BASE + minutes // DAY + 3) % 7 < 5
    return (working & (minutes % DAY >= 480) & (minutes % DAY < 1080)).astype(np.int64)


@pytest.mark.parametrize("daily", [3, 10, 40, 100, 400, 1_000, 5_000, 50_000])
def test_a_year_of_nights_weekends_and_holidays_has_fewer_false_alarms_than_stated(daily):
    years = 4
    false = [(seed, one) for seed in range(years) for one in found(demand(seed, daily), 56 * DAY, YEAR * DAY)]
    assert len(false) <= years * 12 / FALSE_ALARM_MONTHS, false
    if daily <= 40:
        assert not false


@pytest.mark.parametrize(("daily", "within"), [(100_000, 10), (10_000, 30), (1_000, 8 * 60)])
def test_at_least_half_of_the_silences_that_begin_at_work_are_found_soon(daily, within):
    hits = []
    for seed in range(12):
        requests = demand(seed, daily)
        rng = np.random.default_rng(seed)
        hourly = requests.reshape(-1, 60).sum(axis=1)
        busy = np.flatnonzero(hourly > 1.5 * daily / 24)
        start = 60 * int(rng.choice(busy[(busy > 60 * 24) & (busy < (YEAR - 3) * 24)])) + int(rng.integers(0, 60))
        requests[start : start + within] = 0
        hits.append(any(end > start for _, end in found(requests, start, start + within)))
    assert 2 * sum(hits) >= len(hits), hits


def test_a_tiny_tenant_is_never_silent():
    requests = np.zeros(70 * DAY, dtype=np.int64)
    requests[540::DAY] = 5  # five requests a day, all at nine o'clock
    requests[60 * DAY :] = 0
    assert found(requests, 56 * DAY, 70 * DAY) == []


def test_minutes_are_silent_from_the_last_request_to_the_next():
    requests = ten_a_minute()
    requests[30 * DAY + 600 : 30 * DAY + 640] = 0
    assert found(requests, 30 * DAY, 31 * DAY) == [(30 * DAY + 600, 30 * DAY + 640)]


def test_a_silence_expects_what_the_weeks_before_had():
    requests = ten_a_minute()
    requests[30 * DAY + 600 : 30 * DAY + 640] = 0
    base = BASE * DAY
    (one,) = silences(day_at(requests), base + 30 * DAY, base + 31 * DAY, basis="platform")
    assert one == Silence(base + 30 * DAY + 600, base + 30 * DAY + 640, 400, "platform")


def test_nights_and_weekends_of_an_office_are_no_silence_and_its_working_hours_are():
    requests = office()
    assert found(requests, 56 * DAY, 70 * DAY) == []
    requests[59 * DAY + 660 : 59 * DAY + 900] = 0  # a Monday from 11 to 15 o'clock
    assert found(requests, 56 * DAY, 70 * DAY) == [(59 * DAY + 660, 59 * DAY + 900)]


def test_an_office_that_stays_closed_for_a_day_is_no_silence():
    requests = office()
    requests[59 * DAY : 60 * DAY] = 0
    assert found(requests, 56 * DAY, 70 * DAY) == []


def test_an_office_that_nobody_opens_again_is_silent_once_no_holidays_last_so_long():
    requests = office()
    closed = 56 * DAY + 1080  # Friday, 18 o'clock
    requests[closed:] = 0
    assert found(requests, 56 * DAY, closed + CLOSED_DAYS * DAY) == []
    later = closed + (CLOSED_DAYS + 1) * DAY
    assert found(np.append(requests, np.zeros(7 * DAY, dtype=np.int64)), 56 * DAY, later) == [(closed, later)]


def test_a_quiet_day_makes_an_hour_without_requests_likely():
    sparse = ten_a_minute()
    sparse[30 * DAY : 31 * DAY] = 0
    sparse[30 * DAY : 31 * DAY : 15] = (
        10  # a request every quarter of an hour all day long, where usually ten a minute come
    )
    assert all(end <= 30 * DAY + 180 for _, end in found(sparse, 30 * DAY, 31 * DAY))


def test_requests_that_come_late_take_a_silence_away():
    requests = ten_a_minute()
    gone = slice(30 * DAY + 600, 30 * DAY + 640)
    requests[gone] = 0
    assert found(requests, 30 * DAY, 31 * DAY)
    requests[gone] = 1
    assert found(requests, 30 * DAY, 31 * DAY) == []


def test_unmeasured_minutes_are_no_silence_and_cut_one_in_two():
    requests = ten_a_minute()
    start = 30 * DAY + 600
    requests[start : start + 100] = 0
    assert found(requests, 30 * DAY, 31 * DAY, ((start - 5, start + 100),)) == []
    assert found(requests, 30 * DAY, 31 * DAY, ((start + 40, start + 60),)) == [
        (start, start + 40),
        (start + 60, start + 100),
    ]


def test_a_silence_that_began_in_the_month_before_is_listed_whole():
    requests = ten_a_minute()
    start = 30 * DAY - 100
    requests[start : 30 * DAY + 50] = 0
    assert found(requests, 30 * DAY, 31 * DAY) == [(start, 30 * DAY + 50)]
    assert found(requests, 30 * DAY + 50, 31 * DAY) == []


def test_nothing_shorter_than_five_minutes_is_a_silence():
    requests = np.full(40 * DAY, 1_000, dtype=np.int64)
    requests[30 * DAY + 600 : 30 * DAY + 600 + LEAST - 1] = 0
    assert found(requests, 30 * DAY, 31 * DAY) == []


def test_a_tenant_is_not_silent_before_two_weeks_are_known():
    for days, expected in ((DAYS_LEAST, []), (DAYS_LEAST + 1, [(40 * DAY + 600, 40 * DAY + 700)])):
        requests = ten_a_minute(60)
        requests[: (40 - days) * DAY] = 0
        requests[40 * DAY + 600 : 40 * DAY + 700] = 0
        assert found(requests, 40 * DAY, 41 * DAY) == expected


def test_a_clock_change_makes_no_silence_of_the_hour_before_work():
    requests = office()
    requests[56 * DAY : -60] = requests[56 * DAY + 60 :]  # from here on everybody comes an hour earlier
    assert found(requests, 56 * DAY, 69 * DAY) == []
    requests[56 * DAY + 120 :] = office()[56 * DAY : -120]  # and now an hour later than before
    assert found(requests, 57 * DAY, 69 * DAY) == []


@pytest.mark.parametrize("seed", range(3))
def test_what_goes_on_minute_by_minute_is_what_the_statement_lists(seed):
    requests = demand(seed, 20_000)[: 70 * DAY]
    rng = np.random.default_rng(seed)
    start = 60 * DAY + int(rng.integers(0, DAY))
    requests[start : start + 2 * DAY] = 0
    history, upto = History(), start
    for number in range(start // DAY):
        history.replace_day(BASE + number, requests[number * DAY : (number + 1) * DAY], np.zeros(DAY, dtype=np.int64))
    while not requests[upto - 1]:
        upto -= 1
    base = BASE * DAY
    growing = []
    for now in [*range(upto + 1, upto + 400, 7), upto + 2 * DAY]:
        seen = requests[:now].copy()
        today = np.zeros(DAY, dtype=np.int64)
        part = seen[now // DAY * DAY :]
        today[: len(part)] = part
        for number in range(start // DAY, now // DAY):
            history.replace_day(BASE + number, seen[number * DAY : (number + 1) * DAY], np.zeros(DAY, dtype=np.int64))
        history.replace_day(BASE + now // DAY, today, np.zeros(DAY, dtype=np.int64))
        (rhythm,) = rhythms([history], [(base + upto - 1) // DAY])
        busy = np.flatnonzero(seen) + base
        one = ongoing(
            rhythm, history, base + upto - 1, base + now, lambda a, b, at=busy: int(((at >= a) & (at < b)).sum())
        )
        listed = silences(day_at(requests), base + now - 1, base + now)
        assert ([one] if one else []) == listed
        growing.append(one)
    assert growing[-1] is not None


def test_many_rhythms_at_once_are_those_made_one_by_one():
    histories = []
    for seed in range(5):
        history = History()
        requests = demand(seed, 300)[: 45 * DAY]
        for number in range(20, 45):
            history.replace_day(
                BASE + number, requests[number * DAY : (number + 1) * DAY], np.zeros(DAY, dtype=np.int64)
            )
        histories.append(history)
    days = [BASE + 44, BASE + 43, BASE + 44, BASE + 30, BASE + 40]
    for together, history, day in zip(rhythms(histories, days), histories, days, strict=True):
        (alone,) = rhythms([history], [day])
        assert (together.day, together.needed) == (alone.day, alone.needed)
        assert [a.tolist() for a in (together.usual, together.closed, together.events)] == [
            a.tolist() for a in (alone.usual, alone.closed, alone.events)
        ]


def test_a_platform_is_found_silent_within_an_hour_at_any_time_and_never_without_cause():
    tenants = (3, 10, 40, 100, 400, 400, 1_000, 1_000, 2_000, 5_000, 5_000)
    platform = np.sum([demand(seed, daily) for seed, daily in enumerate(tenants)], axis=0)
    assert found(platform, 56 * DAY, YEAR * DAY) == []
    for start in range(100 * DAY, 107 * DAY, 420):  # each hour of the day, each day of the week
        failing = platform.copy()
        failing[start : start + 60] = 0
        assert found(failing, start, start + 60), start
