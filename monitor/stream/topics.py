"""The topics: what each is for, and how it is kept. Making them and asking the broker about them; nothing else is done here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, for_code
from aiokafka.partitioner import murmur2

from monitor.settings import Settings

DAY_MS = 86_400_000
LARGE = str(16 << 20)
DECISIONS = {name: name for name in ("contracts", "exclusions", "decisions", "claims", "support-requests")}
"""Topics of people's decisions, and the kind that each carries."""


class Unreachable(Exception):
    """No broker answers at the address in the settings."""


class MissingTopics(Exception):
    """Topics that a worker needs are not there, or do not fit each other."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be: its full name, partitions, and the broker's settings for it."""

    name: str
    partitions: int
    config: Mapping[str, str]
    purpose: str


def place(key: str, partitions: int) -> int:
    """The partition of a key, as Kafka's clients place it."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def changelog(settings: Settings) -> str:
    """The name of the table's changelog, as Faust makes it."""
    return f"{settings.topic_prefix}{settings.group}-ledger-changelog"


def wanted(settings: Settings) -> list[Topic]:
    """All topics of a deployment. All but the sources have as many partitions as the journal, so a worker has all of a tenant."""
    n = settings.partitions
    deleted = {"cleanup.policy": "delete"}
    compacted = {"cleanup.policy": "compact"}
    # People's decisions are never edited, only added to: none of them may go.
    kept = {"cleanup.policy": "delete", "retention.ms": "-1"}
    topics = [
        Topic(name, n, {**deleted, "retention.ms": str(7 * DAY_MS)}, f"auth requests, {form} records")
        for name, form in settings.source_topics.items()
    ]
    ours = [
        (
            "auth-requests.rejected",
            {**deleted, "retention.ms": str(90 * DAY_MS), "max.message.bytes": LARGE},
            "records that were refused",
        ),
        (
            "journal",
            {**deleted, "retention.ms": str(90 * DAY_MS), "max.message.bytes": LARGE},
            "frames: what was counted",
        ),
        ("contracts", kept, "who is promised what"),
        ("exclusions", kept, "what does not count: declared, corrected, approved, revoked"),
        ("decisions", kept, "what people ruled where counts cannot tell"),
        ("claims", kept, "claims for credits, and decisions about them"),
        ("support-requests", kept, "what happened to support requests"),
        ("status", compacted, "each tenant's month so far"),
        ("breaches", {**deleted, "retention.ms": str(400 * DAY_MS)}, "verdicts and notices"),
        ("statements", {**compacted, "max.message.bytes": LARGE}, "each month's statements, every version"),
        ("credits", kept, "what is owed, claimed and applied"),
        ("support-status", compacted, "where each support request stands"),
        ("support-breaches", {**deleted, "retention.ms": str(400 * DAY_MS)}, "due times that come near or have passed"),
    ]
    topics += [Topic(settings.topic(name), n, config, purpose) for name, config, purpose in ours]
    topics.append(Topic(changelog(settings), n, {**compacted, "max.message.bytes": LARGE}, "the workers' table"))
    return topics


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[tuple[AIOKafkaAdminClient, dict[str, int]]]:
    """A client, and how many partitions each topic of the broker has."""
    # What it says of a broker that does not answer, we say ourselves, once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await admin.start()
    except KafkaConnectionError as error:
        await admin.close()
        raise Unreachable(f"no Kafka at {settings.kafka_bootstrap}: {error}") from None
    finally:
        logging.getLogger("aiokafka").setLevel(logging.NOTSET)
    try:
        yield admin, {d["topic"]: len(d["partitions"]) for d in await admin.describe_topics(await admin.list_topics())}
    finally:
        await admin.close()


async def apply(settings: Settings, *, dry_run: bool = False) -> list[str]:
    """Make the topics that are missing; a line for each that was made, is kept otherwise than wanted, or does not fit ("misfit").

    Raises Unreachable, and MissingTopics when one cannot be made.
    """
    async with _admin(settings) as (admin, found):
        said = []
        missing = []
        for topic in wanted(settings):
            if topic.name not in found:
                missing.append(topic)
                said.append(
                    f"{'would make' if dry_run else 'made'} {topic.name}: {topic.partitions} partitions, {topic.purpose}"
                )
            elif found[topic.name] != topic.partitions and topic.name not in settings.source_topics:
                said.append(
                    f"misfit {topic.name}: expected {topic.partitions} partitions, found {found[topic.name]}; set MONITOR_PARTITIONS to "
                    "that, or MONITOR_TOPIC_PREFIX to begin anew under other names"
                )
        if missing and not dry_run:
            answer = await admin.create_topics(
                [NewTopic(t.name, t.partitions, settings.replicas, topic_configs=dict(t.config)) for t in missing]
            )
            for name, code, *_ in answer.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise MissingTopics(f"{name} could not be made: {for_code(code).__name__}")
        if missing and not dry_run:
            await _led(admin, [topic.name for topic in missing])
        said += await _unlike(admin, [t for t in wanted(settings) if t.name in found])
        return said


async def remove(settings: Settings) -> None:
    """Delete all topics under the settings' prefix, which must not be empty (ValueError). Raises Unreachable."""
    if not settings.topic_prefix:
        raise ValueError("expected a topic prefix: topics without one are not removed")
    async with _admin(settings) as (admin, found):
        await admin.delete_topics([name for name in found if name.startswith(settings.topic_prefix)])


async def _led(admin: AIOKafkaAdminClient, names: list[str]) -> None:
    """Wait until each partition has a leader, so that whoever produces next does not have to try again."""
    for _ in range(100):
        if all(
            p["error_code"] == 0 and p["leader"] >= 0
            for d in await admin.describe_topics(names)
            for p in d["partitions"]
        ):
            return
        await asyncio.sleep(0.1)


async def _unlike(admin: AIOKafkaAdminClient, topics: Iterable[Topic]) -> list[str]:
    said = []
    for topic in topics:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
        found = {entry[0]: entry[1] for answer in answers for resource in answer.resources for entry in resource[4]}
        said += [
            f"left as it is {topic.name}: {key} is {found[key]}, made anew it would be {value}"
            for key, value in topic.config.items()
            if key in found and found[key] != value
        ]
    return said


async def partitions(settings: Settings) -> dict[str, int]:
    """How many partitions each topic has that a worker needs. Raises Unreachable, MissingTopics."""
    names = [topic.name for topic in wanted(settings)]
    async with _admin(settings) as (_, there):
        absent = [name for name in names if name not in there]
        if absent:
            raise MissingTopics(
                f"{', '.join(absent)}: not on {settings.kafka_bootstrap}; `monitor topics apply` makes them"
            )
        found = {name: there[name] for name in names}
    journal = found[settings.topic("journal")]
    ours = ("status", "breaches", "statements", "credits", "support-status", "support-breaches")
    alike = [*map(settings.topic, ours), changelog(settings)]
    unlike = [f"{name} has {found[name]}" for name in alike if found[name] != journal]
    if unlike:
        raise MissingTopics(f"expected as many partitions as the journal's {journal}: {', '.join(unlike)}")
    return found
