"""People's decisions as they come from their topics: checked here, so that the journal holds only what can be read. The engine judges them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import orjson

from monitor.contract.agreement import agreement_of
from monitor.contract.credits import claim_of
from monitor.contract.exclusions import ALL, exclusion_of
from monitor.contract.rulings import ruling_of
from monitor.contract.support import event_of
from monitor.counting.frame import Decision
from monitor.counting.request import Reason, Rejected

_TENANT = re.compile(r"[a-z0-9_-]{1,64}")
READERS: Mapping[str, Callable[[Any, int], Any]] = MappingProxyType(
    {
        "contracts": agreement_of,
        "exclusions": exclusion_of,
        "decisions": ruling_of,
        "claims": claim_of,
        "support-requests": lambda found, _: event_of(found),
    }
)
"""By kind, which is the topic's name: what reads a record and names every fault in it."""
MOST_BYTES = 1 << 16
"""The longest record: many travel in one frame."""
FOR_ALL = frozenset({"exclusions"})
"""Kinds that go to every partition: their records name tenants inside, or none."""
MAY_BE_FOR_ALL = frozenset({"decisions"})
"""Kinds whose tenant may be `*`."""


def read_decision(kind: str, offset: int, value: bytes, now_ms: int) -> Decision:
    """The decision in a record of the topic of this kind, read at `now_ms` (epoch); Rejected says what is wrong with it."""
    if len(value) > MOST_BYTES:
        raise Rejected(Reason.TOO_LARGE, "$", f"expected at most {MOST_BYTES} bytes, got {len(value)}")
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Rejected(Reason.DECISION, "$", f"expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise Rejected(Reason.DECISION, "$", f"expected an object, got {type(found).__name__}")
    tenant = ALL if kind in FOR_ALL else found.get("tenant")
    for_all = tenant == ALL and kind in FOR_ALL | MAY_BE_FOR_ALL
    if not for_all and not (isinstance(tenant, str) and _TENANT.fullmatch(tenant)):
        raise Rejected(Reason.DECISION, "$.tenant", f"expected [a-z0-9_-], 1 to 64 characters, got {tenant!r}")
    try:
        READERS[kind](found, now_ms)
    except ValueError as error:
        raise Rejected(Reason.DECISION, "$", str(error)) from None
    return Decision(kind, offset, str(tenant), value)
