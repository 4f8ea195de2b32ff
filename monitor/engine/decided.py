"""What people decided, from the records that the log has: agreements, rulings, claims, exclusions. Reading them only; judging is the contract's.

Everything was checked before it entered the journal (`sources.decisions`), so what cannot be read here is a bug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from monitor.contract.agreement import Agreement, Agreements, agreement_of
from monitor.contract.credits import ClaimDecision, claim_of
from monitor.contract.exclusions import ExclusionDecision, exclusion_of
from monitor.contract.rulings import Ruling, ruling_of
from monitor.engine.state import Kept

CONTRACTS, EXCLUSIONS, RULINGS, CLAIMS = "contracts", "exclusions", "decisions", "claims"
"""Kinds of decisions: the names of their topics."""
D = TypeVar("D")


def _read(kept: Iterable[Kept], read: Callable[[Any, int], D]) -> list[D]:
    return [read(msgspec.json.decode(item.value), item.recorded) for item in kept]


def agreements(tenant: str, kept: Iterable[Kept]) -> Agreements:
    """All agreements with the tenant."""
    found: list[Agreement] = _read(kept, agreement_of)
    return Agreements(tenant, tuple(found))


def exclusion_decisions(kept: Iterable[Kept]) -> list[ExclusionDecision]:
    """All decisions about exclusions, in the order of the log."""
    return _read(kept, exclusion_of)


def rulings(kept: Iterable[Kept]) -> list[Ruling]:
    """All rulings, in the order of the log."""
    return _read(kept, ruling_of)


def claims(kept: Iterable[Kept]) -> list[ClaimDecision]:
    """All decisions about claims, in the order of the log."""
    return _read(kept, claim_of)
