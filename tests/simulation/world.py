"""Kafka, workers and an operator in memory, moved one small step at a time by a seeded schedule. A test breaks it in a line.

Chunks, frames, the resolver and the engine are the real ones. What is modelled is what Kafka promises: logs with holes, commits that only
the current generation can make, a compacted changelog that keeps the last record of a key. The recount knows none of the counting.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

from monitor.contract.support import EVENT_TYPES, SEVERITIES
from monitor.counting import frame as frames
from monitor.counting.chunk import Chunk, Where
from monitor.counting.frame import Decision
from monitor.counting.resolver import resume
from monitor.engine.engine import Engine
from monitor.engine.support import SUPPORT

TOPIC = "auth-requests"
TENANTS = ("ant", "bee", "cat", "dog", "elk")
DAY0 = 29_700_000 // 1440 * 1440
Cell = tuple[int, Where]
"""A request's UTC epoch minute, and where it counts."""


@dataclass
class World:
    """The broker. `committed` and `named` are the group's offsets and whether they carry our mark."""

    seed: int
    sources: int = 3
    journals: int = 2
    holes: bool = True
    ticking: bool = False
    support: bool = False
    """Whether people ask for support; then workers also say up to when they have read all."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.log: list[list[tuple[int, Cell]]] = [[] for _ in range(self.sources)]
        self.decisions: list[list[tuple[int, Decision]]] = [[] for _ in range(self.sources)]
        self.end = [0] * self.sources
        self.committed = [0] * self.sources
        self.marked = [True] * self.sources
        self.journal: list[list[tuple[int, bytes]]] = [[] for _ in range(self.journals)]
        self.journal_end = [0] * self.journals
        self.position: list[tuple[int, int]] = [(0, -1)] * self.journals
        self.changelog: list[list[tuple[bytes, bytes, int | None, bytes | None]]] = [[] for _ in range(self.journals)]
        self.breaches: list[tuple[str, bytes]] = []
        self.generation = 0
        self.live: list[Worker] = []
        self.asleep: list[Worker] = []
        self.clock_ms = DAY0 * 60_000 + 3_600_000
        self.faults: Counter[str] = Counter()
        self.rebalance(2)

    # -- the world's own moves

    def request(self) -> None:
        """Somebody logs in: a record at the end of a source partition, sometimes behind a hole."""
        p = self.random.randrange(self.sources)
        self.end[p] += self.random.choice((0, 0, 0, 1, 5)) if self.holes else 0
        minute = DAY0 + self.random.choice((0, 1, 2, 59, 1439, 1440))
        kind = self.random.choice((0, 0, 0, 1, 2, 3, 4))
        code = self.random.choice(("", "x", "y")) if kind == 4 else ""
        cell = (minute, Where(self.random.choice(TENANTS), self.random.choice(("login", "admin")), kind, code))
        self.log[p].append((self.end[p], cell))
        self.end[p] += 1

    def ask(self) -> None:
        """Somebody says something of a support request: of now, or of what happened hours ago; sometimes again what was said before."""
        p, r = self.random.randrange(self.sources), self.random
        before = [decision.value for log in self.decisions for _, decision in log]
        if before and r.random() < 0.1:
            event = json.loads(r.choice(before))
        else:
            at = self.clock_ms - r.choice((0, 0, r.randrange(5 * 3_600_000), r.randrange(50 * 3_600_000)))
            kind = r.choice(("opened", "opened", "opened", *EVENT_TYPES))
            event = {"tenant": r.choice(TENANTS), "request": r.choice("xy"), "type": kind, "time": at}
            event |= {"severity": r.choice(SEVERITIES)} if kind in ("opened", "severity_changed") else {}
            event |= {"category": "internet"} if kind == "not_covered" else {"reason": "so it is"}
        decision = Decision(SUPPORT, self.end[p], event["tenant"], json.dumps(event).encode())
        self.decisions[p].append((self.end[p], decision))
        self.end[p] += 1

    def append(self, q: int, data: bytes) -> None:
        self.journal_end[q] += self.random.choice((0, 0, 0, 2)) if self.holes else 0
        self.journal[q].append((self.journal_end[q], data))
        self.journal_end[q] += 1

    def compact(self, q: int) -> None:
        """Keep the last record of each key, as the broker does; delete markers go too."""
        last = {(key, generation): (stamp, value) for key, generation, stamp, value in self.changelog[q]}
        self.changelog[q] = [(k, g, s, v) for (k, g), (s, v) in last.items() if v is not None]
        self.faults["compactions"] += 1

    def rebalance(self, workers: int, *, sleepers: bool = False) -> None:
        """A new generation: every worker drops what it holds; with `sleepers`, the old ones do not notice yet."""
        for worker in self.live:
            if sleepers:
                self.asleep.append(worker)
        self.generation += 1
        self.live = [Worker(self) for _ in range(workers)]
        for p in range(self.sources):
            self.random.choice(self.live).own_source(p)
        for q in range(self.journals):
            self.random.choice(self.live).own_journal(q)
        self.faults["rebalances"] += 1

    def set_back(self, p: int) -> None:
        """An operator sets the group back to an earlier offset, as the tools allow while the group has no workers."""
        self.live, self.asleep = [], []
        self.committed[p] = self.random.randint(0, self.committed[p])
        self.marked[p] = False
        self.faults["resets"] += 1
        self.rebalance(2)

    # -- what is true

    def recount(self) -> Counter[tuple[str, str, int, int]]:
        """All requests ever made, straight from the source logs."""
        return Counter((c.tenant, c.portal, minute, c.class_index) for log in self.log for _, (minute, c) in log)

    def counted(self) -> Counter[tuple[str, str, int, int]]:
        """What the workers' engines say, together."""
        out: Counter[tuple[str, str, int, int]] = Counter()
        for worker in self.live:
            for engine in worker.engines.values():
                for tenant, portal, minute, row in engine.rows():
                    for index, n in enumerate(row):
                        if n:
                            out[tenant, portal, minute, index] += n
        return out

    def gaps(self) -> int:
        return sum(len(e.partition.unmeasured) for w in self.live for e in w.engines.values())

    def settle(self) -> None:
        """Kill everybody, let one worker take over and finish all there is to do."""
        self.live, self.asleep = [], []
        self.rebalance(1)
        (worker,) = self.live
        for p in list(worker.chunks):
            worker.read(p, to_the_end=True)
            worker.finish_flush(p)
            worker.say_idle(p)
        for q in list(worker.engines):
            while worker.assess(q):
                pass
            worker.finish_checkpoint(q)


