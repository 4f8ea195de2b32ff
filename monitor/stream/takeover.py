"""Where counting goes on after an operator has set the group to other offsets: what the journal says, read once. See `resolver.resume`."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from monitor.counting import frame as frames
from monitor.counting.frame import Frame
from monitor.counting.resolver import Source, resume
from monitor.stream.blocks import Buffer


async def starts(
    bootstrap: str, journal: Mapping[TopicPartition, int], asked: Mapping[Source, int]
) -> dict[Source, int]:
    """The offset at which each source goes on; `journal` has each of its partitions' O, `asked` the offsets that were set."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    found: list[Frame] = []
    buffer = Buffer()
    try:
        partitions = list(journal)
        consumer.assign(partitions)
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        for partition, offset in journal.items():
            consumer.seek(partition, max(offset, begins[partition]))
        while [tp for tp in partitions if await consumer.position(tp) < ends[tp]]:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                # The journal is delivered as blocks in the whole process.
                values = [value for block in records for _, value in block.records(buffer)]
                found += [frames.decode(value) for value in values if value is not None]
    finally:
        await consumer.stop()
    return {source: resume(offset, source, found) for source, offset in asked.items()}
