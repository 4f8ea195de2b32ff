"""Judging forecasts: histories replayed month by month, each forecast made from nothing but the counts before it.

`replay` walks through a population (see `monitor.forecast.generate`) and yields a `Trail` for each tenant and month;
`judge` turns trails into the figures of `monitor backtest --json`, which are listed there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from monitor.contract.period import DAY, Period
from monitor.contract.terms import FULL, below
from monitor.forecast.baselines import TOLD, baselines, told
from monitor.forecast.calibration import Correction, Ended, Sample, forget, outcomes, sample, sampled_at
from monitor.forecast.fleet import Fleet
from monitor.forecast.generate import Crowd, Outage, counts
from monitor.forecast.history import Floats, History, Ints
from monitor.forecast.mixture import Forecast, MonthSoFar, forecast

THRESHOLDS = (9900, 9500, 9000)
RANDOM_TIMES = 4
"""Random times a month: one in each quarter of it."""
INCIDENT_LOOKS, INCIDENT_AGE = 12.0, 1440.0
"""What "during incidents" means: a failure is looked at, while it lasts and the counts show it, by chance at a rate of
looks / (age + this) a minute: evenly in its first day, then ever more seldom.

The rate knows nothing of the end, so a forecast that is right about what it cannot know is calibrated at these looks.
One random moment of each failure, or of a month's failing minutes, would peek: given its age, it is likelier to lie in
a short failure. Every failing minute alike does not, and is told too ("failing"), but durations have so heavy a tail that a
failure of some weeks outweighs all others there, and nearly all its minutes come after the miss is certain.
"""
FAILING_LOOKS = 1 / 240
"""Looks a minute while something fails, for the kind "failing"."""
SAMPLE = "sample"
"""The kind of those times of which later months learn; nobody looks at them otherwise."""
LOOK_EVERY = 720
"""Minutes between looks when nothing fails."""
BATCH = 512
PAGES = (0.5, 0.8, 0.9, 0.95)
BURNS = ((14.4, 60, 5), (6.0, 360, 30))
"""Multi-window burn rates: the factor of the budget, and the two windows (minutes) that must both be over it."""
BURN_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class Tenancy:
    """A tenant to be replayed: from the period number `first` on."""

    name: str
    crowd: Crowd
    outages: Sequence[Outage]
    first: int = 0


@dataclass(frozen=True, slots=True)
class Population:
    """Tenants over consecutive periods. Periods before number `scored` only teach."""

    name: str
    periods: Sequence[Period]
    tenants: Sequence[Tenancy]
    seed: int
    scored: int = 1


@dataclass(slots=True)
class Look:
    """One forecast of a month, corrected by the months before. `kind`: "random", "incident", "failing" or "path" (for the pages only, without
    `baselines`).

    `baselines`: P by name and threshold.
    """

    kind: str
    now: int
    bad: int
    made: Forecast
    baselines: dict[str, Floats] | None


@dataclass(slots=True)
class Trail:
    """A tenant's month, looked at again and again, and what became of it.

    `crossed`: by threshold, the minute from which the miss was certain in hindsight; None when it was kept. `burned`:
    the first minute at which a multi-window burn rate pages. `young`: whether it is the tenant's first month. `samples`: the
    forecasts that later months learn from.
    """

    population: str
    tenant: str
    period: Period
    requests: int
    failures: int
    crossed: dict[int, int | None]
    burned: int | None
    young: bool
    outages: Sequence[Outage]
    looks: list[Look] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    @property
    def availability(self) -> float:
        """At the month's end, 0..1."""
        return 1 - self.failures / self.requests

    def quarter(self, now: int) -> int:
        """The quarter of the month, 0 to 3, that the minute is in."""
        return min(4 * (now - self.period.start) // self.period.minutes, 3)


@dataclass(slots=True)
class Spent:
    """CPU seconds of the forecasts alone, and their number."""

    seconds: float = 0.0
    forecasts: int = 0


def replay(population: Population, clock: Callable[[], float], spent: Spent) -> Iterator[Trail]:
    """Walk forward through the population's months; `clock` tells CPU seconds, added up in `spent`."""
    histories = [History() for _ in population.tenants]
    ended: dict[str, Ended] = {}
    for number, period in enumerate(population.periods):
        fleet, correction = Fleet.of(histories), Correction.of(ended)
        waiting: list[tuple[Trail, str, MonthSoFar, History]] = []
        trails: list[Trail] = []
        for index, tenancy in enumerate(population.tenants):
            if number < tenancy.first:
                continue
            rng = np.random.default_rng([population.seed, 4, index, number])
            demand, bad = counts(tenancy.crowd, tenancy.outages, period, [population.seed, 3, index, number])
            history = histories[index]
            if number < population.scored or not demand.any():
                for day in range(period.minutes // DAY):
                    _feed(history, period, day, (demand, bad))
                continue
            trail = _trail(population, tenancy, period, demand, bad, young=number == tenancy.first)
            trails.append(trail)
            demands = np.concatenate(([0], np.cumsum(demand)))
            bads = np.concatenate(([0], np.cumsum(bad)))
            fed = 0
            for now, kind in _times(trail, rng):
                day, within = divmod(now - period.start, DAY)
                for done in range(fed, day):
                    _feed(history, period, done, (demand, bad))
                fed = day
                _feed(history, period, day, (demand, bad), within)
                history.close(now)
                history.past()
                n, b = int(demands[now - period.start]), int(bads[now - period.start])
                month = MonthSoFar(tenancy.name, period.start, period.end, now, n - b, b)
                waiting.append((trail, kind, month, history.copy()))
            for done in range(fed, period.minutes // DAY):
                _feed(history, period, done, (demand, bad))
            if len(waiting) >= BATCH:
                _look(waiting, fleet, correction, clock, spent)
        _look(waiting, fleet, correction, clock, spent)
        for trail in trails:
            good = trail.requests - trail.failures
            month_ended = outcomes(trail.samples, good, trail.failures, THRESHOLDS[0])
            ended.setdefault(period.name, Ended()).add(month_ended)
        forget(ended)
        yield from trails


def _feed(history: History, period: Period, day: int, month: tuple[Ints, Ints], upto: int = DAY) -> None:
    """Give the history the period's day number `day`, up to the minute `upto` of it."""
    begin = day * DAY
    part_demand, part_bad = (column[begin : begin + DAY] for column in month)
    if upto < DAY:
        seen = np.arange(DAY) < upto
        part_demand, part_bad = part_demand * seen, part_bad * seen
    history.replace_day(period.start // DAY + day, part_demand, part_bad)


def _times(trail: Trail, rng: np.random.Generator) -> list[tuple[int, str]]:
    """When a month is looked at, and what for, in order."""
    start, end = trail.period.start, trail.period.end
    quarter = trail.period.minutes / RANDOM_TIMES
    times = [(start + int((i + rng.random()) * quarter), "random") for i in range(RANDOM_TIMES)]
    times += [(minute, "path") for minute in range(start + LOOK_EVERY, end, LOOK_EVERY)]
    mine = [(max(o.start, start), min(o.end, end)) for o in trail.outages]
    mine = [(first, upto) for first, upto in mine if first < upto]
    for one in trail.outages:
        ages = INCIDENT_AGE * np.expm1(np.cumsum(rng.exponential(1 / INCIDENT_LOOKS, 100)))
        minutes = one.start + ages[ages < one.end - one.start].astype(np.int64)
        times += [(minute, "incident") for minute in minutes[(minutes >= start) & (minutes < end)].tolist()]
    for first, upto in mine:
        places = rng.random(rng.poisson((upto - first) * FAILING_LOOKS))
        times += [(minute, "failing") for minute in (first + places * (upto - first)).astype(np.int64).tolist()]
    paths = set()
    for first, upto in mine:
        ages = np.concatenate([np.arange(5, 180, 5), np.arange(180, 720, 15), np.arange(720, 90 * DAY, 60)])
        paths |= {first + age for age in ages[ages < min(upto + 20, end) - first].tolist()}
    times += [(minute, "path") for minute in paths]
    days = range(start // DAY, -(-end // DAY))
    samples = (day * DAY + sampled_at(trail.tenant, day) for day in days)
    times += [(minute, SAMPLE) for minute in samples if start < minute < end]
    return sorted(times)


def _trail(population: Population, tenancy: Tenancy, period: Period, demand: Ints, bad: Ints, *, young: bool) -> Trail:
    requests, failures, bads = int(demand.sum()), int(bad.sum()), np.cumsum(bad)
    crossed: dict[int, int | None] = {}
    for threshold in THRESHOLDS:
        over = below(failures, requests, threshold)
        at = int(np.searchsorted(FULL * bads, (FULL - threshold) * requests, side="right"))
        crossed[threshold] = period.start + at + 1 if over else None
    outages = [o for o in tenancy.outages if o.start < period.end and o.end > period.start]
    burned = _burned(demand, bad)
    return Trail(
        population.name,
        tenancy.name,
        period,
        requests,
        failures,
        crossed,
        None if burned is None else period.start + burned + 1,
        young,
        outages,
    )


def _burned(demand: Ints, bad: Ints) -> int | None:
    """The first minute of the period in which a multi-window burn rate pages."""
    demands, bads = np.concatenate(([0], np.cumsum(demand))), np.concatenate(([0], np.cumsum(bad)))
    upto = np.arange(1, demand.size + 1)
    pages = np.zeros(demand.size, dtype=bool)
    for factor, *windows in BURNS:
        both = np.ones(demand.size, dtype=bool)
        for window in windows:
            low = np.maximum(upto - window, 0)
            share = (bads[upto] - bads[low]) / np.maximum(demands[upto] - demands[low], 1)
            both &= share > factor * (FULL - THRESHOLDS[0]) / FULL
        long = np.maximum(upto - windows[0], 0)
        pages |= both & (demands[upto] - demands[long] >= BURN_REQUESTS)
    return int(np.argmax(pages)) if pages.any() else None


def _look(
    waiting: list[tuple[Trail, str, MonthSoFar, History]],
    fleet: Fleet,
    correction: Correction,
    clock: Callable[[], float],
    spent: Spent,
) -> None:
    """Make the forecasts that wait, hand each to its trail, and empty the list."""
    for first in range(0, len(waiting), BATCH):
        some = waiting[first : first + BATCH]
        months, histories = [s[2] for s in some], [s[3] for s in some]
        begun = clock()
        raw = forecast(months, histories, fleet, THRESHOLDS)
        made = [correction.corrected(one) for one in raw]
        spent.seconds += clock() - begun
        spent.forecasts += len(made)
        asked = [i for i, s in enumerate(some) if s[1] not in ("path", SAMPLE)]
        others = {}
        if asked:
            theirs_months, theirs_histories = [months[i] for i in asked], [histories[i] for i in asked]
            others = baselines(theirs_months, theirs_histories, fleet, THRESHOLDS)
            ends = [_ends(some[i][0], some[i][2].now) for i in asked]
            known = told(theirs_months, theirs_histories, fleet, THRESHOLDS, ends)
            for row, i in enumerate(asked):
                if not made[i].failing:  # there is nothing to be told
                    known[row] = [made[i].probability[t] for t in THRESHOLDS]
            others[TOLD] = known
        rows = {i: row for row, i in enumerate(asked)}
        for i, (trail, kind, month, _) in enumerate(some):
            if kind == SAMPLE:
                kept = sample(raw[i])
                trail.samples += [kept] if kept is not None else []
                continue
            theirs = {name: p[rows[i]] for name, p in others.items()} if i in rows else None
            trail.looks.append(Look(kind, month.now, month.bad, made[i], theirs))
    waiting.clear()


def _ends(trail: Trail, now: int) -> int:
    """The minute outside of what truly fails at `now`; `now` when nothing does."""
    return max((one.end for one in trail.outages if one.start <= now < one.end), default=now)
