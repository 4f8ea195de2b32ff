"""What tenants have in common: pooled statistics over their histories, for where a tenant's own past is too short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitor.contract.period import DAY
from monitor.forecast.history import KEPT, PROFILE_DAYS, Floats, History, Ints

WEEK = 7 * 24
"""Hours of a week. Hour 0 is the one the epoch starts with, a Thursday's first."""
HALF_LIFE = 90.0
"""Days in which an incident, and the exposure it was seen in, loses half its weight in the rate."""
POOL = 20_000
"""Most incidents pooled, and `WINDOWS` the most tenants whose days are."""
WINDOWS = 2_000

# Before a fleet has a past of its own: a few incidents with a heavy tail (Lomax, scale 120 min, k 1.2), one in 20 days,
# 1e-3 failing.
_PRIOR_N = 16
_PRIOR_SCALE, _PRIOR_K = 120.0, 1.2
_PRIOR_SEVERITIES = (0.05, 0.5, 0.15, 1.0)
_PRIOR_DAYS = 20.0
_PRIOR_BACKGROUND, _PRIOR_REQUESTS = 1e-3, 10_000.0
_BACKGROUND_REQUESTS = 50_000.0
"""Most requests of one tenant that tell the fleet's background."""


LAW_AGES = np.concatenate(([0.0], np.geomspace(5, 40_000, 27)))
"""The ages (minutes) at which the law of what is still to come is fitted."""
LAW_LEAST = 5.0
"""Shorter incidents (minutes) tell nothing of how long one lasts; many are chance."""
_LAW_SIZE = 400
_LAW_PRIOR = 10
_LAW_K = (0.6, 4.0)
_LAW_SCALES = np.geomspace(0.05, 20, 40)


@dataclass(frozen=True, slots=True)
class Lasting:
    """How long a failure still lasts, by its age: Lomax laws, P(longer than t more) = (1 + t / scale) ** -k. Minutes.

    `scale`, `k`: at each of `LAW_AGES`. `centre`: the mean logarithm of the durations.
    """

    scale: Floats
    k: Floats
    centre: float

    def residual(self, age: Floats, u: Floats) -> Floats:
        """The u-quantiles of the minutes still to come at `age`; both broadcast."""
        place = np.interp(age, LAW_AGES, np.arange(LAW_AGES.size))
        below = np.minimum(place.astype(np.int64), LAW_AGES.size - 2)
        part = place - below
        scale = (1 - part) * self.scale[below] + part * self.scale[below + 1]
        k = (1 - part) * self.k[below] + part * self.k[below + 1]
        return np.asarray(scale * ((1 - u) ** (-1 / k) - 1))


@dataclass(frozen=True, slots=True)
class Fleet:
    """Pooled statistics.

    `shape`: (168,) demand by hour of the week, mean 1. `durations` (minutes, ascending), `severities` and `hours` (of the
    UTC day, when they started): the pooled incidents. `lasting`: how long one still lasts. `rate_shape`, `rate_days`: a
    tenant's incidents a day are Gamma(shape, days). `background`: share of requests that fail outside incidents;
    `daily_variance`: of a day's background relative to its mean, squared, beyond Poisson's. `shares`: (tenants,
    KEPT + 1) cumulated daily shares of requests that failed in incidents, `share_days` the days each has, `share_incidents`
    the incidents in them.
    """

    shape: Floats
    durations: Floats
    severities: Floats
    hours: Floats
    lasting: Lasting
    rate_shape: float
    rate_days: float
    background: float
    daily_variance: float
    shares: Floats
    share_days: Ints
    share_incidents: Ints

    @classmethod
    def of(cls, histories: Sequence[History]) -> Fleet:
        """Pool the histories; none at all gives a cautious default."""
        known = [h for h in histories if h.newest >= 0 and h.past().first >= 0]
        pasts = [h.past() for h in known]
        shape = _shape(known)
        durations, severities, hours = _pool(known)
        exposure = np.array([h.newest + 1 - p.first / DAY for h, p in zip(known, pasts, strict=True)])
        counts = _counts(known)
        rate_shape, rate_days = _rate(counts, decayed_days(exposure))
        background, variance = _background(known)
        shares, share_days, share_incidents = _shares(known)
        return cls(
            shape,
            durations,
            severities,
            hours,
            _lasting(durations),
            rate_shape,
            rate_days,
            background,
            variance,
            shares,
            share_days,
            share_incidents,
        )


def _counts(known: Sequence[History]) -> Floats:
    """The incidents of each history, the older the lighter."""
    if not known:
        return np.zeros(0)
    starts = [h.past().starts for h in known]
    owner = np.repeat(np.arange(len(known)), [len(each) for each in starts])
    upto = np.array([(h.newest + 1) * DAY for h in known])
    ages = (upto[owner] - np.concatenate(starts)).astype(np.float64)
    return np.asarray(np.bincount(owner, decayed(ages), len(known)), dtype=np.float64)


def decayed(minutes: Floats) -> Floats:
    """The weights of incidents that started `minutes` ago."""
    return np.asarray(0.5 ** (np.maximum(minutes, 0.0) / (DAY * HALF_LIFE)))


def decayed_days(days: Floats) -> Floats:
    """The weight of the last `days` days together."""
    return np.asarray(HALF_LIFE / np.log(2) * (1 - 0.5 ** (np.maximum(days, 0) / HALF_LIFE)))


