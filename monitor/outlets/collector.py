"""What Prometheus scrapes. The monitor's own families go through prometheus-client; tenants' series are rendered here, and why is below.

A scrape of 10,000 tenants must take milliseconds, and nearly all of their values are those of the last scrape: each tenant's lines are kept
as bytes by family and made anew only when the tenant has changed. A tenant that left this worker is in no engine and so in no scrape.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitor.contract.support import SEVERITIES, SUPPORT_BREACHES
from monitor.contract.terms import label
from monitor.counting.request import CLIENT, EXTERNAL, SERVER, SUCCESS, UNCLASSIFIED
from monitor.engine.engine import Engine
from monitor.engine.state import Tenant
from monitor.engine.verdict import AT_RISK, BREACHED
from monitor.engine.vitals import Vitals, frame_outcomes
from monitor.outlets.families import FAMILIES

ANNOUNCED = (
    "at_risk",
    "breached",
    "cleared",
    "final",
    "amended",
    "notice_due",
    "statement",
    "credit",
    *SUPPORT_BREACHES,
)
"""Kinds of announcements."""
CLASSES = {"good": (SUCCESS, CLIENT), "bad": (SERVER,), "excluded": (EXTERNAL,), "unclassified": (UNCLASSIFIED,)}
SHOWN = 50
"""Support requests of a tenant with series of their own: the first in its queue."""
TENANT_FAMILIES = [family for family in FAMILIES if "tenant" in family.labels]


class OwnCollector(Collector):
    """The monitor's own families, from a worker's vitals."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals

    def collect(self) -> Iterable[Metric]:
        """The families of this moment."""
        v = self._vitals
        engines = v.engines
        made = {f.name: _family(f.name, f.type, f.help, f.labels) for f in FAMILIES if "tenant" not in f.labels}

        def put(name: str, labels: Iterable[object], value: float) -> None:
            made[name].add_metric([str(each) for each in labels], value)

        for (topic, partition), lag in v.source_lag.items():
            put("monitor_source_lag_records", (topic, partition), lag)
        for (topic, partition), at in v.committed_at.items():
            put("monitor_source_committed_timestamp_seconds", (topic, partition), at)
        for partition, lag in v.journal_lag.items():
            put("monitor_journal_lag_records", (partition,), lag)
        for partition, at in v.checkpoint_at.items():
            put("monitor_checkpoint_timestamp_seconds", (partition,), at)
        for partition, engine in engines.items():
            if engine.complete_ms:
                put("monitor_complete_timestamp_seconds", (partition,), engine.complete_ms / 1000)
            if engine.platform.silence is not None:
                put(
                    "monitor_platform_silence_start_timestamp_seconds", (partition,), engine.platform.silence.start * 60
                )
        outcomes = v.frames.copy()
        announced = v.announced.copy()
        for engine in engines.values():
            outcomes.update(frame_outcomes(engine))
            announced.update(engine.seen.announced)
        for outcome in ("sealed", "dropped", "ignored"):
            put("monitor_frames_total", (outcome,), outcomes[outcome])
        for kind in ANNOUNCED:
            put("monitor_announced_total", (kind,), announced[kind])
        put("monitor_gaps_total", (), v.gaps + sum(engine.seen.gaps for engine in engines.values()))
        for (topic, reason), n in v.rejected.items():
            put("monitor_rejected_total", (topic, reason), n)
        for topic, n in v.requests.items():
            put("monitor_requests_counted_total", (topic,), n)
        put("monitor_ready", (), int(v.ready))
        put("monitor_tenants", (), sum(len(engine.tenants) for engine in engines.values()))
        return made.values()


def _family(name: str, kind: str, text: str, labels: Iterable[str]) -> CounterMetricFamily | GaugeMetricFamily:
    if kind == "counter":
        return CounterMetricFamily(name.removesuffix("_total"), text, labels=list(labels))
    return GaugeMetricFamily(name, text, labels=list(labels))


class Exposition:
    """The text of a scrape: the monitor's own families, then the tenants'."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(OwnCollector(vitals))
        ProcessCollector(registry=self._registry)
        self._kept: dict[str, tuple[int, dict[str, str]]] = {}
        self._heads = {f.name: f"# HELP {f.name} {f.help}\n# TYPE {f.name} {f.type}\n" for f in TENANT_FAMILIES}

    def render(self) -> bytes:
        """All families in Prometheus's text format."""
        return generate_latest(self._registry) + self.tenants()

    def tenants(self) -> bytes:
        """The families of the tenants that this worker owns."""
        kept: dict[str, tuple[int, dict[str, str]]] = {}
        for engine in self._vitals.engines.values():
            for tenant in engine.tenants.values():
                if tenant.period is None:
                    continue
                had = self._kept.get(tenant.name)
                kept[tenant.name] = (
                    had if had and had[0] == tenant.version else (tenant.version, _lines(engine, tenant))
                )
        self._kept = kept
        parts = []
        for family in TENANT_FAMILIES:
            name = family.name
            lines = [blocks[name] for _, blocks in kept.values() if name in blocks]
            if lines:
                parts.append(self._heads[name])
                parts += lines
        return "".join(parts).encode()


