"""Records for topics: CloudEvents 1.0 in Kafka's binary mode (attributes in `ce_` headers, the data as the value), with deterministic ids."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson

from monitor.contract.support import SUPPORT_BREACHES
from monitor.counting.request import Rejected
from monitor.engine.state import Announcement

SOURCE = "/monitor"
TYPE = "sla.monitor."
TOPICS = MappingProxyType(
    {"statement": "statements", "credit": "credits"} | dict.fromkeys(SUPPORT_BREACHES, "support-breaches")
)
"""By kind of announcement, where it goes; the rest are `breaches`."""
MOST_BYTES = 900_000
"""A refused record is kept whole up to here; Kafka's own limit is about a megabyte with its headers."""

Header = tuple[str, bytes]
Record = tuple[bytes | None, bytes | None, list[Header]]


class CloudEvents:
    """The outlets of a worker's stream."""

    def status(self, record: Mapping[str, Any]) -> Record:
        """The `status` record of a tenant. Its id is the tenant and the stamp: the same state has the same id."""
        tenant = record["tenant"]
        headers = _headers(f"{tenant}/{record['stamp']}", "status", tenant, record["as_of"])
        return tenant.encode(), orjson.dumps(record), headers

    def support_status(self, record: Mapping[str, Any]) -> Record:
        """The `support-status` record of a request, under the tenant and its name."""
        tenant, key = record["tenant"], f"{record['tenant']}/{record['request']}"
        headers = _headers(f"{key}/{record['stamp']}", "support_status", tenant, record["as_of"])
        return key.encode(), orjson.dumps(record), headers

    def topic(self, kind: str) -> str:
        """The topic of what is announced."""
        return TOPICS.get(kind, "breaches")

    def announcement(self, made: Announcement) -> Record:
        """A record of what the engine announces. `made.id` is deterministic; it is the key too where all versions are kept."""
        at = datetime.fromtimestamp(made.at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        key = made.id if made.kind == "statement" else made.tenant
        return key.encode(), made.data, _headers(made.id, made.kind, made.tenant, at)

    def rejected(self, topic: str, partition: int, offset: int, value: bytes | None, error: Rejected) -> Record:
        """The raw bytes of a refused record; why and where it stood in the headers, and in its key."""
        headers = [
            ("reason", str(error.reason).encode()),
            ("place", error.place.encode()),
            ("error", str(error).encode("utf-8", "replace")),
            ("topic", topic.encode()),
            ("partition", b"%d" % partition),
            ("offset", b"%d" % offset),
        ]
        kept = value
        if value is not None and len(value) > MOST_BYTES:
            kept = value[:MOST_BYTES]
            headers.append(("cut-from-bytes", b"%d" % len(value)))
        return f"{topic}-{partition}+{offset}".encode(), kept, headers


def _headers(identity: str, kind: str, tenant: str, time: str) -> list[Header]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_source", SOURCE.encode()),
        ("ce_type", (TYPE + kind).encode()),
        ("ce_subject", tenant.encode()),
        ("ce_time", time.encode()),
        ("content-type", b"application/json"),
    ]
