"""One journal partition as one deterministic object: frames in, records to keep and things to say out. It has no clock and does no I/O.

Rules:
1. Time comes from the log alone: the clock is the least of the sources' newest (`Resolver.clock_ms`).
2. State lives in `table`, a MutableMapping from bytes to bytes whose entries are as durable as the last finished checkpoint.
3. A seal at or below the horizon H is skipped; above it, a record skips what its own stamp says it already holds.
4. A tenant is evaluated only at stamps above its account's, and only while the sources are caught up, so a verdict is a function of
   the log. What is announced stands in the account before it is sent: a restart sends the same bytes under the same id.
5. Order of durability, which whoever drives the engine must keep: accounts; then days, announcements; then the commit of (O, H).
   Among the first, tenants' samples come before what they taught (see `state`).

Messages: `take` (journal records). Effects: `statuses` and `support_statuses` (the present, to be overwritten), `checkpoint` (what
must be made durable).
Errors: ValueError from a record that is no frame of ours or a table record that is none. Anything else is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

from monitor.contract import terms as promised
from monitor.contract.exclusions import ExclusionDecision, Window, exclusions
from monitor.contract.period import DAY, MINUTE_MS, Period
from monitor.contract.readings import Silence
from monitor.contract.rulings import Ruling, rulings
from monitor.contract.statement import Facts, Stretch
from monitor.contract.support import STANDARD_SUPPORT, SupportTerms
from monitor.counting import frame as frames
from monitor.counting import windows
from monitor.counting.day import WIDTH, Day, Ints, split_by_day
from monitor.counting.frame import Row
from monitor.counting.request import CLIENT, EXTERNAL, FAULTS, SERVER, SUCCESS, UNCLASSIFIED
from monitor.counting.resolver import Candidates, Resolver, Sealed
from monitor.engine import decided, quiet, state, users
from monitor.engine.dues import LATE_MS, SETTLED, Look, credits_of, sheet_of
from monitor.engine.month import NOTHING, DayMinutes, LeftOut, MonthSums
from monitor.engine.state import Announcement, Evidence, Kept, PartitionRecord, Shared, Taught, Tenant, Unmeasured
from monitor.engine.support import SUPPORT, Desk
from monitor.engine.users import OPEN_MINUTES, UserDay
from monitor.engine.verdict import CLEARED, NONE, Policy, Verdict, announcement_id, decide
from monitor.engine.verdict import Evidence as Seen
from monitor.forecast import Fleet, Forecast, History, MonthSoFar, calibration, forecast
from monitor.forecast.calibration import Correction, Ended, Sample, sampled_at
from monitor.forecast.silence import LOOKBACK

TICK_MS = 10_000
"""The engine evaluates when its clock passes a multiple of this."""
NO_FLEET = Fleet.of(())
"""What is assumed before tenants have a past."""
TICKS_A_MINUTE = 60_000 // TICK_MS
FLEET_EVERY = 60
"""Minutes between poolings of what tenants have in common."""
FORECAST_EVERY = 5
"""Minutes between forecasts of a tenant that is in no trouble; one in trouble gets one at each tick."""
MOST_AT_EACH_TICK = 100
"""With more tenants in trouble than this, each is evaluated once a minute, like the others."""
CAUGHT_UP_MS = 30_000
"""Verdicts wait while the sources are read this far behind the clock."""
PROMISED = ("in_term", "unknown")
"""Where a tenant stands to its contract when somebody may be owed something."""
KEPT_DAYS = 190
"""Days of minutes kept in the table: a month, four months in which it may be amended, and the weeks before that tell its silences."""
SHEETS_A_TICK = 50
"""Months recounted for statements and notices at each tick, so that a month's end does not hold up everything else."""
DECODED_DAYS = 4
"""Days back from today that stay decoded in memory, for the rolling windows."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What must be made durable, in this order: `accounts`, one after the other; `days` and `announcements`; the commit of (`offset`,
    `horizon`).

    `removed` are keys of the table that hold nothing any more.
    """

    accounts: dict[bytes, bytes]
    days: dict[bytes, bytes]
    announcements: list[Announcement]
    removed: list[bytes]
    offset: int
    horizon: int


@dataclass(slots=True)
class Met:
    """What the engine has met since it was made, for the monitor's own metrics."""

    gaps: int = 0
    announced: dict[str, int] = field(default_factory=dict)


