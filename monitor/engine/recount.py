"""A tenant's months counted again from the journal, for whoever doubts a statement: the fold alone, nothing is evaluated or announced.

Counts, gaps and evidence come from the journal; people's decisions from what the workers keep of them, with the instants at which the log had
them; the term's extension from the statements before. Rules:

- A statement is counted again from exactly the journal's records before its `upto`; one of a month without any request of the partition from
  those up to its instant.
- Frames before the evidence's `from` are needed too: enough of them that every source has spoken once (`ready`), so that gaps show.
- A statement's evidence stretches over all that was counted for the partition in its days. It is taken as it is stated, if what was counted for
  the tenant lies within it.
- Which weekdays were holidays is taken as it is stated: it was the headquarters' calendar of that day.
- The tenant's silences are found again when the weeks before the month have been read too (`reach`); those of the platform, which are all
  tenants', are taken as they are stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from monitor.contract.credits import fold
from monitor.contract.instant import instant
from monitor.contract.period import DAY, MINUTE_MS
from monitor.contract.readings import Silence
from monitor.contract.statement import Facts, Statement, Stretch
from monitor.engine import decided, state
from monitor.engine.engine import KEPT_DAYS, Engine
from monitor.engine.quiet import PLATFORM
from monitor.engine.state import Account, Evidence, Shared
from monitor.forecast.silence import LOOKBACK


def reach(statement: Statement, evidence: Mapping[int, Evidence], clock_ms: int) -> int | None:
    """The journal offset from which the statement's silences can be found again; None when that is not known any more.

    `evidence`: the partition's by UTC day, as of `clock_ms` (epoch).
    """
    first = instant(statement.document["start"]) // MINUTE_MS // DAY - LOOKBACK
    last = instant(statement.document["end"]) // MINUTE_MS // DAY
    if first < clock_ms // MINUTE_MS // DAY - KEPT_DAYS:
        return None
    return min((one.journal[0] for number, one in evidence.items() if first <= number <= last), default=0)


class Recount:
    """One tenant's counts, from the journal's records at `offset` and after; `place` is the journal's topic and partition."""

    def __init__(self, tenant: str, account: Account, shared: Shared, place: tuple[str, int], offset: int) -> None:
        records = {
            state.account_key(tenant): state.encode(Account(decisions=account.decisions)),
            state.SHARED: state.encode(Shared(decisions=shared.decisions)),
        }
        self._engine = Engine(records, offset=offset, place=place, only=tenant)
        self._tenant = self._engine.tenants[tenant]
        self._claims = decided.claims(account.decisions.get(decided.CLAIMS, ()))

    @property
    def ready(self) -> bool:
        """Whether every source has spoken."""
        return self._engine.resolver.complete()

    @property
    def following(self) -> int:
        """The journal offset to be taken next."""
        return self._engine.following

    @property
    def clock_ms(self) -> int:
        """The log's clock, epoch milliseconds; 0 until every source has spoken."""
        return self._engine.clock_ms

    def committed(self, topic: str, partition: int) -> int:
        """The offset before which everything of a source is committed; 0 for one that has not spoken."""
        found = self._engine.resolver.open.get((topic, partition))
        return found.start if found else 0

    def take(self, offset: int, data: bytes) -> None:
        """Take in the journal's record at `offset`; ValueError when it is none of ours."""
        self._engine.take([(offset, data)])

    def facts(self, statement: Statement, before: Sequence[Statement], *, silences: bool) -> Facts:
        """What the statement should have been made from. `before`: the tenant's earlier statements, in order; `silences`: whether the weeks
        before the month have been read, so that they can be found.
        """
        self._tenant.credits = fold(self._tenant.agreements, before, self._claims, statement.as_of)
        facts = self._engine.facts(self._tenant, statement.month, statement.as_of)
        stated = [
            Silence(
                instant(item["from"]) // MINUTE_MS, instant(item["to"]) // MINUTE_MS, item["expected"], item["basis"]
            )
            for item in statement.document["silence"]
        ]
        if silences:
            found = [item for item in self._engine.listened(facts).silences if item.basis != PLATFORM]
            stated = [*found, *(item for item in stated if item.basis == PLATFORM)]
        evidence = statement.document["evidence"]
        sources, journal = (_stretches(evidence[name]) for name in ("sources", "journal"))
        within = _within(facts.sources, sources) and _within(facts.journal, journal)
        if within and all(stretch.upto == self.following for stretch in journal):
            facts = replace(facts, sources=sources, journal=journal)
        holidays = frozenset(map(date.fromisoformat, statement.document.get("holidays", ())))
        return replace(facts, silences=stated, holidays=holidays)


def _stretches(stated: Sequence[Mapping[str, Any]]) -> list[Stretch]:
    return [Stretch(part["topic"], part["partition"], part["from"], part["upto"]) for part in stated]


def _within(found: Sequence[Stretch], stated: Sequence[Stretch]) -> bool:
    """Whether each stretch lies within a stated one."""
    return all(
        any(
            (one.topic, one.partition) == (all_.topic, all_.partition)
            and all_.start <= one.start
            and one.upto <= all_.upto
            for all_ in stated
        )
        for one in found
    )
