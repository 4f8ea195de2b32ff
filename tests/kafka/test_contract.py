"""A contract's month as people live it: played on a real Kafka with a real worker, decided on by command, stated, claimed for and verified."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from support.played import Played, ms

from monitor.counting import frame as frames
from monitor.stream import topics
from tests.tallied import tallies

AT = "2026-03-{day:02d}T12:00:00Z"

FINAL = """\
acme, 2026-03: final, as of {as_of}
from 2026-03-01 00:00 to 2026-04-01 00:00 Europe/London
terms standard-1, partner north; the agreed term ends on 2026-12-31

availability  98.412 % (3100 good, 50 bad)
verdict       99 % is missed; 95 % is kept
owed          3 days of term, if they are claimed in time
  affected    2026-03-10: 50 bad, claim by 2026-04-09 (before 2026-04-09T23:00:00Z)

portal  good  bad  unclassified  not counted
login   3100  50   0             50

the readings put the month in different bands; the one by requests is the contract's
reading   good  bad  availability  band       days
requests  3100  50   98.412 %      95 % kept  3
minutes   31    5    86.111 %      none kept  10
users     310   50   86.111 %      none kept  10

exclusion  state     category     from (UTC)        to                month with it     without it
m-7        approved  maintenance  2026-03-10 10:00  2026-03-10 10:05  98.412 %, 3 days  96.875 %, 3 days

