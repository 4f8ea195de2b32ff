"""Reading our own topics as any consumer would: from the beginning to where they end now, and on. Nothing is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError

from monitor.settings import Settings
from monitor.stream.topics import MissingTopics, Unreachable


@dataclass(frozen=True, slots=True)
class Event:
    """A CloudEvent as read: its `id` and `type` from the headers, its data."""

    id: str
    type: str
    data: dict[str, Any]


class Reader:
    """Positions in one topic. `news` gives what has come since the last call."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = partitions

    async def news(self, wait_ms: int = 200) -> list[ConsumerRecord]:
        """Records from where the last call ended to where the topic ends now, in the order of each partition."""
        ends = await self._consumer.end_offsets(self._partitions)
        found: list[ConsumerRecord] = []
        for _ in range(1000):
            behind = [tp for tp in self._partitions if await self._consumer.position(tp) < ends[tp]]
            if not behind:
                break
            for records in (await self._consumer.getmany(*behind, timeout_ms=wait_ms)).values():
                found += records
        return found


@asynccontextmanager
async def reader(settings: Settings, name: str) -> AsyncIterator[Reader]:
    """A `Reader` at the beginning of one of our topics. Raises Unreachable, MissingTopics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False)
    try:
        await consumer.start()
    except KafkaConnectionError as error:
        raise Unreachable(
            f"no Kafka at {settings.kafka_bootstrap}: is it up? MONITOR_KAFKA_BOOTSTRAP names another ({error})"
        ) from None
    try:
        topic = settings.topic(name)
        if topic not in await consumer.topics():
            raise MissingTopics(f"{topic}: not on {settings.kafka_bootstrap}; `monitor topics apply` makes it")
        found = await consumer._client.cluster.partitions_for_topic(topic) if False else None  # noqa: SLF001
        del found
        yield await _at_beginning(consumer, topic)
    finally:
        await consumer.stop()


async def _at_beginning(consumer: AIOKafkaConsumer, topic: str) -> Reader:
    consumer.subscribe([topic])
    raise NotImplementedError
