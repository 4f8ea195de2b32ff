"""Plausible histories, to judge forecasts by: worlds that differ in how failures come, last, hurt and spread.

A `World` holds the parameters of one generator; `WORLDS` are the ones the backtest runs. None of them is the truth, and
no forecast is to be fitted to one. `outages` draws a world's failures, `Crowd` a tenant's requests, and `counts` the
minutes of a month. Everything is drawn from seeds: the same seed gives the same history, whatever is asked first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitor.contract.period import DAY, Period
from monitor.forecast.history import Floats, Ints

YEAR = 365 * DAY


@dataclass(frozen=True, slots=True, order=True)
class Outage:
    """A failure as it truly was: epoch minutes [start, end), the share of requests that failed in it."""

    start: int
    end: int
    share: float


@dataclass(frozen=True, slots=True)
class World:
    """One generator's parameters.

    - Arrival: `monthly` first failures a tenant and month, whose rate varies between tenants as Gamma(`rate_shape`);
      each is followed by Poisson(`follow`) more within some days; `daytime`: share of them that start on weekdays from
      8 to 18 o'clock, the others at any time; `drift`: the factor by which the rate changes over the whole history;
      `season`: how far the rate goes up and down over the year, as a share of it.
    - Duration in minutes: log-normal with `median` and `sigma`, or, where `sigma` is None, exponential with `median`; a
      share `tail` is `tail_from` times Pareto(`tail_k`) instead.
    - Tenants differ: each one's durations by a log-normal factor (standard deviation `unlike`), and the weights of its
      severities by another (twice that). What hits several is as long and as bad as it is for the first of them.
    - Severity: `severities` are (weight, lowest, highest share failing); `recovers`: share of failures whose second
      half is half as bad.
    - Spread: tenants belong to one of `operators`; a share `shared` of failures hits all of an operator's tenants.
    - Requests: `requests` a day, log-uniform between tenants, growing by `growth` (standard deviation of the
      logarithm) a month, up and down by a quarter of `season` over the year and an eighth within a month, with hourly noise
      Gamma(`evenness`); `retry`: further requests for each that fails, in the first hour; `give_up`: share of the
      failing requests that no longer come after four hours; `background`: share failing at all times, log-uniform.
    """

    name: str
    tenants: int = 40
    months: int = 12
    monthly: float = 1.05
    rate_shape: float = 0.6
    follow: float = 0.2
    daytime: float = 0.5
    drift: float = 1.0
    season: float = 0.0
    median: float = 120.0
    sigma: float | None = 0.55
    tail: float = 0.14
    tail_from: float = 300.0
    tail_k: float = 0.85
    unlike: float = 0.5
    severities: tuple[tuple[float, float, float], ...] = ((0.15, 0.02, 0.2), (0.2, 0.2, 0.7), (0.65, 0.7, 1.0))
    recovers: float = 0.2
    operators: int = 10
    shared: float = 0.1
    requests: tuple[float, float] = (200.0, 100_000.0)
    growth: float = 0.03
    evenness: float = 60.0
    retry: float = 0.15
    give_up: float = 0.15
    background: tuple[float, float] = (1e-4, 2e-3)


_ALL = World("all")
WORLDS: tuple[World, ...] = (
    replace(_ALL, name="status pages", monthly=1.15, rate_shape=0.4, follow=0.3, unlike=0.4),
    replace(
        _ALL,
        name="light tails",
        monthly=1.4,
        rate_shape=0.8,
        unlike=0.3,
        median=130.0,
        sigma=None,
        tail=0.0,
        severities=((0.1, 0.02, 0.2), (0.3, 0.2, 0.7), (0.6, 0.7, 1.0)),
    ),
    replace(
        _ALL,
        name="rare and severe",
        monthly=0.6,
        rate_shape=0.5,
        median=160.0,
        sigma=0.8,
        severities=((0.15, 0.3, 0.7), (0.85, 0.7, 1.0)),
    ),
    replace(
        _ALL,
        name="frequent and mild",
        monthly=2.1,
        rate_shape=0.8,
        follow=0.4,
        median=90.0,
        sigma=0.7,
        tail=0.08,
        severities=((0.4, 0.02, 0.15), (0.2, 0.15, 0.6), (0.4, 0.6, 1.0)),
    ),
    replace(
        _ALL,
        name="storms",
        unlike=0.0,
        recovers=0.5,
        daytime=0.8,
        retry=1.5,
        give_up=0.6,
        severities=((0.35, 0.1, 0.6), (0.65, 0.6, 1.0)),
    ),
    replace(_ALL, name="one fate", unlike=0.0, shared=0.5),
    replace(_ALL, name="seasonal", monthly=1.3, season=0.8),
    replace(
        _ALL,
        name="drifting",
        monthly=1.3,
        rate_shape=0.5,
        unlike=0.7,
        drift=4.0,
        growth=0.15,
        evenness=10.0,
        background=(3e-4, 5e-3),
    ),
)
"""Each differs from the others in what its name says. Together they have what was measured on real incident histories (some 1,700 months of 90
services): durations of about 123, 205, 546 and 5,008 minutes at the quantiles .5, .75, .9 and .99, 1.6 failures a tenant and month, every sixth
month missed, and, where one is, 4 hours from the start of the failure that crosses to the crossing in the median, under one in every seventh.
How severe failures are was not measured: the last two say it. `light tails` has none of the long ones, and `frequent and mild` shorter ones,
so that no forecast can count on either.
"""


def outages(world: World, periods: Sequence[Period], seed: int) -> list[list[Outage]]:
    """Each tenant's failures over consecutive periods, by start."""
    rng = np.random.default_rng([seed, 1])
    start, end = periods[0].start, periods[-1].end
    months = len(periods)
    rates = world.monthly * rng.gamma(world.rate_shape, 1 / world.rate_shape, world.tenants)
    operator = rng.integers(0, world.operators, world.tenants)
    paces = np.exp(world.unlike * rng.standard_normal(world.tenants))
    tilts = np.exp(2 * world.unlike * rng.standard_normal((world.tenants, len(world.severities))))
    found: list[list[Outage]] = [[] for _ in range(world.tenants)]
    for tenant in range(world.tenants):
        hits = operator == operator[tenant]
        # A failure that hits n tenants counts for each of them, so it starts n times more seldom.
        own = rng.poisson(rates[tenant] * months * (1 - world.shared))
        common = rng.poisson(rates[tenant] * months * world.shared / hits.sum())
        for n, whom in ((own, np.array([tenant])), (common, np.flatnonzero(hits))):
            for first in _arrivals(world, rng, n, start, end):
                for when in (first, *(first + rng.exponential(2 * DAY, rng.poisson(world.follow)).astype(int))):
                    one = _outage(world, rng, int(when), float(paces[tenant]), tilts[tenant])
                    for other in whom.tolist():
                        late, share = int(rng.integers(0, 10)), one.share * rng.uniform(0.8, 1.0)
                        found[other].append(Outage(one.start + late, max(one.end + late, one.start + late + 1), share))
    return [sorted(o for o in mine if o.start < end) for mine in found]


