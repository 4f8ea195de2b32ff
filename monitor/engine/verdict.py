"""When a threshold's verdict changes, and why. A verdict is about one tenant, one period and one threshold; it decides, others announce.

    none --P >= at_risk--> at_risk --budget used up--> breached
      ^                      |  ^                        |
      +------P < clear-------+  +--budget back, P < clear+

Rules:
- *at_risk*: the probability of missing the threshold is at or over `Policy.at_risk`, on enough requests and failures to say so.
- *breached*: failures so far are more than the month's expected requests allow: it is missed even if nothing fails any more.
- *cleared*: either, after the probability has fallen under `Policy.clear` (a decision, an exclusion, more traffic than was expected).
- Each change counts up `times`, which makes the announcement's id.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from monitor.contract.terms import FULL, label

NONE, AT_RISK, BREACHED = "none", "at_risk", "breached"
CLEARED = "cleared"


class Verdict(msgspec.Struct, array_like=True, frozen=True):
    """Where a threshold stands, and how many times that has changed."""

    state: str = NONE
    times: int = 0


def announcement_id(tenant: str, period: str, threshold: int, kind: str, times: int) -> str:
    """The deterministic id under which a change of a verdict is announced; `threshold` in basis points."""
    return f"{tenant}/{period}/{label(threshold)}/{kind}/{times}"


@dataclass(frozen=True, slots=True)
class Policy:
    """When somebody is told. Probabilities 0..1; `requests` and `failures` are the least in a month before anything is said."""

    at_risk: float = 0.8
    clear: float = 0.5
    requests: int = 100
    failures: int = 10


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict is decided on: counts so far (`bad` with the unclassified), the month's expected requests, P(below threshold)."""

    good: int
    bad: int
    expected_requests: float
    probability: float


def decide(now: Verdict, threshold: int, seen: Evidence, policy: Policy) -> tuple[str, str] | None:
    """The new state (or "cleared") of a threshold in basis points, with its reason; None when nothing changes."""
    total = seen.good + seen.bad
    allowed = (FULL - threshold) / FULL * max(seen.expected_requests, total)
    enough = total >= policy.requests and seen.bad >= policy.failures
    used_up = enough and seen.bad > allowed
    if now.state != BREACHED and used_up:
        return (
            BREACHED,
            f"{seen.bad} requests failed and the month's expected {seen.expected_requests:.0f} allow {allowed:.0f}",
        )
    if now.state == NONE and enough and seen.probability >= policy.at_risk:
        return (
            AT_RISK,
            f"the probability of missing the threshold is {seen.probability:.2f}, at or over {policy.at_risk}",
        )
    if now.state != NONE and not used_up and seen.probability < policy.clear:
        return CLEARED, f"the probability of missing the threshold is {seen.probability:.2f}, under {policy.clear}"
    return None
