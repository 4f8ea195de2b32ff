"""The support desk in the engine: what people say of requests goes in with the log, what falls due comes out, whatever happens to a worker."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from monitor.contract.instant import instant, rfc3339
from monitor.contract.support import STANDARD_SUPPORT, SUPPORT_BREACHES, breaches, event_of, fold
from monitor.counting import frame as frames
from monitor.counting.frame import Decision, Frame, Tally
from monitor.engine import support
from monitor.engine.engine import Engine
from monitor.engine.state import Announcement
from tests.tallied import packed

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MISSED = "acme/R1/0/first_response_overdue/2026-11-16T14:00:00Z"
SOON = "acme/R1/0/first_response_due_soon/2026-11-16T14:00:00Z"


class Log:
    """A journal partition fed by people's decisions and by requests, which are complete `lag` milliseconds before the clock."""

    def __init__(self, lag: int = 2_000) -> None:
        self.records: list[bytes] = []
        self.upto = {"support-requests": 0, "contracts": 0, "auth-requests": 0}
        self.lag = lag
        self.said = 0

    def decide(self, at: str, *records: dict[str, Any], topic: str = "support-requests") -> None:
        """What people say at an instant; it is in the journal as soon as it is sealed."""
        for record in records:
            decision = Decision(topic, self.said, record["tenant"], json.dumps(record).encode())
            self.said += 1
            self._frame(topic, instant(at), 1, decisions=[decision])
            self._frame(topic, instant(at), 0)

    def event(self, kind: str, time: str, *, sent: str = "", request: str = "R1", **more: Any) -> dict[str, Any]:
        """An event of a request of acme's, sent when it happened, or later."""
        record = {"tenant": "acme", "request": request, "type": kind, "time": time, **more}
        self.tick(sent or time)
        self.decide(sent or time, record)
        return record

    def tick(self, at: str) -> None:
        """All sources are read up to an instant."""
        for topic in self.upto:
            self._frame(topic, instant(at), 0)

    def ticks(self, first: str, last: str, every: int = MINUTE) -> None:
        for at in range(instant(first), instant(last) + 1, every):
            self.tick(rfc3339(at))

    def requests(self, at: str, row: list[int]) -> None:
        minute = instant(at) // MINUTE
        self._frame("auth-requests", instant(at), sum(row), packed=packed({"acme": {"login": Tally({minute: row})}}))
        self.tick(at)

    def _frame(self, topic: str, at: int, read: int, **what: Any) -> None:
        start = self.upto[topic]
        self.upto[topic] += read
        made = Frame(
            topic=topic, partition=0, partitions=1, start=start, upto=start + read, at_ms=at, complete_ms=at - self.lag, **what
        )  # fmt: skip
        self.records.append(frames.encode(made))

    def feed(self, engine: Engine, upto: int | None = None) -> Engine:
        for offset in range(engine.following, len(self.records) if upto is None else upto):
            engine.take([(offset, self.records[offset])])
        return engine


def sent(made: Iterable[Announcement]) -> list[tuple[str, bytes]]:
    return [(each.id, each.data) for each in made if each.kind in SUPPORT_BREACHES]


def ids(made: Iterable[Announcement]) -> list[str]:
    return [name for name, _ in sent(made)]


def statuses(engine: Engine) -> dict[str, dict[str, Any]]:
    return {record["request"]: record for record in engine.support_statuses(1000)}


@pytest.fixture
def monday() -> Log:
    """A P1 request of Monday 10:00, London, that is due at 14:00 and gets no answer until 15:00."""
    log = Log()
    log.event("opened", "2026-11-16T10:00Z", severity="P1")
    log.ticks("2026-11-16T10:00:10Z", "2026-11-16T14:59Z")
    log.event("responded", "2026-11-16T15:00Z")
    log.ticks("2026-11-16T15:01Z", "2026-11-16T15:30Z")
    return log


def test_a_request_that_nobody_answers_is_announced_before_and_after_its_due_time(monday: Log) -> None:
    made = monday.feed(Engine({})).checkpoint().announcements
    assert ids(made) == [SOON, MISSED]
    assert [json.loads(each.data)["time"] for each in made] == ["2026-11-16T13:00:00Z", "2026-11-16T14:00:00Z"]
    assert [each.at_ms for each in made] == [instant("2026-11-16T13:00:00Z"), instant("2026-11-16T14:00:00Z")]


