"""Reading our own topics as any consumer would: from the beginning to where they end now, and on. Nothing is committed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from monitor.engine import state
from monitor.settings import Settings
from monitor.stream.topics import MissingTopics, changelog, place, start

FETCH_BYTES = 8 << 20
"""Most of a partition that is fetched at once."""


class Reader:
    """A position in one topic."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = partitions

    @property
    def partitions(self) -> list[int]:
        """The partitions that are read."""
        return [tp.partition for tp in self._partitions]

    async def news(self) -> list[ConsumerRecord]:
        """Records from where the last call ended to where the topic ends now, in the order of each partition."""
        ends = await self._consumer.end_offsets(self._partitions)
        found: list[ConsumerRecord] = []
        while [tp for tp in self._partitions if await self._consumer.position(tp) < ends[tp]]:
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                found += records
        return found

    async def kept(self) -> tuple[int, int]:
        """The offsets [first, upto) that are still there of the one partition that is read."""
        [tp] = self._partitions
        first, upto = await self._consumer.beginning_offsets([tp]), await self._consumer.end_offsets([tp])
        return first[tp], upto[tp]

    async def between(self, first: int, upto: int) -> AsyncIterator[ConsumerRecord]:
        """The records at offsets [first, upto) of the one partition that is read; `upto` is at most its end."""
        [tp] = self._partitions
        self._consumer.seek(tp, first)
        while await self._consumer.position(tp) < upto:
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.offset < upto:
                        yield record


@asynccontextmanager
async def reader(settings: Settings, name: str, tenant: str | None = None) -> AsyncIterator[Reader]:
    """A `Reader` at the beginning of one of our topics; with `tenant`, of the partition that has it. Raises Unreachable, MissingTopics."""
    async with _reader(settings, settings.topic(name), tenant) as made:
        yield made


@asynccontextmanager
async def _reader(settings: Settings, topic: str, tenant: str | None) -> AsyncIterator[Reader]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    try:
        await start(consumer, settings.kafka_bootstrap)
        # Subscribing to a topic that is not there would wait for it.
        if topic not in await consumer.topics():
            raise MissingTopics(f"{topic}: not on {settings.kafka_bootstrap}; `monitor topics apply` makes it")
        consumer.subscribe([topic])
        while not consumer.assignment():  # noqa: ASYNC110 - aiokafka tells nobody
            await asyncio.sleep(0.01)
        partitions = sorted(consumer.assignment())
        if tenant is not None:
            partitions = [partitions[place(tenant, len(partitions))]]
            consumer.unsubscribe()
            consumer.assign(partitions)
        yield Reader(consumer, partitions)
    finally:
        await consumer.stop()


async def records(settings: Settings, name: str, tenant: str | None = None) -> list[ConsumerRecord]:
    """All records that one of our topics holds now, by time, partition and offset; with `tenant`, those of its partition."""
    async with reader(settings, name, tenant) as source:
        return sorted(await source.news(), key=lambda record: (record.timestamp, record.partition, record.offset))


async def statements(settings: Settings, tenant: str) -> list[ConsumerRecord]:
    """The records of a tenant's statements in the order of their offsets. One that was sent again, byte for byte, is there once."""
    found: dict[tuple[bytes, bytes], ConsumerRecord] = {}
    for record in await records(settings, "statements", tenant):
        if record.value is not None and (record.key or b"").startswith(tenant.encode() + b"/"):
            found.setdefault((record.key, record.value), record)
    return sorted(found.values(), key=lambda record: record.offset)


async def statuses(reader: Reader, known: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Bring `known` (status records by tenant) up to date; of two records the one with the greater stamp holds."""
    for record in await reader.news():
        if record.key is None:
            continue
        tenant = record.key.decode()
        if record.value is None:
            known.pop(tenant, None)
            continue
        status = json.loads(record.value)
        if tenant not in known or status["stamp"] >= known[tenant]["stamp"]:
            known[tenant] = status
    return known


async def table(settings: Settings, tenant: str) -> tuple[dict[bytes, bytes], int, int]:
    """What the workers' table has of a tenant and of its partition: records by key, the stamp (-1: it is empty), the partition.

    It is as old as the last checkpoint. The rules of keys and stamps are those of `stream.store`. Raises Unreachable, MissingTopics.
    """
    from monitor.stream.store import STAMP  # it brings Faust, which takes a while

    mine = (tenant.encode() + b"\0", b"\0")
    found: dict[bytes, dict[bytes, tuple[int, bytes]]] = {}
    async with _reader(settings, changelog(settings), tenant) as source:
        [partition] = source.partitions
        first, upto = await source.kept()
        async for record in source.between(first, upto):
            if not record.key.startswith(mine):
                continue
            key, _, generation = record.key.rpartition(b"\0")
            written = found.setdefault(key, {})
            if record.value is None:
                written.pop(generation, None)
            else:
                written[generation] = (STAMP.unpack_from(record.value)[0], record.value[STAMP.size :])
    newest = {key: max(written.values()) for key, written in found.items() if written}
    stamp = newest[state.PARTITION][0] if state.PARTITION in newest else -1
    return {key: value for key, (_, value) in newest.items()}, stamp, partition


def event(record: ConsumerRecord) -> dict[str, Any]:
    """A CloudEvent in binary mode as one object: its `id` and `type` beside its data."""
    headers = {key: value.decode() for key, value in record.headers}
    return {**json.loads(record.value), "id": headers.get("ce_id"), "time": headers.get("ce_time")}
