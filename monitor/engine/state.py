"""What the engine keeps: records behind a MutableMapping, and a tenant in memory. Only what cannot be derived from minutes is stored.

Keys are `tenant NUL account`, `tenant NUL statement-PLACE`, `tenant NUL support-REQUEST`, `tenant NUL users-DAY`, `tenant NUL samples` and
`tenant NUL day-number`; the partition's own are `NUL partition`, `NUL shared`, `NUL taught` and `NUL evidence-DAY`. A day's record holds
minutes, a statement's one version, the newest of its month, a ticket's what is known of one support request. An account holds what people
decided and what has been announced, with `stamp`: everything up to this journal offset has been evaluated. The shared record holds what people
decided about all tenants. Samples are forecasts of the present month, kept until it has ended; what is taught is how those of past months did.
Accounts, statements and the partition's records are made durable before the days that go with them, so that whoever recovers evaluates each
stamp once, on the same counts.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from monitor.contract.agreement import Agreement, Agreements, Standing
from monitor.contract.credits import Account as Credits
from monitor.contract.period import DAY, MINUTE_MS, Period
from monitor.contract.readings import Silence
from monitor.contract.rulings import Ruling, Rulings
from monitor.contract.support import SupportBreach
from monitor.counting.day import Day
from monitor.counting.frame import Row
from monitor.counting.request import SERVER, UNCLASSIFIED
from monitor.engine.month import LeftOut, MonthSums
from monitor.engine.verdict import Verdict
from monitor.forecast import Forecast, History
from monitor.forecast.calibration import Ended
from monitor.forecast.silence import Rhythm

ACCOUNT = b"account"
STATEMENT = b"statement-"
USERS = b"users-"
PARTITION = b"\0partition"
SHARED = b"\0shared"
SAMPLES = b"samples"
TAUGHT = b"\0taught"
SUPPORT = b"support-"
EVIDENCE = b"\0evidence-"
NEVER = 1 << 60
"""A time, in minutes or milliseconds, that does not come."""


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """A person's decision as the log had it: when (`recorded`, epoch milliseconds of the log), where in its topic, its JSON.

    `partition` and `offset` are those of the decision's own topic.
    """

    recorded: int
    partition: int
    offset: int
    value: bytes


class Announcement(msgspec.Struct, array_like=True, frozen=True):
    """Something said to the world once: its deterministic `id`, `kind` ("breached"), the JSON that went out and when it was decided."""

    id: str
    kind: str
    tenant: str
    stamp: int
    at_ms: int
    data: bytes


class Issued(msgspec.Struct, array_like=True, frozen=True):
    """A statement of the tenant's chain in short: what credits rest on. `as_of`: epoch milliseconds.

    `affected`: local date, bad requests, last date to claim, the UTC epoch minute after that.
    """

    month: str
    kind: str
    as_of: int
    sha256: str
    days: int
    affected: list[tuple[str, int, str, int]]


class Account(msgspec.Struct, array_like=True):
    """See the module. `verdicts`: by period name and threshold (basis points); `decisions`: by kind, in the order of the log.

    `taken_ms`: decisions recorded up to here (epoch milliseconds) have been taken up. `issued`: the tenant's chain of statements.
    `reopened`: settled months to be looked at again, and when (epoch milliseconds). `credits`: by month, the version announced last.
    `told`: ids of notices given; `noticed`: the local date on which they were last due.
    """

    stamp: int = -1
    taken_ms: int = 0
    verdicts: dict[str, dict[int, Verdict]] = {}
    decisions: dict[str, list[Kept]] = {}
    announcements: list[Announcement] = []
    issued: list[Issued] = []
    reopened: dict[str, int] = {}
    credits: dict[str, int] = {}
    told: list[str] = []
    noticed: str = ""


class Ticket(msgspec.Struct, array_like=True):
    """A support request of a tenant: what people said of it (`kept`) and what was announced (`told`, the newest by what it is about).

    `stamp`: it is complete up to this journal offset. `looked_ms`: as of when it was last announced (epoch milliseconds). `settled_ms`: when
    something was last heard of it; 0 while its clocks run, so that nobody has to fold it to know. `left_out`: how much was not kept.
    """

    stamp: int = -1
    looked_ms: int = 0
    settled_ms: int = 0
    left_out: int = 0
    kept: list[Kept] = []
    told: dict[str, SupportBreach] = {}
    announcements: list[Announcement] = []


class Shared(msgspec.Struct, array_like=True):
    """What people decided about all tenants, or about many: by kind, in the order of the log. `taken_ms`: as in `Account`."""

    stamp: int = -1
    taken_ms: int = 0
    decisions: dict[str, list[Kept]] = {}


class Evidence(msgspec.Struct, array_like=True):
    """Where the counts of one UTC day stand: offsets [first, upto) by source topic and partition, and of the journal's partition."""

    sources: dict[str, dict[int, tuple[int, int]]] = {}
    journal: tuple[int, int] = (0, 0)


