"""One auth request, as bytes from a log: decoded, checked, classified. Batches go through `chunk.Chunk`; the rules for one record are here.

Rules, in the order of precedence in which a record is refused (`Reason`):
- It is JSON of at most `MAX_BYTES` bytes and an object. A key that stands twice in one object: the last one wins, as the decoder does.
- The known fields have their types. Fields that are not known here are skipped unread.
- `tenant` and `portal` are names; `time` has an offset (RFC 3339) or is in epoch milliseconds, not before 2015 and not more than
  five minutes ahead of the clock that is passed in.

Classes, and how they count: *success* and *client* (a refusal of a wrong password: the service answered as it should) are good, *server* is
bad, *external* is excluded, *unclassified* is counted apart. A success is a success, whatever fault it names. The fault of a failure is the
one it states, else the code table's, else nobody knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

import msgspec

CLASSES = ("success", "client", "server", "external", "unclassified")
"""The classes of a request, in the order in which counts are kept."""
SUCCESS, CLIENT, SERVER, EXTERNAL, UNCLASSIFIED = range(5)
FAULTS = {"client": CLIENT, "server": SERVER, "external": EXTERNAL}
MAX_BYTES = 65_536
"""Largest record that is read, in bytes."""
AHEAD_MS = 300_000
"""How far ahead of the clock a request may be, in milliseconds."""
OLDEST_MS = 1_420_070_400_000
"""2015-01-01T00:00Z. Earlier is a producer's mistake, most often seconds where milliseconds belong."""
NAME_CHARACTERS = 64

_TENANT = re.compile(r"[a-z0-9_-]{1,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Reason(StrEnum):
    """Why a record was refused; the first that applies is given."""

    TOO_LARGE = "too_large"
    NO_VALUE = "no_value"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    WRONG_FIELD = "wrong_field"
    TENANT = "tenant"
    PORTAL = "portal"
    CODE = "code"
    TIME_FORM = "time_form"
    TIME_TOO_OLD = "time_too_old"
    TIME_AHEAD = "time_ahead"
    DECISION = "decision"


class Rejected(ValueError):
    """A record that is refused: `reason`, `place` (a JSON path) and a sentence with what was expected and what was found."""

    def __init__(self, reason: Reason, place: str, sentence: str) -> None:
        super().__init__(f"{sentence} - at `{place}`")
        self.reason = reason
        self.place = place


class Request(msgspec.Struct, gc=False):
    """The native request. `time`: RFC 3339 with an offset or epoch milliseconds; `latency_ms` in milliseconds."""

    tenant: str
    time: str | int
    portal: str
    outcome: Literal["success", "failure"]
    fault: Literal["server", "client", "external"] | None = None
    code: str | None = None
    user: str | None = None
    id: str | None = None
    latency_ms: float | None = None


_decoder = msgspec.json.Decoder(Request)
decode = _decoder.decode
"""Bytes to a `Request`: types are checked, values are not. Raises `DECODE_ERRORS`."""
decode_lines = _decoder.decode_lines
"""Any number of them with whitespace between, or with nothing, to a list of `Request`s; likewise."""
DECODE_ERRORS = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


def read(value: bytes | None) -> Request:
    """Decode one record, its types checked; Rejected says what is wrong with it."""
    if value is None:
        raise Rejected(Reason.NO_VALUE, "$", "expected a JSON object, got a record without a value")
    if len(value) > MAX_BYTES:
        raise Rejected(Reason.TOO_LARGE, "$", f"expected at most {MAX_BYTES} bytes, got {len(value)}")
    try:
        return decode(value)
    except msgspec.ValidationError as error:
        sentence, _, place = str(error).partition(" - at ")
        raise Rejected(Reason.WRONG_FIELD, place.strip("`") or "$", sentence) from None
    except msgspec.MsgspecError as error:
        raise Rejected(Reason.NOT_JSON, "$", str(error)) from None
    except UnicodeDecodeError as error:
        raise Rejected(Reason.NOT_JSON, "$", f"expected UTF-8: {error.reason} (byte {error.start})") from None
    except RecursionError:
        raise Rejected(Reason.TOO_DEEP, "$", "expected no more than the usual depth, got a nest of brackets") from None


def minute(time: str | int, now_ms: int) -> int:
    """The UTC epoch minute of a request's time; Rejected when it has no offset, is before 2015 or over five minutes after `now_ms`."""
    if isinstance(time, int):
        at = time
    else:
        if not _TIME.fullmatch(time):
            raise Rejected(
                Reason.TIME_FORM, "$.time", f"expected RFC 3339 with an offset or epoch milliseconds, got {time[:40]!r}"
            )
        # A leap second belongs to the minute it ends.
        text = time[:17] + "59" + time[19:] if time[17:19] == "60" else time
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError as error:
            raise Rejected(Reason.TIME_FORM, "$.time", f"expected a time that exists, got {time!r} ({error})") from None
        at = (moment - _EPOCH) // _MILLISECOND
    if at < OLDEST_MS:
        hint = ", is it in seconds?" if 1_000_000_000 <= at < 10_000_000_000 else ""
        raise Rejected(
            Reason.TIME_TOO_OLD, "$.time", f"expected a time since 2015 in epoch milliseconds, got {time!r}{hint}"
        )
    if at > now_ms + AHEAD_MS:
        raise Rejected(
            Reason.TIME_AHEAD, "$.time", f"expected a time at most 5 minutes ahead of {now_ms}, got {time!r}"
        )
    return at // 60_000


def check_names(tenant: str, portal: str, code: str | None) -> None:
    """Rejected when a tenant's id, a portal or a code is not a name."""
    if not _TENANT.fullmatch(tenant):
        raise Rejected(Reason.TENANT, "$.tenant", f"expected [a-z0-9_-], 1 to 64 characters, got {tenant[:80]!r}")
    if not portal or len(portal) > NAME_CHARACTERS or _CONTROL.search(portal):
        raise Rejected(
            Reason.PORTAL, "$.portal", f"expected 1 to 64 characters without control characters, got {portal[:80]!r}"
        )
    if code is not None and (len(code) > NAME_CHARACTERS or _CONTROL.search(code)):
        raise Rejected(
            Reason.CODE, "$.code", f"expected at most 64 characters without control characters, got {code[:80]!r}"
        )


def classify(outcome: str, fault: str | None, code: str | None, codes: Mapping[str, str]) -> int:
    """The index in `CLASSES` of a request with this outcome, stated fault and code, under the code table of its source."""
    if outcome == "success":
        return SUCCESS
    if fault is None and code is not None:
        fault = codes.get(code)
    return UNCLASSIFIED if fault is None else FAULTS[fault]
