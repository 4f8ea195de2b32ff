"""The private names of Faust 0.15.3 and aiokafka 0.14.0 that monitor/stream leans on: an upgrade that drops one fails here and says which."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path

import faust
import mode
import pytest
from aiokafka import AIOKafkaConsumer, conn
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import Fetcher, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.tables.recovery import Recovery
from faust.transport.drivers import aiokafka as driver

STREAM = Path(__file__).parents[2] / "monitor" / "stream"

CALLED_OR_REPLACED: tuple[tuple[type, str], ...] = (
    (faust.App, "_new_transport"),
    (faust.Table, "_new_store"),
    (driver.Consumer, "_new_consumer_thread"),
    (driver.Consumer, "_drain_messages"),
    (driver.Consumer, "_wait_next_records"),
    (driver.Consumer, "_to_message"),
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer"),
    (driver.Producer, "_settings_extra"),
    (PartitionRecords, "_unpack_records"),
    (PartitionRecords, "_consume_aborted_up_to"),
    (PartitionRecords, "_contains_abort_marker"),
    (GroupCoordinator, "_do_commit_offsets"),
    (Fetcher, "_proc_fetch_request"),
)
SET_ON_INSTANCES: tuple[tuple[type, str], ...] = (
    (mode.Service, "_stopped"),
    (driver.Consumer, "_thread"),
    (driver.Consumer, "_read_offset"),
    (driver.Consumer, "_committed_offset"),
    (driver.Consumer, "_buffered_partitions"),
    (driver.AIOKafkaConsumerThread, "_consumer"),
    (driver.Producer, "_producer"),
    (AIOKafkaConsumer, "_subscription"),
    (AIOKafkaConsumer, "_fetcher"),
    (AIOKafkaConsumer, "_coordinator"),
    (AIOKafkaConsumer, "_isolation_level"),
    (Fetcher, "_prefetch_backoff"),
    (Fetcher, "_fetch_min_bytes"),
    (Fetcher, "_fetch_max_wait_ms"),
    (GroupCoordinator, "_coordination_task"),
    (GroupCoordinator, "_pending_exception"),
    (PartitionRecords, "_tp"),
    (PartitionRecords, "_records"),
    (PartitionRecords, "_check_crcs"),
    (PartitionRecords, "_isolation_level"),
    (PartitionRecords, "_aborted_producers"),
)
UNDOCUMENTED: tuple[tuple[type, str], ...] = (
    (driver.Consumer, "perform_seek"),
    (driver.Consumer, "flow_active"),
    (driver.Consumer, "wait_first"),
    (Fetcher, "seek_to"),
    (GroupCoordinator, "fetch_committed_offsets"),
    (GroupCoordinator, "ensure_coordinator_known"),
    (Recovery, "revoke"),
)
"""Without an underscore, but on objects that are only reached through one, or not in any manual."""


def assigned(owner: type) -> set[str]:
    """The attributes that a class and its bases set on self."""
    found = set()
    for each in owner.__mro__:
        if each is object or not inspect.isclass(each):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
        except (OSError, TypeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
    return found


@pytest.mark.parametrize(("owner", "name"), CALLED_OR_REPLACED + UNDOCUMENTED)
def test_a_private_method_is_still_there(owner: type, name: str) -> None:
    assert hasattr(owner, name), f"{owner.__module__}.{owner.__name__} has lost {name}, which monitor/stream needs"


@pytest.mark.parametrize(("owner", "name"), SET_ON_INSTANCES)
def test_a_private_attribute_is_still_set(owner: type, name: str) -> None:
    assert name in assigned(owner), (
        f"{owner.__module__}.{owner.__name__} no longer sets {name}, which monitor/stream needs"
    )


def test_no_private_name_is_used_that_is_not_listed_here() -> None:
    listed = {name for _, name in CALLED_OR_REPLACED + SET_ON_INSTANCES}
    used, ours = set(), set()
    for path in STREAM.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        ours |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                if isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self":
                    ours.add(node.attr)
                used.add(node.attr)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
                used |= {
                    each.value
                    for each in node.args
                    if isinstance(each, ast.Constant) and str(each.value).startswith("_")
                }
    assert used - ours - {"_exit"} <= listed, f"used but not listed: {used - ours - listed}"
    assert listed <= used | ours, f"listed but not used: {listed - used - ours}"


def test_the_fetcher_unpacks_with_the_class_that_the_module_names() -> None:
    source = inspect.getsource(Fetcher)
    assert "PartitionRecords(" in source, "aiokafka's Fetcher no longer looks PartitionRecords up in its module"
    assert "MemoryRecords(" in source, "aiokafka's Fetcher no longer looks MemoryRecords up in its module"
    assert fetcher.READ_COMMITTED == 1


def test_a_connection_reads_as_far_ahead_as_its_module_says() -> None:
    source = inspect.getsource(conn.AIOKafkaConnection.connect)
    assert "limit=READER_LIMIT" in source, "aiokafka's connections no longer look READER_LIMIT up in their module"


def test_a_consumer_hands_its_isolation_level_to_the_fetcher_when_it_starts() -> None:
    source = inspect.getsource(AIOKafkaConsumer.start)
    assert "self._isolation_level" in source, "AIOKafkaConsumer.start no longer reads _isolation_level"


def test_a_commit_takes_its_generation_before_it_first_waits() -> None:
    source = inspect.getsource(GroupCoordinator._do_commit_offsets)
    assert source.index("self.generation") < source.index("await "), (
        "_do_commit_offsets waits before it reads the generation: a commit is no longer pinned to it"
    )


def test_partition_records_take_what_the_fetcher_gives_them() -> None:
    expected = (
        "tp records aborted_transactions fetch_offset key_deserializer value_deserializer check_crcs isolation_level"
    )
    assert list(inspect.signature(PartitionRecords).parameters) == expected.split()
