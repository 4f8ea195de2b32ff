"""Users by minute: exact while there are few, near when there are many, the same in whatever order, and nobody's name anywhere."""

from __future__ import annotations

import json
import random
import statistics
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.counting.chunk import MANY, Chunk, Counts, Reader
from monitor.counting.frame import encode
from monitor.counting.records import Records
from monitor.counting.users import MOST, Hashes, estimate, merged
from monitor.engine.users import UserDay, decode, user_minutes
from monitor.engine.users import encode as encode_day

NOW = 1_795_435_200_000
MINUTE = NOW // 60_000 - 10
SECRET = "a secret of the deployment"


def record(user: str | None, tenant: str = "acme", *, failed: bool = False, minute: int = MINUTE) -> bytes:
    outcome = {"outcome": "failure", "fault": "server"} if failed else {"outcome": "success"}
    named = {} if user is None else {"user": user}
    time = datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:07Z")
    return json.dumps({"time": time, "tenant": tenant, "portal": "vpn", **named, **outcome}).encode()


def counted(values: list[bytes | None], reader: Reader | None = None) -> Counts:
    counts = Counts()
    assert not (reader or Reader({}, Hashes(SECRET))).count(Records.of(values), NOW, counts)
    return counts


samples = st.lists(st.integers(0, 2**64 - 1), max_size=200).map(merged)


@given(samples, samples, samples)
def test_samples_merge_alike_in_any_order_and_however_often_one_comes(a: list[int], b: list[int], c: list[int]) -> None:
    assert merged(a, merged(b, c)) == merged(merged(c, a), b, a) == merged(b, b, c, a)


@pytest.mark.parametrize("users", [1, 2, 63, 64])
def test_up_to_64_users_a_minute_are_counted_exactly_and_one_who_failed_once_has_failed(users: int) -> None:
    for minute in range(MINUTE - 40, MINUTE):  # other hashes each time
        names = [f"{minute}-{n % users}" for n in range(300)]
        values = [record(name, failed=n == 5, minute=minute) for n, name in enumerate(names)]
        sample = merged(counted(values).users["acme"][minute])
        assert estimate(sample) == (users, 1)


def test_thousands_of_users_are_estimated_and_over_many_minutes_the_error_averages_out() -> None:
    hashes, found = Hashes(SECRET), []
    for minute in range(MINUTE, MINUTE + 200):
        sample = merged({hashes.at(minute)[f"{minute}-{n}".encode()] | (n < 500) for n in range(5_000)})
        assert len(sample) == MOST + 1
        found.append(estimate(sample))
    assert abs(statistics.mean(users for users, _ in found) / 5_000 - 1) < 0.03
    assert 0.10 < statistics.pstdev(users for users, _ in found) / 5_000 < 0.15  # stated: about 13 %
    assert abs(sum(failed for _, failed in found) / sum(users for users, _ in found) - 0.1) < 0.01


def test_records_read_by_columns_and_records_decoded_one_by_one_have_the_same_users() -> None:
    draw = random.Random(7)
    values: list[bytes | None] = []
    for _ in range(4 * MANY):
        user = draw.choice([None, "", "anna", "bob", f"u{draw.randrange(500)}", "J\u00f6rg", 'quo"te'])
        tenant, minute = draw.choice(["acme", "bolt"]), MINUTE + draw.randrange(3)
        values.append(record(user, tenant, failed=draw.random() < 0.2, minute=minute))
    decoder = Reader({}, Hashes(SECRET))
    decoder.many = 10**9
    assert counted(values).users == counted(values, decoder).users
    assert counted(values, Reader({})).users == {}


def test_neither_a_frame_nor_the_table_holds_a_name_and_another_month_has_other_hashes() -> None:
    chunk = Chunk("auth-requests", 0, 1, 0)
    assert not Reader({}, Hashes(SECRET)).count(Records.of([record("anna.schmidt")]), NOW, chunk.counts)
    [frame] = chunk.frames(lambda _: 0, 1, NOW, NOW)
    assert frame.users["acme"][MINUTE]
    assert b"anna" not in encode(frame)
    hashes = Hashes(SECRET)
    assert hashes.at(MINUTE)[b"anna"] != hashes.at(MINUTE + 45 * 1440)[b"anna"]
    assert hashes.at(MINUTE)[b"anna"] != Hashes("another").at(MINUTE)[b"anna"]
    assert hashes.at(MINUTE)[b"anna"] == hashes.at(MINUTE - 1)[b"anna"] == Hashes(SECRET).at(MINUTE)[b"anna"]


def test_a_closed_minute_keeps_two_numbers_and_what_comes_later_is_left_out() -> None:
    day = UserDay({}, {})
    day.merge(10, [2, 5])
    day.merge(700, [8])
    day.close(600)
    day.merge(10, [12])
    again = decode(encode_day(day))
    assert (again.closed, again.open) == ({10: (2, 1)}, {700: [8]})
    found = user_minutes({3: again})
    assert found is not None
    assert (found.minutes.tolist(), found.users.tolist(), found.failed.tolist()) == ([4330, 5020], [2, 1], [1, 0])
