"""Write Grafana's dashboards: `python -m deploy.grafana.generate`, from the repository's root.

Three, from the whole to the part: the fleet (whose month is in danger), one tenant (why, and how long is left), and the monitor itself
(may its figures be believed). All names come from the table of metric families; a test runs every query against a Prometheus.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DynamicConfigValue,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana.panel import (
    BYTES,
    GREEN,
    ORANGE,
    PER_SECOND,
    RATIO,
    RED,
    SECONDS,
    SOURCE,
    YELLOW,
    Column,
    Query,
    figure,
    lines,
    table,
    to_dashboard,
    truncated,
)
from monitor.contract.terms import STANDARD, label
from monitor.outlets.families import (
    ANNOUNCED,
    AT_RISK,
    AVAILABILITY,
    BAND,
    BREACH_PROBABILITY,
    BREACHED,
    BUDGET_EXHAUSTION,
    BUDGET_REMAINING,
    CHECKPOINT,
    COMPLETE,
    COUNTED,
    COVERAGE,
    EXPECTED_REQUESTS,
    FRAMES,
    GAPS,
    JOB,
    JOURNAL_LAG,
    MAINTENANCE,
    POINT_OF_NO_RETURN,
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_START,
    PROJECTED,
    READY,
    REJECTED,
    REQUESTS,
    SILENCE_START,
    SOURCE_COMMITTED,
    SOURCE_LAG,
    SUPPORT_DUE,
    SUPPORT_OPEN,
    SUPPORT_OVERDUE,
    TENANTS,
    UP,
    WINDOW_FAILURES,
    WINDOW_REQUESTS,
    Family,
)

FOLDER = Path(__file__).parent / "dashboards"
FLEET, TENANT, MONITOR = "sla-fleet", "sla-tenant", "sla-monitor"
THRESHOLDS = [label(threshold) for threshold in STANDARD.thresholds]
TOP = THRESHOLDS[0]

KEPT = tuple(
    reversed(
        [
            (threshold / 10_000, colour)
            for threshold, colour in zip(STANDARD.thresholds, (GREEN, YELLOW, ORANGE), strict=False)
        ]
    )
)
AVAILABLE = ((None, RED), *KEPT)
"""Colours of an availability, 0 to 1, by the promises that it keeps."""
LIKELY = ((None, GREEN), (0.5, YELLOW), (0.8, ORANGE), (0.95, RED))
"""Colours of a probability, by the levels at which alerts fire."""
LEFT = ((None, RED), (0.0, ORANGE), (0.25, YELLOW), (0.5, GREEN))
"""Colours of an error budget."""
ANY = ((None, GREEN), (1.0, RED))
"""Colours of a count that should be none."""


def each(expr: str, *by: str) -> str:
    """One series for each of these labels: while partitions move, two workers may show a tenant for one scrape."""
    return f"max by ({', '.join(by)}) ({expr})"


FAILING = each(f"{WINDOW_FAILURES(window='5m')} / {WINDOW_REQUESTS(window='5m')}", "tenant")
"""The share of each tenant's requests of the last 5 minutes that failed."""
WORST = f"bottomk(50, {each(str(BUDGET_REMAINING), 'tenant')})"
"""As many tenants as a person reads."""


def _of_the_worst(expr: str) -> str:
    return f"{each(expr, 'tenant')} and on (tenant) {WORST}"


def _by_severity(family: Family) -> str:
    return f"sum by (severity) ({each(str(family), 'tenant', 'severity')})"


