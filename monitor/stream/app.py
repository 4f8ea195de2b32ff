"""The Faust app: agents `tally` and `assess`, the table `ledger`, and the tasks that flush, checkpoint and announce. What a breach is, it does
not know: counting is `counting.chunk`'s, the truth is the engine's, the shape of records is the outlets'.

Steps of a chunk, in this order (see `counting.resolver` for why that is exact): refused records and frames are produced; all are durable;
the commit of `upto` in the generation they were counted in has succeeded; only then does the next chunk start.
Steps of a checkpoint: accounts; then days and announcements; then outdated changelog keys; then the commit of (O, H).
Anything that fails, or whose outcome is unknown, ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import faust
from faust.types import TP

from monitor.contract.support import headquarters
from monitor.counting import frame as frames
from monitor.counting.chunk import Chunk, Reader, Refused
from monitor.counting.frame import Decision
from monitor.counting.records import Records
from monitor.counting.request import Rejected
from monitor.counting.users import Hashes
from monitor.engine.engine import Checkpoint, Engine
from monitor.engine.state import Announcement
from monitor.engine.verdict import Policy
from monitor.engine.vitals import Vitals
from monitor.settings import LONGEST_SESSION_SECONDS, Settings
from monitor.stream import blocks
from monitor.stream.blocks import Block, Buffer
from monitor.stream.store import STAMP, Table
from monitor.stream.topics import place as placed
from monitor.stream.transport import READ_MARK, FencedError, Transport, deliver_as_blocks, die

CELLS_A_CHUNK = 40_000
"""Distinct cells at which a chunk is flushed early: it bounds a frame's size."""
DECIDED_A_CHUNK = 4 << 20
"""Bytes of people's decisions at which it is, too."""
BACKLOG_RECORDS = 100_000
REJECTIONS_WAITING = 10_000
"""Refused records on their way at which counting waits."""
HEARTBEAT_SECONDS = 3.0
"""An idle source says so this often, so that the engine's clock goes on."""
STATUS_SECONDS = 0.25
STATUSES_A_TURN = 350
"""Statuses sent each `STATUS_SECONDS` by a worker, shared by its partitions; a tenth of it while there is a backlog."""
BACKLOG_SECONDS = 10.0
"""While there is a backlog, chunks hold this much: more counts for each cell, and fewer frames."""
URGENT_SECONDS = 5.0
"""Announcements wait at most this long for a checkpoint."""
DURABLE_SECONDS = 25.0
STOP_SECONDS = 15.0
READ_BACK_SECONDS = 5.0

Header = tuple[str, bytes]
Record = tuple[bytes | None, bytes | None, list[Header]]
"""A key, a value and headers."""


class Outlets(Protocol):
    """The shape of what goes out."""

    def status(self, record: Mapping[str, Any]) -> Record:
        """A tenant's status."""

    def announcement(self, made: Announcement) -> Record:
        """What the engine announces."""

    def support_status(self, record: Mapping[str, Any]) -> Record:
        """A support request's status."""

    def topic(self, kind: str) -> str:
        """The topic, without the prefix, that announcements of a kind go to."""

    def rejected(self, topic: str, partition: int, offset: int, value: bytes | None, error: Rejected) -> Record:
        """A record that was refused."""


class Adapter(Protocol):
    """One log format: its records as native ones (None: no request; Rejected: refused)."""

    def requests(self, values: Sequence[bytes | None]) -> list[bytes | Rejected | None]:
        """Native bytes for each record, in order."""


class DecisionReader(Protocol):
    """Checks people's decisions before they enter the journal."""

    def __call__(self, kind: str, offset: int, value: bytes, now_ms: int) -> Decision:
        """The decision in a record that is read at `now_ms` (epoch); raises Rejected."""


class SourcePartition:
    """One source partition on this worker: its open chunk and how far it is known to have been read."""

    __slots__ = ("adapter", "caught_up", "chunk", "complete_ms", "kind", "newest_ms", "reader", "told_at", "told_ms")

    def __init__(self, chunk: Chunk, reader: Reader | None, adapter: Adapter | None, kind: str) -> None:
        self.chunk = chunk
        self.reader = reader
        self.adapter = adapter
        self.kind = kind
        self.caught_up = 0
        """When the source was last read to its end, epoch milliseconds; 0 when not since the takeover. A backlog may hold any past."""
        self.complete_ms = 0
        """The same for what stands before the chunk's start, which is committed."""
        self.told_at = 0.0
        self.told_ms = 0
        self.newest_ms = 0
        """The newest timestamp read from it, epoch milliseconds."""


