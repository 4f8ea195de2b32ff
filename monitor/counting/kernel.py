"""The compiled part of `template`: a batch's records against one form, byte by byte, and the ids of what they say.

All arrays are C-ordered; positions count from the begin of the batch's buffer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.counting.times import MINUTE_CHARACTERS
from monitor.counting.vectors import BLOCK, HALF, differ, first, marks, prefetch, product, word

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Unsigned = Any
"""An integer of 64 bits without a sign, as the compiler infers it: with a sign, each use as a place would be checked for being negative."""

CONSTANT, STRING, TIME, USER, NUMBER, RUN = range(6)
"""Kinds of steps: `length` bytes of a form's text; what stands before the next quote; the same, and `length` bytes; the same; a number; what
stands before the quote behind the next `length - 1` ones."""
LABELS = 64
"""Different minutes that are told apart in a batch; records of more are not taken."""
AT_ONCE = 64
"""Records whose texts are looked up together."""
DIGITS = 16
"""Longest number that is taken, in characters."""
SHIFT = 32
"""A request's key is its UTC epoch minute, shifted by this, and the number of its text."""
_FREE = np.uint64(2**64 - 1)
_END, _COMMA, _POINT, _ZERO, _NINE = 0, 0x2C, 0x2E, 0x30, 0x39
_NOTHING, _ONE, _EIGHT, _TWO_WORDS, _WIDTH = map(np.uint64, (0, 1, 8, 16, MINUTE_CHARACTERS))
_BLOCK, _LOWER = np.uint64(BLOCK), np.uint64(2**32 - 1)
_HALF, _SHIFT = np.uint64(HALF), np.uint64(32)
_PRIME = np.uint64(0x9E3779B97F4A7C15)


class Form(NamedTuple):
    """What a record must look like, from its begin to its end.

    `steps`, shape (n, 3): a kind, a length (see the kinds), and where a constant begins in `text`, or which of the record's quotes, of which
    there are `quotes`, ends what varies. `text` goes on for `HALF` bytes that say nothing. `lowest` and `spans`: the least character of each
    column of a time behind its minute, and how much greater it may be.
    """

    steps: NDArray[np.uint64]
    text: Bytes
    quotes: int
    lowest: Bytes
    spans: Bytes


class Known(NamedTuple):
    """Texts by id, in a table of open addressing.

    `slots`, shape (a power of two, 2): a hash or `_FREE`, and where the text begins in `arena`, shifted by 32, and its id. By id: `hashes`,
    and `begins` in `arena`, where each text ends in a zero and `HALF` bytes stay free. `size`: how many ids there are, and how many bytes.
    """

    slots: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    begins: Ints
    arena: Bytes
    size: Ints

    @classmethod
    def empty(cls, ids: int, size: int) -> Known:
        """With room for so many ids and bytes."""
        slots = 1 << (2 * ids).bit_length()
        return cls(
            np.full((slots, 2), _FREE, dtype=np.uint64),
            np.zeros(ids, dtype=np.uint64),
            np.zeros(ids + 1, dtype=np.int64),
            np.zeros(size + HALF, dtype=np.uint8),
            np.zeros(2, dtype=np.int64),
        )

    def with_room(self, ids: int, size: int) -> Known:
        """Itself when there is room for so many more ids and bytes; else a copy that has it."""
        n, used = self.size.tolist()
        if n + ids <= len(self.hashes) and used + size + HALF <= len(self.arena):
            return self
        made = Known.empty(2 * (n + ids), 2 * (used + size))
        made.size[:] = self.size
        for mine, theirs, count in (
            (made.hashes, self.hashes, n),
            (made.begins, self.begins, n + 1),
            (made.arena, self.arena, used),
        ):
            mine[:count] = theirs[:count]
        _place(made.slots, made.hashes, made.begins, n)
        return made

    def texts(self, first: int) -> list[bytes]:
        """The texts with ids from `first` on."""
        begin, end = int(self.begins[first]), int(self.size[1])
        return self.arena[begin:end].tobytes().split(bytes([_END]))[:-1]


