"""One journal partition as one deterministic object: frames in, records to keep and things to say out. It has no clock and does no I/O.

Rules:
1. Time comes from the log alone: the clock is the least of the sources' newest (`Resolver.clock_ms`).
2. State lives in `table`, a MutableMapping from bytes to bytes whose entries are as durable as the last finished checkpoint.
3. A seal at or below the horizon H is skipped; above it, a record skips what its own stamp says it already holds.
4. A tenant is evaluated only at stamps above its account's, and only while the sources are caught up, so a verdict is a function of
   the log. What is announced stands in the account before it is sent: a restart sends the same bytes under the same id.
5. Order of durability, which whoever drives the engine must keep: accounts; then days, announcements; then the commit of (O, H).

Messages: `take` (a journal record). Effects: `statuses` (the present, to be overwritten), `checkpoint` (what must be made durable).
Errors: ValueError from a record that is no frame of ours or a table record that is none. Anything else is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

import msgspec

from monitor.contract import terms as promised
from monitor.contract.period import DAY, Period, month_at
from monitor.contract.terms import STANDARD, Terms
from monitor.counting import frame as frames
from monitor.counting import windows
from monitor.counting.day import WIDTH, Day, split_by_day
from monitor.counting.frame import Row
from monitor.counting.request import CLIENT, EXTERNAL, SERVER, SUCCESS, UNCLASSIFIED
from monitor.counting.resolver import Resolver, Sealed
from monitor.engine import state
from monitor.engine.state import Announcement, PartitionRecord, Tenant, Unmeasured
from monitor.engine.verdict import CLEARED, NONE, Evidence, Policy, Verdict, decide
from monitor.forecast import Fleet, Forecast, History, MonthSoFar, forecast

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
KEPT_DAYS = 120
"""Days of minutes kept in the table."""
KEPT_ANNOUNCEMENTS = 40
DECODED_DAYS = 4
"""Days back from today that stay decoded in memory, for the rolling windows."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What must be made durable, in this order: `accounts`; `days` and `announcements`; the commit of (`offset`, `horizon`).

    `removed` are keys of the table that hold nothing any more.
    """

    accounts: dict[bytes, bytes]
    days: dict[bytes, bytes]
    announcements: list[Announcement]
    removed: list[bytes]
    offset: int
    horizon: int


@dataclass(slots=True)
class Seen:
    """What the engine has met since it was made, for the monitor's own metrics."""

    gaps: int = 0
    skipped: int = 0
    announced: dict[str, int] = field(default_factory=dict)


