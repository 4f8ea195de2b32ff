"""What a worker tells about itself. The stream writes it, the outlets show it; it decides nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from monitor.engine.engine import Engine


@dataclass(slots=True)
class Vitals:
    """Counters since the process started, and the present. Times are epoch seconds, lags are records."""

    engines: dict[int, Engine] = field(default_factory=dict)
    """By journal partition; only those that this worker owns."""
    ready: bool = False
    requests: Counter[str] = field(default_factory=Counter)
    """Requests counted, by source topic."""
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Records rejected, by source topic and reason."""
    source_lag: dict[tuple[str, int], int] = field(default_factory=dict)
    committed_at: dict[tuple[str, int], float] = field(default_factory=dict)
    journal_lag: dict[int, int] = field(default_factory=dict)
    checkpoint_at: dict[int, float] = field(default_factory=dict)
    frames: Counter[str] = field(default_factory=Counter)
    """Frames of engines that have gone, by what became of them; those of present engines are in their resolvers."""
    gaps: int = 0
    announced: Counter[str] = field(default_factory=Counter)

    def retire(self, partition: int) -> None:
        """Let an engine go; what it counted about itself stays counted."""
        engine = self.engines.pop(partition)
        for name, n in frame_outcomes(engine).items():
            self.frames[name] += n
        self.gaps += engine.seen.gaps
        self.announced.update(engine.seen.announced)
        self.journal_lag.pop(partition, None)
        self.checkpoint_at.pop(partition, None)


def frame_outcomes(engine: Engine) -> dict[str, int]:
    """What became of the frames an engine has seen."""
    resolver = engine.resolver
    return {"sealed": resolver.sealed, "dropped": resolver.dropped, "ignored": resolver.ignored}
