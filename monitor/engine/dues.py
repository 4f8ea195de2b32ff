"""What falls due for one tenant when time passes or people decide: statements, credits, notices of affected dates, and what is said of them.

It works on a tenant and on `Facts`; when to look and how much at a time is the engine's. Everything that was said stands in the account,
so that looking again says nothing twice. Rules beside the contract's own:

- A month is looked at once everything up to its end is counted. Settled months are looked at again when `account.reopened` says so: a
  decision at once, requests that came late an hour after the first of them, so that a trickle makes one amendment and not hundreds.
- Where there was neither a contract nor a request there is no statement.
- Months whose minutes are no longer all kept are left as they are.
- *final* and *amended* are announced beside the statement when the month was missed, or somebody was told that it might be.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Container, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import date

import msgspec

from monitor.contract import terms as promised
from monitor.contract.agreement import Agreements, Month
from monitor.contract.credits import Account as Credits
from monitor.contract.credits import Credit, fold, notices
from monitor.contract.exclusions import exclusions, in_scope
from monitor.contract.period import DAY, MINUTE_MS, Period, day_start, local_date
from monitor.contract.readings import Affected, Sheet, Tally
from monitor.contract.rulings import rulings
from monitor.contract.statement import Facts, Stated, Statement, Tail, final_at, issue
from monitor.engine import decided, state
from monitor.engine.state import NEVER, Announcement, Issued, Tenant
from monitor.engine.verdict import NONE

LATE_MS = 3_600_000
"""How long requests that came late for a settled month are gathered before it is looked at again."""
SETTLED = ("final", "amendment")
KEPT_NOTICES = 400
FactsOf = Callable[[Tenant, str, int], Facts]
"""Gives the facts of a tenant's month, named like "2026-11", as of an instant (epoch milliseconds)."""


@dataclass(frozen=True, slots=True)
class Settled:
    """An issued statement as credits see it."""

    month: str
    as_of: int
    sha256: str
    days: int
    affected: tuple[Affected, ...]
    settled: bool

    @classmethod
    def of(cls, said: Issued) -> Settled:
        """From the account's short form."""
        affected = tuple(
            Affected(date.fromisoformat(day), bad, date.fromisoformat(by), closes)
            for day, bad, by, closes in said.affected
        )
        return cls(said.month, said.as_of, said.sha256, said.days, affected, said.kind in SETTLED)


def credits_of(tenant: Tenant, now_ms: int) -> Credits:
    """The tenant's credits at an instant, from what was issued and decided."""
    return fold(
        tenant.agreements,
        [Settled.of(said) for said in tenant.account.issued],
        decided.claims(tenant.account.decisions.get(decided.CLAIMS, ())),
        now_ms,
    )


def newest(tenant: Tenant, month: str, table: Mapping[bytes, bytes]) -> tuple[int, Statement] | None:
    """The newest version of a month's statement and its place on the tenant's chain; None when there is none."""
    for place in range(len(tenant.account.issued) - 1, -1, -1):
        if tenant.account.issued[place].month == month:
            return place, Statement.of(zlib.decompress(table[state.statement_key(tenant.name, place)]))
    return None


