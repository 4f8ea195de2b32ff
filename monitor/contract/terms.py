"""What is promised, as data: thresholds, credit days, deadlines. Every verdict on a month is an integer comparison here.

A threshold is an integer number of basis points of availability (9900 is 99 %), so that 99.95 % can be promised without a float.
The defaults are those of the published agreement this project reads (see `Terms`); another provider changes the values and no code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any

FULL = 10_000
"""All of a month, in basis points."""


@dataclass(frozen=True, slots=True, order=True)
class Tier:
    """One promise: availability below `threshold` basis points entitles to `days` of extra term."""

    threshold: int
    days: int

    def __post_init__(self) -> None:
        if not 0 < self.threshold < FULL:
            raise ValueError(f"expected a threshold between 1 and 9999 basis points, found {self.threshold}")
        if self.days < 0:
            raise ValueError(f"expected credit days of 0 or more, found {self.days}")


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a contract. The highest threshold comes first.

    `cap_days`: most days credited for a calendar month. `claim_days`: days from an affected date in which a claim may be filed.
    `final_business_days`: business days from the end of a month to its final statement. `minute_down_percent`: a minute with more than
    this share of bad requests is down, in the reading by minutes. `coverage_percent`: under it a statement cannot be final unattended.
    """

    version: str = "standard-1"
    tiers: tuple[Tier, ...] = (Tier(9900, 3), Tier(9500, 5), Tier(9000, 10))
    cap_days: int = 10
    claim_days: int = 30
    final_business_days: int = 3
    minute_down_percent: int = 5
    coverage_percent: int = 90
    thresholds: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        faults = []
        if not self.tiers:
            faults.append("tiers: expected at least one")
        if list(self.tiers) != sorted(self.tiers, key=lambda tier: -tier.threshold):
            faults.append("tiers: expected the highest threshold first")
        if len({tier.threshold for tier in self.tiers}) != len(self.tiers):
            faults.append("tiers: expected each threshold once")
        if [tier.days for tier in self.tiers] != sorted(tier.days for tier in self.tiers):
            faults.append("tiers: expected no fewer days at a lower threshold")
        faults += [
            f"{name}: expected 0 or more, found {getattr(self, name)}"
            for name in ("cap_days", "claim_days", "final_business_days", "minute_down_percent", "coverage_percent")
            if getattr(self, name) < 0
        ]
        if faults:
            raise ValueError("; ".join(faults))
        object.__setattr__(self, "thresholds", tuple(tier.threshold for tier in self.tiers))

    def band(self, bad: int, total: int) -> int:
        """The highest threshold still kept, in basis points; 0 when none is. No demand keeps the highest."""
        return next((t for t in self.thresholds if not below(bad, total, t)), 0)

    def days(self, bad: int, total: int) -> int:
        """Days of credit that these counts entitle to, the cap applied. No demand: none."""
        owed = max((tier.days for tier in self.tiers if below(bad, total, tier.threshold)), default=0)
        return min(owed, self.cap_days)


def below(bad: int, total: int, threshold: int) -> bool:
    """Whether `bad` of `total` requests is an availability under `threshold` basis points. Exactly on it is not below."""
    return FULL * bad > (FULL - threshold) * total


def allowance(total: int, threshold: int) -> int:
    """The most bad requests of `total` with which `threshold` (basis points) is still kept."""
    return (FULL - threshold) * total // FULL


def until(good: int, bad: int, threshold: int) -> int:
    """How many further bad requests keep `threshold`, when nothing else comes; negative: the good ones missing to be back at it.

    With b bad ones more, below iff 10000 (bad + b) > (10000 - t)(good + bad + b), so b = ((10000 - t) good - t bad) // t.
    """
    room = (FULL - threshold) * good - threshold * bad
    return room // threshold if room >= 0 else room // (FULL - threshold)


@cache
def label(threshold: int) -> str:
    """Basis points as people write the percentage: 9900 -> "99", 9995 -> "99.95"."""
    whole, part = divmod(threshold, 100)
    return f"{whole}.{part:02d}".rstrip("0").rstrip(".") if part else str(whole)


