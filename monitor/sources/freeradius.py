r"""FreeRADIUS 3.2: the lines of the linelog in `deploy/sources/freeradius/`, one for each decision, as native requests.

Counting them is done elsewhere. Rules:
- A request's time is when its packet came. `latency_ms` is the time from there to the decision; it is left out when the
  clock was set back in between.
- Access-Accept is a success, Access-Reject a failure with the line's code. Another reply (a challenge, an answer to
  accounting) is no decision, so it is no request.
- A user name is the bytes of a stranger: the line has them in base64. What is not UTF-8 in them becomes `\xff`, so that
  two names stay two.
- What is wrong with a tenant or a portal is told by whoever reads the native request.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson

from monitor.counting.request import MAX_BYTES, Reason, Rejected

CODES: Mapping[str, str] = MappingProxyType(
    {
        "invalid_credentials": "client",
        "no_user_name": "client",
        "backend_unavailable": "server",
        "internal_error": "server",
    }
)
"""Whose fault each Decision-Code of `policy.d/decisions` is."""

_OUTCOMES = {"Access-Accept": "success", "Access-Reject": "failure"}


def requests(values: Sequence[bytes | None]) -> list[bytes | Rejected | None]:
    """Native bytes for each line in order; Rejected for one that cannot be read, None for one that is no decision."""
    made: list[bytes | Rejected | None] = []
    for value in values:
        try:
            made.append(request(value))
        except Rejected as error:
            made.append(error)
    return made


def request(value: bytes | None) -> bytes | None:
    """The native request of one line, None when the line is no decision. Raises Rejected."""
    line = _object(value)
    reply = _text(line, "reply")
    outcome = _OUTCOMES.get(reply)
    if outcome is None:
        return None
    received_us, decided_us = _microseconds(line, "received"), _microseconds(line, "decided")
    native = {
        "time": received_us // 1000,
        "tenant": line.get("tenant"),
        "portal": line.get("portal"),
        "outcome": outcome,
    }
    if decided_us >= received_us:
        native["latency_ms"] = (decided_us - received_us) / 1000
    if code := _text(line, "code"):
        native["code"] = code
    if user := _user(line):
        native["user"] = user
    return orjson.dumps(native)


def _object(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise Rejected(Reason.NO_VALUE, "$", "expected a linelog's JSON object, got a record without a value")
    if len(value) > MAX_BYTES:
        raise Rejected(Reason.TOO_LARGE, "$", f"expected at most {MAX_BYTES} bytes, got {len(value)}")
    try:
        line = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Rejected(Reason.NOT_JSON, "$", f"expected a linelog's JSON object: {error}") from None
    if not isinstance(line, dict):
        raise Rejected(Reason.WRONG_FIELD, "$", f"expected a linelog's JSON object, got {type(line).__name__}")
    return line


def _text(line: dict[str, Any], name: str) -> str:
    found = line.get(name)
    if not isinstance(found, str):
        raise Rejected(Reason.WRONG_FIELD, f"$.{name}", f"expected a text, got {found!r:.80}")
    return found


def _microseconds(line: dict[str, Any], name: str) -> int:
    """Microseconds since the epoch from ["seconds", "microseconds"], digits with or without leading zeros."""
    match line.get(name):
        case [str(seconds), str(rest)] if (
            seconds.isdecimal() and rest.isdecimal() and len(seconds) <= 11 and len(rest) <= 6
        ):
            return int(seconds) * 1_000_000 + int(rest)
        case found:
            sentence = f"expected seconds and microseconds as two texts of digits, got {found!r:.80}"
            raise Rejected(Reason.TIME_FORM, f"$.{name}", sentence)


def _user(line: dict[str, Any]) -> str:
    encoded = _text(line, "user")
    try:
        return binascii.a2b_base64(encoded, strict_mode=True).decode("utf-8", "backslashreplace") if encoded else ""
    except ValueError as error:
        raise Rejected(Reason.WRONG_FIELD, "$.user", f"expected base64, got {encoded!r:.80} ({error})") from None
