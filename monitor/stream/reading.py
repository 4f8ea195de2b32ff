"""Reading our own topics as any consumer would: from the beginning to where they end now, and on. Nothing is committed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError

from monitor.settings import Settings
from monitor.stream.topics import MissingTopics, Unreachable


class Reader:
    """A position in one topic."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = partitions

    async def news(self) -> list[ConsumerRecord]:
        """Records from where the last call ended to where the topic ends now, in the order of each partition."""
        ends = await self._consumer.end_offsets(self._partitions)
        found: list[ConsumerRecord] = []
        while [tp for tp in self._partitions if await self._consumer.position(tp) < ends[tp]]:
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                found += records
        return found


@asynccontextmanager
async def reader(settings: Settings, name: str) -> AsyncIterator[Reader]:
    """A `Reader` at the beginning of one of our topics. Raises Unreachable, MissingTopics."""
    topic = settings.topic(name)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
    except KafkaConnectionError:
        await consumer.stop()
        raise Unreachable(
            f"no Kafka at {settings.kafka_bootstrap}: `monitor local up` starts one, MONITOR_KAFKA_BOOTSTRAP names another"
        ) from None
    try:
        partitions = sorted(consumer.assignment())
        if not partitions:
            raise MissingTopics(f"{topic}: not on {settings.kafka_bootstrap}; `monitor topics apply` makes it")
        yield Reader(consumer, partitions)
    finally:
        await consumer.stop()


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


def event(record: ConsumerRecord) -> dict[str, Any]:
    """A CloudEvent in binary mode as one object: its `id` and `type` beside its data."""
    headers = {key: value.decode() for key, value in record.headers}
    return {**json.loads(record.value), "id": headers.get("ce_id"), "time": headers.get("ce_time")}
