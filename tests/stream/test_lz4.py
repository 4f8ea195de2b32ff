"""LZ4 frames become what was put into them, whoever made them and however; damaged ones are errors, and nothing is written beyond the room."""

from __future__ import annotations

import random

import cramjam
import pytest

from monitor.stream import lz4

NOISE = random.Random(7).randbytes(100_000)
CONTENTS = {"nothing": b"", "text": b'{"n":1}' * 3000, "noise": NOISE, "both": NOISE + b'{"n":1}' * 60_000}
"""What cannot be compressed is stored as it is; over 64 KiB there are several blocks."""


def frame(content: bytes, *, linked: bool, checksum: bool) -> memoryview:
    """As other producers make it."""
    made = cramjam.lz4.Compressor(content_checksum=checksum, block_linked=linked)
    made.compress(content)
    return memoryview(bytes(made.finish()))


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("checksum", [False, True])
def test_a_frame_becomes_what_it_was_made_from(content: bytes, *, linked: bool, checksum: bool) -> None:
    for data in (frame(content, linked=linked, checksum=checksum), memoryview(bytes(cramjam.lz4.compress(content)))):
        room = bytearray(len(content) + 50)
        assert lz4.decompress_into(data, memoryview(room)) == len(content)
        assert room == content + bytes(50)


def test_a_frame_that_tells_its_size_is_read_behind_it() -> None:
    plain = frame(CONTENTS["text"], linked=False, checksum=False)
    size = len(CONTENTS["text"]).to_bytes(8, "little")
    data = memoryview(bytes([*plain[:4], plain[4] | 0b1000, plain[5]]) + size + bytes(plain[6:]))
    room = bytearray(len(CONTENTS["text"]))
    assert lz4.decompress_into(data, memoryview(room)) == len(room)
    assert room == CONTENTS["text"]


@pytest.mark.parametrize("content", [CONTENTS["text"], NOISE], ids=["text", "noise"])
def test_too_little_room_is_an_error_and_what_stands_behind_it_stays(content: bytes) -> None:
    data = frame(content, linked=False, checksum=True)
    for missing in (1, 7, len(content)):
        memory = bytearray(len(content)) + b"behind"
        with pytest.raises(cramjam.DecompressionError):
            lz4.decompress_into(data, memoryview(memory)[: len(content) - missing])
        assert memory[len(content) - missing :] == bytes(missing) + b"behind"


@pytest.mark.parametrize("keep", [0, 3, 6, 9, 40, -5, -1])
def test_a_frame_that_was_cut_off_is_an_error(keep: int) -> None:
    data = frame(CONTENTS["text"], linked=False, checksum=True)
    with pytest.raises(cramjam.DecompressionError):
        lz4.decompress_into(data[:keep], memoryview(bytearray(30_000)))
