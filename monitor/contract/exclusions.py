"""Windows that do not count: declared, corrected, approved, revoked; what held at any instant can be told again. Counts are left to others.

    declared --approve--> approved --revoke--> revoked
       ^  |                |  ^
       +--+-- correct -----+--+      (a correction waits for an approval of its own; what was approved before holds until then)

Rules:
- A window is the set of what was decided about it, not a sequence: an approval covers the declaration and the corrections made up to it, the
  last correction wins, one revocation ends the window for good. So the order in which decisions arrive changes nothing.
- What was known when is the instant of record (`known`): a statement made earlier can be made again.
- Only an approved window counts. It takes good and bad requests alike out of the month, minute by minute.
- A minute is excluded once, however many windows cover it; `segments` names them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

from monitor.contract.decisions import Fields, Reason, Refused, known
from monitor.contract.instant import rfc3339
from monitor.contract.period import MINUTE_MS, Period

CATEGORIES = (
    "operator_error",
    "customer_environment",
    "third_party_change",
    "environmental_stress",
    "customer_demand",
    "internet",
    "customer_act",
    "maintenance",
    "misuse",
    "force_majeure",
    "superseded_release",
)
"""Where the fault lies when it is not the provider's; support requests with such a cause are not covered either."""

ALL = "*"
Scope = tuple[str, ...] | None
"""Names, sorted; None is all of them."""
Action = Literal["declare", "correct", "approve", "revoke"]
ACTIONS: tuple[Action, ...] = get_args(Action)
State = Literal["declared", "approved", "revoked"]


@dataclass(frozen=True, slots=True)
class Window:
    """What a person asks to be left out: the UTC epoch minutes [start, end), for whom and where, and why."""

    start: int
    end: int
    category: str
    tenants: Scope = None
    portals: Scope = None
    reason: str = ""
    reference: str = ""

    def concerns(self, tenant: str) -> bool:
        """Whether it is about the tenant."""
        return self.tenants is None or tenant in self.tenants

    def covers(self, portal: str) -> bool:
        """Whether it is about the portal."""
        return self.portals is None or portal in self.portals

    def record(self) -> dict[str, Any]:
        """As fields of a JSON object."""
        return {
            "from": rfc3339(self.start * MINUTE_MS),
            "to": rfc3339(self.end * MINUTE_MS),
            "category": self.category,
            "tenants": ALL if self.tenants is None else list(self.tenants),
            "portals": ALL if self.portals is None else list(self.portals),
            "reason": self.reason,
            "reference": self.reference,
        }


@dataclass(frozen=True, slots=True)
class ExclusionDecision:
    """A decision about one exclusion; `window` with declare and correct. `at` and `recorded` are UTC epoch milliseconds."""

    id: str
    exclusion: str
    action: Action
    at: int
    by: str
    recorded: int
    window: Window | None = None
    reason: str = ""

    def record(self) -> dict[str, Any]:
        """The decision as the JSON object that `exclusion_of` reads."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in ("id", "exclusion", "action", "by")}
        fields["at"] = rfc3339(self.at)
        if self.reason:
            fields["reason"] = self.reason
        return fields | (self.window.record() if self.window else {})


def exclusion_of(data: Any, recorded: int) -> ExclusionDecision:
    """The decision in a record of the topic `exclusions` (`deploy/schemas/exclusion.schema.json`), recorded at `recorded` (ms).

    Without an `id` the exclusion, the action and the time name the decision. Names every fault in one ValueError.
    """
    fields = Fields(data)
    exclusion, by = fields.text("exclusion", needed=True), fields.text("by", needed=True)
    action: Any = fields.choice("action", ACTIONS)
    at = fields.made(recorded)
    window, reason = None, ""
    if action in {"declare", "correct"}:
        start, end = fields.window()
        category = fields.choice("category", CATEGORIES)
        tenants, portals = _scope(fields, "tenants"), _scope(fields, "portals")
        why, reference = fields.text("reason", needed=True), fields.text("reference")
        window = Window(start, end, category, tenants, portals, why, reference)
    else:
        reason = fields.text("reason", needed=action == "revoke")
    name = fields.text("id") or f"{exclusion}/{action}/{rfc3339(at)}"
    fields.check()
    return ExclusionDecision(name, exclusion, action, at, by, recorded, window, reason)


def _scope(fields: Fields, name: str) -> Scope:
    if fields.data.get(name) == ALL:
        return None
    found = fields.texts(name)
    if not found and isinstance(fields.data.get(name, []), list):
        fields.fault(name, f'"{ALL}" for all, or a list of names')
    return found


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Where a window stands. `window`: what holds, or would if it were approved; `proposed`: a correction that waits for approval.

    The instants are UTC epoch milliseconds; `approved_*` and `revoked_*` are empty until it happened. `recorded`: when it was declared,
    in the log.
    """

    id: str
    window: Window
    state: State
    declared_by: str
    declared_at: int
    recorded: int
    approved_by: str = ""
    approved_at: int | None = None
    revoked_by: str = ""
    revoked_at: int | None = None
    revoked_reason: str = ""
    corrected_by: str = ""
    corrected_at: int | None = None
    proposed: Window | None = None

    @property
    def counts(self) -> bool:
        """Whether its minutes are left out."""
        return self.state == "approved"

    def record(self) -> dict[str, Any]:
        """As a JSON object for statements and lists."""
        fields = {"id": self.id, "state": self.state, **self.window.record()}
        for act in ("declared", "corrected", "approved", "revoked"):
            at = getattr(self, f"{act}_at")
            if at is not None:
                fields[act] = {"at": rfc3339(at), "by": getattr(self, f"{act}_by")}
        fields["declared"]["recorded"] = rfc3339(self.recorded)
        if self.revoked_reason:
            fields["revoked"]["reason"] = self.revoked_reason
        if self.proposed:
            fields["proposed"] = self.proposed.record()
        return fields