@compiled
def _place(slots: NDArray[np.uint64], hashes: NDArray[np.uint64], begins: Ints, n: int) -> None:
    mask = np.uint64(len(slots) - 1)
    for number in range(n):
        at = hashes[number] & mask
        while slots[at, 0] != _FREE:
            at = (at + _ONE) & mask
        slots[at, 0], slots[at, 1] = hashes[number], (np.uint64(begins[number]) << _SHIFT) | np.uint64(number)


@compiled
def _same(one: Bytes, at: Unsigned, other: Bytes, begin: Unsigned, length: Unsigned) -> bool:
    """Whether the same bytes stand there; behind them may be read."""
    while length > _HALF:
        if differ(one, at, other, begin):
            return False
        at += _HALF
        begin += _HALF
        length -= _HALF
    return bool(differ(one, at, other, begin) & ((_ONE << length) - _ONE) == _NOTHING)


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
def _quotes(text: Bytes, at: Unsigned, end: Unsigned, found: NDArray[np.uint64], n: int) -> bool:
    """Whether there are `n` quotes and nothing but printable ASCII without a backslash. `found` has room for `n + BLOCK` of them."""
    count = 0
    while at < end:
        quotes, wrong = marks(text, at)
        if end - at < _BLOCK:
            mine = (_ONE << (end - at)) - _ONE
            quotes &= mine
            wrong &= mine
        if wrong:
            return False
        while quotes:
            found[count] = at + first(quotes)
            quotes &= quotes - _ONE
            count += 1
        if count > n:
            return False
        at += _BLOCK
    return count == n


@compiled
def _hash(text: Bytes, at: Unsigned, end: Unsigned, hashed: Unsigned) -> Unsigned:
    """Of a text, behind which may be read, and of the hash of what stands before it."""
    hashed ^= end - at
    while at + _TWO_WORDS <= end:
        hashed = product(hashed ^ word(text, at), _PRIME ^ word(text, at + _EIGHT))
        at += _TWO_WORDS
    one, other = word(text, at), word(text, at + _EIGHT)
    left = end - at
    if left < _EIGHT:
        one &= (_ONE << (_EIGHT * left)) - _ONE
        other = _NOTHING
    else:
        other &= (_ONE << (_EIGHT * (left - _EIGHT))) - _ONE
    return product(hashed ^ one, _PRIME ^ other)


@compiled
def _hash_of(text: Bytes, runs: NDArray[np.uint64]) -> Unsigned:
    """Of a text, in runs with shape (n, 2); never `_FREE`."""
    hashed: Unsigned = _PRIME
    for r in range(len(runs)):
        hashed = _hash(text, runs[r, 0], runs[r, 1], hashed)
    return _ONE if hashed == _FREE else hashed


@compiled
def _number_of(text: Bytes, runs: NDArray[np.uint64], hashed: Unsigned, known: Known) -> Unsigned:
    """The id of a text, in runs with shape (n, 2), with its hash; a new one if need be."""
    mask = np.uint64(len(known.slots) - 1)
    slot = hashed & mask
    while known.slots[slot, 0] != _FREE:
        if known.slots[slot, 0] == hashed:
            at = known.slots[slot, 1] >> _SHIFT
            same = True
            for r in range(len(runs)):
                length = runs[r, 1] - runs[r, 0]
                same = same and _same(text, runs[r, 0], known.arena, at, length)
                at += length
                same = same and known.arena[at] == (_COMMA if r + 1 < len(runs) else _END)
                at += _ONE
            if same:
                return np.int64(known.slots[slot, 1] & _LOWER)
        slot = (slot + _ONE) & mask
    number, begin = known.size[0], known.size[1]
    into = begin
    for r in range(len(runs)):
        for b in range(np.int64(runs[r, 0]), np.int64(runs[r, 1])):
            known.arena[into] = text[b]
            into += 1
        known.arena[into] = _COMMA if r + 1 < len(runs) else _END
        into += 1
    known.slots[slot, 0], known.slots[slot, 1] = hashed, (np.uint64(begin) << _SHIFT) | np.uint64(number)
    known.hashes[number] = hashed
    known.begins[number], known.begins[number + 1] = begin, into
    known.size[0], known.size[1] = number + 1, into
    return number


