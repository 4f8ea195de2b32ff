"""What past months say about the forecasts: how they ended against what had been said of them, and what follows for the next.

Of each tenant and UTC day one forecast is kept (`Sample`), as it was made: uncorrected, at a minute that is hashed from both, so that nothing
which happens then decides whether it is kept. When the month has ended its samples are counted (`outcomes`), and the counts of all tenants
added up by month. `Correction.of` makes from them, apart for forecasts made while something failed and for the others:

- the level at which either end of the interval is read from the draws, so that a twentieth of the months end beyond it. Until there is
  evidence it is the level that the forecast itself takes, which weighs as much as `DOUBT_MONTHS` months;
- once `LEAST_MISSES` of the months were missed, a new P = logistic(a + b logit P), fitted to what was missed and blended half with the old
  one in the logit. Both a and b - 1 are held near 0.

What a forecast says of one day is much the same as what it says of the next, so evidence is weighed by tenants' months and not by samples.
Samples tell alike, however many a month has: so often does whoever looks at a random time meet them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from math import exp, log
from struct import Struct
from typing import NamedTuple

import numpy as np

from monitor.contract.period import DAY
from monitor.contract.terms import below
from monitor.forecast.history import Floats
from monitor.forecast.mixture import FAILING_TAIL, FLOOR, LEVELS, TAIL, Forecast

DOUBT_MONTHS = 50.0
"""Months after which the share of them that ended beyond a twentieth's level is known to some 3 %: about as far as the forecasts were off."""
HALF_LIFE = 12.0
"""Months in which a month's evidence loses half its weight, and `KEPT_MONTHS` those after which it is forgotten."""
KEPT_MONTHS = 24
LEAST_MISSES = 15.0
SPREAD = 0.25
"""How far a and b are believed to be from 0 and 1, as a standard deviation: P .5 for .56 or .44, and .8 for .83 or .76."""
BLEND = 0.5
CHANCES = round(1 / FLOOR)
"""A sample's P is in parts of this."""
SHARES = 1_000_000_000
"""A sample's shares of bad requests are in parts of this."""
BINS = 29
"""Of logit P, half a unit wide, around -7 to 7: the least P but 0 is in the first, the highest but 1 in the last."""
_STEPS = 25


class Sample(NamedTuple):
    """A forecast as it was made. `chance`: P of missing the highest threshold, of `CHANCES`. `low`, `high`: the month's share of bad requests,
    of `SHARES`, beyond which it ends at each of `LEVELS`: more than `low`, and less than `high`.
    """

    failing: bool
    chance: int
    low: tuple[int, ...]
    high: tuple[int, ...]

    def packed(self) -> bytes:
        """The sample in 51 bytes: a month of them in memory is a tenth of what the numbers are."""
        return _PACKED.pack(self.failing, self.chance, *self.low, *self.high)

    @classmethod
    def unpacked(cls, data: bytes) -> Sample:
        """A sample from `packed`; ValueError for bytes that are none."""
        if len(data) != _PACKED.size:
            raise ValueError(f"expected a forecast's sample of {_PACKED.size} bytes, found {len(data)}")
        failing, chance, *shares = _PACKED.unpack(data)
        return cls(failing, chance, tuple(shares[: len(LEVELS)]), tuple(shares[len(LEVELS) :]))


_PACKED = Struct(f"<?H{2 * len(LEVELS)}I")


def sampled_at(tenant: str, day: int) -> int:
    """The minute of the UTC day number `day` at which the tenant's forecast is kept, 0 to 1439."""
    return int.from_bytes(blake2b(f"{tenant}\0{day}".encode(), digest_size=8).digest(), "little") % DAY


def sample(made: Forecast) -> Sample | None:
    """What is kept of a forecast that nobody has corrected; None of one that says nothing."""
    if not made.tails:
        return None
    shares = [round((1 - one) * SHARES) for one in made.tails]
    half = len(LEVELS)
    top = next(iter(made.probability.values()))
    return Sample(made.failing, round(top * CHANCES), tuple(shares[:half]), tuple(shares[half:]))


