"""The figures by which forecasts are judged, from the trails of a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from monitor.contract.terms import FULL, label
from monitor.forecast.backtest import PAGES, THRESHOLDS, Look, Trail
from monitor.forecast.baselines import NAMES, TOLD
from monitor.forecast.generate import Outage
from monitor.forecast.history import Floats, Ints

KINDS = ("random", "incident", "failing")
BUDGETS = (0.8, 0.9)
LEAST = 1e-3
"""Probabilities are kept this far from 0 and 1 in the log loss."""
BINS = 10
RESAMPLES = 200


class _Looks:
    """The looks of one kind as columns: `p` and `missed` of shape (looks, thresholds)."""

    def __init__(self, trails: Sequence[Trail], kind: str) -> None:
        found = [(trail, look) for trail in trails for look in trail.looks if look.kind == kind]
        if kind != "random":
            # A failure that the counts do not show yet is one that only hindsight knows of.
            found = [(trail, look) for trail, look in found if look.made.failing]
        self.size = len(found)
        shape = (self.size, len(THRESHOLDS))
        self.p = np.array([[k.made.probability[t] for t in THRESHOLDS] for _, k in found]).reshape(shape)
        self.missed = np.array([[r.crossed[t] is not None for t in THRESHOLDS] for r, _ in found]).reshape(shape)
        self.others = {
            name: np.array([k.baselines[name] for _, k in found if k.baselines]).reshape(shape)
            for name in (*NAMES, TOLD)
        }
        self.quarter = np.array([r.quarter(k.now) for r, k in found], dtype=int)
        self.open = np.array([_open(r.crossed[THRESHOLDS[0]], k.now) for r, k in found], dtype=bool)
        self.tenant = [r.tenant for r, _ in found]
        self.month = [f"{r.population} {r.period.name}" for r, _ in found]
        inside = [k.made.p05 is not None and k.made.p95 is not None and _inside(r, k) for r, k in found]
        self.covered = np.array(inside, dtype=float)
        self.young = np.array([r.young for r, _ in found], dtype=bool)
        self.small = np.array([r.requests < 300 * 30 for r, _ in found], dtype=bool)


def _open(crossed: int | None, now: int) -> bool:
    return crossed is None or now < crossed


def _inside(trail: Trail, look: Look) -> bool:
    made = look.made
    if made.p05 is None or made.p95 is None:
        return False
    return made.p05 - 1e-9 <= trail.availability <= made.p95 + 1e-9


def judge(trails: Sequence[Trail]) -> dict[str, Any]:
    """All figures but the time spent; the names are explained in `monitor.cli.backtest`. ValueError without a trail."""
    if not trails:
        raise ValueError("expected at least one month to judge, found none")
    looks = {kind: _Looks(trails, kind) for kind in KINDS}
    names = [label(t) for t in THRESHOLDS]
    return {
        "tenant_months": len(trails),
        "tenants": len({t.tenant for t in trails}),
        "base_rate": {
            name: _mean([trail.crossed[t] is not None for trail in trails])
            for name, t in zip(names, THRESHOLDS, strict=True)
        },
        "looks": {kind: looks[kind].size for kind in KINDS},
        "looks_missed": _scores(looks, lambda _, missed: _mean(missed)),
        "brier": _scores(looks, _brier),
        "brier_skill": _scores(looks, _skill),
        "before_certain": _before_certain(looks["incident"]),
        "brier_interval": {kind: _clustered(looks[kind], _loss(looks[kind])) for kind in KINDS},
        "log_loss": _scores(looks, _log_loss),
        "brier_by_quarter": [
            _brier(looks["random"].p[here, 0], looks["random"].missed[here, 0])
            for here in (looks["random"].quarter == q for q in range(4))
        ],
        "brier_first_month": _brier(
            looks["random"].p[looks["random"].young, 0], looks["random"].missed[looks["random"].young, 0]
        ),
        "calibration_error": {kind: _calibration(looks[kind].p[:, 0], looks[kind].missed[:, 0]) for kind in KINDS},
        "reliability": {kind: _reliability(looks[kind].p[:, 0], looks[kind].missed[:, 0]) for kind in KINDS},
        "calibration_by_chance": {kind: _by_chance(looks[kind]) for kind in KINDS},
        "coverage": {kind: _mean(looks[kind].covered) for kind in KINDS},
        "coverage_interval": {kind: _clustered(looks[kind], looks[kind].covered) for kind in KINDS},
        "coverage_first_month": _mean(looks["random"].covered[looks["random"].young]),
        "coverage_under_300_requests_a_day": _mean(looks["random"].covered[looks["random"].small]),
        "policies": _policies(trails),
        "crossing": _crossing(trails),
        **_room(trails),
        "baselines": {name: _simpler(looks, name) for name in NAMES},
        "told_the_end": _simpler(looks, TOLD),
    }


def _simpler(looks: dict[str, _Looks], name: str) -> dict[str, Any]:
    """The figures of what is not the forecast."""
    return {
        "brier": _scores(looks, _brier, name),
        "brier_skill": _scores(looks, _skill, name),
        "log_loss": _scores(looks, _log_loss, name),
        "calibration_error": {
            kind: _calibration(looks[kind].others[name][:, 0], looks[kind].missed[:, 0]) for kind in KINDS
        },
    }


Score = Callable[[Floats, Floats], float | None]


def _scores(looks: dict[str, _Looks], score: Score, name: str | None = None) -> dict[str, dict[str, float | None]]:
    return {
        label(t): {
            kind: score((looks[kind].p if name is None else looks[kind].others[name])[:, i], looks[kind].missed[:, i])
            for kind in KINDS
        }
        for i, t in enumerate(THRESHOLDS)
    }


def _mean(values: Iterable[float]) -> float | None:
    array = np.asarray(list(values), dtype=float)
    return float(array.mean()) if array.size else None


def _brier(p: Floats, missed: Floats) -> float | None:
    return _mean((p - missed) ** 2)


def _skill(p: Floats, missed: Floats) -> float | None:
    """1 - Brier / the Brier score of always saying the share of these looks that was missed; None when all ended alike."""
    brier, share = _brier(p, missed), _mean(missed)
    return 1 - brier / (share * (1 - share)) if brier is not None and share and share < 1 else None


def _log_loss(p: Floats, missed: Floats) -> float | None:
    p = np.clip(p, LEAST, 1 - LEAST)
    return _mean(-np.log(np.where(missed, p, 1 - p)))


def _before_certain(looks: _Looks) -> dict[str, float | None]:
    """The looks during incidents that come before the first threshold's miss is certain: where there is still doubt."""
    p, missed = looks.p[looks.open, 0], looks.missed[looks.open, 0]
    return {
        "looks": float(missed.size),
        "looks_missed": _mean(missed),
        "brier": _brier(p, missed),
        "brier_skill": _skill(p, missed),
        "calibration_error": _calibration(p, missed),
    }


