"""Rolling windows over a tenant's days: sums of the minutes that have closed. The rates people are paged on come from here."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from monitor.contract.period import DAY
from monitor.counting.day import WIDTH, Day
from monitor.counting.frame import Row

WINDOWS = MappingProxyType({"5m": 5, "30m": 30, "1h": 60, "6h": 360, "1d": 1440, "3d": 4320})
"""Lengths in minutes."""


def total(day_at: Callable[[int], Day | None], first: int, upto: int) -> Row:
    """Five counts over all portals in the UTC epoch minutes [first, upto); `day_at` gives a day by its number, or None."""
    out = [0] * WIDTH
    for number in range(first // DAY, (upto - 1) // DAY + 1) if upto > first else ():
        day = day_at(number)
        if day is None:
            continue
        base = number * DAY
        for row in day.between(first - base, upto - base).values():
            for index, n in enumerate(row):
                out[index] += n
    return out


def rolling(day_at: Callable[[int], Day | None], upto: int) -> dict[str, Row]:
    """Each window's five counts, ending before the UTC epoch minute `upto`; each holds the shorter ones before it."""
    out: dict[str, Row] = {}
    end, so_far = upto, [0] * WIDTH
    for name, length in WINDOWS.items():
        more = total(day_at, upto - length, end)
        out[name] = so_far = [a + b for a, b in zip(so_far, more, strict=True)]
        end = upto - length
    return out
