"""Where nobody asked though somebody must have: minutes without a request that a tenant's past does not explain. People decide what they were.

A *run* is a longest stretch of measured minutes without a request of any kind; a *pulse* is a minute with requests that follows one without.
A run is a silence when more pulses were due in it than chance, bursts and closed days account for. Rules:

- What is due is told by the four weeks before the day of the last request: by hour of the week, how often an empty minute was followed by one
  that was not. The busiest of the four is left out, and an hour counts no more than its neighbours do, so neither one busy week nor a clock
  change makes an hour due. A minute with many requests is one pulse: a batch job tells as little as a single user.
- Demand is bursty, so a run is as long as a negative binomial law makes it, with the spread that the tenant's own hours have from week to
  week. `Rhythm.needed` are the pulses that chance lets one run in `FALSE_ALARM_MONTHS` months exceed.
- Any day may be a holiday. For `EVIDENCE_HOLDS` minutes the day is as busy as the last hours showed, at most as usual; from then on as busy
  as half the quietest weekday; only after `CLOSED_DAYS`, longer than companies close, as usual again.
- Tiny tenants never alarm: a few minutes with requests in three hours are no evidence. Nor does a tenant in its first `DAYS_LEAST` days.
- Unmeasured minutes are no silence, and end a run: nobody knows what came in them. Requests that come late end it too, or fill it. In the
  past that tells what is due, unmeasured minutes count as empty, which makes less due.

A closure that nobody announced and that begins while people or machines are at work looks the same as a failure: it is for a person to decide.

How to drive it. Time comes in as the first minute that is not complete (`now`, `upto`).

- For alerts, once a minute: of the tenants whose last request is `LEAST` minutes old, let `rhythms` make those whose `Rhythm.day` is not that
  of their last request (one call for all of them; keep what it gives), then ask `ongoing` for each. A `History` is fed without requests whose
  fault lay elsewhere; a minute with nothing else counts as empty in it, which makes less due.
- For statements, when one is made: `silences` over the month; `day_at` gives `Day.by_minute()`, and reaches `LOOKBACK` days back.
- The platform is a tenant whose requests are those of all: add up their days' minutes, feed a `History` with the sums, and ask both with
  `basis="platform"`. A partition sees its own tenants; that is enough, as tenants are spread over partitions alike.
- Nobody asks about tenants without a running contract. Once the history has lost the weeks before a run there is no silence any more: by
  then (four weeks) a person has decided.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import expm1, isqrt, log1p

import numpy as np
from numpy.typing import NDArray

from monitor.contract.period import DAY
from monitor.contract.readings import Silence
from monitor.forecast.history import PROFILE_DAYS, RHYTHM_DAYS, Floats, History, Ints, rhythm_of

FALSE_ALARM_MONTHS = 12
"""A tenant has at most one false alarm in so many months. With n chances of one a month (its runs, and the hours with requests, each of
which might have had one), and k the shape of the gamma law between hours, a run outlasts x pulses with the chance (1 + x / k) ** -k. The
expected number of such runs in all these months, FALSE_ALARM_MONTHS * n * (1 + x / k) ** -k, is 1 at
x = k * ((FALSE_ALARM_MONTHS * n) ** (1 / k) - 1). What else the rules hold back makes it fewer; the tests measure it."""
LEAST = 5
"""Minutes: nothing shorter is a silence."""
DAYS_LEAST = 14
"""Days before the last request that must be known: each weekday twice."""
LOOKBACK = 2 * PROFILE_DAYS
"""Days before a month that its silences are judged by: a run may have begun in the month before."""
EVIDENCE = (180, 60)
"""Minutes up to the last request that tell how busy the day is: the longest, unless a shorter one says that it has become less."""
EVIDENCE_HOLDS = 360
"""Minutes after the last request for which they tell it."""
CLOSED_DAYS = 16
"""The longest that a company closes: from the last Friday before Christmas to the first Monday after New Year."""
SHAPE_LEAST, SHAPE_MOST = 2.0, 20.0
"""Of the gamma law between hours: at most as bursty, at most as even."""

_MICRO = 1_000_000
"""Pulses are added up as whole millionths, so that the same minutes give the same silence everywhere."""
_WEEK = 7 * DAY
_HOURS = 7 * 24
_EXPECT_DAYS = 21
"""Days whose mean tells how many requests are missing: as many as a history still has when a run is a week old."""
_BATCH = 256
"""Tenants whose rhythms are made at once: more gain nothing but memory."""
_MOST = 4.6
"""Pulses a minute: that an always busy tenant's minute is empty has at least a chance of 1 %."""
_TELLING = 1.6
"""Events a minute, with which a fifth of the minutes is empty: hours with more tell little of how requests come."""
_PSEUDO = 2
"""Empty minutes that are assumed, in which pulses came as if minutes did not depend on each other."""