def ratio(good: int, bad: int, digits: int = 6) -> float | None:
    """Availability as a number 0..1 for machines, truncated to `digits`; None without demand."""
    total = good + bad
    return (good * 10**digits // total) / 10**digits if total else None


def shown(good: int, bad: int) -> str:
    """Availability in percent for people, three digits, truncated: 98.9996 % is "98.999 %"; no demand is said as such."""
    total = good + bad
    if not total:
        return "no demand"
    whole, part = divmod(good * 100_000 // total, 1000)
    return f"{whole}.{part:03d} %"


def labels(thresholds: Iterable[int]) -> list[str]:
    """`label` of each, in order."""
    return [label(t) for t in thresholds]


def percent(threshold: int) -> int | float:
    """A threshold in basis points as the number people write: 9900 is 99, 9995 is 99.95, 0 is 0."""
    return threshold // 100 if threshold % 100 == 0 else threshold / 100


STANDARD = Terms()
"""The published terms: 99, 95 and 90 % for 3, 5 and 10 days."""

_NUMBERS = {
    "cap_days": 366,
    "claim_days": 3660,
    "final_business_days": 366,
    "minute_down_percent": 100,
    "coverage_percent": 100,
}
"""Each with the most that a document may say."""
_MOST_DAYS = 3660


def terms_of(data: Any) -> Terms:
    """Terms from a JSON or TOML object (`terms` in `deploy/schemas/contract.schema.json`); what it does not name is as published.

    A tier is `{below: 99.5, days: 3}`, with at most two decimals. Names every fault in one ValueError, an unknown key among them.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"expected an object of terms, found {type(data).__name__}")  # noqa: TRY004 - bad data
    known = ("version", "tiers", *_NUMBERS)
    faults = [f"{name}: expected one of {', '.join(known)}" for name in sorted(map(str, set(data) - set(known)))]
    version = data.get("version", STANDARD.version)
    if not isinstance(version, str) or not version.strip():
        faults.append(f"version: expected a text, found {version!r}")
    numbers = {name: data.get(name, getattr(STANDARD, name)) for name in _NUMBERS}
    for name, found in numbers.items():
        if type(found) is not int or not 0 <= found <= _NUMBERS[name]:
            faults.append(f"{name}: expected a whole number from 0 to {_NUMBERS[name]}, found {found!r:.80}")
    tiers = _tiers(data["tiers"], faults) if "tiers" in data else STANDARD.tiers
    terms = STANDARD
    try:
        terms = Terms(str(version), tiers)
    except ValueError as error:
        faults.append(str(error))
    if not faults:
        terms = replace(terms, **numbers)
        if terms.version == STANDARD.version and terms != STANDARD:
            faults.append(
                f"version: expected terms other than the published ones to have a name of their own, found {version!r}"
            )
    if faults:
        raise ValueError("; ".join(faults))
    return terms


def _tiers(found: Any, faults: list[str]) -> tuple[Tier, ...]:
    if not isinstance(found, list) or not found:
        faults.append(f"tiers: expected a list of objects with below and days, found {found!r}")
        return STANDARD.tiers
    tiers = []
    for place, item in enumerate(found):
        share, days = (item.get("below"), item.get("days")) if isinstance(item, Mapping) else (None, None)
        number = isinstance(share, int | float) and not isinstance(share, bool) and math.isfinite(share)
        points = Decimal(str(share)) * 100 if number else None
        if points is None or points != int(points) or not 0 < points < FULL:
            faults.append(
                f"tiers[{place}].below: expected percent over 0 and under 100, two decimals at most, found {share!r}"
            )
        elif type(days) is not int or not 0 <= days <= _MOST_DAYS:
            faults.append(f"tiers[{place}].days: expected a whole number from 0 to {_MOST_DAYS}, found {days!r:.80}")
        else:
            tiers.append(Tier(int(points), days))
    return tuple(tiers) if len(tiers) == len(found) else STANDARD.tiers


def terms_record(terms: Terms) -> dict[str, Any]:
    """Terms as the JSON object that `terms_of` reads."""
    tiers = [{"below": percent(tier.threshold), "days": tier.days} for tier in terms.tiers]
    return {"version": terms.version, "tiers": tiers} | {name: getattr(terms, name) for name in _NUMBERS}
