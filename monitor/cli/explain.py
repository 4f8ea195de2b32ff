"""`monitor explain`: a tenant's month in plain words, with figures and minutes."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from monitor.cli.deciding import AsJson, Tenant, aligned, usage
from monitor.cli.running import run
from monitor.cli.statement import facts
from monitor.cli.top import percent
from monitor.contract.period import MINUTE_MS, month_at, month_named
from monitor.contract.terms import label
from monitor.settings import Settings, load

PROMETHEUS_SECONDS = 5.0
ALERT_SPAN_SECONDS = 7 * 86_400
"""How much is asked at once: Prometheus gives at most 11,000 points of a series, and these are minutes."""


def explain(
    tenant: Tenant,
    month: Annotated[str | None, typer.Argument(help="The month, such as 2026-11; by default the present one.")] = None,
    as_json: AsJson = False,
) -> None:
    """What happened in a tenant's month, what it costs, where it ends and how sure that is, what would change it, which alerts fired."""
    settings = load()
    try:
        named = month_named(month).name if month else None
    except ValueError as error:
        raise usage(str(error)) from None
    status, events = run(_said(settings, tenant))
    chosen = named or (status["period"] if status else month_at(time.time_ns() // 1_000_000 // MINUTE_MS).name)
    from monitor.engine.explanation import explain as explained

    engine, found = facts(settings, tenant, chosen)
    mine = [event for event in events if chosen in (event.get("period"), event.get("month"))]
    told = explained(engine.listened(found), status if status and status["period"] == chosen else None, mine)
    period = found.agreements.known(found.as_of).month(chosen, found.extension).period
    begins, ends, now = period.start * 60, period.end * 60, found.as_of // 1000
    told["alerts"] = _alerts(settings, tenant, begins, min(ends, now), goes_on=now < ends)
    typer.echo(json.dumps(told) if as_json else "\n".join(lines(told)))


async def _said(settings: Settings, tenant: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The tenant's newest status, and what was announced about it, each once."""
    from monitor.stream.reading import event, reader, records, statuses

    async with reader(settings, "status", tenant) as source:
        status = (await statuses(source, {})).get(tenant)
    events: dict[str, dict[str, Any]] = {}
    for record in await records(settings, "breaches", tenant):
        made = event(record)
        if made["tenant"] == tenant:
            events.setdefault(made["id"], made)
    return status, list(events.values())


def _alerts(
    settings: Settings, tenant: str, start: int, end: int, *, goes_on: bool
) -> list[dict[str, str | None]] | None:
    """When alerts about the tenant fired, as Prometheus has it (epoch seconds [start, end)); None when it does not answer.

    Each stretch of minutes is one: `from` a minute, `to` the minute outside, None while it `goes_on` at the end.
    """
    fired: dict[tuple[str, str, str], set[int]] = {}
    for first in range(start, max(end, start + 1), ALERT_SPAN_SECONDS):
        series = _fired(settings, tenant, first, min(first + ALERT_SPAN_SECONDS, end))
        if series is None:
            return None
        for each in series:
            of = each["metric"]
            minutes = fired.setdefault((of["alertname"], of.get("threshold", ""), of.get("request", "")), set())
            minutes |= {int(at) // 60 for at, _ in each["values"]}
    found: list[dict[str, str | None]] = []
    for (alert, threshold, request), minutes in fired.items():
        for begun, upto in stretches(minutes):
            # The rules may not have been evaluated yet in a minute that has just begun.
            still = goes_on and upto * 60 > end - 60
            times = {"from": _instant(begun * 60), "to": None if still else _instant(upto * 60)}
            found.append({"alert": alert, "threshold": threshold, "request": request, **times})
    return sorted(found, key=lambda each: (each["from"], each["alert"], each["threshold"], each["request"]))


def _fired(settings: Settings, tenant: str, start: int, end: int) -> list[dict[str, Any]] | None:
    """Series with a point (t, _) in each minute in which an alert fired, however short; None without an answer."""
    name = json.dumps(tenant, ensure_ascii=False)
    query = urllib.parse.urlencode(
        {
            # Of both ends: older versions of Prometheus take in the instant at which a range begins, newer ones do not.
            "query": f'max_over_time(ALERTS{{alertstate="firing",tenant={name}}}[59s999ms])',
            "start": start + 59.999,
            "end": max(-(-end // 60) * 60, start + 60),
            "step": 60,
        }
    )
    url = f"{settings.prometheus_url.rstrip('/')}/api/v1/query_range?{query}"
    if not url.startswith(("http://", "https://")):
        return None
    try:
        with urllib.request.urlopen(url, timeout=PROMETHEUS_SECONDS) as answer:  # noqa: S310  # checked above
            return list(json.loads(answer.read())["data"]["result"])
    except (OSError, ValueError, KeyError):
        return None


def stretches(minutes: Collection[int]) -> list[tuple[int, int]]:
    """Minutes as stretches [from, to) without a gap, in order."""
    found: list[tuple[int, int]] = []
    for minute in sorted(minutes):
        if found and found[-1][1] == minute:
            found[-1] = (found[-1][0], minute + 1)
        else:
            found.append((minute, minute + 1))
    return found


def _instant(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(seconds))


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """The explanation for people."""
    yield f"{told['tenant']}, {told['month']} ({told['zone']}, {told['standing'].replace('_', ' ')}), as of {told['as_of']}"
    yield ""
    total = told["good"] + told["bad"]
    if not total:
        yield "No request that counts has come: there was no demand, and nothing is missed."
    else:
        unclassified = sum(told["unclassified"].values())
        yield (
            f"So far {told['availability']}: {told['bad']} of {total} requests failed by the provider's fault"
            + (f", {unclassified} of them because nobody has said whose fault they are" if unclassified else "")
            + "."
        )
        used = told["budget_used_percent"]
        yield (
            f"The month is expected to have {told['expected_requests']} requests, of which {told['allowed']} may fail"
            + (f": {used} % of that is used." if used is not None else ".")
        )
    if told["excluded"]:
        yield f"{told['excluded']} requests count on neither side."
    if told["missing"]:
        yield f"{told['missing']} requests that never came were ruled to be failures."
    yield from _happened(told)
    yield from _foreseen(told)
    yield ""
    yield "What would change it"
    for item in told["what_if"]:
        if "left" in item:
            yield f"  {item['if']}"
        else:
            yield f"  {item['if']}: {item['availability']}, {_owed(item)}"
    yield from _announced(told)


def _owed(reading: Mapping[str, Any]) -> str:
    if reading["band"] is None:
        return "no demand"
    return (
        f"{reading['days']} days owed"
        if reading["days"]
        else f"{label(int(reading['band'] * 100))} % kept, nothing owed"
    )


def _happened(told: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "What happened"
    if told["portals"]:
        names = ("success", "client", "server", "external", "unclassified", "left_out")
        header = ("portal", "served", "refused rightly", "failed", "not ours", "unclassified", "excluded")
        rows = [(name, *(str(counts[each]) for each in names)) for name, counts in told["portals"].items()]
        yield from (f"  {line}" for line in aligned(header, rows).splitlines())
    for item in told["episodes"]:
        where = ", ".join(f"{name} {n}" for name, n in item["portals"].items())
        share = f"{100 * item['bad'] // item['total']} %" if item["total"] else "-"
        cost = f", {item['budget_percent']} % of what the month allows" if item["budget_percent"] is not None else ""
        yield (
            f"  {item['from']} to {item['to']}, {item['failing_minutes']} of {item['minutes']} minutes failing: "
            f"{item['bad']} of {item['total']} requests failed ({share}){cost}; {where}"
        )
    more = told["episodes_in_all"] - len(told["episodes"])
    if more > 0:
        yield f"  and {more} smaller episodes"
    if told["background"]:
        yield f"  {told['background']} failures outside of any episode"
    if told["unclassified"]:
        codes = ", ".join(f"{code or 'without a code'} {n}" for code, n in told["unclassified"].items())
        yield f"  nobody has said whose fault these codes are: {codes}"
    for item in told["exclusions"]:
        yield (
            f"  exclusion {item['id']} ({item['category']}, {item['state']}) {item['from']} to {item['to']}: "
            f"{item['with']['availability']} with it, {item['without']['availability']} without"
        )
    for item in told["silence"]:
        yield f"  {item['from']} to {item['to']}: no request of the {item['basis']}, {item['expected']} were to be expected"


def _foreseen(told: Mapping[str, Any]) -> Iterator[str]:
    made = told["projection"]
    yield ""
    yield "Where it ends"
    if made is None or made["projected"]["p50"] is None:
        yield "  nothing is foreseen: the month is over, or too little is known"
        return
    projected = made["projected"]
    low, middle, high = (percent(projected[name]) for name in ("p05", "p50", "p95"))
    yield f"  in 90 of 100 cases between {low} and {high}, most likely about {middle}"
    for threshold, probability in made["breach_probability"].items():
        left = (made["minutes_left"] or {}).get(threshold)
        sure = f"; certain after {left:.0f} more minutes of the present failure" if left else ""
        state = made["verdicts"].get(threshold, "none")
        verdict = "" if state == "none" else f" (announced: {state.replace('_', ' ')})"
        yield f"  below {threshold} %: {_chance(probability)}{sure}{verdict}"


def _chance(probability: float) -> str:
    """Nothing is said to be certain, or to be impossible, that is only nearly so."""
    if probability >= 1:
        return "certain"
    if probability > 0.99:
        return "over 99 of 100"
    if 0 < probability < 0.01:
        return "under 1 of 100"
    return f"{100 * probability:.0f} of 100"


def _announced(told: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "What was announced"
    if not told["announced"]:
        yield "  nothing"
    for event in told["announced"]:
        what = (
            f"{event['threshold']} %: {event['reason']}"
            if "reason" in event
            else f"claim for {event['date']} by {event['claim_by']}"
        )
        yield f"  {event['time']}  {event['type']}  {what}"
    alerts: Sequence[Mapping[str, str | None]] | None = told["alerts"]
    if alerts is None:
        yield "  which alerts fired is not known: Prometheus does not answer (MONITOR_PROMETHEUS_URL)"
    for each in alerts or ():
        threshold = f" {each['threshold']} %" if each["threshold"] else ""
        request = f" {each['request']}" if each["request"] else ""
        until = f"to {each['to']}" if each["to"] else "and still"
        yield f"  {each['from']} {until}  alert {each['alert']}{threshold}{request}"
    if alerts is not None and not alerts:
        yield "  no alert fired, as far as Prometheus remembers"
