"""The minutes of a whole batch's times. Which times are right is `request.minute`'s to say.

A *label* stands for a UTC minute: its first 16 characters ("2026-11-23T10:11") where seconds, perhaps a fraction, and Z follow; the
minute as a number where the time is in epoch milliseconds; any other time is its own label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.counting import request as rq

Label = str | int

MINUTE_CHARACTERS = 16
FEW = 64
"""Stretches of equal labels up to which they are not brought together."""
_ENDING = re.compile(r":[0-5]\d(\.\d{1,9})?[Zz]")


def by_minute(times: Sequence[str | int]) -> tuple[list[Label], NDArray[np.int64]]:
    """Labels, and which one each time has, as its place among them, shape (n,). A label may be there more than once."""
    found: NDArray[Any] | None = _texts(times)
    if found is None:
        found = _numbers(times)
    if found is None:
        return _one_by_one(times)
    begins = _begins(found)
    if len(begins) > FEW:
        named, place = np.unique(found, return_inverse=True)
    else:
        named, place = found[begins], np.repeat(np.arange(len(begins)), np.diff(begins, append=len(found)))
    return [each.decode() if isinstance(each, bytes) else each for each in named.tolist()], place


def labels(times: NDArray[np.bytes_]) -> tuple[NDArray[np.bytes_], NDArray[np.bool_]]:
    """The labels of times in ASCII, all of the array's width, shape (n,), and which of them end in seconds and Z; the others' say nothing."""
    width = times.dtype.itemsize
    form = _FORMS.get(width)
    if form is None:
        return times, np.zeros(len(times), dtype=np.bool_)
    rows = times.view(np.uint8).reshape(len(times), width)
    wrong = rows[:, MINUTE_CHARACTERS:] - form[0] > form[1]
    good = np.ones(len(times), dtype=np.bool_)
    if wrong.any():
        good[wrong.any(axis=1)] = False
    return np.ascontiguousarray(rows[:, :MINUTE_CHARACTERS]).view(f"S{MINUTE_CHARACTERS}").ravel(), good


def _begins(labels: NDArray[Any]) -> NDArray[np.int64]:
    return (
        np.concatenate(([0], np.flatnonzero(labels[1:] != labels[:-1]) + 1)) if len(labels) else np.zeros(0, np.int64)
    )


def _texts(times: Sequence[str | int]) -> NDArray[np.bytes_] | None:
    """The labels of times that all have one length and end in seconds and Z; None when they do not."""
    try:
        lines = ("\n".join(times) + "\n").encode("ascii")  # type: ignore[arg-type]  # a number raises the TypeError below
    except (TypeError, UnicodeEncodeError):
        return None
    width = len(times[0]) if times and isinstance(times[0], str) else 0
    if width not in _FORMS or len(lines) != (width + 1) * len(times):
        return None
    rows = np.frombuffer(lines, dtype=np.uint8).reshape(len(times), width + 1)
    found, good = labels(np.ascontiguousarray(rows[:, :-1]).view(f"S{width}").ravel())
    # No good time holds a line's end: when all of those that were put in stand in the last column, each time fills its row.
    return found if good.all() and (rows[:, -1] == ord("\n")).all() and lines.count(b"\n") == len(times) else None


def form(width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Of times of this length, in seconds and Z: the least character of each column behind the minute, and how much greater it may be."""
    return _FORMS.get(width)


def _form(digits: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    ending = ":00" + ("." + "0" * digits if digits else "") + "Z"
    spans = [9 if each == "0" else 0 for each in ending]
    spans[1] = 5
    return np.frombuffer(ending.encode(), dtype=np.uint8), np.array(spans, dtype=np.uint8)


_FORMS = {MINUTE_CHARACTERS + len(form[0]): form for form in map(_form, range(10))}
"""By a time's length, for 0 to 9 digits of a fraction."""


def _numbers(times: Sequence[str | int]) -> NDArray[np.int64] | None:
    """The labels of times that are all in milliseconds; None when they are not."""
    if set(map(type, times)) != {int}:
        return None
    try:
        return np.array(times, dtype=np.int64) // 60_000
    except OverflowError:
        return None


def _one_by_one(times: Sequence[str | int]) -> tuple[list[Label], NDArray[np.int64]]:
    places: dict[Label, int] = {}
    found = [places.setdefault(_label(time), len(places)) for time in times]
    return list(places), np.array(found, dtype=np.int64)


def _label(time: str | int) -> Label:
    if isinstance(time, int):
        return time // 60_000
    if _ENDING.fullmatch(time[MINUTE_CHARACTERS:]):
        return time[:MINUTE_CHARACTERS]
    # A text as short as a minute is none, and must not pass for one.
    return time + "?" if len(time) == MINUTE_CHARACTERS else time


def whole_minute(label: Label, now_ms: int) -> int:
    """The UTC epoch minute of a label when all of it is in the bounds of `request.minute`; raises Rejected."""
    if isinstance(label, int):
        return rq.minute(label * 60_000 + 59_999, now_ms)
    return rq.minute(label + ":59.999Z" if len(label) == MINUTE_CHARACTERS else label, now_ms)
