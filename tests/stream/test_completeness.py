"""What a frame calls complete stands before its start: nothing that is counted while a flush is under way can slip in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from monitor.counting.frame import Frame, decode
from monitor.outlets.records import CloudEvents
from monitor.settings import Settings
from monitor.sources import read_decision
from monitor.stream import app as stream
from monitor.stream.app import App, Record

SOURCE = TP("auth-requests", 0)
ASKED_MS = 1_700_000_000_000
"""When the broker was asked, and had nothing behind offset 5; five seconds later it had nothing behind 8."""


class Broker:
    """What a flush needs of Kafka: it keeps the frames, and says what the source held when it was asked."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.ended: dict[int, int] = {}
        """By offset: when nothing stood there or behind."""
        self.meanwhile: dict[str, int] = {}
        """How far counting gets while a frame is sent, or while a commit is."""
        self.app: App

    def counted(self, upto: int) -> None:
        """As the agent does: more is counted, and the source is read to its end."""
        source = self.app.sources[SOURCE]
        source.chunk.add(upto, upto - source.chunk.upto, 0)
        source.caught_up = self.app.read_to_end(SOURCE, upto, ASKED_MS + 60_000)

    def ended_ms(self, _: TP, upto: int) -> int:
        return self.ended.get(upto, 0)

    async def produce(self, topic: str, partition: int, record: Record) -> asyncio.Future[None]:
        assert (topic, partition) == ("journal", 0)
        self.frames.append(decode(record[1] or b""))
        await self._meet("frame")
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    async def commit_pinned(self, offsets: Mapping[TP, tuple[int, str]], generation: int) -> None:
        await self._meet("commit")

    async def _meet(self, what: str) -> None:
        if what in self.meanwhile:
            self.counted(self.meanwhile.pop(what))


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    made, settings = Broker(), Settings(partitions=1, data_dir=str(tmp_path))
    app = stream.make(settings)
    partitions = dict.fromkeys(("auth-requests", "journal", "status"), 1)
    app.prepare(settings, partitions, CloudEvents(), {"auth-requests": None}, {}, {}, read_decision)
    monkeypatch.setattr(app, "_consumer", made)
    monkeypatch.setattr(app, "produce", made.produce)
    made.app = app
    app.on_positions(1, {SOURCE: (0, stream.READ_MARK)})
    made.ended = {5: ASKED_MS, 8: ASKED_MS + 5_000}
    made.counted(5)
    return made


def flush(broker: Broker, **how: Any) -> list[tuple[int, int, int]]:
    """Flush; start, upto and what is called complete of all frames so far."""
    asyncio.run(stream.flush(broker.app, **how))
    return [(frame.start, frame.upto, frame.complete_ms) for frame in broker.frames]


def test_what_is_counted_while_a_frame_is_sent_is_not_complete_before_the_next_is_committed(broker: Broker) -> None:
    broker.meanwhile["frame"] = 8
    assert flush(broker) == [(0, 5, 0), (5, 5, ASKED_MS)]
    assert flush(broker)[2:] == [(5, 8, ASKED_MS), (8, 8, ASKED_MS + 5_000)]


def test_in_a_backlog_a_committed_chunk_waits_for_the_next_to_be_complete(broker: Broker) -> None:
    broker.meanwhile["frame"] = 8
    broker.app.vitals.source_lag["auth-requests", 0] = stream.BACKLOG_RECORDS + 1
    broker.app.room.clear()
    assert flush(broker) == [(0, 5, 0)]
    broker.app.room.clear()
    assert flush(broker)[1:] == [(5, 8, ASKED_MS)]


def test_the_last_flush_does_not_call_complete_what_was_counted_behind_its_commit(broker: Broker) -> None:
    broker.meanwhile["commit"] = 8
    assert flush(broker, final=True) == [(0, 5, 0), (5, 5, ASKED_MS)]
