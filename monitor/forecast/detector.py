"""The incident detector: a day of minutes, read in one go.

It goes on at the first minute at which 3 failures, more than chance makes of the background, and a share of max(2 %, 5 x background) are in
the last 5, 15, 60 or 240 minutes. It goes off when the last 15 minutes (up to 6 hours, until 20 requests of which 6 would have failed) are
under max(1 %, .1 x severity). It looks only at minutes with requests, so silence changes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.contract.period import DAY

Ints = NDArray[np.int64]

ON_WINDOWS = (5, 15, 60, 240)
"""Minutes over which the detector looks for the start of a failure."""
ON_FAILURES = 3
ON_SHARE = 0.02
ON_SPREAD = 4.0
"""Failures needed beyond `ON_FAILURES`, in standard deviations of a background of `ON_BACKGROUND`: chance is no failure."""
ON_BACKGROUND = 0.002
OFF_SHARE = 0.01
OFF_OF_SEVERITY = 0.1
OFF_MINUTES = 15
OFF_MINUTES_MOST = 360
OFF_REQUESTS = 20
OFF_FAILURES = 6.0
"""The quiet window holds so many requests that this many would have failed, had the failure gone on."""
BACKGROUND_FACTOR = 5.0
BACKGROUND_MOST = 0.01
"""An hour's usual share of failures above this is no background but a failure that lasts all day."""
MOST = DAY // 2
"""Failures that a day can hold: each one's start is seen later than the end of the one before."""
HOURS = 24


@compiled
def detect(demand: Ints, bad: Ints, found: Ints) -> int:
    """Find a day's failures, its minutes having shape (1440,) and at least one request; how many there are, if nothing failed at midnight.

    `found`, shape (MOST + 1, 5), takes them by start: first minute, minute outside, requests, failures, whether it was still open. The last row
    takes the failure that came in over midnight, if one did.
    """
    demands, bads = np.zeros(DAY + 1, dtype=np.int64), np.zeros(DAY + 1, dtype=np.int64)
    for minute in range(DAY):
        demands[minute + 1] = demands[minute] + demand[minute]
        bads[minute + 1] = bads[minute] + bad[minute]
    _until_off(demands, bads, 0, -1, found[MOST])
    usual = _background(demands, bads)
    share, chance = max(ON_SHARE, BACKGROUND_FACTOR * usual), max(usual, ON_BACKGROUND)
    many, after, off = 0, 0, -1
    while True:
        start, seen = _on(demands, bads, share, chance, after, off)
        if start < 0:
            return many
        off = _until_off(demands, bads, start, seen, found[many])
        after = found[many, 1]
        many += 1


@compiled
def _background(demands: Ints, bads: Ints) -> float:
    """The day's usual share of failures: the median of its hours with requests."""
    shares, many = np.empty(HOURS), 0
    for hour in range(HOURS):
        first, upto = hour * 60, hour * 60 + 60
        asked = demands[upto] - demands[first]
        if asked:
            share, place = (bads[upto] - bads[first]) / asked, many
            while place and shares[place - 1] > share:
                shares[place] = shares[place - 1]
                place -= 1
            shares[place] = share
            many += 1
    usual = shares[many // 2]
    return usual if usual <= BACKGROUND_MOST else 0.0


@compiled
def _on(demands: Ints, bads: Ints, share: float, chance: float, after: int, off: int) -> tuple[int, int]:
    """Where the next failure starts, and the minute at which it is seen, by the minutes from `after` on; -1 when there is none."""
    for seen in range(off + 1, DAY):
        upto = seen + 1
        if bads[upto] == bads[seen]:
            continue
        for window in ON_WINDOWS:  # the shortest window that tells
            since = max(upto - window, after)
            n, asked = bads[upto] - bads[since], demands[upto] - demands[since]
            if n >= ON_FAILURES + np.floor(ON_SPREAD * np.sqrt(chance * asked)) and n >= share * asked:
                while bads[since + 1] == bads[since]:
                    since += 1
                return since, seen
    return -1, -1


@compiled
def _until_off(demands: Ints, bads: Ints, start: int, seen: int, found: Ints) -> int:
    """Write the failure that starts at `start` and is seen at `seen`; the minute of going off, 1,440 when it does not."""
    for upto in range(max(seen + 1, start + OFF_MINUTES - 1) + 1, DAY + 1):
        if demands[upto] == demands[upto - 1]:
            continue
        severity = (bads[upto] - bads[start]) / (demands[upto] - demands[start])
        needed = max(float(OFF_REQUESTS), OFF_FAILURES / max(severity, OFF_SHARE))
        low, least = upto - OFF_MINUTES, max(upto - OFF_MINUTES_MOST, start)
        while low > least and demands[upto] - demands[low] < needed:
            low -= 1
        if (bads[upto] - bads[low]) / (demands[upto] - demands[low]) < max(OFF_SHARE, OFF_OF_SEVERITY * severity):
            end = low + 1
            while end > start and bads[end] == bads[end - 1]:
                end -= 1
            _write(demands, bads, start, end, 0, found)
            return upto - 1
    last = DAY
    while last > start and demands[last] == demands[last - 1]:
        last -= 1
    _write(demands, bads, start, last, 1, found)
    return DAY


@compiled
def _write(demands: Ints, bads: Ints, start: int, end: int, still: int, found: Ints) -> None:
    found[0], found[1], found[4] = start, end, still
    found[2], found[3] = demands[end] - demands[start], bads[end] - bads[start]
