"""Faust's aiokafka transport, delivering blocks and committing exactly. What is in the blocks, and when to commit, is left to `app`.

Names, once: a source partition's *start* is where its open chunk begins, always an offset whose commit has succeeded; *upto* is the next
offset to be read; *committed* is what the group's coordinator has; *sealed* is what the journal has proved (see `counting.resolver`).

Rules:
- One Faust message is one `Block`. What was fetched but not delivered in this generation is given back to the fetcher.
- Positions are read once at assignment, with their metadata, after tables have recovered (`perform_seek`).
- A commit is pinned to the generation it was made in: aiokafka's own reads the generation anew at each retry, so that a worker that was
  thrown out and came back could commit an old chunk.
- What cannot be known to have succeeded ends the process; whoever takes over starts at what is committed.

This module and `blocks` use private names of Faust 0.15.3 and aiokafka 0.14.0; tests/stream/test_private_names.py lists them all.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition, conn
from aiokafka import errors as kafka_errors
from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from monitor.stream import takeover

COMMIT_SECONDS = 20.0
PREFETCH_SECONDS = 1.0
"""How long a broker is left alone while something that it sent waits to be counted. aiokafka has one request at a time to a broker: sooner, it
asks for the partitions that have nothing, and all others wait until that is answered, up to 1.5 s."""
UNPOSITIONED_SECONDS = 0.02
"""How long what came before the app knew its positions is left to lie before it is fetched again."""
FETCH_BYTES, FETCH_WAIT_MS = 1 << 20, 250
"""The broker answers once it has so much, or after so long: many small answers cost more than twice a few large ones."""
READ_BYTES = 4 << 20
"""Bytes of an answer that may wait until it is whole: with fewer, listening is stopped and begun again for each quarter of a megabyte."""
READ_MARK = "counted"
"""Metadata of our commits to source topics. A committed offset without it was set by an operator."""


def die(code: int, sentence: str) -> None:
    """End the process at once, with `sentence` as its last line: what is not durable is done again by whoever takes over."""
    try:
        sys.stderr.write(f"monitor worker stopped ({code}): {sentence}\n")
        sys.stderr.flush()
    finally:
        os._exit(code)


class FencedError(Exception):
    """The generation in which something was to be committed is over."""


class Consumer(driver.Consumer):  # type: ignore[misc]  # Faust's classes are untyped here
    """See the module. `block_topics` are delivered as blocks and positioned by us; the rest is Faust's."""

    block_topics: frozenset[str] = frozenset()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked: dict[TP, int] = {}
        """By partition: when the newest fetch that was answered was sent, epoch milliseconds."""

    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                try:
                    records, active = await self._wait_next_records(1.0)
                except kafka_errors.NoOffsetForPartitionError:
                    continue  # a partition of a new assignment that recovery or perform_seek has not positioned yet
                await asyncio.sleep(0)
                if self.should_stop:
                    return
                if records:
                    await self._deliver(records, active)
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                die(71, "the consumer was stopped from below")
        except asyncio.CancelledError:
            raise
        except kafka_errors.OffsetOutOfRangeError as error:
            die(
                71,
                f"records were deleted before they were read: {error}; the restarted worker goes on where the topic begins",
            )
        except Exception as error:
            die(71, f"reading from Kafka failed: {error!r}")

    async def _deliver(self, records: Mapping[Any, list[Any]], active: Any) -> None:
        generation = self.app.consumer_generation_id
        undelivered: list[tuple[Any, int, int]] = []
        for kafka_tp, items in records.items():
            tp = ensure_TP(kafka_tp)
            last = items[-1]
            following = getattr(last, "following", last.offset + 1)
            current = self.flow_active and self.app.consumer_generation_id == generation
            if tp.topic in self.block_topics and self.app.generation != generation:
                # It is fetched as soon as it has a position; the app counts from where it was told that this is.
                current = False
                await asyncio.sleep(UNPOSITIONED_SECONDS)
            if not current or not (active is None or tp in active or tp in self._buffered_partitions):
                undelivered.append((kafka_tp, items[0].offset, following))
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            if tp.topic in self.block_topics:
                message = ConsumerMessage(
                    tp.topic, tp.partition, following - 1, last.timestamp / 1000.0, 0, (), None, items, None, 0, 0, tp,
                    generation_id=generation,
                )  # fmt: skip
                await self.wait_first(self.callback(message), self.suspend_flow.wait())
                self._read_offset[tp] = following
                continue
            position = self._read_offset[tp]
            for record in items:
                if position is None or record.offset >= position:
                    await self.wait_first(self.callback(self._to_message(tp, record)), self.suspend_flow.wait())
                    self._read_offset[tp] = record.offset
        if undelivered:
            await self._thread.call_thread(self._give_back, undelivered)

    async def _give_back(self, undelivered: list[tuple[Any, int, int]]) -> None:
        # In the consumer's thread; only where nothing has moved the position since.
        kafka = self._thread._consumer
        subscription = kafka._subscription.subscription
        assignment = subscription.assignment if subscription else None
        for tp, first, following in undelivered:
            at = assignment.state_value(tp) if assignment is not None and assignment.active else None
            if at is not None and at.has_valid_position and at.position == following:
                kafka._fetcher.seek_to(tp, first)

    # -- positions

    async def perform_seek(self) -> None:
        """Read where each of our partitions starts and hand that to the app, under its locks."""
        app = self.app
        async with app.flush_lock, app.checkpoint_lock:
            generation = app.consumer_generation_id
            ours = [TopicPartition(t.topic, t.partition) for t in self.assignment() if t.topic in self.block_topics]
            found = await self._thread.call_thread(self._seek_to_starts, ours, generation)
            positions = {ensure_TP(tp): at for tp, at in found.items()}
            await self._undo_resets(positions, generation)
            for tp, (offset, _) in positions.items():
                self._read_offset[tp] = offset
                self._committed_offset[tp] = offset
            app.on_positions(generation, positions)

    async def _undo_resets(self, positions: dict[TP, tuple[int, str]], generation: int) -> None:
        """Where an operator, and not a worker, set a source's offset: go on where nothing is counted twice."""
        app = self.app
        asked = {tp: at for tp, (at, mark) in positions.items() if tp.topic != app.journal_name and mark != READ_MARK}
        if not asked:
            return
        journal = [TopicPartition(app.journal_name, q) for q in range(app.journal_partitions)]
        committed = await self._thread.call_thread(self._committed_in_thread, journal)
        whence = {tp: committed[tp].offset if tp in committed else 0 for tp in journal}
        going_on = await takeover.starts(
            app.settings.kafka_bootstrap, whence, {(tp.topic, tp.partition): at for tp, at in asked.items()}
        )
        changed = {tp: (going_on[tp.topic, tp.partition], READ_MARK) for tp in asked}
        await self.commit_pinned(changed, generation)
        await self._thread.call_thread(
            self._seek_in_thread, {tp: at for tp, (at, _) in changed.items() if at != asked[tp]}
        )
        positions.update(changed)

    async def _committed_in_thread(self, partitions: list[Any]) -> dict[Any, Any]:
        return dict(await self._thread._consumer._coordinator.fetch_committed_offsets(partitions))

    async def _seek_in_thread(self, offsets: Mapping[TP, int]) -> None:
        for tp, offset in offsets.items():
            self._thread._consumer._fetcher.seek_to(TopicPartition(tp.topic, tp.partition), offset)

    async def _seek_to_starts(self, ours: list[Any], generation: int) -> dict[Any, tuple[int, str]]:
        kafka = self._thread._consumer
        if not ours:
            return {}
        self._asked.clear()
        if kafka._fetcher._prefetch_backoff != PREFETCH_SECONDS:
            kafka._fetcher._prefetch_backoff = PREFETCH_SECONDS
            self._note_questions(kafka._fetcher)
        committed = dict(await kafka._coordinator.fetch_committed_offsets(ours))
        begins = await kafka.beginning_offsets(ours)
        ends = await kafka.end_offsets(ours)
        named: dict[Any, OffsetAndMetadata] = {}
        for tp in ours:
            at = committed.get(tp)
            if at is not None and at.offset > ends[tp]:
                die(76, f"{tp.topic}-{tp.partition}: committed up to {at.offset} but the topic ends at {ends[tp]}: was it made anew? "
                        f"Give the new one another name, or restore the old")  # fmt: skip
            if at is None or at.offset < begins[tp]:
                # A chunk may only start where a commit has succeeded; what was deleted unread shows as a gap in the journal.
                named[tp] = OffsetAndMetadata(begins[tp], at.metadata if at else "")
        if named:
            await self._commit_in_thread(named, generation, COMMIT_SECONDS)
            committed.update(named)
        out = {}
        for tp in ours:
            if not kafka._subscription.is_assigned(tp):
                raise kafka_errors.IllegalStateError(f"{tp.topic}-{tp.partition} went away while its position was read")
            kafka._fetcher.seek_to(tp, committed[tp].offset)
            out[tp] = (committed[tp].offset, committed[tp].metadata)
        return out

    def ended_ms(self, tp: TP, upto: int) -> int:
        """When the broker was last asked what stands at `upto` or behind, and there was nothing, epoch milliseconds; 0 without such an answer.

        The question's time, not the answer's: a worker that was asleep finds an old answer when it wakes.
        """
        # In this order: the end may have grown since.
        asked, end = self._asked.get(tp, 0), self.highwater(tp)
        return asked if end is not None and upto >= end else 0

    def _note_questions(self, fetcher: Any) -> None:
        # In the consumer's thread.
        ask = fetcher._proc_fetch_request

        async def noted(assignment: Any, node: Any, request: Any) -> bool:
            at = int(time.time() * 1000)
            news: bool = await ask(assignment, node, request)
            for topic, partitions in request.topics:
                for partition, *_ in partitions:
                    answered = assignment.state_value(TopicPartition(topic, partition)).timestamp
                    if answered is not None and answered >= at:
                        self._asked[TP(topic, partition)] = at
            return news

        fetcher._proc_fetch_request = noted

    # -- commits

    async def commit_pinned(self, offsets: Mapping[TP, tuple[int, str]], generation: int) -> None:
        """Commit offsets with their metadata in this generation only.

        Raises FencedError when the generation is over, and Kafka's error when the coordinator could not be had for 20 seconds.
        """
        made = {TopicPartition(t.topic, t.partition): OffsetAndMetadata(o, m) for t, (o, m) in offsets.items()}
        await self._thread.call_thread(self._commit_in_thread, made, generation, COMMIT_SECONDS)

    async def _commit_in_thread(self, offsets: Mapping[Any, Any], generation: int, seconds: float) -> None:
        kafka = self._thread._consumer
        coordinator = kafka._coordinator
        deadline = time.monotonic() + seconds
        while True:
            try:
                await coordinator.ensure_coordinator_known()
                if coordinator.generation != generation:
                    raise FencedError(f"generation {generation} is over, now {coordinator.generation}")
                assignment = kafka._subscription.subscription.assignment
                # Builds its request from the generation just compared, before its first await.
                await coordinator._do_commit_offsets(assignment, offsets)
            except (
                kafka_errors.UnknownMemberIdError,
                kafka_errors.IllegalGenerationError,
                kafka_errors.RebalanceInProgressError,
            ) as error:
                raise FencedError(repr(error)) from error
            except kafka_errors.KafkaError as error:
                if not error.retriable or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
            else:
                return

    @Service.task
    async def _watch_coordinator(self) -> None:
        # A coordinator's error leaves aiokafka's worker idle for ever: end instead.
        while not self.should_stop:
            await self.sleep(1.0)
            kafka = self._thread._consumer if self._thread else None
            coordinator = getattr(kafka, "_coordinator", None)
            task = getattr(coordinator, "_coordination_task", None)
            if task is None:
                continue
            pending = getattr(coordinator, "_pending_exception", None)
            if pending is not None or (task.done() and not self.should_stop and not self.app.should_stop):
                die(70, f"the group's coordinator failed: {pending!r}")


class _Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust's classes are untyped here
    def _create_worker_consumer(self, transport: Any) -> Any:
        conn.READER_LIMIT = READ_BYTES
        consumer = super()._create_worker_consumer(transport)
        # A request whose transaction was aborted never happened.
        consumer._isolation_level = "read_committed"
        consumer._fetch_min_bytes, consumer._fetch_max_wait_ms = FETCH_BYTES, FETCH_WAIT_MS
        return consumer


class Producer(driver.Producer):  # type: ignore[misc]  # Faust's classes are untyped here
    """Idempotent, acknowledged by all replicas."""

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class Transport(driver.Transport):  # type: ignore[misc]  # Faust's classes are untyped here
    """Our consumer and producer in Faust's place."""

    Consumer = Consumer
    Producer = Producer


def deliver_as_blocks(topics: Iterable[str]) -> None:
    """Choose the topics that `Consumer` delivers as blocks."""
    Consumer.block_topics = frozenset(topics)
