"""What is no decision is refused before it enters the journal, where it would stop every worker that reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.counting.request import Reason, Rejected
from monitor.sources.decisions import DEEPEST, MOST_BYTES, READERS, read_decision

OPENED = {"tenant": "acme", "request": "4711", "type": "opened", "time": "2026-11-20T16:59:00Z", "severity": "P1"}


def test_a_decision_goes_on_as_the_bytes_that_came() -> None:
    value = json.dumps(OPENED).encode()[:-1] + b', "extra": ' + b"[" * (DEEPEST - 1) + b"]" * (DEEPEST - 1) + b"}"
    found = read_decision("support-requests", 7, value, 0)
    assert (found.kind, found.offset, found.tenant, found.value) == ("support-requests", 7, "acme", value)


@pytest.mark.parametrize("kind", sorted(READERS))
@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (b"[" * DEEPEST + b"]" * DEEPEST, Reason.TOO_DEEP),
        (b"[" * 1000 + b"]" * 1000, Reason.TOO_DEEP),
        (b'"%s"' % (b"x" * MOST_BYTES), Reason.TOO_LARGE),
    ],
    ids=["deep", "deeper", "long"],
)
def test_what_is_too_deep_or_too_long_to_travel_is_refused(kind: str, extra: bytes, reason: Reason) -> None:
    with pytest.raises(Rejected) as refused:
        read_decision(kind, 0, json.dumps(OPENED).encode()[:-1] + b', "extra": ' + extra + b"}", 0)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"tenant": "Acme"}, "expected [a-z0-9_-], 1 to 64 characters, got 'Acme'"),
        ({"type": "vanished"}, "type: expected one of opened"),
        ({"severity": "high"}, "severity: expected one of P1, P2, P3, P4"),
        ({"time": "2026-11-20T16:59:00"}, "time: expected a time with an offset"),
        ({"request": "x" * 129}, "request: expected at most 128 letters that can be printed"),
        ({"request": "a\nb"}, "request: expected at most 128 letters that can be printed"),
    ],
)
def test_a_support_event_that_cannot_be_read_says_what_is_wrong(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_decision("support-requests", 0, json.dumps({**OPENED, **wrong}).encode(), 0)
    assert sentence in str(refused.value)