def fleet() -> Dashboard:
    """Whose month is in danger."""
    share = f"1 - sum by (window) ({WINDOW_FAILURES}) / sum by (window) ({WINDOW_REQUESTS})"
    month = f"1 - sum({WINDOW_FAILURES(window='month')}) / sum({WINDOW_REQUESTS(window='month')})"
    made = _dashboard("SLA: fleet", FLEET, "now-6h", "Tenants by what is left of their month.").link(
        to_dashboard("The monitor itself", MONITOR)
    )
    made.with_row(Row("Now"))
    made.with_panel(figure("Tenants", "Tenants that some worker owns.", Query(f"sum({TENANTS})"), width=3))
    made.with_panel(
        figure(
            "Availability this month",
            "All tenants together, truncated.",
            Query(truncated(month)),
            unit=RATIO,
            decimals=3,
            colours=AVAILABLE,
        )
    )
    made.with_panel(
        figure(
            "Failing now",
            "Tenants with more than 5 % of their requests of the last 5 minutes failed.",
            Query(f"count({FAILING} > 0.05) or vector(0)"),
            colours=ANY,
            width=3,
        )
    )
    made.with_panel(
        figure(
            "Likely to miss",
            "Tenants whose month ends below the threshold with a probability of 0.8 or more.",
            *(
                Query(f"count({each(BREACH_PROBABILITY(threshold=each_), 'tenant')} >= 0.8) or vector(0)", f"{each_} %")
                for each_ in THRESHOLDS
            ),
            colours=ANY,
            width=7,
        )
    )
    made.with_panel(
        figure(
            "Missed",
            "Tenants that have missed the threshold even if nothing fails any more.",
            Query(f"sum by (threshold) ({each(str(BREACHED), 'tenant', 'threshold')})", "{{threshold}} %"),
            colours=ANY,
            width=7,
        )
    )
    made.with_panel(
        table(
            "Tenants by budget left",
            f"The fifty with least. The error budget is that of {TOP} %; under 0 it is overspent. P: of missing a threshold.",
            "tenant",
            Column("Budget left", WORST, RATIO, 1, LEFT),
            *(
                Column(f"P < {each_} %", _of_the_worst(BREACH_PROBABILITY(threshold=each_)), RATIO, 0, LIKELY)
                for each_ in THRESHOLDS
            ),
            Column("This month", truncated(_of_the_worst(AVAILABILITY(window="month"))), RATIO, 3, AVAILABLE),
            Column("Projected", truncated(_of_the_worst(PROJECTED(quantile="0.5"))), RATIO, 3, AVAILABLE),
            Column("Last hour", truncated(_of_the_worst(AVAILABILITY(window="1h"))), RATIO, 3, AVAILABLE),
            Column("Point of no return", _of_the_worst(POINT_OF_NO_RETURN(threshold=TOP)), SECONDS, 0),
            Column("Keeps", _of_the_worst(str(BAND)), "percent", 0),
            link=f"/d/{TENANT}?var-tenant=${{__value.raw}}&${{__url_time_range}}",
        )
    )
    made.with_row(Row("Support"))
    made.with_panel(
        figure(
            "Open requests",
            "Support requests whose clocks run, by severity.",
            Query(_by_severity(SUPPORT_OPEN), "{{severity}}"),
            width=6,
            nothing="no request",
        )
    )
    made.with_panel(
        figure(
            "Overdue requests",
            "Those of them that owe an answer which was due, by severity.",
            Query(_by_severity(SUPPORT_OVERDUE), "{{severity}}"),
            colours=ANY,
            width=6,
            nothing="no request",
        )
    )
    made.with_panel(
        lines(
            "Answers that fall due next",
            "Time left to the due times of the ten nearest, by tenant, request and severity; under 0 they are late.",
            Query(
                f"bottomk(10, {each(str(SUPPORT_DUE), 'tenant', 'request', 'severity', 'clock')} - time())",
                "{{tenant}} {{request}} {{severity}} {{clock}}",
            ),
            unit=SECONDS,
            marks=((None, RED), (0.0, GREEN)),
        )
    )
    made.with_row(Row("Over time"))
    made.with_panel(
        lines(
            f"Highest probabilities of missing {TOP} %",
            "The ten tenants that are worst now. Alerts fire at the dashed lines.",
            Query(f"topk(10, {each(BREACH_PROBABILITY(threshold=TOP), 'tenant')})", "{{tenant}}"),
            unit=RATIO,
            marks=LIKELY,
        )
    )
    made.with_panel(
        lines(
            "Smallest budgets",
            "Share of the month's error budget that is left, of the ten tenants with least.",
            Query(f"bottomk(10, {each(str(BUDGET_REMAINING), 'tenant')})", "{{tenant}}"),
            unit=RATIO,
        )
    )
    made.with_panel(
        lines(
            "Availability by window",
            "All tenants together, truncated.",
            Query(truncated(share), "{{window}}"),
            unit=RATIO,
            decimals=3,
        )
    )
    made.with_panel(
        lines(
            "Requests and failures of 5 minutes",
            "All tenants together. Excluded requests are left out.",
            Query(f"sum({WINDOW_REQUESTS(window='5m')})", "requests"),
            Query(f"sum({WINDOW_FAILURES(window='5m')})", "failures"),
        )
    )
    made.with_panel(
        lines(
            "Largest failing shares of 5 minutes",
            "The ten tenants that fail most. Many at once have one cause.",
            Query(
                f"topk(10, {FAILING})",
                "{{tenant}}",
            ),
            unit=RATIO,
        )
    )
    made.with_panel(
        lines(
            "Tenants by the promise their month keeps",
            "99, 95, 90 or 0: the highest threshold that the month so far keeps.",
            Query(f'count_values("band", {each(str(BAND), "tenant")})', "{{band}} %"),
            stacked=True,
        )
    )
    return made


