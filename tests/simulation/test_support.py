"""Whatever happens to workers, what is announced of support requests is what the pure desk says, each thing once."""

from __future__ import annotations

import json
import os
from collections import Counter

from simulation.world import DAY0, World, run

from monitor.contract.support import STANDARD_SUPPORT, breaches, event_of, requests_of, status

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "3000")) // 20
FIRST_SEED = int(os.environ.get("SIMULATION_SEED", "1"))


def test_every_schedule_of_crashes_and_sleepers_announces_the_same_bytes_and_ends_where_the_pure_desk_does(
    capsys,
) -> None:
    said: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + SCHEDULES):
        world = World(seed, support=True)
        world.clock_ms = (
            DAY0 + 2 * 1440 + 13 * 60
        ) * 60_000  # a Tuesday afternoon, so that time goes on past the end of hours
        run(world, 400)
        world.settle()
        (worker,) = world.live
        now = {engine.desk.now_ms for engine in worker.engines.values()}
        assert now == {world.clock_ms}, f"seed {seed}: not all is known"
        requests = requests_of({event_of(json.loads(d.value)) for log in world.decisions for _, d in log})

        bytes_of: dict[str, bytes] = {}
        for name, data in world.breaches:
            if "request" in json.loads(data):
                assert bytes_of.setdefault(name, data) == data, f"seed {seed}: {name} stands for two things"
        told = [json.loads(data) for data in bytes_of.values()]
        withdrawn = {each["withdraws"] for each in told if each["type"] == "withdrawn"}
        assert withdrawn <= set(bytes_of), f"seed {seed}: what nobody was told is withdrawn"
        standing = {
            "/".join(each["id"].split("/")[:5])
            for each in told
            if each["type"].endswith("overdue") and each["id"] not in withdrawn
        }
        known = {
            b.about
            for r in requests
            for b in breaches(r, STANDARD_SUPPORT, world.clock_ms)
            if b.type.endswith("overdue")
        }
        assert standing == known, f"seed {seed}: what stands announced is not what was missed"

        shown = {(s["tenant"], s["request"]): s for e in worker.engines.values() for s in e.support_statuses(1000)}
        for request in requests:
            expected = status(request, STANDARD_SUPPORT, world.clock_ms)
            found = shown.get((request.tenant, request.id))
            if found is not None or request.running:
                assert found is not None, f"seed {seed}: nothing is said of {request.tenant}/{request.id}"
                assert {name: found[name] for name in expected} == expected, f"seed {seed}"
        said.update(each["type"] for each in told)
        faults += world.faults
    with capsys.disabled():
        print(f"\n  {SCHEDULES} schedules: {dict(said)}; {dict(faults)}")
    assert min(said[kind] for kind in ("first_response_overdue", "update_overdue", "withdrawn")) > 0
    assert faults["fenced"] > 0
