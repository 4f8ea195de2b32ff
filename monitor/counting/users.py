"""Distinct users by minute without storing anybody: of a tenant's minute, the smallest keyed hashes, each with whether it met a failure.

Rules:
- A user is hashed with a key that is made of a secret and the UTC month, so that nobody without the secret can tell who it was, and nobody at
  all can follow a user from month to month. With the secret gone the hashes say nothing.
- Samples of the same minute merge by union: the smallest hashes of all, and a user has failed when any sample says so. Whatever the order,
  and however often one comes, the result is the same.
- Up to `MOST` users a minute the number is exact: one hash more is kept, which tells that there are more. Then it is estimated from how
  densely the hashes lie, with a standard error of about 1 / sqrt(MOST - 1), 13 %, each minute on its own; over many minutes it averages out.
- A failure that nobody has classified counts as one. Requests without a user are not in it.
- It costs more than all the rest of counting, and nothing without a secret (`Settings.users_secret`). On two cores of an AMD EPYC, 2,000 tenants
  with 5,000 users each: `tests/benchmarks/users.py` counts a record in 10.0 us of CPU instead of 2.6 (3.9 times), into frames twice as large; a
  worker drains a backlog (`tests/benchmarks/drain.py --records 1500000 --users --peers`) at 10.8 us a record instead of 3.3 (3.3 times).

A sample is a sorted list of integers: 63 bits of hash, and the lowest bit says whether the user failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from monitor.contract.period import month_at

MOST = 64
"""Users of a minute that are counted exactly."""
METHOD = (
    f"distinct users by minute, from the smallest keyed hashes of each: exact up to {MOST} users a minute, above with a standard "
    "error of about 13 % a minute; requests without a user, and those that were counted over two hours late, are not in it"
)
"""For people."""
REMEMBERED = 200_000
"""Hashes of a month that are remembered before it starts afresh."""
_SPACE = 1 << 63

Sample = list[int]
"""See the module."""


class _Month(dict[bytes, int]):
    """The hashes of a month's users, its lowest bit 0, each worked out when it is first asked for."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key

    def __missing__(self, user: bytes) -> int:
        found = self[user] = int.from_bytes(blake2b(user, key=self._key, digest_size=8).digest(), "big") & ~1
        return found


class Hashes:
    """Hashes users; `secret` is shared by all workers."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._months: dict[str, _Month] = {}

    def at(self, minute: int) -> Mapping[bytes, int]:
        """Hash by user, their lowest bit 0, of anybody in the UTC epoch minute; for that minute's requests, not to be kept."""
        name = month_at(minute).name
        month = self._months.get(name)
        if month is None or len(month) > REMEMBERED:
            key = blake2b(name.encode(), key=self._secret[:64], digest_size=32).digest()
            # Two months: around midnight requests of both come by turns.
            self._months = {**dict(list(self._months.items())[-1:]), name: _Month(key)}
            month = self._months[name]
        return month


def merged(*samples: Iterable[int]) -> Sample:
    """The union of samples of one minute."""
    found: dict[int, int] = {}
    for sample in samples:
        # A hash stands in a set twice at most, so no other can be among the smallest.
        for each in sorted(set(sample))[: 2 * MOST + 2]:
            found[each & ~1] = found.get(each & ~1, 0) | (each & 1)
    return [key | found[key] for key in sorted(found)[: MOST + 1]]


def estimate(sample: Sample) -> tuple[int, int]:
    """Distinct users of a minute, and how many of them met a failure; whole numbers."""
    if len(sample) <= MOST:
        return len(sample), sum(each & 1 for each in sample)
    # The last says how much of the space the MOST before it take; those are drawn from all users alike.
    *drawn, last = sample
    users = max(MOST + 1, MOST * _SPACE // ((last >> 1) + 1))
    return users, (sum(each & 1 for each in drawn) * users + MOST // 2) // MOST