class App(faust.App):  # type: ignore[misc]  # Faust's classes are untyped here
    """See the module."""

    settings: Settings
    vitals: Vitals

    def prepare(
        self,
        settings: Settings,
        partitions: Mapping[str, int],
        outlets: Outlets,
        adapters: Mapping[str, Adapter | None],
        codes: Mapping[str, Mapping[str, str]],
        decisions: Mapping[str, str],
        read_decision: DecisionReader,
    ) -> None:
        """Bind what the app works with.

        `partitions`: how many each topic has; `adapters` and `codes` by source topic; `decisions`: topic to kind.
        """
        self.settings = settings
        self.partitions = partitions
        self.outlets = outlets
        self.adapters = adapters
        self.decisions = decisions
        self.read_decision = read_decision
        self.journal_name = settings.topic("journal")
        self.status_name = settings.topic("status")
        self.support_name = settings.topic("support-status")
        self.support = headquarters(settings)
        self.journal_partitions = partitions[self.journal_name]
        self.readers = {
            topic: Reader(table, Hashes(settings.users_secret) if settings.users_secret else None)
            for topic, table in codes.items()
        }
        self.vitals = Vitals()
        self.buffer = Buffer()
        """Batches are unpacked in it, by whoever does not wait until they are read."""
        self.flush_lock = asyncio.Lock()
        self.checkpoint_lock = asyncio.Lock()
        self.room = asyncio.Event()
        self.room.set()
        self.wake = asyncio.Event()
        self.taken = asyncio.Event()
        """Set when journal records have been taken in."""
        self.generation: int | None = None
        self.sources: dict[TP, SourcePartition] = {}
        self.engines = self.vitals.engines
        self.rejections: list[asyncio.Future[Any]] = []
        """Refused records on their way; durable before the offsets behind them are committed."""
        self.committed_horizon: dict[int, int] = {}
        self.policy = Policy(at_risk=settings.at_risk_probability, clear=settings.clear_probability)
        self.by_records = settings.clock == "records"
        self.newest_ms = 0
        """The newest timestamp of any source's record, epoch milliseconds."""
        self.early: list[Callable[[], Awaitable[None]]] = []
        """What runs from the start on."""
        self.stopping = False
        self.flushed_at = 0.0
        self._places: dict[str, int] = {}

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    async def crash(self, reason: BaseException) -> None:
        """Faust's way to say that a service failed: end, and let whoever takes over start at what is committed."""
        die(73, f"a service of the worker failed: {reason!r}")

    async def on_start(self) -> None:
        """What must not wait until tables have recovered, as Faust's own tasks do, starts here."""
        await super().on_start()
        for each in self.early:
            self.add_future(each())

    async def on_stop(self) -> None:
        """Leave nothing to recount and nothing unsaid: flush, seal, read that back, checkpoint, commit, tell, then go."""
        deadline = threading.Timer(STOP_SECONDS, die, (74, f"stopping took more than {STOP_SECONDS:.0f} s"))
        deadline.daemon = True
        deadline.start()
        self.stopping = True
        if self.generation is not None:
            try:
                await flush(self, final=True)
                await read_back(self)
                await checkpoint(self)
                await announce(self, everything=True)
            except Exception as error:
                die(74, f"the last flush failed: {error!r}")
        self.let_go()
        await super().on_stop()
        deadline.cancel()

    # -- assignment

    def let_go(self) -> None:
        """Drop everything that belongs to the generation that has ended."""
        self.sources = {}
        for partition in list(self.engines):
            self.vitals.retire(partition)
        self.rejections = []
        self.vitals.source_lag.clear()
        self.vitals.committed_at.clear()
        self.vitals.ready = False
        self.generation = None

    def on_positions(self, generation: int, positions: Mapping[TP, tuple[int, str]]) -> None:
        """Take up the partitions of a generation: `positions` has each one's committed offset and metadata."""
        self.let_go()
        self.generation = generation
        for tp, (offset, metadata) in positions.items():
            if tp.topic != self.journal_name:
                chunk = Chunk(tp.topic, tp.partition, self.partitions[tp.topic], offset)
                self.sources[tp] = SourcePartition(
                    chunk, self.readers.get(tp.topic), self.adapters.get(tp.topic), self.decisions.get(tp.topic, "")
                )
                continue
            horizon = int(metadata) if metadata else -1
            records = self.ledger.data.records(tp.partition)
            self.engines[tp.partition] = Engine(
                records,
                offset=offset,
                horizon=horizon,
                place=(tp.topic, tp.partition),
                policy=self.policy,
                support=self.support,
            )
            self.committed_horizon[tp.partition] = horizon
        self.room.set()
        # A backlog that was found is not sent in small pieces at once.
        self.flushed_at = time.monotonic()
        self.vitals.ready = True

    @property
    def backlog(self) -> bool:
        """Whether so much waits in the sources that throughput comes before freshness."""
        return sum(self.vitals.source_lag.values()) > BACKLOG_RECORDS

    def now_ms(self, source: SourcePartition | None = None) -> int:
        """The time, epoch milliseconds. By records, a source that has more to be read is as late as what was read of it."""
        if not self.by_records:
            return time.time_ns() // 1_000_000
        if source is not None and self.vitals.source_lag.get((source.chunk.topic, source.chunk.partition), 0):
            return source.newest_ms
        return self.newest_ms

    def read_to_end(self, tp: TP, upto: int, at: int) -> int:
        """When a source was last known to end at `upto`, epoch milliseconds and not after `at`; 0 when there is more. By records it is `at`."""
        ended: int = self.consumer.ended_ms(tp, upto)
        return at if ended and self.by_records else min(at, ended)

    # -- placing and sending

    def place(self, tenant: str) -> int:
        """The journal partition of a tenant, as Kafka's clients place a key."""
        found = self._places.get(tenant)
        if found is None:
            found = self._places[tenant] = placed(tenant, self.journal_partitions)
        return found

    async def produce(self, topic: str, partition: int | None, record: Record) -> Awaitable[Any]:
        """Hand a record to the producer; the future is done once it is durable."""
        key, value, headers = record
        return await self.producer.send(topic, key, value, partition, None, headers or None)  # type: ignore[no-any-return]  # untyped Faust

    async def deliver(self, topic: str, record: Record) -> None:
        """Produce a record and wait until it is durable."""
        await (await self.produce(topic, None, record))


