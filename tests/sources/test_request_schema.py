"""The published schema and the decoder say the same of a record, whatever is in it."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from monitor.counting.request import Rejected, Request, check_names, minute, read

SCHEMA = json.loads((Path(__file__).parents[2] / "deploy/schemas/request.schema.json").read_text())
NOW_MS = 1_795_425_120_250
GOOD = {"time": NOW_MS, "tenant": "acme", "portal": "vpn", "outcome": "failure"}


def accepted(record: Any) -> bool:
    try:
        native = read(json.dumps(record).encode())
        check_names(native.tenant, native.portal, native.code)
        minute(native.time, NOW_MS)
    except Rejected:
        return False
    return True


def test_the_schema_is_one_and_its_examples_are_read() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for example in SCHEMA["examples"]:
        Draft202012Validator(SCHEMA).validate(example)
        assert accepted(example)


def test_the_schema_describes_each_field_that_is_read_and_no_other() -> None:
    assert set(SCHEMA["properties"]) == set(Request.__struct_fields__)
    assert all(field["description"] for field in SCHEMA["properties"].values())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"more": [1]}, True),
        ({"fault": "server", "code": "db", "user": "a", "latency_ms": 1, "id": "x"}, True),
        ({"fault": None, "code": None, "user": None, "latency_ms": None, "id": None}, True),
        ({"code": ""}, True),
        ({"time": "2026-11-23T09:12:00+01:00"}, True),
        ({"time": "2026-11-23t09:12:00.123456789z"}, True),
        ({"time": "2026-11-23T09:12:00"}, False),
        ({"time": "2026-11-23T09:12Z"}, False),
        ({"time": 1_795_425_120}, False),
        ({"time": 1_795_425_120_250.5}, False),
        ({"time": True}, False),
        ({"time": None}, False),
        ({"tenant": "a" * 64}, True),
        ({"tenant": "a" * 65}, False),
        ({"tenant": "Acme"}, False),
        ({"tenant": ""}, False),
        ({"tenant": 7}, False),
        ({"portal": "Self-Service für alle"}, True),
        ({"portal": ""}, False),
        ({"portal": "a" * 65}, False),
        ({"portal": "a\tb"}, False),
        ({"outcome": "Success"}, False),
        ({"outcome": None}, False),
        ({"fault": "provider"}, False),
        ({"code": 500}, False),
        ({"code": "a" * 65}, False),
        ({"code": "a\nb"}, False),
        ({"user": 7}, False),
        ({"latency_ms": "12"}, False),
        ({"id": 7}, False),
    ],
)
def test_schema_and_decoder_agree(fields: dict[str, Any], expected: bool) -> None:
    record = GOOD | fields
    assert Draft202012Validator(SCHEMA).is_valid(record) is expected
    assert accepted(record) is expected


@pytest.mark.parametrize("name", ["time", "tenant", "portal", "outcome"])
def test_schema_and_decoder_agree_on_what_must_be_there(name: str) -> None:
    record = {key: value for key, value in GOOD.items() if key != name}
    assert not Draft202012Validator(SCHEMA).is_valid(record)
    assert not accepted(record)


def test_of_a_key_that_stands_twice_the_last_one_wins() -> None:
    twice = b'{"time": 1795425120250, "tenant": "first", "portal": "vpn", "outcome": "failure", "tenant": "last"}'
    assert read(twice).tenant == "last"
