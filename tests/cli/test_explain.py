"""`monitor explain`: a month in plain words, from what a real worker has counted and announced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer

from tests.kafka.test_worker import Deployment

MONITOR = [sys.executable, "-c", "from monitor.cli import main; main()"]
START = datetime(2026, 10, 20, tzinfo=UTC)


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


@pytest.fixture(scope="module")
def told(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a deployment that has counted ten days of acme: two hours failed on the 25th, 18:00 to 20:00 in Tokyo."""
    unique = f"explain-{os.getpid()}"
    deployment = Deployment(kafka, unique, tmp_path_factory.mktemp("explain"), 2)
    deployment.make_topics()
    deployment.environment |= {
        "MONITOR_CLOCK": "records",
        "MONITOR_CHECKPOINT_SECONDS": "1",
        "MONITOR_PROMETHEUS_URL": "http://127.0.0.1:9",
        "COLUMNS": "200",
    }
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 20})
    contract = {"tenant": "acme", "zone": "Asia/Tokyo", "partner": "north", "start": "2026-01-01", "end": "2026-12-31"}
    producer.produce(f"{unique}.contracts", json.dumps(contract).encode(), key=b"acme", timestamp=ms(START))
    for minute in range(10 * 1440):
        at = START + timedelta(minutes=minute)
        down = datetime(2026, 10, 25, 9, tzinfo=UTC) <= at < datetime(2026, 10, 25, 11, tzinfo=UTC)
        for portal in ("vpn", "mail"):
            outcome = {"outcome": "failure", "fault": "server"} if down and portal == "vpn" else {"outcome": "success"}
            request = {"tenant": "acme", "portal": portal, "time": ms(at), **outcome}
            producer.produce(f"{unique}.auth-requests", json.dumps(request).encode(), timestamp=ms(at))
        producer.poll(0)
    assert producer.flush(20) == 0
    worker = deployment.start()
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        done = run(deployment.environment, "status", "acme", "--json")
        if done.stdout and json.loads(done.stdout)["projected"] and json.loads(done.stdout)["good"] == 28_680:
            break
        time.sleep(1)
    else:
        raise AssertionError(f"the worker did not count the ten days:\n{worker.said()[-2000:]}\n{done.stdout}")
    time.sleep(3)  # a checkpoint
    try:
        yield deployment.environment
    finally:
        worker.process.terminate()
        worker.process.wait(30)


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MONITOR, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_outage_is_told_with_its_minutes_its_portal_and_what_it_costs_in_the_tenants_own_time(
    told: dict[str, str],
) -> None:
    said = run(told, "explain", "acme")
    assert said.returncode == 0, said.stderr
    text = said.stdout
    assert "acme, 2026-10 (Asia/Tokyo, in term)" in text
    assert "120 of 28800 requests failed by the provider's fault" in text
    assert "2026-10-25T18:00+09:00 to 2026-10-25T20:00+09:00, 120 of 120 minutes failing: 120 of 240" in text
    assert "vpn 120" in text
    assert "in 90 of 100 cases between" in text
    assert "2026-10-25T18:00+09:00 to 2026-10-25T20:00+09:00 were excluded: 100.000 %" in text
    assert "claim for 2026-10-25 by 2026-11-24" in text
    assert "which alerts fired is not known" in text


def test_the_same_as_json_says_what_would_be_if_nothing_failed_any_more(told: dict[str, str]) -> None:
    found = json.loads(run(told, "explain", "acme", "2026-10", "--json").stdout)
    assert (found["good"], found["bad"], found["band"], found["background"]) == (28_680, 120, 99, 0)
    rest = next(item for item in found["what_if"] if item["if"] == "nothing fails any more")
    assert rest["bad"] == 120
    assert rest["good"] + rest["bad"] == found["expected_requests"]
    [left] = [item["left"] for item in found["what_if"] if item.get("threshold") == "99"]
    # With so many failures more the month is still kept, with one more it is not.
    assert 100 * (120 + left) <= 28_800 + left
    assert 100 * (121 + left) > 28_801 + left


def test_a_tenant_that_nobody_knows_is_said_to_be_so_and_a_wrong_month_is_a_usage_error(told: dict[str, str]) -> None:
    unknown = run(told, "explain", "nobody")
    assert unknown.returncode == 1
    assert "nothing is known of 'nobody'" in unknown.stderr
    assert run(told, "explain", "acme", "October").returncode == 2
