"""What the forecast has to beat: simple ways to say whether a month will be missed, on the same counts.

Each gives P(below) for months and thresholds. *burn rate*: the share that fails now goes on to the end. *linear*: the
share of the month so far does. *hold*: the present failure goes on for six hours, and nothing fails later.
*climatology*: the rest is like a stretch of the fleet's past days, whatever happens now. *day-block*: the rest is like
a stretch of the tenant's own past days (the fleet's, before it has many), after the present failure, which lasts as
long as a past one that got as old.

One more is to be told how hard the histories are, since no two score alike: `told`, the forecast when it is told in which
minute the present failure ends. Whoever is not told that can hardly do better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from monitor.contract.terms import FULL
from monitor.forecast.fleet import Fleet
from monitor.forecast.history import Floats, History
from monitor.forecast.mixture import (
    ARRIVING,
    RESIDUAL,
    Facts,
    MonthSoFar,
    answers,
    facts_of,
    stretches,
    survivors,
    uniform,
)

HOLD_MINUTES = 360.0
OWN_DAYS_LEAST = 14
"""Days from which a tenant's own past days are the blocks, and not the fleet's."""
OWN_INCIDENTS = 10
"""Past incidents from which the tenant's own tell how long the present one lasts, and not the fleet's."""
NAMES = ("burn rate", "hold", "climatology", "linear", "day-block")
TOLD = "told the end"
"""The name of `told`."""


def baselines(
    months: Sequence[MonthSoFar], histories: Sequence[History], fleet: Fleet, thresholds: Sequence[int]
) -> dict[str, Floats]:
    """P(below) by the names of `NAMES`: shape (months, thresholds) each."""
    facts = facts_of(months, histories, fleet)
    rest = facts.volume.all
    rows = np.arange(len(months))
    now = np.where(facts.failing, facts.severity, facts.background)
    held = facts.severity * facts.volume.upto(rows, np.full(len(months), HOLD_MINUTES))
    so_far = facts.bad / np.maximum(facts.total, 1)
    usual = facts.background[:, None]
    none = replace(facts, share_days=np.zeros_like(facts.share_days))
    fleets = (usual + stretches(none, fleet, whoever=True)) * rest[:, None]
    own_days = np.where(facts.share_days < OWN_DAYS_LEAST, 0, facts.share_days)
    blocks = (usual + stretches(replace(facts, share_days=own_days), fleet, against=0.0, whoever=True)) * rest[:, None]
    failing = np.flatnonzero(facts.failing)
    if failing.size:
        u = uniform(facts.seeds[failing], RESIDUAL)[:, ARRIVING:]
        minutes = survivors(facts, fleet, failing, u, (facts.incidents.counts[failing] >= OWN_INCIDENTS)[:, None])
        minutes = np.where(np.isnan(minutes), facts.age[failing, None], minutes)
        blocks[failing] += facts.severity[failing, None] * facts.volume.upto(failing[:, None], minutes)
    failures = {
        "burn rate": (now * rest)[:, None],
        "hold": held[:, None],
        "climatology": fleets,
        "linear": (so_far * rest)[:, None],
        "day-block": blocks,
    }
    return {name: _below(facts, failures[name], thresholds) for name in NAMES}


def told(
    months: Sequence[MonthSoFar],
    histories: Sequence[History],
    fleet: Fleet,
    thresholds: Sequence[int],
    ends: Sequence[int],
) -> Floats:
    """P(below) of the forecast when it knows the epoch minutes `ends` at which the months' present failures end: (months, thresholds)."""
    facts = facts_of(months, histories, fleet)
    lasts = np.array([max(end - month.now, 0) for end, month in zip(ends, months, strict=True)], dtype=np.float64)
    made = answers(facts, fleet, thresholds, lasts)
    return np.array([[one.probability[t] for t in thresholds] for one in made])


def _below(facts: Facts, failures: Floats, thresholds: Sequence[int]) -> Floats:
    total = (facts.total + facts.volume.all)[:, None]
    bad = facts.bad[:, None] + failures
    return np.stack([(FULL * bad > (FULL - t) * total).mean(axis=1) for t in thresholds], axis=1)
