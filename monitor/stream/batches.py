"""The records of Kafka's batches (format 2, uncompressed), found without an object for each. What they mean is left to others.

A record is: length, attributes (a byte), time delta, offset delta, key length and key, value length and value, number of headers and headers.
Lengths, deltas and numbers are zigzag varints; a length of -1 says that there is none.
See https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.counting.records import NOTHING, PADDING

Ints = NDArray[np.int64]
Unsigned = Any
"""An integer of 64 bits without a sign: with one, each use as a place would be checked for being negative."""

FORMAT = 2
HEADER_BYTES = 61
"""What stands before the records of a batch."""
LENGTH_BYTES = 12
"""What stands before the bytes that a batch's length counts."""
_LONGEST_VARINT = 10
_ONE, _SEVEN, _SEVEN_BITS = map(np.uint64, (1, 7, 127))


def count(batch: memoryview) -> int:
    """How many records a whole batch says that it has."""
    return int.from_bytes(batch[HEADER_BYTES - 4 : HEADER_BYTES])


def unpack(padded: bytes | bytearray, count: int) -> tuple[Ints, Ints, Ints]:
    """The values of `count` records, of one batch or several in a row: where each starts, its length (-1: none), its offset less its batch's.

    Behind the records stands `PADDING`. ValueError when the body before it does not hold exactly these.
    """
    found = np.empty((3, count), dtype=np.int64)
    size = len(padded) - len(PADDING)
    if not _read(np.frombuffer(padded, dtype=np.uint8), size, found):
        raise ValueError(f"expected {count} records in {size} bytes, got others")
    starts, lengths, deltas = found
    return starts, lengths, deltas


@compiled
def _read(text: NDArray[np.uint8], size: int, found: Ints) -> bool:
    """Whether the first `size` bytes are these records; `found`, shape (3, n): as `unpack` returns them."""
    at: Unsigned = np.uint64(0)
    last = np.uint64(size)
    for index in range(found.shape[1]):
        length, at = _varint(text, at)
        if at > last or length < 0 or length > np.int64(last - at):
            return False
        end = at + np.uint64(length)
        _, at = _varint(text, at + np.uint64(1))
        delta, at = _varint(text, at)
        key, at = _varint(text, at)
        if at > end or key < NOTHING or key > np.int64(end - at):
            return False
        length, at = _varint(text, at + np.uint64(max(key, 0)))
        # Behind the value stands at least the number of headers.
        if at >= end or length < NOTHING or length >= np.int64(end - at):
            return False
        found[0, index], found[1, index], found[2, index] = at, length, delta
        at = end
    return bool(at == last)


@compiled
def _varint(text: NDArray[np.uint8], at: Unsigned) -> tuple[Any, Unsigned]:
    """The zigzag varint that stands there, and where it ends, perhaps beyond the records. One without an end ends after the longest."""
    byte = np.uint64(text[at])
    value = byte & _SEVEN_BITS
    shift = np.uint64(0)
    for _ in range(_LONGEST_VARINT - 1):
        if byte <= _SEVEN_BITS:
            break
        at += _ONE
        shift += _SEVEN
        byte = np.uint64(text[at])
        value |= (byte & _SEVEN_BITS) << shift
    return np.int64(value >> _ONE) ^ -np.int64(value & _ONE), at + _ONE
