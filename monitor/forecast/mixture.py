"""The forecast: 256 stratified draws of the rest of a period for each tenant, all tenants at once.

A draw is: the volume that is still to come; how long the present failure lasts, and how bad it stays; the failures that
will start later (5/8 of the draws: incidents that arrive one by one; 3/8: a stretch of past days); failures outside
incidents. P is the share of draws beyond a threshold, the quantiles are those of the draws.

Each tenant's draws are a fixed stratified set, turned by amounts that are hashed from tenant and period. They stay the
same while the period lasts, so that a probability moves only when the facts do, and a replay gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.contract.period import DAY
from monitor.contract.terms import FULL
from monitor.forecast.fleet import LAW_LEAST, WEEK, Fleet, daily_shares, decayed, decayed_days
from monitor.forecast.history import PROFILE_DAYS, Floats, History, Ints

DRAWS = 256
ARRIVING = 160
"""Draws whose later failures arrive one by one; the others take a stretch of past days."""
CHUNK = 128
"""Tenants worked on at once: their draws fit into a core's cache. It changes no result."""
HELD = 720
"""Minutes without a request after which nobody says any more that a failure goes on."""
SHAPE_REQUESTS = 5.0
"""Requests with which the fleet's shape holds against a tenant's own, for each day of the week and each hour of the day."""
EVEN_SHARE = 0.1
"""The part of the fleet's shape that is taken to be even: a tenant may work when all others sleep."""
PSEUDO_REQUESTS = 200.0
"""Requests with which those two together stand in, for each hour of the week."""
VOLUME_SPREAD = 0.06
YOUNG_SPREAD = 0.3
"""Further spread of the volume of a tenant that has been seen for no full day; it falls with the days."""
RATIO_PRIOR = 0.02
"""Share of a whole month with which the profile holds against the month so far."""
OWN_INCIDENTS = 10.0
"""A tenant's own n incidents weigh n / (n + this) against the fleet's; its days likewise."""
OWN_DAYS = 120.0
SURVIVORS = 8
"""With fewer incidents that lasted as long, the law alone tells how long one still lasts."""
RATE_SHAPE_MOST = 4.0
BACKGROUND_REQUESTS = 500.0
BACKGROUND_SPREAD = 0.25
SEVERITY_REQUESTS = 30.0
CROWD_REQUESTS = 100.0
"""Requests with which the profile holds against the crowd that a failure draws (or scares away)."""
MOST_INCIDENTS = 12
TAIL, FAILING_TAIL = 0.05, 0.04
"""Shares of the draws outside either end of the 90 % interval.

How long failures last is itself not known for sure, and no draw says so: while something fails the interval is wider.
"""
LEVELS = (0.01, 0.02, FAILING_TAIL, TAIL, 0.1, 0.2)
"""Shares of the draws beyond a forecast's `tails`."""
FLOOR = 1 / 1024
"""The least probability of what no draw has shown but can still happen."""


@dataclass(frozen=True, slots=True)
class MonthSoFar:
    """The question: a tenant's period, UTC epoch minutes [period_start, period_end), and its counts before `now`.

    `bad` includes the unclassified; what is excluded is in neither. `maintenance`: approved windows [from, to) that lie
    ahead, which will count on neither side. A contract that starts or ends inside the month is a shorter period.
    """

    tenant: str
    period_start: int
    period_end: int
    now: int
    good: int
    bad: int
    maintenance: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """The answer. Thresholds are basis points of availability (9900 is 99 %).

    `expected_requests`: of the whole period. `p05`, `p50`, `p95`: availability at its end, 0..1; None without demand so
    far or expected. `probability`: of ending below each threshold; 1 when that is certain. `minutes_left`: of the
    present failure, until each threshold is certain to be missed; 0 when it is, None when nothing fails or the period
    ends first. `budget_exhausted_in`: minutes until the highest threshold's budget is used at the present rate; None
    when the period ends first. `severity`: the share now failing, 0 when not `failing`. `tails`: the availability below which
    each of `LEVELS` of the draws end, and then that above which they do; none without demand.
    """

    expected_requests: float
    p05: float | None
    p50: float | None
    p95: float | None
    probability: dict[int, float]
    minutes_left: dict[int, float | None]
    budget_exhausted_in: float | None
    failing: bool
    severity: float
    tails: tuple[float, ...] = ()