async def durable(futures: Iterable[Awaitable[Any]]) -> None:
    """Wait until all are acknowledged; raises what any of them failed with, or TimeoutError."""
    waiting = list(futures)
    if waiting:
        await asyncio.wait_for(asyncio.gather(*waiting), DURABLE_SECONDS)


# -- tally


async def tally(app: App, stream: Any) -> None:
    """Count each block into its partition's open chunk."""
    async for event in stream.events():
        message = event.message
        if message.generation_id != app.generation:
            continue
        source = app.sources.get(message.tp)
        if source is None:
            continue
        for block in message.value:
            source.newest_ms = max(source.newest_ms, block.timestamp)
            app.newest_ms = max(app.newest_ms, block.timestamp)
            await _count(app, source, block)
        highwater = app.consumer.highwater(message.tp) or 0
        app.vitals.source_lag[message.topic, message.partition] = max(0, highwater - source.chunk.upto)
        source.caught_up = app.read_to_end(message.tp, source.chunk.upto, app.now_ms()) or source.caught_up
        decided = sum(len(decision.value) for decision in source.chunk.decisions)
        if len(source.chunk.counts) > CELLS_A_CHUNK or decided > DECIDED_A_CHUNK:
            app.room.clear()
            app.wake.set()
            await app.room.wait()


async def _count(app: App, source: SourcePartition, found: Block) -> None:
    chunk = source.chunk
    block = found.since(chunk.upto)
    if block is None:
        return
    refused: list[tuple[int, bytes | None, Rejected]] = []
    decisions: list[Decision] = []
    read = 0
    for records, offsets in block.parts(app.buffer):
        read += len(records)
        if source.reader is None:
            for offset, value in zip(offsets.tolist(), records.values(), strict=True):
                try:
                    if value is not None:
                        decisions.append(app.read_decision(source.kind, offset, value, app.now_ms()))
                except Rejected as error:
                    refused.append((offset, value, error.alone()))
            continue
        requests = records
        places: Sequence[int] = range(len(records))
        if source.adapter is not None:
            faults: list[Refused] = []
            values, places = _adapt(source.adapter, list(records.values()), faults)
            requests = Records.of(values)
            refused += [(int(offsets[place]), records[place], error) for place, error in faults]
        found_wrong = source.reader.count(requests, app.now_ms(), chunk.counts)
        refused += [(int(offsets[places[p]]), records[places[p]], error) for p, error in found_wrong]
        app.vitals.requests[chunk.topic] += len(requests) - len(found_wrong)
    # No wait from the first count to here: a flush must find both, or neither.
    for offset, value, why in refused:
        record = app.outlets.rejected(chunk.topic, chunk.partition, offset, value, why)
        app.rejections.append(asyncio.ensure_future(app.deliver(app.settings.topic("auth-requests.rejected"), record)))
        app.vitals.rejected[chunk.topic, why.reason] += 1
    chunk.add(block.following, read, len(refused), decisions)
    if len(app.rejections) > REJECTIONS_WAITING:
        await asyncio.wait(app.rejections)


