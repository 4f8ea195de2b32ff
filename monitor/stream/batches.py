"""The records of Kafka's batches (format 2, uncompressed), found without an object for each. What they mean is left to others.

A record is: length, attributes (a byte), time delta, offset delta, key length and key, value length and value, number of headers and headers.
Lengths, deltas and numbers are zigzag varints; a length of -1 says that there is none.
See https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def unpack(body: bytes | bytearray, count: int) -> tuple[Ints, Ints, Ints]:
    """The values of `count` records, of one batch or several in a row: where each starts, its length (-1: none), its offset less its batch's.

    ValueError when the body does not hold exactly these.
    """
    text = np.frombuffer(body, dtype=np.uint8)
    begins = _likely(text, count)
    found = None if begins is None else _read(text, begins)
    if found is None:
        found = _read(text, _one_by_one(body, count))
    if found is None:
        raise ValueError(f"expected {count} records in {len(body)} bytes, got others")
    return found


def _likely(text: NDArray[np.uint8], count: int) -> Ints | None:
    """Where records begin when each ends with a brace and no headers; None when that does not come to `count`. To be proved by `_read`."""
    ends = np.flatnonzero((text[:-1] == ord("}")) & (text[1:] == 0)) + 2
    return np.concatenate(([0], ends[:-1])) if len(ends) == count and ends[-1] == len(text) else None


def _one_by_one(body: bytes | bytearray, count: int) -> Ints:
    begins = [0] * count
    at = 0
    try:
        for index in range(count):
            begins[index] = at
            shift = size = 0
            while True:
                byte = body[at]
                at += 1
                size |= (byte & 127) << shift
                if byte < 128:
                    break
                shift += 7
            at += size >> 1
    except IndexError:
        raise ValueError(f"expected {count} records in {len(body)} bytes, got {index} and a part") from None
    return np.array(begins, dtype=np.int64)


def _read(text: NDArray[np.uint8], begins: Ints) -> tuple[Ints, Ints, Ints] | None:
    """The values of the records that begin there; None when their lengths tell that they do not."""
    following = np.append(begins[1:], len(text))
    try:
        size, at = _varints(text, begins)
        if not np.array_equal(at + size, following):
            return None
        _, at = _varints(text, at + 1)
        deltas, at = _varints(text, at)
        key, at = _varints(text, at)
        lengths, starts = _varints(text, at + np.maximum(key, 0))
    except IndexError:
        return None
    if (lengths < NOTHING).any() or (starts + lengths >= following).any():
        return None
    return starts, lengths, deltas


def _varints(text: NDArray[np.uint8], at: Ints) -> tuple[Ints, Ints]:
    """The zigzag varints at these places, and where each ends; IndexError when one does not."""
    byte = text[at].astype(np.int64)
    value = byte & 127
    at = at + 1
    more = np.flatnonzero(byte > 127)
    for shift in range(7, 7 * _LONGEST_VARINT, 7):
        if not len(more):
            break
        byte = text[at[more]].astype(np.int64)
        value[more] |= (byte & 127) << shift
        at[more] += 1
        more = more[byte > 127]
    return (value >> 1) ^ -(value & 1), at