def forecast(
    months: Sequence[MonthSoFar],
    histories: Sequence[History],
    fleet: Fleet,
    thresholds: Sequence[int] = (9900, 9500, 9000),
) -> list[Forecast]:
    """Where each month will end; `histories[i]` is the past of `months[i]`'s tenant, up to `now`.

    `thresholds` are basis points, the highest first. ValueError when the lengths differ or a threshold is none.
    """
    if len(months) != len(histories):
        raise ValueError(f"expected a history for each month, found {len(histories)} for {len(months)}")
    if not thresholds or any(not 100 < t < FULL for t in thresholds):
        raise ValueError(f"expected thresholds in basis points (9900 is 99 %), found {tuple(thresholds)}")
    made: list[Forecast] = []
    for first in range(0, len(months), CHUNK):
        made += answers(
            facts_of(months[first : first + CHUNK], histories[first : first + CHUNK], fleet), fleet, thresholds
        )
    return made


def warm() -> None:
    """Have the compiled code at hand: the detector's, and that of the draws."""
    history, minutes = History(), np.ones(DAY, dtype=np.int64)
    for day in range(2):
        history.replace_day(day, minutes, minutes)
    forecast([MonthSoFar("", 0, 3 * DAY, 2 * DAY, 0, 2 * DAY)], [history], Fleet.of([history]))


# -- what is known


@dataclass(slots=True)
class _Incidents:
    """The tenants' ended incidents, one after the other: tenant i's are [offsets[i], offsets[i + 1]), by duration."""

    offsets: Ints
    owner: Ints
    durations: Floats
    severities: Floats
    hours: Floats

    @property
    def counts(self) -> Ints:
        return np.diff(self.offsets)


@dataclass(slots=True)
class Facts:
    """A chunk of tenants as arrays of shape (tenants,). `left`: minutes left. `clock`: the time of day, 0..1. `shares`: see `daily_shares`."""

    seeds: NDArray[np.uint64]
    total: Floats
    bad: Floats
    left: Floats
    clock: Floats
    days_seen: Floats
    volume: _Volume
    incidents: _Incidents
    failing: NDArray[np.bool_]
    age: Floats
    severity: Floats
    failures: Floats
    crowd: Floats
    pace: Floats
    rate_shape: Floats
    rate_days: Floats
    background: Floats
    shares: Floats
    share_days: Ints


