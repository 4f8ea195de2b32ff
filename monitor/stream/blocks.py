"""Fetched batches as values without one object a record. What the values mean is left to others.

Replaces the classes that aiokafka 0.14's fetcher unpacks responses with (module globals, so for the whole process) and leaves the topics that
were not chosen to the originals. Aborted transactions and control records are left out; offsets may have holes. Batches stay as they were
sent until somebody asks for their records: they wait in less memory, and what is decompressed is read while the processor's cache has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cramjam
import numpy as np
from aiokafka import codec, errors
from aiokafka.consumer import fetcher
from numpy.typing import NDArray

from monitor.counting.records import PADDING, Records
from monitor.stream import batches, lz4
from monitor.stream.batches import Body

_Original: Any = fetcher.PartitionRecords
_OriginalRecords: Any = fetcher.MemoryRecords

FEW = 16
"""Records of a batch up to which aiokafka's own objects are cheaper."""
PART_BYTES = 1 << 19
"""Batches are put together until they have this size, in bytes: each part costs a hundred calls of numpy, and should stay in the cache."""
BUFFER_BYTES = 1 << 20
_CODECS: dict[int, Callable[[memoryview], bytes | memoryview]] = {
    0: memoryview,
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}
"""Decompression by a batch's compression type."""
_CODECS_INTO = {3: lz4.decompress_into, 4: cramjam.zstd.decompress_into}
"""Of those that can: into memory that is there."""


class Part(NamedTuple):
    """Records that stand in one buffer, and their offsets, shape (n,)."""

    records: Records
    offsets: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it was sent: `count` records at offsets [base_offset, following); `body` is what stands behind the header."""

    base_offset: int
    following: int
    count: int
    compression: int
    body: memoryview


Few = list[tuple[int, bytes | None]]
"""A small batch's records: offset and value."""


class Buffer:
    """The memory that batches are decompressed into, one part after the other."""

    def __init__(self) -> None:
        self.memory = bytearray(BUFFER_BYTES)

    def put(self, batch: Batch, at: int) -> int:
        """Decompress a batch's body from a place on; where it ends. The memory becomes another one where there is too little."""
        room = memoryview(self.memory)[at : -len(PADDING)]
        into = _CODECS_INTO.get(batch.compression)
        if into is not None:
            try:
                return at + int(into(batch.body, room))
            except cramjam.DecompressionError:
                pass  # There is too little room, or the batch is damaged: then the decoder says so.
        body = _CODECS[batch.compression](batch.body)
        if len(body) > len(room):
            larger = bytearray(2 * (at + len(body)) + len(PADDING))
            larger[:at] = memoryview(self.memory)[:at]
            self.memory, room = larger, memoryview(larger)[at:]
        room[: len(body)] = body
        return at + len(body)


class Block:
    """What one fetch found of a partition, perhaps nothing: the records at offsets [offset, following).

    `held` has them in order. `timestamp` is the newest record's, epoch milliseconds; 0 without one.
    """

    __slots__ = ("following", "held", "offset", "timestamp")

    def __init__(self, held: Sequence[Batch | Few], offset: int, following: int, timestamp: int) -> None:
        self.held = held
        self.offset = offset
        self.following = following
        self.timestamp = timestamp

    def parts(self, buffer: Buffer) -> Iterator[Part]:
        """The records in order. A part is good until the next is asked for. ValueError or the codec's error when a batch is damaged."""
        waiting: list[Body] = []
        end = 0
        for held in self.held:
            if isinstance(held, Batch):
                if held.following <= self.offset:
                    continue
                begin, end = end, buffer.put(held, end)
                waiting.append(Body(begin, end, held.count, held.base_offset))
                if end < PART_BYTES:
                    continue
            yield from self._part(buffer, waiting)
            waiting, end = [], 0
            few = [] if isinstance(held, Batch) else [each for each in held if each[0] >= self.offset]
            if few:
                yield Part(Records.of([value for _, value in few]), np.array([at for at, _ in few], dtype=np.int64))
        yield from self._part(buffer, waiting)

    def _part(self, buffer: Buffer, bodies: Sequence[Body]) -> Iterator[Part]:
        """The part that these make; none where there are none."""
        if bodies:
            starts, lengths, offsets = batches.unpack(buffer.memory, bodies)
            first = int(np.searchsorted(offsets, self.offset)) if bodies[0].base_offset < self.offset else 0
            yield Part(Records(buffer.memory, starts[first:], lengths[first:]), offsets[first:])

    def records(self, buffer: Buffer) -> Iterator[tuple[int, bytes | None]]:
        """Each record's offset and value, in order. Errors as `parts`."""
        for records, offsets in self.parts(buffer):
            yield from zip(offsets.tolist(), records.values(), strict=True)

    def since(self, offset: int) -> Block | None:
        """What of the block stands at or after an offset; None when nothing does. AssertionError when something before the block is missing."""
        if offset < self.offset:
            raise AssertionError(f"offsets {offset} to {self.offset - 1} were passed over")
        if offset >= self.following:
            return None
        return Block(self.held, offset, self.following, self.timestamp)


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
        self._at += batches.length(self._data, begin)
        return batch, self._data[begin : self._at]


class _Blocks(_Original):  # type: ignore[misc]  # aiokafka ships no types
    """Unpacks a chosen topic's response into one `Block`."""

    topics: frozenset[str] = frozenset()
    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        return self._block() if self._tp.topic in self.topics else super()._unpack_records()

    def _block(self) -> Iterator[Block]:
        held: list[Batch | Few] = []
        first: int = self.next_fetch_offset
        following = first
        timestamp = 0
        while self._records.has_next():
            batch, data = self._records.next_with_bytes()
            if self._check_crcs and not (
                batches.intact(data) if batch.magic == batches.FORMAT else batch.validate_crc()
            ):
                raise errors.CorruptRecordException(f"{self._tp.topic}-{self._tp.partition}: wrong CRC")
            if not self._aborted(batch) and not batch.is_control_batch:
                _hold(batch, data, held)
                timestamp = max(timestamp, batch.max_timestamp or 0)
            following = batch.next_offset
        self.next_fetch_offset = following
        if following > first:
            # Also without records: what was removed or aborted has been read, too.
            yield Block(held, first, following, timestamp)

    def _aborted(self, batch: Any) -> bool:
        if self._isolation_level != fetcher.READ_COMMITTED or batch.producer_id is None:
            return False
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and self._contains_abort_marker(batch):
            self._aborted_producers.discard(batch.producer_id)
        return bool(batch.is_transactional and batch.producer_id in self._aborted_producers)


def _hold(batch: Any, data: memoryview, held: list[Batch | Few]) -> None:
    """Add a batch to `held`; few records to the few before them."""
    if batch.magic == batches.FORMAT and (count := batches.count(data)) > FEW:
        body = data[batches.HEADER_BYTES :]
        held.append(Batch(batch.base_offset, batch.next_offset, count, batch.compression_type, body))
        return
    few = [(record.offset, record.value) for record in batch]
    last = held[-1] if held else None
    if isinstance(last, list):
        last += few
    else:
        held.append(few)


def install(topics: Iterable[str]) -> None:
    """Deliver these topics as blocks, in every consumer of the process."""
    _Blocks.topics = frozenset(topics)
    fetcher.PartitionRecords = _Blocks
    fetcher.MemoryRecords = _Records