class Engine:
    """The truth about the tenants of one journal partition. See the module for its rules."""

    def __init__(
        self,
        table: MutableMapping[bytes, bytes],
        *,
        offset: int = 0,
        horizon: int = -1,
        terms: Terms = STANDARD,
        policy: Policy | None = None,
    ) -> None:
        self.table = table
        self.terms = terms
        self.policy = policy or Policy()
        self.following = offset
        """The journal offset to be read next."""
        self.horizon = horizon
        self.stamp = horizon
        """The newest offset taken in or skipped."""
        self.resolver = Resolver()
        self.tenants: dict[str, Tenant] = {}
        self.partition = PartitionRecord()
        self.fleet = NO_FLEET
        self.seen = Seen()
        self._tick = -1
        self._fleet_minute = -1
        self._outbox: list[Announcement] = []
        self._removed: list[bytes] = []
        self._touched: set[str] = set()
        self._partition_touched = False
        self.clock_ms = 0
        self.complete_ms = 0
        self._load()

    # -- recovery

    def _load(self) -> None:
        for key in list(self.table):
            if key == state.PARTITION:
                self.partition = state.decode_partition(self.table[key])
                continue
            name, _, what = key.partition(b"\0")
            tenant = self._tenant(name.decode())
            if what == state.ACCOUNT:
                tenant.account = state.decode_account(self.table[key])
                self._outbox += [a for a in tenant.account.announcements if a.stamp > self.horizon]
            else:
                tenant.numbers.add(int(what))
                tenant.unfed.add(int(what))
        self._outbox.sort(key=lambda a: (a.stamp, a.id))

    def _tenant(self, name: str) -> Tenant:
        found = self.tenants.get(name)
        if found is None:
            found = self.tenants[name] = Tenant(name)
        return found

    # -- messages

    def take(self, offset: int, data: bytes) -> None:
        """Take in the journal's record at `offset`; offsets may have holes but not go back (AssertionError)."""
        if offset < self.following:
            raise AssertionError(f"journal offset {offset} after {self.following - 1}: offsets must not go back")
        frame = frames.decode(data)
        before = self.resolver.open.get((frame.topic, frame.partition))
        before_ms = (before.complete_ms or before.at_ms) if before else 0
        sealed = self.resolver.take(offset, frame)
        self.following = offset + 1
        if sealed is not None and offset > self.horizon:
            self._fold(sealed, before_ms, frame.at_ms)
        self.stamp = max(self.stamp, offset)
        self._advance()

    def _fold(self, sealed: Sealed, before_ms: int, now_ms: int) -> None:
        stamp = sealed.stamp
        if sealed.gap is not None:
            self.seen.gaps += 1
            if stamp > self.partition.stamp:
                gap = sealed.gap
                self.partition.stamp = stamp
                self.partition.unmeasured.append(
                    Unmeasured(gap.source[0], gap.source[1], gap.first, gap.upto, min(before_ms, now_ms), now_ms)
                )
                self._partition_touched = True
        if sealed.frame is None:
            return
        for decision in sealed.frame.decisions:
            self._decide(stamp, decision)
        for name, portals in sealed.frame.tallies.items():
            tenant = self._tenant(name)
            tenant.touch()
            self._touched.add(name)
            for portal, tally in portals.items():
                for number, part in split_by_day(tally).items():
                    self._count(tenant, stamp, number, portal, part)

    def _count(self, tenant: Tenant, stamp: int, number: int, portal: str, part: frames.Tally) -> None:
        day = tenant.day(number, self.table)
        if day is None:
            day = tenant.days[number] = Day(number)
            tenant.numbers.add(number)
        # A day that is ahead was written after H was committed; its other portals of this same seal are still to come.
        if stamp < day.stamp or (stamp == day.stamp and number not in tenant.dirty):
            self.seen.skipped += 1
            return
        day.stamp = stamp
        tenant.dirty.add(number)
        tenant.unfed.add(number)
        name, ledger = day.portal(portal)
        base = number * DAY
        period = tenant.period
        for minute, row in part.minutes.items():
            ledger.add(minute, row)
            if period is not None and period.start <= base + minute < period.end:
                mine = tenant.month.setdefault(name, [0] * WIDTH)
                for index, n in enumerate(row):
                    mine[index] += n
        for code, minutes in part.codes.items():
            day.add_codes(name, code, minutes)

    def _decide(self, stamp: int, decision: frames.Decision) -> None:
        if decision.tenant == "*":
            return
        tenant = self._tenant(decision.tenant)
        if stamp <= tenant.account.stamp:
            return
        tenant.account.decisions.setdefault(decision.kind, []).append((decision.offset, decision.value))
        self._touched.add(tenant.name)
        tenant.touch()

    # -- time

    def _advance(self) -> None:
        clock, complete = self.resolver.clock_ms(), self.resolver.complete_ms()
        if complete is not None:
            self.complete_ms = max(self.complete_ms, complete)
        if clock is None or clock <= self.clock_ms:
            return
        self.clock_ms = clock
        tick = clock // TICK_MS
        if tick <= self._tick or self.stamp <= self.horizon:
            return
        first, self._tick = self._tick < 0, tick
        if complete is not None and clock - complete <= CAUGHT_UP_MS:
            self._evaluate(tick, everyone=first)

    def _evaluate(self, tick: int, *, everyone: bool) -> None:
        minute = self.clock_ms // 60_000
        upto = minute + 1  # the present minute counts as far as it has come
        troubled = {name for name, tenant in self.tenants.items() if self._in_trouble(tenant)}
        if len(troubled) > MOST_AT_EACH_TICK:
            troubled.clear()
        due = [
            tenant
            for tenant in self.tenants.values()
            if everyone
            or tenant.forecast is None
            or tenant.name in troubled
            or tick - tenant.looked_at_tick >= TICKS_A_MINUTE
        ]
        for tenant in due:
            # The first time spreads the later ones, over a minute and over `FORECAST_EVERY` of them.
            new = tenant.forecast is None
            tenant.looked_at_tick = tick - (_hash(tenant) % TICKS_A_MINUTE if new else 0)
            self._enter_period(tenant, minute)
            tenant.windows = windows.rolling(lambda number, t=tenant: t.day(number, self.table), upto)  # type: ignore[misc]  # a default argument binds the loop's tenant
            self._forget(tenant, minute)
        forecast_due = [
            tenant
            for tenant in due
            if tenant.forecast is None
            or self._in_trouble(tenant)
            or minute - tenant.forecast_at_minute >= FORECAST_EVERY
        ]
        for tenant in forecast_due:
            new = tenant.forecast is None
            tenant.forecast_at_minute = minute - (_hash(tenant) // TICKS_A_MINUTE % FORECAST_EVERY if new else 0)
        self._project(forecast_due, upto)
        for tenant in forecast_due:
            self._judge(tenant)
        for tenant in due:
            tenant.touch()

    def _in_trouble(self, tenant: Tenant) -> bool:
        recent = tenant.windows.get("30m")
        if recent is not None and recent[SERVER] + recent[UNCLASSIFIED]:
            return True
        standing = tenant.account.verdicts.get(tenant.period.name, {}) if tenant.period else {}
        return any(verdict.state != NONE for verdict in standing.values())

    def _enter_period(self, tenant: Tenant, minute: int) -> None:
        if tenant.period is None or minute not in tenant.period:
            tenant.period = month_at(minute, tenant.zone)
            tenant.month = tenant.sums(tenant.period, self.table)

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
            self._removed.append(state.day_key(tenant.name, number))

    def _project(self, tenants: Sequence[Tenant], upto: int) -> None:
        for tenant in tenants:
            self._feed(tenant, upto)
        if upto >= self._fleet_minute + FLEET_EVERY or self._fleet_minute < 0:
            self._fleet_minute = upto
            self.fleet = Fleet.of([t.history for t in self.tenants.values() if t.history is not None])
        months = []
        for tenant in tenants:
            period = self._required(tenant)
            good, bad = _good_bad(tenant.month.values())
            months.append(MonthSoFar(tenant.name, period.start, period.end, min(upto, period.end), good, bad))
        made = forecast(
            months, [t.history for t in tenants if t.history is not None], self.fleet, self.terms.thresholds
        )
        for tenant, one in zip(tenants, made, strict=True):
            tenant.forecast = one

    def _feed(self, tenant: Tenant, upto: int) -> None:
        """Bring a tenant's history up to the minutes before `upto`."""
        if tenant.history is None:
            tenant.history = History()
            tenant.unfed |= tenant.numbers
        for number in sorted(tenant.unfed):
            day = tenant.day(number, self.table)
            if day is None or number * DAY >= upto:
                continue
            counts = day.by_minute()
            bad = counts[:, SERVER] + counts[:, UNCLASSIFIED]
            tenant.history.replace_day(number, counts[:, SUCCESS] + counts[:, CLIENT] + bad, bad)
        tenant.unfed.clear()
        tenant.history.close(upto)

    @staticmethod
    def _required(tenant: Tenant) -> Period:
        if tenant.period is None:
            raise AssertionError(f"{tenant.name}: evaluated before its period was known")
        return tenant.period

    # -- verdicts

    def _judge(self, tenant: Tenant) -> None:
        account = tenant.account
        if self.stamp <= account.stamp or tenant.forecast is None:
            return
        period = self._required(tenant)
        good, bad = _good_bad(tenant.month.values())
        for threshold in self.terms.thresholds:
            now = account.verdicts.get(period.name, {}).get(threshold, Verdict())
            seen = Evidence(good, bad, tenant.forecast.expected_requests, tenant.forecast.probability[threshold])
            change = decide(now, threshold, seen, self.policy)
            if change is None:
                continue
            kind, reason = change
            after = Verdict(NONE if kind == CLEARED else kind, now.times + 1)
            account.verdicts.setdefault(period.name, {})[threshold] = after
            self._announce(tenant, period, kind, threshold, after.times, reason)

    def _announce(self, tenant: Tenant, period: Period, kind: str, threshold: int, times: int, reason: str) -> None:
        percent = promised.label(threshold)
        data = self.status(tenant) | {"type": kind, "threshold": _percent(threshold), "reason": reason}
        identity = f"{tenant.name}/{period.name}/{percent}/{kind}/{times}"
        made = Announcement(identity, kind, tenant.name, self.stamp, self.clock_ms, msgspec.json.encode(data))
        tenant.account.announcements = [*tenant.account.announcements, made][-KEPT_ANNOUNCEMENTS:]
        self._outbox.append(made)
        self._touched.add(tenant.name)
        self.seen.announced[kind] = self.seen.announced.get(kind, 0) + 1

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
        period = self._required(tenant)
        rows = list(tenant.month.values())
        good, bad = _good_bad(rows)
        unclassified = sum(row[UNCLASSIFIED] for row in rows)
        made = tenant.forecast
        record: dict[str, Any] = {
            "tenant": tenant.name,
            "period": period.name,
            "as_of": _instant(self.clock_ms),
            "complete_to": _instant(self.complete_ms) if self.complete_ms else None,
            "stamp": self.stamp,
            "good": good,
            "bad": bad - unclassified,
            "excluded": sum(row[EXTERNAL] for row in rows),
            "unclassified": unclassified,
            "availability": promised.ratio(good, bad),
            "band": _percent(self.terms.band(bad, good + bad)),
            "budget_left": self._budget_left(good, bad, made),
            "expected_requests": round(made.expected_requests) if made else None,
            "projected": {"p05": made.p05, "p50": made.p50, "p95": made.p95} if made else None,
            "breach_probability": {promised.label(t): made.probability[t] for t in self.terms.thresholds}
            if made
            else None,
            "minutes_left": {promised.label(t): made.minutes_left[t] for t in self.terms.thresholds} if made else None,
            "coverage": self._coverage(period),
            "portals": {name: _four(row) for name, row in sorted(tenant.month.items())},
            "windows": {name: _four(row) for name, row in tenant.windows.items()},
            "verdicts": {
                promised.label(threshold): verdict.state
                for threshold, verdict in tenant.account.verdicts.get(period.name, {}).items()
            },
        }
        return record

    def _budget_left(self, good: int, bad: int, made: Forecast | None) -> float | None:
        expected = max(made.expected_requests if made else 0, good + bad)
        highest = self.terms.thresholds[0]
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
        accounts: dict[bytes, bytes] = {}
        days: dict[bytes, bytes] = {}
        for name in self._touched:
            tenant = self.tenants[name]
            tenant.account.stamp = self.stamp
            accounts[state.account_key(name)] = state.encode(tenant.account)
            for number in tenant.dirty:
                days[state.day_key(name, number)] = tenant.days[number].encode()
            tenant.dirty.clear()
        if self._partition_touched:
            accounts[state.PARTITION] = state.encode(self.partition)
        self._touched.clear()
        self._partition_touched = False
        outbox, self._outbox = self._outbox, []
        removed, self._removed = self._removed, []
        offset = min(self.resolver.oldest(self.following), self.following)
        self.table.update(accounts)
        self.table.update(days)
        for key in removed:
            self.table.pop(key, None)
        return Checkpoint(accounts, days, outbox, removed, offset, max(self.stamp, self.horizon))

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


def _good_bad(rows: Iterable[Row]) -> tuple[int, int]:
    """Good, and bad with the unclassified, which count as bad until somebody decides."""
    good = bad = 0
    for row in rows:
        good += row[SUCCESS] + row[CLIENT]
        bad += row[SERVER] + row[UNCLASSIFIED]
    return good, bad


def _four(row: Row) -> dict[str, int]:
    return {
        "good": row[SUCCESS] + row[CLIENT],
        "bad": row[SERVER],
        "excluded": row[EXTERNAL],
        "unclassified": row[UNCLASSIFIED],
    }


def _percent(threshold: int) -> int | float:
    """A threshold as the number people write: 9900 -> 99, 9995 -> 99.95."""
    return threshold // 100 if threshold % 100 == 0 else threshold / 100


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _instant(ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