def _loss(looks: _Looks) -> Floats:
    """Each look's part of the Brier score at the first threshold."""
    return np.asarray((looks.p[:, 0] - looks.missed[:, 0]) ** 2)


def _clustered(looks: _Looks, values: Floats) -> tuple[float, float] | None:
    """The 90 % interval of the looks' mean value, when tenants are drawn again and again."""
    if not looks.size:
        return None
    _, owner = np.unique(looks.tenant, return_inverse=True)
    total, n = np.bincount(owner, values), np.bincount(owner)
    drawn = np.random.default_rng(1).integers(0, n.size, (RESAMPLES, n.size))
    low, high = np.quantile(total[drawn].sum(axis=1) / n[drawn].sum(axis=1), (0.05, 0.95))
    return float(low), float(high)


def _by_chance(looks: _Looks) -> dict[str, float] | None:
    """The calibration error that a forecast without any would show on as few months: its mean, and what one in twenty would exceed.

    What is said of a month and what becomes of it differ by chance, one month from the next, but alike for all tenants and looks in it: so
    the months' distances from their bin's mean change sign at random.
    """
    if not looks.size:
        return None
    p, missed = looks.p[:, 0], looks.missed[:, 0]
    place = _place(p)
    distance = p - missed
    distance = distance - (np.bincount(place, distance) / np.maximum(np.bincount(place), 1))[place]
    _, owner = np.unique(looks.month, return_inverse=True)
    months = np.zeros((owner.max() + 1, BINS))
    np.add.at(months, (owner, place), distance)
    signs = np.random.default_rng(1).choice((-1.0, 1.0), (RESAMPLES, len(months)))
    errors = np.abs(signs @ months).sum(axis=1) / looks.size
    return {"mean": float(errors.mean()), "one_in_twenty": float(np.quantile(errors, 0.95))}


def _place(p: Floats) -> Ints:
    """The bin of each P."""
    return np.minimum((p * BINS).astype(np.int64), BINS - 1)


