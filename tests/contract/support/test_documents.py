"""The JSON documents at the edge: schemas, terms from a file, and the command that answers for a single request."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from monitor.cli.support import app
from monitor.contract.exclusions import CATEGORIES
from monitor.contract.instant import instant, rfc3339
from monitor.contract.support import (
    DOCUMENTATION,
    EVENT_TYPES,
    STANDARD_SUPPORT,
    OpeningHours,
    announcements,
    event_of,
    fold,
    status,
    support_terms,
)

SCHEMAS = Path(__file__).parents[3] / "deploy" / "schemas"


def schema(name: str) -> Draft202012Validator:
    data = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(data)
    return Draft202012Validator(data, format_checker=Draft202012Validator.FORMAT_CHECKER)


HISTORY: list[dict[str, Any]] = [
    {"type": "opened", "time": "2026-11-16T10:00Z", "severity": "P3", "documentation": {"files": ["idp.log"]}},
    {"type": "severity_changed", "time": "2026-11-17T10:00Z", "severity": "P1", "reason": "all users", "by": "Grace"},
    {"type": "responded", "time": "2026-11-17T11:00Z"},
    {"type": "temporary_resolution", "time": "2026-11-17T12:00Z"},
    {"type": "resolved", "time": "2026-11-20T12:00Z", "breach": "acme/2026-11/breached"},
    {"type": "updated", "time": "2026-11-20T13:00Z"},
    {"type": "reopened", "time": "2026-11-23T12:00Z"},
    {"type": "not_covered", "time": "2026-11-24T12:00Z", "category": "internet"},
    {"type": "resolved", "time": "2062-11-24T12:00Z"},
]
SAID = {"stamp": 4711, "left_out": 0}
"""What the engine adds to a status."""
EVENTS = [{"tenant": "acme", "request": "R1", **item} for item in HISTORY]


def test_events_and_what_is_told_of_them_hold_to_their_schemas() -> None:
    now = instant("2026-11-30T10:00Z")
    told: dict[str, Any] = {}
    types: set[str] = set()
    for count in range(1, len(EVENTS) + 1):
        events = [event_of(item) for item in EVENTS[:count]]
        for item in events:
            schema("support-requests").validate(item.record())
        for at in (events[-1].time if count < len(EVENTS) else now, now):
            schema("support-status").validate(status(fold(events), STANDARD_SUPPORT, at) | SAID)
            for breach in announcements(fold(events), STANDARD_SUPPORT, told, at):
                schema("support-breaches").validate(breach.record())
                told[breach.about] = breach
                types.add(breach.type)
    assert types >= {"first_response_overdue", "update_overdue", "withdrawn"}
    schema("support-status").validate(status(fold([event_of(EVENTS[2])]), STANDARD_SUPPORT, now) | SAID)


def test_the_schemas_examples_are_read() -> None:
    for example in schema("support-requests").schema["examples"]:
        schema("support-requests").validate(example)
        event_of(example)
    for example in schema("support-terms").schema["examples"]:
        schema("support-terms").validate(example)
        support_terms(example)


@pytest.mark.parametrize(
    "fault",
    [
        {"type": "opened"},
        {"severity": "P5"},
        {"type": "severity_changed", "severity": "P1"},
        {"type": "not_covered", "category": "weather"},
        {"type": "vanished"},
        {"time": "2026-11-16T10:00"},
        {"time": True},
        {"tenant": ""},
        {"documentation": {"files": "idp.log"}},
        {"documentation": {"contact": 7}},
    ],
)
def test_what_the_schema_refuses_is_refused_when_read(fault: dict[str, Any]) -> None:
    data = {"tenant": "acme", "request": "R1", "type": "responded", "time": "2026-11-16T10:00Z", **fault}
    assert not schema("support-requests").is_valid(data)
    with pytest.raises(ValueError, match="expected"):
        event_of(data)


def test_the_schema_names_what_the_program_knows() -> None:
    properties = schema("support-requests").schema["properties"]
    assert tuple(properties["type"]["enum"]) == EVENT_TYPES
    assert tuple(properties["category"]["enum"]) == CATEGORIES
    assert tuple(properties["documentation"]["properties"]) == DOCUMENTATION


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T16:59:00Z", "2026-11-20T16:59:00Z"),
        ("2026-11-20t16:59z", "2026-11-20T16:59:00Z"),
        ("2026-11-20 17:59:00.5+01:00", "2026-11-20T16:59:00.500Z"),
        (1_795_193_940_000, "2026-11-20T16:59:00Z"),
    ],
)
def test_a_time_is_read_as_rfc_3339_or_epoch_milliseconds(text: str | int, expected: str) -> None:
    assert rfc3339(instant(text)) == expected


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-11-20", "2026-13-20T16:59:00Z", "2026-11-20T16:59:00", None, 1e12, -1]
)
def test_another_time_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        instant(text)


# --- terms


def test_a_file_without_terms_is_the_standard_package() -> None:
    assert support_terms({}) == STANDARD_SUPPORT


def test_a_file_names_only_what_is_different() -> None:
    terms = support_terms(
        {
            "version": "enhanced",
            "zone": "America/New_York",
            "hours": {"mon": ["08:00-12:00", "13:00-24:00"]},
            "public_holidays": "US",
            "company_holidays": ["2026-12-24"],
            "first_response_minutes": {"P1": 30},
            "updates": {"P2": {"every": 2, "unit": "business_day"}},
        }
    )
    week = (((480, 720), (780, 1440)), (), (), (), (), (), ())
    assert terms.hours == OpeningHours("America/New_York", week, "US", "", frozenset({date(2026, 12, 24)}))
    assert [promise.first_response_minutes for promise in terms.promises] == [30, 360, 480, 720]
    assert terms.promise("P2").update.warn == 0
    assert terms.promise("P3") == STANDARD_SUPPORT.promise("P3")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"zone": "Mars/Olympus"}, "zone: expected an IANA zone such as Europe/London, found 'Mars/Olympus'"),
        ({"hours": {"mon": ["9-5"]}}, "hours.mon: expected a span such as 09:00-17:00, found '9-5'"),
        ({"hours": {"mon": ["17:00-09:00"]}}, "expected spans in order, apart, within minutes 0 to 1440"),
        (
            {"hours": {"mon": "09:00-17:00"}},
            "hours.mon: expected a list of spans such as 09:00-17:00, found '09:00-17:00'",
        ),
        ({"first_response_minutes": {"P1": 7.5}}, "P1: expected a first response in 1 or more minutes, found 7.5"),
        ({"updates": {"P3": 7}}, "P3: "),
        ({"hours": {"mo": []}}, "hours.mo: expected one of mon, tue"),
        ({"hours": {}}, "week: expected hours on one weekday at least"),
        ({"public_holidays": "GB-XXX"}, "public_holidays: expected a country (and subdivision) such as GB-ENG"),
        (
            {"company_holidays": ["Christmas"]},
            "company_holidays: expected a date such as 2026-12-24, found 'Christmas'",
        ),
        ({"first_response_minutes": {"P1": 0}}, "P1: expected a first response in 1 or more minutes, found 0"),
        ({"first_response_minutes": {"P4": 60}}, "expected no first response sooner for a less severe request"),
        ({"updates": {"P1": {"every": 1, "unit": "fortnight"}}}, "P1: expected one of business_day, week, month"),
        ({"updates": {"P2": {"every": 2, "unit": "week", "warn": 2}}}, "P2: expected an update every 1 or more"),
        ({"severities": {}}, "severities: expected one of company_holidays"),
        ({"warn_minutes": "60"}, "warn_minutes: expected int, found '60'"),
    ],
)
def test_faulty_terms_say_what_was_expected_and_found(data: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError) as error:
        support_terms(data)
    assert told in str(error.value)


def test_a_desk_that_never_opens_says_so_instead_of_searching_for_ever() -> None:
    days = [date.fromordinal(date(2026, 1, 1).toordinal() + day).isoformat() for day in range(800)]
    with pytest.raises(ValueError, match="expected an open day within 400 days of 2025-12-31, found none"):
        support_terms({"company_holidays": days})
    with pytest.raises(ValueError, match="company_holidays: expected an open day within a year of 2026-01-01"):
        support_terms({"company_holidays": days[:370]})
    support_terms({"company_holidays": days[:360]})


def test_what_a_package_does_not_name_is_as_in_the_terms_it_rests_on() -> None:
    headquarters = support_terms(
        {"zone": "America/New_York", "public_holidays": "US-NY", "company_holidays": ["2026-12-24"]}
    )
    package = support_terms({"version": "enhanced-1", "first_response_minutes": {"P1": 60}}, headquarters)
    assert package.hours == headquarters.hours
    assert (package.version, package.promise("P1").first_response_minutes) == ("enhanced-1", 60)
    assert package.promises[1:] == headquarters.promises[1:]


# --- the command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["due", *arguments])


def test_due_answers_for_a_single_request_in_utc_and_on_the_desks_clock() -> None:
    found = run("--severity", "P1", "--opened", "2026-03-27T16:59:00Z", "--json")
    assert (found.exit_code, json.loads(found.stdout)) == (
        0,
        {
            "severity": "P1",
            "opened": "2026-03-27T16:59:00Z",
            "terms": "support-standard-1",
            "zone": "Europe/London",
            "first_response_due": "2026-03-30T11:59:00Z",
            "first_response_due_hq": "2026-03-30T12:59:00+01:00",
            "next_update_warning": "2026-03-30T15:00:00Z",
            "next_update_warning_hq": "2026-03-30T16:00:00+01:00",
            "next_update_due": "2026-03-30T16:00:00Z",
            "next_update_due_hq": "2026-03-30T17:00:00+01:00",
        },
    )


def test_due_for_people() -> None:
    assert run("--severity", "p2", "--opened", "2026-03-27T16:59:00+00:00").stdout == (
        "P2 request opened 2026-03-27T16:59:00Z, terms support-standard-1, desk in Europe/London\n"
        "first response due   2026-03-30T13:59:00Z     2026-03-30T14:59:00+01:00\n"
        "next update warning  2026-03-31T16:00:00Z     2026-03-31T17:00:00+01:00\n"
        "next update due      2026-04-01T16:00:00Z     2026-04-01T17:00:00+01:00\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--severity", "P1", "--opened", "2026-11-20T16:59:00"),
            (
                "--opened: expected a time with an offset such as 2026-11-20T16:59:00Z or 2026-11-20T16:59:00+01:00, "
                "found '2026-11-20T16:59:00', which does not say in which zone\n"
            ),
        ),
        (
            ("--severity", "P5", "--opened", "2026-11-20T16:59:00Z"),
            "--severity: expected one of P1, P2, P3, P4, found 'P5'\n",
        ),
    ],
)
def test_due_refuses_what_it_cannot_understand(arguments: tuple[str, ...], told: str) -> None:
    found = run(*arguments)
    assert (found.exit_code, found.stdout, found.stderr) == (2, "", told)


@pytest.mark.parametrize(
    ("name", "text"),
    [("terms.json", '{"zone": "Australia/Sydney", "public_holidays": "AU-NSW"}'),
     ("terms.toml", 'zone = "Australia/Sydney"\npublic_holidays = "AU-NSW"\ncompany_holidays = [2026-12-24]')],
)  # fmt: skip
def test_due_takes_other_terms_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = run("--severity", "P1", "--opened", "2026-11-15T22:30:00Z", "--terms", str(tmp_path / name), "--json")
    assert json.loads(found.stdout)["first_response_due_hq"] == "2026-11-16T13:30:00+11:00"


@pytest.mark.parametrize("text", ["[]", "{", '{"zone": "Mars/Olympus"}', None])
def test_due_says_why_it_cannot_take_terms(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "terms.json"
    if text is not None:
        path.write_text(text)
    found = run("--severity", "P1", "--opened", "2026-11-15T22:30:00Z", "--terms", str(path))
    assert (found.exit_code, found.stdout, found.stderr[:9]) == (2, "", "--terms: ")
