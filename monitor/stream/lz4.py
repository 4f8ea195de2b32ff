"""LZ4 frames, block by block into memory that is there: to set up a decoder for each frame takes as long as a small batch's blocks do.

What stands between the blocks is read here, the blocks by the library; so is a whole frame whose blocks need each other. Checksums inside
frames are passed over, since a record batch has one of its own.
See https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
"""

from __future__ import annotations

import struct

import cramjam

_MAGIC = 0x184D2204
_HEADER_BYTES, _CONTENT_SIZE_BYTES, _SIZE_BYTES, _CHECKSUM_BYTES = 7, 8, 4, 4
_begin = struct.Struct("<IB").unpack_from
"""The magic number and the flags."""
_size = struct.Struct("<I").unpack_from
_VERSION_AND_UNUSED, _VERSION = 0b1100_0011, 0b0100_0000
"""Bits of the flags, and what they are here: the version, none that is reserved, no dictionary."""
_ALONE, _BLOCK_CHECKSUM, _CONTENT_SIZE, _CONTENT_CHECKSUM = 1 << 5, 1 << 4, 1 << 3, 1 << 2
_STORED = 1 << 31
"""Set in the size of a block that is not compressed."""


def decompress_into(frame: memoryview, room: memoryview) -> int:
    """Decompress a frame; how many bytes it has become. cramjam.DecompressionError when it is damaged or there is too little room."""
    found = _blocks(frame)
    if found is None:
        return int(cramjam.lz4.decompress_into(frame, room))
    size = 0
    for block, stored in found:
        if not stored:
            size += int(cramjam.lz4.decompress_block_into(block, room[size:], output_len=0))
            continue
        if len(block) > len(room) - size:
            raise cramjam.DecompressionError(f"expected {len(block)} bytes of room, found {len(room) - size}")
        room[size : size + len(block)] = block
        size += len(block)
    return size


def _blocks(frame: memoryview) -> list[tuple[memoryview, bool]] | None:
    """The blocks, and whether each is stored as it is; None when the frame is damaged or its blocks cannot be read alone."""
    if len(frame) < _HEADER_BYTES:
        return None
    magic, flags = _begin(frame)
    if magic != _MAGIC or flags & _VERSION_AND_UNUSED != _VERSION:
        return None
    found: list[tuple[memoryview, bool]] = []
    at = _HEADER_BYTES + (_CONTENT_SIZE_BYTES if flags & _CONTENT_SIZE else 0)
    checksum = _CHECKSUM_BYTES if flags & _BLOCK_CHECKSUM else 0
    while True:
        if at + _SIZE_BYTES > len(frame):
            return None
        (size,) = _size(frame, at)
        at += _SIZE_BYTES
        if not size:
            break
        end = at + (size & ~_STORED)
        found.append((frame[at:end], size & _STORED != 0))
        at = end + checksum
    whole = at + (_CHECKSUM_BYTES if flags & _CONTENT_CHECKSUM else 0) == len(frame)
    return found if whole and (len(found) <= 1 or flags & _ALONE) else None
