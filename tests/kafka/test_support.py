"""Support requests through real workers on a real Kafka: killed at random they say what an undisturbed one says, and people work the queue."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.played import Played, Said, ms
from typer.testing import CliRunner

from monitor.cli import register
from monitor.contract.support import Event, SupportTerms, breaches, event_of, fold, requests_of, status, support_terms
from monitor.stream.reading import records
from tests.kafka.test_worker import Deployment

APP = register()
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
PACKAGE = {
    "version": "round-the-clock-1",
    "zone": "UTC",
    "hours": {day: ["00:00-24:00"] for day in WEEK},
    "public_holidays": "",
    "first_response_minutes": {"P1": 60, "P2": 61, "P3": 62, "P4": 63},
    "warn_minutes": 1,
}
TERMS: SupportTerms = support_terms(PACKAGE)
MINUTE = 60_000
TENANTS = [f"tenant-{n}" for n in range(8)]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def schedule(rng: random.Random, start: int) -> list[tuple[int, dict[str, Any]]]:
    """What happens to 40 requests and when it is sent, epoch milliseconds; their first responses are due 12 to 40 seconds after the start.

    Nobody answers within four seconds of a due time: between a person's clock and a worker's there is no telling.
    """
    made: list[tuple[int, dict[str, Any]]] = []
    for number in range(40):
        severity = rng.randrange(4)
        due = start + rng.randrange(12_000, 40_000)
        name = {"tenant": rng.choice(TENANTS), "request": f"R{number}"}
        made.append(
            (start, {**name, "type": "opened", "time": due - (60 + severity) * MINUTE, "severity": f"P{severity + 1}"})
        )
        answer = due + rng.choice((-8_000, -6_000, -4_000, 4_000, 6_000))
        fate = rng.random()
        if fate < 0.8:
            made.append(
                (answer, {**name, "type": rng.choice(("responded", "updated", "temporary_resolution", "resolved"))})
            )
            made.append((answer + 3_000, {**name, "type": rng.choice(("documented", "resolved"))}))
        elif fate < 0.9 and severity:
            # Raised, it was due minutes ago: it is late from that moment on.
            raised = {**name, "type": "severity_changed", "severity": f"P{severity}", "reason": "worse"}
            made.append((due - 8_000, raised))
    return sorted(made, key=lambda item: item[0])


def play(deployments: list[Deployment], moment: int, event: dict[str, Any]) -> Event:
    """Send an event, dated now unless it says when, to each deployment: twice, as ticket systems do."""
    dated = {"time": moment, **event}
    for deployment in deployments:
        for _ in range(2):
            deployment.producer.produce(
                deployment.settings.topic("support-requests"), json.dumps(dated).encode(), dated["tenant"]
            )
        assert deployment.producer.flush(10) == 0
    return event_of(dated)


def announced(deployment: Deployment) -> dict[str, bytes]:
    """What `support-breaches` holds by id; one that came again came with the same bytes."""
    found: dict[str, bytes] = {}
    for message in deployment.read("support-breaches"):
        name = dict(message.headers())["ce_id"].decode()
        assert found.setdefault(name, message.value()) == message.value(), name
        assert json.loads(message.value())["id"] == name
    return found


def standing(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """What `support-status` says at last of each request, but for when that was."""
    newest: dict[str, dict[str, Any]] = {}
    for message in deployment.read("support-status"):
        record = json.loads(message.value())
        if record["stamp"] >= newest.get(message.key().decode(), record)["stamp"]:
            newest[message.key().decode()] = record
    return {key: without_moment(record) for key, record in newest.items()}


def without_moment(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("as_of", "stamp", "left_out")}


def test_three_kills_change_nothing_of_what_is_said_of_support_requests(
    kafka: str, unique: str, tmp_path: Path
) -> None:
    seed = int(os.environ.get("WORKER_SEED", random.SystemRandom().randrange(10**6)))
    print(f"WORKER_SEED={seed}")
    rng = random.Random(seed)
    for name in ("killed", "calm"):
        (tmp_path / name).mkdir()
    killed, calm = both = [Deployment(kafka, f"{unique}-{name}", tmp_path / name, 4) for name in ("killed", "calm")]
    try:
        for deployment in both:
            deployment.make_topics()
            for tenant in TENANTS:
                contract = {"tenant": tenant, "support": PACKAGE}
                topic = deployment.settings.topic("contracts")
                deployment.producer.produce(topic, json.dumps(contract).encode(), tenant)
            assert deployment.producer.flush(10) == 0
            deployment.start()
        for deployment in both:
            deployment.until("the contracts hold", lambda d=deployment: bool(d.counted() or len(d.statuses) == 8), 60)

        start = now_ms() + 1_000
        kills = sorted(start + rng.randrange(2_000, 42_000) for _ in range(3))
        happened = []
        for at, event in schedule(rng, start):
            while kills and kills[0] <= at:
                _wait_until(kills.pop(0))
                _kill(killed, rng)
            _wait_until(at)
            happened.append(play(both, now_ms(), event))
        for at in kills:
            _wait_until(at)
            _kill(killed, rng)

        end = now_ms() + 60_000
        wanted = {
            breach.id: breach.record()
            for request in requests_of(happened)
            for breach in breaches(request, TERMS, end)
            if breach.at < end
        }
        assert {record["type"] for record in wanted.values()} == {"first_response_due_soon", "first_response_overdue"}
        for deployment in both:
            deployment.until("all is announced", lambda d=deployment: set(announced(d)) >= set(wanted), 90)
            assert {name: json.loads(data) for name, data in announced(deployment).items()} == wanted
        assert announced(killed) == announced(calm)

        states = {
            f"{request.tenant}/{request.id}": without_moment(status(fold(request.events), TERMS, end))
            for request in requests_of(happened)
        }
        for deployment in both:
            deployment.until("all is said", lambda d=deployment: standing(d) == states)
    finally:
        for deployment in both:
            deployment.close()


def _wait_until(moment: int) -> None:
    time.sleep(max(0, moment - now_ms()) / 1000)


def _kill(deployment: Deployment, rng: random.Random) -> None:
    victim = rng.choice(deployment.workers)
    victim.process.send_signal(signal.SIGKILL)
    victim.process.wait()
    deployment.workers.remove(victim)
    deployment.start()


def command(played: Played, *words: str) -> Said:
    """Run a command here, which saves a second each; the time goes on to its `--at`."""
    if "--at" in words:
        played.newest = max(played.newest, ms(words[words.index("--at") + 1]))
    done = CliRunner().invoke(APP, list(words), env=played.environment)
    return Said(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def played(kafka: str, unique: str, tmp_path: Path) -> Iterator[Played]:
    made = Played(kafka, f"{unique}.", tmp_path)
    yield made
    made.close()


def test_people_work_the_queue_by_command(played: Played) -> None:
    played.start()

    def say(*words: str) -> Any:
        done = command(played, "support", *words, "--by", "ada", "--json")
        assert done.code == 0, done
        return done.json

    package = {"version": "enhanced-1", "first_response_minutes": {"P1": 60}, "company_holidays": ["2026-03-02"]}
    played.contract("2026-03-02T08:00:00Z", tenant="globex", support=package)
    opened = command(
        played, "support", "open", "globex", "1", "--severity", "P1", "--by", "ada", "--at", "2026-03-02T09:00:00Z"
    )
    assert "first response due 2026-03-03 10:00 +00:00, 2026-03-03T10:00:00Z" in opened.out
    say("not-covered", "globex", "1", "misuse", "--at", "2026-03-02T09:01:00Z")

    say("open", "acme", "1", "--severity", "P3", "--at", "2026-03-02T09:30:00Z")
    sent = say(
        "open", "acme", "2", "--severity", "p1", "--contact", "Ada", "--file", "a.log", "--at", "2026-03-02T10:00:00Z"
    )
    assert sent["record"]["documentation"] == {"files": ["a.log"], "contact": "Ada"}
    say("respond", "acme", "1", "--at", "2026-03-02T10:30:00Z")

    refusals = [
        (("open", "acme", "1", "--severity", "P3"), "the request is open since 2026-03-02T09:30:00Z"),
        (("respond", "acme", "3"), "the request is not open yet"),
        (("reopen", "acme", "1"), "the request is open: there is nothing to reopen"),
        (("severity", "acme", "2", "P1", "--reason", "x"), "the severity is P1 already"),
        (
            ("temporary", "acme", "1", "--severity", "P2"),
            "a temporary resolution lowers the severity: expected one under P3, found P2",
        ),
    ]
    for words, why in refusals:
        done = command(played, "support", *words, "--by", "ada", "--at", "2026-03-02T10:40:00Z")
        assert (done.code, done.err) == (1, f"refused: {why}; nothing was sent\n")
    again = command(played, "support", "respond", "acme", "1", "--by", "ada", "--at", "2026-03-02T10:30:00Z")
    assert (again.code, "is recorded already" in again.err) == (1, True)
    for words, why in [
        (("open", "acme", "3", "--severity", "P5"), "severity: expected one of P1, P2, P3, P4, found 'P5'"),
        (("not-covered", "acme", "1", "weather"), "category: expected one of operator_error"),
        (("document", "acme", "1"), "expected --identification, "),
    ]:
        done = command(played, "support", *words, "--by", "ada", "--at", "2026-03-02T10:40:00Z")
        assert (done.code, why in done.err) == (2, True), done

    played.requests("tick", "2026-03-02T14:05:00Z", 1)
    played.until("the P1 is overdue", lambda: command(played, "support", "list").code == 1)
    queue = command(played, "support", "list", "--json").json
    assert [(each["request"], each["severity"], each["overdue"]) for each in queue] == [
        ("2", "P1", ["first_response"]),
        ("1", "P3", []),
    ]
    assert (queue[0]["passed_over_by"], queue[1]["passed_over"]) == (["acme/1"], ["acme/2"])
    assert queue[0]["first_response_due_hq"] == "2026-03-02T14:00:00+00:00"
    first, second = command(played, "support", "list").out.splitlines()[1:]
    assert first.split()[:4] == ["OVERDUE", "P1", "acme", "2"]
    assert "2026-03-02 14:00 +00:00" in first
    assert "passed over for acme/1" in first
    assert "answered before acme/2" in second
    shown = command(played, "support", "show", "acme", "2")
    assert "OVERDUE: first response" in shown.out
    assert "[x] contact          Ada" in shown.out
    assert "[ ] identification   missing" in shown.out
    unknown = command(played, "support", "show", "acme", "9")
    assert (unknown.code, unknown.err) == (1, "no status of acme 9: nobody recorded anything of it\n")

    def told() -> list[str]:
        return [json.loads(message.value)["type"] for message in read(played, "support-breaches")]

    assert sorted(told()) == ["first_response_due_soon", "first_response_overdue"]
    # It was answered in time, and nobody had recorded it.
    say("respond", "acme", "2", "--at", "2026-03-02T13:50:00Z")
    played.until("the miss is withdrawn", lambda: "withdrawn" in told())
    assert command(played, "support", "list").code == 0

    say("severity", "acme", "2", "P2", "--reason", "one portal works", "--at", "2026-03-02T15:00:00Z")
    say("update", "acme", "2", "--at", "2026-03-02T15:10:00Z")
    say("temporary", "acme", "2", "--at", "2026-03-02T15:20:00Z")
    say("document", "acme", "2", "--description", "nobody gets in", "--at", "2026-03-02T15:30:00Z")
    say("resolve", "acme", "2", "--at", "2026-03-02T15:40:00Z")
    say("reopen", "acme", "2", "--at", "2026-03-02T15:50:00Z")
    say("not-covered", "acme", "2", "internet", "--at", "2026-03-02T16:00:00Z")
    played.until(
        "all is said", lambda: command(played, "support", "show", "acme", "2", "--json").json["state"] == "not_covered"
    )
    record = command(played, "support", "show", "acme", "2", "--json").json
    assert [step["type"] for step in record["history"]] == [
        "opened", "responded", "severity_changed", "updated", "temporary_resolution", "documented", "resolved", "reopened", "not_covered",
    ]  # fmt: skip
    assert [step["severity"] for step in record["history"]][2:6] == ["P2", "P2", "P3", "P3"]
    assert (record["not_covered"], record["missing"]) == ("internet", ["identification", "error_messages"])

    month = command(played, "support", "report", "2026-03", "--json")
    assert month.code == 0
    assert month.json["severities"]["P3"]["first_response"] == {"in_time": 1, "late": 0, "waiting": 0, "share": 1.0}
    [turn] = month.json["out_of_turn"]
    assert (turn["request"], [each["request"] for each in turn["ahead"]]) == ("1", ["2"])
    assert "P3        100.00%" in command(played, "support", "report", "2026-03").out
    wrong = command(played, "support", "report", "March")
    assert (wrong.code, wrong.err[:6]) == (2, "MONTH:")


def read(played: Played, name: str) -> list[Any]:
    return asyncio.run(records(played.settings, name))
