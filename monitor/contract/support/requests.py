"""What happened to a support request: its events, and the fold that tells where it stands.

Ticket systems deliver late, twice and out of order. So nothing is decided as events arrive: a request is a fold over
all that is known of it, sorted by (time, id), the opening first among equals. It follows that

- the order of arrival changes nothing, and an event that comes again changes nothing;
- of two events with the same id and different content the earlier one holds, and the other is refused;
- an event that does not fit where the request stands is refused with a reason, kept and shown; what comes late may
  make it fit;
- an event dated after the instant that is asked about has not taken effect yet.

`TRANSITIONS` is the whole state machine. A reopening starts the clocks anew and is a round of its own; the queue
keeps the first opening. Any answer to the customer (a response, an update, a temporary resolution, a resolution) is
the first response if none was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal, get_args

from monitor.contract.decisions import Fields
from monitor.contract.exclusions import CATEGORIES
from monitor.contract.instant import rfc3339
from monitor.contract.support.terms import SEVERITIES, Severity

EventType = Literal[
    "opened",
    "documented",
    "responded",
    "updated",
    "severity_changed",
    "temporary_resolution",
    "resolved",
    "reopened",
    "not_covered",
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
ANSWERS: frozenset[EventType] = frozenset({"responded", "updated", "temporary_resolution", "resolved"})
"""What the customer hears from the desk."""

State = Literal["unopened", "waiting", "answered", "mitigated", "resolved", "not_covered"]
RUNNING: frozenset[State] = frozenset({"waiting", "answered", "mitigated"})
"""States in which clocks run."""

DOCUMENTATION = ("identification", "description", "error_messages", "files", "contact")
"""The checklist: number of the software or hardware, description, messages, references to files, customer's contact."""

TRANSITIONS: dict[State, dict[EventType, State]] = {
    "unopened": {"opened": "waiting"},
    "waiting": {
        "documented": "waiting",
        "severity_changed": "waiting",
        "responded": "answered",
        "updated": "answered",
        "temporary_resolution": "mitigated",
        "resolved": "resolved",
        "not_covered": "not_covered",
    },
    "answered": {
        "documented": "answered",
        "severity_changed": "answered",
        "responded": "answered",
        "updated": "answered",
        "temporary_resolution": "mitigated",
        "resolved": "resolved",
        "not_covered": "not_covered",
    },
    "mitigated": {
        "documented": "mitigated",
        "severity_changed": "mitigated",
        "responded": "mitigated",
        "updated": "mitigated",
        "temporary_resolution": "mitigated",
        "resolved": "resolved",
        "not_covered": "not_covered",
    },
    "resolved": {"documented": "resolved", "reopened": "waiting", "not_covered": "not_covered"},
    "not_covered": {"documented": "not_covered", "reopened": "waiting"},
}


MOST_LETTERS = 128
"""The longest name of a request: it is part of keys, and a label of metrics."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a request at `time` (UTC epoch milliseconds).

    `severity`: with opened and severity_changed; with temporary_resolution the lower one, else one lower than before.
    `reason`: with severity_changed. `category`: with not_covered. `documentation`: (field, value) pairs of
    `DOCUMENTATION`, with any type; so is `breach`, the availability breach that the request is about. `by`: who says
    so.
    """

    id: str
    tenant: str
    request: str
    type: EventType
    time: int
    severity: Severity | None = None
    reason: str = ""
    category: str = ""
    documentation: tuple[tuple[str, str | tuple[str, ...]], ...] = ()
    breach: str = ""
    by: str = ""

    def record(self) -> dict[str, Any]:
        """The event as the JSON object that `event_of` reads; what is empty is left out."""
        fields = {name: getattr(self, name) for name in ("id", "tenant", "request", "type")}
        fields["time"] = rfc3339(self.time)
        fields |= {
            name: value for name in ("severity", "reason", "category", "breach", "by") if (value := getattr(self, name))
        }
        if self.documentation:
            fields["documentation"] = documentation_record(dict(self.documentation))
        return fields