def _reliability(p: Floats, missed: Floats) -> list[dict[str, float]]:
    """Bins of equal width that have looks in them: mean P, share missed, number of looks."""
    place = _place(p)
    return [
        {"p": float(p[here].mean()), "missed": float(missed[here].mean()), "looks": int(here.sum())}
        for here in (place == b for b in range(BINS))
        if here.any()
    ]


def _calibration(p: Floats, missed: Floats) -> float | None:
    """Expected calibration error: the mean distance of P and the share missed over `BINS` bins, by their looks."""
    if not p.size:
        return None
    return sum(b["looks"] * abs(b["p"] - b["missed"]) for b in _reliability(p, missed)) / p.size


def _policies(trails: Sequence[Trail]) -> dict[str, dict[str, float | None]]:
    """Pages about the first threshold, the first of each month, by policy."""
    rules: dict[str, list[int | None]] = {f"P>={level}": [_sure(t, level) for t in trails] for level in PAGES}
    rules["multi-window burn rate"] = [t.burned for t in trails]
    for share in BUDGETS:
        rules[f"{share:.0%} of the budget used"] = [_used(t, share) for t in trails]
    return {name: _policy(trails, pages) for name, pages in rules.items()}


def _sure(trail: Trail, level: float) -> int | None:
    """The first look at which P was at or over `level`."""
    return next((look.now for look in trail.looks if look.made.probability[THRESHOLDS[0]] >= level), None)


def _used(trail: Trail, share: float) -> int | None:
    """The first look at which that share of the expected budget was used."""
    each = share * (FULL - THRESHOLDS[0]) / FULL
    return next((look.now for look in trail.looks if 0 < each * look.made.expected_requests <= look.bad), None)


def _policy(trails: Sequence[Trail], pages: Sequence[int | None]) -> dict[str, float | None]:
    crossed = [t.crossed[THRESHOLDS[0]] for t in trails]
    paged = sum(p is not None for p in pages)
    missed = sum(c is not None for c in crossed)
    leads = np.array([(c - p) / 60 for c, p in zip(crossed, pages, strict=True) if c is not None and p is not None])
    return {
        "precision": leads.size / paged if paged else None,
        "recall": float((leads > 0).sum()) / missed if missed else None,
        "median_lead_hours": float(np.median(leads)) if leads.size else None,
        "caught_with_an_hour": float((leads >= 1).sum()) / missed if missed else None,
        "pages_per_missed_tenant_month": paged / missed if missed else None,
        "pages_per_tenant_month": paged / len(trails),
    }


def _crossing(trails: Sequence[Trail]) -> dict[str, float | None]:
    """How fast months are lost: from the start of the outage in which the miss becomes certain until it is."""
    found = [(trail, _crossed_in(trail)) for trail in trails]
    hours = np.array(
        [
            (crossed - max(outage.start, trail.period.start)) / 60
            for trail, outage in found
            if outage is not None and (crossed := trail.crossed[THRESHOLDS[0]]) is not None
        ]
    )
    return {
        "median_hours": float(np.median(hours)) if hours.size else None,
        "within_an_hour": _mean(hours < 1),
    }


def _crossed_in(trail: Trail) -> Outage | None:
    """The outage in which the first threshold's miss became certain; None where it was kept, or lost by what fails at all times."""
    crossed = trail.crossed[THRESHOLDS[0]]
    return next((o for o in trail.outages if crossed is not None and o.start < crossed <= o.end + 1), None)


def _room(trails: Sequence[Trail]) -> dict[str, float | None]:
    """How good the point of no return is: in the outage in which a month is lost, at most five looks each."""
    ratios: list[float] = []
    top = THRESHOLDS[0]
    for trail in trails:
        crossed, outage = trail.crossed[top], _crossed_in(trail)
        if crossed is None or outage is None:
            continue
        said = [
            (look.made.minutes_left[top], crossed - look.now)
            for look in trail.looks
            if outage.start <= look.now <= crossed - 10 and look.made.failing
        ]
        some = [said[i] for i in np.unique(np.linspace(0, len(said) - 1, 5).astype(int))] if said else []
        ratios += [np.inf if left is None else left / actual for left, actual in some]
    close = [abs(r - 1) <= 0.25 for r in ratios]
    return {
        "m_star_within_25_percent": _mean(close),
        "m_star_median_ratio": float(np.median(ratios)) if ratios else None,
        "m_star_looks": len(ratios),
    }
