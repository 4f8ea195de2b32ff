"""`monitor verify`: whether a tenant's statements are what the journal, recounted, says; the first thing that differs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import orjson
import typer
from aiokafka import ConsumerRecord

from monitor.cli.deciding import AsJson, Tenant, usage
from monitor.cli.running import run
from monitor.contract.exclusions import ALL
from monitor.contract.period import month_named
from monitor.contract.readings import MinuteCounts
from monitor.contract.statement import Difference, Statement, difference, recounted
from monitor.contract.statement import verify as chained
from monitor.counting.request import Rejected
from monitor.engine import decided, state
from monitor.engine.recount import Recount, reach
from monitor.engine.state import Account, Kept, Shared
from monitor.settings import Settings, load
from monitor.sources.decisions import read_decision
from monitor.stream.reading import Reader, reader, records, statements, table

KINDS = (decided.CONTRACTS, decided.EXCLUSIONS, decided.RULINGS, decided.CLAIMS)
"""Of decisions that statements and credits rest on."""
BEFORE = 10_000
"""Journal records read before the first that is needed, so that every source has spoken; more when it has not."""


@dataclass(slots=True)
class Found:
    """What was checked: how many statements the chain has and decisions were compared, the ids of what was `recounted`, of that whose silences
    were not found again, of what the journal is too short for, and the first thing that differs, with a sentence.
    """

    statements: int = 0
    decisions: int = 0
    recounted: list[str] = field(default_factory=list)
    silence_as_stated: list[str] = field(default_factory=list)
    not_retained: list[str] = field(default_factory=list)
    differs: str = ""
    difference: dict[str, Any] | None = None

    def differ(self, what: str, at: Difference, where: str = "") -> None:
        """Note the first difference."""
        self.differs = f"{what}: {where or at.path}: expected {at.expected!r}, found {at.found!r}"
        self.difference = {"statement": what, "path": at.path, "expected": at.expected, "found": at.found}


def verify(
    tenant: Tenant,
    month: Annotated[str | None, typer.Argument(help="Recount only this month, such as 2026-11.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a tenant's chain of statements, and count each again from the journal. Exit code 1 with the first thing that differs."""
    if month is not None:
        try:
            month_named(month)
        except ValueError as error:
            raise usage(str(error)) from None
    found = run(_verify(load(), tenant, month))
    if as_json:
        names = ("statements", "decisions", "recounted", "silence_as_stated", "not_retained", "difference")
        typer.echo(json.dumps({"tenant": tenant, **{name: getattr(found, name) for name in names}}, default=str))
    else:
        typer.echo("\n".join(_lines(tenant, month, found)))
    if found.differs:
        typer.echo(f"differs: {found.differs}", err=True)
        raise typer.Exit(1)


def _lines(tenant: str, month: str | None, found: Found) -> Iterable[str]:
    whole = "" if found.differs else ": the chain is whole"
    yield f"{tenant}: {found.statements} statements{whole}"
    if found.decisions:
        yield f"{found.decisions} decisions are as their topics have them"
    for name in found.recounted:
        yield f"recounted, equal  {name}"
    for name in found.silence_as_stated:
        yield f"silence as stated {name}: the weeks before the month, which tell what was due, are not retained any more"
    for name in found.not_retained:
        yield f"not recounted     {name}: the journal that it was counted from is not retained any more"
    if not found.differs and not found.recounted and not found.not_retained:
        yield f"nothing to recount: no statement{f' for {month}' if month else ''} has been issued"


async def _verify(settings: Settings, tenant: str, month: str | None) -> Found:
    found = Found()
    stored = await statements(settings, tenant)
    if _twins(stored, found):
        return found
    chain = _in_order(stored)
    found.statements = len(chain)
    wrong = chained(chain, tenant)
    if wrong is not None:
        found.differ(_name(chain, wrong.place), wrong)
        return found
    made = [Statement.of(data) for data in chain]
    kept, _, _ = await table(settings, tenant)
    account, shared = _holders(tenant, kept)
    topics = await _topics(settings)
    if _foreign(settings, account, shared, topics, found):
        return found
    wanted = [place for place, item in enumerate(made) if month in (None, item.month)]
    recount = await _recount(settings, tenant, wanted, made, kept, found)
    if not found.differs:
        _unlike(made, account, found)
    if recount is not None and not found.differs:
        _overlooked(settings, tenant, recount, (account, shared), topics, found)
    return found


