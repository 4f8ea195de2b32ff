"""Who is promised what and since when; months in a zone, on both clock changes and where the contract changes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.contract.agreement import Agreement, Agreements, agreement_of
from monitor.contract.period import DAY, Period, local_days, minute_of, month_named
from monitor.contract.terms import STANDARD, Terms

HOUR = 60


def utc(text: str) -> int:
    return minute_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


def contract(**more: object) -> Agreement:
    return agreement_of({"tenant": "acme", "partner": "north", **more}, 0)


@pytest.mark.parametrize(
    ("zone", "month", "start", "end", "odd_day", "odd_hours"),
    [
        # Auckland puts the clock forward on 27 September 2026 at 02:00 and back on 5 April 2026 at 03:00.
        ("Pacific/Auckland", "2026-09", "2026-08-31T12:00", "2026-09-30T11:00", date(2026, 9, 27), 23),
        ("Pacific/Auckland", "2026-04", "2026-03-31T11:00", "2026-04-30T12:00", date(2026, 4, 5), 25),
        # New York puts it forward on 8 March 2026 and back on 1 November 2026, both at 02:00.
        ("America/New_York", "2026-03", "2026-03-01T05:00", "2026-04-01T04:00", date(2026, 3, 8), 23),
        ("America/New_York", "2026-11", "2026-11-01T04:00", "2026-12-01T05:00", date(2026, 11, 1), 25),
    ],
)
def test_a_month_and_its_days_follow_the_wall_clock(
    zone: str, month: str, start: str, end: str, odd_day: date, odd_hours: int
) -> None:
    found = Agreements("acme", (contract(zone=zone),)).month(month)
    assert found.period == Period(utc(start), utc(end), month)
    days = local_days(found.period, zone)
    assert {day: (to - since) // HOUR for day, since, to in days if to - since != DAY} == {odd_day: odd_hours}
    assert (days[0][1], days[-1][2]) == (utc(start), utc(end))


def test_a_day_without_midnight_starts_where_the_clock_goes_on() -> None:
    # Beirut puts the clock forward at midnight: 29 March 2026 starts at 01:00, which is 22:00 UTC.
    days = local_days(month_named("2026-03", "Asia/Beirut"), "Asia/Beirut")
    assert [(since, to - since) for day, since, to in days if day == date(2026, 3, 29)] == [
        (utc("2026-03-28T22:00"), 23 * HOUR)
    ]


def test_a_tenant_that_nobody_knows_is_under_the_standard_terms_in_utc() -> None:
    month = Agreements("acme").month("2026-11")
    assert (month.agreement.terms, month.agreement.zone, month.standing) == (STANDARD, "UTC", "unknown")
    assert month.covered == month.period == month_named("2026-11")


def test_the_term_cuts_its_first_and_last_month() -> None:
    both = Agreements("acme", (contract(start="2026-10-15", end="2026-12-10"),))
    months = {name: both.month(name) for name in ("2026-09", "2026-10", "2026-11", "2026-12", "2027-01")}
    assert {name: month.standing for name, month in months.items()} == {
        "2026-09": "unknown",
        "2026-10": "in_term",
        "2026-11": "in_term",
        "2026-12": "in_term",
        "2027-01": "ended",
    }
    assert months["2026-10"].covered.start == utc("2026-10-15T00:00")
    assert months["2026-11"].covered == months["2026-11"].period
    assert months["2026-12"].covered.end == utc("2026-12-11T00:00"), "the last day is inside"
    assert months["2027-01"].covered.minutes == 0
    assert both.month("2026-12", extension=3).covered.end == utc("2026-12-14T00:00")


def test_a_change_takes_effect_from_its_date_and_governs_the_months_after() -> None:
    old = contract(tier="silver", start="2026-01-01")
    new = contract(tier="gold", start="2026-01-01", effective_from="2026-11-10")
    both = Agreements("acme", (new, old))
    assert both.at(utc("2026-11-09T23:59")).tier == "silver"
    assert both.at(utc("2026-11-10T00:00")).tier == "gold"
    assert both.at(utc("2025-12-31T23:59")).contracted is False
    assert [both.month(name).agreement.tier for name in ("2026-10", "2026-11", "2026-12")] == [
        "silver",
        "silver",
        "gold",
    ]


def test_of_two_records_for_the_same_date_the_one_recorded_last_holds_and_only_once_it_is_known() -> None:
    first = contract(tier="silver")
    second = agreement_of({"tenant": "acme", "tier": "gold"}, 5_000)
    both = Agreements("acme", (second, first))
    assert both.at(0).tier == "gold"
    assert both.known(4_999).at(0).tier == "silver"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["UTC", "Pacific/Auckland", "America/New_York", "Pacific/Kiritimati", "Asia/Kolkata"]),
            st.dates(date(2026, 1, 1), date(2026, 12, 31)),
        ),
        max_size=4,
    )
)
def test_months_follow_each_other_without_gap_or_overlap_whatever_zones_a_contract_goes_through(
    changes: list[tuple[str, date]],
) -> None:
    all_of_them = tuple(
        Agreement("acme", zone=zone, effective_from=day, contracted=True, recorded=place)
        for place, (zone, day) in enumerate(changes)
    )
    agreements = Agreements("acme", all_of_them)
    names = [f"{year}-{number:02d}" for year in (2025, 2026, 2027) for number in range(1, 13)]
    months = [agreements.month(name) for name in names]
    for month, after in pairwise(months):
        assert month.period.start < month.period.end == after.period.start
        assert agreements.month_at(month.period.start) == agreements.month_at(month.period.end - 1) == month


def test_when_the_zone_changes_the_last_month_in_the_old_one_is_whole_and_the_next_makes_up_the_difference() -> None:
    old = Agreement("acme", zone="UTC", contracted=True)
    new = Agreement("acme", zone="Pacific/Auckland", effective_from=date(2026, 12, 1), contracted=True)
    both = Agreements("acme", (old, new))
    assert both.month("2026-11").period == month_named("2026-11")
    december = both.month("2026-12")
    assert (december.period.start, december.period.end) == (utc("2026-12-01T00:00"), utc("2026-12-31T11:00"))


def test_all_faults_of_a_contract_are_named_at_once() -> None:
    bad = {
        "tenant": "Acme Ltd",
        "zone": "Mars/Olympus",
        "portals": "all",
        "start": "2026-02-30",
        "terms": {"cap_days": -1},
        "partner": 5,
    }
    with pytest.raises(ValueError) as caught:
        agreement_of(bad, 0)
    assert [fault.split(":")[0] for fault in str(caught.value).split("; ")] == [
        "tenant",
        "terms.cap_days",
        "zone",
        "partner",
        "portals",
        "start",
    ]
    with pytest.raises(ValueError, match="end: expected a date not before the start"):
        contract(start="2026-02-01", end="2026-01-31")
    with pytest.raises(ValueError, match="expected an object"):
        agreement_of(["acme"], 0)


def test_an_agreement_comes_back_as_it_was_written() -> None:
    terms = Terms("gold-1", claim_days=60)
    full = contract(tier="gold", zone="Europe/London", portals=["vpn", "admin"], start="2026-01-01", end="2026-12-31")
    assert agreement_of(full.record(), 0) == full
    assert agreement_of({"tenant": "acme", "terms": {"version": "gold-1", "claim_days": 60}}, 0).terms == terms
