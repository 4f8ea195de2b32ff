"""Instants: UTC epoch milliseconds inside, RFC 3339 text at the edges."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.]\d+)?)?([Zz]|[+-]\d\d:\d\d)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 4_102_444_800_000
"""The year 2100: later times are mistakes, or microseconds."""


def instant(found: Any) -> int:
    """UTC epoch milliseconds from RFC 3339 text with an offset (seconds may be left out), or from epoch milliseconds.

    ValueError for anything else, and for times that are not between 1970 and 2100.
    """
    wanted = "expected a time with an offset such as 2026-11-20T16:59:00Z or 2026-11-20T16:59:00+01:00"
    if isinstance(found, int) and not isinstance(found, bool):
        at = found
    else:
        match = _RFC3339.fullmatch(found) if isinstance(found, str) else None
        if match is None:
            raise ValueError(f"{wanted}, found {found!r}")
        if match[3] is None:
            raise ValueError(f"{wanted}, found {found!r}, which does not say in which zone")
        try:
            at = (datetime.fromisoformat(match[0].upper()) - _EPOCH) // timedelta(milliseconds=1)
        except ValueError as error:
            raise ValueError(f"{wanted}, found {found!r}: {error}") from error
    if not 0 <= at < _LAST:
        raise ValueError(f"expected a time between 1970 and 2100, found {found!r}")
    return at


def rfc3339(at: int, zone: str = "UTC") -> str:
    """An instant as RFC 3339 text: Z in UTC, the offset in another zone; milliseconds only where there are some."""
    local = (_EPOCH + timedelta(milliseconds=at)).astimezone(ZoneInfo(zone))
    text = local.isoformat(timespec="milliseconds" if at % 1000 else "seconds")
    return text.removesuffix("+00:00") + "Z" if zone == "UTC" else text
