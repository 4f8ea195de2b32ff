"""Fetched batches as values without one object a record. What the values mean is left to others.

Replaces the classes that aiokafka 0.14's fetcher unpacks responses with (module globals, so for the whole process) and leaves the topics that
were not chosen to the originals. Aborted transactions and control records are left out; offsets may have holes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from aiokafka import codec, errors
from aiokafka.consumer import fetcher
from numpy.typing import NDArray

from monitor.counting.records import PADDING, Records
from monitor.stream import batches

_Original: Any = fetcher.PartitionRecords
_OriginalRecords: Any = fetcher.MemoryRecords

FEW = 16
"""Records of a batch up to which aiokafka's own objects are cheaper."""
PART_BYTES = 1 << 21
"""Batches are put together up to this size, in bytes: each part costs a hundred calls of numpy, however small it is."""
_CODECS = {0: bytes, 1: codec.gzip_decode, 2: codec.snappy_decode, 3: codec.lz4_decode, 4: codec.zstd_decode}
"""Decompression by a batch's compression type."""


class Part(NamedTuple):
    """Records that stand in one buffer, and their offsets, shape (n,)."""

    records: Records
    offsets: NDArray[np.int64]

    def from_place(self, place: int) -> Part:
        """The records from this one on."""
        return Part(self.records.since(place), self.offsets[place:])


class Block:
    """What one fetch found of a partition, perhaps nothing: the records at offsets [offset, following).

    `timestamp` is the newest record's, epoch milliseconds; 0 without one.
    """

    __slots__ = ("following", "offset", "parts", "timestamp")

    def __init__(self, parts: Sequence[Part], offset: int, following: int, timestamp: int) -> None:
        self.parts = parts
        self.offset = offset
        self.following = following
        self.timestamp = timestamp

    @property
    def offsets(self) -> list[int]:
        """Each record's offset."""
        return [offset for part in self.parts for offset in part.offsets.tolist()]

    @property
    def values(self) -> list[bytes | None]:
        """Each record's value."""
        return list(chain.from_iterable(part.records.values() for part in self.parts))

    def since(self, offset: int) -> Block | None:
        """What of the block stands at or after an offset; None when nothing does. AssertionError when something before the block is missing."""
        if offset < self.offset:
            raise AssertionError(f"offsets {offset} to {self.offset - 1} were passed over")
        if offset == self.offset:
            return self
        if offset >= self.following:
            return None
        first = [int(np.searchsorted(part.offsets, offset)) for part in self.parts]
        kept = [part.from_place(at) for part, at in zip(self.parts, first, strict=True) if at < len(part.offsets)]
        return Block(kept, offset, self.following, self.timestamp)


class _Parts:
    """Puts batches together into parts of about `PART_BYTES` at most, in order."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.made: list[Part] = []
        self._bodies: list[bytes] = []
        self._bases: list[int] = []
        self._counts: list[int] = []
        self._bytes = 0
        self._values: list[bytes | None] = []
        self._offsets: list[int] = []

    def add_large(self, base_offset: int, body: bytes, count: int) -> None:
        """Add a batch's body."""
        self._close_small()
        if self._bodies and self._bytes + len(body) > PART_BYTES:
            self._close_large()
        self._bodies.append(body)
        self._bases.append(base_offset)
        self._counts.append(count)
        self._bytes += len(body)

    def add_small(self, records: Iterable[Any]) -> None:
        """Add a batch's records as aiokafka has them."""
        self._close_large()
        kept = [record for record in records if record.offset >= self.since]
        self._values += [record.value for record in kept]
        self._offsets += [record.offset for record in kept]

    def close(self) -> list[Part]:
        """All of them."""
        self._close_large()
        self._close_small()
        return self.made

    def _close_large(self) -> None:
        if not self._bodies:
            return
        buffer = bytearray().join([*self._bodies, PADDING])
        starts, lengths, deltas = batches.unpack(buffer, sum(self._counts))
        offsets = np.repeat(np.array(self._bases, dtype=np.int64), self._counts) + deltas
        part = Part(Records(buffer, starts, lengths), offsets)
        if offsets[0] < self.since:  # the first batch begins before the position
            part = part.from_place(int(np.searchsorted(offsets, self.since)))
        if len(part.offsets):
            self.made.append(part)
        self._bodies, self._bases, self._counts, self._bytes = [], [], [], 0

    def _close_small(self) -> None:
        if self._values:
            self.made.append(Part(Records.of(self._values), np.array(self._offsets, dtype=np.int64)))
            self._values, self._offsets = [], []


class _Records(_OriginalRecords):  # type: ignore[misc]  # aiokafka ships no types
    """A response's batches, with the bytes they were read from."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = memoryview(data)
        self._at = 0

    def next_with_bytes(self) -> tuple[Any, memoryview]:
        """The next batch and all its bytes."""
        batch = self.next_batch()
        begin = self._at
        self._at += batches.LENGTH_BYTES + int.from_bytes(self._data[begin + 8 : begin + batches.LENGTH_BYTES])
        return batch, self._data[begin : self._at]


class _Blocks(_Original):  # type: ignore[misc]  # aiokafka ships no types
    """Unpacks a chosen topic's response into one `Block`."""

    topics: frozenset[str] = frozenset()
    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        return self._block() if self._tp.topic in self.topics else super()._unpack_records()

    def _block(self) -> Iterator[Block]:
        parts = _Parts(self.next_fetch_offset)
        first: int = self.next_fetch_offset
        following = first
        timestamp = 0
        while self._records.has_next():
            batch, data = self._records.next_with_bytes()
            if self._check_crcs and not batch.validate_crc():
                raise errors.CorruptRecordException(f"{self._tp.topic}-{self._tp.partition}: wrong CRC")
            if not self._aborted(batch) and not batch.is_control_batch:
                self._append(batch, data, parts)
                timestamp = max(timestamp, batch.max_timestamp or 0)
            following = batch.next_offset
        self.next_fetch_offset = following
        if following > first:
            # Also without records: what was removed or aborted has been read, too.
            yield Block(parts.close(), first, following, timestamp)

    def _aborted(self, batch: Any) -> bool:
        if self._isolation_level != fetcher.READ_COMMITTED or batch.producer_id is None:
            return False
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and self._contains_abort_marker(batch):
            self._aborted_producers.discard(batch.producer_id)
        return bool(batch.is_transactional and batch.producer_id in self._aborted_producers)

    @staticmethod
    def _append(batch: Any, data: memoryview, parts: _Parts) -> None:
        count = batches.count(data)
        if batch.magic == batches.FORMAT and count > FEW:
            body = _CODECS[batch.compression_type](data[batches.HEADER_BYTES :])
            parts.add_large(batch.base_offset, body, count)
        else:
            parts.add_small(batch)


def install(topics: Iterable[str]) -> None:
    """Deliver these topics as blocks, in every consumer of the process."""
    _Blocks.topics = frozenset(topics)
    fetcher.PartitionRecords = _Blocks
    fetcher.MemoryRecords = _Records