class Unmeasured(msgspec.Struct, array_like=True, frozen=True):
    """Offsets [first, upto) of a source that nobody counted, and the time they may have come from (epoch milliseconds)."""

    topic: str
    partition: int
    first: int
    upto: int
    from_ms: int
    to_ms: int


class PartitionRecord(msgspec.Struct, array_like=True):
    """What concerns every tenant of a journal partition. `stamp`: of the last gap; `clock_ms`, `complete_ms`: the log's; `decided_ms`: what the
    clock was when verdicts and statements were last decided (epoch milliseconds); `upto`: no day is ahead of this stamp.
    """

    stamp: int = -1
    clock_ms: int = 0
    complete_ms: int = 0
    unmeasured: list[Unmeasured] = []
    decided_ms: int = -1
    upto: int = NEVER


class Samples(msgspec.Struct, array_like=True):
    """A tenant's forecasts of one period that are kept: `packed`, one a UTC day at most, the newest of the day number `day`.

    `stamp`: it is complete up to this journal offset. `threshold`: the highest, basis points. `ended`: what months that have ended taught, with
    the journal offset at which they did; those that are committed are in `Taught`.
    """

    stamp: int = -1
    period: str = ""
    start: int = 0
    end: int = 0
    threshold: int = 0
    day: int = -1
    packed: list[bytes] = []
    ended: list[tuple[int, str, Ended]] = []


class Taught(msgspec.Struct, array_like=True):
    """What the tenants' ended months taught about forecasts, by the month's name. `stamp`: it is complete up to this journal offset."""

    stamp: int = -1
    months: dict[str, Ended] = {}


encode = msgspec.msgpack.Encoder().encode
decode_account = msgspec.msgpack.Decoder(Account).decode
decode_partition = msgspec.msgpack.Decoder(PartitionRecord).decode
decode_shared = msgspec.msgpack.Decoder(Shared).decode
decode_ticket = msgspec.msgpack.Decoder(Ticket).decode
decode_samples = msgspec.msgpack.Decoder(Samples).decode
decode_taught = msgspec.msgpack.Decoder(Taught).decode
decode_evidence = msgspec.msgpack.Decoder(Evidence).decode


def account_key(tenant: str) -> bytes:
    """The key of a tenant's account."""
    return tenant.encode() + b"\0" + ACCOUNT


def statement_key(tenant: str, sequence: int) -> bytes:
    """The key of the statement at a place of the tenant's chain, from 0."""
    return b"%b\0%b%d" % (tenant.encode(), STATEMENT, sequence)


def users_key(tenant: str, number: int) -> bytes:
    """The key of the users of a tenant's UTC day."""
    return b"%b\0%b%d" % (tenant.encode(), USERS, number)


def ticket_key(tenant: str, request: str) -> bytes:
    """The key of a tenant's support request."""
    return b"%b\0%b%b" % (tenant.encode(), SUPPORT, request.encode())


def ticket_name(key: bytes) -> tuple[str, str]:
    """The tenant and the request of a ticket's key."""
    tenant, _, what = key.decode().partition("\0")
    return tenant, what.removeprefix(SUPPORT.decode())


