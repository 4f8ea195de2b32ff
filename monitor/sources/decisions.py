"""People's decisions as they come from their topics: checked here, so that the journal holds only what can be read. The engine judges them."""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from monitor.counting.frame import Decision
from monitor.counting.request import Reason, Rejected

_TENANT = re.compile(r"[a-z0-9_-]{1,64}")
_CONTRACT = {
    "tenant": str,
    "zone": str,
    "partner": str,
    "tier": str,
    "portals": list,
    "start": str,
    "end": str,
    "effective": str,
    "id": str,
}


def read_decision(kind: str, offset: int, value: bytes) -> Decision:
    """The decision in a record of the topic of this kind; Rejected says what is wrong with it."""
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Rejected(Reason.DECISION, "$", f"expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise Rejected(Reason.DECISION, "$", f"expected an object, got {type(found).__name__}")
    tenant = found.get("tenant")
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
        raise Rejected(Reason.DECISION, "$.tenant", f"expected [a-z0-9_-], 1 to 64 characters, got {tenant!r}")
    if kind == "contracts":
        _check_contract(found)
    return Decision(kind, offset, tenant, value)


def _check_contract(found: dict[str, Any]) -> None:
    for name, value in found.items():
        kind = _CONTRACT.get(name)
        if kind is not None and value is not None and not isinstance(value, kind):
            raise Rejected(Reason.DECISION, f"$.{name}", f"expected {kind.__name__}, got {type(value).__name__}")
    zone = found.get("zone")
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (ValueError, OSError):
            raise Rejected(
                Reason.DECISION, "$.zone", f"expected an IANA zone like Europe/London, got {zone!r}"
            ) from None