class FencedError(Exception):
    """A commit in a generation that is over: the worker ends."""


@dataclass
class Worker:
    """One worker of one generation. Each public method is a step that a schedule may take, or stop between."""

    world: World
    chunks: dict[int, Chunk] = field(default_factory=dict)
    engines: dict[int, Engine] = field(default_factory=dict)
    sending: dict[int, tuple[Chunk, list[tuple[int, bytes]]]] = field(default_factory=dict)
    writing: dict[int, list[tuple[str, tuple]]] = field(default_factory=dict)
    caught_up: dict[int, int] = field(default_factory=dict)
    """By source partition, when it was last read to its end, epoch milliseconds."""
    complete: dict[int, int] = field(default_factory=dict)
    """The same for what stands before the chunk's start."""

    def __post_init__(self) -> None:
        self.generation = self.world.generation

    def own_source(self, p: int) -> None:
        world = self.world
        start = world.committed[p]
        if not world.marked[p]:
            seen = [
                frames.decode(data)
                for q in range(world.journals)
                for at, data in world.journal[q]
                if at >= world.position[q][0]
            ]
            start = resume(start, (TOPIC, p), seen)
            world.committed[p], world.marked[p] = start, True
        self.chunks[p] = Chunk(TOPIC, p, world.sources, start)

    def own_journal(self, q: int) -> None:
        offset, horizon = self.world.position[q]
        table: dict[bytes, tuple[int, bytes]] = {}
        for key, _, stamp, value in self.world.changelog[q]:
            if value is not None and (key not in table or stamp >= table[key][0]):
                table[key] = (stamp, value)
        self.engines[q] = Engine({key: value for key, (_, value) in table.items()}, offset=offset, horizon=horizon)

    # -- tally

    def read(self, p: int, *, to_the_end: bool = False) -> None:
        chunk, world = self.chunks[p], self.world
        upto = world.end[p] if to_the_end else min(world.end[p], chunk.upto + world.random.randint(1, 6))
        if upto > chunk.upto:
            found = [cell for offset, cell in world.log[p] if chunk.upto <= offset < upto]
            for minute, where in found:
                chunk.counts.add(minute, where)
            decided = [decision for offset, decision in world.decisions[p] if chunk.upto <= offset < upto]
            chunk.add(upto, len(found) + len(decided), 0, decided)
        if world.support and chunk.upto >= world.end[p]:
            self.caught_up[p] = world.clock_ms

    def take(self, p: int) -> None:
        if p in self.sending or self.chunks[p].empty:
            return
        taken = self.chunks[p].take()
        made = taken.frames(
            lambda name: TENANTS.index(name) % self.world.journals,
            self.world.journals,
            self.world.clock_ms,
            self.complete.get(p, 0),
        )
        self.complete[p] = self.caught_up.get(p, 0)
        self.sending[p] = (taken, [(q, frames.encode(f)) for q, f in enumerate(made)])

    def send(self, p: int) -> None:
        """Send one frame, or commit when all are out."""
        if p not in self.sending:
            return
        taken, left = self.sending[p]
        if left:
            q, data = left.pop(self.world.random.randrange(len(left)))
            self.world.append(q, data)
            return
        if self.generation != self.world.generation:
            raise FencedError
        self.world.committed[p] = taken.upto
        del self.sending[p]

    def say_idle(self, p: int) -> None:
        if p in self.sending or not self.chunks[p].empty:
            return
        if self.world.support and self.chunks[p].upto >= self.world.end[p]:
            self.complete[p] = self.world.clock_ms
        frame = frames.encode(self.chunks[p].seal_frame(self.world.clock_ms, self.complete.get(p, 0)))
        for q in range(self.world.journals):
            self.world.append(q, frame)

    def finish_flush(self, p: int) -> None:
        self.take(p)
        while p in self.sending:
            self.send(p)

    # -- assess

    def assess(self, q: int) -> bool:
        engine = self.engines[q]
        waiting = ((offset, data) for offset, data in self.world.journal[q] if offset >= engine.following)
        found = list(islice(waiting, self.world.random.choice((1, 1, 2, 5, 40))))
        engine.take(found)
        return bool(found)

    def begin_checkpoint(self, q: int) -> None:
        if q in self.writing or self.engines[q].stamp < 0:
            return
        made = self.engines[q].checkpoint()
        steps: list[tuple[str, tuple]] = [
            ("record", (key, made.horizon, value)) for key, value in made.accounts.items()
        ]
        rest: list[tuple[str, tuple]] = [("record", (key, made.horizon, value)) for key, value in made.days.items()]
        rest += [("announce", (a.id, a.data)) for a in made.announcements]
        self.world.random.shuffle(rest)
        steps += rest
        steps += [("outdated", (key,)) for key in (*made.accounts, *made.days)]
        steps.append(("commit", (made.offset, made.horizon)))
        self.writing[q] = steps

    def write(self, q: int) -> None:
        if q not in self.writing:
            return
        kind, what = self.writing[q].pop(0)
        log, mark = self.world.changelog[q], b"%d" % self.generation
        if kind == "record":
            key, stamp, value = what
            log.append((key, mark, stamp, value))
        elif kind == "announce":
            self.world.breaches.append(what)
        elif kind == "outdated":
            (key,) = what
            for generation in {
                g for k, g, _, v in log if k == key and g != mark and v is not None and int(g) < self.generation
            }:
                log.append((key, generation, None, None))
        else:
            if self.generation != self.world.generation:
                raise FencedError
            self.world.position[q] = what
            del self.writing[q]

    def finish_checkpoint(self, q: int) -> None:
        self.begin_checkpoint(q)
        while q in self.writing:
            self.write(q)

    def step(self) -> None:
        """One step, chosen by the world's chance."""
        r = self.world.random
        if self.chunks and r.random() < 0.6:
            p = r.choice(list(self.chunks))
            r.choice((self.read, self.take, self.send, self.send, self.send, self.say_idle))(p)
        elif self.engines:
            q = r.choice(list(self.engines))
            act = r.choice(
                (self.assess, self.assess, self.assess, self.begin_checkpoint, self.write, self.write, self.write)
            )
            act(q)


def run(world: World, steps: int) -> None:
    """Let a schedule of `steps` moves happen."""
    r = world.random
    for _ in range(steps):
        x = r.random()
        if world.ticking:
            world.clock_ms += r.choice((0, 0, 200, 2_000))
        if world.support and x < 0.17:
            world.clock_ms += r.choice((0, 60_000, 600_000, 3_600_000))
            world.ask()
        elif x < 0.20:
            world.request()
        elif x < 0.90:
            _move(world, world.live)
        elif x < 0.955:
            _move(world, world.asleep)
        elif x < 0.965:
            world.rebalance(r.randint(1, 3), sleepers=True)
        elif x < 0.972:
            world.rebalance(r.randint(1, 3))
        elif x < 0.98 and world.asleep:
            world.asleep.remove(r.choice(world.asleep))
        elif x < 0.99:
            world.compact(r.randrange(world.journals))
        elif x < 0.993:
            world.set_back(r.randrange(world.sources))


def _move(world: World, among: list[Worker]) -> None:
    if not among:
        return
    worker = world.random.choice(among)
    try:
        worker.step()
    except FencedError:
        world.faults["fenced"] += 1
        among.remove(worker)
        if among is world.live:
            world.rebalance(2)
