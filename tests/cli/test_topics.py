"""`monitor topics apply` and `monitor check` on a real broker: what is missing is made, what differs is brought right or named."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic
from typer.testing import CliRunner, Result

from monitor.cli import register
from monitor.local.processes import free_port
from monitor.settings import SettingsError

COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "compose.yaml").read_text())
app = register()


class Deployment:
    """Names under a prefix of their own, the command line, and the broker's own client to look behind it."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self.prefix = prefix
        self.environment = {"MONITOR_KAFKA_BOOTSTRAP": kafka, "MONITOR_TOPIC_PREFIX": prefix, "MONITOR_PARTITIONS": "2"}
        self.admin = AdminClient({"bootstrap.servers": kafka})

    def run(self, text: str, **settings: str) -> Result:
        return CliRunner().invoke(app, text.split(), env={**self.environment, **settings})

    def steps(self, *, code: int = 0, dry: bool = False, **settings: str) -> set[tuple[str, str]]:
        """(action, topic without the prefix) of an apply that must end with `code`."""
        done = self.run("topics apply --json" + " --dry-run" * dry, **settings)
        assert done.exit_code == code, done.output
        return {(step["action"], step["topic"].removeprefix(self.prefix)) for step in json.loads(done.stdout)}

    def partitions(self) -> dict[str, int]:
        """Of each of our topics, without the prefix."""
        found = self.admin.list_topics(timeout=20).topics
        return {
            name.removeprefix(self.prefix): len(topic.partitions)
            for name, topic in found.items()
            if name.startswith(self.prefix)
        }

    def make(self, name: str, partitions: int, **config: str) -> None:
        topic = NewTopic(self.prefix + name, partitions, 1, config={k.replace("_", "."): v for k, v in config.items()})
        self.admin.create_topics([topic])[self.prefix + name].result(20)
        self.until(lambda: self.partitions().get(name) == partitions)

    def configure(self, name: str, config: Mapping[str, str]) -> None:
        entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in config.items()]
        asked = ConfigResource(ConfigResource.Type.TOPIC, self.prefix + name, incremental_configs=entries)
        self.admin.incremental_alter_configs([asked])[asked].result(20)
        self.until(lambda: config.items() <= self.config(name).items())

    def config(self, name: str) -> dict[str, str]:
        asked = ConfigResource(ConfigResource.Type.TOPIC, self.prefix + name)
        return {key: entry.value for key, entry in self.admin.describe_configs([asked])[asked].result(20).items()}

    def until(self, heard: Callable[[], bool]) -> None:
        """Wait until the broker has heard of what its controller has done."""
        deadline = time.monotonic() + 20
        while not heard():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def deployment(kafka: str, unique: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deployment:
    monkeypatch.chdir(tmp_path)
    return Deployment(kafka, f"{unique}.")


def test_a_dry_run_shows_what_would_be_made_and_makes_nothing(deployment: Deployment) -> None:
    plan = deployment.steps(dry=True)
    assert {action for action, _ in plan} == {"make"}
    assert deployment.partitions() == {}
    assert deployment.steps() == plan
    assert deployment.partitions() == {name: 2 for _, name in plan}


def test_the_topics_of_compose_let_its_workers_start_the_first_time_and_every_other(deployment: Deployment) -> None:
    program, *words = COMPOSE["services"]["topics"]["command"]
    assert program == "monitor"
    first, second = (deployment.run(" ".join(words), MONITOR_PARTITIONS="8") for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert f"made     {deployment.prefix}journal: 8 partitions, frames: what was counted" in first.stdout.splitlines()
    assert second.stdout == "all topics are as they should be\n"


def test_what_would_lose_records_is_altered_and_what_only_keeps_more_stays(deployment: Deployment) -> None:
    deployment.steps()
    deployment.configure("journal", {"retention.ms": "3600000", "segment.bytes": "7000000"})
    deployment.configure("breaches", {"retention.ms": "-1"})
    deployment.configure("status", {"cleanup.policy": "delete"})
    deployment.configure("auth-requests", {"retention.ms": "60000"})
    plan = {("alter", "journal"), ("keep", "breaches"), ("alter", "status"), ("keep", "auth-requests")}
    assert deployment.steps(dry=True) == plan
    assert deployment.config("journal")["retention.ms"] == "3600000"

    assert deployment.steps() == plan
    journal = deployment.config("journal")
    assert (journal["retention.ms"], journal["max.message.bytes"]) == (str(90 * 86_400_000), str(16 << 20))
    assert journal["segment.bytes"] == "7000000", "what an operator has set besides stays"
    assert deployment.config("status")["cleanup.policy"] == "compact"
    assert deployment.config("breaches")["retention.ms"] == "-1"
    assert deployment.config("auth-requests")["retention.ms"] == "60000", "a source belongs to who fills it"
    assert deployment.steps() == {("keep", "breaches"), ("keep", "auth-requests")}


def test_other_partitions_than_asked_for_are_a_finding_and_what_is_missing_is_made_like_the_journal(
    deployment: Deployment,
) -> None:
    deployment.make("journal", 3, retention_ms=str(90 * 86_400_000), max_message_bytes=str(16 << 20))
    deployment.make("auth-requests", 7)
    assert ("misfit", "journal") in deployment.steps(code=1)
    made = deployment.partitions()
    assert made.pop("auth-requests") == 7
    assert set(made.values()) == {3}

    again = deployment.run("topics apply")
    assert again.exit_code == 1
    assert again.stdout == (
        f"misfit   {deployment.prefix}journal: expected 2 partitions (MONITOR_PARTITIONS), found 3, and a tenant's partition cannot change: "
        "set MONITOR_PARTITIONS to 3, or MONITOR_TOPIC_PREFIX to begin anew under other names\n"
    )
    assert deployment.run("topics apply", MONITOR_PARTITIONS="3").exit_code == 0


def test_a_topic_unlike_the_journal_is_a_finding_that_says_no_worker_runs_on_it(deployment: Deployment) -> None:
    deployment.make("status", 5, cleanup_policy="compact")
    assert ("misfit", "status") in deployment.steps(code=1)
    done = deployment.run("topics apply")
    assert f"misfit   {deployment.prefix}status: expected 2 partitions as the journal has, found 5: no worker runs" in (
        done.stdout
    )


def test_a_broker_that_refuses_is_quoted_in_one_line(deployment: Deployment) -> None:
    done = deployment.run("topics apply", MONITOR_REPLICAS="3")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "could not be made: InvalidReplicationFactorError" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_check_names_what_is_missing_and_the_command_that_makes_it(deployment: Deployment) -> None:
    before = deployment.run("check")
    assert before.exit_code == 1
    [line] = [line for line in before.stdout.splitlines() if line.startswith("NOT FINE")]
    assert line.split()[2] == "topics"
    assert f"make {deployment.prefix}journal: 2 partitions, frames" in line
    assert line.endswith("`monitor topics apply` does that")
    deployment.steps()
    deployment.configure("auth-requests", {"retention.ms": "60000"})
    after = deployment.run("check")
    assert (after.exit_code, "NOT FINE" in after.stdout) == (0, False), after.output


def test_check_says_why_a_worker_would_not_start_on_topics_that_do_not_fit(deployment: Deployment) -> None:
    deployment.steps()
    found = deployment.run("check --json", MONITOR_PARTITIONS="4")
    assert found.exit_code == 1
    [topics] = [each for each in json.loads(found.stdout) if each["what"] == "topics"]
    assert not topics["fine"]
    assert topics["said"].startswith(f"misfit {deployment.prefix}journal: expected 4 partitions")
    assert "monitor topics apply" not in topics["said"], "it could not mend that"


def test_check_ends_as_unreachable_when_no_broker_answers(deployment: Deployment) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    found = deployment.run("check", MONITOR_KAFKA_BOOTSTRAP=nobody)
    assert found.exit_code == 3
    assert f"no Kafka at {nobody}" in found.stdout
    assert "Traceback" not in found.output


def test_check_ends_as_misused_with_every_fault_of_the_settings(deployment: Deployment) -> None:
    found = deployment.run("check", MONITOR_PARTITIONZ="4", MONITOR_HTTP_PORT="x")
    assert isinstance(found.exception, SettingsError)
    assert "did you mean 'MONITOR_PARTITIONS'" in str(found.exception)
    assert "http_port: " in str(found.exception)
