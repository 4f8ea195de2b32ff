"""What a worker in an incident shows, as Prometheus's text: one tenant of three fails, and every family but those of silences has a value."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from monitor.contract.terms import STANDARD, label
from monitor.outlets import families as f

TENANTS = {"acme": 0.62, "globex": 0.0, "initech": 0.0004}
"""Each with its failing share now."""
WINDOWS = {"5m": 500, "30m": 3_000, "1h": 6_000, "6h": 36_000, "1d": 144_000, "3d": 432_000, "month": 3_300_000}
INCIDENT = 3_600
"""Requests since the failure began."""


class Worker:
    """Counters move with each scrape, as they do in a worker that works."""

    def __init__(self) -> None:
        self._scrapes = 0

    def text(self, _: bytes = b"") -> bytes:
        """The answer to a scrape."""
        self._scrapes += 1
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        values = {family: self.values(family) for family in f.FAMILIES}
        lines = [f"# TYPE {family} {family.type}\n{''.join(made)}" for family, made in values.items()]
        return "".join(lines).encode() + generate_latest(registry)

    def values(self, family: f.Family) -> list[str]:
        """The lines of a family. Nobody is silent in this incident."""
        if family in (f.SILENCE_START, f.PLATFORM_SILENCE_START):
            return []
        if "tenant" in family.labels:
            return [line for name, share in TENANTS.items() for line in self._of_tenant(family, name, share)]
        now = time.time()
        simple = {
            f.SOURCE_COMMITTED: now - 1,
            f.COMPLETE: now - 3,
            f.CHECKPOINT: now - 20,
            f.FRAMES: 40 * self._scrapes,
            f.REJECTED: 3 * self._scrapes,
            f.COUNTED: 900 * self._scrapes,
            f.READY: 1,
            f.TENANTS: len(TENANTS),
        }
        known = {
            "topic": "auth-requests",
            "partition": "0",
            "outcome": "sealed",
            "reason": "not_json",
            "type": "at_risk",
        }
        selected = {label: known[label] for label in family.labels}
        return [_line(family, simple.get(family, 0), **selected)]

    def _of_tenant(self, family: f.Family, tenant: str, share: float) -> list[str]:
        if "threshold" in family.labels:
            return [
                line
                for threshold in STANDARD.thresholds
                for line in self._of_threshold(family, tenant, label(threshold), share)
            ]
        if family == f.REQUESTS:
            moved = 500 * self._scrapes
            counts = {
                "good": 3_000_000 + moved * (1 - share),
                "bad": 9_000 + moved * share,
                "excluded": 70,
                "unclassified": 12,
            }
            return [
                _line(family, int(count), tenant=tenant, portal=portal, class_=name)
                for portal in ("login", "admin")
                for name, count in counts.items()
            ]
        if "window" in family.labels:
            made = []
            for window, requests in WINDOWS.items():
                failures = int(share * min(requests, INCIDENT))
                value = {
                    f.WINDOW_REQUESTS: requests,
                    f.WINDOW_FAILURES: failures,
                    f.AVAILABILITY: 1 - failures / requests,
                }
                made.append(_line(family, value[family], tenant=tenant, window=window))
            return made
        if family in (f.SUPPORT_OPEN, f.SUPPORT_OVERDUE, f.SUPPORT_WARNING, f.SUPPORT_DUE, f.DESK_OPENS, f.DESK_CLOSES):
            return self._of_support(family, tenant) if share > 0.1 else []
        if family == f.PROJECTED:
            worst = 0.012 if share > 0.1 else 0.001
            return [
                _line(family, 1 - worst * times, tenant=tenant, quantile=quantile)
                for quantile, times in (("0.05", 2), ("0.5", 1), ("0.95", 0.7))
            ]
        value = {
            f.BUDGET_REMAINING: 0.08 if share > 0.1 else 0.8,
            f.BUDGET_EXHAUSTION: 4_900,
            f.BAND: 99,
            f.COVERAGE: 0.9998,
            f.MAINTENANCE: 0,
            f.EXPECTED_REQUESTS: 4_300_000,
        }
        return [_line(family, value[family], tenant=tenant)]

    @staticmethod
    def _of_support(family: f.Family, tenant: str) -> list[str]:
        """The tenant that fails has opened a P1 request, whose first response is due in half an hour."""
        now = time.time()
        value = {
            f.SUPPORT_OPEN: 1,
            f.SUPPORT_OVERDUE: 0,
            f.SUPPORT_WARNING: now - 1800,
            f.SUPPORT_DUE: now + 1800,
            f.DESK_OPENS: now - 7200,
            f.DESK_CLOSES: now + 7200,
        }
        known = {"tenant": tenant, "request": "4711", "severity": "P1", "clock": "first_response"}
        return [_line(family, value[family], **{label: known[label] for label in family.labels})]

    def _of_threshold(self, family: f.Family, tenant: str, threshold: str, share: float) -> list[str]:
        failing = share > 0.1
        if family == f.POINT_OF_NO_RETURN and not failing:
            return []
        in_danger = failing and threshold == "99"
        value = {
            f.BREACH_PROBABILITY: 0.87 if in_danger else 0.02,
            f.POINT_OF_NO_RETURN: {"99": 4_980, "95": 91_000, "90": 260_000}[threshold],
            f.BREACHED: 0,
            f.AT_RISK: int(in_danger),
        }
        return [_line(family, value[family], tenant=tenant, threshold=threshold)]


def _line(family: f.Family, value: float, **labels: str) -> str:
    return f"{family(**labels).removesuffix('{}')} {value}\n"
