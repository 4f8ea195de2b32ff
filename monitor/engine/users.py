"""A tenant's users of one UTC day, by minute: samples while a minute is open, two numbers once it is closed. See `counting.users`.

A minute closes `OPEN_MINUTES` after everything up to its end was read; what is counted later is left out, so that a sample need not be kept for
as long as counts are. Samples merge by union, so a journal that is read again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from monitor.contract.period import DAY
from monitor.contract.readings import UserMinutes
from monitor.counting.users import METHOD, Sample, estimate, merged

OPEN_MINUTES = 120


class UserDay(msgspec.Struct, array_like=True):
    """See the module. `open`: samples by minute of the day; `closed`: users and failed by minute of the day."""

    open: dict[int, Sample] = {}
    closed: dict[int, tuple[int, int]] = {}

    def merge(self, minute: int, sample: Iterable[int]) -> None:
        """Take in a sample of a minute of the day; of a closed one it is left out."""
        if minute not in self.closed:
            self.open[minute] = merged(self.open.get(minute, ()), sample)

    def close(self, upto: int) -> None:
        """Close the minutes of the day before `upto`."""
        for minute in [minute for minute in self.open if minute < upto]:
            self.closed[minute] = estimate(self.open.pop(minute))


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(UserDay).decode


def user_minutes(days: Mapping[int, UserDay]) -> UserMinutes | None:
    """The users of these days, by number; None when nobody has counted any."""
    rows = []
    for number in sorted(days):
        day = days[number]
        found = {**{minute: estimate(sample) for minute, sample in day.open.items()}, **day.closed}
        rows += [(number * DAY + minute, *found[minute]) for minute in sorted(found)]
    if not rows:
        return None
    table = np.array(rows, dtype=np.int64)
    return UserMinutes(table[:, 0], table[:, 1], table[:, 2], METHOD)