def facts_of(months: Sequence[MonthSoFar], histories: Sequence[History], fleet: Fleet) -> Facts:
    """What is known of the months' tenants, `histories[i]` being the past of `months[i]`'s."""
    pasts = [h.past() for h in histories]
    size = len(months)
    start = np.array([m.period_start for m in months], dtype=np.int64)
    end = np.array([m.period_end for m in months], dtype=np.int64)
    now = np.array([m.now for m in months], dtype=np.int64)
    bad = np.array([m.bad for m in months], dtype=np.float64)
    total = bad + np.array([m.good for m in months], dtype=np.float64)
    since = np.clip(now, start, end)
    first = np.array([p.first if p.first >= 0 else m.now for p, m in zip(pasts, months, strict=True)], dtype=np.int64)
    days_seen = np.maximum(now - first, 0) / DAY

    profile = _profile(histories, first, now, fleet)
    clock = _Clock(profile)
    begun = np.maximum(start, np.minimum(first, since))
    prior = RATIO_PRIOR * clock.between(start, end)
    met = clock.between(begun, since)
    ratio = np.where(met + prior > 0, (total + prior) / np.where(met + prior > 0, met + prior, 1), 1.0)
    volume = _Volume(profile * ratio[:, None], since, end, [m.maintenance for m in months])

    incidents = _incidents(histories)
    ages = (now[incidents.owner] - np.concatenate([p.starts for p in pasts])).astype(np.float64)
    present = [p.present if p.present and m.now - p.last <= HELD else None for p, m in zip(pasts, months, strict=True)]
    failing = np.array([p is not None for p in present])
    began = np.array([p.start if p else m.now for p, m in zip(present, months, strict=True)], dtype=np.int64)
    requests = np.array([p.requests if p else 0 for p in present], dtype=np.float64)
    failures = np.array([p.failures if p else 0 for p in present], dtype=np.float64)
    recent = np.array([p.recent for p in pasts], dtype=np.float64).reshape(size, 2)
    mean = failures / np.maximum(requests, 1)
    lately = np.array([p.recent_since for p in pasts], dtype=np.int64)
    # The last half hour's share, but no minute from before the failure.
    within = (began <= lately) | ~failing
    told_requests = np.where(within, recent[:, 0], requests)
    told_failures = np.where(within, recent[:, 1], failures)
    severity = (told_failures + SEVERITY_REQUESTS * mean) / (told_requests + SEVERITY_REQUESTS)
    last = np.array([p.last for p in pasts], dtype=np.int64)
    usual = clock.between(lately, last + 1) * ratio
    # The crowd of the last half hour is half gone later on: retries calm down, and who gave up comes back.
    crowd = np.sqrt(np.clip((recent[:, 0] + CROWD_REQUESTS) / (usual + CROWD_REQUESTS), 0.1, 10.0))

    k = np.bincount(incidents.owner, decayed(ages), size) + failing
    mean_rate = (fleet.rate_shape + k) / (fleet.rate_days + decayed_days(days_seen))
    rate_shape = np.minimum(fleet.rate_shape + k, RATE_SHAPE_MOST)
    quiet = np.array([p.quiet for p in pasts], dtype=np.float64).reshape(size, 2)
    shares, share_days = daily_shares(histories)
    newest = np.array([h.newest for h in histories], dtype=np.int64)
    # Days of the present failure are not to be drawn as a future one's.
    share_days = np.maximum(share_days - np.where(failing, np.maximum(newest - began // DAY, 0), 0), 0)
    return Facts(
        seeds=np.array([_seed(m) for m in months], dtype=np.uint64),
        total=total,
        bad=bad,
        left=(end - since).astype(np.float64),
        clock=since % DAY / DAY,
        days_seen=days_seen,
        volume=volume,
        incidents=incidents,
        failing=failing,
        age=np.maximum(now - began, 1).astype(np.float64),
        severity=np.where(failing, np.minimum(severity, 1.0), 0.0),
        failures=failures,
        crowd=np.where(failing, crowd, 1.0),
        pace=_pace(incidents, fleet.lasting.centre),
        rate_shape=rate_shape,
        rate_days=rate_shape / mean_rate,
        background=(quiet[:, 1] + BACKGROUND_REQUESTS * fleet.background) / (quiet[:, 0] + BACKGROUND_REQUESTS),
        shares=shares,
        share_days=share_days,
    )


def _seed(month: MonthSoFar) -> int:
    return int.from_bytes(blake2b(f"{month.tenant}\0{month.period_start}".encode(), digest_size=8).digest(), "little")


def _incidents(histories: Sequence[History]) -> _Incidents:
    pasts = [h.past() for h in histories]
    counts = np.array([p.durations.size for p in pasts], dtype=np.int64)
    owner = np.repeat(np.arange(counts.size), counts)
    durations = np.concatenate([p.durations for p in pasts])
    severities = np.concatenate([p.severities for p in pasts])
    hours = np.concatenate([p.starts for p in pasts]) % DAY / 60
    order = np.lexsort((durations, owner))
    offsets = np.concatenate(([0], np.cumsum(counts)))
    return _Incidents(offsets, owner, durations[order], severities[order], hours[order])


def _profile(histories: Sequence[History], first: Ints, now: Ints, fleet: Fleet) -> Floats:
    """Expected requests an hour, shape (tenants, 168): means of 28 days, shrunk to the tenant's days times its hours, and those to the fleet's.

    A tenant's own day tells by far more than the fleet's: who works elsewhere sleeps at another time.
    """
    size = len(histories)
    hours = np.stack([h.hours for h in histories])
    sums = hours.reshape(size, 4, WEEK).sum(axis=1, dtype=np.float64)
    newest = np.array([h.newest for h in histories], dtype=np.int64)
    # Most tenants have been seen for as long as others, or for longer than their hours are kept.
    since = np.maximum(first, (newest + 1 - PROFILE_DAYS) * DAY)
    moments, which = np.unique(np.stack((newest, since, now)), axis=1, return_inverse=True)
    seen = _hours_seen(*moments)[which]
    shape = (1 - EVEN_SHARE) * fleet.shape + EVEN_SHARE
    usual = seen @ shape
    level = np.where(usual > 0, sums.sum(axis=1) / np.where(usual > 0, usual, 1), 0.0)
    asked = level > 0
    like_fleet = np.where(asked, level, 1.0)[:, None] * shape
    met, expected = (each.reshape(size, 7, 24) for each in (sums, seen * like_fleet))
    days = (met.sum(axis=2) + SHAPE_REQUESTS) / (expected.sum(axis=2) + SHAPE_REQUESTS)
    expected = expected * days[:, :, None]
    own = (met.sum(axis=1) + SHAPE_REQUESTS) / (expected.sum(axis=1) + SHAPE_REQUESTS)
    like_own = like_fleet * (days[:, :, None] * own[:, None, :]).reshape(size, WEEK)
    return np.where(asked[:, None], (sums + PSEUDO_REQUESTS) / (seen + PSEUDO_REQUESTS / like_own), 0.0)


def _hours_seen(newest: Ints, since: Ints, now: Ints) -> Floats:
    """How much of each hour of the week has been seen, in hours, shape (n, 168), by who was first seen at `since`."""
    slot = np.arange(PROFILE_DAYS)
    begin = (newest[:, None] - (newest[:, None] - slot) % PROFILE_DAYS)[:, :, None] * DAY + np.arange(24) * 60
    upto = np.clip((now[:, None, None] - begin) / 60, 0.0, 1.0)
    before = np.clip((since[:, None, None] - begin) / 60, 0.0, 1.0)
    return np.asarray(np.maximum(upto - before, 0.0).reshape(len(newest), 4, WEEK).sum(axis=1))


class _Clock:
    """Expected requests between two epoch minutes, by a weekly profile (tenants, 168)."""

    def __init__(self, profile: Floats) -> None:
        self.profile = profile
        self.sums = np.concatenate([np.zeros((len(profile), 1)), np.cumsum(profile, axis=1)], axis=1)
        self.rows = np.arange(len(profile))

    def _at(self, minute: Ints) -> Floats:
        weeks, within = np.divmod(minute, WEEK * 60)
        hour, minutes = np.divmod(within, 60)
        part = self.sums[self.rows, hour] + self.profile[self.rows, hour] * (minutes / 60)
        return np.asarray(weeks * self.sums[:, -1] + part)

    def between(self, first: Ints, upto: Ints) -> Floats:
        """Over [first, upto) of each tenant; 0 when that is empty."""
        return np.maximum(self._at(upto) - self._at(first), 0.0)


class _Volume:
    """Expected requests from `since` on, up to `end` (epoch minutes), in cells of an hour; none in maintenance."""

    def __init__(
        self, profile: Floats, since: Ints, end: Ints, maintenance: Sequence[tuple[tuple[int, int], ...]]
    ) -> None:
        size = len(profile)
        self.left = (end - since).astype(np.float64)
        cells = max(int(np.ceil(self.left.max(initial=0) / 60)), 1)
        self.cells = np.empty((size, cells + 1))
        _cut(profile, since, self.cells)
        for row, windows in enumerate(maintenance):
            if windows:
                self.cells[row] *= _open_share(windows, int(since[row]), cells + 1)
        self.sums = np.zeros((size, cells + 2))
        np.cumsum(self.cells, axis=1, out=self.sums[:, 1:])
        self.all = self.upto(np.arange(size), self.left)

    def upto(self, rows: Ints, minutes: Floats) -> Floats:
        """Expected requests of the tenants `rows` in the first `minutes`, cut by the period's end; both broadcast."""
        hours = np.minimum(minutes, self.left[rows]) / 60
        cell = hours.astype(np.int64)
        return np.asarray(self.sums[rows, cell] + (hours - cell) * self.cells[rows, cell])

    def minutes(self, row: int, requests: float) -> float | None:
        """The minutes in which `requests` are expected from tenant `row`; None when the period ends first."""
        if requests <= 0:
            return 0.0
        if requests > self.all[row]:
            return None
        cell = int(np.searchsorted(self.sums[row], requests)) - 1
        hours = cell + (requests - float(self.sums[row, cell])) / float(self.cells[row, cell])
        return min(60 * hours, float(self.left[row]))


@compiled
def _cut(profile: Floats, since: Ints, cells: Floats) -> None:
    """Cut each tenant's weeks from the minute `since` on into hours."""
    for row in range(cells.shape[0]):
        first, part = since[row] // 60, since[row] % 60 / 60
        for place in range(cells.shape[1]):
            hour = (first + place) % WEEK
            after = hour + 1 if hour + 1 < WEEK else 0
            cells[row, place] = (1 - part) * profile[row, hour] + part * profile[row, after]


def _open_share(windows: tuple[tuple[int, int], ...], since: int, cells: int) -> Floats:
    """The share of each hour from `since` on that no window covers."""
    minutes = np.ones(cells * 60)
    for first, upto in windows:
        minutes[max(first - since, 0) : max(upto - since, 0)] = 0.0
    return np.asarray(minutes.reshape(cells, 60).mean(axis=1))


# -- the draws

_VOLUME, RESIDUAL, _OWN, _SEVERITY, _COUNT, _BACKGROUND, _NOISE, _WINDOW = range(8)


def _stratified() -> Floats:
    """Points of shape (dimensions, DRAWS): stratified in each dimension, over each of the two kinds of draws."""
    rng = np.random.default_rng(20261123)
    return np.stack(
        [
            np.concatenate([(rng.permutation(n) + 0.5) / n for n in (ARRIVING, DRAWS - ARRIVING)])
            for _ in range(_WINDOW + 1)
        ]
    )


_POINTS = _stratified()
_CELLS = 4096
_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / _CELLS) for i in range(_CELLS)])


