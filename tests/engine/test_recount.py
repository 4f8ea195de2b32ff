"""A recount from the journal says what the engine said, from wherever it starts, and nothing else when a record is another."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from monitor.contract.statement import Statement, as_of, canonical, recounted
from monitor.contract.support import headquarters
from monitor.counting import frame as frames
from monitor.counting.frame import Decision, Frame, Tally
from monitor.engine import state
from monitor.engine.engine import Engine
from monitor.engine.recount import Recount, reach
from monitor.engine.state import Evidence, Shared
from monitor.settings import Settings
from tests.tallied import packed, tallies

PLACE = ("journal", 0)
MINUTE_MS = 60_000


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 60


class Log:
    """A journal partition with two sources, requests and decisions, whose chunks are all committed."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.upto = {"requests": 0, "contracts": 0}

    def at(self, moment: int, counts: dict[str, list[int]] | None = None, *, lost: int = 0, **contract: Any) -> None:
        """At a UTC epoch minute: counts by tenant of the minute before, or a contract; `lost` requests nobody counted."""
        self.upto["requests"] += lost
        tallies = {tenant: {"login": Tally({moment - 1: row})} for tenant, row in (counts or {}).items()}
        decisions = [Decision("contracts", 0, contract["tenant"], json.dumps(contract).encode())] if contract else []
        self._say("requests", moment, sum(map(sum, (counts or {}).values())), tallies, [])
        self._say("contracts", moment, len(decisions), {}, decisions)
        for name in self.upto:
            self._say(name, moment, 0, {}, [])

    def _say(
        self, name: str, moment: int, read: int, tallies: dict[str, dict[str, Tally]], decisions: list[Decision]
    ) -> None:
        start = self.upto[name]
        self.upto[name] += read
        made = Frame(
            topic=name, partition=0, partitions=1, start=start, upto=start + read, at_ms=moment * MINUTE_MS,
            complete_ms=moment * MINUTE_MS, packed=packed(tallies), decisions=decisions,
        )  # fmt: skip
        self.records.append(frames.encode(made))


GOOD, BAD = [50, 0, 0, 0, 0], [0, 0, 5, 0, 0]


@pytest.fixture(scope="module")
def log() -> Log:
    """Two months of two tenants, one with a contract in Auckland; failures, a gap, and silence of five days in February."""
    made = Log()
    made.at(minute("2026-01-05T00:00"), tenant="acme", zone="Pacific/Auckland")
    for moment in range(minute("2026-01-05T01:00"), minute("2026-03-06T00:00"), 60):
        quiet = minute("2026-02-18T00:00") <= moment < minute("2026-02-23T00:00")
        acme = BAD if moment % 1440 == 600 else GOOD
        counts = {"bee": GOOD} if quiet else {"acme": acme, "bee": GOOD}
        made.at(moment, counts, lost=7 if moment == minute("2026-02-10T05:00") else 0)
    return made


@pytest.fixture(scope="module")
def said(log: Log) -> tuple[Engine, list[Statement]]:
    engine = Engine({}, place=PLACE)
    for offset, data in enumerate(log.records):
        engine.take([(offset, data)])
    made = engine.checkpoint()
    return engine, [
        Statement.of(one.data) for one in made.announcements if one.kind == "statement" and one.tenant == "acme"
    ]


def recount(
    log: Log, engine: Engine, said: list[Statement], start: int, changed: dict[int, bytes] | None = None
) -> Any:
    """The first difference of each statement whose journal begins at or after `start`, all in one pass."""
    account = state.decode_account(engine.table[state.account_key("acme")])
    made = Recount("acme", account, Shared(), PLACE, start)
    found = []
    for place, statement in enumerate(said):
        [stretch] = statement.document["evidence"]["journal"]
        if stretch["from"] < start:
            continue
        for offset in range(made.following, stretch["upto"]):
            made.take(offset, (changed or {}).get(offset, log.records[offset]))
        back = reach(statement, engine.evidence, engine.clock_ms)
        silences = back is not None and back >= start
        found.append(recounted(statement, made.facts(statement, said[:place], silences=silences), place))
    return found


def test_every_statement_recounts_to_the_same_with_its_gap_and_its_silence(
    log: Log, said: tuple[Engine, list[Statement]]
) -> None:
    engine, statements = said
    february = statements[-1].document
    assert [item.id for item in statements][-2:] == ["acme/2026-02/provisional", "acme/2026-02/final"]
    assert february["coverage"]["gaps"]
    assert [item["basis"] for item in february["silence"]] == ["tenant"]
    assert recount(log, engine, statements, 0) == [None] * len(statements)


def test_each_version_of_a_month_that_is_looked_at_long_after_its_end_can_be_asked_for_by_its_instant() -> None:
    log = Log()
    log.at(minute("2026-01-05T00:00"), tenant="acme", zone="UTC")
    log.at(minute("2026-01-05T01:00"), {"acme": BAD})
    for later in ("2026-03-20T00:00", "2026-03-20T00:01"):
        log.at(minute(later))
    engine = Engine({}, place=PLACE)
    for offset, data in enumerate(log.records):
        engine.take([(offset, data)])
    made = [Statement.of(one.data) for one in engine.checkpoint().announcements if one.kind == "statement"]
    assert [one.document["kind"] for one in made if one.month == "2026-01"] == ["provisional", "final"]
    assert len({(one.month, one.as_of) for one in made}) == len(made)
    for one in made:
        assert as_of(made, one.month, one.as_of) == one


