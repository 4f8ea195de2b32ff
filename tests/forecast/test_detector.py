"""The compiled detector says what its numpy form says, on any day."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.contract.period import DAY
from monitor.forecast import detector
from monitor.forecast.history import Floats, Incident, Ints, digest


def days(seed: int, level: float, failures: int, background: float) -> tuple[Ints, Ints]:
    """Minutes of a day with so many requests a minute, sometimes none for long, and so many failures."""
    rng = np.random.default_rng(seed)
    demand = rng.poisson(level * rng.gamma(2, 0.5, 24).repeat(60))
    quiet = int(rng.integers(0, DAY))
    demand[quiet : quiet + int(rng.integers(0, 600))] = 0
    share: Floats = np.full(DAY, background)
    for _ in range(failures):
        start = int(rng.integers(0, DAY))
        share[start : start + int(rng.pareto(1.0) * 20) + 1] = rng.random()
    return demand, rng.binomial(demand, share)


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.01, 0.1, 1.0, 20.0, 2000.0]),
    st.integers(0, 6),
    st.sampled_from([0.0, 0.001, 0.008, 0.015, 0.3]),
)
def test_the_compiled_detector_finds_what_its_numpy_form_finds(
    seed: int, level: float, failures: int, background: float
) -> None:
    demand, bad = days(seed, level, failures, background)
    made = digest(demand, bad)
    if not demand.any():
        assert (made.incidents, made.carried) == ((), Incident(0, 0, 0, 0, open=True))
        return
    day = _Minutes(demand, bad)
    assert made.incidents == day.incidents(_background(demand.reshape(24, 60).sum(axis=1), bad))
    assert made.carried == day.until_off(0, -1)[0]


def test_failures_that_come_again_and_again_all_day_have_room() -> None:
    demand = np.full(DAY, 1000)
    bad = np.where(np.arange(DAY) % 16 == 0, 500, 0)
    made = digest(demand, bad)
    assert len(made.incidents) == DAY // 16
    assert made.incidents == _Minutes(demand, bad).incidents(_background(demand.reshape(24, 60).sum(axis=1), bad))


def _background(hours: Ints, bad: Ints) -> float:
    """The day's usual share of failures: the median of its hours with requests."""
    shares = np.sort((bad.reshape(24, 60).sum(axis=1) / np.maximum(hours, 1))[hours > 0])
    usual = float(shares[shares.size // 2])
    return usual if usual <= detector.BACKGROUND_MOST else 0.0


class _Minutes:
    """A day's minutes, summed up for the detector."""

    def __init__(self, demand: Ints, bad: Ints) -> None:
        self.demands = np.concatenate(([0], np.cumsum(demand)))
        self.bads = np.concatenate(([0], np.cumsum(bad)))
        self.asked = np.flatnonzero(demand)
        self.failing = np.flatnonzero(bad)

    def between(self, first: int, upto: int) -> tuple[int, int]:
        return int(self.demands[upto] - self.demands[first]), int(self.bads[upto] - self.bads[first])

    def incidents(self, background: float) -> tuple[Incident, ...]:
        """The day's failures, by start."""
        found: list[Incident] = []
        after, off = 0, -1
        while (on := self._on(background, after, off)) is not None:
            one, off = self.until_off(*on)
            found.append(one)
            after = one.end
        return tuple(found)

    def _on(self, background: float, after: int, off: int) -> tuple[int, int] | None:
        """Where the next failure starts, and the minute at which it is seen, by the minutes from `after` on."""
        upto = self.failing[np.searchsorted(self.failing, off, side="right") :] + 1
        share = max(detector.ON_SHARE, detector.BACKGROUND_FACTOR * background)
        usual = max(background, detector.ON_BACKGROUND)
        low = np.full(upto.size, -1, dtype=np.int64)
        for window in reversed(detector.ON_WINDOWS):  # the shortest window that tells is the one that stays
            since = np.maximum(upto - window, after)
            n, asked = self.bads[upto] - self.bads[since], self.demands[upto] - self.demands[since]
            told = (n >= detector.ON_FAILURES + np.floor(detector.ON_SPREAD * np.sqrt(usual * asked))) & (
                n >= share * asked
            )
            low[told] = since[told]
        seen = np.flatnonzero(low >= 0)
        if not seen.size:
            return None
        first = int(seen[0])
        return int(self.failing[np.searchsorted(self.failing, low[first])]), int(upto[first]) - 1

    def until_off(self, start: int, seen: int) -> tuple[Incident, int]:
        """The failure that starts at `start` and is seen at `seen`, and the minute of going off (1,440: not)."""
        at = self.asked[np.searchsorted(self.asked, max(seen + 1, start + detector.OFF_MINUTES - 1)) :] + 1
        for some in (at[:32], at[32:256], at[256:]):  # most failures are short, and most days carry none in
            off = self._off(start, some)
            if off is None:
                continue
            minute, low = off
            failing = self.failing[np.searchsorted(self.failing, start) : np.searchsorted(self.failing, low + 1)]
            end = int(failing[-1]) + 1 if failing.size else start
            return Incident(start, end, *self.between(start, end), open=False), minute
        end = max(int(self.asked[-1]) + 1, start)
        return Incident(start, end, *self.between(start, end), open=True), DAY

    def _off(self, start: int, upto: Ints) -> tuple[int, int] | None:
        """The first of the minutes before `upto` at which the detector goes off, and where the quiet window began."""
        if not upto.size:
            return None
        severity = (self.bads[upto] - self.bads[start]) / (self.demands[upto] - self.demands[start])
        needed = np.maximum(detector.OFF_REQUESTS, detector.OFF_FAILURES / np.maximum(severity, detector.OFF_SHARE))
        low = np.searchsorted(self.demands, self.demands[upto] - needed, side="right") - 1
        low = np.minimum(
            np.maximum(low, np.maximum(upto - detector.OFF_MINUTES_MOST, start)), upto - detector.OFF_MINUTES
        )
        share = (self.bads[upto] - self.bads[low]) / (self.demands[upto] - self.demands[low])
        off = np.flatnonzero(share < np.maximum(detector.OFF_SHARE, detector.OFF_OF_SEVERITY * severity))
        return (int(upto[off[0]]) - 1, int(low[off[0]])) if off.size else None
