"""Alerts on answers to support requests: before one is due, and once it is late.

First responses are due, and warned of, within the desk's hours; an update is due at closing time, and what is late stays late over night. So
outside those hours only P1 is told: `SupportDeskClosed` holds the rest back until the desk opens. Holidays and packages are in the opening
hours that the workers export, so nobody keeps a calendar here.
"""

from __future__ import annotations

from deploy.prometheus.rule import Alert
from monitor.outlets.families import DESK_CLOSES, DESK_OPENS, SUPPORT_DUE, SUPPORT_WARNING, Family

WHOSE = "tenant, request, severity, clock"
WHAT = (
    'the {{ if eq $labels.clock "first_response" }}first response{{ else }}next update{{ end }} '
    "to request {{ $labels.request }} ({{ $labels.priority }})"
)
CLOSED_HOLD = "3m"
"""Longer than what it holds back is held: a worker that starts again at night must not ring anybody."""


def alerts() -> list[Alert]:
    """What falls due, what is late, and what keeps them quiet."""
    due, warning = _one(SUPPORT_DUE), _one(SUPPORT_WARNING)
    return [
        Alert(
            "SupportDueSoon",
            "inform",
            _by_priority(f"{due} - time() >= 0 and on ({WHOSE}) {warning} < time()"),
            f"{{{{ $labels.tenant }}}}: {WHAT} is due in {{{{ $value | humanizeDuration }}}}",
            "`monitor support list` shows what goes before it: by severity, then first in, first out.",
        ),
        Alert(
            "SupportOverdue",
            "page",
            _by_priority(f"time() - {due} > 0"),
            f"{{{{ $labels.tenant }}}}: {WHAT} is {{{{ $value | humanizeDuration }}}} late",
            "It was promised and has not been given. Answer the customer; then record it, or this goes on.",
        ),
        Alert(
            "SupportDeskClosed",
            "inform",
            f"max by (tenant) (\n  {DESK_OPENS} > time() or {DESK_CLOSES} <= time()\n)",
            "The support desk of {{ $labels.tenant }} is closed",
            "Alerts on its support requests wait until the desk opens, but for those on P1.",
            wait="",
            hold=CLOSED_HOLD,
        ),
    ]


def _one(family: Family) -> str:
    """One series for each clock, also while two workers show a tenant."""
    return f"max by ({WHOSE}) ({family})"


def _by_priority(expr: str) -> str:
    """An alert's own severity takes the place of the request's, which goes on as `priority`."""
    return f'label_replace(\n  {expr},\n  "priority", "$1", "severity", "(.*)"\n)'