@compiled
def _hash(key: np.uint64) -> float:
    """A uniform number in [0, 1) from a key, as splitmix64 does it."""
    z = key * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@compiled
def _turn(seeds: NDArray[np.uint64], dimension: int, points: Floats, out: Floats) -> None:
    """Turn one dimension's points round in [0, 1) by what is hashed from each seed."""
    for row in range(seeds.size):
        by = _hash(seeds[row] + np.uint64(dimension + 1))
        for draw in range(points.size):
            turned = points[draw] + by
            out[row, draw] = turned - 1 if turned >= 1 else turned


def uniform(seeds: NDArray[np.uint64], dimension: int) -> Floats:
    """The tenants' points in one dimension, shape (tenants, DRAWS)."""
    out = np.empty((seeds.size, DRAWS))
    _turn(seeds, dimension, _POINTS[dimension], out)
    return out


def _normal(uniform: Floats) -> Floats:
    return np.asarray(_NORMAL[(uniform * _CELLS).astype(np.int64)])


def _still_lasting(facts: Facts, fleet: Fleet, rows: Ints) -> Floats:
    """How many minutes longer the present failure of the tenants `rows` lasts: (rows, DRAWS)."""
    seeds = facts.seeds[rows]
    u, own = uniform(seeds, RESIDUAL), uniform(seeds, _OWN)
    counts = facts.incidents.counts[rows]
    pace = facts.pace[rows, None]
    # Half the draws by the fleet's law, at the tenant's pace; half by the incidents that got as old, its own or the fleet's.
    minutes = pace * fleet.lasting.residual(facts.age[rows, None] / pace, u)
    seen = survivors(facts, fleet, rows, u, own < (counts / (counts + OWN_INCIDENTS))[:, None])
    seen[:, 0::2] = np.nan
    return np.where(np.isnan(seen), minutes, seen)