"""


def words(text: str) -> list[str]:
    return text.split()


@pytest.fixture(scope="module")
def march(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """March of a tenant in London, played to 8 April: 100 requests at noon of each day; ten minutes of failures on the 10th, of which five
    are excluded afterwards, by command.
    """
    played = Played(kafka, "march.", tmp_path_factory.mktemp("march"))
    played.start()
    played.contract(
        "2026-02-20T09:00:00Z",
        tenant="acme", zone="Europe/London", partner="north", start="2026-01-01", end="2026-12-31",
    )  # fmt: skip
    played.requests("tick", "2026-02-20T09:00:30Z", 1)
    played.until("the contract is taken up", lambda: played.status("acme").get("zone") == "Europe/London")
    for day in range(1, 10):
        played.requests("acme", AT.format(day=day), 100)
    # No journal record is to hold both the outage and what February was stated from.
    played.until("February is final", lambda: '"final"' in played.run(*words("statement acme 2026-02 --json")).out)
    played.until("March so far is in the status", lambda: played.status("acme").get("good") == 900)
    for minute in range(10):
        played.requests("acme", f"2026-03-10T10:{minute:02d}:00Z", 0, 10)
    for day in range(10, 12):
        played.requests("acme", AT.format(day=day), 100)
    played.until("the outage is in the status", lambda: played.status("acme").get("bad") == 100)
    yield played
    played.close()


def test_a_month_goes_from_an_excluded_outage_to_an_extended_term_by_command(march: Played) -> None:
    assert march.run(*words("claim deadlines acme 2026-03")).out == (
        "2026-03-10  100 failed  claim by 2026-04-09, before 2026-04-09T23:00:00Z\n"
    )
    declared = march.run(
        *words(
            "exclude add m-7 --from 2026-03-10T10:00:00Z --to 2026-03-10T10:05:00Z --category maintenance --tenant acme"
            " --reason upgrade --reference CHG-7 --by grace --at 2026-03-11T12:30:00Z"
        )
    )
    assert (
        declared.out
        == (
            "m-7 declared: 2026-03-10 10:00 to 2026-03-10 10:05 UTC (5 minutes), tenants: acme, portals: all; "
            "it counts once approved: monitor exclude approve m-7 (march.exclusions-0+0)\n"
        )
        or "(march.exclusions-1+0)" in declared.out
    )
    approved = march.run(*words("exclude approve m-7 --by ada --at 2026-03-11T12:31:00Z"))
    assert (approved.code, approved.err) == (0, "")
    twice = march.run(*words("exclude approve m-7 --by ada --at 2026-03-11T12:32:00Z --json"))
    assert twice.code == 1
    assert twice.err == ("refused (already_approved): m-7 was approved at 2026-03-11T12:31:00Z; nothing was sent\n")
    assert twice.json["refused"]["reason"] == "already_approved"
    march.until("the exclusion is in the status", lambda: march.status("acme").get("excluded") == 50)
    so_far = march.status("acme")
    assert (so_far["good"], so_far["bad"]) == (1100, 50)

    interim = json.loads(march.run(*words("statement acme 2026-03 --json")).out)
    assert (interim["kind"], interim["counts"]["good"], interim["counts"]["bad"]) == ("interim", 1100, 50)

    for day in range(12, 32):
        march.requests("acme", AT.format(day=day), 100)
    march.requests("tick", "2026-04-01T12:00:00Z", 1)
    march.until(
        "the month is provisional", lambda: '"provisional"' in march.run(*words("statement acme 2026-03 --json")).out
    )
    march.requests("tick", "2026-04-08T09:00:00Z", 1)
    march.until("the month is final", lambda: '"final"' in march.run(*words("statement acme 2026-03 --json")).out)

    final = march.run(*words("statement acme 2026-03"))
    said = json.loads(march.run(*words("statement acme 2026-03 --json")).out)
    # Wednesday, Thursday and Tuesday: between them lies Easter, from Good Friday to Easter Monday.
    assert (said["final_from"], said["holidays"]) == ("2026-04-07T23:00:00Z", ["2026-04-03", "2026-04-06"])
    assert final.out.rpartition("sha256 ")[0] == FINAL.format(as_of=said["as_of"])
    earlier = march.run(*words("statement acme 2026-03 --as-of 2026-04-02T00:00:00Z --json"))
    assert json.loads(earlier.out)["kind"] == "provisional"
    none = march.run(*words("statement acme 2026-03 --as-of 2026-03-31T00:00:00Z"))
    assert none.code == 1
    assert "had been issued by 2026-03-31T00:00:00Z: the first was on 2026-04-01T12:" in none.err

    file = "claim file acme 2026-03 --by grace --attested --at 2026-04-08T09:01:00Z "
    for n, wrong, reason in (
        (1, "--partner south --date 2026-03-10", "wrong_partner): the partner is north, not south"),
        (
            2,
            "--partner north --date 2026-03-11",
            "unaffected_date): by 2026-04-08 no request that counts had failed on 2026-03-11",
        ),
    ):
        refused = march.run(*words(file + wrong))
        assert refused.code == 1
        assert refused.err.startswith(f"refused ({reason}; it is kept as acme/2026-03/claim-{n} (march.claims-")
    filed = march.run(*words(file + "--partner north --date 2026-03-10"))
    assert filed.out.startswith("claim acme/2026-03/claim-3 stands: 3 days, once they are confirmed (march.claims-")
    second = march.run(*words(file + "--partner north --date 2026-03-10"))
    assert second.err.startswith(
        "refused (second_claim): claim acme/2026-03/claim-3 was filed for 2026-03 before; it is kept as"
    )
    early = march.run(*words("claim apply acme 2026-03 --by bill --at 2026-04-08T09:02:00Z"))
    assert early.err.startswith("refused (wrong_state): the credit of 2026-03 is claimed: apply does not fit")
    assert march.run(*words("claim confirm acme 2026-03 --by ada --at 2026-04-08T09:02:00Z")).code == 0
    applied = march.run(*words("claim apply acme 2026-03 --by bill --at 2026-04-08T09:03:00Z"))
    assert applied.out.startswith("applied: 3 days, the term now ends on 2027-01-03 ")
    march.until("the credit is applied", lambda: "applied" in march.run(*words("claim list acme")).out)
    assert march.run(*words("claim list acme --month 2026-03")).out == (
        "acme 2026-03  applied  3 days, 3 applied\n"
        "  the term ends on 2026-12-31 without, 2027-01-03 with them\n"
        "  affected 2026-03-10: 50 failed, claim by 2026-04-09, before 2026-04-09T23:00:00Z\n"
        "  claim acme/2026-03/claim-1 by south for 2026-03-10 refused: the partner is north, not south\n"
        "  claim acme/2026-03/claim-2 by north for 2026-03-11 refused: "
        "by 2026-04-08 no request that counts had failed on 2026-03-11\n"
        "  claim acme/2026-03/claim-3 by north for 2026-03-10 stands\n"
        "  claim acme/2026-03/claim-4 by north for 2026-03-10 refused: "
        "claim acme/2026-03/claim-3 was filed for 2026-03 before\n"
    )
    [row] = march.run(*words("contract list acme --json")).json
    assert (row["end"], row["end_with_credits"], row["credit_days"]) == ("2026-12-31", "2027-01-03", 3)


def test_what_was_stated_verifies_after_amendments_and_a_crash(march: Played) -> None:
    march.kill()
    march.start()
    late = "--from 2026-03-10T10:05:00Z --to 2026-03-10T10:10:00Z --category internet --tenant acme --portal login"
    march.run(*words(f"exclude add i-1 {late} --reason dns --by grace --at 2026-04-08T10:00:00Z"))
    march.run(*words("exclude approve i-1 --by ada --at 2026-04-08T10:01:00Z"))
    march.until("the month is amended", lambda: "amendment 1" in march.run(*words("statement acme 2026-03")).out)
    verified = march.run("verify", "acme")
    assert verified.code == 0, verified
    assert verified.out.splitlines() == [
        "acme: 5 statements: the chain is whole",
        "11 decisions are as their topics have them",
        "recounted, equal  acme/2026-02/provisional",
        "recounted, equal  acme/2026-02/final",
        "recounted, equal  acme/2026-03/provisional",
        "recounted, equal  acme/2026-03/final",
        "recounted, equal  acme/2026-03/amendment-1",
    ]
    assert march.run("verify", "acme", "2026-03", "--json").json["difference"] is None
    assert march.run(*words("statement acme 2026-03 --as-of 2026-04-02T00:00:00Z --html march.html")).code == 0
    page = (march.folder / "march.html").read_text()
    assert "98.412 %" in page
    assert (
        json.loads(march.run(*words("statement acme 2026-03 --as-of 2026-04-02T00:00:00Z --json")).out)["kind"]
        == "provisional"
    )
    # What was applied stays applied, and is not asked for again.
    [credit] = march.run(*words("claim list acme --json")).json["credits"]
    assert (credit["state"], credit["days"], credit["applied_days"]) == ("applied", 3, 3)


Change = Callable[[Any], bytes | None]
"""The value that a copied record gets; `GONE` leaves the record out."""
GONE = b"\0gone"


def copied(of: Played, prefix: str, change: Change, folder: Path) -> Played:
    """The topics of a deployment under another prefix, record by record at the same offsets, changed on the way; no worker runs on them."""
    copy = Played(of.settings.kafka_bootstrap, prefix, folder)
    copy.environment["MONITOR_TOPIC_PREFIX"] = prefix
    consumer = Consumer({"bootstrap.servers": of.settings.kafka_bootstrap, "group.id": "copies"})
    producer = Producer({"bootstrap.servers": of.settings.kafka_bootstrap})
    for topic in topics.wanted(of.settings):
        parts = [TopicPartition(topic.name, number, 0) for number in range(2)]
        left = sum(consumer.get_watermark_offsets(part, timeout=20)[1] for part in parts)
        consumer.assign(parts)
        for _ in range(left):
            message = consumer.poll(20)
            assert message is not None
            assert message.error() is None
            value = change(message)
            if value != GONE:
                producer.produce(
                    prefix + topic.name.removeprefix(of.settings.topic_prefix), value, message.key(),
                    message.partition(), timestamp=message.timestamp()[1], headers=message.headers(),
                )  # fmt: skip
        assert producer.flush(20) == 0
    consumer.close()
    return copy


def test_a_journal_record_that_is_gone_is_named_by_the_count_that_it_held(march: Played, tmp_path: Path) -> None:
    failing = ms("2026-03-10T10:07:00Z") // 60_000

    def change(message: Any) -> bytes | None:
        if message.topic().endswith(".journal"):
            minutes = tallies(frames.decode(message.value())).get("acme", {}).get("login", frames.Tally()).minutes
            if failing in minutes:
                return None
        return bytes(message.value()) if message.value() is not None else None

    found = copied(march, "short.", change, tmp_path).run("verify", "acme", "--json")
    assert found.code == 1
    assert found.json["difference"]["statement"] == "acme/2026-03/provisional"
    assert found.err.startswith("differs: acme/2026-03/provisional: $.affected")


def test_an_altered_statement_is_named_even_when_its_sums_agree_and_nothing_follows_it(
    march: Played, tmp_path: Path
) -> None:
    def change(message: Any) -> bytes | None:
        if message.key() == b"acme/2026-03/amendment-1":
            said = json.loads(message.value())
            said["counts"]["good"] += 7
            said["counts"]["counted"]["success"] += 7
            said["portals"]["login"]["counted"]["success"] += 7
            return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return bytes(message.value()) if message.value() is not None else None

    found = copied(march, "altered.", change, tmp_path).run("verify", "acme")
    assert (found.code, found.err) == (
        1,
        "differs: acme/2026-03/amendment-1: $.counts.counted.success: expected 3100, found 3107\n",
    )


def test_a_second_record_under_a_statements_name_is_found(march: Played, tmp_path: Path) -> None:
    copy = copied(march, "twin.", lambda message: message.value(), tmp_path)
    assert copy.run("verify", "acme").code == 0
    said = json.loads(copy.run(*words("statement acme 2026-03 --as-of 2026-04-08T09:00:30Z --json")).out)
    said["days"] = 10
    partition = topics.place("acme", 2)
    copy.produce("statements", "acme/2026-03/final", json.dumps(said).encode(), "2026-04-09T00:00:00Z", partition)
    found = copy.run("verify", "acme")
    assert found.code == 1
    assert found.err.startswith("differs: acme/2026-03/final stands twice, at ")
    assert found.err.endswith("$.days: expected 3, found 10\n")


def test_a_statement_that_was_taken_away_and_a_decision_that_was_changed_are_named(
    march: Played, tmp_path: Path
) -> None:
    def without_the_last(message: Any) -> bytes | None:
        return GONE if message.key() == b"acme/2026-03/amendment-1" else message.value()

    found = copied(march, "cut.", without_the_last, tmp_path).run("verify", "acme")
    assert found.code == 1
    assert found.err.startswith("differs: 2026-03 amendment, statement 4 of the chain: the hash that the workers know")

    def another_window(message: Any) -> bytes | None:
        if message.topic().endswith(".exclusions"):
            return bytes(message.value()).replace(b"10:05:00Z", b"10:04:00Z")
        return bytes(message.value()) if message.value() is not None else None

    found = copied(march, "window.", another_window, tmp_path).run("verify", "acme")
    assert found.code == 1
    assert found.err.startswith("differs: window.exclusions-")
    assert "the decision that the workers hold" in found.err


def test_what_the_journal_does_not_hold_any_more_is_said_not_passed(march: Played, tmp_path: Path) -> None:
    copy = copied(march, "old.", lambda message: message.value(), tmp_path)
    said = json.loads(copy.run(*words("statement acme 2026-03 --json")).out)
    [counted_from] = said["evidence"]["journal"]
    gone = TopicPartition(copy.settings.topic("journal"), counted_from["partition"], counted_from["from"] + 1)
    admin = AdminClient({"bootstrap.servers": copy.settings.kafka_bootstrap})
    admin.delete_records([gone])[gone].result(20)
    found = copy.run("verify", "acme")
    assert found.code == 0, found
    assert [line for line in found.out.splitlines() if "recounted" in line] == [
        f"not recounted     acme/{name}: the journal that it was counted from is not retained any more"
        for name in (
            "2026-02/provisional",
            "2026-02/final",
            "2026-03/provisional",
            "2026-03/final",
            "2026-03/amendment-1",
        )
    ]
