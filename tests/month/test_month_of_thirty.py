"""A month of thirty tenants through the engine: statements and credits are those of the table, whatever happens to the worker."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from typing import Any

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


def test_the_order_in_which_decisions_come_changes_no_byte(straight: Played) -> None:
    seed = random.SystemRandom().randrange(10**6)
    found = play(Log(3, random.Random(seed)).play(truth.records(), truth.steps()))
    assert found.of("statement") == straight.of("statement"), f"shuffled with seed {seed}"
    assert found.of("credit") == straight.of("credit")


def test_over_however_many_partitions_a_month_is_spread_it_comes_to_the_same(straight: Played) -> None:
    alone = play(Log(1).play(truth.records(), truth.steps()))
    counted = [
        Counter(
            (tenant, portal, minute, *row) for engine in played.engines for tenant, portal, minute, row in engine.rows()
        )
        for played in (alone, straight)
    ]
    assert counted[0] == counted[1]

    def said(played: Played) -> dict[str, dict[str, Any]]:
        """All but places in the log, hashes of statements, which have them, and silences, which a partition's own tenants tell."""
        found = {name: json.loads(data) for name, data in played.of("statement").items()}
        for document in found.values():
            for name in ("evidence", "previous", "supersedes", "silence"):
                del document[name]
        return found

    assert said(alone) == said(straight)


def test_what_statements_counted_is_what_was_sent(straight: Played) -> None:
    """Summed over portals and days, and over what counts, what is excluded and what lies outside the term."""
    newest: dict[str, dict[str, Any]] = {}
    for data in straight.of("statement").values():
        document = json.loads(data)
        name = f"{document['tenant']}/{document['month']}"
        if document["sequence"] >= newest.get(name, document)["sequence"]:
            newest[name] = document
    for tenant in truth.TENANTS:
        document = newest[f"{tenant.name}/{tenant.month}"]
        counts, portals = document["counts"], document["portals"].values()
        for side in ("counted", "excluded"):
            for name, n in counts[side].items():
                assert sum(portal[side][name] for portal in portals) == n
        assert sum(day["bad"] for day in document["affected"]) == counts["bad"]
        there = sum(counts["counted"].values()) + sum(counts["excluded"].values())
        sent = sum(request.n for request in tenant.traffic) - sum(tenant.busy.values())
        # A short last month is final before its calendar month is over, and what comes then makes no amendment.
        assert there + sum(document["outside_term"].values()) == sent or tenant.name == "vole"


def test_no_credit_is_ever_over_the_cap_negative_or_less_than_what_was_applied(straight: Played) -> None:
    applied: Counter[str] = Counter()
    for credit in sorted(map(json.loads, straight.of("credit").values()), key=lambda credit: credit["version"]):
        name = f"{credit['tenant']}/{credit['month']}"
        assert applied[name] <= credit["applied_days"] <= credit["days"] <= 10
        assert credit["days_to_apply"] in (0, credit["days"] - credit["applied_days"])
        applied[name] = credit["applied_days"]
    assert applied["yak/2026-11"] == 10


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