def _twins(stored: Sequence[ConsumerRecord], found: Found) -> bool:
    """Whether two records say to be the same statement, and differ."""
    first: dict[bytes, ConsumerRecord] = {}
    for record in stored:
        before = first.setdefault(record.key, record)
        if before is not record:
            one, other = (_parsed(item.value) for item in (before, record))
            path, expected, actual = difference(one, other) or ("$", "the same bytes", "others")
            name = f"{record.key.decode()} stands twice, at {before.offset} and {record.offset} of {record.topic}-{record.partition}"
            found.differ(name, Difference(0, path, expected, actual))
            return True
    return False


def _parsed(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value.decode(errors="replace")


def _in_order(stored: Sequence[ConsumerRecord]) -> list[bytes]:
    """Statements by their place on the chain; what is none stands where its record does."""

    def place(item: tuple[int, ConsumerRecord]) -> tuple[int, int]:
        position, record = item
        said = _parsed(record.value)
        sequence = said.get("sequence") if isinstance(said, dict) else None
        return sequence if isinstance(sequence, int) else position, position

    return [record.value for _, record in sorted(enumerate(stored), key=place)]


def _name(chain: Sequence[bytes], place: int) -> str:
    try:
        return Statement.of(chain[place]).id
    except (ValueError, KeyError):
        return f"statement {place}"


def _unlike(made: Sequence[Statement], account: Account, found: Found) -> None:
    """Look for a statement that the workers issued, and that is not there or is another."""
    for place, said in enumerate(account.issued):
        hash_ = made[place].sha256 if place < len(made) else None
        if hash_ != said.sha256:
            name = made[place].id if place < len(made) else f"{said.month} {said.kind}, statement {place} of the chain"
            found.differ(name, Difference(place, "sha256", said.sha256, hash_), "the hash that the workers know")
            return


Place = tuple[str, int, int]
"""Kind, partition and offset of a decision."""


async def _topics(settings: Settings) -> dict[Place, ConsumerRecord]:
    return {
        (kind, record.partition, record.offset): record for kind in KINDS for record in await records(settings, kind)
    }


def _kept(*holders: Account | Shared) -> dict[Place, Kept]:
    return {
        (kind, item.partition, item.offset): item
        for holder in holders
        for kind, items in holder.decisions.items()
        for item in items
    }


def _foreign(
    settings: Settings, account: Account, shared: Shared, topics: dict[Place, ConsumerRecord], found: Found
) -> bool:
    """Whether the workers hold a decision that its topic does not have."""
    for (kind, partition, offset), item in sorted(_kept(account, shared).items()):
        record = topics.get((kind, partition, offset))
        if record is None or record.value != item.value:
            actual = record and record.value.decode(errors="replace")
            name = f"{settings.topic(kind)}-{partition}+{offset}"
            found.differ(name, Difference(0, "$", item.value.decode(), actual), "the decision that the workers hold")
            return True
        found.decisions += 1
    return False


def _overlooked(
    settings: Settings,
    tenant: str,
    recount: Recount,
    holders: tuple[Account, Shared],
    topics: dict[Place, ConsumerRecord],
    found: Found,
) -> None:
    """Look for a decision about the tenant that was read and accepted, and that the workers do not hold."""
    kept = _kept(*holders)
    for (kind, partition, offset), record in sorted(topics.items()):
        if (kind, partition, offset) in kept or offset >= recount.committed(settings.topic(kind), partition):
            continue
        try:
            decision = read_decision(kind, offset, record.value or b"", record.timestamp)
        except Rejected:
            continue
        if decision.tenant in (tenant, ALL):
            name = f"{settings.topic(kind)}-{partition}+{offset}"
            said = decision.value.decode()
            found.differ(name, Difference(0, "$", said, None), "the decision among those that the workers hold")
            return


def _holders(tenant: str, kept: dict[bytes, bytes]) -> tuple[Account, Shared]:
    """What the workers keep of decisions, from the table's records."""
    key = state.account_key(tenant)
    account = state.decode_account(kept[key]) if key in kept else Account()
    return account, state.decode_shared(kept[state.SHARED]) if state.SHARED in kept else Shared()


async def _recount(
    settings: Settings,
    tenant: str,
    wanted: Sequence[int],
    made: Sequence[Statement],
    kept: dict[bytes, bytes],
    found: Found,
) -> Recount | None:
    """Count each of the wanted statements again, one pass over the journal's partition."""
    evidence = {
        int(key[len(state.EVIDENCE) :]): state.decode_evidence(value)
        for key, value in kept.items()
        if key.startswith(state.EVIDENCE)
    }
    clock_ms = state.decode_partition(kept[state.PARTITION]).clock_ms if state.PARTITION in kept else 0
    async with reader(settings, "journal", tenant) as journal:
        [partition] = journal.partitions
        first, end = await journal.kept()
        found.not_retained = [made[place].id for place in wanted if _stretch(made[place])[0] < first]
        needed = [place for place in wanted if _stretch(made[place])[0] >= first]
        if not needed:
            return None
        back = {place: reach(made[place], evidence, clock_ms) for place in needed}
        if first == 0:  # nothing has gone yet
            back = {place: offset or 0 for place, offset in back.items()}
        silent = {place for place, offset in back.items() if offset is not None and offset >= first}
        begin = min(_stretch(made[place])[0] for place in needed)
        begin = min([begin, *(offset for place, offset in back.items() if place in silent and offset is not None)])
        # A journal may have been restored under another name.
        names = [part["topic"] for place in needed for part in made[place].document["evidence"]["journal"]]
        where = (names[0] if names else settings.topic("journal"), partition)
        recount = await _started(journal, (tenant, *_holders(tenant, kept), where), first, begin)
        for place in needed:
            upto = _stretch(made[place])[1]
            await _feed(journal, recount, min(upto, end), made[place].as_of if upto == _OPEN else None)
            wrong = recounted(made[place], recount.facts(made[place], made[:place], silences=place in silent), place)
            if wrong is not None:
                found.differ(made[place].id, wrong)
                return recount
            found.recounted.append(made[place].id)
            if place not in silent:
                found.silence_as_stated.append(made[place].id)
    return recount


async def minutes_of(settings: Settings, tenant: str, said: Statement) -> MinuteCounts | None:
    """The minute counts that a statement was made from, out of the journal; None when that is not retained any more."""
    kept, _, _ = await table(settings, tenant)
    begin, upto = _stretch(said)
    async with reader(settings, "journal", tenant) as journal:
        first, end = await journal.kept()
        if begin < first or upto > end:
            return None
        place = (settings.topic("journal"), journal.partitions[0])
        recount = await _started(journal, (tenant, *_holders(tenant, kept), place), first, begin)
        await _feed(journal, recount, upto)
        return recount.facts(said, (), silences=False).minutes


_OPEN = 1 << 62


def _stretch(said: Statement) -> tuple[int, int]:
    """The journal's offsets [from, upto) that a statement was counted from; of one without any request, all up to its instant."""
    stretches = said.document["evidence"]["journal"]
    return (stretches[0]["from"], stretches[0]["upto"]) if stretches else (0, _OPEN)


async def _started(
    journal: Reader, what: tuple[str, Account, Shared, tuple[str, int]], first: int, begin: int
) -> Recount:
    """A recount that has read up to `begin`, from far enough before that every source has spoken, or all that is retained."""
    back = BEFORE
    while True:
        start = max(first, begin - back)
        recount = Recount(*what, start)
        await _feed(journal, recount, begin)
        if recount.ready or start == first:
            return recount
        back *= 4


async def _feed(journal: Reader, recount: Recount, upto: int, clock_ms: int | None = None) -> None:
    """Let the recount take the records before `upto`, or until its clock stands at `clock_ms`."""
    if clock_ms is not None and recount.clock_ms >= clock_ms:
        return
    async for record in journal.between(recount.following, upto):
        if record.value is not None:
            recount.take(record.offset, record.value)
        if clock_ms is not None and recount.clock_ms >= clock_ms:
            return
