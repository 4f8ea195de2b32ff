"""The desk as a whole: in which order requests are worked, who was answered out of turn, and how a month went.

The order is by severity, then first in, first out by the first opening; a request that is reopened keeps its place.
Which of two requests was ahead is judged at the instant of the answer, by the severities then in force.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from monitor.contract.instant import rfc3339
from monitor.contract.period import month_named
from monitor.contract.support.clocks import clocks
from monitor.contract.support.hours import MINUTE_MS
from monitor.contract.support.requests import Request, known_at
from monitor.contract.support.terms import SEVERITIES, Severity, SupportTerms
from monitor.contract.terms import ratio

Place = tuple[Severity, int, str, str]
"""A place in the queue: severity, first opening, tenant, request. The lesser is ahead."""


def queue(requests: Iterable[Request]) -> list[Request]:
    """The requests whose clocks run, in the order in which an agent should work them."""
    places = {
        _place(request, request.severity): request for request in requests if request.running and request.severity
    }
    return [places[place] for place in sorted(places)]


def _place(request: Request, severity: Severity) -> Place:
    return (severity, request.opened or 0, request.tenant, request.id)


def p1_request(requests: Iterable[Request], tenant: str) -> str | None:
    """The tenant's running P1 request that is first in the queue: what its open availability breach links to."""
    return next(
        (request.id for request in queue(requests) if request.tenant == tenant and request.severity == "P1"), None
    )


@dataclass(frozen=True, slots=True)
class OutOfTurn:
    """A first response at `at` (UTC epoch milliseconds) while those `ahead` in the queue waited for theirs."""

    answered: Place
    at: int
    ahead: tuple[Place, ...]

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "at": rfc3339(self.at),
            **_named(self.answered),
            "ahead": [_named(place) for place in self.ahead],
        }


def _named(place: Place) -> dict[str, str]:
    severity, opened, tenant, request = place
    return {"tenant": tenant, "request": request, "severity": severity, "opened": rfc3339(opened)}


def out_of_turn(requests: Iterable[Request]) -> list[OutOfTurn]:
    """First responses that passed over a request ahead in the queue, by time; one that is not covered does not count.

    Requests answered at the same instant, and those opened at it, do not pass over one another.
    """
    spells: list[tuple[int, int | None, Place]] = []
    answers: list[tuple[int, Place]] = []
    for request in requests:
        for step, after in request.spells():
            if step.state != "waiting" or step.round in request.not_covered:
                continue
            end = after.event.time if after else None
            place = _place(request, step.severity)
            insort(spells, (step.event.time, end, place), key=lambda spell: spell[0])
            if end is not None and after is not None and after.answers:
                answers.append((end, place))
    found, waiting, next_spell = [], list[tuple[int, int | None, Place]](), 0
    for at, answered in sorted(answers):
        while next_spell < len(spells) and spells[next_spell][0] < at:
            waiting.append(spells[next_spell])
            next_spell += 1
        waiting = [spell for spell in waiting if spell[1] is None or spell[1] >= at]
        ahead = sorted(place for _, end, place in waiting if place < answered and (end is None or end > at))
        if ahead:
            found.append(OutOfTurn(answered, at, tuple(ahead)))
    return found


def report(
    requests: Iterable[Request],
    terms: SupportTerms,
    month: str,
    now: int,
    terms_of: Callable[[Request], SupportTerms] | None = None,
) -> dict[str, Any]:
    """How the month, like "2026-11" in the desk's zone, went: by severity the share answered in time, as of `now`.

    `terms_of` gives the terms of a request whose tenant has a package of its own.

    A request counts in the month that it was opened in, and a reopened one again in that of its reopening, under the
    severity that its verdict is held against. `first_response`: in time, late (unanswered ones past their due time
    among them), or waiting, not yet due, which no share counts. `updates`: likewise for each update owed after an
    answer. `share`: 0 to 1, truncated to four digits; None where nothing was owed. `not_covered`: requests that
    promised nothing.
    """
    period = month_named(month, terms.hours.zone)
    known = [known_at(request, now) for request in requests]
    severities: dict[str, dict[str, Any]] = {
        severity: {"first_response": _tally(), "updates": _tally(), "not_covered": 0} for severity in SEVERITIES
    }
    for request in known:
        opened = {step.round: step.opened for step in request.steps}
        within = {turn for turn, at in opened.items() if at // MINUTE_MS in period}
        for turn in within & set(request.not_covered):
            severities[next(step.severity for step in reversed(request.steps) if step.round == turn)][
                "not_covered"
            ] += 1
        for clock in clocks(request, terms_of(request) if terms_of else terms):
            if clock.round in within and (clock.kind == "first_response" or clock.number):
                kind = "first_response" if clock.kind == "first_response" else "updates"
                severities[clock.severity(now)][kind][clock.verdict(now)] += 1
    for counts in severities.values():
        for tally in (counts["first_response"], counts["updates"]):
            tally["share"] = ratio(tally["in_time"], tally["late"], 4)
    turns = [turn.record() for turn in out_of_turn(known) if turn.at // MINUTE_MS in period]
    return {
        "month": period.name,
        "zone": terms.hours.zone,
        "terms": terms.version,
        "as_of": rfc3339(now),
        "severities": severities,
        "out_of_turn": turns,
    }


def _tally() -> dict[str, Any]:
    return {"in_time": 0, "late": 0, "waiting": 0}
