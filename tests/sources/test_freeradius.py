import base64
import json
from collections import Counter

import orjson
import pytest

from monitor import sources
from monitor.counting.request import CLASSES, Reason, Rejected, check_names, classify, read
from monitor.sources import freeradius

HOSTILE = [
    b'"},{"outcome":"success',
    b"back\\slash\\",
    b"line\nbreak\r\ttab",
    b"%{User-Name} ${secret} `id`",
    b"nul\x00inside",
    b"\xff\xfe not utf-8",
    b"\xed\xa0\x80 a lone surrogate",
    "ünï💥".encode(),
    b"x" * 200,
]


def line(**fields: object) -> bytes:
    return json.dumps(
        {
            "received": ["1795465890", "039241"],
            "decided": ["1795465890", "88520"],
            "reply": "Access-Accept",
            "code": "",
            "tenant": "acme",
            "portal": "vpn",
            "user": "YWxpY2U=",
        }
        | fields
    ).encode()


def test_an_accepted_user_is_a_success_with_its_time_to_the_millisecond() -> None:
    assert orjson.loads(freeradius.request(line())) == {
        "time": 1795465890039,
        "tenant": "acme",
        "portal": "vpn",
        "outcome": "success",
        "latency_ms": 49.279,
        "user": "alice",
    }


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("invalid_credentials", "client"),
        ("no_user_name", "client"),
        ("backend_unavailable", "server"),
        ("internal_error", "server"),
        ("something_new", "unclassified"),
        ("", "unclassified"),
    ],
)
def test_a_rejected_user_counts_by_the_code_of_the_decision(code: str, expected: str) -> None:
    native = read(freeradius.request(line(reply="Access-Reject", code=code)))
    assert CLASSES[classify(native.outcome, native.fault, native.code, sources.codes("freeradius"))] == expected


@pytest.mark.parametrize("reply", ["Access-Challenge", "Accounting-Response", ""])
def test_a_line_that_is_no_decision_is_no_request(reply: str) -> None:
    assert freeradius.request(line(reply=reply)) is None


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_user_name_stays_inside_its_field(name: bytes) -> None:
    native = read(freeradius.request(line(user=base64.b64encode(name).decode())))
    assert native.user == name.decode("utf-8", "backslashreplace")
    assert (native.tenant, native.portal, native.outcome) == ("acme", "vpn", "success")


def test_two_names_that_differ_in_a_broken_byte_stay_two() -> None:
    first, second = (read(freeradius.request(line(user=encoded))).user for encoded in ("YWz/", "YWz+"))
    assert first != second


def test_a_clock_set_back_between_request_and_decision_gives_no_latency() -> None:
    assert "latency_ms" not in orjson.loads(freeradius.request(line(decided=["1795465889", "999999"])))


def test_the_answer_of_a_request_without_a_user_name_names_no_user() -> None:
    assert "user" not in orjson.loads(freeradius.request(line(user="")))


@pytest.mark.parametrize(
    ("value", "reason", "place"),
    [
        (None, Reason.NO_VALUE, "$"),
        (b"", Reason.NOT_JSON, "$"),
        (line()[:-5], Reason.NOT_JSON, "$"),
        (b'{"user":"\xff"}', Reason.NOT_JSON, "$"),
        (b"[" * 5_000, Reason.NOT_JSON, "$"),
        (b" " * 65_537, Reason.TOO_LARGE, "$"),
        (b"[]", Reason.WRONG_FIELD, "$"),
        (b"{}", Reason.WRONG_FIELD, "$.reply"),
        (line(reply=2), Reason.WRONG_FIELD, "$.reply"),
        (line(received=None), Reason.TIME_FORM, "$.received"),
        (line(received=["1795465890"]), Reason.TIME_FORM, "$.received"),
        (line(received=["1795465890", "-1"]), Reason.TIME_FORM, "$.received"),
        (line(decided=[1795465890, 1]), Reason.TIME_FORM, "$.decided"),
        (line(code=7), Reason.WRONG_FIELD, "$.code"),
        (line(user="no base64!"), Reason.WRONG_FIELD, "$.user"),
        (line(user="ü"), Reason.WRONG_FIELD, "$.user"),
    ],
)
def test_a_line_that_cannot_be_read_is_rejected_with_reason_and_place(
    value: bytes | None, reason: Reason, place: str
) -> None:
    with pytest.raises(Rejected) as caught:
        freeradius.request(value)
    assert (caught.value.reason, caught.value.place) == (reason, place)


def test_a_bad_line_leaves_its_neighbours_alone() -> None:
    made = freeradius.requests([line(), b"torn", line(reply="Access-Challenge"), None, line()])
    assert [type(each) for each in made] == [bytes, Rejected, type(None), Rejected, bytes]


@pytest.mark.parametrize(("name", "place"), [("tenant", "$.tenant"), ("portal", "$.portal")])
def test_a_client_without_a_tenant_or_portal_is_told_by_the_native_reader(name: str, place: str) -> None:
    native = read(freeradius.request(line(**{name: ""})))
    with pytest.raises(Rejected) as caught:
        check_names(native.tenant, native.portal, native.code)
    assert caught.value.place == place


def classes(lines: list[bytes]) -> Counter[tuple[str, str, str]]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for made in freeradius.requests(lines):
        assert isinstance(made, bytes), made
        native = read(made)
        kind = CLASSES[classify(native.outcome, native.fault, native.code, freeradius.CODES)]
        counts[native.tenant, native.portal, kind] += 1
    return counts


@pytest.mark.needs("freeradius", "radclient")
def test_a_real_server_writes_one_line_for_each_decision_while_its_backend_fails_and_returns(radius) -> None:
    assert radius.ask(23, "alice", "correct horse") == {"Accepted": 23, "Rejected": 0, "Lost": 0}
    assert radius.ask(7, "alice", "wrong") == {"Accepted": 0, "Rejected": 7, "Lost": 0}
    assert radius.ask(4, "bob", "battery staple", source="127.0.0.2") == {"Accepted": 4, "Rejected": 0, "Lost": 0}
    radius.stop_backend()
    # radclient asks again several times before the service gives up: still one decision each.
    assert radius.ask(9, "alice", "correct horse") == {"Accepted": 0, "Rejected": 9, "Lost": 0}
    radius.start_backend()
    assert radius.ask(11, "alice", "correct horse") == {"Accepted": 11, "Rejected": 0, "Lost": 0}

    assert classes(radius.lines()) == {
        ("acme", "vpn", "success"): 34,
        ("acme", "vpn", "client"): 7,
        ("acme", "vpn", "server"): 9,
        ("globex", "wifi", "success"): 4,
    }


@pytest.mark.needs("freeradius", "radclient")
def test_a_real_server_passes_any_byte_of_a_user_name_and_none_breaks_a_line(radius) -> None:
    access_reject = 3
    assert radius.ask_bytes(HOSTILE, b"guess") == [access_reject] * len(HOSTILE)
    users = Counter(read(made).user for made in freeradius.requests(radius.lines()))
    assert users == Counter(name.decode("utf-8", "backslashreplace") for name in HOSTILE)


@pytest.mark.needs("freeradius", "radclient")
def test_a_log_that_cannot_be_written_refuses_nobody(radius) -> None:
    radius.decisions.mkdir()
    assert radius.ask(1, "alice", "correct horse") == {"Accepted": 1, "Rejected": 0, "Lost": 0}