def _present_failure(facts: Facts, rows: Ints, minutes: Floats) -> tuple[Floats, Floats]:
    """Failures, and the crowd's extra requests, still to come from the present failure that lasts so long: (rows, DRAWS) each."""
    spread = 0.25 + 0.5 / np.sqrt(1 + facts.failures[rows, None])
    severity = facts.severity[rows, None] * np.exp(spread * _normal(uniform(facts.seeds[rows], _SEVERITY)))
    severity = np.minimum(severity, 1.0)
    volume = facts.volume.upto(rows[:, None], minutes)
    crowd = facts.crowd[rows, None]
    return severity * crowd * volume, (crowd - 1) * volume


def survivors(facts: Facts, fleet: Fleet, rows: Ints, u: Floats, own: NDArray[np.bool_]) -> Floats:
    """How many minutes longer a past incident lasted that got as old as the present failure of the tenants `rows`.

    `u` (rows, draws) picks among the tenant's own incidents where `own`, else the fleet's; NaN where they are too few.
    """
    age = facts.age[rows, None]
    first = np.searchsorted(fleet.durations, age, side="right")
    minutes = _longer(fleet.durations, first, fleet.durations.size - first, u)
    if facts.incidents.durations.size:
        longer = facts.incidents.durations > facts.age[facts.incidents.owner]
        left = np.bincount(facts.incidents.owner, longer, facts.age.size).astype(np.int64)[rows]
        first = facts.incidents.offsets[rows + 1] - left
        minutes = np.where(own, _longer(facts.incidents.durations, first[:, None], left[:, None], u), minutes)
    return np.where(own & (facts.incidents.counts[rows] == 0)[:, None], np.nan, minutes - age)


