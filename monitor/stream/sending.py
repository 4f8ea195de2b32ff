"""Sending many records to one topic: whole batches, many in flight, counted once they are durable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from monitor.stream.topics import MissingTopics, start

BATCH_BYTES = 500_000
"""Largest record batch, in bytes before compression. Brokers take up to 1 MiB."""
IN_FLIGHT = 16
"""Batches that are sent before the oldest must be durable."""


class Sender:
    """Sends values to a topic in whole batches, to each partition in turn. `sent` counts the records that are durable.

    Record timestamps are the present time, not the requests': a broker deletes by them, and history would be gone.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: list[int]) -> None:
        self.sent = 0
        self.partitions = partitions
        self._producer = producer
        self._topic = topic
        self._turn = 0
        self._waiting: list[tuple[asyncio.Future[object], int]] = []

    async def send(self, values: list[bytes]) -> None:
        """Send these values, in batches as large as may be; returns when nearly all are durable. Raises KafkaError."""
        position = 0
        while position < len(values):
            position += await self._batch(values, position)

    async def spread(self, values: list[bytes]) -> None:
        """Send these values in one small batch for each partition, as live traffic comes. Raises KafkaError."""
        for number in range(len(self.partitions)):
            part = values[number :: len(self.partitions)]
            if part:
                await self.send(part)

    async def done(self) -> None:
        """Wait until all that was sent is durable. Raises KafkaError."""
        while self._waiting:
            await self._settle()

    async def _batch(self, values: list[bytes], position: int) -> int:
        batch = self._producer.create_batch()
        now_ms = time.time_ns() // 1_000_000
        begin = position
        while position < len(values) and batch.append(timestamp=now_ms, key=None, value=values[position]) is not None:
            position += 1
        if position == begin:
            raise ValueError(f"expected values of less than {BATCH_BYTES} bytes, found {len(values[begin])}")
        partition = self.partitions[self._turn % len(self.partitions)]
        self._turn += 1
        future = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._waiting.append((future, position - begin))
        while len(self._waiting) > IN_FLIGHT:
            await self._settle()
        return position - begin

    async def _settle(self) -> None:
        future, size = self._waiting.pop(0)
        await future
        self.sent += size


@asynccontextmanager
async def sender(bootstrap: str, topic: str) -> AsyncIterator[Sender]:
    """A `Sender` to an existing topic; on leaving, all is durable. Raises Unreachable, MissingTopics, KafkaError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    try:
        await start(admin, bootstrap)
        # Asking about a topic by name may make it; asking for all of them does not.
        described = await admin.describe_topics([topic]) if topic in await admin.list_topics() else []
    finally:
        await admin.close()
    if not described:
        raise MissingTopics(
            f"no topic {topic!r} at {bootstrap}: make it (`monitor topics apply`) or name one (--topic)"
        )
    partitions = sorted(entry["partition"] for entry in described[0]["partitions"])
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type="lz4",
        max_batch_size=BATCH_BYTES,
        acks="all",
        enable_idempotence=True,
    )
    try:
        await start(producer, bootstrap)
        out = Sender(producer, topic, partitions)
        yield out
        await out.done()
    finally:
        await producer.stop()
