"""The clocks of a support request: what is owed when, what was missed, and the records that say so.

A clock runs from the opening of a round to the first answer (first_response), or from one answer, or the opening, to
the next answer (update). While it runs its due time follows the severity in force, always counted from the same
start:

- A due time that passes unanswered while it is in force is missed, and stays missed whatever the severity is
  afterwards.
- A severity that is raised may bring a due time that has passed already: it is missed from the moment of the change.
- A due time that is replaced before it passes was never missed. An answer at the very instant is in time.
- A round whose cause is not covered promised nothing: it has no clocks. What was announced of it is withdrawn.

Nothing here keeps state. `breaches` tells everything up to an instant from the events alone; `announcements` compares
that with what was announced before, so that a late event can add a breach of last week, or take one back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from monitor.contract.instant import rfc3339
from monitor.contract.support.requests import RUNNING, Request, Step, documentation_record, known_at
from monitor.contract.support.terms import Severity, SupportTerms

ClockKind = Literal["first_response", "update"]
BreachType = Literal[
    "first_response_due_soon", "first_response_overdue", "update_warning", "update_overdue", "withdrawn"
]
SUPPORT_BREACHES: tuple[BreachType, ...] = get_args(BreachType)
Verdict = Literal["waiting", "in_time", "late"]

_SOON: dict[ClockKind, BreachType] = {"first_response": "first_response_due_soon", "update": "update_warning"}
_OVERDUE: dict[ClockKind, BreachType] = {"first_response": "first_response_overdue", "update": "update_overdue"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part [start, end) of a clock's run in which one due time is in force; `end` is None while it runs."""

    severity: Severity
    start: int
    end: int | None
    warning: int
    due: int

    def soon(self, now: int) -> int | None:
        """The instant that the due time came near, if it did before `now`, and before it was missed."""
        at = max(self.warning, self.start)
        return at if at < self.due and self._reached(at, now) else None

    def overdue(self, now: int) -> int | None:
        """The last instant that was in time, or the change that made it late; None when not missed before `now`."""
        at = max(self.due, self.start)
        return at if self._reached(at, now) else None

    def _reached(self, at: int, now: int) -> bool:
        return at < now and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True)
class Clock:
    """One thing owed: a round's first response, or the update after its answer `number` (0: after the opening)."""

    kind: ClockKind
    round: int
    number: int
    stretches: tuple[Stretch, ...]
    answered: int | None

    @property
    def running(self) -> bool:
        """Whether an answer is still owed."""
        return self.stretches[-1].end is None

    @property
    def due(self) -> int:
        """The due time in force, or in force last."""
        return self.stretches[-1].due

    def missed(self, now: int) -> Stretch | None:
        """The first stretch whose due time passed unanswered before `now`."""
        return next((stretch for stretch in self.stretches if stretch.overdue(now) is not None), None)

    def verdict(self, now: int) -> Verdict:
        """Whether the answer was in time; waiting when neither an answer nor a miss has come."""
        if self.missed(now):
            return "late"
        return "waiting" if self.answered is None else "in_time"

    def severity(self, now: int) -> Severity:
        """The severity that the verdict is held against: that of the first miss, else that in force last."""
        return (self.missed(now) or self.stretches[-1]).severity


def clocks(request: Request, terms: SupportTerms) -> list[Clock]:
    """All clocks that ran, or run, by round; a round that is not covered has none."""
    gathered: dict[tuple[int, int, ClockKind], tuple[list[Stretch], int | None]] = {}
    for step, after in request.spells():
        if step.state not in RUNNING or step.round in request.not_covered:
            continue
        end = after.event.time if after else None
        answered = end if after and after.round == step.round and after.answers > step.answers else None
        for kind in _owed(step):
            warning, due = _due(kind, step, terms)
            stretches, _ = gathered.get((step.round, step.answers, kind), ([], None))
            stretches.append(Stretch(step.severity, step.event.time, end, warning, due))
            gathered[step.round, step.answers, kind] = (stretches, answered)
    return [
        Clock(kind, turn, number, tuple(stretches), answered)
        for (turn, number, kind), (stretches, answered) in gathered.items()
    ]


def _owed(step: Step) -> tuple[ClockKind, ...]:
    return ("first_response", "update") if step.first is None else ("update",)


