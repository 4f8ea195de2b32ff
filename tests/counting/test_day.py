"""A tenant's day: what goes in comes out by minute and portal, from memory and from its bytes, and no producer fills it without end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.counting import frame as frames
from monitor.counting import windows
from monitor.counting.day import CODES, DAY, OTHER, PORTALS, WIDTH, Day, split_by_day
from monitor.counting.frame import Columns, Frame, Tally
from tests.tallied import packed

rows = st.lists(st.sampled_from([0, 0, 1, 255, 256, 65_535, 65_536, 2**24]), min_size=5, max_size=5)
additions = st.lists(st.tuples(st.sampled_from(["login", "admin"]), st.integers(0, DAY - 1), rows), max_size=40)


def filled(added: list[tuple[str, int, list[int]]], number: int = 20_780) -> Day:
    day = Day(number)
    for portal, minute, row in added:
        day.portal(portal)[1].add(minute, row)
    return day


def by_hand(added: list[tuple[str, int, list[int]]], first: int, upto: int) -> Counter[tuple[str, int]]:
    out: Counter[tuple[str, int]] = Counter()
    for portal, minute, row in added:
        for index, n in enumerate(row):
            out[portal, index] += n if first <= minute < upto else 0
    return +out


def flat(portals: dict[str, list[int]]) -> Counter[tuple[str, int]]:
    return +Counter({(name, index): n for name, row in portals.items() for index, n in enumerate(row)})


@settings(deadline=None)
@given(additions, st.integers(-5, DAY + 5), st.integers(-5, DAY + 5))
def test_minutes_in_any_order_sum_up_over_any_range_before_and_after_a_round_trip(
    added: list[tuple[str, int, list[int]]], first: int, upto: int
) -> None:
    day = filled(added)
    day.stamp = 41
    for each in (day, Day.decode(day.number, day.encode())):
        assert each.stamp == 41
        assert flat(each.between(first, upto)) == by_hand(added, first, upto)
        assert flat(each.totals()) == by_hand(added, 0, DAY)
        in_class = [sum(row[i] for _, _, row in added) for i in range(5)]
        assert [each.by_minute(np.array([i])).sum() for i in range(5)] == in_class
        assert each.by_minute().sum() == sum(in_class)
        assert list(each.rows()) == list(day.rows())
        assert all(list(portal.minutes) == sorted(set(portal.minutes)) for portal in each.portals.values())


def test_a_busy_day_sums_up_over_any_range_as_a_quiet_one_does() -> None:
    added = [
        ("login", minute, [minute, 2**32 - 1 if minute % 7 == 0 else 0, 1, 0, minute % 2]) for minute in range(DAY)
    ]
    day = filled(added)
    for first, upto in ((0, 3), (5, 95), (0, 1439), (1, 1440), (700, 1440), (1439, 1440)):
        assert flat(day.between(first, upto)) == by_hand(added, first, upto)


@given(additions, additions)
def test_a_decoded_day_goes_on_counting(before: list[tuple[str, int, list[int]]], after: list) -> None:
    day = Day.decode(20_780, filled(before).encode())
    for portal, minute, row in after:
        day.portal(portal)[1].add(minute, row)
    assert day.encode() == filled(before + after).encode()


@pytest.mark.parametrize(("most", "width"), [(1, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4)])
def test_a_class_takes_as_many_bytes_a_minute_as_its_largest_count_and_an_absent_one_none(
    most: int, width: int
) -> None:
    for minutes in (1, 200):
        day = filled([("login", minute, [most if minute == 0 else 1, 0, 0, 0, 0]) for minute in range(minutes)])
        assert minutes * (2 + width) <= len(day.encode()) <= minutes * (2 + width) + 50


def test_portals_beyond_the_most_count_under_other_and_none_is_lost() -> None:
    day = filled(
        [(f"portal-{n}", n, [1, 0, 0, 0, 0]) for n in range(PORTALS + 10)] + [("portal-3", 3, [0, 0, 7, 0, 0])]
    )
    totals = day.totals()
    assert len(totals) == PORTALS + 1
    assert totals[OTHER] == [10, 0, 0, 0, 0]
    assert totals["portal-3"] == [1, 0, 7, 0, 0]


def test_codes_beyond_the_most_count_under_other_and_none_is_lost() -> None:
    day = Day(1)
    for n in range(CODES + 10):
        day.add_codes("login", f"E-{n}", {DAY + 5: 2})
    day.add_codes("login", "E-0", {DAY + 5: 1, DAY + 6: 1})
    codes = Day.decode(1, day.encode()).codes["login"]
    assert len(codes) == CODES + 1
    assert codes[OTHER] == {5: 20}
    assert codes["E-0"] == {5: 3, 6: 1}


def test_tallies_over_midnight_are_split_at_it() -> None:
    tally = Tally({DAY * 3 - 1: [1, 0, 0, 0, 2], DAY * 3: [0, 0, 0, 0, 4]}, {"E": {DAY * 3 - 1: 2, DAY * 3: 4}})
    other = Tally({DAY * 3: [7, 0, 0, 0, 0]}, {})
    assert split_by_day({"login": tally, "radius": other}) == {
        2: {"login": Tally({DAY * 3 - 1: [1, 0, 0, 0, 2]}, {"E": {DAY * 3 - 1: 2}})},
        3: {"login": Tally({DAY * 3: [0, 0, 0, 0, 4]}, {"E": {DAY * 3: 4}}), "radius": other},
    }


def test_bytes_that_are_no_day_are_named() -> None:
    with pytest.raises(ValueError, match="expected a day's record"):
        Day.decode(1, b"\xc1 rubbish")


@given(st.lists(st.tuples(st.integers(0, 3 * DAY), rows), max_size=20), st.integers(1, 4 * DAY))
def test_a_window_sums_the_minutes_before_its_end_across_days(added: list[tuple[int, list[int]]], upto: int) -> None:
    days: dict[int, Day] = {}
    for minute, row in added:
        days.setdefault(minute // DAY, Day(minute // DAY)).portal(f"p{minute % 2}")[1].add(minute % DAY, row)
    for name, length in windows.WINDOWS.items():
        expected = [sum(row[i] for minute, row in added if upto - length <= minute < upto) for i in range(5)]
        assert windows.rolling(days.get, upto)[name] == expected


KEYS: Any = {"topic": "t", "partition": 1, "partitions": 2, "start": 3, "upto": 4, "at_ms": 5, "complete_ms": 6}
FRAME = Frame(**KEYS)


def test_a_frame_of_a_version_that_is_not_known_says_what_to_run() -> None:
    assert frames.decode(frames.encode(FRAME)) == FRAME
    later = msgspec.msgpack.encode([3, *msgspec.msgpack.decode(frames.encode(FRAME))[1:]])
    with pytest.raises(ValueError, match="expected a frame of version 2, got version 3: run the monitor that wrote it"):
        frames.decode(later)


counted = st.dictionaries(
    st.sampled_from(["ant", "bee"]),
    st.dictionaries(
        st.sampled_from(["login", "admin"]),
        st.dictionaries(
            st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**40), min_size=5, max_size=5), min_size=1, max_size=3
        ),
        min_size=1,
    ),
)


@given(st.lists(counted, min_size=1, max_size=4))
def test_counts_of_several_frames_add_up_whatever_tenants_and_minutes_they_share(several: list[Any]) -> None:
    expected: Counter[tuple[str, str, int, int]] = Counter()
    parts = []
    for counts in several:
        made = {t: {p: Tally(rows, {"E": {min(rows): 1}}) for p, rows in ps.items()} for t, ps in counts.items()}
        parts.append(frames.Frame(**KEYS, packed=packed(made)).columns())
        for tenant, portals in counts.items():
            for portal, rows in portals.items():
                expected[tenant, portal, min(rows), WIDTH] += 1
                for minute, row in rows.items():
                    expected.update({(tenant, portal, minute, index): n for index, n in enumerate(row)})
    found: Counter[tuple[str, str, int, int]] = Counter()
    for tenant, portals in frames.add_up(parts).items():
        for portal, tally in portals.items():
            assert list(tally.minutes) == sorted(tally.minutes)
            found.update(
                {(tenant, portal, at, index): n for at, row in tally.minutes.items() for index, n in enumerate(row)}
            )
            found.update({(tenant, portal, at, WIDTH): n for at, n in tally.codes["E"].items()})
    assert +found == +expected


@pytest.mark.parametrize(
    "columns",
    [
        Columns({"ant": ["login"]}, b"", b"", []),
        Columns({"ant": ["login"]}, b"\2\0\0\0", b"\7\0\0\0", [b"\1", b"", b"", b"", b""]),
        Columns({"ant": ["login"]}, b"\1\0\0\0", b"\7\0\0\0", [b"\1", b"", b""]),
        Columns({"ant": ["login"]}, b"\1\0\0\0", b"\7\0\0\0", [b"\1\1\1", b"", b"", b"", b""]),
    ],
)
def test_columns_that_do_not_fit_together_are_named_with_their_frame(columns: Columns) -> None:
    with pytest.raises(ValueError, match="t-1 from 3: expected a frame's counts"):
        Frame(**KEYS, packed=frames.pack(columns)).columns()


@pytest.mark.parametrize("data", [b"", b"{}", b"\x80", b"\xff" * 50])
def test_bytes_that_are_no_frame_are_named(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected a frame of version 2"):
        frames.decode(data)
