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
from monitor.counting.records import NOTHING

Ints = NDArray[np.int64]

FORMAT = 2
HEADER_BYTES = 61
"""What stands before the records of a batch."""
LENGTH_BYTES = 12
"""What stands before the bytes that a batch's length counts."""
_LONGEST_VARINT = 10


def count(batch: memoryview) -> int:
    """How many records a whole batch says that it has."""
    return int.from_bytes(batch[HEADER_BYTES - 4 : HEADER_BYTES])


def unpack(body: bytes | memoryview, count: int) -> tuple[Ints, Ints, Ints]:
    """The values of `count` records, of one batch or several in a row: where each starts, its length (-1: none), its offset less its batch's.

    ValueError when the body does not hold exactly these.
    """
    found = np.empty((3, count), dtype=np.int64)
    if not _read(np.frombuffer(body, dtype=np.uint8), found):
        raise ValueError(f"expected {count} records in {len(body)} bytes, got others")
    starts, lengths, deltas = found
    return starts, lengths, deltas


@compiled
def _read(text: NDArray[np.uint8], found: Ints) -> bool:
    """Whether the text is these records; `found`, shape (3, n): as `unpack` returns them."""
    at = 0
    for index in range(found.shape[1]):
        size, at = _varint(text, at)
        end = at + size
        if at < 0 or size < 0 or end > len(text):
            return False
        _, at = _varint(text, at + 1)
        delta, at = _varint(text, at)
        key, at = _varint(text, at)
        length, at = _varint(text, at + max(key, 0) if at >= 0 and key <= size else -1)
        # Behind the value stands at least the number of headers.
        if at < 0 or length < NOTHING or length > size or at + length >= end:
            return False
        found[0, index], found[1, index], found[2, index] = at, length, delta
        at = end
    return at == len(text)


@compiled
def _varint(text: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """The zigzag varint that stands there, and where it ends; -1 when it does not end, or `at` is that."""
    value: Any = 0
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        if not 0 <= at < len(text):
            return 0, -1
        byte = np.int64(text[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return (value >> 1) ^ -(value & 1), at
    return 0, -1