def _due(kind: ClockKind, step: Step, terms: SupportTerms) -> tuple[int, int]:
    """The warning and the due time in force from a step on."""
    if kind == "first_response":
        return terms.first_response_warning(step.severity, step.opened), terms.first_response_due(
            step.severity, step.opened
        )
    counted = (step.severity, step.opened, step.last)
    return terms.update_warning(*counted), terms.update_due(*counted)


@dataclass(frozen=True, slots=True)
class SupportBreach:
    """Something to announce on `support-breaches`: a due time that comes near or has passed, or one taken back.

    `about`: what it is about, a function of the request, its round, what is owed and the due time; `times`: how often
    that has been announced, 1 the first time. `at`: the instant that it tells of (UTC epoch milliseconds).
    """

    about: str
    type: BreachType
    tenant: str
    request: str
    severity: Severity
    round: int
    opened: int
    due: int
    at: int
    reason: str
    times: int = 1

    @property
    def id(self) -> str:
        """Its deterministic id, which nothing else is announced under."""
        return f"{self._told}/withdrawn" if self.type == "withdrawn" else self._told

    @property
    def withdraws(self) -> str:
        """The id of what is taken back; empty for what is not withdrawn."""
        return self._told if self.type == "withdrawn" else ""

    @property
    def _told(self) -> str:
        return self.about if self.times == 1 else f"{self.about}/{self.times}"

    def record(self) -> dict[str, Any]:
        """The announcement as a JSON object; `id`, `type` and `time` are the attributes of the CloudEvent."""
        fields: dict[str, Any] = {
            name: getattr(self, name) for name in ("id", "type", "tenant", "request", "severity", "round")
        }
        fields |= {
            "time": rfc3339(self.at),
            "opened": rfc3339(self.opened),
            "due": rfc3339(self.due),
            "reason": self.reason,
        }
        return fields | ({"withdraws": self.withdraws} if self.withdraws else {})


def breaches(request: Request, terms: SupportTerms, now: int) -> list[SupportBreach]:
    """Every warning and every miss before `now`, oldest first, each due time once."""
    found: dict[str, SupportBreach] = {}
    for clock in clocks(known_at(request, now), terms):
        opened = next(step.opened for step in request.steps if step.round == clock.round)
        for stretch in clock.stretches:
            for kind, at in ((_SOON[clock.kind], stretch.soon(now)), (_OVERDUE[clock.kind], stretch.overdue(now))):
                if at is None:
                    continue
                about = f"{request.tenant}/{request.id}/{clock.round}/{kind}/{rfc3339(stretch.due)}"
                reason = _reason(clock, stretch, kind, at)
                breach = SupportBreach(
                    about,
                    kind,
                    request.tenant,
                    request.id,
                    stretch.severity,
                    clock.round,
                    opened,
                    stretch.due,
                    at,
                    reason,
                )
                found.setdefault(about, breach)
    return sorted(found.values(), key=lambda breach: (breach.at, breach.id))


def _reason(clock: Clock, stretch: Stretch, kind: BreachType, at: int) -> str:
    what = "the first response" if clock.kind == "first_response" else "an update"
    if kind == _SOON[clock.kind]:
        return f"{what} to a {stretch.severity} request is due at {rfc3339(stretch.due)}"
    if at > stretch.due:
        return f"raised to {stretch.severity} at {rfc3339(at)}, when {what} was due at {rfc3339(stretch.due)}"
    return f"{what} to a {stretch.severity} request was due at {rfc3339(stretch.due)}"


def events_between(request: Request, terms: SupportTerms, since: int, now: int) -> list[SupportBreach]:
    """The warnings and misses at instants in [since, now): intervals that join tell each of them once."""
    return [breach for breach in breaches(request, terms, now) if breach.at >= since]


def announcements(
    request: Request, terms: SupportTerms, told: Mapping[str, SupportBreach], now: int
) -> list[SupportBreach]:
    """What is to be announced at `now`, `told` being the newest announcement of this request by what it is `about`.

    First what is new; then a withdrawal for each miss that, by what is known now, was none. A warning is never
    withdrawn. A miss that comes true again after that is announced again, under an id that counts on.
    """
    request = known_at(request, now)
    known = {breach.about: breach for breach in breaches(request, terms, now)}
    new = [
        breach if about not in told else replace(breach, times=told[about].times + 1)
        for about, breach in known.items()
        if about not in told or told[about].type == "withdrawn"
    ]
    gone = [breach for about, breach in sorted(told.items()) if about not in known]
    return new + [_withdrawn(breach, request, now) for breach in gone if breach.type in _OVERDUE.values()]