def exclusions(decisions: Iterable[ExclusionDecision], as_of: int) -> tuple[tuple[Exclusion, ...], tuple[Refused, ...]]:
    """The exclusions as they were known at the instant `as_of` (ms), by start and id, and the decisions that were refused by then."""
    taken, twins = known(decisions, as_of)
    refused = [refusal for _, refusal in twins]
    apart: dict[str, list[ExclusionDecision]] = {}
    for decision in taken:
        apart.setdefault(decision.exclusion, []).append(decision)
    found = []
    for name in sorted(apart):
        made = _fold(sorted(apart[name], key=lambda item: (item.at, ACTIONS.index(item.action), item.id)), refused)
        if made:
            found.append(made)
    found.sort(key=lambda item: (item.window.start, item.id))
    return tuple(found), tuple(sorted(refused, key=lambda item: (item.id, item.reason, item.sentence)))


def _fold(decisions: Sequence[ExclusionDecision], refused: list[Refused]) -> Exclusion | None:
    """One exclusion from its decisions, sorted by time; what cannot be goes to `refused`."""
    now: Exclusion | None = None
    for decision in decisions:
        after = _step(now, decision)
        if isinstance(after, Refused):
            refused.append(after)
        else:
            now = after
    return now


def _step(now: Exclusion | None, decision: ExclusionDecision) -> Exclusion | Refused:
    def no(reason: Reason, sentence: str) -> Refused:
        return Refused(decision.id, reason, f"{decision.exclusion} {sentence}")

    if now is None:
        if decision.action != "declare" or decision.window is None:
            return no(Reason.UNKNOWN, f"was not declared by {rfc3339(decision.at)}: declare it first")
        window = decision.window
        return Exclusion(decision.exclusion, window, "declared", decision.by, decision.at, decision.recorded)
    if decision.action == "declare":
        return no(
            Reason.ALREADY_DECLARED, f"was declared at {rfc3339(now.declared_at)}: correct it, or use another name"
        )
    if now.revoked_at is not None:
        return no(Reason.REVOKED, f"was revoked at {rfc3339(now.revoked_at)}: declare it anew under another name")
    if decision.action == "revoke":
        reason = decision.reason
        return replace(
            now, state="revoked", revoked_by=decision.by, revoked_at=decision.at, revoked_reason=reason, proposed=None
        )
    if decision.action == "correct" and decision.window is not None:
        now = replace(now, corrected_by=decision.by, corrected_at=decision.at)
        return replace(now, proposed=decision.window) if now.counts else replace(now, window=decision.window)
    if now.counts and now.proposed is None:
        return no(Reason.ALREADY_APPROVED, f"was approved at {rfc3339(now.approved_at or 0)}")
    approved = replace(now, state="approved", approved_by=decision.by, approved_at=decision.at, proposed=None)
    return replace(approved, window=now.proposed or now.window)


def refusal(decisions: Iterable[ExclusionDecision], new: ExclusionDecision) -> Refused | None:
    """Why a decision would be refused after those known so far; None when it would hold. A repetition holds."""
    _, refused = exclusions([*decisions, new], new.recorded)
    return next((item for item in refused if item.id == new.id), None)


def in_scope(found: Iterable[Exclusion], tenant: str, period: Period) -> list[Exclusion]:
    """Those about the tenant whose window touches the period."""
    return [
        item
        for item in found
        if item.window.concerns(tenant) and item.window.start < period.end and item.window.end > period.start
    ]


@dataclass(frozen=True, slots=True)
class Segment:
    """UTC epoch minutes [start, end) that the same exclusions cover, by id."""

    start: int
    end: int
    exclusions: tuple[str, ...]


def segments(found: Iterable[Exclusion], period: Period) -> list[Segment]:
    """The excluded minutes of the period in order, apart, each once, with every approved exclusion that covers them."""
    windows = [(max(e.window.start, period.start), min(e.window.end, period.end), e.id) for e in found if e.counts]
    edges = sorted({edge for start, end, _ in windows if start < end for edge in (start, end)})
    made = []
    for start, end in pairwise(edges):
        names = tuple(sorted(name for first, last, name in windows if first <= start and end <= last))
        if names:
            made.append(Segment(start, end, names))
    return made
