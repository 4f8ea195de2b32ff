"""Bands, days and what is left, by integers: at each boundary, and against plain fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.contract.terms import FULL, STANDARD, Terms, Tier, below, shown, terms_of, terms_record, until

counts = st.integers(0, 10**9)


@pytest.mark.parametrize(
    ("good", "bad", "band", "days", "text"),
    [
        (10_000, 0, 9900, 0, "100.000 %"),
        (9_900, 100, 9900, 0, "99.000 %"),
        (9_899, 101, 9500, 3, "98.990 %"),
        (989_996, 10_004, 9500, 3, "98.999 %"),
        (9_500, 500, 9500, 3, "95.000 %"),
        (9_499, 501, 9000, 5, "94.990 %"),
        (9_000, 1_000, 9000, 5, "90.000 %"),
        (8_999, 1_001, 0, 10, "89.990 %"),
        (0, 1, 0, 10, "0.000 %"),
        (0, 0, 9900, 0, "no demand"),
        (989_999_999_999, 10_000_000_001, 9500, 3, "98.999 %"),
    ],
)
def test_exactly_on_a_boundary_gets_the_better_band(good: int, bad: int, band: int, days: int, text: str) -> None:
    assert (STANDARD.band(bad, good + bad), STANDARD.days(bad, good + bad)) == (band, days)
    assert shown(good, bad) == text


@given(counts, counts, st.integers(1, FULL - 1))
def test_a_band_is_lost_exactly_when_the_fraction_is_under_it(good: int, bad: int, threshold: int) -> None:
    total = good + bad
    assert below(bad, total, threshold) == (total > 0 and Fraction(good, total) < Fraction(threshold, FULL))


@given(counts, counts)
def test_what_is_shown_is_never_more_than_what_was(good: int, bad: int) -> None:
    if good + bad:
        text = Fraction(shown(good, bad).removesuffix(" %"))
        assert 0 <= Fraction(100 * good, good + bad) - text < Fraction(1, 1000)


@given(counts, counts, st.integers(1, FULL - 1))
def test_one_more_than_is_left_loses_the_threshold_and_one_less_than_is_missing_does_not_regain_it(
    good: int, bad: int, threshold: int
) -> None:
    left = until(good, bad, threshold)
    if left >= 0:
        assert not below(bad + left, good + bad + left, threshold)
        assert below(bad + left + 1, good + bad + left + 1, threshold)
    else:
        assert not below(bad, good + bad - left, threshold)
        assert below(bad, good + bad - left - 1, threshold)


@given(counts, counts, st.integers(0, 20))
def test_credit_never_exceeds_the_cap_and_is_never_negative(good: int, bad: int, cap: int) -> None:
    assert 0 <= Terms("other", cap_days=cap).days(bad, good + bad) <= cap


def test_other_terms_are_data_and_come_back_as_they_were_written() -> None:
    terms = terms_of({"version": "gold-2", "tiers": [{"below": 99.95, "days": 2}, {"below": 97, "days": 15}]})
    assert terms == Terms("gold-2", (Tier(9995, 2), Tier(9700, 15)))
    assert terms.days(10, 10_000) == 2
    assert terms.days(400, 10_000) == 10, "the cap of the published terms holds"
    assert terms_of(terms_record(terms)) == terms
    assert terms_of(terms_record(STANDARD)) == STANDARD


def test_all_faults_of_terms_are_named_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        terms_of({"version": "", "cap": 3, "claim_days": 2.5, "tiers": [{"below": 99.999, "days": 3}, {"below": 95}]})
    assert str(caught.value) == (
        "cap: expected one of version, tiers, cap_days, claim_days, final_business_days, minute_down_percent, "
        "coverage_percent; version: expected a text, found ''; claim_days: expected a whole number from 0 to 3660, found 2.5; "
        "tiers[0].below: expected percent over 0 and under 100, two decimals at most, found 99.999; "
        "tiers[1].days: expected a whole number from 0 to 3660, found None"
    )


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"cap_days": 12}, "a name of their own"),
        (
            {"version": "x", "tiers": [{"below": 95, "days": 3}, {"below": 99, "days": 5}]},
            "the highest threshold first",
        ),
        ({"version": "x", "tiers": []}, "expected a list"),
        ({"version": "x", "tiers": [{"below": True, "days": 1}]}, "percent over 0"),
        ({"version": "x", "tiers": [{"below": float("nan"), "days": 1}]}, "percent over 0"),
        ("gold", "expected an object"),
    ],
)
def test_terms_that_cannot_be_are_refused(data: object, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        terms_of(data)
