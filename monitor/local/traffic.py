"""Synthetic auth requests: who asks, when, and what fails, from a seed. Sending them is left to `monitor.stream.sending`.

Rules:
- The same arguments give the same requests. Nothing here reads a clock.
- A tenant has one density (requests a week, shaped by the hour of the week), in its history and live alike.
- A background share of 1e-4 to 1e-3 fails by the provider's fault, 5 to 10 % are refusals (a wrong password), a
  little is external or unclassified.
- An `Incident` turns requests into provider failures; nothing else does.
- What was made is known exactly: `truth` counts it.

`demo_history` is the first run's story. Its docstring has the numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from monitor.contract.period import Period, month_at
from monitor.contract.terms import allowance
from monitor.counting.request import CLASSES, CLIENT, EXTERNAL, SERVER, SUCCESS, UNCLASSIFIED

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
_MONDAY_MS = 4 * DAY_MS
"""1970-01-05, the first Monday of the epoch."""

PORTALS = {"authentication": 0.86, "administration": 0.04, "self-service": 0.10}
"""The portals and the share of the requests that each has."""
EXTERNAL_SHARE = 2e-4
UNCLASSIFIED_SHARE = 5e-6
USERS = 5_000
"""Users of a tenant."""
HISTORY_DAYS = 28
"""Days of history that a forecast wants of a tenant's volume."""

_CODES = {
    SUCCESS: ("OK",),
    CLIENT: ("WRONG_PASSWORD", "OTP_EXPIRED", "USER_LOCKED", "PUSH_DENIED"),
    SERVER: ("STORE_TIMEOUT", "DB_DEADLOCK", "PUSH_GATEWAY_DOWN", "INTERNAL"),
    EXTERNAL: ("UPSTREAM_DNS", "CUSTOMER_DIRECTORY_DOWN"),
    UNCLASSIFIED: ("E_4711",),
}
_METHODS = ("push", "totp", "sms", "webauthn")
_AGENTS = ("android 16; app 8.2.1", "ios 26.1; app 8.2.0", "windows 11; ras 14.7.3", "linux; browser 144.0.2")


def _week() -> Floats:
    """168 factors from Monday 00:00 UTC, mean 1: busy in the day, quieter at night and at weekends, never silent."""
    hour = np.arange(24)
    day = 0.6 + 0.9 * np.exp(-(((hour - 12.5) / 5.0) ** 4))
    week = np.concatenate([day * (0.8 if weekday >= 5 else 1.0) for weekday in range(7)])
    return np.asarray(week / week.mean(), dtype=np.float64)


SHAPE = _week()


@dataclass(frozen=True, slots=True)
class Incident:
    """Requests of `tenant` at `portal` ("*": any) in [start_ms, end_ms) fail with probability `share`.

    A client whose request failed tries again at once, `repeats` times. Each try is one more request, and fails or not
    by itself.
    """

    tenant: str
    portal: str
    share: float
    start_ms: int
    end_ms: int
    repeats: int = 0

    def __post_init__(self) -> None:
        faults = []
        if not 0 < self.share <= 1:
            faults.append(f"share: expected more than 0 and at most 1, found {self.share}")
        if self.end_ms <= self.start_ms:
            faults.append(f"for: expected a length above 0, found {self.end_ms - self.start_ms} ms")
        if self.repeats < 0:
            faults.append(f"repeats: expected 0 or more, found {self.repeats}")
        if faults:
            raise ValueError("; ".join(faults))

    @classmethod
    def parse(cls, text: str, now_ms: int) -> Self:
        """Read `tenant=tenant-03,portal=authentication,share=0.6,start=+30s,for=10m`; ValueError says what is wrong.

        `start` is RFC 3339 with an offset, or a length before (-3d) or after (+30s) `now_ms`, which is its default.
        `portal` and `tenant` default to "*", `share` to 1, `repeats` to 0; `for` is required.
        """
        given = dict(part.strip().partition("=")[::2] for part in text.split(","))
        known = {"tenant", "portal", "share", "start", "for", "repeats"}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"expected only {', '.join(sorted(known))}, found {unknown[0]!r} in {text!r}")
        if "for" not in given:
            raise ValueError(f"expected for=LENGTH (like for=10m) in {text!r}")
        start = instant_ms(given.get("start", "+0s"), now_ms)
        try:
            share, repeats = float(given.get("share", "1")), int(given.get("repeats", "0"))
        except ValueError as error:
            raise ValueError(f"expected numbers for share and repeats in {text!r}: {error}") from None
        end = start + length_ms(given["for"])
        return cls(given.get("tenant", "*"), given.get("portal", "*"), share, start, end, repeats)


