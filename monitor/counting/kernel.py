"""The compiled part of `template`: a batch's records against one form, byte by byte, and the ids of what they say.

All arrays are C-ordered; positions count from the begin of the batch's buffer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.counting.times import MINUTE_CHARACTERS
from monitor.counting.vectors import BLOCK, HALF, count, differ, digits, first, marks, prefetch, product, word

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Unsigned = Any
"""An integer of 64 bits without a sign, as the compiler infers it: with a sign, each use as a place would be checked for being negative."""

NOTHING, STRING, TIME, USER, NUMBER, RUN = range(6)
"""What varies at a step: nothing; what stands before the next quote; the same, and it is a time; the same, and it is a user; a number; fields
up to the last one's last quote."""
LABELS = 64
"""Different minutes that are told apart in a batch; records of more are not taken."""
AT_ONCE = 64
"""Records whose texts are looked up together."""
DIGITS = 16
"""Longest number that is taken, in characters."""
SHIFT = 32
"""A request's key is its UTC epoch minute, shifted by this, and the number of its text."""
_FREE = np.uint64(2**64 - 1)
_END, _COMMA, _ZERO = 0, 0x2C, 0x30
_NOTHING, _ONE, _EIGHT, _TWO_WORDS, _WIDTH = map(np.uint64, (0, 1, 8, 16, MINUTE_CHARACTERS))
_DIGITS = np.uint64(DIGITS)
_BLOCK, _LOWER = np.uint64(BLOCK), np.uint64(2**32 - 1)
_HALF, _SHIFT = np.uint64(HALF), np.uint64(32)
_PRIME = np.uint64(0x9E3779B97F4A7C15)


class Form(NamedTuple):
    """What a record must look like, from its begin to its end.

    `steps`, shape (n, 4): what varies, how many quotes it takes to its end, and where in `text` begins what stands behind it, and its length.
    `text` goes on for `HALF` bytes that say nothing. `width`: characters of a time. `lowest` and `spans`: the least character of each column
    of a time behind its minute, and how much greater it may be.
    """

    steps: NDArray[np.uint64]
    text: Bytes
    width: int
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
        for mine, theirs, upto in (
            (made.hashes, self.hashes, n),
            (made.begins, self.begins, n + 1),
            (made.arena, self.arena, used),
        ):
            mine[:upto] = theirs[:upto]
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
    figures, points = digits(text, at)
    length = first(~(figures | points))
    mine = (_ONE << length) - _ONE
    points &= mine
    # No point where it begins or ends, and one at most; no zero before another digit.
    ends = (_ONE << length >> _ONE) | _ONE
    wrong = (points & ends) | (points & (points - _ONE))
    zero = text[at] == _ZERO and (figures & mine) >> _ONE & _ONE
    return at if wrong or zero or length > _DIGITS or at + length > end else at + length


@compiled
def _quote(text: Bytes, at: Unsigned, end: Unsigned, n: Unsigned) -> Unsigned:
    """Where the `n`-th quote from `at` on stands; `end` when there are fewer, or anything but printable ASCII without a backslash before."""
    while at < end:
        quotes, wrong = marks(text, at)
        here = count(quotes)
        if here >= n:
            while n > _ONE:
                quotes &= quotes - _ONE
                n -= _ONE
            place = first(quotes)
            return end if wrong & ((_ONE << place) - _ONE) else at + place
        if wrong:
            return end
        n -= here
        at += _BLOCK
    return end


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
def _hash_of(text: Bytes, runs: NDArray[np.uint64], i: int) -> Unsigned:
    """Of the text in runs[i]; never `_FREE`."""
    hashed: Unsigned = _PRIME
    for r in range(runs.shape[1]):
        hashed = _hash(text, runs[i, r, 0], runs[i, r, 1], hashed)
    return _ONE if hashed == _FREE else hashed


@compiled
def _same_text(text: Bytes, runs: NDArray[np.uint64], i: int, arena: Bytes, at: Unsigned) -> bool:
    """Whether the text in runs[i] stands in `arena`."""
    many = runs.shape[1]
    for r in range(many):
        length = runs[i, r, 1] - runs[i, r, 0]
        if not _same(text, runs[i, r, 0], arena, at, length):
            return False
        at += length
        if arena[at] != (_COMMA if r + 1 < many else _END):
            return False
        at += _ONE
    return True


