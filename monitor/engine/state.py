"""What the engine keeps: records behind a MutableMapping, and a tenant in memory. Only what cannot be derived from minutes is stored.

Keys are `tenant NUL account` and `tenant NUL day-number`; the partition's own record is `NUL partition`. A day's record holds minutes. An
account holds what people decided and what has been announced, with `stamp`: everything up to this journal offset has been evaluated.
An account is always made durable before the days that go with it, so that whoever recovers evaluates each stamp once, on the same counts.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from monitor.contract.period import DAY, Period
from monitor.counting.day import WIDTH, Day
from monitor.counting.frame import Row
from monitor.engine.verdict import Verdict
from monitor.forecast import Forecast, History

ACCOUNT = b"account"
PARTITION = b"\0partition"


class Announcement(msgspec.Struct, array_like=True, frozen=True):
    """Something said to the world once: its deterministic `id`, `kind` ("breached"), the JSON that went out and when it was decided."""

    id: str
    kind: str
    tenant: str
    stamp: int
    at_ms: int
    data: bytes


class Account(msgspec.Struct, array_like=True):
    """See the module. `verdicts`: by period name and threshold (basis points); `decisions`: by kind, each as (offset, JSON)."""

    stamp: int = -1
    tick: int = -1
    verdicts: dict[str, dict[int, Verdict]] = {}
    finals: dict[str, int] = {}
    decisions: dict[str, list[tuple[int, bytes]]] = {}
    announcements: list[Announcement] = []


class Unmeasured(msgspec.Struct, array_like=True, frozen=True):
    """Offsets [first, upto) of a source that nobody counted, and the time they may have come from (epoch milliseconds)."""

    topic: str
    partition: int
    first: int
    upto: int
    from_ms: int
    to_ms: int


class PartitionRecord(msgspec.Struct, array_like=True):
    """What concerns every tenant of a journal partition."""

    stamp: int = -1
    unmeasured: list[Unmeasured] = []


encode = msgspec.msgpack.Encoder().encode
decode_account = msgspec.msgpack.Decoder(Account).decode
decode_partition = msgspec.msgpack.Decoder(PartitionRecord).decode


def account_key(tenant: str) -> bytes:
    """The key of a tenant's account."""
    return tenant.encode() + b"\0" + ACCOUNT


def day_key(tenant: str, number: int) -> bytes:
    """The key of a tenant's UTC day."""
    return b"%b\0%d" % (tenant.encode(), number)


class Tenant:
    """A tenant in memory: its account, its days (those in use decoded, the rest as bytes in the table), and what is derived from them."""

    __slots__ = (
        "account",
        "changed",
        "days",
        "dirty",
        "forecast",
        "forecast_at_minute",
        "history",
        "looked_at_tick",
        "month",
        "name",
        "numbers",
        "period",
        "unfed",
        "version",
        "windows",
        "zone",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.zone = "UTC"
        self.account = Account()
        self.numbers: set[int] = set()
        """The days that hold requests."""
        self.days: dict[int, Day] = {}
        self.dirty: set[int] = set()
        self.period: Period | None = None
        self.month: dict[str, Row] = {}
        """Five counts by portal over `period` so far."""
        self.windows: dict[str, Row] = {}
        self.history: History | None = None
        self.unfed: set[int] = set()
        """Days whose minutes the history has not seen as they are now."""
        self.forecast: Forecast | None = None
        self.forecast_at_minute = 0
        self.looked_at_tick = 0
        """When its forecast, and its windows, were last made."""
        self.changed = False
        """Whether its status has changed since it was last taken."""
        self.version = 0
        """Counts up with each change."""

    def touch(self) -> None:
        """Note that what is known of the tenant has changed."""
        self.changed = True
        self.version += 1

    def day(self, number: int, table: Mapping[bytes, bytes]) -> Day | None:
        """The day of this number, decoded when need be; None when it holds nothing."""
        found = self.days.get(number)
        if found is None and number in self.numbers:
            found = self.days[number] = Day.decode(number, table[day_key(self.name, number)])
        return found

    def sums(self, period: Period, table: Mapping[bytes, bytes]) -> dict[str, Row]:
        """Five counts by portal over the period, from the minutes."""
        out: dict[str, Row] = {}
        for number in range(period.start // DAY, (period.end - 1) // DAY + 1):
            day = self.day(number, table)
            if day is None:
                continue
            base = number * DAY
            for portal, row in day.between(period.start - base, period.end - base).items():
                mine = out.setdefault(portal, [0] * WIDTH)
                for index, n in enumerate(row):
                    mine[index] += n
        return out