@compiled
def _number(text: Bytes, runs: NDArray[np.uint64], hashes: NDArray[np.uint64], known: Known, said: Ints) -> None:
    """Find the id of each text, the i-th in runs[i] and with hashes[i], for `said`, shape (n,).

    Texts stand all over the memory: all are asked for before the first is looked at, else each would be waited for on its own.
    """
    mask = np.uint64(len(known.slots) - 1)
    slots = known.slots.reshape(-1)
    for i in range(len(said)):
        prefetch(slots, (hashes[i] & mask) << _ONE)
    for i in range(len(said)):
        if known.slots[hashes[i] & mask, 0] == hashes[i]:
            begin = known.slots[hashes[i] & mask, 1] >> _SHIFT
            prefetch(known.arena, begin)
            prefetch(known.arena, begin + _BLOCK)
    for i in range(len(said)):
        said[i] = _number_of(text, runs[i], hashes[i], known)


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
    hashes: NDArray[np.uint64],
    taken: tuple[Ints, Ints, Ints],
    left: Ints,
    label_at: Ints,
    users: NDArray[np.uint64],
) -> tuple[int, int]:
    """Take the records at `places` that have the form and are not over `longest` bytes; how many they are, and how many labels.

    Written to, in order: `taken`, of those that are taken their places, the ids of their texts and the numbers of their labels; `left`, the
    places of the others; `users`, where each one's user begins and ends, if it has rows; `label_at`, shape (`LABELS`,), where each
    label stands. All have a row for each of the `places`. `known` must have room for as many new texts and for all their bytes; `runs`, shape
    (`AT_ONCE`, runs of the form, 2), and `hashes`, shape (`AT_ONCE`,), are scratch.
    """
    mine, said, minutes = taken
    labels = 0
    last = 0
    n, looked_up = 0, 0
    found = np.empty(form.quotes + BLOCK, dtype=np.uint64)
    for i in range(len(places)):
        place = places[i]
        left[i - n] = place  # and stays there unless it is taken
        if lengths[place] < 0 or lengths[place] > longest:
            continue
        if n - looked_up == AT_ONCE:
            _number(text, runs, hashes, known, said[looked_up:n])
            looked_up = n
        here = n - looked_up
        at = starts[place]
        end = at + np.uint64(lengths[place])
        if not _quotes(text, at, end, found, form.quotes):
            continue
        time = at
        run = 0
        good = True
        for step in range(len(form.steps)):
            kind, length = form.steps[step, 0], form.steps[step, 1]
            begin = at
            if kind == CONSTANT:
                good = at + length <= end and _same(text, at, form.text, form.steps[step, 2], length)
                at += length
            elif kind == NUMBER:
                at = _after_number(text, begin, end)
                good = at > begin
            else:
                # As many quotes as the sample has stood before: it is not before this place.
                at = found[form.steps[step, 2]]
                if kind == TIME:
                    time = begin
                    good = at - begin == length
                elif kind == RUN:
                    at += _ONE
                    runs[here, run, 0], runs[here, run, 1] = begin, at
                    run += 1
                elif kind == USER and len(users):
                    users[n, 0], users[n, 1] = begin, at
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
        mine[n], minutes[n] = place, last
        hashes[here] = _hash_of(text, runs[here])
        n += 1
    _number(text, runs, hashes, known, said[looked_up:n])
    return n, labels


@compiled
def keyed(numbers: Ints, labels: Ints, minutes: Ints, cells: Ints, keys: Ints) -> int:
    """The key of each request, by the number of its text and of its label, for `keys`, shape (n,); how many are in doubt, whose key is -1.

    `minutes` by label, `cells` by text: -1 where it is in doubt.
    """
    doubtful = 0
    for i in range(len(numbers)):
        minute = minutes[labels[i]]
        sure = minute >= 0 and cells[numbers[i]] >= 0
        keys[i] = (minute << SHIFT) | numbers[i] if sure else -1
        doubtful += not sure
    return doubtful
