"""The topics: what each is for, and how it is kept. Making them and asking the broker about them; nothing else is done here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, for_code
from aiokafka.partitioner import murmur2

from monitor.settings import Settings

DAY_MS = 86_400_000
LARGE = str(16 << 20)
KEPT = {"retention.ms": "-1"}
DECISIONS = {name: name for name in ("contracts", "exclusions", "decisions", "claims", "support-requests")}
"""Topics of people's decisions, and the kind that each carries."""


class Unreachable(Exception):
    """No broker answers at an address."""


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


async def start(client: AIOKafkaAdminClient | AIOKafkaConsumer | AIOKafkaProducer, bootstrap: str) -> None:
    """Start a client of the broker at `bootstrap`. Raises Unreachable; the client is to be closed even so."""
    log = logging.getLogger("aiokafka")
    level = log.level
    # What it says of a broker that does not answer, we say ourselves, once.
    log.setLevel(logging.CRITICAL)
    try:
        await client.start()
    except KafkaConnectionError:
        raise Unreachable(
            f"no Kafka at {bootstrap}: `monitor local up` starts one, MONITOR_KAFKA_BOOTSTRAP names another"
        ) from None
    finally:
        log.setLevel(level)


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[tuple[AIOKafkaAdminClient, dict[str, int]]]:
    """A client, and how many partitions each topic of the broker has."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await start(admin, settings.kafka_bootstrap)
        yield admin, {d["topic"]: len(d["partitions"]) for d in await admin.describe_topics(await admin.list_topics())}
    finally:
        await admin.close()


@dataclass(frozen=True, slots=True)
class Step:
    """What `apply` does about a topic, or would do.

    `action` is make, alter, keep (it differs, and nobody is hurt) or misfit (a person must act).
    """

    action: str
    topic: str
    said: str


async def apply(settings: Settings, *, dry_run: bool = False, for_ever: bool = False) -> list[Step]:
    """Make the topics that are missing and bring ours to the configuration that is wanted; with `dry_run` only say so.

    Sources belong to whoever fills them: one that is there stays as it is. Of ours nothing is kept for a shorter time than before. The number
    of partitions is that of the journal, and cannot be changed. `for_ever`: what is made is not deleted by age, as recorded requests are old
    when they come. Raises Unreachable, and MissingTopics when the broker refuses.
    """
    async with _admin(settings) as (admin, found):
        journal = settings.topic("journal")
        n = found.get(journal, settings.partitions)
        topics = wanted(replace(settings, partitions=n))
        missing = [topic for topic in topics if topic.name not in found]
        steps = [Step("make", t.name, f"{t.partitions} partitions, {t.purpose}") for t in missing]
        if n != settings.partitions:
            steps.append(Step("misfit", journal, _MISFIT.format(n=n, asked=settings.partitions)))
        steps += [
            Step("misfit", name, _UNLIKE.format(n=n, found=found[name]))
            for name in _alike(settings)
            if found.get(name, n) != n
        ]
        changes = [step async for step in _changes(admin, settings, [t for t in topics if t.name in found])]
        if missing and not dry_run:
            answer = await admin.create_topics(
                [
                    NewTopic(
                        t.name,
                        t.partitions,
                        settings.replicas,
                        topic_configs={**t.config, **(KEPT if for_ever else {})},
                    )
                    for t in missing
                ]
            )
            for name, code, *_ in answer.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise MissingTopics(f"{name} could not be made: {for_code(code).__name__}")
            await _led(settings, admin, [topic.name for topic in missing])
        altered = {step.topic: config for step, config in changes if config}
        for name, config in altered.items() if not dry_run else ():
            await _configure(admin, name, config)
            await _configured(admin, name, config)
        return steps + [step for step, _ in changes]


_MISFIT = (
    "expected {asked} partitions (MONITOR_PARTITIONS), found {n}, and a tenant's partition cannot change: set MONITOR_PARTITIONS to {n}, or "
    "MONITOR_TOPIC_PREFIX to begin anew under other names"
)
_UNLIKE = (
    "expected {n} partitions as the journal has, found {found}: no worker runs on that. Delete it when it holds nothing that is needed and "
    "apply again, or set MONITOR_TOPIC_PREFIX to begin anew under other names"
)
_LIMITS = ("retention.ms", "max.message.bytes")
"""Configurations that are only ever raised: a smaller one would lose records."""


def _alike(settings: Settings) -> list[str]:
    """Topics that have as many partitions as the journal, so that one worker has all of a tenant."""
    ours = ("status", "breaches", "statements", "credits", "support-status", "support-breaches")
    return [*map(settings.topic, ours), changelog(settings)]


async def remove(settings: Settings) -> None:
    """Delete all topics under the settings' prefix, which must not be empty (ValueError). Raises Unreachable."""
    if not settings.topic_prefix:
        raise ValueError("expected a topic prefix: topics without one are not removed")
    async with _admin(settings) as (admin, found):
        await admin.delete_topics([name for name in found if name.startswith(settings.topic_prefix)])


