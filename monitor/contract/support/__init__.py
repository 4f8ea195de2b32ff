"""Support requests: what is promised to who asks for help, and whether it is kept.

`hours` knows when the desk is open, `terms` what is promised, `requests` what happened, `clocks` what is owed and was
missed, `desk` the queue and the month. All are pure: events and `now` come in, due times and records come out;
instants are UTC epoch milliseconds. Who reads topics, keeps the events and announces what is due is elsewhere.
"""

from monitor.contract.support.clocks import (
    SUPPORT_BREACHES,
    Clock,
    SupportBreach,
    announcements,
    breaches,
    clocks,
    due,
    events_between,
    status,
)
from monitor.contract.support.desk import OutOfTurn, out_of_turn, p1_request, queue, report
from monitor.contract.support.hours import OpeningHours
from monitor.contract.support.requests import (
    DOCUMENTATION,
    EVENT_TYPES,
    RUNNING,
    Event,
    Request,
    event_of,
    fold,
    known_at,
    requests_of,
)
from monitor.contract.support.terms import (
    SEVERITIES,
    STANDARD_SUPPORT,
    Promise,
    Severity,
    SupportTerms,
    UpdateRule,
    headquarters,
    support_terms,
)

__all__ = [
    "DOCUMENTATION",
    "EVENT_TYPES",
    "RUNNING",
    "SEVERITIES",
    "STANDARD_SUPPORT",
    "SUPPORT_BREACHES",
    "Clock",
    "Event",
    "OpeningHours",
    "OutOfTurn",
    "Promise",
    "Request",
    "Severity",
    "SupportBreach",
    "SupportTerms",
    "UpdateRule",
    "announcements",
    "breaches",
    "clocks",
    "due",
    "event_of",
    "events_between",
    "fold",
    "headquarters",
    "known_at",
    "out_of_turn",
    "p1_request",
    "queue",
    "report",
    "requests_of",
    "status",
    "support_terms",
]
