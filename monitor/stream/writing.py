"""Writing one record to one of our topics, as a person's command does: durable, or an error."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from monitor.settings import Settings
from monitor.stream.topics import Unreachable, start


async def write(settings: Settings, name: str, key: str, value: bytes, at_ms: int) -> tuple[int, int]:
    """Write a value under a key with the time `at_ms` (epoch); its partition, which the key decides, and offset. Raises Unreachable."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, acks="all", enable_idempotence=True)
    try:
        await start(producer, settings.kafka_bootstrap)
        stands = await producer.send_and_wait(settings.topic(name), value, key.encode(), timestamp_ms=at_ms)
    except KafkaError as error:
        raise Unreachable(f"Kafka at {settings.kafka_bootstrap} did not take the record: {error!r}") from None
    finally:
        await producer.stop()
    return stands.partition, stands.offset