def _arrivals(world: World, rng: np.random.Generator, n: int, start: int, end: int) -> Ints:
    if not n:
        return np.zeros(0, dtype=np.int64)
    u = rng.random(n)
    # Density proportional to drift ** place.
    place = np.log1p(u * (world.drift - 1)) / np.log(world.drift) if world.drift != 1 else u
    when = (start + place * (end - start)).astype(np.int64)
    if world.season:  # thinned: what comes when the rate is low goes to another time of the year
        away = rng.random(n) * (1 + world.season) > 1 + world.season * np.sin(2 * np.pi * when / YEAR)
        when[away] = np.clip(when[away] + np.where(when[away] + YEAR // 2 < end, YEAR // 2, -YEAR // 2), start, end - 1)
    day = when // DAY
    office = rng.random(n) < world.daytime
    day[office] -= np.maximum((day[office] + 3) % 7 - 4, 0)  # day 0 was a Thursday: a weekend's go to its Friday
    within = np.where(office, rng.integers(8 * 60, 18 * 60, n), rng.integers(0, DAY, n))
    return np.asarray(np.clip(day * DAY + within, start, end - 1))


def _outage(world: World, rng: np.random.Generator, start: int, pace: float, tilt: Floats) -> Outage:
    if rng.random() < world.tail:
        minutes = world.tail_from * (rng.pareto(world.tail_k) + 1)
    elif world.sigma is None:
        minutes = world.median / np.log(2) * rng.exponential()
    else:
        minutes = world.median * np.exp(world.sigma * rng.standard_normal())
    weights = tilt * np.array([w for w, _, _ in world.severities])
    _, low, high = world.severities[rng.choice(len(weights), p=weights / weights.sum())]
    return Outage(start, start + max(int(min(pace * minutes, 60 * DAY)), 2), float(rng.uniform(low, high)))


@dataclass(frozen=True, slots=True)
class Crowd:
    """How a tenant's requests come. `shape`: (168,) by hour of the epoch's week, mean 1. Otherwise as in `World`."""

    requests: float
    shape: Floats
    growth: float
    season: float
    evenness: float
    retry: float
    give_up: float
    recovers: float
    background: float

    @classmethod
    def of(cls, world: World, seed: int, tenant: int, requests: float | None = None) -> Crowd:
        """The crowd of the world's tenant number `tenant`; `requests` a day where they are known."""
        rng = np.random.default_rng([seed, 2, tenant])
        low, high = np.log(world.requests)
        drawn = float(np.exp(rng.uniform(low, high)))
        night, weekend, peak = rng.uniform(0.05, 0.5), rng.uniform(0.1, 0.9), rng.uniform(0, 24)
        hour = np.arange(168)
        day = night + (1 - night) * np.maximum(np.cos((hour % 24 - peak) / 24 * 2 * np.pi), -0.3) ** 2
        free = ((hour // 24 + 3) % 7) >= 5
        shape = np.where(free, weekend, 1.0) * day
        low, high = np.log(world.background)
        return cls(
            drawn if requests is None else requests,
            np.asarray(shape / shape.mean()),
            world.growth,
            world.season,
            world.evenness,
            world.retry,
            world.give_up,
            world.recovers,
            float(np.exp(rng.uniform(low, high))),
        )


def counts(crowd: Crowd, mine: Sequence[Outage], period: Period, seed: Sequence[int]) -> tuple[Ints, Ints]:
    """Demand and bad by minute of the period, shape (period.minutes,), for a tenant with these outages."""
    rng = np.random.default_rng(seed)
    minutes = np.arange(period.start, period.end)
    hours = -(-period.minutes // 60)
    level = np.exp(crowd.growth * rng.standard_normal())
    mean = crowd.requests / DAY * level * crowd.shape[minutes // 60 % 168]
    if crowd.season:
        part = (minutes - period.start) / period.minutes
        mean *= 1 + crowd.season * (np.sin(2 * np.pi * minutes / YEAR) / 4 + np.sin(4 * np.pi * part) / 8)
    mean *= np.repeat(rng.gamma(crowd.evenness, 1 / crowd.evenness, hours), 60)[: period.minutes]
    days = -(-period.minutes // DAY)
    usual = crowd.background * rng.gamma(4.0, 0.25, days)
    works = 1 - np.minimum(np.repeat(usual, DAY)[: period.minutes], 1.0)
    for one in mine:
        first, upto = max(one.start, period.start) - period.start, min(one.end, period.end) - period.start
        if first < upto:
            share, crowding = _course(crowd, one, minutes[first:upto])
            works[first:upto] *= 1 - share
            mean[first:upto] *= crowding
    demand = rng.poisson(mean)
    return demand, rng.binomial(demand, 1 - works)


def _course(crowd: Crowd, one: Outage, minutes: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The share that fails, and the factor on the requests, along an outage."""
    age = minutes - one.start
    half = (one.start * 2654435761 % 1000) / 1000 < crowd.recovers
    share = np.where(half & (age > (one.end - one.start) / 2), one.share / 2, one.share)
    crowding = 1 + crowd.retry * share * np.exp(-age / 60)
    return share, crowding * (1 - crowd.give_up * share * (1 - np.exp(-age / 240)))