def _longer(durations: Floats, first: Ints, left: Ints, u: Floats) -> Floats:
    """One of durations[first : first + left], by `u`; NaN where those are under `SURVIVORS`."""
    place = np.minimum(first + (u * left).astype(np.int64), durations.size - 1)
    return np.where(left >= SURVIVORS, durations[place], np.nan)


def _pace(incidents: _Incidents, centre: float) -> Floats:
    """How long each tenant's failures last against the fleet's: a factor, near 1 while it has had few."""
    told = incidents.durations >= LAW_LEAST
    owner = incidents.owner[told]
    counts = np.bincount(owner, minlength=incidents.counts.size)
    off = np.bincount(owner, np.log(incidents.durations[told]) - centre, counts.size)
    return np.asarray(np.exp(off / (counts + OWN_INCIDENTS)))


def arriving(facts: Facts, fleet: Fleet) -> Floats:
    """Failures of incidents that will start later, (tenants, ARRIVING): Poisson's arrivals at a Gamma rate."""
    u = uniform(facts.seeds, _COUNT)
    out = np.zeros((len(u), ARRIVING))
    own, volume, law = facts.incidents, facts.volume, fleet.lasting
    _arrive(
        facts.seeds, u, facts.left, facts.clock, facts.rate_shape, facts.rate_days, facts.pace * law.scale[0], -1 / law.k[0],
        own.offsets, own.durations, own.severities, own.hours, fleet.durations, fleet.severities, fleet.hours,
        volume.sums, volume.cells, out,
    )  # fmt: skip
    return out


@compiled
def _arrive(
    seeds: NDArray[np.uint64], u: Floats, left: Floats, clock: Floats, rate_shape: Floats, rate_days: Floats, scale: Floats, power: float,
    offsets: Ints, durations: Floats, severities: Floats, hours: Floats, pool_durations: Floats, pool_severities: Floats, pool_hours: Floats,
    sums: Floats, cells: Floats, out: Floats,
) -> None:  # fmt: skip
    """Add up in `out` what each tenant's later incidents cost in each of its draws.

    Of the fleet's, half are as long as its law says, which knows of longer ones than have been: `scale` and `power` are the law's.
    """
    for row in range(out.shape[0]):
        days = left[row] / DAY
        odds = days / (rate_days[row] + days)
        none = (1 - odds) ** rate_shape[row]
        own = offsets[row + 1] - offsets[row]
        mine = own / (own + OWN_INCIDENTS)
        for draw in range(out.shape[1]):
            n, chance, below = 0, none, none
            while n < MOST_INCIDENTS and u[row, draw] > below:
                key = seeds[row] + np.uint64((draw * MOST_INCIDENTS + n) * 4 + 1000)
                n += 1
                chance *= odds * (rate_shape[row] + n - 1) / n
                below += chance
                when, which = _hash(key), _hash(key + np.uint64(2))
                if _hash(key + np.uint64(1)) < mine:
                    place = offsets[row] + int(which * own)
                    lasting, severity, hour = durations[place], severities[place], hours[place]
                else:
                    place = int(which * pool_durations.size)
                    lasting, severity, hour = pool_durations[place], pool_severities[place], pool_hours[place]
                    law = _hash(key + np.uint64(3))
                    if law < 0.5:
                        lasting = scale[row] * ((1 - 2 * law) ** power - 1)
                # On any of the days left, at the hour of the day at which that incident started.
                start = (np.floor(when * days) + (hour / 24 - clock[row]) % 1.0) * DAY
                if start >= left[row]:
                    start = when * left[row]
                met = _upto(sums[row], cells[row], min(start + lasting, left[row])) - _upto(
                    sums[row], cells[row], start
                )
                out[row, draw] += severity * met


@compiled
def _upto(sums: Floats, cells: Floats, minutes: float) -> float:
    """Expected requests of a tenant in the first `minutes`."""
    cell = int(minutes / 60)
    return float(sums[cell] + (minutes / 60 - cell) * cells[cell])