def _lines(engine: Engine, tenant: Tenant) -> dict[str, str]:
    """Each family's lines of one tenant."""
    found: dict[str, list[str]] = {}
    for name, labels, value in _series(engine, tenant):
        text = "".join(f',{key}="{_escaped(text)}"' for key, text in labels)
        found.setdefault(name, []).append(f'{name}{{tenant="{tenant.name}"{text}}} {value}\n')
    return {name: "".join(lines) for name, lines in found.items()}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


Series = tuple[str, tuple[tuple[str, str], ...], float]


def _support_series(engine: Engine, tenant: str) -> Iterator[Series]:
    desk = engine.desk
    running = desk.running(tenant)
    for severity in SEVERITIES if running else ():
        mine = [held for held in running if held.severity == severity]
        if mine:
            where = (("severity", severity),)
            yield "sla_support_open_requests", where, len(mine)
            yield "sla_support_overdue_requests", where, sum(held.overdue(desk.now_ms) for held in mine)
    for held in running[:SHOWN]:
        for clock in held.clocks:
            whose = (("request", held.name), ("severity", str(held.severity)), ("clock", clock.kind))
            yield "sla_support_warning_timestamp_seconds", whose, clock.stretches[-1].warning / 1000
            yield "sla_support_due_timestamp_seconds", whose, clock.due / 1000
    if running:
        opens, closes = desk.terms(tenant, desk.now_ms).hours.span(desk.now_ms)
        yield "sla_support_desk_opens_timestamp_seconds", (), opens / 1000
        yield "sla_support_desk_closes_timestamp_seconds", (), closes / 1000


def _series(engine: Engine, tenant: Tenant) -> Iterator[Series]:
    yield from _support_series(engine, tenant.name)
    if tenant.month is None:
        return
    for portal, row in tenant.month.came.items():
        for name, indices in CLASSES.items():
            yield "sla_requests_total", (("portal", portal), ("class", name)), sum(row[index] for index in indices)
    for window, row in {**tenant.windows, "month": tenant.month.total}.items():
        bad = row[SERVER] + row[UNCLASSIFIED]
        total = row[SUCCESS] + row[CLIENT] + bad
        where = (("window", window),)
        yield "sla_window_requests", where, total
        yield "sla_window_failures", where, bad
        if total:
            yield "sla_availability_ratio", where, (total - bad) / total
    record = engine.status(tenant)
    yield "sla_band_percent", (), record["band"]
    yield "sla_coverage_ratio", (), record["coverage"]
    yield "sla_maintenance", (), int(record["maintenance"])
    if tenant.silence is not None:
        yield "sla_silence_start_timestamp_seconds", (), tenant.silence.start * 60
    if record["budget_left"] is not None:
        yield "sla_error_budget_remaining_ratio", (), record["budget_left"]
    yield from _forecast_series(tenant)


def _forecast_series(tenant: Tenant) -> Iterator[Series]:
    made = tenant.forecast
    standing = tenant.account.verdicts.get(tenant.period.name, {}) if tenant.period else {}
    for threshold in tenant.agreement.terms.thresholds:
        where = (("threshold", label(threshold)),)
        state = standing[threshold].state if threshold in standing else ""
        yield "sla_at_risk", where, int(state == AT_RISK)
        yield "sla_breached", where, int(state == BREACHED)
        if made is None:
            continue
        yield "sla_breach_probability", where, made.probability[threshold]
        left = made.minutes_left[threshold]
        if left is not None:
            yield "sla_point_of_no_return_seconds", where, left * 60
    if made is None:
        return
    yield "sla_expected_requests", (), made.expected_requests
    if made.budget_exhausted_in is not None:
        yield "sla_budget_exhaustion_seconds", (), made.budget_exhausted_in * 60
    for quantile, value in (("0.05", made.p05), ("0.5", made.p50), ("0.95", made.p95)):
        if value is not None:
            yield "sla_projected_availability_ratio", (("quantile", quantile),), value