class Look:
    """One look at a tenant at `now_ms`, when everything up to `complete_ms` is counted.

    `said`: what is to be announced, in order; `records`: table records to be made durable with the account, `removed` those that hold
    nothing any more; `sheets`: how many months were recounted, which is what a look costs.
    """

    def __init__(
        self,
        tenant: Tenant,
        now_ms: int,
        complete_ms: int,
        stamp: int,
        oldest_day: int,
        facts: FactsOf,
        listened: Callable[[Facts], Facts],
        table: MutableMapping[bytes, bytes],
        holidays: Container[date],
    ) -> None:
        self.tenant = tenant
        self.now_ms = now_ms
        self.complete_ms = complete_ms
        self.stamp = stamp
        self.oldest_minute = oldest_day * 1440
        self.said: list[Announcement] = []
        self.records: dict[bytes, bytes] = {}
        self.removed: list[bytes] = []
        self.sheets = 0
        self._again = False
        """Whether a month is to be looked at again as soon as time has gone on."""
        self._facts = facts
        self._listened = listened
        self._table = table
        self._holidays = holidays
        self._last: dict[str, Issued] = {}
        for item in tenant.account.issued:
            self._last[item.month] = item

    def take(self) -> int:
        """Look; returns the instant (ms) at which to look again, decisions and late requests aside."""
        tenant = self.tenant
        known = tenant.agreements.known(self.now_ms)
        for month in list(self._months(known)):
            self._settle(known, month)
        self._postpone(known)
        self._notify(known)
        self._credit()
        settled = {item.month for item in tenant.account.issued if item.kind in SETTLED}
        tenant.settled_until = max((self._month(known, name).covered.end for name in settled), default=0)
        return self._following(known)

    # -- statements

    def _month(self, known: Agreements, name: str) -> Month:
        """The month, the days applied to its term on top."""
        month = known.month(name)
        account = self.tenant.credits
        return known.month(name, account.extension(month.agreement)) if account else month

    def _months(self, known: Agreements) -> Iterator[str]:
        """The months that may have a statement due."""
        account = self.tenant.account
        first = self.tenant.first_minute
        if first is None:
            return
        month = self._month(known, known.month_at(max(first, self.oldest_minute)).period.name)
        while month.covered.end * MINUTE_MS <= self.complete_ms:
            name = month.period.name
            if month.period.start >= self.oldest_minute or name not in self._last:
                last = self._last.get(name)
                if last is None:
                    due = self._concerns(month, known)
                else:
                    due = last.kind == "provisional" or account.reopened.get(name, NEVER) <= self.now_ms
                if due:
                    yield name
            if month.period.end * MINUTE_MS > self.now_ms:
                return
            month = self._month(known, known.month_at(month.period.end).period.name)

    def _postpone(self, known: Agreements) -> None:
        """What was to be looked at again and was not: a month whose term goes on now waits for its end, one that is not kept is left."""
        reopened = self.tenant.account.reopened
        for name in [name for name, at in reopened.items() if at <= self.now_ms]:
            end = self._month(known, name).covered.end * MINUTE_MS
            if end > self.complete_ms:
                reopened[name] = end
            else:
                del reopened[name]

    def _concerns(self, month: Month, known: Agreements) -> bool:
        """Whether a month without a statement is to have one."""
        if month.standing in ("ended", "not_started"):
            return False
        since = min((item.recorded for item in known.all), default=NEVER)
        expected = month.agreement.contracted and since < month.period.end * MINUTE_MS
        return expected or self._requested(month.period)

    def _requested(self, period: Period) -> bool:
        """Whether there was any request in the period."""
        for number in self.tenant.numbers:
            first, upto = period.start - number * DAY, period.end - number * DAY
            if first <= 0 and upto >= DAY:
                return True
            if first < DAY and upto > 0:
                day = self.tenant.day(number, self._table)
                if day is not None and day.between(max(0, first), upto):
                    return True
        return False

    def _settle(self, known: Agreements, name: str) -> None:
        account = self.tenant.account
        account.reopened.pop(name, None)
        last = self._last.get(name)
        if last is not None and last.kind == "provisional" and self.now_ms < self._final_ms(known, name):
            return
        facts = self._listened(self._facts(self.tenant, name, self.now_ms))
        self.sheets += 1
        before = newest(self.tenant, name, self._table)
        tail = Tail(len(account.issued), account.issued[-1].sha256 if account.issued else None)
        made = issue(facts, tail, before[1] if before else None)
        if made is None:
            return
        if before:
            self.removed.append(state.statement_key(self.tenant.name, before[0]))
        self._issued(made)
        # Of two versions of the same instant nobody could ask for the first.
        self._again |= not made.settled and self.now_ms >= self._final_ms(known, name)

    def _issued(self, made: Statement) -> None:
        tenant, account = self.tenant, self.tenant.account
        affected = [(day.day.isoformat(), day.bad, day.claim_by.isoformat(), day.closes) for day in made.affected]
        kind = str(made.document["kind"])
        short = Issued(made.month, kind, made.as_of, made.sha256, made.days, affected)
        account.issued = [*account.issued, short]
        self._last[made.month] = short
        key = state.statement_key(tenant.name, len(account.issued) - 1)
        self._table[key] = self.records[key] = zlib.compress(made.data, 1)
        self._say(made.id, "statement", made.data)
        self._give_notice(made.month, str(made.document["zone"]), made.affected)
        verdicts = account.verdicts.get(made.month, {})
        if made.settled and (
            made.days or any(verdict.state != NONE for verdict in verdicts.values()) or kind == "amendment"
        ):
            self._conclude(made)

    def _conclude(self, made: Statement) -> None:
        """Say on `breaches` what became of the month."""
        document = made.document
        kind = "final" if document["kind"] == "final" else "amended"
        reading = document["readings"]["requests"]
        tiers = promised.terms_of(document["terms"]).thresholds
        good, bad = reading["good"], reading["bad"]
        missed = [threshold for threshold in tiers if promised.below(bad, good + bad, threshold)]
        threshold = promised.percent(missed[-1] if missed else tiers[0])
        shown = promised.shown(good, bad)
        outcome = f"{threshold} % is missed, {made.days} days are owed" if missed else f"{threshold} % is kept"
        self._say(
            f"{made.id}/{kind}",
            kind,
            msgspec.json.encode(
                {
                    "type": kind,
                    "tenant": self.tenant.name,
                    "period": made.month,
                    "as_of": document["as_of"],
                    "threshold": threshold,
                    "good": good,
                    "bad": bad,
                    "availability": promised.ratio(good, bad),
                    "band": document["band"],
                    "days": made.days,
                    "statement": made.id,
                    "sha256": made.sha256,
                    "reason": f"{shown} over the month: {outcome}",
                }
            ),
        )

    def _final_ms(self, known: Agreements, name: str) -> int:
        month = self._month(known, name)
        agreement = month.agreement
        before = newest(self.tenant, name, self._table)
        holidays = Stated(before[1], self._holidays) if before else self._holidays
        return final_at(month.covered, agreement.zone, agreement.terms.final_business_days, holidays) * MINUTE_MS

    # -- notices

    def _notify(self, known: Agreements) -> None:
        """Once a local day, while the month runs: tell of affected dates that are over."""
        tenant = self.tenant
        month = self._month(known, known.month_at(self.now_ms // MINUTE_MS).period.name)
        if not month.agreement.contracted or month.standing != "in_term" or not tenant.failed:
            return
        today = local_date(self.now_ms // MINUTE_MS, month.agreement.zone).isoformat()
        if tenant.account.noticed == today:
            return
        tenant.account.noticed = today
        facts = self._facts(tenant, month.period.name, self.now_ms)
        self.sheets += 1
        self._give_notice(month.period.name, month.agreement.zone, affected_dates(facts))

    def _give_notice(self, month: str, zone: str, affected: Sequence[Affected]) -> None:
        account = self.tenant.account
        if not self.tenant.agreements.known(self.now_ms).month(month).agreement.contracted:
            return
        for notice in notices(self.tenant.name, month, zone, affected, account.told, self.now_ms):
            self._say(notice.id, "notice_due", msgspec.json.encode(notice.record()))
            account.told = [*account.told, notice.id][-KEPT_NOTICES:]

    # -- credits

    def _credit(self) -> None:
        tenant = self.tenant
        tenant.credits = credits_of(tenant, self.now_ms)
        for month, credit in tenant.credits.credits.items():
            told = tenant.account.credits.get(month)
            if credit.version == told or (told is None and _empty(credit)):
                continue
            tenant.account.credits[month] = credit.version
            self._say(credit.id, "credit", msgspec.json.encode(credit.record()))

    # -- what follows

    def _following(self, known: Agreements) -> int:
        minute = self.now_ms // MINUTE_MS
        month = self._month(known, known.month_at(minute).period.name)
        zone = month.agreement.zone
        times = [month.period.end * MINUTE_MS]
        if self._again:
            times.append(self.now_ms + 1)
        if month.covered.end * MINUTE_MS > self.now_ms:
            times.append(month.covered.end * MINUTE_MS)
        if month.agreement.contracted:
            tomorrow = local_date(minute + 1440, zone)
            times.append(day_start(tomorrow, zone) * MINUTE_MS)
        times += [
            at
            for item in self._last.values()
            if item.kind == "provisional" and (at := self._final_ms(known, item.month)) > self.now_ms
        ]
        if self.tenant.credits is not None:
            times += [
                credit.closes * MINUTE_MS
                for credit in self.tenant.credits.credits.values()
                if credit.state == "offered" and credit.closes is not None
            ]
        times += self.tenant.account.reopened.values()
        return min(times)

    def _say(self, identity: str, kind: str, data: bytes) -> None:
        self.said.append(Announcement(identity, kind, self.tenant.name, self.stamp, self.now_ms, data))


def _empty(credit: Credit) -> bool:
    """Whether there is nothing that anybody has to know."""
    return credit.state in ("open", "none") and not credit.claims and not credit.refused and not credit.applied


def affected_dates(facts: Facts) -> Sequence[Affected]:
    """The affected dates of a month so far."""
    return sheet_of(facts)[1].affected


def sheet_of(facts: Facts) -> tuple[Sheet, Tally]:
    """The month's sheet, and its tally with the exclusions that count."""
    tenant = facts.agreements.tenant
    month = facts.agreements.known(facts.as_of).month(facts.month, facts.extension)
    agreement = month.agreement
    held, _ = rulings(facts.rulings, tenant, facts.as_of)
    found, _ = exclusions(facts.exclusions, facts.as_of)
    sheet = Sheet(facts.minutes, month.covered, agreement.zone, agreement.terms, held, facts.users, month.period)
    return sheet, sheet.count([item.window for item in in_scope(found, tenant, month.covered) if item.counts])
