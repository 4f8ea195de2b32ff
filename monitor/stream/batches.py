"""The records of Kafka's batches (format 2, uncompressed), found without an object for each. What they mean is left to others.

A record is: length, attributes (a byte), time delta, offset delta, key length and key, value length and value, number of headers and headers.
Lengths, deltas and numbers are zigzag varints; a length of -1 says that there is none.
See https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import crc32c
import numpy as np
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.counting.records import NOTHING
from monitor.counting.vectors import first, word

Ints = NDArray[np.int64]
Unsigned = Any
"""An integer of 64 bits without a sign: with one, each use as a place would be checked for being negative."""

FORMAT = 2
HEADER_BYTES = 61
"""What stands before the records of a batch."""
_CHECKED_FROM = 21
"""The bytes from here on are those that the checksum before them is of."""
_LENGTH_BYTES = 12
"""What stands before the bytes that a batch's length counts."""
_four_bytes = struct.Struct(">I").unpack_from
_ONE, _TWO, _THREE, _FOUR, _EIGHT, _NINE, _SEVEN_BITS = map(np.uint64, (1, 2, 3, 4, 8, 9, 127))
_NONE = np.int64(-(2**62))
_LAST, _PAYLOAD = np.uint64(0x8080808080808080), np.uint64(0x7F7F7F7F7F7F7F7F)
"""Of eight bytes of varints: the bits that are 0 in a varint's last byte, and the others."""
_LAST_OF_ALL = np.uint64(1 << 63)
_LOW_7, _HIGH_7 = np.uint64(0x007F007F007F007F), np.uint64(0x7F007F007F007F00)
_LOW_14, _HIGH_14 = np.uint64(0x00003FFF00003FFF), np.uint64(0x3FFF00003FFF0000)
_LOW_28, _HIGH_28 = np.uint64(0x000000000FFFFFFF), np.uint64(0x0FFFFFFF00000000)


def count(batch: memoryview) -> int:
    """How many records a whole batch says that it has."""
    found: int = _four_bytes(batch, HEADER_BYTES - 4)[0]
    return found


def length(data: memoryview, at: int) -> int:
    """How many bytes the batch that begins there has."""
    found: int = _four_bytes(data, at + _LENGTH_BYTES - 4)[0]
    return _LENGTH_BYTES + found


def intact(batch: memoryview) -> bool:
    """Whether a whole batch's checksum is right."""
    return bool(crc32c.crc32c(batch[_CHECKED_FROM:]) == _four_bytes(batch, _CHECKED_FROM - 4)[0])


class Body(NamedTuple):
    """A batch's uncompressed records, so many, at [begin, end) of some memory; their offsets count from `base_offset`."""

    begin: int
    end: int
    records: int
    base_offset: int


def unpack(memory: bytes | bytearray, bodies: Sequence[Body]) -> tuple[Ints, Ints, Ints]:
    """The values of these batches' records: where each starts in `memory`, its length (-1: none), its offset.

    Behind each body `memory` goes on for as many bytes as `PADDING` has. ValueError when a body does not hold exactly its records.
    """
    found = np.empty((3, sum(body.records for body in bodies)), dtype=np.int64)
    wrong = _read(np.frombuffer(memory, dtype=np.uint8), np.array(bodies, dtype=np.int64).reshape(-1, 4), found)
    if wrong >= 0:
        begin, end, count, offset = bodies[wrong]
        raise ValueError(
            f"expected {count} records in the {end - begin} bytes of the batch at offset {offset}, got others"
        )
    starts, lengths, offsets = found
    return starts, lengths, offsets


@compiled
def _read(text: NDArray[np.uint8], bodies: Ints, found: Ints) -> int:
    """Find the records of bodies, shape (m, 4); the number of the first body that does not hold its own, -1 without one.

    `found`, shape (3, n): as `unpack` returns them.
    """
    index = 0
    for number in range(len(bodies)):
        at: Unsigned = np.uint64(bodies[number, 0])
        last = np.uint64(bodies[number, 1])
        for _ in range(bodies[number, 2]):
            length, at = _varint(text, at)
            if at > last or length < 0 or length > np.int64(last - at):
                return number
            following = at + np.uint64(length)
            delta, at = _varint(text, _after_time(text, at + _ONE))
            key, at = _varint(text, at)
            if at > following or delta < 0 or key < NOTHING or key > np.int64(following - at):
                return number
            length, at = _varint(text, at + np.uint64(max(key, 0)))
            # Behind the value stands at least the number of headers.
            if at >= following or length < NOTHING or length >= np.int64(following - at):
                return number
            found[0, index], found[1, index], found[2, index] = at, length, bodies[number, 3] + delta
            index += 1
            at = following
        if at != last:
            return number
    return -1


@compiled
def _varint(text: NDArray[np.uint8], at: Unsigned) -> tuple[Any, Unsigned]:
    """The zigzag varint that stands there, and where it ends, perhaps beyond the records. `_NONE` for one of over eight bytes: a length or an
    offset's delta has five at most.
    """
    bits = word(text, at)
    ends = ~bits & _LAST
    # Up to the last byte.
    value = bits & (ends ^ (ends - _ONE)) & _PAYLOAD
    # Seven bits of each byte, moved together by twos, by fours, by eights.
    value = (value & _LOW_7) | ((value & _HIGH_7) >> _ONE)
    value = (value & _LOW_14) | ((value & _HIGH_14) >> _TWO)
    value = (value & _LOW_28) | ((value & _HIGH_28) >> _FOUR)
    signed = np.int64(value >> _ONE) ^ -np.int64(value & _ONE)
    return signed if ends else _NONE, at + (first(ends | _LAST_OF_ALL) >> _THREE) + _ONE


@compiled
def _after_time(text: NDArray[np.uint8], at: Unsigned) -> Unsigned:
    """Where the varint of up to ten bytes that stands there ends."""
    ends = ~word(text, at) & _LAST
    if ends:
        return at + (first(ends) >> _THREE) + _ONE
    return at + _NINE + np.uint64(text[at + _EIGHT] > _SEVEN_BITS)