@compiled
def _keep(text: Bytes, runs: NDArray[np.uint64], i: int, arena: Bytes, into: int) -> int:
    """Write the text in runs[i] into `arena`; where it ends."""
    many = runs.shape[1]
    for r in range(many):
        for b in range(np.int64(runs[i, r, 0]), np.int64(runs[i, r, 1])):
            arena[into] = text[b]
            into += 1
        arena[into] = _COMMA if r + 1 < many else _END
        into += 1
    return into


@compiled
def _number(
    text: Bytes, runs: NDArray[np.uint64], hashes: NDArray[np.uint64], known: Known, said: Ints, first: int, upto: int
) -> None:
    """Find the ids for said[first:upto], whose texts are in `runs`, from its begin on, and their hashes in `hashes`; new ones if need be.

    Texts stand all over the memory: all are asked for before the first is looked at, else each would be waited for on its own.
    """
    # Numba counts who holds an array each time that one is taken out of a tuple or cut, which costs as much as all else here.
    slots, kept, begins, arena, size = known.slots, known.hashes, known.begins, known.arena, known.size
    mask = np.uint64(len(slots) - 1)
    flat = slots.reshape(-1)
    for i in range(upto - first):
        prefetch(flat, (hashes[i] & mask) << _ONE)
    for i in range(upto - first):
        if slots[hashes[i] & mask, 0] == hashes[i]:
            begin = slots[hashes[i] & mask, 1] >> _SHIFT
            prefetch(arena, begin)
            prefetch(arena, begin + _BLOCK)
    for i in range(upto - first):
        hashed = hashes[i]
        slot = hashed & mask
        while slots[slot, 0] != _FREE and not (
            slots[slot, 0] == hashed and _same_text(text, runs, i, arena, slots[slot, 1] >> _SHIFT)
        ):
            slot = (slot + _ONE) & mask
        if slots[slot, 0] == _FREE:
            number, into = size[0], size[1]
            slots[slot, 0], slots[slot, 1] = hashed, (np.uint64(into) << _SHIFT) | np.uint64(number)
            kept[number] = hashed
            begins[number] = into
            size[0], size[1] = number + 1, _keep(text, runs, i, arena, into)
            begins[number + 1] = size[1]
        said[first + i] = np.int64(slots[slot, 1] & _LOWER)


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
    # As in `_number`.
    steps, constants, lowest, spans = form.steps, form.text, form.lowest, form.spans
    labels = 0
    last = 0
    n, looked_up = 0, 0
    width = np.uint64(form.width)
    for i in range(len(places)):
        place = places[i]
        left[i - n] = place  # and stays there unless it is taken
        if lengths[place] < 0 or lengths[place] > longest:
            continue
        if n - looked_up == AT_ONCE:
            _number(text, runs, hashes, known, said, looked_up, n)
            looked_up = n
        here = n - looked_up
        at = starts[place]
        end = at + np.uint64(lengths[place])
        time = at
        run = 0
        good = True
        for step in range(len(steps)):
            kind = steps[step, 0]
            begin = at
            if kind == NUMBER:
                at = _after_number(text, begin, end)
                good = at > begin
            elif kind != NOTHING:
                at = _quote(text, begin, end, steps[step, 1])
                good = at < end
                if kind == RUN:
                    at += _ONE
                    runs[here, run, 0], runs[here, run, 1] = begin, at
                    run += 1
                elif kind == TIME:
                    time = begin
                    good = at - begin == width
                elif kind == USER and len(users):
                    users[n, 0], users[n, 1] = begin, at
            length = steps[step, 3]
            good = good and at + length <= end and _same(text, at, constants, steps[step, 2], length)
            at += length
            if not good:
                break
        if not good or at != end:
            continue
        wrong = False
        for c in range(len(lowest)):
            wrong |= np.uint8(text[time + _WIDTH + np.uint64(c)] - lowest[c]) > spans[c]
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
        hashes[here] = _hash_of(text, runs, here)
        n += 1
    _number(text, runs, hashes, known, said, looked_up, n)
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
