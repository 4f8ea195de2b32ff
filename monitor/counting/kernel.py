"""The compiled part of `template`: a batch's records against one form, byte by byte, and the ids of what they say.

All arrays are C-ordered; positions count from the begin of the batch's buffer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.counting.times import MINUTE_CHARACTERS

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Unsigned = Any
"""An integer of 64 bits without a sign, as the compiler infers it: with a sign, each use as a place would be checked for being negative."""

CONSTANT, STRING, TIME, USER, NUMBER, RUN = range(6)
"""Kinds of steps: `length` bytes of a form's text; what stands before the next quote; the same, and `length` bytes; the same; a number; what
stands before the quote behind the next `length - 1` ones."""
LABELS = 64
"""Different minutes that are told apart in a batch; records of more are not taken."""
DIGITS = 16
"""Longest number that is taken, in characters."""
_NOBODY = -1
_FREE = np.uint64(2**64 - 1)
_UPPER = np.uint64(0xFFFFFFFF00000000)
_QUOTE, _POINT, _ZERO, _NINE, _COMMA = 0x22, 0x2E, 0x30, 0x39, 0x2C
_PLAIN = 1
_KIND = np.array(
    [_PLAIN if 0x20 <= byte < 0x7F and chr(byte) not in '"\\' else 0 for byte in range(256)], dtype=np.uint8
)
_ONE, _SEVEN, _EIGHT, _FIFTY_SIX, _WIDTH = map(np.uint64, (1, 7, 8, 56, MINUTE_CHARACTERS))
_ONES = np.uint64(0x0101010101010101)
_QUOTES, _BACKSLASHES, _DELETES, _SPACES, _HIGHEST = (
    _ONES * np.uint64(byte) for byte in (0x22, 0x5C, 0x7F, 0x20, 0x80)
)
_PLACES = np.uint64(0x0001020304050607)
"""Times 2 ** (8 k): k in the highest byte."""
_PRIME, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)


class Form(NamedTuple):
    """What a record must look like, from its begin to its end.

    `steps`, shape (n, 3): a kind, a length (see the kinds), and where a constant begins in `text`. `lowest` and `spans`: the least character of
    each column of a time behind its minute, and how much greater it may be.
    """

    steps: NDArray[np.uint64]
    text: Bytes
    lowest: Bytes
    spans: Bytes


class Known(NamedTuple):
    """Texts by id, in a table of open addressing.

    `slots`: the upper half of a hash and an id, or `_FREE`, a power of two of them. By id: `hashes`, and `spans` with shape (n, 2), where the
    text begins in `arena` and its length. `size`: how many ids there are, and how many bytes.
    """

    slots: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    spans: Ints
    arena: Bytes
    size: Ints

    @classmethod
    def empty(cls, ids: int, size: int) -> Known:
        """With room for so many ids and bytes."""
        slots = 1 << (2 * ids).bit_length()
        return cls(
            np.full(slots, _FREE, dtype=np.uint64),
            np.zeros(ids, dtype=np.uint64),
            np.zeros((ids, 2), dtype=np.int64),
            np.zeros(size, dtype=np.uint8),
            np.zeros(2, dtype=np.int64),
        )

    def with_room(self, ids: int, size: int) -> Known:
        """Itself when there is room for so many more ids and bytes; else a copy that has it."""
        n, used = self.size.tolist()
        if n + ids <= len(self.hashes) and used + size <= len(self.arena):
            return self
        made = Known.empty(2 * (n + ids), 2 * (used + size))
        made.size[:] = self.size
        for mine, theirs, count in (
            (made.hashes, self.hashes, n),
            (made.spans, self.spans, n),
            (made.arena, self.arena, used),
        ):
            mine[:count] = theirs[:count]
        _place(made.slots, made.hashes, n)
        return made

    def text(self, number: int) -> bytes:
        """The text with an id."""
        begin, length = self.spans[number].tolist()
        return self.arena[begin : begin + length].tobytes()


@compiled
def _place(slots: NDArray[np.uint64], hashes: NDArray[np.uint64], n: int) -> None:
    mask = np.uint64(len(slots) - 1)
    for number in range(n):
        at = hashes[number] & mask
        while slots[at] != _FREE:
            at = (at + _ONE) & mask
        slots[at] = (hashes[number] & _UPPER) | np.uint64(number)


@compiled
def _same(one: Bytes, at: Unsigned, other: Bytes, begin: Unsigned, length: Unsigned) -> bool:
    """Whether the same bytes stand there. Without an early end, many are compared at once."""
    differ = np.uint8(0)
    for i in range(length):
        differ |= one[at + i] ^ other[begin + i]
    return bool(differ == 0)


@compiled
def _after_number(text: Bytes, at: Unsigned, end: Unsigned) -> Unsigned:
    """Where the number that stands there ends: digits, perhaps a point between two, no zero before another digit. `at` when there is none."""
    begin = at
    points = 0
    while at < end and (_ZERO <= text[at] <= _NINE or text[at] == _POINT):
        points += text[at] == _POINT
        at += _ONE
    if at == begin or at - begin > DIGITS or points > 1 or text[begin] == _POINT or text[at - _ONE] == _POINT:
        return begin
    if text[begin] == _ZERO and at > begin + _ONE and text[begin + _ONE] != _POINT:
        return begin
    return at


@compiled
def _word(text: Bytes, at: Unsigned) -> Unsigned:
    """Eight bytes, the first one lowest. The compiler makes one load of it."""
    word = np.uint64(0)
    for b in range(8):
        word |= np.uint64(text[at + np.uint64(b)]) << np.uint64(8 * b)
    return word


@compiled
def _plain(text: Bytes, at: Unsigned, end: Unsigned) -> Unsigned:
    """Where the next quote, backslash, or what is no printable ASCII stands; `end` without one.

    Eight bytes at a time: of each that is looked for the highest bit is set, and of none before the first such.
    """
    while at + _EIGHT <= end:
        word = _word(text, at)
        quote, backslash, delete = word ^ _QUOTES, word ^ _BACKSLASHES, word ^ _DELETES
        found = (quote - _ONES) & ~quote | (backslash - _ONES) & ~backslash | (delete - _ONES) & ~delete
        found = (found | (word - _SPACES) | word) & _HIGHEST
        if found:
            first = (found & (~found + _ONE)) >> _SEVEN
            return at + ((first * _PLACES) >> _FIFTY_SIX)
        at += _EIGHT
    while at < end and _KIND[text[at]] == _PLAIN:
        at += _ONE
    return at


@compiled
def _after_quotes(text: Bytes, at: Unsigned, end: Unsigned, quotes: Unsigned) -> Unsigned:
    """Where the last of so many quotes stands; `end` when something stands before it that is not taken."""
    while True:
        at = _plain(text, at, end)
        if at >= end or text[at] != _QUOTE:
            return end
        quotes -= _ONE
        if quotes == 0:
            return at
        at += _ONE


@compiled
def _hash(text: Bytes, at: Unsigned, end: Unsigned, hashed: Unsigned) -> Unsigned:
    word = end - at
    while at + _EIGHT <= end:
        hashed = (hashed ^ word) * _PRIME
        hashed ^= hashed >> _SHIFT
        word = _word(text, at)
        at += _EIGHT
    hashed = (hashed ^ word) * _PRIME
    hashed ^= hashed >> _SHIFT
    word = np.uint64(0)
    while at < end:
        word = (word << _EIGHT) | np.uint64(text[at])
        at += _ONE
    hashed = (hashed ^ word) * _PRIME
    return hashed ^ (hashed >> _SHIFT)


@compiled
def _number_of(text: Bytes, runs: NDArray[np.uint64], known: Known) -> Unsigned:
    """The id of a text, in runs with shape (n, 2); a new one if need be."""
    hashed: Unsigned = _PRIME
    size: Unsigned = len(runs) - 1
    for r in range(len(runs)):
        hashed = _hash(text, runs[r, 0], runs[r, 1], hashed)
        size += np.int64(runs[r, 1] - runs[r, 0])
    mask = np.uint64(len(known.slots) - 1)
    slot = hashed & mask
    while known.slots[slot] != _FREE:
        if known.slots[slot] & _UPPER == hashed & _UPPER:
            number = known.slots[slot] & ~_UPPER
            at = known.spans[number, 0]
            same = known.spans[number, 1] == size
            if same:
                for r in range(len(runs)):
                    length = np.int64(runs[r, 1] - runs[r, 0])
                    same &= _same(text, np.int64(runs[r, 0]), known.arena, at, length)
                    at += length + 1
            if same:
                return np.int64(number)
        slot = (slot + _ONE) & mask
    number, at = known.size[0], known.size[1]
    known.slots[slot] = (hashed & _UPPER) | np.uint64(number)
    known.hashes[number] = hashed
    known.spans[number, 0], known.spans[number, 1] = at, size
    for r in range(len(runs)):
        if r:
            known.arena[at] = _COMMA
            at += 1
        for b in range(np.int64(runs[r, 0]), np.int64(runs[r, 1])):
            known.arena[at] = text[b]
            at += 1
    known.size[0], known.size[1] = number + 1, at
    return number


@compiled
def take(
    text: Bytes,
    starts: NDArray[np.uint64],
    lengths: Ints,
    places: Ints,
    longest: int,
    form: Form,
    known: Known,
    runs: NDArray[np.uint64],
    said: Ints,
    minutes: Ints,
    label_at: Ints,
    users: NDArray[np.uint64],
) -> int:
    """Take the records at `places` that have the form and are not over `longest` bytes; how many labels there are.

    Of the record at `places[i]`, said[i] becomes the id of its text (-1: it was not taken), minutes[i] the number of its label, and users[i],
    if there is such a row, the begin and the end of its user; `label_at`, shape (`LABELS`,): where each label stands. `known` must have room
    for as many new texts as there are records and for all their bytes, `runs` a row for each run of the form.
    """
    labels = 0
    last = 0
    for i in range(len(places)):
        said[i] = _NOBODY
        if lengths[places[i]] < 0 or lengths[places[i]] > longest:
            continue
        at = starts[places[i]]
        end = at + np.uint64(lengths[places[i]])
        time = at
        run = 0
        good = True
        for step in range(len(form.steps)):
            kind, length = form.steps[step, 0], form.steps[step, 1]
            if kind == CONSTANT:
                good = at + length <= end and _same(text, at, form.text, form.steps[step, 2], length)
                at += length
            elif kind == NUMBER:
                begin = at
                at = _after_number(text, begin, end)
                good = at > begin
            else:
                begin = at
                at = _after_quotes(text, begin, end, length if kind == RUN else _ONE)
                good = at < end
                if kind == TIME:
                    time = begin
                    good &= at - begin == length
                elif kind == RUN:
                    runs[run, 0], runs[run, 1] = begin, at + _ONE
                    run += 1
                    at += _ONE
                elif kind == USER and len(users):
                    users[i, 0], users[i, 1] = begin, at
            if not good:
                break
        if not good or at != end:
            continue
        wrong = False
        for c in range(len(form.lowest)):
            wrong |= np.uint8(text[time + _WIDTH + np.uint64(c)] - form.lowest[c]) > form.spans[c]
        if wrong:
            continue
        # Most records are of the minute of the one before.
        if labels == 0 or not _same(text, time, text, np.uint64(label_at[last]), _WIDTH):
            last = 0
            while last < labels and not _same(text, time, text, np.uint64(label_at[last]), _WIDTH):
                last += 1
            if last == LABELS:
                last = 0
                continue
            if last == labels:
                label_at[last] = time
                labels += 1
        minutes[i] = last
        said[i] = _number_of(text, runs, known)
    return labels
