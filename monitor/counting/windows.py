"""Rolling windows over a tenant's days: sums of the minutes that have closed. The rates people are paged on come from here."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from monitor.contract.period import DAY
from monitor.counting.day import WIDTH, Day, add_row
from monitor.counting.frame import Row

WINDOWS = MappingProxyType({"5m": 5, "30m": 30, "1h": 60, "6h": 360, "1d": 1440, "3d": 4320})
"""Lengths in minutes."""
LONGEST = max(WINDOWS.values())


def rolling(day_at: Callable[[int], Day | None], upto: int) -> dict[str, Row]:
    """Each window's five counts over all portals, ending before the UTC epoch minute `upto`; `day_at` gives a day by its number, or None."""
    numbers = range((upto - LONGEST) // DAY, (upto - 1) // DAY + 1)
    days = [day for day in map(day_at, numbers) if day is not None]
    out: dict[str, Row] = {}
    end, so_far = upto, [0] * WIDTH
    # Each window holds the shorter ones before it.
    for name, length in WINDOWS.items():
        so_far = so_far.copy()
        for day in days:
            first = day.first_minute
            if first < end and upto - length < first + DAY:
                for row in day.between(upto - length - first, end - first).values():
                    add_row(so_far, 0, row)
        out[name] = so_far
        end = upto - length
    return out
