"""Whatever happens to workers, the counts equal a recount of the source."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from simulation.world import World, run

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "3000"))
FIRST_SEED = int(os.environ.get("SIMULATION_SEED", "1"))


@pytest.mark.parametrize("block", range(10))
def test_every_schedule_of_crashes_sleepers_resets_and_compactions_counts_exactly_and_without_gaps(
    block: int, capsys
) -> None:
    faults: Counter[str] = Counter()
    requests = ignored = dropped = 0
    each = SCHEDULES // 10
    for seed in range(FIRST_SEED + block * each, FIRST_SEED + (block + 1) * each):
        world = World(seed)
        run(world, 220)
        world.settle()
        truth = world.recount()
        assert world.counted() == truth, f"seed {seed}: the counts differ from the recount"
        assert world.gaps() == 0, f"seed {seed}: a gap where nothing was lost"
        ignored += sum(e.resolver.ignored for w in world.live for e in w.engines.values())
        dropped += sum(e.resolver.dropped for w in world.live for e in w.engines.values())
        world.settle()
        assert world.counted() == truth, f"seed {seed}: what is durable differs from the recount"
        faults += world.faults
        requests += sum(truth.values())
    with capsys.disabled():
        print(f"\n  seeds {FIRST_SEED + block * each} to {FIRST_SEED + (block + 1) * each - 1}: {requests} requests exact; {dict(faults)}, "
              f"frames ignored {ignored}, dropped {dropped}")  # fmt: skip
    for each in ("fenced", "resets", "rebalances", "compactions"):
        assert faults[each] > 0, f"no schedule had {each}: they must contain what they are about"


def test_offsets_that_an_operator_skips_are_a_gap_and_all_others_count() -> None:
    world = World(7, sources=1, journals=1, holes=False)
    for _ in range(30):
        world.request()
    (worker,) = [w for w in world.live if w.chunks]
    worker.read(0, to_the_end=True)
    worker.finish_flush(0)
    for _ in range(10):
        world.request()
    lost = Counter((c.tenant, c.portal, minute, c.class_index) for _, (minute, c) in world.log[0][30:36])
    world.committed[0] = 36
    world.settle()
    assert world.counted() == world.recount() - lost
    (engine,) = world.live[0].engines.values()
    assert [(u.first, u.upto) for u in engine.partition.unmeasured] == [(30, 36)]