def _adapt(
    adapter: Adapter, values: Sequence[bytes | None], refused: list[Refused]
) -> tuple[list[bytes | None], list[int]]:
    native: list[bytes | None] = []
    places: list[int] = []
    for place, made in enumerate(adapter.requests(values)):
        if isinstance(made, Rejected):
            refused.append(Refused(place, made.alone()))
        elif made is not None:
            native.append(made)
            places.append(place)
    return native, places


async def flush(app: App, *, final: bool = False) -> None:
    """Send what every open chunk holds to the journal, and commit it; an idle partition says now and then that it is."""
    async with app.flush_lock:
        generation = app.generation
        if generation is None:
            return
        if app.backlog and app.room.is_set() and not final and time.monotonic() - app.flushed_at < BACKLOG_SECONDS:
            return
        app.flushed_at = time.monotonic()
        futures: list[Awaitable[Any]] = [*app.rejections]
        app.rejections = []
        commits: dict[TP, tuple[int, str]] = {}
        for tp, source in app.sources.items():
            at = app.now_ms(source)
            if source.chunk.empty:
                silent = time.monotonic() - source.told_at > HEARTBEAT_SECONDS
                if final or silent or (app.by_records and at > source.told_ms):
                    await _seal(app, tp, source, at, futures)
                continue
            # Counting goes on while this is sent: what it catches up with from here on stands in the next chunk.
            taken, caught_up = source.chunk.take(), source.caught_up
            commits[tp] = (taken.upto, READ_MARK)
            for partition, frame in enumerate(taken.frames(app.place, app.journal_partitions, at, source.complete_ms)):
                futures.append(await app.produce(app.journal_name, partition, (None, frames.encode(frame), [])))
            source.complete_ms = caught_up
            source.told_at = 0.0
        try:
            await durable(futures)
            if commits:
                await app.consumer.commit_pinned(commits, generation)
            if final or not app.backlog:
                # Else what was committed would count only once the next chunk is.
                sealing: list[Awaitable[Any]] = []
                for tp in commits:
                    await _seal(app, tp, app.sources[tp], app.now_ms(app.sources[tp]), sealing)
                await durable(sealing)
        except FencedError as error:
            die(78, f"another worker took over while a chunk was sent: {error}")
        except Exception as error:
            die(75, f"a chunk could not be sent or committed: {error!r}")
        for tp in commits:
            app.vitals.committed_at[tp.topic, tp.partition] = time.time()
        app.room.set()


async def read_back(app: App) -> None:
    """Wait until the engines have taken in what the journal holds now, a few seconds at most."""
    ends = await app.consumer.highwaters(*(TP(app.journal_name, q) for q in app.engines))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READ_BACK_SECONDS):
            while any(engine.following < (ends.get(TP(app.journal_name, q)) or 0) for q, engine in app.engines.items()):
                app.taken.clear()
                await app.taken.wait()


async def _seal(app: App, tp: TP, source: SourcePartition, at: int, futures: list[Awaitable[Any]]) -> None:
    """Send the empty frame of an idle partition: it seals the last chunk and tells the time, and never of what the open chunk holds."""
    ended = app.read_to_end(tp, source.chunk.start, at)
    if ended:
        source.complete_ms = max(source.complete_ms, ended)
        app.vitals.source_lag[tp.topic, tp.partition] = 0
    source.told_at, source.told_ms = time.monotonic(), at
    record: Record = (None, frames.encode(source.chunk.seal_frame(at, source.complete_ms)), [])
    futures += [await app.produce(app.journal_name, partition, record) for partition in range(app.journal_partitions)]


# -- assess