def _withdrawn(breach: SupportBreach, request: Request, now: int) -> SupportBreach:
    covered = breach.round not in request.not_covered
    reason = "an event that came late shows that nothing was missed" if covered else "its cause is not covered"
    return replace(breach, type="withdrawn", at=now, reason=reason)


def status(request: Request, terms: SupportTerms, now: int, tenant_breach: str = "") -> dict[str, Any]:
    """A request's record for the topic `support-status`, as of `now` (`deploy/schemas/support-status.schema.json`).

    `tenant_breach`: the tenant's open availability breach; a running P1 request that names no breach itself is linked
    to it. Times are RFC 3339 in UTC; those ending in `_hq` are on the desk's wall clock.
    """
    request = known_at(request, now)
    owed = clocks(request, terms)
    current = {clock.kind: clock for clock in owed if clock.round == (request.steps[-1].round if request.steps else 0)}
    first, update = current.get("first_response"), current.get("update")
    update = update if update and update.running else None
    last = request.steps[-1] if request.steps else None
    return {
        "tenant": request.tenant,
        "request": request.id,
        "as_of": rfc3339(now),
        "terms": terms.version,
        "zone": terms.hours.zone,
        "state": request.state,
        "severity": request.severity,
        "opened": _text(request.opened),
        "reopened": last.round if last else 0,
        **_times("first_response_due", first.due if first else None, terms),
        "first_response_at": _text(last.first if last else None),
        "first_response": _first_response(request, first, now),
        **_times("next_update_warning", update.stretches[-1].warning if update else None, terms),
        **_times("next_update_due", update.due if update else None, terms),
        "last_answer_at": _text(last.last if last else None),
        "overdue": [clock.kind for clock in owed if clock.running and clock.stretches[-1].overdue(now) is not None],
        "due_soon": [
            clock.kind
            for clock in owed
            if clock.running and clock.stretches[-1].soon(now) is not None and now <= clock.due
        ],
        "desk_open": terms.hours.is_open(now),
        "documentation": documentation_record(request.documentation),
        "missing": list(request.missing),
        "breach": request.breach or (tenant_breach if request.running and request.severity == "P1" else "") or None,
        "not_covered": request.not_covered.get(last.round) if last else None,
        "history": [_history(step, terms) for step in request.steps],
        "refused": [
            {"id": item.event.id, "type": item.event.type, "time": rfc3339(item.event.time), "reason": item.reason}
            for item in request.refused
        ],
        "ahead": [{"id": event.id, "type": event.type, "time": rfc3339(event.time)} for event in request.ahead],
    }


def _first_response(request: Request, first: Clock | None, now: int) -> str | None:
    if first is None:
        return "not_covered" if request.state == "not_covered" else None
    verdict = first.verdict(now)
    return "overdue" if verdict == "late" and first.running else verdict


def _history(step: Step, terms: SupportTerms) -> dict[str, Any]:
    """A step with the due times that it put in force."""
    event = step.event
    due = {kind: _due(kind, step, terms)[1] for kind in _owed(step)} if step.state in RUNNING else {}
    fields: dict[str, Any] = {"id": event.id, "time": rfc3339(event.time), "type": event.type, "state": step.state}
    fields |= {"severity": step.severity, "first_response_due": _text(due.get("first_response"))}
    fields["next_update_due"] = _text(due.get("update"))
    return fields | {name: value for name in ("reason", "category", "by") if (value := getattr(event, name))}


def due(terms: SupportTerms, severity: Severity, opened: int) -> dict[str, Any]:
    """The due times of a request opened at `opened` that nobody has answered, as texts."""
    return {
        "severity": severity,
        "opened": rfc3339(opened),
        "terms": terms.version,
        "zone": terms.hours.zone,
        **_times("first_response_due", terms.first_response_due(severity, opened), terms),
        **_times("next_update_warning", terms.update_warning(severity, opened), terms),
        **_times("next_update_due", terms.update_due(severity, opened), terms),
    }


def _times(name: str, at: int | None, terms: SupportTerms) -> dict[str, str | None]:
    return {name: _text(at), f"{name}_hq": _text(at, terms.hours.zone)}


def _text(at: int | None, zone: str = "UTC") -> str | None:
    return None if at is None else rfc3339(at, zone)
