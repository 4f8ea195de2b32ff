from __future__ import annotations

import json
from pathlib import Path

import psutil
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from monitor.cli.local import app
from monitor.local.stack import Stack


def make(kafka: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)


def write(kafka: str, topic: str, value: bytes) -> None:
    refused: list[object] = []
    producer = Producer({"bootstrap.servers": kafka, "message.max.bytes": 20_000_000})
    producer.produce(topic, value, on_delivery=lambda error, _: refused.append(error) if error else None)
    assert (producer.flush(30), refused) == (0, [])


def first(kafka: str, topic: str) -> bytes:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "reader", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def test_what_is_written_is_read(kafka: str, unique: str) -> None:
    make(kafka, unique)
    write(kafka, unique, b"a request")
    assert first(kafka, unique) == b"a request"


def test_a_record_of_sixteen_megabytes_passes(kafka: str, unique: str) -> None:
    make(kafka, unique)
    write(kafka, unique, b"x" * 16_000_000)
    assert len(first(kafka, unique)) == 16_000_000


def test_a_topic_that_nobody_made_does_not_come_into_being(kafka: str, unique: str) -> None:
    producer = Producer({"bootstrap.servers": kafka, "topic.metadata.propagation.max.ms": 100})
    refused: list[KafkaError | None] = []
    producer.produce(unique, b"lost", on_delivery=lambda error, _: refused.append(error))
    assert producer.flush(30) == 0
    assert [error and error.name() for error in refused] == ["UNKNOWN_TOPIC_OR_PART"]


def test_a_killed_broker_is_reported_with_the_end_of_its_log_and_comes_back_with_its_records(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        [broker] = stack.up(["kafka"])
        make(broker.address, "kept")
        write(broker.address, "kept", b"before the kill")
        process = psutil.Process(broker.pid)
        process.kill()
        process.wait(30)

        result = CliRunner().invoke(app, ["status", "--dir", str(tmp_path), "--json"])
        dead = next(each for each in json.loads(result.stdout) if each["name"] == "kafka")
        assert (result.exit_code, dead["state"], dead["pid"]) == (1, "dead", None)
        assert "Kafka Server started" in dead["said"]

        [again] = stack.up(["kafka"])
        assert (again.state, again.address) == ("running", broker.address)
        assert first(again.address, "kept") == b"before the kill"
    finally:
        stack.down()
