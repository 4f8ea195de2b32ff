"""`monitor explain`: a month in plain words, from what a real worker has counted and announced."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer

from monitor.cli.explain import _alerts, lines
from monitor.settings import Settings
from monitor.stream import topics
from tests.alerts.programs import prometheus
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
    # Its records are older than a source keeps them.
    asyncio.run(topics.apply(deployment.settings, for_ever=True))
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


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A Prometheus that remembers ten days of October: acme's page fired twice, a short one once, globex's page once."""
    folder = tmp_path_factory.mktemp("remembered")
    fired = [
        ("BreachLikely", "acme", 'threshold="99",', "2026-10-03T10:00:05Z", "2026-10-03T10:29:55Z"),
        ("BreachLikely", "acme", 'threshold="99",', "2026-10-12T08:00:00Z", "2026-10-12T08:02:30Z"),
        ("BudgetBurningFast", "acme", 'threshold="90",', "2026-10-12T07:58:10Z", "2026-10-12T07:58:30Z"),
        ("SupportOverdue", "acme", 'request="4711",', "2026-10-12T09:00:00Z", "2026-10-12T09:09:59Z"),
        ("BreachLikely", "globex", 'threshold="99",', "2026-10-04T10:00:00Z", "2026-10-04T11:00:00Z"),
    ]
    text = "# TYPE ALERTS gauge\n"
    for alert, tenant, more, begun, upto in fired:
        for at in range(second(begun), second(upto) + 1, 5):
            text += f'ALERTS{{alertname="{alert}",alertstate="firing",{more}tenant="{tenant}"}} 1 {at}\n'
    (folder / "alerts.txt").write_text(text + "# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "alerts.txt", "prometheus"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with prometheus(folder, "127.0.0.1:1", every="1m") as address:
        yield Settings(prometheus_url=address)


MONTH = second("2026-10-01T00:00:00Z")


def fired_until(settings: Settings, end: str, *, goes_on: bool) -> list[dict[str, Any]] | None:
    return _alerts(settings, "acme", MONTH, second(end), goes_on=goes_on)


@pytest.mark.needs("prometheus", "promtool")
def test_an_alert_that_fired_twice_is_told_twice_and_one_that_fired_for_seconds_is_told(remembered: Settings) -> None:
    found = fired_until(remembered, "2026-10-12T12:00:00Z", goes_on=True)
    assert found is not None
    assert [tuple(each.values()) for each in found] == [
        ("BreachLikely", "99", "", "2026-10-03T10:00Z", "2026-10-03T10:30Z"),
        ("BudgetBurningFast", "90", "", "2026-10-12T07:58Z", "2026-10-12T07:59Z"),
        ("BreachLikely", "99", "", "2026-10-12T08:00Z", "2026-10-12T08:03Z"),
        ("SupportOverdue", "", "4711", "2026-10-12T09:00Z", "2026-10-12T09:10Z"),
    ]


@pytest.mark.needs("prometheus", "promtool")
def test_an_alert_that_still_fires_has_no_end_unless_the_month_has_one(remembered: Settings) -> None:
    for goes_on, end in ((True, None), (False, "2026-10-12T09:05Z")):
        found = fired_until(remembered, "2026-10-12T09:05:00Z", goes_on=goes_on)
        assert found is not None
        assert (found[-1]["alert"], found[-1]["to"]) == ("SupportOverdue", end)


def test_no_answer_of_prometheus_is_not_taken_for_no_alert() -> None:
    assert fired_until(Settings(prometheus_url="http://127.0.0.1:9"), "2026-10-12T12:00:00Z", goes_on=True) is None


def test_what_is_nearly_certain_is_not_said_to_be_and_what_was_announced_stands_beside_it(told: dict[str, str]) -> None:
    found = json.loads(run(told, "explain", "acme", "--json").stdout)
    found["alerts"] = [
        {"alert": "BreachLikely", "threshold": "99", "request": "", "from": "2026-10-25T09:40Z", "to": None}
    ]
    found["projection"] |= {
        "breach_probability": {"99": 1.0, "95": 0.996, "90": 0.001},
        "minutes_left": {"99": 0.0, "95": 134.4, "90": None},
        "verdicts": {"99": "breached", "95": "at_risk", "90": "none"},
    }
    text = "\n".join(lines(found))
    assert "below 99 %: certain (announced: breached)\n" in text
    assert (
        "below 95 %: over 99 of 100; certain after 134 more minutes of the present failure (announced: at risk)\n"
        in text
    )
    assert "below 90 %: under 1 of 100\n" in text
    assert text.endswith("2026-10-25T09:40Z and still  alert BreachLikely 99 %")
