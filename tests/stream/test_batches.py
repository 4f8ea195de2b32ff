"""A fetched batch unpacked as columns has the records that aiokafka finds in it one by one, whatever a producer put beside the values."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import cramjam
import numpy as np
import pytest
from aiokafka import TopicPartition, errors
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.counting.records import PADDING
from monitor.stream import batches, blocks
from monitor.stream.batches import Body

GZIP, LZ4, ZSTD = 1, 3, 4
BUFFER = blocks.Buffer()
Entry = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""A key, a value and headers."""

small = st.one_of(st.none(), st.binary(max_size=200))
objects = st.integers(0, 10**9).map(lambda n: b'{"n":%d}' % n)
entries = st.one_of(
    st.tuples(st.none(), objects, st.just([])),
    st.tuples(small, st.one_of(small, objects, st.just(b"}\0}\0")), st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=2)),
)  # fmt: skip


def batch(base: int, held: list[Entry], holes: list[int], compression: int = LZ4) -> bytes:
    """A batch as a broker hands it out, with a hole before each record."""
    made = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1 << 24)
    at = 0
    for (key, value, headers), hole in zip(held, holes, strict=True):
        at += hole
        made.append(at, timestamp=1_700_000_000_000 + at * 7, key=key, value=value, headers=headers)
        at += 1
    data = bytearray(made.build())
    data[0:8] = base.to_bytes(8)
    return bytes(data)


def fetched(data: bytes, since: int = 0) -> list[blocks.Block]:
    """The blocks that a fetch from an offset on makes of a partition's bytes."""
    blocks.install(["t"])
    records: Any = fetcher.PartitionRecords(
        TopicPartition("t", 0), blocks._Records(data), None, since, None, None, True, 0
    )
    return list(records)


def found(data: bytes, since: int = 0) -> list[tuple[int, bytes | None]]:
    """Offsets and values as our blocks have them."""
    return [each for block in fetched(data, since) for each in block.records(BUFFER)]


def expected(data: bytes, since: int = 0) -> list[tuple[int, bytes | None]]:
    """The same as aiokafka's objects have them."""
    records, out = MemoryRecords(data), []
    while (each := records.next_batch()) is not None:
        out += [(record.offset, record.value) for record in each if record.offset >= since]
    return out


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.tuples(entries, st.sampled_from([0, 0, 0, 1, 300])), min_size=1, max_size=40), min_size=1, max_size=4),
    st.sampled_from([0, GZIP, LZ4, ZSTD]),
    st.data(),
)  # fmt: skip
def test_blocks_hold_what_aiokafka_finds(
    several: list[list[tuple[Entry, int]]], compression: int, data: st.DataObject
) -> None:
    base, whole = 5, b""
    for held in several:
        made = batch(base, [entry for entry, _ in held], [hole for _, hole in held], compression)
        base += sum(1 + hole for _, hole in held) + 2
        whole += made
    since = data.draw(st.integers(0, base))
    assert found(whole, since) == expected(whole, since)


def test_a_block_from_an_offset_on_holds_what_stands_there_and_behind() -> None:
    data = batch(100, [(None, b"{%d}" % n, []) for n in range(60)], [0, 3] * 30)
    (block,) = fetched(data)
    assert block.following == 250
    for offset in (0, 100, 101, 104, 150, block.following - 1):
        kept = [(o, v) for o, v in expected(data) if o >= offset]
        assert list(block.since(offset).records(BUFFER)) == kept
    assert block.since(block.following) is None
    with pytest.raises(AssertionError, match="offsets 7 to 99 were passed over"):
        blocks.Block(block.held, 100, block.following, 0).since(7)


def test_a_block_begins_where_the_fetch_did_and_there_is_none_where_nothing_is_new() -> None:
    data = batch(100, [(None, b"{}", []), (None, b"[]", [])], [0, 0])
    for since, values in ((90, [b"{}", b"[]"]), (101, [b"[]"]), (102, None)):
        said = [(b.offset, [v for _, v in b.records(BUFFER)], b.following) for b in fetched(data, since)]
        assert said == ([] if values is None else [(since, values, 102)])


@pytest.mark.parametrize("compression", [0, GZIP, LZ4, ZSTD])
def test_batches_that_are_larger_than_the_buffer_make_it_grow_and_lose_nothing(compression: int) -> None:
    values = [b"%07d" % n * 40 for n in range(6 * blocks.BUFFER_BYTES // 280)]
    data = b"".join(
        batch(base, [(None, value, []) for value in values[base:upto]], [0] * (upto - base), compression)
        for base, upto in ((0, 100), (100, 4 * len(values) // 5), (4 * len(values) // 5, len(values)))
    )
    buffer = blocks.Buffer()
    (block,) = fetched(data)
    assert [value for _, value in block.records(buffer)] == values
    assert len(buffer.memory) > blocks.BUFFER_BYTES
    assert [value for _, value in block.records(buffer)] == values


def test_a_batch_whose_bytes_have_changed_on_their_way_is_no_batch() -> None:
    data = bytearray(batch(0, [(None, b'{"n":%d}' % n, []) for n in range(60)], [0] * 60))
    data[-1] ^= 1
    with pytest.raises(errors.CorruptRecordException, match="t-0: wrong CRC"):
        found(bytes(data))


def test_a_batch_that_does_not_decompress_is_an_error_of_its_codec() -> None:
    whole = memoryview(batch(0, [(None, b'{"n":%d}' % n, []) for n in range(60)], [0] * 60))
    with pytest.raises(cramjam.DecompressionError):
        BUFFER.put(blocks.Batch(0, 60, 60, LZ4, whole[batches.HEADER_BYTES : -9]), 0)


@pytest.mark.parametrize(("keep", "more"), [(-1, b""), (None, b"\0"), (1, b""), (0, b"")])
def test_a_body_that_does_not_hold_its_records_is_an_error(keep: int | None, more: bytes) -> None:
    data = batch(0, [(None, b'{"n":%d}' % n, []) for n in range(20)], [0] * 20, compression=0)
    body = data[batches.HEADER_BYTES :]
    starts, lengths, offsets = batches.unpack(body + PADDING, [Body(0, len(body), 20, 5)])
    assert (len(starts), offsets.tolist()) == (20, list(range(5, 25)))
    assert bytes(body[starts[7] : starts[7] + lengths[7]]) == b'{"n":7}'
    other = body[:keep] + more
    with pytest.raises(ValueError, match=r"expected 20 records in the .* bytes of the batch at offset 5"):
        batches.unpack(other + PADDING, [Body(0, len(other), 20, 5)])


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 400), st.integers(0, 255), st.integers(0, 400), st.integers(0, 12))
def test_damaged_bodies_name_no_bytes_beyond_their_own(at: int, byte: int, keep: int, ones: int) -> None:
    body = bytearray(
        batch(0, [(b"k", b'{"n":%d}' % n, [("h", b"x")]) for n in range(20)], [0] * 20, 0)[batches.HEADER_BYTES :]
    )
    body[at % len(body)] = byte
    body = body[: keep + 1] + b"\xff" * ones
    for count in (1, 19, 20):
        with suppress(ValueError):
            starts, lengths, _ = batches.unpack(body + PADDING, [Body(0, len(body), count, 0)])
            assert (lengths >= -1).all()
            assert (starts >= 0).all()
            assert (starts + np.maximum(lengths, 0) < len(body)).all()
