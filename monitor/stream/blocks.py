"""Fetched batches as values without one object a record. What the values mean is left to others.

Replaces the class that aiokafka 0.14's fetcher unpacks responses with (a module global, so for the whole process) and leaves the topics that
were not chosen to the original. Aborted transactions and control records are left out; offsets may have holes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aiokafka import errors
from aiokafka.consumer import fetcher

_Original: Any = fetcher.PartitionRecords


class Block:
    """Records of one partition from one fetch. `offset` is the first one's, `following` where the next fetch goes on.

    `timestamp` is the newest record's, epoch milliseconds. `offsets` has each value's offset.
    """

    __slots__ = ("following", "offset", "offsets", "timestamp", "values")

    def __init__(self, values: list[bytes | None], offsets: Sequence[int], following: int, timestamp: int) -> None:
        self.values = values
        self.offsets = offsets
        self.offset = offsets[0]
        self.following = following
        self.timestamp = timestamp

    def since(self, offset: int) -> Block | None:
        """What of the block stands at or after an offset; None when nothing does."""
        if offset <= self.offset:
            return self
        kept = [(o, v) for o, v in zip(self.offsets, self.values, strict=True) if o >= offset]
        if not kept:
            return None
        return Block([v for _, v in kept], [o for o, _ in kept], self.following, self.timestamp)


class _Blocks(_Original):  # type: ignore[misc]  # aiokafka ships no types
    """Unpacks a chosen topic's response into one `Block`."""

    topics: frozenset[str] = frozenset()
    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        return self._block() if self._tp.topic in self.topics else super()._unpack_records()

    def _block(self) -> Iterator[Block]:
        values: list[bytes | None] = []
        offsets: list[int] = []
        following: int = self.next_fetch_offset
        timestamp = 0
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise errors.CorruptRecordException(f"{self._tp.topic}-{self._tp.partition}: wrong CRC")
            if not self._aborted(batch) and not batch.is_control_batch:
                self._append(batch, following, values, offsets)
                timestamp = max(timestamp, batch.max_timestamp or 0)
            following = batch.next_offset
        self.next_fetch_offset = following
        if values:
            first, last = offsets[0], offsets[-1]
            dense = last - first + 1 == len(values)
            yield Block(values, range(first, last + 1) if dense else offsets, following, timestamp)

    def _aborted(self, batch: Any) -> bool:
        if self._isolation_level != fetcher.READ_COMMITTED or batch.producer_id is None:
            return False
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and self._contains_abort_marker(batch):
            self._aborted_producers.discard(batch.producer_id)
        return bool(batch.is_transactional and batch.producer_id in self._aborted_producers)

    @staticmethod
    def _append(batch: Any, since: int, values: list[bytes | None], offsets: list[int]) -> None:
        records = list(batch)
        if records and records[0].offset < since:  # the batch begins before the position
            records = [record for record in records if record.offset >= since]
        if not records:
            return
        first, last = records[0].offset, records[-1].offset
        values += [record.value for record in records]
        if last - first + 1 == len(records):
            offsets += range(first, last + 1)
        else:
            offsets += [record.offset for record in records]


def install(topics: Iterable[str]) -> None:
    """Deliver these topics as blocks, in every consumer of the process."""
    _Blocks.topics = frozenset(topics)
    fetcher.PartitionRecords = _Blocks