def _lasting(durations: Floats) -> Lasting:
    """Fit the laws: at each age, by likelihood, to the incidents that got that old and a few that follow the prior."""
    durations = durations[durations >= LAW_LEAST]
    if durations.size > _LAW_SIZE * 10:
        durations = durations[np.linspace(0, durations.size - 1, _LAW_SIZE * 10).astype(np.int64)]
    u = (np.arange(_LAW_PRIOR) + 0.5) / _LAW_PRIOR
    scales, ks = [], []
    for age in LAW_AGES:
        left = durations[durations > age] - age
        if left.size > _LAW_SIZE:
            left = left[np.linspace(0, left.size - 1, _LAW_SIZE).astype(np.int64)]
        left = np.concatenate([left, (age + _PRIOR_SCALE) * ((1 - u) ** (-1 / _PRIOR_K) - 1)])
        scale = np.median(left) * _LAW_SCALES
        logs = np.log1p(left / scale[:, None]).mean(axis=1)
        k = np.clip(1 / logs, *_LAW_K)
        best = int(np.argmax(np.log(k / scale) - (k + 1) * logs))
        scales.append(scale[best])
        ks.append(k[best])
    return Lasting(np.array(scales), np.array(ks), float(np.log(durations).mean()))


def _shape(known: Sequence[History]) -> Floats:
    total = np.ones(WEEK)
    if known:
        hours = np.stack([h.hours for h in known]).astype(np.float64)
        weekly = hours.reshape(len(known), 4, WEEK).sum(axis=1)
        level = weekly.mean(axis=1)
        seen = level > 0
        # A tenant tells as much as it has requests, up to a hundred an hour; a week must have been seen.
        weight = np.minimum(level[seen], 100.0) * np.array([_weeks(h) >= 1 for h in known])[seen]
        total = 5.0 + (weekly[seen] * (weight / level[seen])[:, None]).sum(axis=0)
    return np.asarray(total / total.mean())


def _weeks(history: History) -> float:
    return min(history.newest + 1 - history.past().first / DAY, PROFILE_DAYS) / 7


def _pool(known: Sequence[History]) -> tuple[Floats, Floats, Floats]:
    """Durations, severities and hours of the day at the start, ascending by duration."""
    u = (np.arange(_PRIOR_N) + 0.5) / _PRIOR_N
    durations = [_PRIOR_SCALE * ((1 - u) ** (-1 / _PRIOR_K) - 1)]
    severities = [np.resize(np.array(_PRIOR_SEVERITIES), _PRIOR_N)]
    hours = [u * 24 * 7 % 24]
    for history in known:
        past = history.past()
        durations.append(past.durations)
        severities.append(past.severities)
        hours.append(past.starts % DAY / 60)
    flat = np.concatenate(durations)
    order = np.argsort(flat, kind="stable")
    if order.size > POOL:
        order = order[np.linspace(0, order.size - 1, POOL).astype(np.int64)]
    return flat[order], np.concatenate(severities)[order], np.concatenate(hours)[order]


def _rate(counts: Floats, days: Floats) -> tuple[float, float]:
    """Gamma's shape and days by moments: between tenants, what varies more than Poisson does."""
    mean = (counts.sum() + 1.0) / (days.sum() + _PRIOR_DAYS)
    beyond = ((counts - mean * days) ** 2 - mean * days).sum() + (mean * _PRIOR_DAYS) ** 2
    variance = beyond / ((days**2).sum() + _PRIOR_DAYS**2)
    per = float(np.clip(mean / variance, 3.0, 200.0)) if variance > 0 else 200.0
    return float(mean * per), per


def _background(known: Sequence[History]) -> tuple[float, float]:
    if not known:
        return _PRIOR_BACKGROUND, 0.0
    demand = np.stack([h.past().quiet_demand for h in known]).astype(np.float64)
    bad = np.stack([h.past().quiet_bad for h in known]).astype(np.float64)
    requests = demand.sum(axis=1)
    share = bad.sum(axis=1) / np.maximum(requests, 1)
    weight = np.minimum(requests, _BACKGROUND_REQUESTS)
    mean = (share @ weight + _PRIOR_BACKGROUND * _PRIOR_REQUESTS) / (weight.sum() + _PRIOR_REQUESTS)
    expected = demand * ((bad.sum(axis=1) + mean * 500) / (requests + 500))[:, None]
    told = expected >= 1
    beyond = (((bad - expected) ** 2 - expected) / np.maximum(expected, 1) ** 2)[told]
    return float(mean), float(np.clip(beyond.mean(), 0.0, 2.0)) if beyond.size else 0.0


def _shares(known: Sequence[History]) -> tuple[Floats, Ints, Ints]:
    some = known
    if len(some) > WINDOWS:
        some = [known[i] for i in np.linspace(0, len(known) - 1, WINDOWS).astype(np.int64)]
    if not some:
        return np.zeros((0, KEPT + 1)), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    shares, days = daily_shares(some)
    return shares, days, np.where(days > 0, [h.past().starts.size for h in some], 0)


def daily_shares(histories: Sequence[History]) -> tuple[Floats, Ints]:
    """`History.shares` of each: (n, KEPT + 1), and (n,)."""
    shares, days = zip(*(h.shares() for h in histories), strict=True)
    return np.stack(shares), np.array(days, dtype=np.int64)
