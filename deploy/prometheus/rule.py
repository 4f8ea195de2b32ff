"""What a rule is, and the pieces of PromQL and of text that several rules share. It knows no rule."""

from __future__ import annotations

import re
from dataclasses import dataclass

from monitor.outlets.families import MAINTENANCE, WINDOW_FAILURES, WINDOW_REQUESTS

RUNBOOKS = "deploy/runbooks"
"""Where the runbooks are: a path in this repository, or the address under which you serve that folder."""

HOLD = "2m"
"""How long an alert outlives its condition: a worker that starts again has its tenants back within a minute."""


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule; the name is level:metric:operation."""

    name: str
    expr: str

    def rule(self) -> dict[str, object]:
        """As Prometheus reads it."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule: `wait` is Prometheus's `for`, `hold` its `keep_firing_for`, "" without one."""

    name: str
    severity: str
    expr: str
    summary: str
    description: str
    wait: str = "10s"
    hold: str = HOLD
    threshold: str = ""

    def rule(self) -> dict[str, object]:
        """As Prometheus reads it."""
        times = {"for": self.wait, "keep_firing_for": self.hold}
        return {
            "alert": self.name,
            "expr": self.expr,
            **{key: text for key, text in times.items() if text},
            "labels": {"severity": self.severity, **({"threshold": self.threshold} if self.threshold else {})},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}/{kebab(self.name)}.md",
            },
        }


def kebab(name: str) -> str:
    """BreachLikely as breach-likely."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


LEAST_REQUESTS, LEAST_FAILURES = 100, 10
"""The least in a window on which anybody is told anything about a tenant."""


def in_maintenance() -> str:
    """Tenants with a running approved exclusion."""
    return f"{MAINTENANCE} == 1"


def grown(counter: str, window: str, by: str = "") -> str:
    """How much a counter grew in a window. A series younger than the window began at 0, which increase() misses."""
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (({counter} unless {counter} offset {window}) or increase({counter}[{window}]))"


def looked_up(query: str, labels: tuple[str, ...], shown: str, otherwise: str = "") -> str:
    """Text with the value of another query, as `.`; `%s` in the query stand for the alert's labels in order."""
    values = " ".join(f"$labels.{label}" for label in labels)
    found = f"{{{{ with . | first | value }}}}{shown}{{{{ end }}}}"
    alternative = f"{{{{ else }}}}{otherwise}" if otherwise else ""
    return f"{{{{ with printf `{query}` {values} | query }}}}{found}{alternative}{{{{ end }}}}"


def counted(window: str) -> str:
    """Text "F of N requests" of the alert's tenant in a window."""
    failures = looked_up(WINDOW_FAILURES(tenant="%s", window=window), ("tenant",), '{{ printf "%.0f" . }}', "?")
    requests = looked_up(WINDOW_REQUESTS(tenant="%s", window=window), ("tenant",), '{{ printf "%.0f" . }}', "?")
    return f"{failures} of {requests} requests"
