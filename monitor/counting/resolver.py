"""Which of the journal's frames count: for each source, exactly those whose chunk was committed. Folding them is left to the engine.

Rules, for the frames of one journal partition in the order of their offsets:
1. All frames of a source with its newest start are *candidates*. They may differ in where they end: two workers may have counted from the
   same start, and nobody knows yet which of them committed.
2. A frame with a later start c proves that c was committed. The candidate that ends at c is *sealed*: it counts. The others are dropped.
3. When no candidate ends at c, there is a *gap*. The longest candidate that ends before c counts (its records were read, and nothing after c
   reads them again); from its end to c nobody has counted.
4. A frame with an older start is *ignored*: a worker that slept has woken up.
5. The offset of the frame that seals is the *stamp* of what it sealed.

A restart reads again from O, the offset of the oldest open candidate set's first frame, and skips what was sealed at or below H.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from monitor.counting.frame import Frame

Source = tuple[str, int]
"""A topic and a partition."""


def resume(asked: int, source: Source, frames: Iterable[Frame]) -> int:
    """Where counting of a source goes on after an operator has set its group to the offset `asked`.

    `frames` are those of every journal partition, read from its O. Back at the newest start all chunks before it are committed, and what was
    counted from there on is still open: going on there counts nothing twice and leaves nothing out. An offset at or behind the end of
    all that was counted is taken as it is; what is skipped shows as a gap. A worker that sleeps through all of this is not covered.
    """
    mine = [frame for frame in frames if (frame.topic, frame.partition) == source]
    newest = max((frame.start for frame in mine), default=asked)
    end = max((frame.upto for frame in mine), default=asked)
    return asked if asked >= end else newest


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets [first, upto) of a source that nobody has counted."""

    source: Source
    first: int
    upto: int


@dataclass(slots=True)
class Candidates:
    """The frames of a source's newest start. `offset` is the first one's in the journal, of empty ones alone the last one's; `at_ms` and
    `complete_ms` are the newest among them.
    """

    start: int
    offset: int
    at_ms: int
    complete_ms: int
    frames: list[Frame]


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a frame proved: `frame` counts (None when no candidate ended early enough), `gap` is what nobody counted."""

    stamp: int
    frame: Frame | None
    gap: Gap | None


@dataclass(slots=True)
class Resolver:
    """The open candidates of one journal partition, and what became of the frames seen."""

    open: dict[Source, Candidates] = field(default_factory=dict)
    sealed: int = 0
    dropped: int = 0
    ignored: int = 0
    partitions: dict[str, int] = field(default_factory=dict)
    """How many partitions each topic has, for all that was seen."""
    _silent: int = 0
    """How many of them have not spoken."""

    def take(self, offset: int, frame: Frame) -> Sealed | None:
        """Take in the frame at a journal `offset`; what it seals, or None."""
        source = (frame.topic, frame.partition)
        now = self.open.get(source)
        known = self.partitions.get(frame.topic, 0)
        if frame.partitions > known:
            self.partitions[frame.topic] = frame.partitions
            self._silent += frame.partitions - known
        self._silent -= now is None
        if now is not None and frame.start < now.start:
            self.ignored += 1
            return None
        if now is not None and frame.start == now.start:
            if frame.upto > frame.start:
                now.frames.append(frame)
            elif all(each.upto == each.start for each in now.frames):
                # Signs of life of an idle source: the newest says all, and a restart need not read the others again.
                now.offset, now.frames = offset, [frame]
            now.at_ms = max(now.at_ms, frame.at_ms)
            now.complete_ms = max(now.complete_ms, frame.complete_ms)
            return None
        self.open[source] = Candidates(frame.start, offset, frame.at_ms, frame.complete_ms, [frame])
        return None if now is None else self._seal(offset, source, now, frame.start)

    def _seal(self, stamp: int, source: Source, was: Candidates, committed: int) -> Sealed:
        best = max((f for f in was.frames if f.upto <= committed), key=lambda f: f.upto, default=None)
        self.sealed += best is not None
        self.dropped += sum(f is not best and f.upto > f.start for f in was.frames)
        end = was.start if best is None else best.upto
        return Sealed(stamp, best, None if end == committed else Gap(source, end, committed))

    def oldest(self, following: int) -> int:
        """O: the offset from which the journal must be read again; `following` is the next one to read."""
        return min((c.offset for c in self.open.values()), default=following)

    def complete(self) -> bool:
        """Whether every partition of every topic seen has spoken."""
        return bool(self.partitions) and not self._silent

    def clock_ms(self) -> int | None:
        """The least of the sources' newest clocks, epoch milliseconds; None until every source has spoken."""
        return min([c.at_ms for c in self.open.values()]) if self.complete() else None

    def complete_ms(self) -> int | None:
        """All that every source held up to here is sealed, epoch milliseconds; None while some source does not know."""
        return (min([c.complete_ms for c in self.open.values()]) or None) if self.complete() else None