def test_its_status_is_said_when_something_changes_and_each_hour_while_its_clocks_run() -> None:
    log = Log()
    engine = Engine({})
    log.event("opened", "2026-11-16T10:00Z", severity="P1")
    seen = []
    for minute in range(1, 7 * 60):
        log.tick(rfc3339(instant("2026-11-16T10:00Z") + minute * MINUTE))
        log.feed(engine)
        seen += [
            (record["as_of"][11:16], record["overdue"], record["due_soon"]) for record in statuses(engine).values()
        ]
    assert seen == [
        ("10:00", [], []),
        ("11:00", [], []),
        ("12:00", [], []),
        ("13:00", [], ["first_response"]),
        ("14:00", ["first_response"], []),
        ("15:00", ["first_response"], []),
        ("16:00", ["first_response"], []),
    ]


def test_an_answer_sent_in_time_is_no_miss_however_late_the_log_has_it() -> None:
    log = Log(lag=25_000)
    log.event("opened", "2026-11-16T10:00Z", severity="P1")
    log.ticks("2026-11-16T10:01Z", "2026-11-16T13:59Z")
    # A worker died: the clock has passed the due time, but the sources are not complete up to it.
    log.ticks("2026-11-16T13:59:30Z", "2026-11-16T14:00:20Z", 1000)
    log.decide(
        "2026-11-16T14:00:20Z", {"tenant": "acme", "request": "R1", "type": "responded", "time": "2026-11-16T13:59:58Z"}
    )
    log.ticks("2026-11-16T14:00:21Z", "2026-11-16T14:10Z", 1000)
    engine = log.feed(Engine({}))
    assert ids(engine.checkpoint().announcements) == [SOON]
    assert statuses(engine)["R1"]["first_response"] == "in_time"


def test_what_was_just_sent_is_said_once_the_sources_are_complete_up_to_it() -> None:
    log = Log()
    engine = Engine({})
    log.event("opened", "2026-11-16T10:00Z", severity="P1")
    assert statuses(log.feed(engine)) == {}
    log.tick("2026-11-16T10:00:02Z")
    assert statuses(log.feed(engine))["R1"]["state"] == "waiting"


def test_an_event_that_came_too_late_takes_the_miss_back_and_again_makes_a_new_one(monday: Log) -> None:
    monday.event("responded", "2026-11-16T13:30Z", sent="2026-11-16T16:00Z", id="a")
    monday.ticks("2026-11-16T16:01Z", "2026-11-16T16:05Z")
    # Of two events with one id the earlier holds, so that the answer of 13:30 is none.
    monday.event("documented", "2026-11-16T10:30Z", sent="2026-11-16T16:10Z", id="a")
    monday.ticks("2026-11-16T16:11Z", "2026-11-16T16:15Z")
    made = monday.feed(Engine({})).checkpoint().announcements
    assert ids(made) == [SOON, MISSED, f"{MISSED}/withdrawn", f"{MISSED}/2"]
    taken = json.loads(made[2].data)
    assert (taken["type"], taken["withdraws"]) == ("withdrawn", MISSED)
    assert instant("2026-11-16T16:00Z") <= instant(taken["time"]) <= instant("2026-11-16T16:00:01Z")


def test_an_event_that_comes_twice_changes_nothing(monday: Log) -> None:
    once = monday.feed(Engine({}))
    again = Log()
    for _ in range(3):
        again.event("opened", "2026-11-16T10:00Z", severity="P1")
    again.ticks("2026-11-16T10:00:10Z", "2026-11-16T14:59Z")
    for _ in range(3):
        again.event("responded", "2026-11-16T15:00Z")
    again.ticks("2026-11-16T15:01Z", "2026-11-16T15:30Z")
    twice = again.feed(Engine({}))
    assert sent(twice.checkpoint().announcements) == sent(once.checkpoint().announcements)
    first, second = statuses(once)["R1"], statuses(twice)["R1"]
    assert {**first, "stamp": 0} == {**second, "stamp": 0}


@pytest.mark.parametrize("durable", [False, True])
def test_a_restart_before_the_commit_announces_the_same_bytes_again(monday: Log, durable: bool) -> None:
    made = monday.feed(Engine({})).checkpoint()
    restarted = monday.feed(Engine(dict(made.accounts) if durable else {}))
    assert sent(restarted.checkpoint().announcements) == sent(made.announcements)
    assert statuses(restarted)["R1"]["first_response"] == "late"


