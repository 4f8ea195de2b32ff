"""`monitor load` into a real broker: what it says it sent stands there, where and when and as it was asked for."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from monitor.cli import register
from monitor.local.processes import free_port
from monitor.settings import Settings
from monitor.stream import topics
from monitor.stream.reading import records

app = register()


class Topic:
    """A source topic of its own, the command that fills it, and what stands there."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self.settings = Settings(kafka_bootstrap=kafka, topic_prefix=prefix, partitions=3)
        self.environment = {"MONITOR_KAFKA_BOOTSTRAP": kafka, "MONITOR_TOPIC_PREFIX": prefix}

    def load(self, text: str) -> Result:
        return CliRunner().invoke(app, ["load", *text.split()], env=self.environment)

    def requests(self) -> list[dict[str, Any]]:
        """All that stand in the topic, each with its instant as `at`, epoch seconds."""
        found = [json.loads(record.value) for record in asyncio.run(records(self.settings, "auth-requests"))]
        return [{**each, "at": datetime.fromisoformat(each["time"]).timestamp()} for each in found]


def counted_as(request: dict[str, Any]) -> str:
    return request["outcome"] if request["outcome"] == "success" else request.get("fault", "unclassified")


@pytest.fixture
def topic(kafka: str, unique: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Topic:
    monkeypatch.chdir(tmp_path)
    made = Topic(kafka, f"{unique}.")
    asyncio.run(topics.apply(made.settings))
    return made


def test_a_history_with_an_incident_at_one_portal_stands_in_the_topic_as_it_was_asked_for(topic: Topic) -> None:
    begin = time.time()
    done = topic.load(
        "--tenants 4 --requests 40000 --days 2 --json --incident tenant=tenant-02,portal=authentication,share=0.6,start=-10h,for=5h"
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    found = topic.requests()
    assert len(found) == said["requests"] == said["history"] == pytest.approx(40_000, rel=0.03)
    assert Counter(map(counted_as, found)) == Counter(said["classes"])
    assert {each["tenant"] for each in found} == {f"tenant-{n:02}" for n in range(1, 5)}
    assert begin - 2 * 86_400 - 1 <= min(each["at"] for each in found)
    assert max(each["at"] for each in found) <= time.time()

    portals = Counter(each["portal"] for each in found)
    for portal, share in {"authentication": 0.86, "administration": 0.04, "self-service": 0.10}.items():
        assert portals[portal] / len(found) == pytest.approx(share, abs=0.01)

    struck, spared = Counter(), Counter()
    for each in found:
        hit = (each["tenant"], each["portal"]) == ("tenant-02", "authentication")
        (struck if hit and begin - 36_000 < each["at"] < begin - 18_000 else spared)[counted_as(each)] += 1
    assert struck["server"] / struck.total() == pytest.approx(0.6, abs=0.07)
    assert spared["server"] / spared.total() < 0.002


def test_live_traffic_comes_at_the_rate_that_was_asked_for_and_says_how_much(topic: Topic) -> None:
    begin = time.time()
    done = topic.load("--tenants 3 --requests 0 --rate 200 --for 4 --json")
    assert done.exit_code == 0, done.output
    said, found = json.loads(done.stdout), topic.requests()
    assert len(found) == said["live"] == said["requests"] == pytest.approx(800, rel=0.2)
    assert begin - 1 < min(each["at"] for each in found)
    assert max(each["at"] for each in found) < begin + 60


def test_a_tenants_month_stands_where_it_was_put(topic: Topic) -> None:
    done = topic.load("--tenants 3 --requests 30000 --near tenant-01=0.98 --json")
    assert done.exit_code == 0, done.output
    counts = Counter(counted_as(each) for each in topic.requests() if each["tenant"] == "tenant-01")
    bad = counts["server"] + counts["unclassified"]
    assert 1 - bad / (counts.total() - counts["external"]) == pytest.approx(0.98, abs=0.0005)


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("--topic nobodys --requests 10", 1, "no topic 'nobodys'"),
        ("--incident tenant=tenant-99,for=1m", 2, "expected a tenant from tenant-01 to tenant-30, found 'tenant-99'"),
        ("--incident portal=vpn,for=1m", 2, "expected a portal of authentication, administration, self-service"),
        ("--requests 0", 2, "expected --requests of history, a --rate, or both"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_what_was_expected(
    topic: Topic, text: str, code: int, sentence: str
) -> None:
    done = topic.load(text)
    assert done.exit_code == code, done.output
    # The frame around a usage error breaks its lines.
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert topic.requests() == []


def test_a_broker_that_does_not_answer_is_named(topic: Topic) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    done = topic.load(f"--bootstrap {nobody} --requests 10")
    assert (done.exit_code, nobody in done.stderr) == (3, True), done.output