async def _led(settings: Settings, admin: AIOKafkaAdminClient, names: list[str]) -> None:
    """Wait until the leader of each partition answers as one, so that whoever produces next does not have to try again."""
    for _ in range(100):
        described = await admin.describe_topics(names)
        # A broker that has not heard of a topic yet says so, and names no partitions.
        if all(d["error_code"] == 0 and all(p["leader"] >= 0 for p in d["partitions"]) for d in described):
            break
        await asyncio.sleep(0.1)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        # A broker knows who leads before it leads; this asks again until it does.
        await consumer.end_offsets(
            [TopicPartition(d["topic"], p["partition"]) for d in described for p in d["partitions"]]
        )
    finally:
        await consumer.stop()


async def _changes(
    admin: AIOKafkaAdminClient, settings: Settings, topics: Iterable[Topic]
) -> AsyncIterator[tuple[Step, dict[str, str]]]:
    """What differs in each topic, and its whole configuration as it should be; empty when the topic stays as it is."""
    for topic in topics:
        found, own = await _described(admin, topic.name)
        for key, value in topic.config.items():
            if found[key] == value:
                continue
            if topic.name in settings.source_topics or (key in _LIMITS and _limit(found[key]) > _limit(value)):
                yield Step("keep", topic.name, f"{key} is {found[key]}, made anew it would be {value}"), {}
            else:
                own[key] = value
                yield Step("alter", topic.name, f"{key} from {found[key]} to {value}"), own


async def _described(admin: AIOKafkaAdminClient, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """A topic's configuration, and what of it was set for this topic."""
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    # name, value, read only, source, ...
    entries = [entry for answer in answers for resource in answer.resources for entry in resource[4]]
    return {e[0]: e[1] for e in entries}, {e[0]: e[1] for e in entries if e[3] == _OF_THE_TOPIC}


_OF_THE_TOPIC = 1
"""A configuration's source in the protocol: set for this topic, not the broker's default."""


def _limit(value: str) -> float:
    return float("inf") if value == "-1" else float(value)


async def _configure(admin: AIOKafkaAdminClient, name: str, config: dict[str, str]) -> None:
    """Replace a topic's configuration: the client cannot change one entry alone. Raises MissingTopics when the broker refuses."""
    for answer in await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, config)]):
        for code, message, *_ in answer.resources:
            if code:
                raise MissingTopics(f"{name} could not be altered: {for_code(code).__name__} {message or ''}")


async def _configured(admin: AIOKafkaAdminClient, name: str, config: Mapping[str, str]) -> None:
    """Wait until the broker that is asked has heard of it."""
    for _ in range(100):
        if (await _described(admin, name))[1] == config:
            return
        await asyncio.sleep(0.1)


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
    unlike = [f"{name} has {found[name]}" for name in _alike(settings) if found[name] != journal]
    if unlike:
        raise MissingTopics(f"expected as many partitions as the journal's {journal}: {', '.join(unlike)}")
    return found
