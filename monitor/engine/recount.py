"""A tenant's months counted again from the journal, for whoever doubts a statement: the fold alone, nothing is evaluated or announced.

Counts, gaps and evidence come from the journal; people's decisions from what the workers keep of them, with the instants at which the log had
them; the term's extension from the statements before. Rules:

- A statement is counted again from exactly the journal's records before its `upto`; one of a month without any request of the partition from
  those up to its instant.
- Frames before the evidence's `from` are needed too: enough of them that every source has spoken once (`ready`), so that gaps show.
"""

from __future__ import annotations

from collections.abc import Sequence

from monitor.contract.credits import fold
from monitor.contract.statement import Facts, Statement
from monitor.engine import decided, state
from monitor.engine.engine import Engine
from monitor.engine.state import Account, Shared


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
        self._engine.take(offset, data)

    def facts(self, statement: Statement, before: Sequence[Statement]) -> Facts:
        """What the statement should have been made from; `before`: the tenant's earlier statements, in order."""
        self._tenant.credits = fold(self._tenant.agreements, before, self._claims, statement.as_of)
        return self._engine.facts(self._tenant, statement.month, statement.as_of)
