"""A month's counts after people's decisions: against a recount that walks minute by minute, and by hand."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.contract.exclusions import Exclusion, Window
from monitor.contract.period import Period, minute_of, month_named
from monitor.contract.readings import Counts, Minutes, Sheet, Silence, Tally, UserMinutes, compare, coverage, deadline
from monitor.contract.rulings import Ruling, Rulings
from monitor.contract.terms import STANDARD, Terms

ZONE = "Pacific/Auckland"
EVENING = Period(
    minute_of(datetime(2026, 9, 27, 10, 40, tzinfo=UTC)), minute_of(datetime(2026, 9, 27, 11, 20, tzinfo=UTC)), "x"
)
PORTALS = ("admin", "vpn")
CODES = ("E1", "E2", "")

minute_of_period = st.integers(EVENING.start - 5, EVENING.end + 4)
rows = st.lists(st.tuples(st.sampled_from(PORTALS), minute_of_period, st.tuples(*[st.integers(0, 5)] * 4)), max_size=25)
codes = st.lists(
    st.tuples(st.sampled_from(PORTALS), st.sampled_from(CODES), minute_of_period, st.integers(1, 4)), max_size=12
)
windows = st.lists(
    st.builds(
        lambda start, length, portals: Window(start, start + length, "internet", None, portals),
        minute_of_period,
        st.integers(1, 20),
        st.sampled_from([None, ("admin",), ("vpn",), ("elsewhere",)]),
    ),
    max_size=4,
)
classified = st.builds(
    lambda at, code, verdict, start: Ruling(f"r{at}", "acme", "classify", at, "g", at, "", code, verdict, start),
    st.integers(0, 50),
    st.sampled_from(CODES),
    st.sampled_from(["server", "client", "external"]),
    minute_of_period,
)
silenced = st.builds(
    lambda at, verdict, start, length, n: Ruling(
        f"s{at}", "acme", "silence", at, "g", at, "", "", verdict, start, start + length, n if verdict == "bad" else 0
    ),
    st.integers(0, 50),
    st.sampled_from(["bad", "excluded"]),
    minute_of_period,
    st.integers(1, 30),
    st.integers(1, 90),
)
ruled = st.lists(st.one_of(classified, silenced), max_size=6, unique_by=lambda item: item.at)


def sheet_of(counts: Any, by_code: Any, decided: list[Ruling], **more: Any) -> Sheet:
    all_rows = [(portal, minute, (*four, 0)) for portal, minute, four in counts]
    all_rows += [(portal, minute, (0, 0, 0, 0, n)) for portal, _, minute, n in by_code]
    held = Rulings("acme", tuple(sorted(decided, key=lambda item: item.at)))
    return Sheet(Minutes(all_rows, by_code), EVENING, ZONE, STANDARD, held, **more)


def recount(counts: Any, by_code: Any, decided: list[Ruling], out: list[Window]) -> dict[str, Any]:
    """The same by walking: one request after the other, one minute after the other."""
    decided = sorted(decided, key=lambda item: item.at)
    requests = Counter[tuple[str, int, str]]()
    for portal, minute, four in counts:
        for name, n in zip(Counts._fields, four, strict=False):
            requests[portal, minute, name] += n
    for portal, code, minute, n in by_code:
        name = "unclassified"
        for item in decided:
            if item.kind == "classify" and item.code == code and item.start <= minute:
                name = item.verdict
        requests[portal, minute, name] += n
    seen = {minute for _, minute, _ in [*((p, m, 0) for p, m, _ in counts), *((p, m, 0) for p, _, m, _ in by_code)]}
    good = bad = up = down = 0
    dates = Counter[date]()
    portals = {name: (Counter[str](), Counter[str]()) for name in PORTALS}
    for minute in range(EVENING.start, EVENING.end):
        minute_good = minute_bad = 0
        for portal in PORTALS:
            gone = any(w.start <= minute < w.end and (w.portals is None or portal in w.portals) for w in out)
            for name in Counts._fields:
                n = requests[portal, minute, name]
                portals[portal][gone][name] += n
                minute_good += n if not gone and name in ("success", "client") else 0
                minute_bad += n if not gone and name in ("server", "unclassified") else 0
        if minute not in seen:
            held = [item for item in decided if item.kind == "silence" and item.start <= minute < item.end]
            if held and not any(w.portals is None and w.start <= minute < w.end for w in out):
                k, n, r = minute - held[-1].start, held[-1].end - held[-1].start, held[-1].requests
                minute_bad += (k + 1) * r // n - k * r // n
        good, bad = good + minute_good, bad + minute_bad
        if minute_good + minute_bad:
            is_down = 20 * minute_bad > minute_good + minute_bad
            up, down = up + (not is_down), down + is_down
        if minute_bad:
            dates[datetime.fromtimestamp(minute * 60, ZoneInfo(ZONE)).date()] += minute_bad
    return {"requests": (good, bad), "minutes": (up, down), "dates": dict(dates), "portals": portals}


def said(tally: Tally) -> dict[str, Any]:
    portals = {name: (Counter[str](), Counter[str]()) for name in PORTALS}
    for name, portal in tally.portals.items():
        portals[name] = (Counter(portal.counted._asdict()), Counter(portal.excluded._asdict()))
    return {
        "requests": (tally.requests.good, tally.requests.bad),
        "minutes": (tally.minutes.good, tally.minutes.bad),
        "dates": {item.day: item.bad for item in tally.affected},
        "portals": portals,
    }


@settings(max_examples=150)
@given(rows, codes, ruled, windows)
def test_a_month_is_what_a_walk_through_its_minutes_finds(
    counts: Any, by_code: Any, decided: list[Ruling], out: list[Window]
) -> None:
    found = said(sheet_of(counts, by_code, decided).count(out))
    expected = recount(counts, by_code, decided, out)
    assert {name: found[name] for name in ("requests", "minutes", "dates")} == {
        name: expected[name] for name in ("requests", "minutes", "dates")
    }
    for name in PORTALS:
        assert [+side for side in found["portals"][name]] == [+side for side in expected["portals"][name]]


@given(rows, codes, ruled, windows)
def test_portals_days_and_faults_add_up_to_the_total_and_nothing_is_lost(
    counts: Any, by_code: Any, decided: list[Ruling], out: list[Window]
) -> None:
    tally = sheet_of(counts, by_code, decided).count(out)
    came = sum(sum(four) for _, minute, four in counts if minute in EVENING)
    came += sum(n for _, _, minute, n in by_code if minute in EVENING)
    assert tally.counted.total + tally.excluded.total == came
    assert tally.counted.good == tally.requests.good
    assert tally.counted.bad + tally.missing == tally.requests.bad == sum(day.bad for day in tally.affected)


@given(rows, codes, windows, windows)
def test_excluding_and_then_revoking_changes_nothing(counts: Any, by_code: Any, out: list[Window], more: Any) -> None:
    sheet = sheet_of(counts, by_code, [])
    before = sheet.count(out)
    sheet.count(out + more)
    assert sheet.count(out) == before


@given(rows, codes, windows)
def test_each_exclusion_is_shown_with_and_without_it(counts: Any, by_code: Any, out: list[Window]) -> None:
    sheet = sheet_of(counts, by_code, [])
    found = [
        Exclusion(f"e{place}", window, "approved" if place % 2 else "declared", "g", 0, 0)
        for place, window in enumerate(out)
    ]
    counting = [item for item in found if item.counts]
    now = sheet.count([item.window for item in counting])
    for compared in compare(sheet, found, now):
        name = compared.exclusion.id
        assert compared.with_it == sheet.count(
            [item.window for item in counting if item.id != name] + [compared.exclusion.window]
        )
        assert compared.without_it == sheet.count([item.window for item in counting if item.id != name])


def sheet_for(
    month: str, zone: str, minutes: dict[int, tuple[int, ...]], terms: Terms = STANDARD, **more: Any
) -> Sheet:
    rows = [("vpn", minute, counts) for minute, counts in minutes.items()]
    return Sheet(Minutes(rows), month_named(month, zone), zone, terms, Rulings("acme"), **more)


def at(text: str, zone: str) -> int:
    return minute_of(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


BAD = (0, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("zone", "month", "before", "after", "claim_by"),
    [
        # The last minute of a date and the first of the next, with a day of 23 or 25 hours on the way to the deadline.
        ("Pacific/Auckland", "2026-09", "2026-09-26T23:59", "2026-09-27T00:00", ("2026-10-26", "2026-10-27")),
        ("Pacific/Auckland", "2026-04", "2026-04-05T23:59", "2026-04-06T00:00", ("2026-05-05", "2026-05-06")),
        ("America/New_York", "2026-03", "2026-03-08T23:59", "2026-03-09T00:00", ("2026-04-07", "2026-04-08")),
        ("America/New_York", "2026-11", "2026-11-01T23:59", "2026-11-02T00:00", ("2026-12-01", "2026-12-02")),
    ],
)
def test_a_failure_affects_its_local_date_across_clock_changes(
    zone: str, month: str, before: str, after: str, claim_by: tuple[str, str]
) -> None:
    tally = sheet_for(month, zone, {at(before, zone): BAD, at(after, zone): BAD}).count([])
    assert [(item.day.isoformat(), item.bad) for item in tally.affected] == [(before[:10], 1), (after[:10], 1)]
    assert tuple(item.claim_by.isoformat() for item in tally.affected) == claim_by
    assert [item.closes for item in tally.affected] == [
        at(f"{claim_by[1]}T00:00", zone),
        at(f"{claim_by[1]}T00:00", zone) + 1440,
    ]


def test_a_claim_is_in_time_through_the_thirtieth_day_and_late_on_the_thirty_first() -> None:
    last, closes = deadline(date(2026, 11, 1), STANDARD, "UTC")
    assert last == date(2026, 12, 1)
    assert closes == at("2026-12-02T00:00", "UTC")


def test_readings_that_land_in_different_bands_are_flagged() -> None:
    start = month_named("2026-11").start
    quiet = {start + minute: (1, 0, 0, 0, 0) for minute in range(100)}
    # Twenty of 1,000 requests fail, all in one minute: 98 % by requests, 99.0099 % by minutes.
    sheet = sheet_for("2026-11", "UTC", quiet | {start + 200: (880, 0, 0, 0, 0), start + 201: (0, 0, 20, 0, 0)})
    tally = sheet.count([])
    assert (tally.requests.good, tally.requests.bad, tally.requests.band, tally.requests.days) == (980, 20, 9500, 3)
    assert (tally.minutes.good, tally.minutes.bad, tally.minutes.band) == (101, 1, 9900)
    assert tally.disagree
    assert not sheet.count([Window(start + 201, start + 202, "internet")]).disagree


def test_a_minute_at_exactly_five_percent_is_up_and_one_above_is_down() -> None:
    start = month_named("2026-11").start
    tally = sheet_for("2026-11", "UTC", {start: (19, 0, 1, 0, 0), start + 1: (18, 0, 0, 9, 1)}).count([])
    assert (tally.minutes.good, tally.minutes.bad) == (1, 1)


def test_a_month_without_a_request_keeps_every_promise_and_owes_nothing() -> None:
    tally = sheet_for("2026-11", "UTC", {}).count([])
    assert (tally.requests.demand, tally.requests.days, tally.affected, tally.disagree) == (False, 0, (), False)
    assert tally.requests.record()["availability"] == "no demand"
    assert tally.requests.record()["band"] is None


def test_users_are_left_out_with_the_minute_when_all_that_happened_in_it_is() -> None:
    start = month_named("2026-11").start
    users = UserMinutes(
        np.array([start, start + 1, start + 2]), np.array([10, 10, 10]), np.array([1, 2, 4]), "counted one by one"
    )
    counts = [("vpn", start, BAD), ("vpn", start + 1, BAD), ("admin", start + 1, BAD), ("vpn", start + 2, BAD)]
    sheet = Sheet(Minutes(counts), month_named("2026-11"), "UTC", STANDARD, Rulings("acme"), users)
    vpn_only = [Window(start, start + 2, "internet", None, ("vpn",))]
    readings = [sheet.count(out).users for out in ([], vpn_only, [Window(start, start + 3, "internet")])]
    assert [(r.good, r.bad) for r in readings if r] == [(23, 7), (14, 6), (0, 0)]


def test_a_silence_stays_undecided_minute_by_minute_until_somebody_rules() -> None:
    start = EVENING.start
    counts = [("vpn", start + 12, (1, 0, 0, 0))]
    silence = Silence(start + 10, start + 20, 50)
    half = Ruling("s1", "acme", "silence", 1, "g", 1, "", "", "bad", start + 10, start + 15, 25)
    assert sheet_of(counts, [], []).undecided(silence) == 9
    sheet = sheet_of(counts, [], [half])
    assert sheet.undecided(silence) == 5
    assert sheet.count([]).missing == 20, "the minute in which something came is not silent"


def test_what_came_outside_the_term_is_counted_apart() -> None:
    whole = month_named("2026-11")
    part = Period(whole.start + 100, whole.start + 200, "2026-11")
    counts = [("vpn", whole.start + m, (1, 0, 0, 0, 0)) for m in (99, 100, 199, 200)] + [("vpn", whole.end, BAD)]
    sheet = Sheet(Minutes(counts), part, "UTC", STANDARD, Rulings("acme"), whole=whole)
    assert sheet.outside == Counts(success=2)
    assert sheet.count([]).counted == Counts(success=2)


def test_codes_and_counts_that_contradict_each_other_stop_the_work() -> None:
    minutes = Minutes([("vpn", EVENING.start, (0, 0, 0, 0, 1))], [("vpn", "E1", EVENING.start, 2)])
    decided = Ruling("r1", "acme", "classify", 1, "g", 1, "", "E1", "server", EVENING.start)
    with pytest.raises(AssertionError, match="does not hold as many"):
        Sheet(minutes, EVENING, ZONE, STANDARD, Rulings("acme", (decided,)))


def test_coverage_counts_a_minute_missed_twice_once_and_asks_for_ninety_percent() -> None:
    period = Period(1000, 2000, "x")
    found = coverage(period, [(990, 1050), (1040, 1080), (1980, 2020), (3000, 4000)])
    assert (found.measured, found.gaps) == (900, ((1000, 1080), (1980, 2000)))
    assert found.enough(STANDARD)
    assert not coverage(period, [(1000, 1101)]).enough(STANDARD)
