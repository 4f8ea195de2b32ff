"""Statements: what they say, when they are due, that what was issued stays, and what a check of a chain finds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.contract.agreement import Agreement, Agreements, agreement_of
from monitor.contract.exclusions import ExclusionDecision, Window
from monitor.contract.period import minute_of, month_named
from monitor.contract.readings import Minutes, Silence
from monitor.contract.rulings import Ruling
from monitor.contract.statement import (
    Facts,
    Statement,
    Stretch,
    Tail,
    as_of,
    canonical,
    content,
    difference,
    final_at,
    interim,
    issue,
    recounted,
    verify,
)

MINUTE_MS = 60_000
NOVEMBER = month_named("2026-11")
DAY_MS = 86_400_000
END_MS = NOVEMBER.end * MINUTE_MS
FINAL_MS = END_MS + 3 * DAY_MS  # November ends on a Monday: Tuesday, Wednesday, Thursday pass


def utc_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def contract(**more: Any) -> Agreements:
    record = {"tenant": "acme", "partner": "north", "start": "2026-01-01", "end": "2026-12-31", **more}
    return Agreements("acme", (agreement_of(record, 0),))


def month_of(good: int, bad: int, **more: Any) -> Facts:
    """November with all that is good in its first minute, and what is bad on the 10th at noon."""
    noon = NOVEMBER.start + 9 * 1440 + 720
    minutes = Minutes([("vpn", NOVEMBER.start, (good, 0, 0, 0, 0)), ("vpn", noon, (0, 0, bad, 0, 0))])
    return Facts(**({"agreements": contract(), "month": "2026-11", "minutes": minutes, "as_of": END_MS} | more))


NOON = NOVEMBER.start + 9 * 1440 + 720


def excluded(at: int, revoked_at: int | None = None) -> list[ExclusionDecision]:
    """A window over the bad minute, declared and approved at the instant, and perhaps revoked."""
    story = [
        ExclusionDecision("x1", "m-1", "declare", at, "grace", at, Window(NOON, NOON + 10, "maintenance")),
        ExclusionDecision("x2", "m-1", "approve", at, "linus", at),
    ]
    return (
        story if revoked_at is None else [*story, ExclusionDecision("x3", "m-1", "revoke", revoked_at, "g", revoked_at)]
    )


def chain_of(facts: Facts, times: list[int]) -> list[Statement]:
    """All that is issued when somebody looks at these instants."""
    chain: list[Statement] = []
    tail = Tail()
    for at in times:
        while made := issue(replace(facts, as_of=at), tail, chain[-1] if chain else None):
            chain.append(made)
            tail = tail.after(made)
    return chain


def test_a_month_is_provisional_at_its_end_final_three_business_days_later_and_amended_after() -> None:
    facts = month_of(9_800, 200, exclusions=excluded(FINAL_MS + DAY_MS, revoked_at=FINAL_MS + 2 * DAY_MS))
    looks = [
        END_MS - 1,
        END_MS,
        FINAL_MS - 1,
        FINAL_MS,
        FINAL_MS + DAY_MS,
        FINAL_MS + 2 * DAY_MS,
        FINAL_MS + 3 * DAY_MS,
    ]
    chain = chain_of(facts, looks)
    assert [(item.id, item.as_of) for item in chain] == [
        ("acme/2026-11/provisional", END_MS),
        ("acme/2026-11/final", FINAL_MS),
        ("acme/2026-11/amendment-1", FINAL_MS + DAY_MS),
        ("acme/2026-11/amendment-2", FINAL_MS + 2 * DAY_MS),
    ]
    assert [(item.document["band"], item.days) for item in chain] == [(95, 3), (95, 3), (99, 0), (95, 3)]
    assert chain[2].document["changed"] == ["verdict", "band", "days", "affected", "readings", "counts"]
    assert verify([item.data for item in chain], "acme") is None


@pytest.mark.parametrize(
    ("month", "zone", "holidays", "expected"),
    [
        ("2026-11", "UTC", [], "2026-12-04T00:00"),
        # October ends on a Saturday: Monday, Tuesday, Wednesday pass.
        ("2026-10", "UTC", [], "2026-11-05T00:00"),
        ("2026-12", "Europe/London", ["2027-01-01"], "2027-01-07T00:00"),
        # 1 October in Auckland is 13 hours ahead; the clock goes back in New York on 1 November.
        ("2026-09", "Pacific/Auckland", [], "2026-10-05T11:00"),
        ("2026-10", "America/New_York", [], "2026-11-05T05:00"),
    ],
)
def test_three_business_days_are_counted_in_the_tenants_zone(
    month: str, zone: str, holidays: list[str], expected: str
) -> None:
    found = final_at(month_named(month, zone), zone, 3, frozenset(map(date.fromisoformat, holidays)))
    assert found == minute_of(datetime.fromisoformat(expected).replace(tzinfo=UTC))


def test_a_statement_names_the_holidays_before_its_final_and_another_calendar_moves_no_date_it_stated() -> None:
    tuesday, thursday, friday = date(2026, 12, 1), date(2026, 12, 3), date(2026, 12, 4)
    facts = month_of(9_800, 200, holidays={tuesday, date(2026, 11, 30), date(2026, 12, 5)})
    [provisional] = chain_of(facts, [END_MS])
    # Wednesday, Thursday and Friday pass.
    assert provisional.document["holidays"] == ["2026-12-01"]
    assert provisional.document["final_from"] == "2026-12-05T00:00:00Z"
    moved = replace(facts, holidays={thursday, friday})
    tail = Tail().after(provisional)
    assert issue(replace(moved, as_of=FINAL_MS + DAY_MS - 1), tail, provisional) is None
    final = issue(replace(moved, as_of=FINAL_MS + DAY_MS), tail, provisional)
    assert final is not None
    assert [final.document[name] for name in ("kind", "holidays", "final_from")] == [
        "final", ["2026-12-01"], "2026-12-05T00:00:00Z",
    ]  # fmt: skip


def test_a_statement_says_what_a_dispute_will_ask() -> None:
    facts = month_of(
        9_800,
        200,
        exclusions=excluded(END_MS - DAY_MS),
        silences=[Silence(NOON + 100, NOON + 160, 900)],
        gaps=[(NOON + 500, NOON + 600)],
        sources=[Stretch("auth-requests", 1, 5, 10_005), Stretch("auth-requests", 0, 0, 7)],
        journal=[Stretch("journal", 3, 100, 220)],
    )
    said = interim(replace(facts, as_of=END_MS - 1)).document
    assert (said["kind"], said["verdict"], said["band"], said["days"]) == ("interim", "kept", 99, 0)
    assert said["counts"] == {
        "counted": {"success": 9_800, "client": 0, "server": 0, "external": 0, "unclassified": 0},
        "excluded": {"success": 0, "client": 0, "server": 200, "external": 0, "unclassified": 0},
        "missing": 0,
        "good": 9_800,
        "bad": 0,
    }
    (exclusion,) = said["exclusions"]
    assert (exclusion["id"], exclusion["declared"]["by"], exclusion["approved"]["by"]) == ("m-1", "grace", "linus")
    assert (exclusion["with"]["band"], exclusion["without"]["band"], exclusion["without"]["days"]) == (99, 95, 3)
    assert exclusion["without"]["affected"] == ["2026-11-10"]
    assert said["excluded"] == [{"from": "2026-11-10T12:00:00Z", "to": "2026-11-10T12:10:00Z", "exclusions": ["m-1"]}]
    assert said["silence"][0]["undecided_minutes"] == 60
    assert said["coverage"] == {
        "minutes": 43_200,
        "measured": 43_100,
        "share": "99.768 %",
        "gaps": [{"from": "2026-11-10T20:20:00Z", "to": "2026-11-10T22:00:00Z"}],
        "enough": True,
        "accepted_by": None,
    }
    assert said["evidence"]["sources"][1] == {"topic": "auth-requests", "partition": 1, "from": 5, "upto": 10_005}
    before = interim(month_of(9_800, 200)).document
    assert before["affected"] == [
        {"date": "2026-11-10", "bad": 200, "claim_by": "2026-12-10", "claim_closes": "2026-12-11T00:00:00Z"}
    ]


def test_an_unmeasured_month_is_not_final_until_a_person_accepts_it() -> None:
    accept = Ruling("r1", "acme", "accept_unmeasured", 1, "grace", FINAL_MS + DAY_MS, "seen", month="2026-11")
    facts = month_of(10, 0, gaps=[(NOVEMBER.start, NOVEMBER.start + 5_000)], rulings=[accept])
    chain = chain_of(facts, [END_MS, FINAL_MS, FINAL_MS + DAY_MS - 1, FINAL_MS + DAY_MS])
    assert [(item.id, item.as_of) for item in chain] == [
        ("acme/2026-11/provisional", END_MS),
        ("acme/2026-11/final", FINAL_MS + DAY_MS),
    ]
    assert chain[1].document["coverage"]["accepted_by"] == "grace"


def test_a_declared_exclusion_is_shown_and_amends_nothing_until_it_is_approved() -> None:
    late = [replace(item, recorded=FINAL_MS + 10 * place) for place, item in enumerate(excluded(END_MS), start=1)]
    facts = month_of(9_800, 200, exclusions=late)
    chain = chain_of(facts, [END_MS, FINAL_MS, FINAL_MS + 10, FINAL_MS + 20])
    assert [item.document["kind"] for item in chain] == ["provisional", "final", "amendment"]
    shown = interim(replace(facts, as_of=FINAL_MS + 10)).document["exclusions"][0]
    assert (shown["state"], shown["with"]["days"], shown["without"]["days"]) == ("declared", 0, 3)


def test_requests_before_and_after_the_term_are_counted_and_promised_nothing() -> None:
    facts = month_of(100, 100, agreements=contract(start="2026-10-01", end="2026-11-05"))
    said = content(facts)
    assert (said["short"], said["end"], said["days"], said["verdict"]) == (True, "2026-11-06T00:00:00Z", 0, "kept")
    assert said["outside_term"]["server"] == 100
    ended = month_of(100, 100, agreements=contract(end="2026-10-31"))
    assert (content(ended)["verdict"], content(ended)["days"], content(ended)["band"]) == ("ended", 0, None)
    assert issue(replace(ended, as_of=FINAL_MS), Tail(), None) is None
    assert content(replace(facts, agreements=Agreements("acme")))["standing"] == "unknown"


def test_a_month_without_a_request_is_said_to_have_had_no_demand() -> None:
    said = content(month_of(0, 0))
    assert (said["verdict"], said["band"], said["days"], said["affected"]) == ("no_demand", None, 0, [])
    assert said["readings"]["requests"]["availability"] == "no demand"


def test_codes_that_are_decided_later_move_between_good_bad_and_excluded() -> None:
    counts = Minutes([("vpn", NOON, (90, 0, 0, 0, 10))], [("vpn", "E7", NOON, 6), ("vpn", "", NOON, 4)])
    ruled = [Ruling("r1", "acme", "classify", 5, "g", END_MS, "", "E7", "external", NOVEMBER.start)]
    facts = month_of(0, 0, minutes=counts, rulings=ruled)
    before, after = content(replace(facts, as_of=END_MS - 1)), content(facts)
    assert before["unclassified_codes"] == {"": 4, "E7": 6}
    assert (before["days"], after["days"]) == (5, 3), "exactly 90 % keeps 90"
    assert after["unclassified_codes"] == {"": 4}
    assert after["counts"]["counted"] == {"success": 90, "client": 0, "server": 0, "external": 6, "unclassified": 4}
    assert [item["id"] for item in after["rulings"]] == ["r1"]


stories = st.lists(
    st.tuples(
        st.sampled_from(["declare", "approve", "revoke", "correct"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 8),
        st.integers(0, 12),
    ),
    max_size=8,
)


def decided(story: list[tuple[Any, str, int, int]]) -> list[ExclusionDecision]:
    made = []
    for place, (action, name, day, shift) in enumerate(story):
        at = END_MS + day * DAY_MS
        window = Window(NOON - shift, NOON + 5, "internet") if action in ("declare", "correct") else None
        made.append(ExclusionDecision(f"{place}", name, action, at, "g", at, window))
    return made


@settings(max_examples=60)
@given(stories, stories, st.integers(0, 8))
def test_a_statement_as_of_an_instant_never_changes_later(story: Any, more: Any, day: int) -> None:
    at = END_MS + day * DAY_MS
    facts = month_of(9_800, 200, exclusions=decided(story), as_of=at)
    later = [replace(item, id=f"late-{item.id}", recorded=at + 1 + item.at % DAY_MS) for item in decided(more)]
    assert interim(replace(facts, exclusions=[*later, *decided(story)])).data == interim(facts).data


@settings(max_examples=40)
@given(stories)
def test_a_chain_holds_whatever_is_decided_and_each_version_is_found_again_by_its_instant(story: Any) -> None:
    facts = month_of(9_800, 200, exclusions=decided(story))
    chain = chain_of(facts, [END_MS + day * DAY_MS for day in range(10)])
    assert verify([item.data for item in chain], "acme") is None
    for item in chain:
        assert as_of(chain, "2026-11", item.as_of) == item
        assert recounted(item, replace(facts, as_of=item.as_of)) is None
    assert as_of(chain, "2026-11", END_MS - 1) is None


@settings(max_examples=40)
@given(stories, st.randoms(use_true_random=False))
def test_excluding_then_revoking_leaves_the_counts_as_if_nothing_had_been(story: Any, random: Any) -> None:
    made = decided(story)
    made += [ExclusionDecision(f"end-{n}", n, "revoke", END_MS + 9 * DAY_MS, "g", END_MS + 9 * DAY_MS) for n in "ab"]
    random.shuffle(made)
    facts = month_of(9_800, 200, exclusions=made, as_of=END_MS + 10 * DAY_MS)
    said, plain = content(facts), content(replace(facts, exclusions=[]))
    names = set(said) - {"exclusions"}
    assert {name: said[name] for name in names} == {name: plain[name] for name in names}


def tampered(place: int, change: Any) -> list[bytes]:
    facts = month_of(9_800, 200, exclusions=excluded(FINAL_MS + DAY_MS))
    chain = [item.data for item in chain_of(facts, [END_MS, FINAL_MS, FINAL_MS + DAY_MS])]
    document = json.loads(chain[place])
    change(document)
    chain[place] = canonical(document)
    return chain


@pytest.mark.parametrize(
    ("place", "change", "found"),
    [
        (0, lambda d: d["counts"]["counted"].update(server=100), (0, "$.counts.counted.server")),
        (0, lambda d: d.update(days=0), (0, "$.days")),
        (0, lambda d: d["affected"][0].update(bad=199), (0, "$.affected.bad")),
        (0, lambda d: d.update(tier="gold"), (1, "$.previous")),
        (1, lambda d: d.update(kind="amendment"), (1, "$.kind")),
        (1, lambda d: d.update(previous="0" * 64), (1, "$.previous")),
        (2, lambda d: d.update(number=2), (2, "$.number")),
        (2, lambda d: d.update(tenant="bravo"), (2, "$.tenant")),
        (2, lambda d: d.update(month=["2026-11"]), (2, "$.kind")),
        (2, lambda d: d.update(counts={}), (2, "$")),
    ],
)
def test_a_check_names_the_first_thing_that_was_changed(place: int, change: Any, found: tuple[int, str]) -> None:
    differs = verify(tampered(place, change), "acme")
    assert differs is not None
    assert (differs.place, differs.path) == found
    assert "expected" in differs.sentence()


def test_a_check_finds_a_statement_that_is_missing_written_otherwise_or_none_at_all() -> None:
    chain = tampered(0, lambda _: None)
    assert verify(chain, "acme") is None
    for broken, path in (
        (chain[1:], "$.sequence"),
        ([chain[0], chain[2]], "$.sequence"),
        ([json.dumps(json.loads(chain[0])).encode()], "$"),
        ([b"not json"], "$"),
        ([b"[]"], "$"),
        ([b"{}"], "$"),
    ):
        differs = verify(broken, "acme")
        assert differs is not None
        assert differs.path == path


def test_a_recount_names_the_first_count_that_differs() -> None:
    statement = interim(month_of(9_800, 200))
    differs = recounted(statement, month_of(9_801, 200))
    assert differs is not None
    assert (differs.path, differs.expected, differs.found) == ("$.counts.counted.success", 9_801, 9_800)
    assert recounted(statement, month_of(9_800, 200)) is None


def test_a_difference_is_found_in_keys_lists_and_types() -> None:
    assert difference({"a": 1}, {"a": 1, "b": None}) == ("$.b", None, None)
    assert difference([1, {"a": [2]}], [1, {"a": [3]}]) == ("$[1].a[0]", 2, 3)
    assert difference([1], [1, 2]) == ("$.length", 1, 2)
    assert difference(1, True) == ("$", 1, True)
    assert difference({"a": [1]}, {"a": [1]}) is None


def test_a_zone_change_neither_loses_nor_doubles_a_request() -> None:
    first = Agreement("acme", zone="UTC", contracted=True)
    second = Agreement("acme", zone="Pacific/Auckland", effective_from=date(2026, 12, 1), contracted=True)
    agreements = Agreements("acme", (first, second))
    rows = [("vpn", NOVEMBER.start + 60 * hour, (1, 0, 0, 0, 0)) for hour in range(24 * 61)]
    total = 0
    for name in ("2026-11", "2026-12"):
        facts = month_of(0, 0, agreements=agreements, month=name, minutes=Minutes(rows))
        total += content(facts)["counts"]["good"]
    assert total == 24 * 61 - 13, "the last 13 hours of December in UTC are January in Auckland"
