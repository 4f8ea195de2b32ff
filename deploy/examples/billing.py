"""Extends licences by the monitor's credits, each exactly once: billing.py BOOTSTRAP DATABASE [TOPIC]

What a credit gives, its version and the offset after it are one SQLite transaction: a crash at any instant changes nothing, nor
does reading it all again (`delete from position`). Days that were given are told to the monitor with `monitor claim apply`.
"""

import json
import sqlite3
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

bootstrap, database, topic = (*sys.argv[1:], "credits")[:3]
db = sqlite3.connect(database, isolation_level=None)
db.executescript("""create table if not exists licence(tenant text primary key, term_end text not null);
create table if not exists credit(tenant text, month text, version integer, days integer, primary key(tenant, month));
create table if not exists position(topic text, part integer, following integer, primary key(topic, part));""")
start = dict(db.execute("select part, following from position where topic = ?", (topic,)))
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "billing", "enable.auto.commit": False})
parts = consumer.list_topics(topic, timeout=30).topics[topic].partitions
consumer.assign([TopicPartition(topic, part, start.get(part, OFFSET_BEGINNING)) for part in parts])
while True:
    if (message := consumer.poll(1)) is None:
        continue
    if message.error():
        raise KafkaException(message.error())
    credit = json.loads(message.value())
    key = credit["tenant"], credit["month"]
    with db:
        db.execute("begin immediate")
        found = db.execute("select version, days from credit where tenant = ? and month = ?", key)
        version, given = found.fetchone() or (0, 0)
        if credit["version"] > version:  # an older one, or the same again, says nothing new
            days = max(given, credit["days"]) if credit["state"] in ("confirmed", "applied") else given
            extend = "update licence set term_end = date(term_end, ?) where tenant = ?"
            if days > given and db.execute(extend, (f"+{days - given} days", key[0])).rowcount != 1:
                raise SystemExit(f"expected a licence of {key[0]} to extend, found none: add it and start again")
            db.execute("replace into credit values (?, ?, ?, ?)", (*key, credit["version"], days))
        db.execute("replace into position values (?, ?, ?)", (topic, message.partition(), message.offset() + 1))
