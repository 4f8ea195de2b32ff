"""One request: why it is refused and where, which minute it belongs to, and how it counts."""

from __future__ import annotations

import json

import pytest

from monitor.counting import request as rq
from monitor.counting.request import Rejected

NOW = 1_795_428_000_000  # 2026-11-23T10:00:00Z
MINUTE = NOW // 60_000
GOOD = {"tenant": "ant", "portal": "login", "time": "2026-11-23T10:00:00Z", "outcome": "success"}


def but(**fields: object) -> bytes:
    """A good request but for these fields; None takes one away."""
    return json.dumps({key: value for key, value in {**GOOD, **fields}.items() if value is not None}).encode()


def accept(value: bytes | None) -> int:
    """What is done with each record: decode it, then check its names and its time."""
    request = rq.read(value)
    rq.check_names(request.tenant, request.portal, request.code)
    return rq.minute(request.time, NOW)


REFUSED: tuple[tuple[str, bytes | None, str, str], ...] = (
    ("no value", None, "no_value", "$"),
    (
        "a byte too large",
        but(x="").replace(b'"x": ""', b'"x": "' + b"y" * (65_537 - len(but(x=""))) + b'"'),
        "too_large",
        "$",
    ),
    ("empty", b"", "not_json", "$"),
    ("cut off", but()[:-1], "not_json", "$"),
    ("two objects", but() + but(), "not_json", "$"),
    ("NaN", but(latency_ms=float("nan")), "not_json", "$"),
    ("a lone surrogate, escaped", but(user="\ud800"), "not_json", "$"),
    ("a lone surrogate, raw", but(user="?").replace(b"?", b"\xed\xa0\x80"), "not_json", "$"),
    ("a nest of brackets", but()[:-1] + b', "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "too_deep", "$"),
    ("a list", b"[]", "wrong_field", "$"),
    ("no tenant", but(tenant=None), "wrong_field", "$"),
    ("tenant a number", but(tenant=7), "wrong_field", "$.tenant"),
    ("an outcome of its own", but(outcome="maybe"), "wrong_field", "$.outcome"),
    ("a fault of its own", but(fault="nobody"), "wrong_field", "$.fault"),
    ("a time of parts", but(time=1.5), "wrong_field", "$.time"),
    ("tenant in capitals", but(tenant="Ant"), "tenant", "$.tenant"),
    ("no letters for a tenant", but(tenant=""), "tenant", "$.tenant"),
    ("tenant of 65 characters", but(tenant="a" * 65), "tenant", "$.tenant"),
    ("tenant with a line's end", but(tenant="ant\n"), "tenant", "$.tenant"),
    ("no letters for a portal", but(portal=""), "portal", "$.portal"),
    ("portal of 65 characters", but(portal="p" * 65), "portal", "$.portal"),
    ("portal with a NUL", but(portal="log\0in"), "portal", "$.portal"),
    ("code of 65 characters", but(code="c" * 65), "code", "$.code"),
    ("code with a tab", but(code="a\tb"), "code", "$.code"),
    ("naive time", but(time="2026-11-23T10:00:00"), "time_form", "$.time"),
    ("a date", but(time="2026-11-23"), "time_form", "$.time"),
    ("the 30th of February", but(time="2026-02-30T10:00:00Z"), "time_form", "$.time"),
    ("a time in digits of another script", but(time="\uff12026-11-23T10:00:00Z"), "time_form", "$.time"),
    ("seconds for milliseconds", but(time=NOW // 1000), "time_too_old", "$.time"),
    ("the last moment of 2014", but(time="2014-12-31T23:59:59.999Z"), "time_too_old", "$.time"),
    ("five minutes and a millisecond ahead", but(time=NOW + 300_001), "time_ahead", "$.time"),
    ("ahead by its offset", but(time="2026-11-23T10:00:00-00:06"), "time_ahead", "$.time"),
)


@pytest.mark.parametrize(("value", "reason", "place"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_refused_record_says_why_and_where(value: bytes | None, reason: str, place: str) -> None:
    with pytest.raises(Rejected) as caught:
        accept(value)
    assert (str(caught.value.reason), caught.value.place) == (reason, place)
    assert f"`{place}`" in str(caught.value)


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        ("2026-11-23T10:00:59.999999999Z", 0),
        ("2026-11-23t10:00:00z", 0),
        ("2026-11-23 10:00:00Z", 0),
        ("2026-11-23T15:30:00+05:30", 0),
        ("2026-11-22T22:00:00-12:00", 0),
        ("2026-11-23T09:59:60Z", -1),
        ("2026-11-23T15:29:60.5+05:30", -1),
        ("2026-11-23T10:05:00Z", 5),
        (NOW + 300_000, 5),
        (NOW - 1, -1),
        ("2015-01-01T00:00:00Z", 1_420_070_400 // 60 - MINUTE),
    ],
)
def test_a_time_belongs_to_the_utc_minute_it_falls_in_and_a_leap_second_to_the_one_it_ends(
    time: str | int, minutes: int
) -> None:
    assert accept(but(time=time)) == MINUTE + minutes


def test_a_record_of_exactly_the_largest_size_is_read() -> None:
    filled = but(x="")
    assert accept(filled.replace(b'"x": ""', b'"x": "' + b"y" * (65_536 - len(filled)) + b'"')) == MINUTE


def test_of_a_key_that_stands_twice_the_last_one_wins() -> None:
    assert rq.read(but()[:-1] + b', "tenant": "bee"}').tenant == "bee"


def test_fields_that_nobody_asked_for_are_skipped() -> None:
    assert rq.read(but(tenant_name="x", nested={"a": [1, {"b": None}]})) == rq.read(but())


@pytest.mark.parametrize(
    ("outcome", "fault", "code", "named"),
    [
        ("success", None, None, "success"),
        ("success", "server", "E-1", "success"),
        ("failure", "client", None, "client"),
        ("failure", "server", None, "server"),
        ("failure", "external", None, "external"),
        ("failure", None, "E-1", "server"),
        ("failure", "client", "E-1", "client"),
        ("failure", None, "E-2", "unclassified"),
        ("failure", None, "", "unclassified"),
        ("failure", None, None, "unclassified"),
    ],
)
def test_a_stated_fault_comes_before_the_table_and_nobody_knows_the_rest(
    outcome: str, fault: str | None, code: str | None, named: str
) -> None:
    assert rq.CLASSES[rq.classify(outcome, fault, code, {"E-1": "server"})] == named
