"""Distinct users by minute without storing anybody: of a tenant's minute, the `MOST` smallest keyed hashes, each with whether it met a failure.

Rules:
- A user is hashed with a key that is made of a secret and the UTC month, so that nobody without the secret can tell who it was, and nobody at
  all can follow a user from month to month. With the secret gone the hashes say nothing.
- Samples of the same minute merge by union: the smallest hashes of all, and a user has failed when any sample says so. Whatever the order,
  and however often one comes, the result is the same.
- Up to `MOST` users a minute the number is exact. Above, it is estimated from how densely the hashes lie, with a standard error of about
  1 / sqrt(MOST - 2), 13 %, each minute on its own; over many minutes it averages out.
- A failure that nobody has classified counts as one. Requests without a user are not in it.

A sample is a sorted list of integers: 63 bits of hash, and the lowest bit says whether the user failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from monitor.contract.period import month_at

MOST = 64
METHOD = (
    f"distinct users by minute, from the {MOST} smallest keyed hashes of each: exact up to {MOST} users a minute, above with a standard "
    "error of about 13 % a minute; requests without a user, and those that were counted over two hours late, are not in it"
)
"""For people."""
REMEMBERED = 200_000
"""Hashes that are remembered before it starts afresh."""
_SPACE = 1 << 63

Sample = list[int]
"""See the module."""


class Hashes:
    """Hashes users; `secret` is shared by all workers."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._month = ""
        self._key = b""
        self._known: dict[bytes, int] = {}

    def of(self, user: bytes, minute: int) -> int:
        """The hash of a user in a UTC epoch minute, its lowest bit 0."""
        month = month_at(minute).name
        if month != self._month or len(self._known) > REMEMBERED:
            self._month, self._known = month, {}
            self._key = blake2b(month.encode(), key=self._secret[:64], digest_size=32).digest()
        found = self._known.get(user)
        if found is None:
            digest = blake2b(user, key=self._key, digest_size=8).digest()
            found = self._known[user] = int.from_bytes(digest, "big") & ~1
        return found


def merged(*samples: Iterable[int]) -> Sample:
    """The union of samples of one minute."""
    found: dict[int, int] = {}
    for sample in samples:
        for each in sample:
            found[each & ~1] = found.get(each & ~1, 0) | (each & 1)
    return [key | found[key] for key in sorted(found)[:MOST]]


def estimate(sample: Sample) -> tuple[int, int]:
    """Distinct users of a minute, and how many of them met a failure; whole numbers."""
    failed = sum(each & 1 for each in sample)
    if len(sample) < MOST:
        return len(sample), failed
    users = max(MOST, (MOST - 1) * _SPACE // ((sample[-1] >> 1) + 1))
    return users, (failed * users + MOST // 2) // MOST
