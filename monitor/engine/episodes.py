"""A month's failures as people tell them: episodes, each with when, where and how much. Worked out from minutes; nothing is stored.

A minute is failing when more of its requests fail than the highest promise allows. Failing minutes less than `APART` minutes apart are one
episode. Failures outside of all episodes are the background.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.contract.terms import FULL
from monitor.counting.request import CLIENT, SERVER, SUCCESS, UNCLASSIFIED

APART = 10
"""Minutes."""
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Episode:
    """UTC epoch minutes [start, end). `bad` of `total` requests failed (the unclassified are bad, the excluded are in neither).

    `failing`: how many of its minutes were. `unclassified`: of the bad. `portals`: bad by portal, the worst first.
    """

    start: int
    end: int
    failing: int
    bad: int
    total: int
    unclassified: int
    portals: Mapping[str, int]


def episodes(by_portal: Mapping[str, tuple[Integers, Integers]], threshold: int) -> list[Episode]:
    """The episodes in order of time. `by_portal`: UTC epoch minutes (n,) and counts (n, 5); `threshold`: basis points."""
    if not any(len(minutes) for minutes, _ in by_portal.values()):
        return []
    first = min(int(minutes[0]) for minutes, _ in by_portal.values() if len(minutes))
    upto = max(int(minutes[-1]) for minutes, _ in by_portal.values() if len(minutes)) + 1
    bad, total = (np.zeros(upto - first, dtype=np.int64) for _ in range(2))
    for minutes, counts in by_portal.values():
        failed = counts[:, SERVER] + counts[:, UNCLASSIFIED]
        bad[minutes - first] += failed
        total[minutes - first] += failed + counts[:, SUCCESS] + counts[:, CLIENT]
    failing = np.flatnonzero(FULL * bad > (FULL - threshold) * total)
    if not len(failing):
        return []
    breaks = np.flatnonzero(np.diff(failing) >= APART) + 1
    return [_episode(by_portal, first, run, bad, total) for run in np.split(failing, breaks)]


def _episode(
    by_portal: Mapping[str, tuple[Integers, Integers]], first: int, run: Integers, bad: Integers, total: Integers
) -> Episode:
    low, high = int(run[0]), int(run[-1]) + 1
    portals: dict[str, int] = {}
    unclassified = 0
    for portal, (minutes, counts) in by_portal.items():
        part = counts[slice(*np.searchsorted(minutes, (first + low, first + high)))]
        n = int(part[:, SERVER].sum() + part[:, UNCLASSIFIED].sum())
        unclassified += int(part[:, UNCLASSIFIED].sum())
        if n:
            portals[portal] = n
    worst = dict(sorted(portals.items(), key=lambda item: (-item[1], item[0])))
    return Episode(
        first + low, first + high, len(run), int(bad[low:high].sum()), int(total[low:high].sum()), unclassified, worst
    )