def _counts(many: int) -> list[int]:
    return [0] * many


@dataclass(slots=True)
class Outcomes:
    """How sampled forecasts of one state ended. `months`: of tenants, with such samples; `missed_months`: those of them that were missed.

    `beyond_low`, `beyond_high`: samples whose month ended beyond each of `LEVELS`. `said`, `missed`: by bins of logit P, samples at which the
    month's end was open, and those of them whose month was missed.
    """

    months: int = 0
    missed_months: int = 0
    samples: int = 0
    beyond_low: list[int] = field(default_factory=lambda: _counts(len(LEVELS)))
    beyond_high: list[int] = field(default_factory=lambda: _counts(len(LEVELS)))
    said: list[int] = field(default_factory=lambda: _counts(BINS))
    missed: list[int] = field(default_factory=lambda: _counts(BINS))

    def add(self, other: Outcomes) -> None:
        """Add another's counts."""
        self.months += other.months
        self.missed_months += other.missed_months
        self.samples += other.samples
        for mine, theirs in (
            (self.beyond_low, other.beyond_low),
            (self.beyond_high, other.beyond_high),
            (self.said, other.said),
            (self.missed, other.missed),
        ):
            mine[:] = [a + b for a, b in zip(mine, theirs, strict=True)]


@dataclass(slots=True)
class Ended:
    """How a month's sampled forecasts ended: those made while nothing failed, and the others."""

    quiet: Outcomes = field(default_factory=Outcomes)
    failing: Outcomes = field(default_factory=Outcomes)

    def add(self, other: Ended) -> None:
        """Add another's counts."""
        self.quiet.add(other.quiet)
        self.failing.add(other.failing)


def outcomes(samples: Iterable[Sample], good: int, bad: int, threshold: int) -> Ended:
    """A tenant's month against its samples. `good` and `bad` requests at its end; the highest threshold in basis points.

    A month without requests ended nowhere: nothing is counted.
    """
    ended = Ended()
    total = good + bad
    if not total:
        return ended
    share, missed = bad * SHARES / total, below(bad, total, threshold)
    for one in samples:
        into = ended.failing if one.failing else ended.quiet
        into.months, into.missed_months = 1, int(missed)
        into.samples += 1
        for level in range(len(LEVELS)):
            # A share is kept rounded: what is as near is not beyond.
            into.beyond_low[level] += share > one.low[level] + 1
            into.beyond_high[level] += share < one.high[level] - 1
        if 0 < one.chance < CHANCES:
            place = _bin(one.chance / CHANCES)
            into.said[place] += 1
            into.missed[place] += missed
    return ended


def _bin(p: float) -> int:
    return round(2 * (_logit(p) + 7))


def _logit(p: float) -> float:
    return log(p / (1 - p))


_CENTRES = np.arange(BINS) / 2 - 7


@dataclass(frozen=True, slots=True)
class _Lesson:
    """For forecasts of one state: where the interval's ends are read, and a and b of the new P.

    An end lies behind the first of a pair among `LEVELS`, by the second of what lies between it and the next.
    """

    low: tuple[int, float]
    high: tuple[int, float]
    shift: float
    slope: float

    def probability(self, p: float) -> float:
        if not 0 < p < 1 or (self.shift, self.slope) == (0.0, 1.0):
            return p
        x = _logit(p)
        x += BLEND * (self.shift + (self.slope - 1) * x)
        return min(max(1 / (1 + exp(-x)), FLOOR), 1 - FLOOR)