def test_a_month_is_final_after_three_of_the_headquarters_business_days_and_recounts_so_whatever_the_calendar_is_now(
    log: Log,
) -> None:
    # January ends on a Saturday in Auckland. There Monday to Wednesday pass; with a Monday closed, Tuesday to Thursday.
    for closed, named, final in (
        ((), [], "2026-02-04T11:00:00Z"),
        ((date(2026, 2, 2),), ["2026-02-02"], "2026-02-05T11:00:00Z"),
    ):
        company = headquarters(Settings(company_holidays=closed))
        engine = Engine({}, place=PLACE, support=company)
        for offset, data in enumerate(log.records):
            engine.take([(offset, data)])
        made = [Statement.of(one.data) for one in engine.checkpoint().announcements if one.kind == "statement"]
        mine = [one for one in made if one.document["tenant"] == "acme"]
        january = next(one for one in mine if one.id == "acme/2026-01/final")
        assert (january.document["holidays"], january.document["as_of"]) == (named, final)
        assert recount(log, engine, mine, 0) == [None] * len(mine)


def test_a_month_is_final_when_its_provisional_statement_said_though_the_calendar_was_changed_in_between(
    log: Log,
) -> None:
    ends, final = minute("2026-01-31T11:00"), "2026-02-04T11:00:00Z"
    changed = next(n for n, data in enumerate(log.records) if frames.decode(data).at_ms > (ends + 60) * MINUTE_MS)
    engine = Engine({}, place=PLACE)
    said = []
    for offset, data in enumerate(log.records):
        if offset == changed:
            made = engine.checkpoint()
            said += made.announcements
            days = tuple(date(2026, 2, day) for day in range(2, 6))
            engine = Engine(
                engine.table, offset=made.offset, horizon=made.horizon, place=PLACE,
                support=headquarters(Settings(company_holidays=days)),
            )  # fmt: skip
            for again in range(made.offset, offset):
                engine.take([(again, log.records[again])])
        engine.take([(offset, data)])
    said += engine.checkpoint().announcements
    january = [json.loads(one.data) for one in said if one.id.startswith("acme/2026-01/") and one.kind == "statement"]
    assert [(one["kind"], one["final_from"], one["holidays"]) for one in january] == [
        ("provisional", final, []), ("final", final, []),
    ]  # fmt: skip
    assert january[1]["as_of"] == final


def test_a_recount_may_start_shortly_before_the_month(log: Log, said: tuple[Engine, list[Statement]]) -> None:
    engine, statements = said
    begin = statements[-1].document["evidence"]["journal"][0]["from"]
    assert recount(log, engine, statements, begin - 8) == [None, None]


def test_another_count_in_one_record_is_named(log: Log, said: tuple[Engine, list[Statement]]) -> None:
    engine, statements = said
    for offset in range(len(log.records) - 1, 0, -1):
        frame = frames.decode(log.records[offset])
        if minute("2026-02-15T00:00") > frame.at_ms // MINUTE_MS and "acme" in tallies(frame):
            break
    counts = tallies(frame)
    [(at, row)] = counts["acme"]["login"].minutes.items()
    counts["acme"]["login"].minutes[at] = [row[0] + 1, *row[1:]]
    frame.packed = packed(counts)
    *same, provisional, final = recount(log, engine, statements, 0, {offset: frames.encode(frame)})
    assert same == [None] * (len(statements) - 2)
    for found in (provisional, final):
        assert found.path == "$.counts.counted.success"
        assert found.expected == found.found + 1


def test_silences_are_found_again_only_where_the_weeks_before_are_known(said: tuple[Engine, list[Statement]]) -> None:
    engine, statements = said
    later = engine.clock_ms + 120 * 86_400_000
    assert reach(statements[-1], {}, later) is None
    first = minute("2026-01-10T00:00") // 1440
    assert reach(statements[-1], {first: Evidence({}, (40, 50))}, engine.clock_ms) == 40


def test_requests_from_beyond_the_stated_evidence_are_named(log: Log, said: tuple[Engine, list[Statement]]) -> None:
    engine, statements = said
    document = json.loads(statements[-1].data)
    document["evidence"]["sources"][0]["upto"] -= 60 * 24 * 10
    narrowed = [*statements[:-1], Statement.of(canonical(document))]
    *same, found = recount(log, engine, narrowed, 0)
    assert same == [None] * (len(statements) - 1)
    assert found.path.startswith("$.evidence")


def test_the_counts_of_one_tenant_are_read_alone_and_a_record_that_is_no_frame_is_refused(log: Log) -> None:
    whole = [frames.decode(data) for data in log.records[:200]]
    alone = [frames.decode_of(data, "bee") for data in log.records[:200]]
    for frame, mine in zip(whole, alone, strict=True):
        assert tallies(mine) == {name: found for name, found in tallies(frame).items() if name == "bee"}
        assert (mine.start, mine.upto, mine.at_ms, mine.decisions) == (frame.start, frame.upto, frame.at_ms, [])
    assert any(tallies(frame) for frame in alone)
    for data in (b"x", frames.encode(replace_version(whole[0]))):
        with pytest.raises(ValueError, match="expected a frame of version 2"):
            frames.decode_of(data, "bee")


def replace_version(frame: Frame) -> Frame:
    frame.version = 9
    return frame
