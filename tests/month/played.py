"""The world's records through the real chunks into journals, and journals through the engine, also with crashes at the worst moments."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from zlib import crc32

from month.truth import CLAIMS, REQUESTS, TOPICS, Record

from monitor.counting import frame as frames
from monitor.counting.chunk import Chunk, Reader
from monitor.counting.records import Records
from monitor.engine.engine import Checkpoint, Engine
from monitor.engine.state import Announcement
from monitor.sources.decisions import read_decision

SOURCES = {topic: 2 if topic == REQUESTS else 1 for topic in TOPICS}
"""How many partitions each has."""


def place(tenant: str, partitions: int) -> int:
    return crc32(tenant.encode()) % partitions


class Log:
    """What workers made of the world's records: one journal for each of `partitions`, as records in the order of their offsets."""

    def __init__(self, partitions: int = 1, shuffled: random.Random | None = None) -> None:
        """With `shuffled`, decisions of one kind that come between two steps come in any order, those about claims aside."""
        self.journals: list[list[bytes]] = [[] for _ in range(partitions)]
        self._chunks = {(topic, p): Chunk(topic, p, n, 0) for topic, n in SOURCES.items() for p in range(n)}
        self._offsets = dict.fromkeys(self._chunks, 0)
        self._complete = 0
        self._reader = Reader({})
        self._shuffled = shuffled

    def play(self, records: Sequence[Record], steps: Iterable[int]) -> Log:
        """Read and count up to each step in turn; chunks are sealed there."""
        waiting = iter(sorted(records, key=lambda record: record.at))
        following = next(waiting, None)
        for at in steps:
            batches: dict[tuple[str, int], list[bytes]] = {}
            while following is not None and following.at <= at:
                # Requests go wherever there is room, as those of a producer without keys do.
                p = crc32(following.value) % SOURCES[following.topic]
                batches.setdefault((following.topic, p), []).append(following.value)
                following = next(waiting, None)
            self.step(at, batches)
        assert following is None, "there are records after the last step"
        return self

    def step(self, at: int, batches: dict[tuple[str, int], list[bytes]]) -> None:
        """Count these values and tell that it is `at`."""
        for source, values in batches.items():
            chunk, first = self._chunks[source], self._offsets[source]
            self._offsets[source] += len(values)
            if source[0] == REQUESTS:
                assert not self._reader.count(Records.of(values), at, chunk.counts)
                chunk.add(self._offsets[source], len(values), 0)
            else:
                if self._shuffled and source[0] != CLAIMS:
                    self._shuffled.shuffle(values)
                found = [read_decision(source[0], first + n, value, at) for n, value in enumerate(values)]
                chunk.add(self._offsets[source], len(values), 0, found)
        n = len(self.journals)
        for chunk in self._chunks.values():
            if not chunk.empty:
                self._append(chunk.take().frames(lambda tenant: place(tenant, n), n, at, self._complete))
        for chunk in self._chunks.values():
            self._append([chunk.seal_frame(at, at)] * n)
        self._complete = at

    def _append(self, made: Sequence[frames.Frame]) -> None:
        for journal, frame in zip(self.journals, made, strict=True):
            journal.append(frames.encode(frame))


@dataclass
class Played:
    """What the engines of a log's journals said, and how they stand in the end. `crashes`: how often one was lost."""

    engines: list[Engine]
    said: list[Announcement] = field(default_factory=list)
    crashes: int = 0

    def of(self, kind: str) -> dict[str, bytes]:
        """What was said of a kind, by id; AssertionError when an id came with different bytes."""
        found: dict[str, bytes] = {}
        for each in self.said:
            if each.kind == kind:
                assert found.setdefault(each.id, each.data) == each.data, f"{each.id} was said twice and differs"
        return found


def play(log: Log, every: int = 500) -> Played:
    """Straight through, a checkpoint each `every` records."""
    played = Played([])
    for journal in log.journals:
        table: dict[bytes, bytes] = {}
        engine = Engine(table)
        for offset, data in enumerate(journal):
            engine.take([(offset, data)])
            if offset % every == every - 1 or offset == len(journal) - 1:
                made = engine.checkpoint()
                played.said += made.announcements
                engine.committed(made.horizon)
        played.engines.append(engine)
    return played


def play_with_crashes(log: Log, seed: int, mean: int) -> Played:
    """The same with a checkpoint, or a crash at any step of one or of none, after about `mean` records each."""
    rng = random.Random(seed)
    played = Played([])
    for journal in log.journals:
        durable: dict[bytes, bytes] = {}
        position = (0, -1)
        engine = Engine(dict(durable))
        while engine.following < len(journal):
            upto = min(len(journal), engine.following + rng.randint(1, 2 * mean))
            for offset in range(engine.following, upto):
                engine.take([(offset, journal[offset])])
            what = rng.choice(("checkpoint", "crash", "crash in a checkpoint"))
            if what == "crash" and upto < len(journal):
                played.crashes += 1
                engine = Engine(dict(durable), offset=position[0], horizon=position[1])
                continue
            made = engine.checkpoint()
            steps = len(made.accounts) + len(made.days) + len(made.announcements) + len(made.removed) + 1
            done = rng.randrange(steps) if what != "checkpoint" and upto < len(journal) else steps
            position = _write(made, done, durable, position, played.said, rng)
            if done < steps:
                played.crashes += 1
                engine = Engine(dict(durable), offset=position[0], horizon=position[1])
            else:
                engine.committed(made.horizon)
        played.engines.append(engine)
    return played


def _write(
    made: Checkpoint,
    steps: int,
    durable: dict[bytes, bytes],
    position: tuple[int, int],
    said: list[Announcement],
    rng: random.Random,
) -> tuple[int, int]:
    """Do the first `steps` of a checkpoint; returns the pair (O, H) that is committed then.

    Records of one stage are produced in order to one partition, so their order holds; days and announcements go different ways.
    """
    days = list(made.days.items())
    rng.shuffle(days)
    todo = chain(
        (("record", item) for item in made.accounts.items()),
        (("record", item) for item in days),
        (("say", item) for item in made.announcements),
        (("remove", item) for item in made.removed),
        [("commit", (made.offset, made.horizon))],
    )
    for _, (kind, what) in zip(range(steps), todo, strict=False):
        if kind == "record":
            key, value = what
            durable[key] = value
        elif kind == "say":
            said.append(what)
        elif kind == "remove":
            durable.pop(what, None)
        else:
            position = what
    return position
