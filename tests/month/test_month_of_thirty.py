"""A month of thirty tenants through the engine: statements and credits are those of the table, whatever happens to the worker."""

from __future__ import annotations

import os
import random

import pytest
from month import truth
from month.played import Log, Played, play, play_with_crashes

from monitor.contract.statement import verify


@pytest.fixture(scope="module")
def log() -> Log:
    return Log(3).play(truth.records(), truth.steps())


@pytest.fixture(scope="module")
def straight(log: Log) -> Played:
    return play(log)


def test_statements_and_credits_are_those_of_the_table(straight: Played) -> None:
    found = truth.differences(straight.of("statement").values(), straight.of("credit").values())
    assert not found, "\n".join(found)


def test_every_chain_of_statements_holds(straight: Played) -> None:
    chains = truth.chains(straight.of("statement").values())
    assert len(chains) == len(truth.TENANTS)
    assert {tenant: verify(chain, tenant) for tenant, chain in chains.items()} == dict.fromkeys(chains)


@pytest.mark.parametrize("mean", [10, 40, 150])
def test_after_crashes_at_any_moment_statements_and_credits_are_the_same_to_the_byte(
    log: Log, straight: Played, mean: int
) -> None:
    seed = int(os.environ.get("MONTH_SEED", random.SystemRandom().randrange(10**6)))
    print(f"MONTH_SEED={seed}")
    found = play_with_crashes(log, seed, mean)
    assert found.crashes
    for kind in ("statement", "credit", "notice_due"):
        assert found.of(kind) == straight.of(kind)
