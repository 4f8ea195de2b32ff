"""What Prometheus sees of support requests: due times while something is owed, and nothing once it is not."""

from __future__ import annotations

import re

from monitor.contract.instant import instant
from monitor.engine.engine import Engine
from monitor.engine.vitals import Vitals
from monitor.outlets.collector import SHOWN, Exposition
from tests.engine.test_support import Log


def shown(engine: Engine) -> dict[str, float]:
    """The support series of a scrape."""
    text = Exposition(Vitals(engines={0: engine})).tenants().decode()
    return {name: float(value) for name, value in re.findall(r"^sla_support_(\S+) (\S+)$", text, re.MULTILINE)}


def at(text: str) -> float:
    return instant(text) / 1000


def test_what_is_owed_has_its_due_time_and_an_answered_clock_has_none() -> None:
    log = Log()
    engine = Engine({})
    log.event("opened", "2026-11-16T10:00Z", severity="P1")
    log.ticks("2026-11-16T10:00:10Z", "2026-11-16T10:01Z", 10_000)
    whose = 'tenant="acme",request="R1",severity="P1",clock='
    updates = {
        f'warning_timestamp_seconds{{{whose}"update"}}': at("2026-11-17T16:00Z"),
        f'due_timestamp_seconds{{{whose}"update"}}': at("2026-11-17T17:00Z"),
    }
    desk = {
        'open_requests{tenant="acme",severity="P1"}': 1,
        'overdue_requests{tenant="acme",severity="P1"}': 0,
        'desk_opens_timestamp_seconds{tenant="acme"}': at("2026-11-16T09:00Z"),
        'desk_closes_timestamp_seconds{tenant="acme"}': at("2026-11-16T17:00Z"),
    }
    first = {
        f'warning_timestamp_seconds{{{whose}"first_response"}}': at("2026-11-16T13:00Z"),
        f'due_timestamp_seconds{{{whose}"first_response"}}': at("2026-11-16T14:00Z"),
    }
    assert shown(log.feed(engine)) == desk | first | updates
    log.ticks("2026-11-16T14:00:05Z", "2026-11-16T14:00:25Z", 10_000)
    assert shown(log.feed(engine)) == desk | first | updates | {'overdue_requests{tenant="acme",severity="P1"}': 1}
    log.event("responded", "2026-11-16T15:00Z")
    log.ticks("2026-11-16T15:00:10Z", "2026-11-16T15:00:20Z", 10_000)
    assert shown(log.feed(engine)) == desk | updates
    log.event("resolved", "2026-11-16T16:00Z")
    log.ticks("2026-11-16T16:00:10Z", "2026-11-16T16:00:20Z", 10_000)
    assert shown(log.feed(engine)) == {}


def test_a_tenant_that_floods_the_desk_has_series_for_the_first_in_the_queue_and_is_counted_in_full() -> None:
    log = Log()
    for number in range(SHOWN + 20):
        log.event(
            "opened", f"2026-11-16T10:{number % 60:02}Z", request=f"R{number}", severity="P1" if number == 60 else "P4"
        )
    log.ticks("2026-11-16T11:00Z", "2026-11-16T11:01Z", 10_000)
    found = shown(log.feed(Engine({})))
    assert found['open_requests{tenant="acme",severity="P4"}'] == SHOWN + 19
    named = set(re.findall(r'due_timestamp_seconds{tenant="acme",request="(\w+)"', "\n".join(found)))
    assert len(named) == SHOWN
    assert "R60" in named
