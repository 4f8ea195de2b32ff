"""A tenant's month explained: what happened, what it costs, what would change it. Figures only, as one JSON object; words are the command's.

Counts are those of the minutes that are kept, with decisions as they were known at `Facts.as_of`. What is foreseen is taken from the tenant's
status record, since only a worker has the whole fleet to learn from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.contract import terms as promised
from monitor.contract.exclusions import Window, exclusions, in_scope
from monitor.contract.period import MINUTE_MS, moment_of
from monitor.contract.readings import Reading, Sheet, Tally, compare
from monitor.contract.statement import Facts
from monitor.engine.dues import sheet_of
from monitor.engine.episodes import Episode, episodes

MOST_EPISODES = 10
"""Episodes that are told one by one, those with most failures."""


def explain(facts: Facts, status: Mapping[str, Any] | None, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The month of `facts` explained. `status`: the tenant's status record when the month is its present one; `events`: what was announced."""
    sheet, tally = sheet_of(facts)
    tenant = facts.agreements.tenant
    month = facts.agreements.known(facts.as_of).month(facts.month, facts.extension)
    agreement, zone = month.agreement, month.agreement.zone
    highest = agreement.terms.thresholds[0]
    found, _ = exclusions(facts.exclusions, facts.as_of)
    scoped = in_scope(found, tenant, month.covered)
    windows = [item.window for item in scoped if item.counts]
    told = episodes(sheet.by_portal(windows), highest)
    worst = sorted(told, key=lambda item: -item.bad)[:MOST_EPISODES]
    reading = tally.requests
    expected = max((status or {}).get("expected_requests") or 0, reading.good + reading.bad)
    allowed = promised.allowance(expected, highest)
    return {
        "tenant": tenant,
        "month": facts.month,
        "zone": zone,
        "standing": month.standing,
        "as_of": _local(facts.as_of // MINUTE_MS, zone),
        "good": reading.good,
        "bad": reading.bad,
        "unclassified": dict(sorted(sheet.unclassified.items())),
        "excluded": tally.excluded.total + tally.counted.external,
        "missing": tally.missing,
        "availability": promised.shown(reading.good, reading.bad),
        "band": promised.percent(reading.band),
        "days": reading.days,
        "expected_requests": expected,
        "allowed": allowed,
        "budget_used_percent": 100 * reading.bad // allowed if allowed else None,
        "portals": {
            name: portal.counted._asdict() | {"left_out": portal.excluded.total}
            for name, portal in sorted(tally.portals.items())
        },
        "episodes": [_episode(item, zone, allowed) for item in sorted(worst, key=lambda item: item.start)],
        "episodes_in_all": len(told),
        "background": reading.bad - tally.missing - sum(item.bad for item in told),
        "exclusions": [
            {
                "id": item.exclusion.id,
                "state": item.exclusion.state,
                "category": item.exclusion.window.category,
                "from": _local(item.exclusion.window.start, zone),
                "to": _local(item.exclusion.window.end, zone),
                "with": item.with_it.requests.record(),
                "without": item.without_it.requests.record(),
            }
            for item in compare(sheet, scoped, tally)
        ],
        "silence": [
            {
                "from": _local(item.start, zone),
                "to": _local(item.end, zone),
                "expected": item.expected,
                "basis": item.basis,
            }
            for item in facts.silences
        ],
        "projection": _projection(status),
        "what_if": _what_if(sheet, tally, windows, worst, expected, zone),
        "announced": [dict(event) for event in events],
    }


def _local(minute: int, zone: str) -> str:
    return moment_of(minute, zone).isoformat(timespec="minutes")


def _episode(item: Episode, zone: str, allowed: int) -> dict[str, Any]:
    return {
        "from": _local(item.start, zone),
        "to": _local(item.end, zone),
        "minutes": item.end - item.start,
        "failing_minutes": item.failing,
        "bad": item.bad,
        "total": item.total,
        "unclassified": item.unclassified,
        "portals": dict(item.portals),
        "budget_percent": 100 * item.bad // allowed if allowed else None,
    }


def _projection(status: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if status is None or not status.get("projected"):
        return None
    return {name: status[name] for name in ("as_of", "projected", "breach_probability", "minutes_left", "verdicts")}


def _what_if(
    sheet: Sheet, tally: Tally, windows: Sequence[Window], worst: Sequence[Episode], expected: int, zone: str
) -> list[dict[str, Any]]:
    """What the month would come to if something were otherwise: `if`, and what it then is."""
    good, bad = tally.requests.good, tally.requests.bad
    terms = sheet.terms
    rest = max(0, expected - good - bad)
    found: list[dict[str, Any]] = [{"if": "nothing fails any more", **Reading.of(good + rest, bad, terms).record()}]
    unclassified = tally.counted.unclassified
    if unclassified:
        changed = Reading.of(good, bad - unclassified, terms)
        found.append({"if": f"the {unclassified} unclassified failures are found to be external", **changed.record()})
    for item in worst[:3]:
        window = Window(item.start, item.end, "")
        without = sheet.count([*windows, window]).requests
        span = f"{_local(item.start, zone)} to {_local(item.end, zone)}"
        found.append({"if": f"{span} were excluded", **without.record()})
    for threshold in terms.thresholds:
        left = promised.until(good, bad, threshold)
        says = f"{left} more failures" if left >= 0 else f"{-left} more requests that succeed"
        outcome = "can come before" if left >= 0 else "are needed until"
        label = promised.label(threshold)
        end = f"{label} % is missed" if left >= 0 else f"{label} % is kept again"
        found.append({"if": f"{says} {outcome} {end}, when nothing else comes", "left": left, "threshold": label})
    return found
