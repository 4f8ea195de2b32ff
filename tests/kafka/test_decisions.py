"""Decisions that something else produced, and that nobody can read: they are kept with the reason, and everything else goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.played import Played

from monitor.stream.reading import records

AT = "2026-03-02T10:00:00Z"
CLAIM = {
    "id": "c-1",
    "tenant": "acme",
    "month": "2026-02",
    "action": "file",
    "at": AT,
    "by": "x",
    "dates": ["2026-02-03"],
}
WINDOW = {"from": "2026-03-02T09:00:00Z", "to": "2026-03-02T09:10:00Z", "category": "maintenance", "tenants": "*"}
DECLARED = {"exclusion": "m-7", "action": "declare", "at": AT, "by": "x", **WINDOW, "portals": "*", "reason": "y"}
RULING = {"id": "r-1", "tenant": "acme", "kind": "classify", "at": AT, "by": "x", "reason": "y", "code": "E-17"}
RULING |= {"as": "external", "from": "2026-03-01T00:00:00Z"}
OPENED = {"tenant": "acme", "request": "4711", "type": "opened", "time": AT, "severity": "P1"}
CONTRACT = {"tenant": "acme", "zone": "Europe/London"}

MALFORMED: dict[str, list[tuple[bytes, str, str]]] = {
    "contracts": [
        (b"\xff{", "$", "expected JSON"),
        (json.dumps({**CONTRACT, "tenant": "A B"}).encode(), "$.tenant", "expected [a-z0-9_-], 1 to 64 characters, got 'A B'"),
        (json.dumps({**CONTRACT, "zone": "Mars", "end": "never"}).encode(), "$", "zone: expected an IANA zone such as "),
        (json.dumps({**CONTRACT, "terms": {"tiers": []}}).encode(), "$", "terms.tiers: expected a list of objects"),
    ],
    "exclusions": [
        (b"[]", "$", "expected an object, got list"),
        (json.dumps({**DECLARED, "category": "lunch"}).encode(), "$", "category: expected one of operator_error, "),
        (json.dumps({**DECLARED, "at": "2026-03-03T10:00:00Z"}).encode(), "$", "at: expected a time at most five minutes"),
        (json.dumps({**DECLARED, "tenants": []}).encode(), "$", 'tenants: expected "*" for all, or a list of names'),
    ],
    "decisions": [
        (b"null", "$", "expected an object, got NoneType"),
        (json.dumps({**RULING, "as": "nobody"}).encode(), "$", "as: expected one of server, client, external"),
        (json.dumps({**RULING, "tenant": None}).encode(), "$.tenant", "expected [a-z0-9_-], 1 to 64 characters, got None"),
    ],
    "claims": [
        (json.dumps({**CLAIM, "tenant": "*"}).encode(), "$.tenant", "expected [a-z0-9_-], 1 to 64 characters, got '*'"),
        (json.dumps({**CLAIM, "dates": ["soon"]}).encode(), "$", "dates: expected dates such as 2026-11-30"),
        (json.dumps({**CLAIM, "action": "apply", "claim": "c", "days": 0}).encode(), "$", "days: expected a whole number"),
    ],
    "support-requests": [
        (json.dumps({**OPENED, "severity": "high"}).encode(), "$", "severity: expected one of P1, P2, P3, P4"),
        (json.dumps({**OPENED, "request": "4711\n"*99}).encode(), "$", "request: expected at most 128 letters that can be"),
    ],
}  # fmt: skip
"""By topic: a value, and where and why it is refused."""


@pytest.fixture
def played(kafka: str, unique: str, tmp_path: Path) -> Iterator[Played]:
    made = Played(kafka, f"{unique}.", tmp_path)
    yield made
    made.close()


def test_malformed_decisions_of_every_kind_are_kept_with_the_reason_and_their_neighbours_take_effect(
    played: Played,
) -> None:
    played.start()
    well = {
        "contracts": [CONTRACT],
        "exclusions": [DECLARED, {**DECLARED, "action": "approve"}],
        "decisions": [RULING],
        "claims": [CLAIM],
        "support-requests": [OPENED],
    }
    expected = {}
    for name, bad in MALFORMED.items():
        offset = 0
        for value, place, sentence in bad:
            played.produce(name, "acme", value, AT, partition=0)
            expected[f"{played.settings.topic(name)}-0+{offset}"] = (value, place, sentence)
            offset += 1
        for each in well[name]:
            played.produce(name, "acme", json.dumps(each).encode(), AT, partition=0)
        played.produce(name, "acme", bad[0][0], AT, partition=0)
        expected[f"{played.settings.topic(name)}-0+{offset + len(well[name])}"] = bad[0]
    played.requests("acme", "2026-03-02T09:05:00Z", 0, 40)  # excluded
    played.requests("acme", "2026-03-02T09:30:00Z", 7)
    played.requests("acme", "2026-03-02T09:40:00Z", 0, 5, fault=None, code="E-17")  # external, by the ruling

    played.until("the decisions beside them hold", lambda: played.status("acme").get("excluded") == 45)
    now = played.status("acme")
    assert (now["good"], now["bad"], now["unclassified"], now["zone"]) == (7, 0, 0, "Europe/London")
    assert now["support"] == ["4711"]
    # What is announced comes with a checkpoint, after the status.
    played.until("the claim is held", lambda: played.run("claim", "list", "acme", "--json").json["credits"])
    [waiting] = played.run("claim", "list", "acme", "--json").json["credits"]
    assert [claim["id"] for claim in waiting["claims"]] == ["c-1"]

    found = {}
    for record in asyncio.run(records(played.settings, "auth-requests.rejected")):
        headers = dict(record.headers)
        assert headers["reason"] == b"decision", headers
        where = f"{headers['topic'].decode()}-{headers['partition'].decode()}+{headers['offset'].decode()}"
        assert record.key.decode() == where
        found[where] = (record.value, headers["place"].decode(), headers["error"].decode())
    assert found.keys() == expected.keys()
    for where, (value, place, sentence) in expected.items():
        assert found[where][:2] == (value, place)
        assert found[where][2].startswith(sentence), found[where][2]
    assert played.worker is not None
    assert played.worker.poll() is None