def test_a_crash_at_any_record_announces_each_thing_once_and_ends_the_same(monday: Log) -> None:
    straight = monday.feed(Engine({}))
    whole = sent(straight.checkpoint().announcements)
    [expected] = statuses(straight).values()
    for until in range(1, len(monday.records), 97):
        table: dict[bytes, bytes] = {}
        engine = monday.feed(Engine(table), until)
        made = engine.checkpoint()
        restarted = monday.feed(Engine(table, offset=made.offset, horizon=made.horizon))
        assert sent([*made.announcements, *restarted.checkpoint().announcements]) == whole
        [found] = statuses(restarted).values()
        assert found == expected


def test_after_a_restart_open_requests_are_said_again_and_long_settled_ones_are_not() -> None:
    log = Log()
    log.event("opened", "2026-11-16T10:00Z", severity="P3", request="done")
    log.event("opened", "2026-11-16T10:01Z", severity="P3", request="open")
    log.event("resolved", "2026-11-16T11:00Z", request="done")
    log.ticks("2026-11-16T11:01Z", "2026-11-16T13:00Z")
    table: dict[bytes, bytes] = {}
    engine = log.feed(Engine(table))
    assert set(statuses(engine)) == {"done", "open"}
    made = engine.checkpoint()
    log.ticks("2026-11-16T13:00:10Z", "2026-11-16T13:01Z", 10_000)
    restarted = log.feed(Engine(table, offset=made.offset, horizon=made.horizon))
    assert set(statuses(restarted)) == {"open"}
    # The other is in the table only; what comes late finds it.
    log.event("reopened", "2026-11-16T13:30Z", request="done")
    log.tick("2026-11-16T13:31Z")
    assert statuses(log.feed(restarted))["done"]["state"] == "waiting"


def test_a_request_that_is_long_settled_is_let_go() -> None:
    log = Log()
    log.event("opened", "2026-11-16T10:00Z", severity="P3")
    log.event("resolved", "2026-11-16T11:00Z")
    log.ticks("2026-11-16T11:01Z", "2026-11-16T13:00Z")
    table: dict[bytes, bytes] = {}
    engine = log.feed(Engine(table))
    statuses(engine)
    engine.checkpoint()
    assert b"acme\0support-R1" in table
    log.ticks("2026-11-17T00:00Z", "2027-12-30T00:00Z", 27 * DAY)
    made = log.feed(engine).checkpoint()
    assert made.removed == [b"acme\0support-R1"]
    assert b"acme\0support-R1" not in table
    log.event("reopened", "2027-12-30T10:00Z")
    log.tick("2027-12-30T10:01Z")
    assert statuses(log.feed(engine))["R1"]["refused"][0]["reason"] == "the request is not open yet"


def test_the_tenants_package_governs_from_when_it_takes_effect() -> None:
    log = Log()
    log.event("opened", "2026-11-16T09:30Z", severity="P1", request="before")
    log.decide(
        "2026-11-16T10:00Z",
        {
            "tenant": "acme",
            "zone": "Europe/London",
            "effective_from": "2026-11-17",
            "support": {
                "version": "enhanced-1",
                "first_response_minutes": {"P1": 60},
                "hours": {"tue": ["00:00-24:00"]},
            },
        },
        topic="contracts",
    )
    log.event("opened", "2026-11-17T02:00Z", severity="P1", request="after")
    log.ticks("2026-11-17T02:01Z", "2026-11-17T03:05Z")
    engine = log.feed(Engine({}))
    said = statuses(engine)
    assert (said["after"]["terms"], said["after"]["first_response_due"]) == ("enhanced-1", "2026-11-17T03:00:00Z")
    assert said["after"]["overdue"] == ["first_response"]
    assert (said["before"]["terms"], said["before"]["first_response_due"]) == (
        "support-standard-1",
        "2026-11-16T13:30:00Z",
    )


