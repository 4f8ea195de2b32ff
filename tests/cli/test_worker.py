"""What a worker does before it takes part."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from pathlib import Path

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from numba.core.dispatcher import Dispatcher

from monitor.cli.worker import warm
from monitor.counting import frame as frames
from monitor.counting.chunk import Chunk, Reader
from monitor.engine.engine import TICK_MS, Engine
from monitor.stream import batches
from monitor.stream.blocks import Batch, Block, Buffer

ROOT = Path(__file__).parents[2]
LZ4 = 3
RECORDS = 400


def at_hand() -> dict[str, int]:
    """How many kinds of arguments each of our compiled functions has machine code for in this process."""
    ours = (
        each
        for each in gc.get_objects()
        if isinstance(each, Dispatcher) and each.py_func.__module__.startswith("monitor")
    )
    return {f"{each.py_func.__module__}.{each.py_func.__name__}": len(each.signatures) for each in ours}


def test_all_compiled_code_is_at_hand_before_the_first_record_is_read() -> None:
    now_ms = time.time_ns() // 1_000_000
    time_of = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_ms / 1000 - 60))
    built = DefaultRecordBatchBuilder(2, LZ4, False, -1, -1, -1, 1 << 20)
    for n in range(RECORDS):
        request = {"time": time_of, "tenant": f"t-{n % 9}", "portal": "p", "outcome": "failure", "fault": "server"}
        built.append(n, timestamp=now_ms, key=None, value=json.dumps(request).encode(), headers=[])
    data = memoryview(bytes(built.build()))

    warm()
    before = at_hand()
    buffer, chunk = Buffer(), Chunk("requests", 0, 1, 0)
    block = Block([Batch(0, RECORDS, RECORDS, LZ4, data[batches.HEADER_BYTES :])], 0, RECORDS, now_ms)
    for records, _ in block.parts(buffer):
        assert not Reader({}).count(records, now_ms, chunk.counts)
    chunk.add(RECORDS, RECORDS, 0)
    said = chunk.take().frames(lambda _: 0, 1, now_ms, now_ms)
    said.append(chunk.seal_frame(now_ms + TICK_MS, now_ms + TICK_MS))
    engine = Engine({})
    engine.take(enumerate(map(frames.encode, said)))
    statuses = [status for _, status in engine.statuses(10)]
    assert [(status["bad"], status["projected"] is not None) for status in statuses] == [
        (len(range(n, RECORDS, 9)), True) for n in range(9)
    ]
    assert at_hand() == before


FORECASTS = """
import numpy as np
from monitor.cli.worker import warm
from monitor.forecast import Fleet, History, MonthSoFar, forecast
from tests.cli.test_worker import at_hand
history, demand = History(), np.full(1440, 20, dtype=np.int64)
bad = np.where(np.arange(1440) < 90, 20, 0)
for day in range(40):
    history.replace_day(day, demand, bad if day % 7 == 0 else 0 * bad)
month = MonthSoFar("a", 31 * 1440, 59 * 1440, 40 * 1440, 9 * 28_800, 0)
warm()
before = at_hand()
for many in (1, 2, 130):
    assert len(forecast([month] * many, [history] * many, Fleet.of([history] * many))) == many
after = at_hand()
assert before == after, set(after.items()) - set(before.items())
"""


def test_all_compiled_code_of_forecasts_is_at_hand_however_many_tenants_have_a_past() -> None:
    """In a process of its own: here other tests have had things compiled."""
    command = [sys.executable, "-c", FORECASTS]
    said = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