async def assess(app: App, stream: Any) -> None:
    """Give each journal record to its partition's engine."""
    async for event in stream.events():
        message = event.message
        if message.generation_id != app.generation:
            continue
        engine = app.engines.get(message.partition)
        if engine is None:
            continue
        for found in message.value:
            block = found.since(engine.following)
            if block is None:
                continue
            engine.take((offset, value) for offset, value in block.records(app.buffer) if value is not None)
            engine.following = block.following
        highwater = app.consumer.highwater(message.tp) or 0
        app.vitals.journal_lag[message.partition] = max(0, highwater - engine.following)
        app.taken.set()


async def checkpoint(app: App) -> None:
    """Make durable what the engines have taken in, in the order of the module, and commit how far that is."""
    async with app.checkpoint_lock:
        generation = app.generation
        if generation is None:
            return
        mark = b"%d" % generation
        made = {
            partition: engine.checkpoint()
            for partition, engine in app.engines.items()
            if engine.stamp > app.committed_horizon[partition]
        }
        try:
            await durable([f for q, c in made.items() for f in await _records(app, q, c.accounts, c.horizon, mark)])
            await durable([f for q, c in made.items() for f in await _records(app, q, c.days, c.horizon, mark)])
            await durable(
                [
                    await app.produce(app.settings.topic(app.outlets.topic(a.kind)), q, app.outlets.announcement(a))
                    for q, c in made.items()
                    for a in c.announcements
                ]
            )
            await durable([f for q, c in made.items() for f in await _outdated(app, q, c, mark)])
            if made:
                await app.consumer.commit_pinned(
                    {TP(app.journal_name, q): (c.offset, str(c.horizon)) for q, c in made.items()}, generation
                )
        except FencedError as error:
            die(78, f"another worker took over during a checkpoint: {error}")
        except Exception as error:
            die(75, f"a checkpoint could not be made durable: {error!r}")
        for partition, one in made.items():
            app.committed_horizon[partition] = one.horizon
            app.engines[partition].committed(one.horizon)
            app.vitals.checkpoint_at[partition] = time.time()


async def _records(
    app: App, partition: int, records: Mapping[bytes, bytes], horizon: int, mark: bytes
) -> list[Awaitable[Any]]:
    prefix = STAMP.pack(horizon)
    changelog = app.ledger.changelog_topic_name
    return [
        await app.produce(changelog, partition, (key + b"\0" + mark, prefix + value, []))
        for key, value in records.items()
    ]


async def _outdated(app: App, partition: int, one: Checkpoint, mark: bytes) -> list[Awaitable[Any]]:
    store = app.ledger.data
    keys = [old for key in (*one.accounts, *one.days) for old in store.outdated(partition, key, mark)]
    keys += [old for key in one.removed for old in store.removed(partition, key)]
    return [await app.produce(app.ledger.changelog_topic_name, partition, (key, None, [])) for key in keys]


# -- announce