def test_a_contract_that_comes_late_changes_the_due_times_of_open_requests() -> None:
    log = Log()
    log.event("opened", "2026-11-16T10:00Z", severity="P1")
    log.ticks("2026-11-16T10:01Z", "2026-11-16T11:30Z")
    engine = log.feed(Engine({}))
    assert statuses(engine)["R1"]["first_response_due"] == "2026-11-16T14:00:00Z"
    log.decide(
        "2026-11-16T11:31Z", {"tenant": "acme", "support": {"first_response_minutes": {"P1": 60}}}, topic="contracts"
    )
    log.ticks("2026-11-16T11:31Z", "2026-11-16T11:40Z", 10_000)
    log.feed(engine)
    missed = "acme/R1/0/first_response_overdue/2026-11-16T11:00:00Z"
    assert ids(engine.checkpoint().announcements)[-1] == missed
    assert statuses(engine)["R1"]["first_response_due"] == "2026-11-16T11:00:00Z"
    contract = {"tenant": "acme", "support": {"first_response_minutes": {"P1": 120}}}
    log.decide("2026-11-16T11:50Z", contract, topic="contracts")
    log.ticks("2026-11-16T11:50Z", "2026-11-16T11:55Z", 10_000)
    taken = log.feed(engine).checkpoint().announcements[-1]
    assert taken.id == f"{missed}/withdrawn"
    assert rfc3339(taken.at_ms)[:16] == "2026-11-16T11:50", "it is withdrawn when the contract came to be known"


def test_a_standing_verdict_and_the_open_p1_requests_name_each_other() -> None:
    log = Log()
    first = instant("2026-11-30T20:00Z")
    for minute in range(60):
        log.requests(rfc3339(first + minute * MINUTE), [100, 0, 0, 0, 0])
    log.event("opened", "2026-11-30T21:00Z", severity="P1", request="grave")
    log.event("opened", "2026-11-30T21:00Z", severity="P2", request="mild")
    log.tick("2026-11-30T21:00:30Z")
    engine = log.feed(Engine({}))
    assert engine.status(engine.tenants["acme"])["support"] == ["grave"]
    assert statuses(engine)["grave"]["breach"] is None
    for minute in range(61, 80):
        log.requests(rfc3339(first + minute * MINUTE), [50, 0, 50, 0, 0])
    made = log.feed(engine).checkpoint().announcements
    verdict = [each for each in made if each.kind in ("at_risk", "breached") and "/99/" in each.id][-1]
    assert json.loads(verdict.data)["support"] == ["grave"]
    lowest = [each for each in made if each.kind == "breached"][-1]
    assert statuses(engine)["grave"]["breach"] == lowest.id
    log.event("resolved", "2026-11-30T21:30Z", request="grave")
    log.tick("2026-11-30T21:31Z")
    engine = log.feed(engine)
    assert engine.status(engine.tenants["acme"])["support"] == []
    assert statuses(engine)["grave"]["breach"] is None


def test_of_a_request_no_more_than_fits_is_kept_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "MOST_EVENTS", 5)
    log = Log()
    log.event("opened", "2026-11-16T10:00Z", severity="P3")
    for minute in range(1, 9):
        log.event("updated", f"2026-11-16T10:0{minute}Z")
    log.tick("2026-11-16T10:20Z")
    found = statuses(log.feed(Engine({})))["R1"]
    assert (len(found["history"]), found["left_out"]) == (5, 4)


def test_many_requests_end_as_the_pure_desk_says() -> None:
    log = Log()
    kinds = ["responded", "updated", "temporary_resolution", "resolved"]
    told = []
    for number in range(40):
        name, opened = f"T{number}", instant("2026-11-16T08:00Z") + number * 37 * MINUTE
        told.append((opened, {"request": name, "type": "opened", "severity": f"P{number % 4 + 1}"}))
        told += [
            (opened + (step + 1) * (number + 5) * 23 * MINUTE, {"request": name, "type": kind})
            for step, kind in enumerate(kinds)
        ]
    for at, what in sorted(told, key=lambda item: item[0]):
        log.event(what.pop("type"), rfc3339(at), **what)
    end = max(at for at, _ in told) + 3 * DAY
    log.ticks(rfc3339(end - DAY), rfc3339(end), HOUR)
    engine = log.feed(Engine({}))
    expected = set()
    for number in range(40):
        mine = [
            event_of({"tenant": "acme", "time": rfc3339(at), **what, "type": kind})
            for at, what, kind in _typed(told, f"T{number}", kinds)
        ]
        expected |= {(breach.id, json.dumps(breach.record())) for breach in breaches(fold(mine), STANDARD_SUPPORT, end)}
    found = [(name, json.dumps(json.loads(data))) for name, data in sent(engine.checkpoint().announcements)]
    assert len(found) == len(set(found))
    assert set(found) == expected


def _typed(
    told: list[tuple[int, dict[str, Any]]], name: str, kinds: list[str]
) -> list[tuple[int, dict[str, Any], str]]:
    mine = [(at, what) for at, what in told if what["request"] == name]
    return [(at, what, kind) for (at, what), kind in zip(mine, ["opened", *kinds], strict=True)]