Seen = Callable[[int, int], int]
"""How many of the epoch minutes [first, upto) had requests."""


@dataclass(frozen=True, slots=True, eq=False)
class Rhythm:
    """What had to come from `day` on (its number), by the four weeks before it.

    `usual`, `closed`: (169,) pulses that are due on usual and on closed days, `events`: (169,) what comes if minutes do not depend on each
    other, all as millionths cumulated by hour over a week that begins with `day`. `needed`: pulses (millionths) that make a silence; None
    while too little is known.
    """

    day: int
    usual: Ints
    closed: Ints
    events: Ints
    needed: int | None

    def between(self, cumulated: Ints, start: int, end: int) -> int:
        """The millionths in the epoch minutes [start, end)."""
        base = self.day * DAY
        return _at(cumulated, end - base) - _at(cumulated, start - base)

    def pulses(self, last: int, start: int, end: int, seen: Seen | None = None) -> int:
        """The pulses (millionths) that are due in [start, end), when the last request was in the minute `last`.

        Without `seen` the day is taken to be as usual, which makes the most due.
        """
        held = min(max(last + 1 + EVIDENCE_HOLDS, start), end)
        shut = min(max(last + 1 + CLOSED_DAYS * DAY, start), end)
        near = self.between(self.usual, start, held)
        if seen is not None:
            sure, usual = self._level(last + 1, seen)
            near = near * sure // usual
        return near + self.between(self.closed, held, shut) + self.between(self.usual, shut, end)

    def silent(self, last: int, start: int, end: int, seen: Seen) -> bool:
        """Whether the run [start, end) is a silence."""
        if self.needed is None or end - start < LEAST or self.pulses(last, start, end) < self.needed:
            return False
        return self.pulses(last, start, end, seen) >= self.needed

    def _level(self, upto: int, seen: Seen) -> tuple[int, int]:
        """How busy the day is by what was seen before `upto`, as a fraction of the usual."""
        whole, latest = EVIDENCE
        part, usual = self._share(upto - whole, upto, seen)
        likely = _shown(latest, self.between(self.events, upto - latest, upto) * part // usual)
        declining = seen(upto - latest, upto) < likely - isqrt(4 * likely)
        return self._share(upto - latest, upto, seen) if declining else (part, usual)

    def _share(self, first: int, upto: int, seen: Seen) -> tuple[int, int]:
        """What came in [first, upto), at least (two standard deviations off), and what usually does, which is not 0."""
        usual = max(self.between(self.events, first, upto), 1)
        found, minutes = seen(first, upto), upto - first
        least = max(0, found - isqrt(4 * found))
        return min(round(-minutes * log1p(-least / (minutes + 1)) * _MICRO), usual), usual


def _shown(minutes: int, events: int) -> int:
    """Of so many minutes, those with requests when so many (millionths) come that do not depend on each other."""
    return round(-minutes * expm1(-events / (minutes * _MICRO)))


def _at(cumulated: Ints, minute: int) -> int:
    """What has come by a minute of weeks that all are alike; minute 0 begins the first."""
    weeks, within = divmod(minute, _WEEK)
    hour, part = divmod(within, 60)
    low = int(cumulated[hour])
    return weeks * int(cumulated[_HOURS]) + low + (int(cumulated[hour + 1]) - low) * part // 60


def rhythms(histories: Sequence[History], days: Sequence[int]) -> list[Rhythm]:
    """The rhythm of each history as of its day, by the days before it. One call for many tenants is the cheap way."""
    found: list[Rhythm] = []
    for low in range(0, len(histories), _BATCH):
        found += _batch(histories[low : low + _BATCH], days[low : low + _BATCH])
    return found


def _batch(histories: Sequence[History], days: Sequence[int]) -> list[Rhythm]:
    numbers = np.array(days, dtype=np.int64)[:, None] + np.arange(-PROFILE_DAYS, 0)
    rows = np.stack([history.rhythm for history in histories])
    rows = rows[np.arange(len(histories))[:, None], numbers % RHYTHM_DAYS]
    newest = np.array([history.newest for history in histories])[:, None]
    first = np.array([_first_day(history) for history in histories])[:, None]
    known = (numbers > first) & (numbers > newest - RHYTHM_DAYS) & (first >= 0)
    return _rhythms(rows.astype(np.int64), known, days)


def _first_day(history: History) -> int:
    """The number of the day of the first request, -1 without one. It is not a whole day."""
    return history.past().first // DAY if history.newest >= 0 else -1


def _rhythms(rows: Ints, known: NDArray[np.bool_], days: Sequence[int]) -> list[Rhythm]:
    """`rows` (n, 28, 24, 2): `Digest.rhythm` of the 28 days before each day; `known` (n, 28): whether they are."""
    n = len(days)
    counts = np.where(known[:, :, None, None], rows, 0).reshape(n, 4, 7, 24, 2)
    there = np.broadcast_to(known.reshape(n, 4, 7, 1), (n, 4, 7, 24))
    active, began = counts[..., 0], counts[..., 1]
    weeks = there.sum(axis=1)
    busiest = np.argmax(np.where(there, active, -1), axis=1)[:, None]
    rest = np.maximum(weeks - 1, 0)
    minutes = 60 * rest
    some = active.sum(axis=1) - np.take_along_axis(active, busiest, 1)[:, 0]
    pulses = began.sum(axis=1) - np.take_along_axis(began, busiest, 1)[:, 0]
    share = some / (minutes + 1)
    ends = (pulses + _PSEUDO * share) / (minutes - some + _PSEUDO)
    rate = -np.log1p(-np.minimum(ends, 0.999)).reshape(n, _HOURS)
    events = -np.log1p(-share).reshape(n, _HOURS)
    # A full hour hides how much requests come in bursts; the others tell.
    telling = events < _TELLING
    bursts = ((rate * telling).sum(axis=1) + 1) / ((events * telling).sum(axis=1) + 1)
    rate = np.minimum(np.minimum(rate, events * np.minimum(bursts, 1.0)[:, None]), _MOST)
    due = np.minimum(rate, np.minimum(np.roll(rate, 1, axis=1), np.roll(rate, -1, axis=1)))
    by_day = due.reshape(n, 7, 24)
    quietest = by_day[np.arange(n), by_day.sum(axis=2).argmin(axis=1)]
    closed = np.minimum(due, np.tile(quietest / 2, 7))
    needed = _needed(active, began, there)
    enough = known.sum(axis=1) >= DAYS_LEAST
    summed = np.stack([_cumulated(rates) for rates in (due, closed, events)], axis=1)
    return [
        Rhythm(day, parts[0].copy(), parts[1].copy(), parts[2].copy(), int(least) if sure else None)
        for day, parts, least, sure in zip(days, summed, needed, enough, strict=True)
    ]


def _cumulated(rates: Floats) -> Ints:
    """Rates a minute (n, 168) as millionths by the hour, cumulated (n, 169)."""
    hourly = np.rint(rates * 60 * _MICRO).astype(np.int64)
    return np.concatenate([np.zeros((len(hourly), 1), dtype=np.int64), np.cumsum(hourly, axis=1)], axis=1)


def _needed(active: Ints, began: Ints, there: NDArray[np.bool_]) -> Ints:
    """The pulses (millionths) that chance lets one run in `FALSE_ALARM_MONTHS` months exceed, (n,)."""
    weeks = there.sum(axis=1)
    share = active / 61
    events = np.where(there, -60 * np.log1p(-share), 0.0)
    mean = events.sum(axis=1) / np.maximum(weeks, 1)
    variance = (np.where(there, events - mean[:, None], 0.0) ** 2).sum(axis=1) / np.maximum(weeks - 1, 1)
    chance = np.where(there, 60 * share / (1 - share), 0.0).sum(axis=1) / np.maximum(weeks, 1)
    # Hours that are nearly full tell little of how many came.
    telling = (weeks >= 2) & (mean < 90)
    beyond = np.where(telling, variance - chance, 0.0).sum(axis=(1, 2))
    spread = beyond / np.maximum(np.where(telling, mean**2, 0.0).sum(axis=(1, 2)), 1e-9)
    shape = 1 / np.clip(spread, 1 / SHAPE_MOST, 1 / SHAPE_LEAST)
    days = np.maximum(there[..., 0].sum(axis=(1, 2)), 1)
    # A busy tenant's hour has no run, but might have had one.
    chances = 1 + 30 * (began.sum(axis=(1, 2, 3)) + (active > 0).sum(axis=(1, 2, 3))) / days
    return np.asarray(np.ceil(shape * ((FALSE_ALARM_MONTHS * chances) ** (1 / shape) - 1) * _MICRO), dtype=np.int64)


def ongoing(
    rhythm: Rhythm,
    history: History,
    last: int,
    now: int,
    seen: Seen,
    gaps: Iterable[tuple[int, int]] = (),
    basis: str = "tenant",
) -> Silence | None:
    """The silence that goes on as of the minute `now` (outside), or None. It grows with `now`.

    `last`: the last minute with a request of any kind, and `rhythm` that of its day (AssertionError otherwise). `seen` is asked only when in
    doubt. `gaps`: minutes [from, to) that were not measured.
    """
    if rhythm.day != last // DAY:
        raise AssertionError(f"expected the rhythm of day {last // DAY}, found that of day {rhythm.day}")
    start = max([last + 1, *(min(to, now) for _, to in gaps)])
    if not rhythm.silent(last, start, now, seen):
        return None
    numbers = np.arange(rhythm.day - _EXPECT_DAYS, rhythm.day)
    known = (numbers > _first_day(history)) & (numbers > history.newest - PROFILE_DAYS)
    hours = history.hours[numbers % PROFILE_DAYS].astype(np.int64)
    return Silence(start, now, _expected(hours, known, rhythm.day, start, now), basis)


def _expected(hours: Ints, known: NDArray[np.bool_], day: int, start: int, end: int) -> int:
    """The requests of [start, end), as in the mean of the three weeks before `day`: `hours` (_EXPECT_DAYS, 24), `known` (_EXPECT_DAYS,)."""
    weeks = known.reshape(3, 7).sum(axis=0)
    sums = np.where(known[:, None], hours, 0).reshape(3, 7, 24).sum(axis=0)
    weekly = (sums * _MICRO // np.maximum(weeks, 1)[:, None]).reshape(_HOURS)
    cumulated = np.concatenate([[0], np.cumsum(weekly)])
    base = day * DAY
    return (_at(cumulated, end - base) - _at(cumulated, start - base) + _MICRO // 2) // _MICRO


def silences(
    day_at: Callable[[int], Ints | None],
    start: int,
    upto: int,
    gaps: Iterable[tuple[int, int]] = (),
    basis: str = "tenant",
) -> list[Silence]:
    """The silences that touch the epoch minutes [start, upto), in order, each whole: it may have begun before, and ends at `upto` if it goes on.

    `day_at`: the requests of any kind by minute (1440,) of a UTC day by its number, None without any. `gaps`: minutes [from, to) that were not
    measured; they may overlap.
    """
    if start >= upto:
        return []
    first, days = start // DAY - LOOKBACK, (upto - 1) // DAY - start // DAY + LOOKBACK + 1
    requests = np.zeros((days, DAY), dtype=np.int64)
    for place in range(days):
        found = day_at(first + place)
        if found is not None:
            requests[place] = found
    base = first * DAY
    flat = requests.reshape(-1)[: upto - base]
    busy = np.flatnonzero(flat)
    if not busy.size:
        return []
    known_from = int(busy[0]) // DAY + 1
    table = _Table(requests, first, known_from, busy + base)
    breaks = flat > 0
    for low, high in gaps:
        breaks[max(low - base, 0) : max(high - base, 0)] = True
    # A run ends where a break follows, and at `upto`.
    edges = np.append(np.flatnonzero(breaks), upto - base)
    lengths = np.diff(edges) - 1
    late = (lengths >= LEAST) & (edges[1:] + base > start) & (edges[:-1] >= busy[0])
    found_silences = []
    for before, length in zip(edges[:-1][late].tolist(), lengths[late].tolist(), strict=True):
        one = table.silence(base + before + 1, base + before + 1 + length, basis)
        if one is not None:
            found_silences.append(one)
    return found_silences


class _Table:
    """Days of minutes laid out for a walk: `requests` (days, 1440) from the day `first` on; `busy`: epoch minutes with requests."""

    def __init__(self, requests: Ints, first: int, known_from: int, busy: Ints) -> None:
        self.first, self.busy = first, busy.tolist()
        self.known = np.arange(len(requests)) >= known_from
        self.hours = requests.reshape(-1, 24, 60).sum(axis=2)
        self.rows = rhythm_of(requests)
        self.rhythm: Rhythm | None = None

    def silence(self, start: int, end: int, basis: str) -> Silence | None:
        """The run [start, end) as a silence; None when it is none."""
        last = self.busy[bisect_left(self.busy, start) - 1]
        place = last // DAY - self.first
        if place < PROFILE_DAYS:
            return None
        day = self.first + place
        if self.rhythm is None or self.rhythm.day != day:
            past = slice(place - PROFILE_DAYS, place)
            (self.rhythm,) = _rhythms(self.rows[past][None], self.known[past][None], [day])
        if not self.rhythm.silent(last, start, end, self._seen):
            return None
        past = slice(place - _EXPECT_DAYS, place)
        return Silence(start, end, _expected(self.hours[past], self.known[past], day, start, end), basis)

    def _seen(self, first: int, upto: int) -> int:
        return bisect_left(self.busy, upto) - bisect_left(self.busy, first)