def samples_key(tenant: str) -> bytes:
    """The key of a tenant's forecasts that are kept."""
    return tenant.encode() + b"\0" + SAMPLES


def evidence_key(number: int) -> bytes:
    """The key of a UTC day's evidence."""
    return b"%b%d" % (EVIDENCE, number)


def day_key(tenant: str, number: int) -> bytes:
    """The key of a tenant's UTC day."""
    return b"%b\0%d" % (tenant.encode(), number)


class Tenant:
    """A tenant in memory: its account, its days (those in use decoded, the rest as bytes in the table), and what is derived from them."""

    __slots__ = (
        "account",
        "agreement",
        "agreements",
        "changed",
        "credits",
        "days",
        "decided_ms",
        "dirty",
        "due_ms",
        "forecast",
        "forecast_at_minute",
        "held",
        "history",
        "last_minute",
        "left_out",
        "looked_at_tick",
        "month",
        "name",
        "numbers",
        "period",
        "recovered",
        "rhythm",
        "rulings",
        "samples",
        "settled_until",
        "silence",
        "standing",
        "unfed",
        "version",
        "whole",
        "windows",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.account = Account()
        self.agreements = Agreements(name)
        self.agreement = Agreement(name)
        """The one that governs the present month."""
        self.standing: Standing = "unknown"
        self.rulings: list[Ruling] = []
        """The tenant's own."""
        self.held = Rulings(name)
        """Those that hold for it now."""
        self.left_out = LeftOut()
        self.credits: Credits | None = None
        self.decided_ms: int | None = None
        """When the newest decision that has not been taken up was recorded; None when all have been."""
        self.due_ms = 0
        """When something may fall due next, epoch milliseconds."""
        self.settled_until = NEVER
        """Requests of UTC epoch minutes before this one may come late for a settled month; `NEVER` before the first look."""
        self.numbers: set[int] = set()
        """The days that hold requests."""
        self.days: dict[int, Day] = {}
        self.dirty: set[int] = set()
        self.period: Period | None = None
        """The present month, as far as the contract covers it."""
        self.whole: Period | None = None
        """All of it."""
        self.month: MonthSums | None = None
        self.windows: dict[str, Row] = {}
        self.history: History | None = None
        self.recovered: set[int] = set()
        """Days that were read from the table and are not in the platform's sums yet."""
        self.unfed: set[int] = set()
        """Days whose minutes the history has not seen as they are now."""
        self.last_minute = -1
        """The last UTC epoch minute with a request of any kind; -1 while it is not known."""
        self.rhythm: Rhythm | None = None
        self.silence: Silence | None = None
        """The silence that goes on."""
        self.forecast: Forecast | None = None
        self.samples = Samples()
        self.forecast_at_minute = 0
        self.looked_at_tick = 0
        """When its forecast, and its windows, were last made."""
        self.changed = False
        """Whether its status has changed since it was last taken."""
        self.version = 0
        """Counts up with each change."""

    @property
    def failed(self) -> bool:
        """Whether any request of the present month that counts has failed by the provider's fault, or may have."""
        month = self.month
        return month is not None and bool(
            month.missing or any(row[SERVER] + row[UNCLASSIFIED] for row in month.rows.values())
        )

    def touch(self) -> None:
        """Note that what is known of the tenant has changed."""
        self.changed = True
        self.version += 1

    @property
    def first_minute(self) -> int | None:
        """The UTC epoch minute from which the tenant is known: its first day with requests, or its first contract's record."""
        firsts = [number * DAY for number in (min(self.numbers, default=None),) if number is not None]
        firsts += [item.recorded // MINUTE_MS for item in self.agreements.all]
        return min(firsts, default=None)

    def day(self, number: int, table: Mapping[bytes, bytes]) -> Day | None:
        """The day of this number, decoded when need be; None when it holds nothing."""
        found = self.days.get(number)
        if found is None and number in self.numbers:
            found = self.days[number] = Day.decode(number, table[day_key(self.name, number)])
        return found
