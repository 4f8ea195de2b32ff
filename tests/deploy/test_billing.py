"""The sample of billing on a real Kafka: killed at random and made to read everything again, it extends each licence once."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from monitor.contract.credits import Credit

BILLING = Path(__file__).parents[2] / "deploy" / "examples" / "billing.py"
TERM_END = date(2026, 12, 31)
PARTITIONS = 3


def story(tenant: str, month: str, rng: random.Random) -> list[Credit]:
    """The versions of one credit, as the monitor says them: held, offered, claimed, confirmed, perhaps applied, raised, refused."""
    days = rng.choice([3, 5])
    told = [
        Credit(tenant, month, "offered", 1, days),
        Credit(tenant, month, "claimed", 2, days),
        Credit(tenant, month, rng.choice(["confirmed", "refused"]), 3, days),
    ]
    if told[-1].state == "confirmed":
        told.append(Credit(tenant, month, "confirmed", 4, days, reason="the end of the term has changed"))
    if told[-1].state == "confirmed" and rng.random() < 0.7:
        told.append(Credit(tenant, month, "applied", 5, days, days))
        if rng.random() < 0.5:
            told += [Credit(tenant, month, "confirmed", 6, 10, days), Credit(tenant, month, "applied", 7, 10, 10)]
    return told


def owed(told: list[Credit]) -> int:
    """The days that a story gives in the end."""
    return max((credit.days for credit in told if credit.state in ("confirmed", "applied")), default=0)


def produce(kafka: str, topic: str, told: list[Credit], rng: random.Random) -> int:
    """Send the versions, many twice and some long after; how many records that is."""
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    records = []
    for credit in told:
        records += [credit] * rng.choice([1, 1, 2])
    records += rng.sample(told, len(told) // 4)
    producer = Producer({"bootstrap.servers": kafka})
    for credit in records:
        producer.produce(topic, json.dumps(credit.record()), f"{credit.tenant}/{credit.month}")
    assert producer.flush(30) == 0
    return len(records)


@contextmanager
def billing(kafka: str, database: Path, topic: str) -> Iterator[subprocess.Popen[bytes]]:
    """The sample as a process; killed at the end."""
    with subprocess.Popen([sys.executable, BILLING, kafka, database, topic], stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def taken(database: Path) -> int:
    """Records taken in, over all partitions."""
    with closing(sqlite3.connect(database, timeout=30)) as db:
        try:
            return int(db.execute("select coalesce(sum(following), 0) from position").fetchone()[0])
        except sqlite3.OperationalError:  # not made yet
            return 0


def run_until(kafka: str, database: Path, topic: str, records: int) -> None:
    """Run the sample until it has taken in so many records, and kill it."""
    with billing(kafka, database, topic) as process:
        deadline = time.monotonic() + 60
        while taken(database) < records:
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline, f"{taken(database)} of {records} records after a minute"
            time.sleep(0.01)


def table(database: Path, query: str) -> dict[object, object]:
    with closing(sqlite3.connect(database, timeout=30)) as db:
        return dict(db.execute(query))


def licences(database: Path, tenants: list[str]) -> None:
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("create table licence(tenant text primary key, term_end text not null)")
        db.executemany("insert into licence values (?, ?)", [(tenant, TERM_END.isoformat()) for tenant in tenants])


@pytest.mark.parametrize("seed", [random.randrange(1 << 32)])
def test_each_licence_is_extended_once_however_often_billing_is_killed_and_reads_again(kafka, unique, tmp_path, seed):
    rng = random.Random(seed)
    tenants, database, topic = [f"tenant-{n}" for n in range(40)], tmp_path / "billing.db", f"{unique}.credits"
    stories = {
        (tenant, month): story(tenant, month, rng) for tenant in tenants for month in ("2026-09", "2026-10", "2026-11")
    }
    records = produce(kafka, topic, [credit for told in stories.values() for credit in told], rng)
    licences(database, tenants)
    expected = {
        tenant: (
            TERM_END + timedelta(sum(owed(told) for (name, _), told in stories.items() if name == tenant))
        ).isoformat()
        for tenant in tenants
    }
    for _ in range(3):  # from the beginning each time
        for kill in sorted(rng.sample(range(1, records), 4)):
            run_until(kafka, database, topic, kill)
            given = table(database, "select tenant, sum(days) from credit group by tenant")
            ends = table(database, "select tenant, term_end from licence")
            assert ends == {name: (TERM_END + timedelta(int(given.get(name, 0)))).isoformat() for name in tenants}
        run_until(kafka, database, topic, records)
        assert table(database, "select tenant, term_end from licence") == expected
        with closing(sqlite3.connect(database)) as db, db:
            db.execute("delete from position")


def test_a_credit_without_a_licence_stops_billing_and_is_taken_once_the_licence_is_there(kafka, unique, tmp_path):
    database, topic = tmp_path / "billing.db", f"{unique}.credits"
    told = [Credit("acme", "2026-10", "confirmed", 3, 5)]
    produce(kafka, topic, told, random.Random(0))
    with billing(kafka, database, topic) as process:
        assert process.wait(60) == 1
        assert b"expected a licence of acme to extend, found none" in process.stderr.read()
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("insert into licence values ('acme', '2026-12-31')")
    run_until(kafka, database, topic, 1)
    assert table(database, "select tenant, term_end from licence") == {"acme": "2027-01-05"}


def test_the_sample_stays_a_sample():
    assert len(BILLING.read_text().splitlines()) <= 40