def stretches(facts: Facts, fleet: Fleet, against: float = OWN_DAYS, *, whoever: bool = False) -> Floats:
    """The share of requests that failed in incidents over past days, as many as are left: (tenants, DRAWS - ARRIVING).

    A tenant's own d days weigh d / (d + `against`) against the fleet's. Where something fails just now, the tenant is likelier one of those
    that often fail: then the fleet's days are those of a tenant picked by its incidents, and not by its days, unless `whoever`.
    """
    u = uniform(facts.seeds, _WINDOW)[:, ARRIVING:]
    own = uniform(facts.seeds, _COUNT)[:, ARRIVING:]
    length = np.maximum(np.ceil(facts.left / DAY), 1).astype(np.int64)
    out = np.zeros(u.shape)
    # Arrays handed to compiled code have one layout, however many tenants there are: for another one it is compiled anew.
    if fleet.share_days.any():
        whose, start = _picked(fleet.share_days, fleet.share_days, u)
        if fleet.share_incidents.any() and not whoever:
            met = _picked(fleet.share_incidents, fleet.share_days, u[facts.failing])
            whose[facts.failing], start[facts.failing] = met
        _stretch(fleet.shares, whose, fleet.share_days[whose], start, length, out)
    days, theirs = facts.share_days[:, None], np.zeros(u.shape)
    rows, many = (np.repeat(one, u.shape[1]).reshape(u.shape) for one in (np.arange(len(u)), np.maximum(days, 1)))
    _stretch(facts.shares, rows, many, (u * days).astype(np.int64), length, theirs)
    return np.where(own < days / np.maximum(days + against, 1), theirs, out)


def _picked(weights: Ints, days: Ints, u: Floats) -> tuple[Ints, Ints]:
    """A tenant by its weight, and evenly one of its days, by `u`; whoever has no days has no weight."""
    ends = np.cumsum(weights)
    at = u * ends[-1]
    whose = np.searchsorted(ends, at, side="right")
    within = (at - (ends - weights)[whose]) / weights[whose]
    return whose, np.minimum((within * days[whose]).astype(np.int64), days[whose] - 1)


@compiled
def _stretch(sums: Floats, rows: Ints, days: Ints, start: Ints, length: Ints, out: Floats) -> None:
    """Mean daily share over `length` days from `start`, going round after the last; of (tenants, draws), `length` of (tenants,)."""
    for row in range(out.shape[0]):
        for draw in range(out.shape[1]):
            whose, many, since = rows[row, draw], days[row, draw], start[row, draw]
            rounds, end = length[row] // many, since + length[row] % many
            part = sums[whose, min(end, many)] - sums[whose, since] + sums[whose, max(end - many, 0)]
            out[row, draw] = (rounds * sums[whose, many] + part) / length[row]


