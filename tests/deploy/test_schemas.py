"""The published schemas of `status` and `breaches` describe what the engine says, and all of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from monitor.counting import frame as frames
from monitor.counting.chunk import Chunk, Reader
from monitor.counting.records import Records
from monitor.engine.engine import TICK_MS, Engine
from monitor.outlets.records import CloudEvents
from tests.schemas import SCHEMAS, schema

TOPIC = "auth-requests"
HOUR_MS = 3_600_000
START_MS = 1_795_996_800_000
"""2026-11-30T00:00:00Z, the last day of a month."""


SCHEMA_OF = {
    "statement": "statement",
    "credit": "credit",
    "notice_due": "notice",
    "final": "conclusion",
    "amended": "conclusion",
}
"""By kind of announcement; the others are verdicts."""


class Log:
    """One source partition and one journal partition, without a broker: requests in, an engine's answers out."""

    def __init__(self) -> None:
        self.engine = Engine({})
        self.reader = Reader({})
        self.chunk = Chunk(TOPIC, 0, 1, 0)
        self.offset = 0

    def say(self, frame: frames.Frame) -> None:
        self.engine.take([(self.offset, frames.encode(frame))])
        self.offset += 1

    def count(self, at_ms: int, requests: list[dict[str, Any]]) -> None:
        values: list[bytes | None] = [json.dumps({"time": at_ms - 1000} | each).encode() for each in requests]
        assert not self.reader.count(Records.of(values), at_ms, self.chunk.counts)
        self.chunk.add(self.chunk.upto + len(values), len(values), 0)
        [frame] = self.chunk.take().frames(lambda _: 0, 1, at_ms, at_ms - 500)
        self.say(frame)
        self.say(self.chunk.seal_frame(at_ms, at_ms - 500))


def requests(tenant: str, good: int, bad: int = 0, **fields: Any) -> list[dict[str, Any]]:
    served = {"tenant": tenant, "portal": "authentication", "outcome": "success"}
    failed = {"tenant": tenant, "portal": "self-service", "outcome": "failure", "fault": "server"} | fields
    return [served] * good + [failed] * bad


@pytest.fixture(scope="module")
def said() -> tuple[dict[str, dict[str, Any]], list[Any]]:
    """Statuses by tenant, and what was announced: `acme` fails at a month's end and then has traffic that makes up for it."""
    log = Log()
    for hour in range(20):
        log.count(START_MS + hour * HOUR_MS, requests("acme", 20) + requests("calm", 50))
    end = START_MS + 20 * HOUR_MS
    doubt = requests("odd", 20, 5, fault=None, code="new") + requests("calm", 1, 1, fault="external")
    log.count(end, requests("acme", 10, 60) + doubt)
    ticks = iter(range(end + TICK_MS, end + 2 * HOUR_MS, TICK_MS))
    for _ in range(12):
        log.count(next(ticks), requests("acme", 1))
    log.count(next(ticks), requests("acme", 30_000))
    for _ in range(400):
        log.count(next(ticks), requests("acme", 1))
    return {tenant.name: record for tenant, record in log.engine.statuses(10)}, log.engine.checkpoint().announcements


def test_every_status_that_the_engine_makes_is_as_the_schema_says(
    said: tuple[dict[str, dict[str, Any]], list[Any]],
) -> None:
    statuses, _ = said
    assert set(statuses) == {"acme", "calm", "odd"}
    for record in statuses.values():
        _, value, _ = CloudEvents().status(record)
        assert value is not None
        schema("status").validate(json.loads(value))


def test_the_engine_says_of_a_month_what_was_put_into_it(said: tuple[dict[str, dict[str, Any]], list[Any]]) -> None:
    odd, calm = said[0]["odd"], said[0]["calm"]
    assert (odd["good"], odd["bad"], odd["unclassified"], odd["availability"], odd["band"]) == (20, 0, 5, 0.8, 0)
    assert (calm["good"], calm["excluded"], calm["band"]) == (1001, 1, 99)


def test_every_announcement_is_as_the_schema_says_also_once_the_danger_is_over(
    said: tuple[dict[str, dict[str, Any]], list[Any]],
) -> None:
    _, made = said
    assert {each.kind for each in made} >= {"breached", "cleared"}
    for each in made:
        _, value, headers = CloudEvents().announcement(each)
        assert value is not None
        record = json.loads(value)
        schema(SCHEMA_OF.get(each.kind, "breach")).validate(record)
        assert dict(headers)["ce_type"] == b"sla.monitor." + each.kind.encode()


def test_the_schema_of_status_describes_each_field_and_no_other(
    said: tuple[dict[str, dict[str, Any]], list[Any]],
) -> None:
    published = json.loads((SCHEMAS / "status.schema.json").read_text())
    for record in said[0].values():
        assert set(record) == set(published["properties"]) == set(published["required"])
    assert all(field["description"] for field in published["properties"].values())


def test_the_schema_of_breaches_describes_each_field_and_no_other(
    said: tuple[dict[str, dict[str, Any]], list[Any]],
) -> None:
    published, status = (json.loads((SCHEMAS / f"{name}.schema.json").read_text()) for name in ("breach", "status"))
    for each in (each for each in said[1] if each.kind not in SCHEMA_OF):
        assert set(json.loads(each.data)) == set(published["properties"]) | set(status["properties"])


@pytest.mark.parametrize("path", sorted(SCHEMAS.iterdir()), ids=lambda path: path.name)
def test_each_published_schema_is_one_and_its_examples_hold_to_it(path: Path) -> None:
    data = json.loads(path.read_text())
    assert data["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(data)
    for example in data.get("examples", []):
        schema(path.name.removesuffix(".schema.json")).validate(example)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("status", {"availability": 99.2}),
        ("status", {"good": -1}),
        ("status", {"good": 1.5}),
        ("status", {"period": "November"}),
        ("status", {"portals": {"authentication": {"good": 1}}}),
        ("status", {"breach_probability": {"ninety-nine": 0.5}}),
        ("breach", {"tenant": "Acme"}),
        ("breach", {"type": "page"}),
        ("breach", {"threshold": "99"}),
        ("breach", {"reason": ""}),
    ],
)
def test_what_no_reader_could_use_is_refused(name: str, wrong: dict[str, Any]) -> None:
    [example] = json.loads((SCHEMAS / f"{name}.schema.json").read_text())["examples"]
    with pytest.raises(ValidationError):
        schema(name).validate(example | wrong)