_LENGTH = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 1, "s": 1000, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


def length_ms(text: str) -> int:
    """Milliseconds of a length like 90s, 10m, 1.5h or 2d; ValueError for another form."""
    found = _LENGTH.fullmatch(text)
    if not found:
        raise ValueError(f"expected a length like 30s, 10m, 2h or 3d, found {text!r}")
    return int(float(found[1]) * _UNITS[found[2]])


def instant_ms(text: str, now_ms: int) -> int:
    """Epoch milliseconds of RFC 3339 or of a length before (-) or after (+) `now_ms`. Else ValueError."""
    if text[:1] in {"+", "-"}:
        return now_ms + (-1 if text[0] == "-" else 1) * length_ms(text[1:])
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError(f"expected +30s, -3d or a time like 2026-11-02T10:00:00Z, found {text!r}") from None
    if moment.tzinfo is None:
        raise ValueError(f"expected a time with an offset, found {text!r}")
    return int(moment.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Tenants in columns: `weekly` requests a week, and the shares of `background` failures and of `refusals`.

    `portal_shares` sum to 1.
    """

    names: tuple[str, ...]
    weekly: Floats
    background: Floats
    refusals: Floats
    portals: tuple[str, ...]
    portal_shares: Floats

    @classmethod
    def draw(cls, seed: int, weights: npt.ArrayLike, weekly: float, portals: Mapping[str, float] = PORTALS) -> Self:
        """One tenant for each weight, `weekly` requests a week in all, called tenant-01 and so on."""
        size = np.asarray(weights, dtype=np.float64)
        count = len(size)
        rng = np.random.default_rng([seed, count])
        width = max(2, len(str(count)))
        shares = np.array(list(portals.values()))
        return cls(
            names=tuple(f"tenant-{number:0{width}d}" for number in range(1, count + 1)),
            weekly=size / size.sum() * weekly,
            background=10.0 ** rng.uniform(-4, -3, count),
            refusals=rng.uniform(0.05, 0.10, count),
            portals=tuple(portals),
            portal_shares=shares / shares.sum(),
        )

    def index(self, tenant: str) -> int:
        """Where a tenant stands in the columns; ValueError when there is none of that name."""
        try:
            return self.names.index(tenant)
        except ValueError:
            raise ValueError(f"expected a tenant from {self.names[0]} to {self.names[-1]}, found {tenant!r}") from None

    def check(self, incident: Incident) -> None:
        """ValueError when the incident is at a tenant or a portal that is not here."""
        if incident.tenant != "*":
            self.index(incident.tenant)
        if incident.portal not in {"*", *self.portals}:
            raise ValueError(f"expected a portal of {', '.join(self.portals)}, found {incident.portal!r}")

    def per_second(self, at_ms: int) -> Floats:
        """Requests a second by tenant, as they are expected in the hour of `at_ms`."""
        return np.asarray(self.weekly / WEEK_MS * 1000 * _factor(at_ms))

    def scaled(self, factor: float) -> Fleet:
        """The same tenants with more or less traffic."""
        return Fleet(self.names, self.weekly * factor, self.background, self.refusals, self.portals, self.portal_shares)


def zipf(count: int, exponent: float = 1.0) -> Floats:
    """Weights of `count` tenants, each smaller than the one before."""
    return np.asarray(1.0 / np.arange(1, count + 1) ** exponent)


def weeks(start_ms: int, end_ms: int) -> float:
    """How many weeks' worth of requests are expected in [start_ms, end_ms), by the shape."""
    edges = _hours(start_ms, end_ms)
    return float(np.sum(np.diff(edges) * SHAPE[_hour_of_week(edges[:-1])]) / WEEK_MS)


def _hour_of_week(at_ms: Ints) -> Ints:
    return np.asarray((at_ms - _MONDAY_MS) // HOUR_MS % 168, dtype=np.int64)


def _factor(at_ms: int) -> float:
    return float(SHAPE[(at_ms - _MONDAY_MS) // HOUR_MS % 168])


def _hours(start_ms: int, end_ms: int) -> Ints:
    """The edges of the hours that cover [start_ms, end_ms), cut to it."""
    inner = np.arange(start_ms // HOUR_MS + 1, -(-end_ms // HOUR_MS), dtype=np.int64) * HOUR_MS
    return np.concatenate([[start_ms], inner, [end_ms]]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests in columns, by time: `time_ms`, and the indices of `tenant`, `portal` and class (`kind`)."""

    time_ms: Ints
    tenant: npt.NDArray[np.int32]
    portal: npt.NDArray[np.int8]
    kind: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.time_ms)

    def __getitem__(self, part: slice) -> Requests:
        return Requests(self.time_ms[part], self.tenant[part], self.portal[part], self.kind[part])

    def classes(self) -> dict[str, int]:
        """How many there are of each class."""
        return dict(zip(CLASSES, np.bincount(self.kind, minlength=len(CLASSES)).tolist(), strict=True))


def requests(fleet: Fleet, start_ms: int, end_ms: int, incidents: tuple[Incident, ...], seed: int) -> Requests:
    """The fleet's requests in [start_ms, end_ms): Poisson counts by tenant and hour, times even within the hour.

    An empty range has none.
    """
    start_ms = min(start_ms, end_ms)
    rng = np.random.default_rng([seed, start_ms, end_ms])
    edges = _hours(start_ms, end_ms)
    lengths = np.diff(edges)
    expected = np.outer(fleet.weekly / WEEK_MS, lengths * SHAPE[_hour_of_week(edges[:-1])])
    counts = rng.poisson(expected)
    total = int(counts.sum())
    who, slot = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), counts.shape[1])
    time_ms = edges[slot] + (rng.random(total) * lengths[slot]).astype(np.int64)
    portal = rng.choice(len(fleet.portals), total, p=fleet.portal_shares).astype(np.int8)
    kind = _kinds(fleet, who, rng)
    columns: list[npt.NDArray[Any]] = [time_ms, who.astype(np.int32), portal, kind]
    for incident in incidents:
        columns = _strike(fleet, incident, columns, end_ms, rng)
    order = np.argsort(columns[0], kind="stable")
    return Requests(columns[0][order], columns[1][order], columns[2][order], columns[3][order])


def _kinds(fleet: Fleet, who: Ints, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """A class for each request of these tenants when nothing is wrong."""
    draw = rng.random(len(who))
    edge = fleet.background[who]
    kind = np.full(len(who), SUCCESS, dtype=np.int8)
    kind[draw < edge + UNCLASSIFIED_SHARE + EXTERNAL_SHARE + fleet.refusals[who]] = CLIENT
    kind[draw < edge + UNCLASSIFIED_SHARE + EXTERNAL_SHARE] = EXTERNAL
    kind[draw < edge + UNCLASSIFIED_SHARE] = UNCLASSIFIED
    kind[draw < edge] = SERVER
    return kind


def _strike(
    fleet: Fleet, incident: Incident, columns: list[npt.NDArray[Any]], end_ms: int, rng: np.random.Generator
) -> list[npt.NDArray[Any]]:
    """The columns with the incident's failures, and with the further tries of those whose request failed."""
    time_ms, who, portal, kind = columns
    met = (time_ms >= incident.start_ms) & (time_ms < incident.end_ms)
    if incident.tenant != "*":
        met &= who == fleet.index(incident.tenant)
    if incident.portal != "*":
        met &= portal == fleet.portals.index(incident.portal)
    hit = np.flatnonzero(met & (rng.random(len(time_ms)) < incident.share))
    kind = kind.copy()
    kind[hit] = SERVER
    if not incident.repeats:
        return [time_ms, who, portal, kind]
    last = min(incident.end_ms, end_ms) - 1
    again = np.repeat(hit, incident.repeats)
    fails = rng.random(len(again)) < incident.share
    later = np.minimum(time_ms[again] + rng.integers(50, 1000, len(again)), last)
    return [
        np.concatenate([time_ms, later]),
        np.concatenate([who, who[again]]),
        np.concatenate([portal, portal[again]]),
        np.concatenate([kind, np.where(fails, SERVER, SUCCESS).astype(np.int8)]),
    ]


def truth(fleet: Fleet, made: Requests) -> dict[tuple[str, str, int], tuple[int, ...]]:
    """The exact counts of what was made: one for each of `CLASSES`, by tenant, portal and UTC epoch minute."""
    if not len(made):
        return {}
    minute = made.time_ms // MINUTE_MS
    first = int(minute[0])
    span = int(minute[-1]) - first + 1
    flat = (made.tenant.astype(np.int64) * len(fleet.portals) + made.portal) * span + (minute - first)
    keys, position = np.unique(flat, return_inverse=True)
    table = np.bincount(position * len(CLASSES) + made.kind, minlength=len(keys) * len(CLASSES))
    where, offset = np.divmod(keys, span)
    who, portal = np.divmod(where, len(fleet.portals))
    names = zip(who.tolist(), portal.tolist(), offset.tolist(), table.reshape(-1, len(CLASSES)).tolist(), strict=True)
    return {(fleet.names[t], fleet.portals[p], first + m): tuple(row) for t, p, m, row in names}


def records(fleet: Fleet, made: Requests, seed: int, block: int = 20_000) -> Iterator[list[bytes]]:
    """The requests as native records (JSON, about 300 bytes), in their order, `block` at a time.

    `user`, `id`, `latency_ms` and `code` are filled; `method`, `agent` and `trace` are further fields as real logs
    have them.
    """
    middles: dict[int, bytes] = {}
    tails = [f'@{name}.example","id":"'.encode() for name in fleet.names]
    for begin in range(0, len(made), block):
        part = made[begin : begin + block]
        size = len(part)
        rng = np.random.default_rng([seed, begin, size, int(part.time_ms[0])])
        variant = rng.integers(0, 16, size)
        key = (
            (part.tenant.astype(np.int64) * len(fleet.portals) + part.portal) * len(CLASSES) + part.kind
        ) * 16 + variant
        for code in np.unique(key).tolist():
            if code not in middles:
                middles[code] = _middle(fleet, code)
        latency = np.minimum(rng.lognormal(4.4, 0.6, size), 30_000).astype(np.int64)
        latency[part.kind == SERVER] += 3_000
        noise = rng.bytes(32 * size).hex().encode()
        yield [
            b'{"time":"%bZ%b%05d%b%b","trace":"%b","latency_ms":%d}'
            % (time, middles[k], user, tails[who], noise[at : at + 32], noise[at + 32 : at + 64], wait)
            for time, k, user, who, at, wait in zip(
                np.datetime_as_string(part.time_ms.astype("datetime64[ms]")).astype("S23").tolist(),
                key.tolist(),
                rng.integers(0, USERS, size).tolist(),
                part.tenant.tolist(),
                range(0, 64 * size, 64),
                latency.tolist(),
                strict=True,
            )
        ]


def _middle(fleet: Fleet, key: int) -> bytes:
    """What stands between a record's time and its user's number, by tenant, portal, class and variant."""
    rest, variant = divmod(key, 16)
    rest, kind = divmod(rest, len(CLASSES))
    who, portal = divmod(rest, len(fleet.portals))
    outcome = "success" if kind == SUCCESS else "failure"
    fault = "" if kind in {SUCCESS, UNCLASSIFIED} else f'"fault":"{CLASSES[kind]}",'
    code = _CODES[kind][variant // 4 % len(_CODES[kind])]
    return (
        f'","tenant":"{fleet.names[who]}","portal":"{fleet.portals[portal]}","outcome":"{outcome}",{fault}"code":"{code}",'
        f'"method":"{_METHODS[variant % 4]}","agent":"{_AGENTS[variant % 4]}","user":"u-'
    ).encode()


def stand_at(fleet: Fleet, made: Requests, tenant: str, availability: float, period: Period) -> Requests:
    """The same requests with one more past incident, which leaves the tenant's `period` at `availability` (0..1).

    Or just above it, for requests are whole. ValueError when it stands lower already.
    """
    inside = _of(fleet, made, tenant, period)
    kind = made.kind[inside]
    bad = int(np.sum((kind == SERVER) | (kind == UNCLASSIFIED)))
    total = len(kind) - int(np.sum(kind == EXTERNAL))
    more = math.floor((1 - availability) * total + 1e-9) - bad
    if more < 0:
        raise ValueError(
            f"expected at most {1 - bad / total:.6f} for {tenant}, whose month stands there, found {availability}"
        )
    return _fail(made, inside, more)[0]


def _of(fleet: Fleet, made: Requests, tenant: str, period: Period) -> Ints:
    """Where the tenant's requests of the period stand."""
    inside = (made.time_ms >= period.start * MINUTE_MS) & (made.time_ms < period.end * MINUTE_MS)
    return np.flatnonzero(inside & (made.tenant == fleet.index(tenant)))


def _fail(made: Requests, candidates: Ints, more: int) -> tuple[Requests, int]:
    """Let `more` successes or refusals fail in a row, as in a total outage, and say how many did.

    The outage lies a third of the way into the candidates, earlier when it would not be over by their end.
    """
    sound = candidates[(made.kind[candidates] == SUCCESS) | (made.kind[candidates] == CLIENT)]
    begin = max(0, min(len(sound) // 3, len(sound) - more))
    struck = sound[begin : begin + more]
    kind = made.kind.copy()
    kind[struck] = SERVER
    return Requests(made.time_ms, made.tenant, made.portal, kind), len(struck)


Expected = Callable[[Mapping[int, int], Period, int], float]
"""From a tenant's requests by UTC epoch minute, its period and the present minute: the requests of the whole period."""


def expected_month(counts: Mapping[int, int], period: Period, now: int) -> float:
    """What has come so far, and for the rest the present density of the last 28 days, by the shape of the week."""
    since = now - HISTORY_DAYS * 1440
    recent = sum(n for minute, n in counts.items() if since <= minute < now)
    weekly = recent / weeks(since * MINUTE_MS, now * MINUTE_MS)
    so_far = sum(n for minute, n in counts.items() if minute in period)
    return so_far + weekly * weeks(now * MINUTE_MS, period.end * MINUTE_MS)


@dataclass(frozen=True, slots=True)
class Demo:
    """The first run's story. `incidents` are live; `near` is the tenant whose verdict is due, `hit` the other one.

    `zone` is the IANA zone that the contract of `near` must name (UTC needs no contract). `failures` are those of
    `near` in its period so far, `allowed` what 99 % of its expected whole period allows, and `due_ms` when the live
    incident is expected to have used up the rest; None when the period is too young for that.
    """

    fleet: Fleet
    history: Requests
    incidents: tuple[Incident, ...]
    near: str
    hit: str
    zone: str
    failures: int
    allowed: int
    due_ms: int | None


REPEATS = 3
"""Further tries of a client whose request failed, in the demo's live incident."""
DUE_S = 20
"""Seconds of the live incident after which the demo's verdict is due."""
LATE_ZONE = "Pacific/Pago_Pago"
"""The inhabited zone in which a month ends last, eleven hours after UTC's."""


def demo_history(
    now_ms: int,
    tenants: int = 30,
    requests_made: int = 600_000,
    seed: int = 1,
    start_after_ms: int = 30_000,
    expected: Expected = expected_month,
) -> Demo:
    """The history up to `now_ms`, and a live incident DUE_S seconds of which make the verdict on one tenant due.

    It begins `start_after_ms` after `now_ms` and lasts 20 minutes. The numbers, with the defaults:

    History is 28 days, or the month so far when that is longer; 600,000 requests. Two tenants have 36 % each: 216,000
    in 28 days, 5.4 a minute in the mean (2.6 in the quietest hour, 8 at noon), and live they have just that. Their
    month is 232,000 requests, so 1 % is 2,320 failures. A total outage of flat traffic takes 7.2 hours to make 1 % of
    a month, whatever the size: two minutes of it are 0.5 % of the budget. So a verdict can be due in two minutes only
    for a tenant that has used up nearly all. `near` had an outage earlier in the month, so long that its failures are
    short of 1 % of the expected whole month by what the live incident makes in DUE_S seconds: all its requests fail,
    and each client tries REPEATS times more (5.4 a minute, times 4, times a third of a minute: 7 failures, 0.3 % of
    the budget). `hit` has used 93 %: its projection sinks, but its verdict is not due.

    Any day will do. When the month is younger than 28 days, the days before it tell the volume. In its first eleven
    hours too little has been asked for 1 % of a month to have failed: then the contract of `near` names LATE_ZONE,
    where the month before still runs. On a first that is a Sunday the twelfth hour is not enough either: `due_ms` is
    late, or None (over five minutes).

    `expected` is what the verdict takes the whole month to be. Give it the product's: half a per cent of it is two
    minutes.
    """
    now = now_ms // MINUTE_MS
    soon = now + 10
    period = month_at(soon)
    zone = "UTC" if soon - period.start >= 11 * 60 else LATE_ZONE
    own = month_at(soon, zone)
    start_ms = min(now_ms - HISTORY_DAYS * DAY_MS, period.start * MINUTE_MS)
    big, others = 0.36, zipf(tenants - 2, 0.7)
    rank = np.random.default_rng(seed).permutation(tenants)
    weights = np.concatenate([[big, big], others / others.sum() * (1 - 2 * big)])[rank]
    fleet = Fleet.draw(seed, weights, requests_made / weeks(start_ms, now_ms))
    near, hit = (fleet.names[int(np.flatnonzero(rank == place)[0])] for place in (0, 1))
    made = requests(fleet, start_ms, now_ms, (), seed)

    incident_ms = now_ms + start_after_ms
    rate = float(fleet.per_second(incident_ms)[fleet.index(near)]) * (1 + REPEATS)

    def short(allowed: int) -> int:
        return allowed - max(1, int(rate * DUE_S))

    made, failures, allowed = _use_up(fleet, made, near, own, now, expected, short)
    made, _, _ = _use_up(fleet, made, hit, period, now, expected, lambda most: most * 93 // 100)
    incidents = tuple(
        Incident(name, "*", 1.0, incident_ms, incident_ms + 20 * MINUTE_MS, repeats)
        for name, repeats in ((near, REPEATS), (hit, REPEATS))
    )
    seconds = (allowed - failures + 1) / rate
    due_ms = None if seconds > 300 else incident_ms + int(seconds * 1000)
    return Demo(fleet, made, incidents, near, hit, zone, failures, allowed, due_ms)


def _use_up(
    fleet: Fleet,
    made: Requests,
    tenant: str,
    period: Period,
    now: int,
    expected: Expected,
    target: Callable[[int], int],
) -> tuple[Requests, int, int]:
    """Let the tenant's past of the period have `target(allowed)` failures.

    Returns the requests, the failures there are now, and what is allowed. The outage is over an hour before `now`, so
    that no page speaks of it any more.
    """
    mine = made.tenant == fleet.index(tenant)
    minutes, counts = np.unique(made.time_ms[mine] // MINUTE_MS, return_counts=True)
    whole = expected(dict(zip(minutes.tolist(), counts.tolist(), strict=True)), period, now)
    allowed = allowance(int(whole), 9900)
    inside = _of(fleet, made, tenant, period)
    kind = made.kind[inside]
    bad = int(np.sum((kind == SERVER) | (kind == UNCLASSIFIED)))
    past = inside[made.time_ms[inside] < (now - 60) * MINUTE_MS]
    made, failed = _fail(made, past, max(0, target(allowed) - bad))
    return made, bad + failed, allowed
