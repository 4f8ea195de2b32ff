"""The support desk of one journal partition: people's decisions about support requests in, where each request stands and what is to be said out.

A request is a fold over what the log has of it (`contract.support.requests`); nothing is decided as events arrive. Rules:
1. It is looked at as of the instant up to which every source is complete: an answer that was sent in time is in before it is missed, whatever
   became of a worker meanwhile. It is looked at when an event came, and at each instant at which something of it changes; not before.
2. A ticket, the record of one request in the table, holds what people said of it and what was announced. What is announced stands in
   the ticket before it is sent, with the bytes that are sent: a restart says it again under the same id.
3. A ticket says up to which journal offset it is complete (`stamp`): events at or before it are in it, and it has been looked at.
4. The terms are those of the agreement in force when the request was opened, as far as it is known; without a package of its own the
   headquarters' standard.
5. `support-status` is said when something changed, again an hour later, and every hour while clocks run: a woken worker may have written an old
   record last. Readers keep the greatest stamp.
6. A request that nothing was heard of for `KEPT_DAYS`, and whose clocks do not run, is let go. Of a request no more than `MOST_EVENTS` are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any

import msgspec

from monitor.contract.period import MINUTE_MS
from monitor.contract.support import (
    STANDARD_SUPPORT,
    Clock,
    Event,
    Request,
    Severity,
    SupportTerms,
    announcements,
    clocks,
    event_of,
    fold,
    queue,
    status,
)
from monitor.engine import state
from monitor.engine.state import Announcement, Kept, Tenant, Ticket
from monitor.engine.verdict import BREACHED, NONE, announcement_id

SUPPORT = "support-requests"
"""The kind of these decisions: the name of their topic."""
KEPT_MS = 400 * 86_400_000
MOST_EVENTS, MOST_BYTES = 1000, 1 << 18
"""What people said of one request may be this much, so that its status fits a record; what comes on top is counted, and left out."""
AGAIN_MS = 3_600_000
LOOKS_AT_ONCE = 200
"""Requests looked at for one record of the journal, so that a restart does not hold up everything else."""

Name = tuple[str, str]
"""A tenant and a request of it."""


@dataclass(slots=True)
class Held:
    """A request in memory. `request`: as known at the last look; `link`: the breach that its last status named."""

    ticket: Ticket
    request: Request | None = None
    terms: SupportTerms | None = None
    clocks: list[Clock] = field(default_factory=list)
    link: str = ""
    wake_ms: int = state.NEVER
    """When it is to be looked at next, epoch milliseconds."""

    @property
    def name(self) -> str:
        """What the request is called; "" before it was looked at."""
        return self.request.id if self.request else ""

    @property
    def severity(self) -> Severity | None:
        """The severity in force."""
        return self.request.severity if self.request else None

    def overdue(self, now: int) -> bool:
        """Whether an answer is owed that was due before the instant."""
        return any(clock.due < now for clock in self.clocks)


class Desk:
    """The support requests of one journal partition. See the module for its rules.

    `table` is the engine's, to be read; `tenant` gives a tenant by name; `standard` are the terms of those without a package of their own.
    """

    def __init__(
        self, table: Mapping[bytes, bytes], tenant: Callable[[str], Tenant], standard: SupportTerms = STANDARD_SUPPORT
    ) -> None:
        self.removed: list[bytes] = []
        """Keys of the table that hold nothing any more."""
        self._table = table
        self._tenant = tenant
        self._standard = standard
        self._held: dict[str, dict[str, Held]] = {}
        """Requests by tenant whose clocks run, or of which something was heard lately; the others are in the table only."""
        self._due: list[tuple[int, Name]] = []
        """A heap of when to look at what; an entry that is not the request's present one is stale."""
        self._grave: set[Name] = set()
        """Open P1 requests."""
        self._changed: dict[Name, None] = {}
        """Those whose status is to be said, the longest changed first."""
        self._touched: set[Name] = set()
        """Those whose ticket is to be written."""
        self._clock = 0
        self.now_ms = 0
        """The instant as of which requests are looked at, epoch milliseconds."""

    def load(self, keys: Iterable[bytes], horizon: int, clock_ms: int) -> list[Announcement]:
        """Take up the tickets at these keys of the table; what they have announced above the horizon."""
        waiting: list[Announcement] = []
        for key in keys:
            ticket = state.decode_ticket(self._table[key])
            name = state.ticket_name(key)
            waiting += [said for said in ticket.announcements if said.stamp > horizon]
            if not ticket.settled_ms or clock_ms < ticket.settled_ms + AGAIN_MS:
                self._hold(name, Held(ticket))
                self._wake(name, 0)
            else:
                heappush(self._due, (ticket.settled_ms + KEPT_MS, name))
        return waiting

    # -- what people say

    def take(self, tenant: str, stamp: int, kept: Kept) -> None:
        """Take in what somebody said of a request. It was checked before it entered the journal."""
        event = _event(kept)
        name = (tenant, event.request)
        held = self._find(name) or self._hold(name, Held(Ticket()))
        ticket = held.ticket
        if stamp <= ticket.stamp or any(item.value == kept.value for item in ticket.kept):
            return
        size = sum(len(item.value) for item in ticket.kept) + len(kept.value)
        if size > MOST_BYTES or len(ticket.kept) >= MOST_EVENTS:
            ticket.left_out += 1
        else:
            ticket.kept.append(kept)
        ticket.settled_ms = 0
        self._touched.add(name)
        # What was just sent is looked at once the sources are complete up to it.
        self._wake(name, event.time if event.time <= kept.recorded else 0)

    def reconsider(self, tenant: str) -> None:
        """Look at a tenant's requests again: its terms may have changed. Those that are settled were judged by what was known then."""
        for request in self._held.get(tenant, ()):
            self._wake((tenant, request), 0)

    # -- time

    def look(self, now_ms: int, clock_ms: int, stamp: int, horizon: int) -> tuple[list[Announcement], set[str]]:
        """Look at what is due at `now_ms`, up to which all sources are complete; what is to be announced, and whose requests changed.

        `clock_ms`: the log's clock.
        """
        self.now_ms, self._clock = max(self.now_ms, now_ms), clock_ms
        said: list[Announcement] = []
        changed: set[str] = set()
        for name in self._grave:
            if self._held[name[0]][name[1]].link != open_breach(self._tenant(name[0])):
                self._changed[name] = None
                changed.add(name[0])
        for _ in range(LOOKS_AT_ONCE):
            if not self._due or self._due[0][0] > self.now_ms:
                break
            at, name = heappop(self._due)
            held = self._find(name)
            if held is None or held.wake_ms not in (at, state.NEVER):
                continue
            if not self._lets_go(name, held):
                said += self._look_at(name, held, stamp, horizon)
                changed.add(name[0])
        return said, changed

    def _look_at(self, name: Name, held: Held, stamp: int, horizon: int) -> list[Announcement]:
        ticket = held.ticket
        now = max(self.now_ms, ticket.looked_ms)
        events = [_event(item) for item in ticket.kept]
        request = held.request = fold(events, now)
        terms = held.terms = self.terms(name[0], request.opened or now)
        (self._grave.add if request.running and request.severity == "P1" else self._grave.discard)(name)
        held.clocks = [clock for clock in clocks(request, terms) if clock.running]
        said = []
        if stamp > ticket.stamp:
            # The last that made the difference: a function of the log, whenever it is looked at.
            known_ms = max(
                [item.recorded for item in ticket.kept] + [event.time for event in events if event.time <= now]
            )
            for breach in announcements(request, terms, ticket.told, now):
                if breach.type == "withdrawn":
                    breach = replace(breach, at=known_ms)  # noqa: PLW2901  # the same breach, with its instant
                ticket.told[breach.about] = breach
                data = msgspec.json.encode(breach.record())
                said.append(Announcement(breach.id, breach.type, name[0], stamp, breach.at, data))
        if said:
            ticket.looked_ms = now
            # What is committed has been sent, and need not be kept to be sent again.
            ticket.announcements = [e for e in ticket.announcements if e.stamp > horizon] + said
        heard_ms = max(item.recorded for item in ticket.kept) if ticket.kept else now
        settled_ms = 0 if request.running or request.ahead else heard_ms
        if said or settled_ms != ticket.settled_ms:
            ticket.settled_ms = settled_ms
            self._touched.add(name)
        self._changed[name] = None
        held.wake_ms = state.NEVER
        self._wake(name, self._following(held, now, stamp))
        return said

    def terms(self, tenant: str, at: int) -> SupportTerms:
        """The terms for a tenant's requests that are opened at an instant (epoch milliseconds)."""
        known = self._tenant(tenant).agreements.known(self._clock)
        return known.at(at // MINUTE_MS).support_terms(self._standard)

    def _following(self, held: Held, now: int, stamp: int) -> int:
        """When something of a request that was just looked at changes next."""
        if stamp <= held.ticket.stamp:
            return now + 1
        if held.ticket.settled_ms:
            again = held.ticket.settled_ms + AGAIN_MS
            return again if again > now else held.ticket.settled_ms + KEPT_MS
        request = held.request
        times = [now + AGAIN_MS]
        times += [event.time for event in request.ahead] if request else []
        times += [at + 1 for clock in held.clocks for at in (clock.stretches[-1].warning, clock.due) if at >= now]
        return min(times)

    def _lets_go(self, name: Name, held: Held) -> bool:
        settled_ms = held.ticket.settled_ms
        if not settled_ms or self.now_ms < settled_ms + KEPT_MS:
            return False
        self.removed.append(state.ticket_key(*name))
        self._touched.discard(name)
        self._drop(name)
        return True

    # -- effects

    def records(self, stamp: int) -> dict[bytes, bytes]:
        """The tickets that have changed, complete up to `stamp`, by key of the table."""
        touched, self._touched = self._touched, set()
        found = {}
        for name in touched:
            held = self._held[name[0]][name[1]]
            held.ticket.stamp = stamp
            found[state.ticket_key(*name)] = state.encode(held.ticket)
            self._rest(name, held)
        return found

    def statuses(self, most: int, stamp: int) -> Iterator[dict[str, Any]]:
        """Records for `support-status` of at most `most` requests, the longest changed first (schema: support-status.schema.json)."""
        for name in list(self._changed)[:most]:
            del self._changed[name]
            held = self._find(name)
            if held is None or held.request is None or held.terms is None:
                continue
            held.link = open_breach(self._tenant(name[0]))
            now = max(self.now_ms, held.ticket.looked_ms)
            made = status(held.request, held.terms, now, held.link)
            yield made | {"stamp": stamp, "left_out": held.ticket.left_out}
            self._rest(name, held)

    def running(self, tenant: str) -> list[Held]:
        """The tenant's requests whose clocks run, in the order in which an agent should work them."""
        held = self._held.get(tenant)
        return (
            [held[request.id] for request in queue(item.request for item in held.values() if item.request)]
            if held
            else []
        )

    def open_p1(self, tenant: str) -> list[str]:
        """The tenant's open P1 requests, first in, first out."""
        return [held.name for held in self.running(tenant) if held.severity == "P1"]

    # -- what is held

    def _find(self, name: Name) -> Held | None:
        tenant, request = name
        found = self._held.get(tenant, {}).get(request)
        key = state.ticket_key(tenant, request)
        if found is None and key in self._table and key not in self.removed:
            found = self._hold(name, Held(state.decode_ticket(self._table[key])))
        return found

    def _hold(self, name: Name, held: Held) -> Held:
        self._held.setdefault(name[0], {})[name[1]] = held
        return held

    def _drop(self, name: Name) -> None:
        held = self._held[name[0]]
        del held[name[1]]
        if not held:
            del self._held[name[0]]

    def _rest(self, name: Name, held: Held) -> None:
        """Leave a settled request to the table once all is said and written of it."""
        settled_ms = held.ticket.settled_ms
        if settled_ms and settled_ms + AGAIN_MS <= self.now_ms and not (name in self._touched or name in self._changed):
            self._drop(name)

    def _wake(self, name: Name, at: int) -> None:
        """See that a request in memory is looked at by then."""
        held = self._held[name[0]][name[1]]
        if at < held.wake_ms:
            held.wake_ms = at
            heappush(self._due, (at, name))


def open_breach(tenant: Tenant) -> str:
    """The id of the announcement of the tenant's standing verdict, the gravest of them; "" when none stands."""
    period = tenant.period.name if tenant.period else ""
    standing = [
        (verdict.state == BREACHED, -threshold, verdict)
        for threshold, verdict in tenant.account.verdicts.get(period, {}).items()
        if verdict.state != NONE
    ]
    if not standing:
        return ""
    _, threshold, verdict = max(standing, key=lambda found: found[:2])
    return announcement_id(tenant.name, period, -threshold, verdict.state, verdict.times)


def _event(kept: Kept) -> Event:
    return event_of(msgspec.json.decode(kept.value))