def event_of(data: Any) -> Event:
    """The event in a JSON object of the topic `support-requests` (`deploy/schemas/support-requests.schema.json`).

    Without an `id` the request, the type and the time name the event. Fields that are not known are left alone.
    Names every fault in one ValueError: what was expected, what was found, where.
    """
    fields = Fields(data)
    tenant, request = fields.text("tenant", needed=True), fields.text("request", needed=True)
    if len(request) > MOST_LETTERS or not request.isprintable():
        fields.fault("request", f"at most {MOST_LETTERS} letters that can be printed")
    kind: Any = fields.choice("type", EVENT_TYPES)
    told = kind if data.get("type") == kind else None
    severity: Any = fields.choice("severity", SEVERITIES, needed=told in {"opened", "severity_changed"}) or None
    reason = fields.text("reason", needed=told == "severity_changed")
    category = fields.choice("category", CATEGORIES, needed=told == "not_covered")
    breach, by = fields.text("breach"), fields.text("by")
    time = fields.time("time")
    documentation = _documentation(data.get("documentation"), fields.faults)
    name = fields.text("id") or f"{request}/{kind}/{rfc3339(time)}"
    fields.check()
    return Event(name, tenant, request, kind, time, severity, reason, category, documentation, breach, by)


def _documentation(found: Any, faults: list[str]) -> tuple[tuple[str, str | tuple[str, ...]], ...]:
    if found is None:
        return ()
    if not isinstance(found, Mapping):
        faults.append(f"documentation: expected an object with {', '.join(DOCUMENTATION)}, found {found!r}")
        return ()
    values: list[tuple[str, str | tuple[str, ...]]] = []
    for name in DOCUMENTATION:
        value = found.get(name)
        if name == "files" and isinstance(value, list) and all(isinstance(item, str) for item in value):
            values.append((name, tuple(item.strip() for item in value if item.strip())))
        elif name != "files" and isinstance(value, str):
            values.append((name, value.strip()))
        elif value is not None:
            faults.append(
                f"documentation.{name}: expected {'a list of texts' if name == 'files' else 'a text'}, found {value!r}"
            )
    return tuple((name, value) for name, value in values if value)


def documentation_record(documentation: Mapping[str, str | tuple[str, ...]]) -> dict[str, Any]:
    """Documentation as a JSON object, in the checklist's order."""
    return {
        name: list(value) if isinstance(value := documentation[name], tuple) else value
        for name in DOCUMENTATION
        if name in documentation
    }