async def announce(app: App, *, everything: bool = False) -> None:
    """Send the statuses of tenants and support requests that have changed, a batch for each partition; a turn of them, or `everything`."""
    async with app.checkpoint_lock:
        turn = max(1, STATUSES_A_TURN // (10 if app.backlog else 1) // max(1, len(app.engines)))
        sent: list[Awaitable[Any]] = []
        for partition, engine in app.engines.items():
            most = len(engine.tenants) if everything else turn
            records = [app.outlets.status(record) for _, record in engine.statuses(most)]
            while records:
                records = await _send_batch(app, app.status_name, partition, records, sent)
            most = sys.maxsize if everything else turn
            records = [app.outlets.support_status(record) for record in engine.support_statuses(most)]
            while records:
                records = await _send_batch(app, app.support_name, partition, records, sent)
        if everything:
            await durable(sent)


async def _send_batch(
    app: App, topic: str, partition: int, records: list[Record], sent: list[Awaitable[Any]]
) -> list[Record]:
    """Send as many as fit one batch; the rest is returned. `sent` need not be waited for: the next status replaces this one."""
    producer = app.producer._producer
    batch = producer.create_batch()
    for index, (key, value, headers) in enumerate(records):
        if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
            if index == 0:
                raise AssertionError(f"a status of {len(value or b'')} bytes does not fit a batch")
            break
    else:
        index = len(records)
    batch.close()
    sent.append(await producer.send_batch(batch, topic, partition=partition))
    return records[index:]


# -- the app


def make(settings: Settings) -> App:
    """A Faust app on these settings, with its agents, its table and its tasks; `App.prepare` binds the rest before it runs."""
    deadline = LONGEST_SESSION_SECONDS
    return App(
        settings.topic_prefix + settings.group,
        broker="kafka://" + settings.kafka_bootstrap.replace(",", ";"),
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        store="memory://",
        Table=Table,
        table_standby_replicas=0,
        datadir=settings.data_dir,
        broker_session_timeout=settings.session_seconds,
        broker_heartbeat_interval=settings.session_seconds / 4,
        broker_request_timeout=deadline,
        broker_commit_interval=5.0,
        broker_max_poll_interval=300.0,
        broker_max_poll_records=20_000,
        consumer_auto_offset_reset="none",
        consumer_group_instance_id=settings.instance or None,
        consumer_max_fetch_size=1 << 20,
        producer_max_batch_size=1 << 20,
        producer_max_request_size=16 << 20,
        producer_request_timeout=deadline,
        # Smaller than lz4 and a sixth of its CPU or less, measured on frames: aiokafka asks lz4 for level 9.
        producer_compression_type="zstd",
        stream_buffer_maxsize=16,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        worker_redirect_stdouts=False,
    )


def build(
    settings: Settings,
    partitions: Mapping[str, int],
    outlets: Outlets,
    adapters: Mapping[str, Adapter | None],
    codes: Mapping[str, Mapping[str, str]],
    decisions: Mapping[str, str],
    read_decision: DecisionReader,
) -> App:
    """The worker's app: see `App.prepare` for the arguments."""
    app = make(settings)
    app.prepare(settings, partitions, outlets, adapters, codes, decisions, read_decision)
    sources = [*settings.source_topics, *decisions]
    deliver_as_blocks([*sources, app.journal_name])
    blocks.install([*sources, app.journal_name])
    # acks=False: Faust never commits these topics, we do.
    source_topic = app.topic(*sources, key_serializer="raw", value_serializer="raw", acks=False)
    journal_topic = app.topic(app.journal_name, key_serializer="raw", value_serializer="raw", acks=False)
    app.ledger = app.Table("ledger", key_type=bytes, value_type=bytes, partitions=app.journal_partitions)

    @app.agent(source_topic, name="tally")
    async def _tally(stream: Any) -> None:
        await _or_die("counting", tally(app, stream))

    @app.agent(journal_topic, name="assess")
    async def _assess(stream: Any) -> None:
        await _or_die("assessing", assess(app, stream))

    @app.task
    async def _flush() -> None:
        await _or_die("flushing", _every(app, settings.flush_seconds, lambda: flush(app), app.wake))

    @app.task
    async def _checkpoint() -> None:
        await _or_die("checkpointing", _checkpoints(app, settings.checkpoint_seconds))

    @app.task
    async def _announce() -> None:
        await _or_die("announcing", _every(app, STATUS_SECONDS, lambda: announce(app), asyncio.Event()))

    @app.on_partitions_revoked.connect
    async def _on_revoked(*_: Any, **__: Any) -> None:
        async with app.flush_lock, app.checkpoint_lock:
            app.let_go()
            app.room.set()

    return app


async def _or_die(what: str, running: Awaitable[None]) -> None:
    """A bug of ours stops the worker rather than skip a record."""
    try:
        await running
    except asyncio.CancelledError:
        raise
    except Exception as error:
        traceback.print_exc()
        die(72, f"{what} failed: {error!r}; nothing was skipped, the records are read again")


async def _every(app: App, seconds: float, act: Callable[[], Awaitable[None]], wake: asyncio.Event) -> None:
    following = time.monotonic() + seconds
    while not (app.should_stop or app.stopping):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), max(0.01, following - time.monotonic()))
        wake.clear()
        following = max(following + seconds, time.monotonic())
        if not app.stopping:
            await act()


async def _checkpoints(app: App, seconds: float) -> None:
    """A checkpoint every so often, and sooner when something waits to be announced."""
    last = time.monotonic() - seconds
    while not (app.should_stop or app.stopping):
        await asyncio.sleep(min(1.0, seconds))
        urgent = any(engine.urgent for engine in app.engines.values()) and not app.backlog
        if not app.stopping and time.monotonic() - last >= (min(URGENT_SECONDS, seconds) if urgent else seconds):
            last = time.monotonic()
            await checkpoint(app)