def answers(facts: Facts, fleet: Fleet, thresholds: Sequence[int], lasts: Floats | None = None) -> list[Forecast]:
    """The forecasts for a chunk of tenants. `lasts` (tenants,): minutes that present failures go on, where those are known, to judge by."""
    size = facts.seeds.size
    expected = facts.volume.all
    days = np.maximum(facts.left / DAY, 1.0)
    young = YOUNG_SPREAD / (1 + facts.days_seen)
    spread = np.sqrt(VOLUME_SPREAD**2 + young**2 + 1 / np.maximum(expected, 1.0))[:, None]
    volume = np.exp(spread * _normal(uniform(facts.seeds, _VOLUME)))

    spread = np.sqrt(BACKGROUND_SPREAD**2 + np.log1p(fleet.daily_variance / days))[:, None]
    share = facts.background[:, None] * np.exp(spread * _normal(uniform(facts.seeds, _BACKGROUND)))
    share[:, ARRIVING:] += stretches(facts, fleet)
    failures = share * expected[:, None]
    failures[:, :ARRIVING] += arriving(facts, fleet)
    requests = np.broadcast_to(expected[:, None], failures.shape).copy()
    rows = np.flatnonzero(facts.failing)
    if rows.size:
        minutes = _still_lasting(facts, fleet, rows) if lasts is None else lasts[rows, None]
        more_failures, more_requests = _present_failure(facts, rows, minutes)
        failures[rows] += more_failures
        requests[rows] += more_requests
    z, limits = _normal(uniform(facts.seeds, _NOISE)), FULL - np.array(thresholds, dtype=np.float64)
    below, most = np.zeros((size, len(thresholds)), dtype=np.int64), np.zeros(size)
    ends = np.empty(failures.shape)
    _end(failures, requests, volume, z, facts.total, facts.bad, limits, ends, below, most)
    probability = []
    for limit, missed in zip(limits, (below / DRAWS).T, strict=True):
        certain = FULL * facts.bad > limit * most
        open_still = (expected > 0) & ~certain
        probability.append(np.where(certain, 1.0, np.where(open_still, np.clip(missed, FLOOR, 1 - FLOOR), missed)))
    asked = facts.total + expected > 0
    at = [round(q * (DRAWS - 1)) for q in (0.5, *LEVELS, *(1 - level for level in LEVELS))]
    middle, *tails = np.partition(ends, at, axis=1)[:, at].T
    lows, highs = (dict(zip(LEVELS, part, strict=True)) for part in (tails[: len(LEVELS)], tails[len(LEVELS) :]))
    low = np.where(facts.failing, lows[FAILING_TAIL], lows[TAIL])
    high = np.where(facts.failing, highs[FAILING_TAIL], highs[TAIL])
    told = np.stack(tails, axis=1).tolist()
    whole = facts.total + expected

    made = []
    for i in range(size):
        failing = bool(facts.failing[i])
        left = {t: _minutes_left(facts, i, t) if failing else None for t in thresholds}
        made.append(
            Forecast(
                expected_requests=float(whole[i]),
                p05=float(low[i]) if asked[i] else None,
                p50=float(middle[i]) if asked[i] else None,
                p95=float(high[i]) if asked[i] else None,
                probability={t: float(p[i]) for t, p in zip(thresholds, probability, strict=True)},
                minutes_left=left,
                budget_exhausted_in=left[thresholds[0]] if failing else _exhausted_in(facts, i, thresholds[0]),
                failing=failing,
                severity=float(facts.severity[i]),
                tails=tuple(told[i]) if asked[i] else (),
            )
        )
    return made


@compiled
def _end(
    failures: Floats, requests: Floats, volume: Floats, z: Floats, total: Floats, bad: Floats, limits: Floats, ends: Floats,
    below: Ints, most: Floats,
) -> None:  # fmt: skip
    """Write each draw's availability at the end to `ends`, and count in `below` those beyond each of `limits`, basis points that may fail.

    `failures` and `requests` are still to come; `most` takes the most requests that a draw of the tenant's has.
    """
    for row in range(failures.shape[0]):
        for draw in range(failures.shape[1]):
            n = requests[row, draw] * volume[row, draw]
            mean = min(failures[row, draw] * volume[row, draw], n)
            drawn = 0.0
            if mean > 0:  # Poisson's quantile, after Cornish and Fisher
                normal = z[row, draw]
                drawn = np.floor(mean + np.sqrt(mean) * normal + (normal * normal - 1) / 6 + 0.5)
                drawn = min(max(drawn, 0.0), n)
            whole, failed = total[row] + n, bad[row] + drawn
            ends[row, draw] = 1 - failed / max(whole, 1e-9)
            most[row] = max(most[row], whole)
            for place in range(limits.size):
                below[row, place] += FULL * failed > limits[place] * whole


def _minutes_left(facts: Facts, row: int, threshold: int) -> float | None:
    """Minutes of the present failure until `threshold` is certain to be missed, along the expected volume."""
    allowed = (FULL - threshold) / FULL
    crowd = float(facts.crowd[row])
    room = allowed * float(facts.total[row] + facts.volume.all[row]) - float(facts.bad[row])
    rate = float(facts.severity[row]) * crowd - allowed * (crowd - 1)
    return _after(facts.volume, row, room, rate)


def _exhausted_in(facts: Facts, row: int, threshold: int) -> float | None:
    room = (FULL - threshold) / FULL * float(facts.total[row] + facts.volume.all[row]) - float(facts.bad[row])
    return _after(facts.volume, row, room, float(facts.background[row]))


def _after(volume: _Volume, row: int, room: float, rate: float) -> float | None:
    if volume.all[row] == 0 and room >= 0:
        return None
    if room <= 0:
        return 0.0
    return volume.minutes(row, room / rate) if rate > 0 else None