@dataclass(frozen=True, slots=True)
class Step:
    """Where a request stands from `event` on, until the next step.

    `round`: 0 from the opening, one more at each reopening. `opened`: the instant that the round began. `answers`:
    how many the customer has had in the round; `first` and `last`: when.
    """

    event: Event
    state: State
    severity: Severity
    round: int
    opened: int
    answers: int = 0
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that does not fit, and why."""

    event: Event
    reason: str


@dataclass(frozen=True, slots=True)
class Request:
    """A support request as its events tell it.

    `steps`: the history, oldest first. `ahead`: events that have not taken effect yet. `not_covered`: the rounds that
    a person found not to be covered, with the category.
    """

    tenant: str
    id: str
    events: tuple[Event, ...]
    steps: tuple[Step, ...] = ()
    refused: tuple[Refusal, ...] = ()
    ahead: tuple[Event, ...] = ()
    documentation: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    not_covered: Mapping[int, str] = field(default_factory=dict)
    breach: str = ""

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.steps[-1].state if self.steps else "unopened"

    @property
    def running(self) -> bool:
        """Whether its clocks run."""
        return self.state in RUNNING

    @property
    def severity(self) -> Severity | None:
        """The severity in force; None before it is opened."""
        return self.steps[-1].severity if self.steps else None

    @property
    def opened(self) -> int | None:
        """When it was opened first; None before it is."""
        return self.steps[0].opened if self.steps else None

    def spells(self) -> Iterator[tuple[Step, Step | None]]:
        """Each step with the one that ended it; None for the last."""
        return zip_longest(self.steps, self.steps[1:])

    @property
    def missing(self) -> tuple[str, ...]:
        """What the documentation still lacks. The clocks run all the same."""
        return tuple(name for name in DOCUMENTATION if not self.documentation.get(name))


def fold(events: Iterable[Event], now: int | None = None) -> Request:
    """The request that these events, all of one request, add up to at `now` (None: when all have taken effect)."""
    ordered = sorted(set(events), key=lambda event: (event.time, event.type != "opened", event.id, repr(event)))
    if not ordered:
        raise ValueError("expected one event at least, found none")
    named = {(event.tenant, event.request) for event in ordered}
    if len(named) > 1:
        raise ValueError(f"expected the events of one request, found {sorted(named)}")
    seen: dict[str, Event] = {}
    steps: list[Step] = []
    refused: list[Refusal] = []
    ahead: list[Event] = []
    documentation: dict[str, str | tuple[str, ...]] = {}
    not_covered: dict[int, str] = {}
    breach = ""
    for event in ordered:
        twin = seen.setdefault(event.id, event)
        if twin is not event:
            refused.append(Refusal(event, f"the id {event.id} is that of a {twin.type} of {rfc3339(twin.time)}"))
            continue
        if now is not None and event.time > now:
            ahead.append(event)
            continue
        step = _next(steps[-1] if steps else None, event)
        if isinstance(step, str):
            refused.append(Refusal(event, step))
            continue
        steps.append(step)
        if event.type == "not_covered":
            not_covered[step.round] = event.category
        documentation.update(event.documentation)
        breach = event.breach or breach
    ((tenant, request),) = named
    return Request(
        tenant, request, tuple(ordered), tuple(steps), tuple(refused), tuple(ahead), documentation, not_covered, breach
    )


def known_at(request: Request, now: int) -> Request:
    """The request without the events dated after `now`, and with those that have taken effect since it was folded."""
    early = any(event.time > now for event in request.events)
    return fold(request.events, now) if early or request.ahead else request


def requests_of(events: Iterable[Event], now: int | None = None) -> list[Request]:
    """The requests that mixed events add up to, by tenant and id."""
    apart: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        apart.setdefault((event.tenant, event.request), []).append(event)
    return [fold(apart[name], now) for name in sorted(apart)]


def _next(before: Step | None, event: Event) -> Step | str:
    """The step that an event leads to, or why it is refused."""
    if before is None:
        if event.type != "opened" or event.severity is None:
            return "the request is not open yet"
        return Step(event, "waiting", event.severity, 0, event.time)
    state = TRANSITIONS[before.state].get(event.type)
    if state is None:
        return _unfit(before, event)
    after = replace(before, event=event, state=state)
    if event.type == "reopened":
        return Step(event, state, before.severity, before.round + 1, event.time)
    if event.type == "severity_changed" and event.severity is not None:
        if event.severity == before.severity:
            return f"the severity is {before.severity} already"
        after = replace(after, severity=event.severity)
    if event.type == "temporary_resolution":
        lower = event.severity or SEVERITIES[min(SEVERITIES.index(before.severity) + 1, len(SEVERITIES) - 1)]
        if event.severity and lower <= before.severity:
            return f"a temporary resolution lowers the severity: expected one under {before.severity}, found {lower}"
        after = replace(after, severity=lower)
    if event.type in ANSWERS:
        first = event.time if before.first is None else before.first
        after = replace(after, answers=before.answers + 1, first=first, last=event.time)
    return after


def _unfit(before: Step, event: Event) -> str:
    since = f"since {rfc3339(before.event.time)}"
    if event.type == "opened":
        return f"the request is open since {rfc3339(before.opened)}"
    if event.type == "reopened":
        return "the request is open: there is nothing to reopen"
    return f"the request is {before.state.replace('_', ' ')} {since}: reopen it first"