class Engine:
    """The truth about the tenants of one journal partition. See the module for its rules."""

    def __init__(
        self,
        table: MutableMapping[bytes, bytes],
        *,
        offset: int = 0,
        horizon: int = -1,
        place: tuple[str, int] = ("journal", 0),
        policy: Policy | None = None,
        only: str | None = None,
        support: SupportTerms = STANDARD_SUPPORT,
    ) -> None:
        self.table = table
        self.place = place
        """The journal's topic and the partition."""
        self.policy = policy or Policy()
        self.only = only
        """With a name, a recount of that tenant: the others are not counted, decisions are those in `table`, nothing is evaluated."""
        self.following = offset
        """The journal offset to be read next."""
        self.horizon = horizon
        self.stamp = horizon
        """The newest offset taken in or skipped."""
        self.resolver = Resolver()
        self.tenants: dict[str, Tenant] = {}
        self.desk = Desk(table, self._tenant, support)
        self.holidays = support.hours.holidays
        """Of the headquarters: what a business day is for statements too."""
        self.partition = PartitionRecord()
        self.shared = Shared()
        self.platform = quiet.Platform()
        self.users: dict[tuple[str, int], UserDay] = {}
        """By tenant and UTC day, those with open minutes."""
        self.evidence: dict[int, Evidence] = {}
        """By UTC day."""
        self.exclusion_decisions: list[ExclusionDecision] = []
        self.shared_rulings: list[Ruling] = []
        self.fleet = NO_FLEET
        self.taught = Taught()
        self.correction = Correction()
        """What is taught, made ready for use."""
        self.seen = Met()
        self._unseen = True
        """Whether no tenant has been looked at since the engine was made."""
        self._fleet_minute = -1
        self._quiet_minute = -1
        self._outbox: list[Announcement] = []
        self._removed: list[bytes] = []
        self._touched: set[str] = set()
        self._shared_touched = False
        self._sampled: set[str] = set()
        self._taught_touched = False
        self._shared_decided_ms: int | None = None
        self._evidence_touched: set[int] = set()
        self._users_touched: set[tuple[str, int]] = set()
        self._records: dict[bytes, bytes] = {}
        self._windows: list[Window] = []
        """The approved exclusions."""
        self._waiting: list[tuple[int, frames.Columns]] = []
        """Sealed counts that are in no day yet, by stamp."""
        self._ahead = -1
        """No day in `table` was ahead of this stamp when the engine was made."""
        self.clock_ms = 0
        self.complete_ms = 0
        self._load()

    # -- recovery

    def _load(self) -> None:
        tickets = []
        for key in list(self.table):
            if key == state.PARTITION:
                self.partition = state.decode_partition(self.table[key])
                self.clock_ms, self.complete_ms = self.partition.clock_ms, self.partition.complete_ms
                self._ahead = self.partition.upto
                continue
            if key == state.SHARED:
                self.shared = state.decode_shared(self.table[key])
                continue
            if key == state.TAUGHT:
                self.taught = state.decode_taught(self.table[key])
                continue
            if key.startswith(state.EVIDENCE):
                self.evidence[int(key[len(state.EVIDENCE) :])] = state.decode_evidence(self.table[key])
                continue
            name, _, what = key.partition(b"\0")
            tenant = self._tenant(name.decode())
            if what == state.ACCOUNT:
                tenant.account = state.decode_account(self.table[key])
                self._outbox += [a for a in tenant.account.announcements if a.stamp > self.horizon]
            elif what == state.SAMPLES:
                tenant.samples = state.decode_samples(self.table[key])
            elif what.startswith(state.SUPPORT):
                tickets.append(key)
            elif not what.startswith((state.STATEMENT, state.USERS)):
                tenant.numbers.add(int(what))
                tenant.unfed.add(int(what))
                tenant.recovered.add(int(what))
        self._outbox += self.desk.load(tickets, self.horizon, self.clock_ms)
        # Within a tenant they stay in the order in which they were decided.
        self._outbox.sort(key=lambda a: (a.stamp, a.tenant))
        # What was taken up after the clock that is durable is taken up again.
        self.shared.taken_ms = min(self.shared.taken_ms, self.clock_ms)
        self._read_shared()
        self._windows = self._approved(self.shared.taken_ms)
        for tenant in self.tenants.values():
            for stamp, period, ended in tenant.samples.ended:
                # A tenant's samples are durable before what they taught.
                if stamp > self.taught.stamp:
                    self._teach(period, ended)
        self._correct()
        for tenant in self.tenants.values():
            tenant.account.taken_ms = min(tenant.account.taken_ms, self.clock_ms)
            self._read_decisions(tenant)
            tenant.left_out = LeftOut(self._windows_of(tenant))

    def _tenant(self, name: str) -> Tenant:
        found = self.tenants.get(name)
        if found is None:
            found = self.tenants[name] = Tenant(name)
        return found

    # -- messages

    def take(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Take in the journal's records, offset and value; offsets may have holes but not go back (AssertionError)."""
        for offset, data in records:
            if offset < self.following:
                raise AssertionError(f"journal offset {offset} after {self.following - 1}: offsets must not go back")
            frame = frames.decode(data) if self.only is None else frames.decode_of(data, self.only)
            before = self.resolver.open.get((frame.topic, frame.partition))
            before_ms = (before.complete_ms or before.at_ms) if before else 0
            sealed = self.resolver.take(offset, frame)
            self.following = offset + 1
            if sealed is not None and offset > self.horizon:
                self._fold(sealed, before, before_ms, frame.at_ms)
            self.stamp = max(self.stamp, offset)
            self._advance()
        self._add_up()

    def _fold(self, sealed: Sealed, before: Candidates | None, before_ms: int, now_ms: int) -> None:
        stamp = sealed.stamp
        if sealed.gap is not None:
            self.seen.gaps += 1
            if stamp > self.partition.stamp:
                gap = sealed.gap
                self.partition.stamp = stamp
                self.partition.unmeasured.append(
                    Unmeasured(gap.source[0], gap.source[1], gap.first, gap.upto, min(before_ms, now_ms), now_ms)
                )
        if sealed.frame is None:
            return
        # Later than all that was said so far, and not before the worker that read it had checked it.
        recorded = max(self.partition.decided_ms + 1, sealed.frame.at_ms)
        for decision in sealed.frame.decisions:
            self._decide(stamp, decision, Kept(recorded, sealed.frame.partition, decision.offset, decision.value))
        counts = sealed.frame.columns()
        minutes = np.unique(counts.at).tolist()
        # Counts wait for others of the same tenants, unless some days hold them or somebody must know when they came.
        alone = stamp <= self._ahead or self._may_be_late(counts.tenants, min(minutes, default=0))
        if alone:
            self._add_up()
        if minutes:
            self._waiting.append((stamp, counts))
        if alone:
            self._add_up()
        for name, samples in sealed.frame.users.items():
            self._met(name, samples)
        if before is not None:
            self._vouch({minute // DAY for minute in minutes}, sealed.frame, before.offset, stamp)

    def _may_be_late(self, tenants: Iterable[str], minute: int) -> bool:
        """Whether a request of this minute is of a settled month for any of the tenants."""
        found = (self.tenants.get(name) for name in tenants)
        return any(tenant and tenant.account.issued and minute < tenant.settled_until for tenant in found)

    def _add_up(self) -> None:
        """Put the counts that wait into their days: those of a tenant at once, for each look at a tenant costs as much as many counts."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        stamps: dict[str, int] = {}
        for stamp, counts in waiting:
            stamps |= dict.fromkeys(counts.tenants, stamp)
        came: dict[int, int] = {}
        for name, portals in frames.add_up([counts for _, counts in waiting]).items():
            tenant = self._tenant(name)
            tenant.touch()
            self._touched.add(name)
            for number, parts in split_by_day(portals).items():
                self._count(tenant, stamps[name], number, parts, came)
        self.platform.count(came)

    def _count(
        self, tenant: Tenant, stamp: int, number: int, portals: Mapping[str, frames.Tally], came: dict[int, int]
    ) -> None:
        """Add counts of a tenant's day, which it holds once; `came` takes the requests of minutes new to the platform."""
        day = tenant.day(number, self.table)
        if day is None:
            day = tenant.days[number] = Day(number)
            tenant.numbers.add(number)
        # A day that is ahead was written after H was committed.
        if stamp <= day.stamp:
            return
        day.stamp = stamp
        tenant.dirty.add(number)
        tenant.unfed.add(number)
        base, month, new = number * DAY, tenant.month, number not in tenant.recovered
        last = -1
        for portal, tally in portals.items():
            name, ledger = day.portal(portal)
            add = ledger.add
            for minute, row in tally.minutes.items():
                add(minute - base, row)
                if month is not None:
                    month.add(name, minute, row)
                if new:
                    came[minute] = came.get(minute, 0) + sum(row)
                last = max(last, minute)
            for code, minutes in tally.codes.items():
                day.add_codes(name, code, minutes)
        tenant.last_minute = max(quiet.last_minute(tenant, self.table), last)
        if tenant.account.issued:
            first = min(min(tally.minutes) for tally in portals.values())
            if first < tenant.settled_until:
                self._came_late(tenant, {first, last})

    def _came_late(self, tenant: Tenant, minutes: Iterable[int]) -> None:
        """Settled months that these minutes of a day are in, its first and last, are looked at again, in a while."""
        settled = {item.month for item in tenant.account.issued if item.kind in SETTLED}
        for name in {tenant.agreements.month_at(minute).period.name for minute in minutes} & settled:
            at = tenant.account.reopened.setdefault(name, self.clock_ms + LATE_MS)
            tenant.due_ms = min(tenant.due_ms, at)

    def _met(self, name: str, minutes: Mapping[int, Sequence[int]]) -> None:
        """Take in samples of a tenant's users; coming again changes nothing, so they need no stamp."""
        for minute, sample in minutes.items():
            number, within = divmod(minute, DAY)
            if minute < self.complete_ms // MINUTE_MS - OPEN_MINUTES:
                continue
            self._user_day(name, number).merge(within, sample)
            self._users_touched.add((name, number))

    def _user_day(self, name: str, number: int) -> UserDay:
        found = self.users.get((name, number))
        if found is None:
            kept = self.table.get(state.users_key(name, number))
            found = self.users[name, number] = users.decode(kept) if kept is not None else UserDay({}, {})
        return found

    def _vouch(self, numbers: Iterable[int], frame: frames.Frame, first: int, stamp: int) -> None:
        """Note where the counts of these days stand in the logs."""
        for number in numbers:
            evidence = self.evidence.setdefault(number, Evidence({}, (first, first)))
            offsets = evidence.sources.setdefault(frame.topic, {})
            start, upto = offsets.get(frame.partition, (frame.start, frame.upto))
            offsets[frame.partition] = (min(start, frame.start), max(upto, frame.upto))
            begin, end = evidence.journal
            evidence.journal = (min(begin, first), max(end, stamp + 1))
            self._evidence_touched.add(number)

    # -- decisions

    def _decide(self, stamp: int, decision: frames.Decision, kept: Kept) -> None:
        if decision.tenant == "*":
            if stamp > self.shared.stamp:
                self.shared.decisions.setdefault(decision.kind, []).append(kept)
                self._shared_touched = True
                self._read_shared()
            return
        tenant = self._tenant(decision.tenant)
        if decision.kind == SUPPORT:
            self.desk.take(tenant.name, stamp, kept)
            return
        if stamp <= tenant.account.stamp:
            return
        tenant.account.decisions.setdefault(decision.kind, []).append(kept)
        self._touched.add(tenant.name)
        self._read_decisions(tenant)
        tenant.touch()

    def _read_shared(self) -> None:
        kept = self.shared.decisions
        self.exclusion_decisions = decided.exclusion_decisions(kept.get(decided.EXCLUSIONS, ()))
        self.shared_rulings = decided.rulings(kept.get(decided.RULINGS, ()))
        self._shared_decided_ms = _pending(self.shared)

    @staticmethod
    def _read_decisions(tenant: Tenant) -> None:
        kept = tenant.account.decisions
        tenant.agreements = decided.agreements(tenant.name, kept.get(decided.CONTRACTS, ()))
        tenant.rulings = decided.rulings(kept.get(decided.RULINGS, ()))
        tenant.decided_ms = _pending(tenant.account)

    def _approved(self, as_of: int) -> list[Window]:
        found, _ = exclusions(self.exclusion_decisions, as_of)
        return [item.window for item in found if item.counts]

    def _take_up(self) -> set[str]:
        """Take up the decisions that are known by now; the tenants that they concern."""
        concerned = {name for name, tenant in self.tenants.items() if tenant.decided_ms is not None}
        if self._shared_decided_ms is not None:
            self._windows = self._approved(self.clock_ms)
            ruled = any(self.shared.taken_ms < ruling.recorded <= self.clock_ms for ruling in self.shared_rulings)
            concerned |= {
                name
                for name, tenant in self.tenants.items()
                if ruled or self._windows_of(tenant) != tenant.left_out.windows
            }
            self.shared.taken_ms = self.clock_ms
            self._shared_touched = True
            self._shared_decided_ms = _pending(self.shared)
        for name in concerned:
            self._reconsider(self.tenants[name])
        return concerned

    def _windows_of(self, tenant: Tenant) -> tuple[Window, ...]:
        return tuple(window for window in self._windows if window.concerns(tenant.name))

    def _reconsider(self, tenant: Tenant) -> None:
        """Derive anew what rests on decisions, and look at settled months again."""
        tenant.account.taken_ms = self.clock_ms
        tenant.decided_ms = _pending(tenant.account)
        before, after = set(tenant.left_out.windows), self._windows_of(tenant)
        for window in before ^ set(after):
            tenant.unfed |= set(range(window.start // DAY, (window.end - 1) // DAY + 1)) & tenant.numbers
        tenant.left_out = LeftOut(after)
        tenant.period = None
        tenant.credits = None
        self.desk.reconsider(tenant.name)
        for name in {item.month for item in tenant.account.issued if item.kind in SETTLED}:
            tenant.account.reopened[name] = self.clock_ms
        self._touched.add(tenant.name)
        tenant.due_ms = 0

    # -- time

    def _advance(self) -> None:
        clock, complete = self.resolver.clock_ms(), self.resolver.complete_ms()
        if complete is not None:
            self.complete_ms = max(self.complete_ms, complete)
        if clock is not None:
            self.clock_ms = max(self.clock_ms, clock)
        if complete is not None and self.stamp > self.horizon and self.only is None:
            self._attend()
        tick = self.clock_ms // TICK_MS
        new = tick > self.partition.decided_ms // TICK_MS
        if clock is None or not (new or self._unseen) or self.stamp <= self.horizon or self.only is not None:
            return
        if complete is not None and self.clock_ms - complete <= CAUGHT_UP_MS:
            self._unseen = False
            if new:
                self.partition.decided_ms = self.clock_ms
            self._add_up()
            self._evaluate(tick, decide=new)

    def _attend(self) -> None:
        """Let the support desk see what has come to be due."""
        said, changed = self.desk.look(self.complete_ms, self.clock_ms, self.stamp, self.horizon)
        for made in said:
            self._outbox.append(made)
            self.seen.announced[made.kind] = self.seen.announced.get(made.kind, 0) + 1
        for name in changed:
            self.tenants[name].touch()

    def _evaluate(self, tick: int, *, decide: bool) -> None:
        """Bring what is known of tenants up to date; and decide, if it is time to."""
        minute = self.clock_ms // MINUTE_MS
        upto = minute + 1  # the present minute counts as far as it has come
        concerned = self._take_up() if decide else set()
        if decide:
            self._learn(minute)
        troubled = {name for name, tenant in self.tenants.items() if self._in_trouble(tenant)}
        if len(troubled) > MOST_AT_EACH_TICK:
            troubled.clear()
        due = [
            tenant
            for tenant in self.tenants.values()
            if tenant.forecast is None
            or tenant.name in troubled
            or tenant.name in concerned
            or tick - tenant.looked_at_tick >= TICKS_A_MINUTE
        ]
        for tenant in due:
            # The first time spreads the later ones, over a minute and over `FORECAST_EVERY` of them.
            new = tenant.forecast is None
            tenant.looked_at_tick = tick - (_hash(tenant) % TICKS_A_MINUTE if new else 0)
            self._enter_period(tenant, minute)
            tenant.windows = self._rolling(tenant, upto)
            self._forget(tenant, minute)
        forecast_due = [
            tenant
            for tenant in due
            if tenant.forecast is None
            or self._in_trouble(tenant)
            or tenant.name in concerned
            or minute - tenant.forecast_at_minute >= FORECAST_EVERY
        ]
        for tenant in forecast_due:
            new = tenant.forecast is None
            tenant.forecast_at_minute = minute - (_hash(tenant) // TICKS_A_MINUTE % FORECAST_EVERY if new else 0)
        self._project(forecast_due, upto, keep=decide)
        for tenant in due:
            tenant.touch()
        if minute != self._quiet_minute:
            self._quiet_minute = minute
            self._listen(minute)
        if not decide:
            return
        for tenant in forecast_due:
            self._judge(tenant)
        self._settle()

    def _listen(self, minute: int) -> None:
        """Once a minute, on minutes that are complete: who has become silent?"""
        now, gaps = self.complete_ms // MINUTE_MS, self._gaps()
        promised_to = (tenant for tenant in self.tenants.values() if tenant.standing in PROMISED)
        for tenant in quiet.look(promised_to, min(now, minute), gaps, self.table):
            tenant.touch()
        self.platform.look(min(now, minute), gaps)

    def _gaps(self) -> list[tuple[int, int]]:
        return [(gap.from_ms // MINUTE_MS, gap.to_ms // MINUTE_MS + 1) for gap in self.partition.unmeasured]

    def _rolling(self, tenant: Tenant, upto: int) -> dict[str, Row]:
        """The rolling windows, what is excluded left out."""
        longest = upto - windows.LONGEST
        found = windows.rolling(lambda number: tenant.day(number, self.table), upto)
        if not tenant.left_out.touches(longest, upto):
            return found
        for name, length in windows.WINDOWS.items():
            part = MonthSums(Period(upto - length, upto, name), tenant.left_out)
            part.fill(tenant.numbers, lambda number: tenant.day(number, self.table))
            found[name] = part.total
        return found

    def _settle(self) -> None:
        """Look at tenants for whom something may have fallen due, as many as a tick has room for."""
        due = sorted(
            (tenant for tenant in self.tenants.values() if tenant.due_ms <= self.clock_ms),
            key=lambda tenant: (tenant.due_ms, tenant.name),
        )
        sheets = 0
        for tenant in due:
            if self.stamp <= tenant.account.stamp or tenant.period is None:
                continue
            # Of a month looked at again the weeks before it must be kept too: they tell its silences.
            oldest = self.clock_ms // MINUTE_MS // DAY - KEPT_DAYS + LOOKBACK
            look = Look(
                tenant, self.clock_ms, self.complete_ms, self.stamp, oldest, self.facts, self.listened, self.table,
                self.holidays,
            )  # fmt: skip
            tenant.due_ms = look.take()
            self._records |= look.records
            self._removed += look.removed
            for made in look.said:
                self._say(tenant, made)
            if look.said or look.sheets:
                self._touched.add(tenant.name)
                tenant.touch()
            sheets += look.sheets
            if sheets >= SHEETS_A_TICK:
                return

    def facts(self, tenant: Tenant, month: str, as_of: int) -> Facts:
        """All that a statement about a tenant's month is made from."""
        known = tenant.agreements.known(as_of).month(month)
        extension = tenant.credits.extension(known.agreement) if tenant.credits else 0
        first, last = known.period.start // DAY, (known.period.end - 1) // DAY
        numbers = [number for number in sorted(tenant.numbers) if first <= number <= last]
        days = [self._peek(tenant, number) for number in numbers]
        topics: dict[tuple[str, int], tuple[int, int]] = {}
        begin = self.following
        for number in range(first, last + 1):
            evidence = self.evidence.get(number)
            if evidence is None:
                continue
            begin = min(begin, evidence.journal[0])
            for topic, offsets in evidence.sources.items():
                for partition, (start, upto) in offsets.items():
                    low, high = topics.get((topic, partition), (start, upto))
                    topics[topic, partition] = (min(low, start), max(high, upto))
        return Facts(
            agreements=tenant.agreements,
            month=month,
            minutes=DayMinutes(days),
            as_of=as_of,
            users=users.user_minutes(
                {
                    number: self._user_day(tenant.name, number)
                    for number in range(first, last + 1)
                    if (tenant.name, number) in self.users or state.users_key(tenant.name, number) in self.table
                }
            ),
            exclusions=self.exclusion_decisions,
            rulings=[*self.shared_rulings, *tenant.rulings],
            gaps=self._gaps(),
            sources=[Stretch(topic, partition, *offsets) for (topic, partition), offsets in topics.items()],
            journal=[Stretch(*self.place, begin, self.following)] if topics else [],
            extension=extension,
            holidays=self.holidays,
        )

    def listened(self, facts: Facts) -> Facts:
        """The facts of a month with its silences, which take the longest to find."""
        tenant = self.tenants[facts.agreements.tenant]
        covered = facts.agreements.known(facts.as_of).month(facts.month, facts.extension).covered
        upto = min(covered.end, facts.as_of // MINUTE_MS)
        self._sum_up_platform()
        found = quiet.of_month(tenant, lambda number: self._peek(tenant, number), covered.start, upto, facts.gaps)
        return replace(facts, silences=[*found, *self.platform.between(covered.start, upto, facts.gaps)])

    def _sum_up_platform(self) -> None:
        """Add to the platform what was read from the table and that no forecast has asked for yet."""
        for tenant in self.tenants.values():
            for number in sorted(tenant.recovered):
                self.platform.recovered(number, self._peek(tenant, number).by_minute())
            tenant.recovered.clear()

    def _peek(self, tenant: Tenant, number: int) -> Day:
        """A day that holds requests; it does not stay decoded."""
        found = tenant.days.get(number)
        return found or Day.decode(number, self.table[state.day_key(tenant.name, number)])

    def _in_trouble(self, tenant: Tenant) -> bool:
        recent = tenant.windows.get("30m")
        if recent is not None and recent[SERVER] + recent[UNCLASSIFIED]:
            return True
        standing = tenant.account.verdicts.get(tenant.period.name, {}) if tenant.period else {}
        return any(verdict.state != NONE for verdict in standing.values())

    def _enter_period(self, tenant: Tenant, minute: int) -> None:
        if tenant.period is not None and tenant.whole is not None and minute in tenant.whole:
            self._recount(tenant, self._month(tenant))
            return
        if tenant.credits is None:
            tenant.credits = credits_of(tenant, self.clock_ms)
        known = tenant.agreements.known(self.clock_ms)
        month = known.month_at(minute, tenant.credits.extension(known.at(minute)))
        tenant.agreement, tenant.standing, tenant.whole = month.agreement, month.standing, month.period
        tenant.period = month.covered if month.covered.start < month.covered.end else month.period
        tenant.month = MonthSums(tenant.period, tenant.left_out)
        tenant.month.fill(tenant.numbers, lambda number: tenant.day(number, self.table))
        tenant.forecast_at_minute = -FORECAST_EVERY  # what stands is of the period before: a new one at the next look
        if tenant.forecast and not tenant.forecast.probability.keys() >= set(month.agreement.terms.thresholds):
            tenant.forecast = None
        tenant.held, _ = rulings([*self.shared_rulings, *tenant.rulings], tenant.name, self.clock_ms)
        self._recount(tenant, tenant.month)

    def _recount(self, tenant: Tenant, month: MonthSums) -> None:
        """Where rulings matter the month is counted as statements count it."""
        if not tenant.held.held:
            return
        classified = tenant.held.codes and any(row[UNCLASSIFIED] for row in month.came.values())
        if month.recounted or classified or tenant.held.silences:
            _, tally = sheet_of(self.facts(tenant, month.period.name, self.clock_ms))
            month.settle(tally)

    def _forget(self, tenant: Tenant, minute: int) -> None:
        today = minute // DAY
        for number in [
            n for n in tenant.days if n < today - DECODED_DAYS and n not in tenant.dirty and n not in tenant.unfed
        ]:
            del tenant.days[number]
        for number in [n for n in tenant.numbers if n < today - KEPT_DAYS and n not in tenant.dirty]:
            tenant.numbers.discard(number)
            tenant.unfed.discard(number)
            tenant.days.pop(number, None)
            self._removed += [state.day_key(tenant.name, number), state.users_key(tenant.name, number)]

    def _project(self, tenants: Sequence[Tenant], upto: int, *, keep: bool) -> None:
        """Forecast the tenants' months; `keep`: whether samples may be taken."""
        for tenant in tenants:
            self._feed(tenant, upto)
        if upto >= self._fleet_minute + FLEET_EVERY or self._fleet_minute < 0:
            self._fleet_minute = upto
            self.fleet = Fleet.of([t.history for t in self.tenants.values() if t.history is not None])
        by_thresholds: dict[tuple[int, ...], list[Tenant]] = {}
        for tenant in tenants:
            by_thresholds.setdefault(tenant.agreement.terms.thresholds, []).append(tenant)
        for thresholds, group in by_thresholds.items():
            months = []
            for tenant in group:
                month = self._month(tenant)
                period = month.period
                at = max(period.start, min(upto, period.end))
                # A forecast knows no portals: a window for some of them would take all of the tenant's demand away.
                windows = (w for w in tenant.left_out.windows if w.portals is None and w.end > at)
                ahead = tuple((window.start, window.end) for window in windows)
                months.append(
                    MonthSoFar(
                        tenant.name,
                        period.start,
                        period.end,
                        at,
                        *_good_bad(month.total, month.missing),
                        maintenance=ahead,
                    )
                )
            made = forecast(months, [t.history for t in group if t.history is not None], self.fleet, thresholds)
            for tenant, asked, one in zip(group, months, made, strict=True):
                if keep:
                    self._keep(tenant, asked, one)
                tenant.forecast = self.correction.corrected(one)

    def _keep(self, tenant: Tenant, asked: MonthSoFar, made: Forecast) -> None:
        """Keep the day's first forecast from its hashed minute on, as it was made, until the month has ended."""
        kept, (day, within) = tenant.samples, divmod(asked.now, DAY)
        if day <= kept.day or self.stamp <= kept.stamp or not asked.period_start < asked.now < asked.period_end:
            return
        if within < sampled_at(tenant.name, day):
            return
        one = calibration.sample(made)
        if one is None:
            return
        period, threshold = self._month(tenant).period, tenant.agreement.terms.thresholds[0]
        if (kept.period, kept.threshold) != (period.name, threshold):
            kept.packed.clear()  # other terms: what was said of them is no forecast of these
        kept.period, kept.start, kept.end, kept.threshold = period.name, period.start, period.end, threshold
        kept.day = day
        kept.packed.append(one.packed())
        self._sampled.add(tenant.name)

    def _learn(self, minute: int) -> None:
        """Hold the forecasts of months that have ended against how they ended."""
        ended = [
            tenant
            for tenant in self.tenants.values()
            if tenant.samples.packed and tenant.samples.end <= minute and self.stamp > tenant.samples.stamp
        ]
        for tenant in ended:
            kept = tenant.samples
            if tenant.period is None:
                self._enter_period(tenant, minute)
            good, bad = _good_bad(*self._sums(tenant, Period(kept.start, kept.end, kept.period)))
            made = calibration.outcomes(map(Sample.unpacked, kept.packed), good, bad, kept.threshold)
            kept.ended = [one for one in kept.ended if one[0] > self.horizon] + [(self.stamp, kept.period, made)]
            kept.packed.clear()
            self._sampled.add(tenant.name)
            self._teach(kept.period, made)
        if ended:
            self._correct()

    def _teach(self, month: str, ended: Ended) -> None:
        self.taught.months.setdefault(month, Ended()).add(ended)
        self._taught_touched = True

    def _correct(self) -> None:
        """Have what is taught at hand, once all of it is."""
        calibration.forget(self.taught.months)
        self.correction = Correction.of(self.taught.months)

    def _sums(self, tenant: Tenant, period: Period) -> tuple[Row, int]:
        """Five counts of a period of the tenant's, and what was ruled to be missing in it."""
        month = tenant.month
        if month is None or month.period != period:
            month = MonthSums(period, tenant.left_out)
            month.fill(tenant.numbers, lambda number: self._peek(tenant, number))
        self._recount(tenant, month)
        return month.total, month.missing

    def _feed(self, tenant: Tenant, upto: int) -> None:
        """Bring a tenant's history up to the minutes before `upto`."""
        if tenant.history is None:
            tenant.history = History()
            tenant.unfed |= tenant.numbers
        for number in sorted(tenant.unfed):
            day = tenant.day(number, self.table)
            if day is None or number * DAY >= upto:
                continue
            if number in tenant.recovered:
                tenant.recovered.discard(number)
                self.platform.recovered(number, day.by_minute())
            tenant.history.replace_day(number, *_counted(day, tenant))
        tenant.unfed.clear()
        tenant.history.close(upto)

    @staticmethod
    def _month(tenant: Tenant) -> MonthSums:
        if tenant.month is None:
            raise AssertionError(f"{tenant.name}: evaluated before its month was known")
        return tenant.month

    # -- verdicts

    def _judge(self, tenant: Tenant) -> None:
        account = tenant.account
        if self.stamp <= account.stamp or tenant.forecast is None or tenant.standing not in PROMISED:
            return
        month = self._month(tenant)
        period = month.period
        good, bad = _good_bad(month.total, month.missing)
        for threshold in tenant.agreement.terms.thresholds:
            now = account.verdicts.get(period.name, {}).get(threshold, Verdict())
            seen = Seen(good, bad, tenant.forecast.expected_requests, tenant.forecast.probability[threshold])
            change = decide(now, threshold, seen, self.policy)
            if change is None:
                continue
            kind, reason = change
            after = Verdict(NONE if kind == CLEARED else kind, now.times + 1)
            account.verdicts.setdefault(period.name, {})[threshold] = after
            self._announce(tenant, period, kind, threshold, after.times, reason)

    def _announce(self, tenant: Tenant, period: Period, kind: str, threshold: int, times: int, reason: str) -> None:
        data = self.status(tenant) | {"type": kind, "threshold": promised.percent(threshold), "reason": reason}
        identity = announcement_id(tenant.name, period.name, threshold, kind, times)
        self._say(
            tenant,
            Announcement(identity, kind, tenant.name, self.stamp, self.clock_ms, msgspec.json.encode(data)),
        )

    def _say(self, tenant: Tenant, made: Announcement) -> None:
        # What is committed has been sent, and need not be kept to be sent again.
        kept = [earlier for earlier in tenant.account.announcements if earlier.stamp > self.horizon]
        tenant.account.announcements = [*kept, made]
        self._outbox.append(made)
        self._touched.add(tenant.name)
        self.seen.announced[made.kind] = self.seen.announced.get(made.kind, 0) + 1

    # -- effects

    @property
    def urgent(self) -> bool:
        """Whether something waits to be announced, so that a checkpoint should not be put off."""
        return bool(self._outbox)

    def statuses(self, most: int) -> Iterator[tuple[Tenant, dict[str, Any]]]:
        """Status records of at most `most` tenants that have changed since theirs was taken, the longest unchanged first."""
        if self.clock_ms == 0:
            return
        waiting = [tenant for tenant in self.tenants.values() if tenant.changed]
        for tenant in waiting[:most]:
            tenant.changed = False
            if len(waiting) > most:  # to the end of the queue, so that the next call serves the others
                self.tenants[tenant.name] = self.tenants.pop(tenant.name)
            self._enter_period(tenant, self.clock_ms // 60_000)
            yield tenant, self.status(tenant)

    def status(self, tenant: Tenant) -> dict[str, Any]:
        """The tenant's month so far, as the `status` record (schema: deploy/schemas/status.schema.json)."""
        month, terms = self._month(tenant), tenant.agreement.terms
        period, total = month.period, month.total
        good, bad = _good_bad(total, month.missing)
        made = tenant.forecast
        record: dict[str, Any] = {
            "tenant": tenant.name,
            "period": period.name,
            "as_of": _instant(self.clock_ms),
            "complete_to": _instant(self.complete_ms) if self.complete_ms else None,
            "stamp": self.stamp,
            "good": good,
            "bad": bad - total[UNCLASSIFIED],
            "excluded": total[EXTERNAL] + sum(map(sum, month.excluded.values())),
            "unclassified": total[UNCLASSIFIED],
            "availability": promised.ratio(good, bad),
            "band": promised.percent(terms.band(bad, good + bad)),
            "budget_left": self._budget_left(good, bad, made, terms.thresholds[0]),
            "expected_requests": round(made.expected_requests) if made else None,
            "projected": {"p05": made.p05, "p50": made.p50, "p95": made.p95} if made else None,
            "breach_probability": {promised.label(t): made.probability[t] for t in terms.thresholds} if made else None,
            "minutes_left": {promised.label(t): made.minutes_left[t] for t in terms.thresholds} if made else None,
            "coverage": self._coverage(period),
            "portals": {
                name: _four(month.rows.get(name, NOTHING), month.excluded.get(name, NOTHING))
                for name in sorted(month.came)
            },
            "windows": {name: _four(row, NOTHING) for name, row in tenant.windows.items()},
            "verdicts": {
                promised.label(threshold): verdict.state
                for threshold, verdict in tenant.account.verdicts.get(period.name, {}).items()
            },
            "zone": tenant.agreement.zone,
            "standing": tenant.standing,
            "maintenance": self.in_maintenance(tenant),
            "silence": _silent(tenant.silence),
            "platform_silence": _silent(self.platform.silence),
            "support": self.desk.open_p1(tenant.name),
        }
        return record

    def support_statuses(self, most: int) -> Iterator[dict[str, Any]]:
        """Records of at most `most` support requests that have changed since theirs was taken, the longest changed first."""
        return self.desk.statuses(most, self.stamp)

    def in_maintenance(self, tenant: Tenant) -> bool:
        """Whether an approved exclusion runs for the tenant."""
        return tenant.left_out.at(self.clock_ms // MINUTE_MS)

    @staticmethod
    def _budget_left(good: int, bad: int, made: Forecast | None, highest: int) -> float | None:
        expected = max(made.expected_requests if made else 0, good + bad)
        return 1 - bad / (expected * (promised.FULL - highest) / promised.FULL) if expected else None

    def _coverage(self, period: Period) -> float:
        """Share of the period so far that was measured; a minute touched by a gap was not."""
        upto = min(self.clock_ms // 60_000, period.end)
        if upto <= period.start:
            return 1.0
        missed: set[int] = set()
        for gap in self.partition.unmeasured:
            missed.update(range(max(period.start, gap.from_ms // 60_000), min(upto, gap.to_ms // 60_000 + 1)))
        return 1 - len(missed) / (upto - period.start)

    def checkpoint(self) -> Checkpoint:
        """What must be durable for everything taken in so far to be; follow the order of rule 5, then call `checkpointed`."""
        # In the order in which they become durable: an account after its statements, what concerns all after the accounts that took it up, and
        # the clock last, so that whatever is missing is done again at the same time.
        accounts, self._records = self._records, {}
        # A tenant's samples before what they taught, so that nothing is learnt twice.
        for name in sorted(self._sampled):
            samples = self.tenants[name].samples
            samples.stamp = max(samples.stamp, self.stamp)
            accounts[state.samples_key(name)] = state.encode(samples)
        self._sampled.clear()
        if self._taught_touched:
            self.taught.stamp = max(self.taught.stamp, self.stamp)
            accounts[state.TAUGHT] = state.encode(self.taught)
            self._taught_touched = False
        days: dict[bytes, bytes] = {}
        for name in sorted(self._touched):
            tenant = self.tenants[name]
            # What was written before a crash may be ahead of what has been read again.
            tenant.account.stamp = max(tenant.account.stamp, self.stamp)
            accounts[state.account_key(name)] = state.encode(tenant.account)
            for number in tenant.dirty:
                days[state.day_key(name, number)] = tenant.days[number].encode()
            tenant.dirty.clear()
        accounts |= self.desk.records(self.stamp)
        if self._shared_touched:
            self.shared.stamp = max(self.shared.stamp, self.stamp)
            accounts[state.SHARED] = state.encode(self.shared)
        self._forget_evidence()
        accounts |= {state.evidence_key(n): state.encode(self.evidence[n]) for n in self._evidence_touched}
        self.partition.clock_ms, self.partition.complete_ms = self.clock_ms, self.complete_ms
        self.partition.upto = self.stamp
        accounts[state.PARTITION] = state.encode(self.partition)
        self._shared_touched = False
        self._evidence_touched.clear()
        days |= self._users_kept()
        self._touched.clear()
        outbox, self._outbox = self._outbox, []
        removed, self._removed = self._removed + self.desk.removed, []
        self.desk.removed = []
        offset = min(self.resolver.oldest(self.following), self.following)
        self.table.update(accounts)
        self.table.update(days)
        for key in removed:
            self.table.pop(key, None)
        return Checkpoint(accounts, days, outbox, removed, offset, max(self.stamp, self.horizon))

    def _users_kept(self) -> dict[bytes, bytes]:
        """The records of users that have changed; days without open minutes need not stay in memory."""
        upto = self.complete_ms // MINUTE_MS - OPEN_MINUTES
        made = {}
        for name, number in sorted(self._users_touched):
            day = self.users[name, number]
            day.close(upto - number * DAY)
            made[state.users_key(name, number)] = users.encode(day)
        self._users_touched.clear()
        for key in [key for key, day in self.users.items() if not day.open]:
            del self.users[key]
        return made

    def committed(self, horizon: int) -> None:
        """What a checkpoint with this horizon held is durable, and has been sent."""
        self.horizon = horizon

    def _forget_evidence(self) -> None:
        oldest = self.clock_ms // MINUTE_MS // DAY - KEPT_DAYS
        for number in [n for n in self.evidence if n < oldest]:
            del self.evidence[number]
            self._evidence_touched.discard(number)
            self._removed.append(state.evidence_key(number))

    def rows(self) -> Iterable[tuple[str, str, int, Row]]:
        """Every count that is kept: (tenant, portal, UTC epoch minute, five counts). For recounts and statements."""
        for tenant in self.tenants.values():
            for number in sorted(tenant.numbers):
                day = tenant.day(number, self.table)
                for portal, minute, row in day.rows() if day else ():
                    yield tenant.name, portal, minute, row


def _hash(tenant: Tenant) -> int:
    """Spreads tenants over the ticks of a minute, alike in every worker."""
    return crc32(tenant.name.encode())


def _pending(record: state.Account | Shared) -> int | None:
    """When the newest decision that has not been taken up was recorded, epoch milliseconds; None when all have been."""
    waiting = (
        item.recorded for items in record.decisions.values() for item in items if item.recorded > record.taken_ms
    )
    return max(waiting, default=None)


def _good_bad(total: Row, missing: int) -> tuple[int, int]:
    """Good, and bad with the unclassified, which count as bad until somebody decides, and with what was ruled to be missing."""
    return total[SUCCESS] + total[CLIENT], total[SERVER] + total[UNCLASSIFIED] + missing


def _silent(silence: Silence | None) -> dict[str, Any] | None:
    if silence is None:
        return None
    return {"from": _instant(silence.start * MINUTE_MS), "expected": silence.expected}


def _four(row: Row, excluded: Row) -> dict[str, int]:
    success, client, server, external, unclassified = row
    left_out = external if excluded is NOTHING else external + sum(excluded)
    return {"good": success + client, "bad": server, "excluded": left_out, "unclassified": unclassified}


def _counted(day: Day, tenant: Tenant) -> tuple[Ints, Ints]:
    """A day's requests that count, and those of them that are bad, by minute, after exclusions and rulings: what a forecast may learn from."""
    base = day.first_minute
    held, left_out = tenant.held, tenant.left_out
    if not held.codes and not left_out.touches(base, base + DAY):
        return day.by_minute(_DEMAND), day.by_minute(_BAD)
    whole = Period(base, base + DAY, str(day.number))
    counts = np.zeros((DAY, WIDTH), dtype=np.int64)
    for name, portal in day.portals.items():
        minutes, rows = portal.table()
        mine = np.zeros((DAY, WIDTH), dtype=np.int64)
        mine[minutes] = rows
        for code, by_minute in day.codes.get(name, {}).items() if held.codes else ():
            for minute, n in by_minute.items():
                fault = held.fault(code, base + minute)
                if fault is not None:
                    mine[minute, UNCLASSIFIED] -= n
                    mine[minute, FAULTS[fault]] += n
        for start, end in left_out.between(name, whole):
            mine[start - base : end - base] = 0
        counts += mine
    return counts[:, _DEMAND].sum(axis=1), counts[:, _BAD].sum(axis=1)


_DEMAND, _BAD = np.array((SUCCESS, CLIENT, SERVER, UNCLASSIFIED)), np.array((SERVER, UNCLASSIFIED))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=64)  # all statuses of a moment have the same
def _instant(ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