@dataclass(frozen=True, slots=True)
class Correction:
    """What is learnt for forecasts made while nothing fails, and for the others; None before there is evidence."""

    quiet: _Lesson | None = None
    failing: _Lesson | None = None

    @classmethod
    def of(cls, ended: Mapping[str, Ended]) -> Correction:
        """What months ("2026-11") teach together; the newest of them weighs the most."""
        if not ended:
            return cls()
        newest = max(map(_number, ended))
        weighed = [
            (0.5 ** ((newest - _number(name)) / HALF_LIFE), ended[name])
            for name in sorted(ended)
            if newest - _number(name) < KEPT_MONTHS
        ]
        return cls(
            _lesson([(weight, one.quiet) for weight, one in weighed], TAIL),
            _lesson([(weight, one.failing) for weight, one in weighed], FAILING_TAIL),
        )

    def corrected(self, made: Forecast) -> Forecast:
        """The forecast as it is told: its interval and its P; nothing else changes, and a certain end stays one."""
        lesson = self.failing if made.failing else self.quiet
        if lesson is None or not made.tails:
            return made
        return replace(
            made,
            p05=_read(made.tails, *lesson.low),
            p95=_read(made.tails[len(LEVELS) :], *lesson.high),
            probability={t: lesson.probability(p) for t, p in made.probability.items()},
        )


def forget(ended: dict[str, Ended]) -> None:
    """Drop the months that teach nothing any more."""
    newest = max(map(_number, ended), default=0)
    for name in [name for name in ended if newest - _number(name) >= KEPT_MONTHS]:
        del ended[name]


def _number(name: str) -> int:
    year, _, month = name.partition("-")
    return 12 * int(year) + int(month)


def _read(tails: Sequence[float], place: int, part: float) -> float:
    """The availability between those at two of `LEVELS`."""
    return (1 - part) * tails[place] + part * tails[place + 1]


def _lesson(weighed: Sequence[tuple[float, Outcomes]], taken: float) -> _Lesson | None:
    """`taken`: the level that the forecast itself takes for a twentieth."""
    samples = sum(weight * one.samples for weight, one in weighed)
    if not samples:
        return None
    months = sum(weight * one.months for weight, one in weighed)
    low = _sum([(weight, one.beyond_low) for weight, one in weighed]) / samples
    high = _sum([(weight, one.beyond_high) for weight, one in weighed]) / samples
    shift, slope = 0.0, 1.0
    if sum(weight * one.missed_months for weight, one in weighed) >= LEAST_MISSES:
        said = _sum([(weight, one.said) for weight, one in weighed]) * months / samples
        missed = _sum([(weight, one.missed) for weight, one in weighed]) * months / samples
        shift, slope = _fitted(said, missed)
    return _Lesson(_level(low, months, taken), _level(high, months, taken), shift, slope)


def _sum(weighed: Sequence[tuple[float, list[int]]]) -> Floats:
    return np.asarray(np.sum([weight * np.array(counts) for weight, counts in weighed], axis=0))


def _level(beyond: Floats, months: float, taken: float) -> tuple[int, float]:
    """The level beyond which a twentieth ends, as a place among `LEVELS`. `beyond`: shares of the samples by `LEVELS`."""
    believed = np.array(LEVELS) * (TAIL / taken)
    shares = (DOUBT_MONTHS * believed + months * beyond) / (DOUBT_MONTHS + months)
    at = float(np.interp(log(TAIL), np.log(shares), np.arange(len(LEVELS))))
    place = min(int(at), len(LEVELS) - 2)
    return place, at - place


def _fitted(said: Floats, missed: Floats) -> tuple[float, float]:
    """The a and b that make what was missed likeliest, given how far they are believed to be from 0 and 1: by Newton's steps."""
    at = np.array([0.0, 1.0])
    held = np.eye(2) / SPREAD**2
    columns = np.stack((np.ones(BINS), _CENTRES))
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-at @ columns))
        slope = columns @ (missed - said * p) - held @ (at - (0.0, 1.0))
        bend = (columns * (said * p * (1 - p))) @ columns.T + held
        step = np.clip(np.linalg.solve(bend, slope), -0.5, 0.5)
        at = at + step
    # Under 0 what is likelier would be told to be less so.
    return float(at[0]), max(float(at[1]), 0.0)