def tenant() -> Dashboard:
    """One tenant: why its month is in danger, and how long is left."""
    at = "$tenant"
    made = _dashboard("SLA: one tenant", TENANT, "now/M", "A tenant's month against its thresholds.", to="now/M")
    made.with_variable(
        QueryVariable("tenant")
        .label("Tenant")
        .datasource(SOURCE)
        .query({"query": f"label_values({BAND}, tenant)", "refId": "tenants"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    made.link(to_dashboard("All tenants", FLEET)).link(to_dashboard("The monitor itself", MONITOR))
    made.with_row(Row("Now"))
    made.with_panel(
        figure(
            "This month",
            "Good of good and failed requests so far, truncated.",
            Query(truncated(each(AVAILABILITY(tenant=at, window="month"), "tenant"))),
            unit=RATIO,
            decimals=3,
            colours=AVAILABLE,
            nothing="no demand",
        )
    )
    made.with_panel(
        figure(
            "Projected end",
            "The middle forecast for the month's end, truncated.",
            Query(truncated(each(PROJECTED(tenant=at, quantile="0.5"), "tenant"))),
            unit=RATIO,
            decimals=3,
            colours=AVAILABLE,
        )
    )
    made.with_panel(
        figure(
            "Budget left",
            f"Share of the failures that {TOP} % of the month's expected requests allow. Under 0: overspent.",
            Query(each(BUDGET_REMAINING(tenant=at), "tenant")),
            unit=RATIO,
            decimals=1,
            colours=LEFT,
        )
    )
    made.with_panel(
        figure(
            "Budget lasts",
            "At the present rate of failures.",
            Query(each(BUDGET_EXHAUSTION(tenant=at), "tenant")),
            unit=SECONDS,
            nothing="to the month's end",
        )
    )
    made.with_panel(
        figure(
            "Keeps now",
            "The highest threshold that the month so far keeps; 0 when none.",
            Query(each(BAND(tenant=at), "tenant")),
            unit="percent",
        )
    )
    made.with_panel(
        figure(
            "Measured",
            "Share of the month so far that the monitor vouches for. Under 90 % no statement is final unattended.",
            Query(truncated(each(COVERAGE(tenant=at), "tenant"))),
            unit=RATIO,
            decimals=3,
            colours=((None, RED), (0.9, GREEN)),
        )
    )
    made.with_panel(
        figure(
            "Probability of missing",
            "That the month ends below the threshold.",
            Query(each(BREACH_PROBABILITY(tenant=at), "threshold"), "{{threshold}} %"),
            unit=RATIO,
            width=8,
            colours=LIKELY,
        )
    )
    made.with_panel(
        figure(
            "Point of no return",
            "If the present failure goes on, the threshold is certain to be missed in this time.",
            Query(each(POINT_OF_NO_RETURN(tenant=at), "threshold"), "{{threshold}} %"),
            unit=SECONDS,
            width=8,
            nothing="nothing fails",
        )
    )
    made.with_panel(
        figure(
            "Verdicts",
            "1 while a verdict stands, by threshold.",
            Query(each(AT_RISK(tenant=at), "threshold"), "{{threshold}} % at risk"),
            Query(each(BREACHED(tenant=at), "threshold"), "{{threshold}} % missed"),
            width=8,
            colours=ANY,
        )
    )
    made.with_row(Row("The month"))
    month = lines(
        "The month against its thresholds",
        "The month so far, and where it was forecast to end at each moment, in 90 of 100 cases within the fan. Truncated.",
        Query(truncated(each(AVAILABILITY(tenant=at, window="month"), "tenant")), "so far"),
        Query(truncated(each(PROJECTED(tenant=at, quantile="0.5"), "tenant")), "projected"),
        Query(truncated(each(PROJECTED(tenant=at, quantile="0.05"), "tenant")), "low"),
        Query(truncated(each(PROJECTED(tenant=at, quantile="0.95"), "tenant")), "high"),
        unit=RATIO,
        decimals=3,
        width=24,
        marks=AVAILABLE,
    )
    month.override_by_name("so far", [DynamicConfigValue("custom.lineWidth", 3)])
    month.override_by_name(
        "high", [DynamicConfigValue("custom.fillBelowTo", "low"), DynamicConfigValue("custom.fillOpacity", 15)]
    )
    made.with_panel(month)
    made.with_panel(
        lines(
            "Probability of missing",
            "Alerts fire at the dashed lines.",
            Query(each(BREACH_PROBABILITY(tenant=at), "threshold"), "{{threshold}} %"),
            unit=RATIO,
            marks=LIKELY,
        )
    )
    made.with_panel(
        lines(
            "Budget left",
            f"Of the failures that {TOP} % allows.",
            Query(each(BUDGET_REMAINING(tenant=at), "tenant"), "left"),
            unit=RATIO,
            marks=((None, RED), (0.0, GREEN)),
        )
    )
    made.with_row(Row("What fails"))
    made.with_panel(
        lines(
            "Availability by window",
            "Truncated. A window without demand has no value.",
            Query(truncated(each(AVAILABILITY(tenant=at), "window")), "{{window}}"),
            unit=RATIO,
            decimals=3,
        )
    )
    made.with_panel(
        lines(
            "Requests and failures of 5 minutes",
            "Unclassified failures among them; excluded requests are left out.",
            Query(each(WINDOW_REQUESTS(tenant=at, window="5m"), "tenant"), "requests"),
            Query(each(WINDOW_FAILURES(tenant=at, window="5m"), "tenant"), "failures"),
        )
    )
    made.with_panel(
        lines(
            "Failures a second by portal",
            "Bad and unclassified ones.",
            Query(
                f"sum by (portal) (rate({REQUESTS(tenant=at, class_='~bad|unclassified')}[$__rate_interval]))",
                "{{portal}}",
            ),
            unit=PER_SECOND,
            stacked=True,
        )
    )
    made.with_panel(
        lines(
            "Requests a second by class",
            "Excluded ones count on neither side; unclassified ones count as bad until somebody decides.",
            Query(f"sum by (class) (rate({REQUESTS(tenant=at)}[$__rate_interval]))", "{{class}}"),
            unit=PER_SECOND,
            stacked=True,
        )
    )
    made.with_panel(
        table(
            "This month by portal",
            "Requests by class.",
            "portal",
            *(
                Column(name, f"sum by (portal) ({REQUESTS(tenant=at, class_=name)})")
                for name in ("bad", "unclassified", "excluded", "good")
            ),
            width=12,
        )
    )
    made.with_panel(
        lines(
            "Approved exclusions and silence",
            "1 while an approved exclusion runs, 1 while nothing comes though something must; and the expected requests of 5 minutes, "
            "evenly spread, beside those that came.",
            Query(each(MAINTENANCE(tenant=at), "tenant"), "exclusion"),
            Query(f"count({SILENCE_START(tenant=at)}) > bool 0 or vector(0)", "silence"),
            Query(each(WINDOW_REQUESTS(tenant=at, window="5m"), "tenant"), "came"),
            Query(f"{each(EXPECTED_REQUESTS(tenant=at), 'tenant')} / scalar(days_in_month()) / 288", "expected"),
        )
    )
    return made


def monitor() -> Dashboard:
    """Whether the monitor's figures may be believed."""
    made = _dashboard(
        "SLA: the monitor itself", MONITOR, "now-1h", "Whether the monitor's figures may be believed."
    ).link(to_dashboard("All tenants", FLEET))
    made.with_row(Row("Now"))
    made.with_panel(
        figure(
            "Workers up",
            "Workers that Prometheus reaches.",
            Query(f"sum({UP(job=JOB)})"),
            colours=((None, RED), (1.0, GREEN)),
        )
    )
    made.with_panel(
        figure(
            "Not ready",
            "Workers without partitions, or still recovering their tables.",
            Query(f"count({READY} == 0) or vector(0)"),
            colours=ANY,
        )
    )
    made.with_panel(
        figure(
            "Counts are old",
            "Age of what is counted completely, on the worst journal partition.",
            Query(f"time() - min({each(str(COMPLETE), 'partition')})"),
            unit=SECONDS,
            colours=((None, GREEN), (30.0, YELLOW), (120.0, RED)),
        )
    )
    made.with_panel(
        figure(
            "Records waiting",
            "In the sources, not yet read.",
            Query(f"sum({SOURCE_LAG})"),
        )
    )
    made.with_panel(
        figure(
            "Gaps",
            "Stretches of offsets that nobody counted, since the workers started.",
            Query(f"sum({GAPS})"),
            colours=ANY,
        )
    )
    made.with_panel(
        figure(
            "Refused",
            "Records of this hour that were refused.",
            Query(f"sum(increase({REJECTED}[1h])) or vector(0)"),
            colours=ANY,
        )
    )
    made.with_row(Row("Work"))
    made.with_panel(
        lines(
            "Requests counted a second",
            "By source topic.",
            Query(f"sum by (topic) (rate({COUNTED}[$__rate_interval]))", "{{topic}}"),
            unit=PER_SECOND,
        )
    )
    made.with_panel(
        lines(
            "Records waiting",
            "Sources by partition, and frames in the journal. Growing: add workers.",
            Query(f"sum by (topic, partition) ({SOURCE_LAG})", "{{topic}} {{partition}}"),
            Query(f"sum({JOURNAL_LAG})", "journal"),
        )
    )
    made.with_panel(
        lines(
            "Age of complete counts",
            "By journal partition: all that the sources held before is counted.",
            Query(f"time() - {each(str(COMPLETE), 'partition')}", "{{partition}}"),
            unit=SECONDS,
        )
    )
    made.with_panel(
        lines(
            "Age of commits and checkpoints",
            "The oldest of each. A checkpoint is due about every half minute.",
            Query(f"time() - min({each(str(SOURCE_COMMITTED), 'topic', 'partition')})", "commit"),
            Query(f"time() - min({each(str(CHECKPOINT), 'partition')})", "checkpoint"),
            unit=SECONDS,
        )
    )
    made.with_row(Row("Trust"))
    made.with_panel(
        lines(
            "Frames a second",
            "Sealed ones count. Dropped and ignored ones are rivals of a chunk after a crash or a pause.",
            Query(f"sum by (outcome) (rate({FRAMES}[$__rate_interval]))", "{{outcome}}"),
            unit=PER_SECOND,
        )
    )
    made.with_panel(
        lines(
            "Records refused a second",
            "By source topic and reason; their bytes are in auth-requests.rejected.",
            Query(f"sum by (topic, reason) (rate({REJECTED}[$__rate_interval]))", "{{topic}} {{reason}}"),
            unit=PER_SECOND,
        )
    )
    made.with_panel(lines("Gaps", "Stretches of source offsets that nobody counted.", Query(f"sum({GAPS})", "gaps")))
    made.with_panel(
        lines(
            "Events announced",
            "In breaches, by type, since the workers started.",
            Query(f"sum by (type) ({ANNOUNCED})", "{{type}}"),
        )
    )
    made.with_row(Row("Processes"))
    made.with_panel(
        lines("Tenants", "By worker.", Query(f"sum by (instance) ({TENANTS})", "{{instance}}"), width=6, stacked=True)
    )
    made.with_panel(
        lines(
            "CPU",
            "Share of one core.",
            Query(f"rate({PROCESS_CPU(job=JOB)}[$__rate_interval])", "{{instance}}"),
            unit=RATIO,
            width=6,
        )
    )
    made.with_panel(lines("Memory", "Resident.", Query(PROCESS_MEMORY(job=JOB), "{{instance}}"), unit=BYTES, width=6))
    made.with_panel(
        lines("Starts", "In the last hour.", Query(f"changes({PROCESS_START(job=JOB)}[1h])", "{{instance}}"), width=6)
    )
    return made


def _dashboard(title: str, uid: str, start: str, says: str, to: str = "now") -> Dashboard:
    return (
        Dashboard(title)
        .uid(uid)
        .description(says)
        .tags(["sla"])
        .timezone("utc")
        .refresh("10s")
        .time(start, to)
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )


def files() -> dict[str, str]:
    """The text of each file in dashboards/, by its name."""
    made = {"fleet.json": fleet(), "tenant.json": tenant(), "monitor.json": monitor()}
    return {
        name: json.dumps(each_.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
        for name, each_ in made.items()
    }


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """A query of a panel, as Prometheus would get it."""

    dashboard: str
    panel: str
    expr: str


def queries(text: str, **variables: str) -> Iterator[PanelQuery]:
    """The queries of a dashboard's JSON, its variables put in: those given, and a minute for Grafana's `$__rate_interval`."""
    known = {"__rate_interval": "1m"} | variables
    dashboard = json.loads(text)
    for panel in _panels(dashboard):
        for target in panel.get("targets", ()):
            expr = re.sub(r"[$]\{?(\w+)\}?", lambda found: known[found[1]], target["expr"])
            yield PanelQuery(dashboard["title"], panel["title"], expr)


def _panels(holder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in holder.get("panels", ()):
        yield panel
        yield from _panels(panel)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)
