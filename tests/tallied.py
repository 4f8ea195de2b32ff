"""Frames with counts as a test writes them down: by tenant, portal and minute."""

from __future__ import annotations

import msgspec
import numpy as np

from monitor.counting.frame import Columns, Frame, Tallies, add_up, narrow, pack
from monitor.counting.request import CLASSES


def tallies(frame: Frame) -> Tallies:
    """What a frame counts."""
    return add_up([frame.columns()])


def packed(counts: Tallies) -> msgspec.Raw:
    """Counts as a frame holds them."""
    each = [tally for portals in counts.values() for tally in portals.values()]
    rows = [(minute, *tally.minutes[minute]) for tally in each for minute in sorted(tally.minutes)]
    table = np.array(rows, dtype=np.int64).reshape(-1, 1 + len(CLASSES))
    columns = Columns(
        {tenant: list(portals) for tenant, portals in counts.items()},
        np.array([len(tally.minutes) for tally in each], dtype="<u4").tobytes(),
        table[:, 0].astype("<u4").tobytes(),
        [narrow(column) for column in table[:, 1:].T] if rows else [],
        {
            tenant: coded
            for tenant, portals in counts.items()
            if (coded := {portal: tally.codes for portal, tally in portals.items() if tally.codes})
        },
    )
    return pack(columns)
