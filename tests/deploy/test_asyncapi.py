"""The AsyncAPI document lists the topics that are made, and describes their records as they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from monitor.counting.frame import Frame, encode
from monitor.counting.request import Reason, Rejected
from monitor.engine.state import Announcement
from monitor.outlets.records import CloudEvents, Header
from monitor.settings import Settings
from monitor.stream import topics

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCUMENT: dict[str, Any] = yaml.safe_load((DEPLOY / "asyncapi.yaml").read_text())
MESSAGES, SCHEMAS = DOCUMENT["components"]["messages"], DOCUMENT["components"]["schemas"]


def wanted() -> dict[str, topics.Topic]:
    settings = Settings()
    return {topic.name: topic for topic in topics.wanted(settings) if topic.name != topics.changelog(settings)}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def text(headers: list[Header]) -> dict[str, str]:
    return {name: value.decode() for name, value in headers}


def test_every_topic_but_the_changelog_is_described_and_no_other() -> None:
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == set(wanted())


@pytest.mark.parametrize("name", sorted(DOCUMENT["channels"]))
def test_a_topic_is_described_as_it_is_made(name: str) -> None:
    stated = DOCUMENT["channels"][name]["bindings"]["kafka"]["topicConfiguration"]
    shown = {key: ",".join(value) if isinstance(value, list) else str(value) for key, value in stated.items()}
    assert shown == dict(wanted()[name].config)


def test_each_topic_has_an_operation() -> None:
    used = {operation["channel"]["$ref"].removeprefix("#/channels/") for operation in DOCUMENT["operations"].values()}
    assert used == set(DOCUMENT["channels"])


@pytest.mark.parametrize("reference", sorted(set(references(DOCUMENT))))
def test_whatever_is_referred_to_is_there(reference: str) -> None:
    file, _, pointer = reference.partition("#")
    node = json.loads((DEPLOY / file).read_text()) if file else DOCUMENT
    for step in filter(None, pointer.split("/")):
        node = node[step]
    if file:
        Draft202012Validator.check_schema(node)
    assert node


def test_the_headers_of_a_refused_record_are_as_described() -> None:
    described = MESSAGES["rejected"]["headers"]
    Draft202012Validator.check_schema(described)
    assert described["properties"]["reason"]["enum"] == [str(reason) for reason in Reason]
    error = Rejected(Reason.TENANT, "$.tenant", "expected a tenant, got none")
    for value in (b"{}", None, b"x" * 1_000_000):
        _, _, headers = CloudEvents().rejected("auth-requests", 3, 4711, value, error)
        Draft202012Validator(described | {"additionalProperties": False}).validate(text(headers))


@pytest.mark.parametrize("kind", ["at_risk", "breached", "cleared"])
def test_the_headers_of_a_breach_are_as_described(kind: str) -> None:
    made = Announcement(f"acme/2026-11/99/{kind}/1", kind, "acme", 4711, 1_795_425_120_250, b"{}")
    _, _, headers = CloudEvents().announcement(made)
    Draft202012Validator(SCHEMAS["cloudevent"] | {"additionalProperties": False}).validate(text(headers))


def test_the_headers_of_a_status_are_as_described() -> None:
    _, _, headers = CloudEvents().status({"tenant": "acme", "stamp": 4711, "as_of": "2026-11-23T09:12:00.250Z"})
    Draft202012Validator(SCHEMAS["cloudevent"] | {"additionalProperties": False}).validate(text(headers))


def test_a_frame_has_the_fields_that_are_described_in_their_order() -> None:
    described = SCHEMAS["frame"]
    assert (
        described["x-order"]
        == list(Frame.__struct_encode_fields__)
        == described["required"]
        == list(described["properties"])
    )
    frame = Frame(topic="auth-requests", partition=0, partitions=1, start=0, upto=0, at_ms=1, complete_ms=0)
    assert encode(frame)[0] == 0x90 | len(described["x-order"])
