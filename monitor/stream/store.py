"""The table's records on this worker, as Faust recovers them from the changelog. What is in a record is left to the engine.

Rules:
- A changelog key is `key NUL generation` of the group in which it was written, so that no worker overwrites another's record: compaction
  keeps the last record of a key, and a woken worker may write an old one last.
- A value starts with eight bytes, the journal offset it is complete to (its *stamp*). On recovery the greatest stamp wins.
- Keys of older generations are deleted once the newer record is durable (`outdated`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.stores.memory import Store as MemoryStore
from faust.types import TP

STAMP = struct.Struct(">q")


class Store(MemoryStore):  # type: ignore[misc]  # Faust's classes are untyped here
    """Records by partition and key; `generations` are those with a live changelog record for a key."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.partitions: dict[int, dict[bytes, bytes]] = {}
        self.stamps: dict[tuple[int, bytes], int] = {}
        self.generations: dict[tuple[int, bytes], set[bytes]] = {}

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Take in recovered records (`to_key` and `to_value` are Faust's and not needed for bytes)."""
        del to_key, to_value
        for event in batch:
            message = event.message
            key, _, generation = message.key.rpartition(b"\0")
            place = (message.partition, key)
            if message.value is None:
                self.generations.get(place, set()).discard(generation)
                continue
            self.generations.setdefault(place, set()).add(generation)
            stamp = STAMP.unpack_from(message.value)[0]
            if stamp >= self.stamps.get(place, -(2**62)):
                self.stamps[place] = stamp
                self.partitions.setdefault(message.partition, {})[key] = message.value[STAMP.size :]

    def records(self, partition: int) -> dict[bytes, bytes]:
        """The records of a partition, to be read and updated."""
        return self.partitions.setdefault(partition, {})

    def outdated(self, partition: int, key: bytes, generation: bytes) -> list[bytes]:
        """Changelog keys of a record that other generations wrote; from now on only `generation` is remembered."""
        found = self.generations.get((partition, key), set())
        self.generations[partition, key] = {generation}
        return [key + b"\0" + other for other in found - {generation}]

    def removed(self, partition: int, key: bytes) -> list[bytes]:
        """All changelog keys of a record that is no more."""
        self.stamps.pop((partition, key), None)
        return [key + b"\0" + generation for generation in self.generations.pop((partition, key), set())]

    async def on_rebalance(
        self, assigned: set[Any], revoked: set[Any], newly_assigned: set[Any], generation_id: int = 0
    ) -> None:
        """Forget the partitions that are not ours any more."""
        del revoked, newly_assigned, generation_id
        topic = str(self.table.changelog_topic_name)
        mine = {tp.partition for tp in assigned if tp.topic == topic}
        for partition in [p for p in self.partitions if p not in mine]:
            del self.partitions[partition]
            # Should it come back, it is read from the changelog's beginning.
            self.app.tables.recovery.revoke(TP(topic, partition))
        for place in [place for place in self.generations if place[0] not in self.partitions]:
            self.generations.pop(place, None)
            self.stamps.pop(place, None)


class Table(faust.Table):  # type: ignore[misc]  # Faust's classes are untyped here
    """A Faust table over our store."""

    def _new_store(self) -> Store:
        return Store(
            url="memory://", app=self.app, table=self, key_type=self.key_type, value_type=self.value_type,
            key_serializer=self.key_serializer, value_serializer=self.value_serializer, options=self.options,
        )  # fmt: skip
