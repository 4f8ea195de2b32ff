"""Records of a log as stretches of one buffer, so that a batch can be read as a whole. What is in them is left to others.

What stands between two records belongs to nobody (lengths, keys); `as_lines` makes whitespace of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

NOTHING = -1
"""The length of a record without a value."""

PADDING = bytes(64)
"""What stands behind the last record, so that whoever reads many bytes at once may read beyond its end."""

Places = NDArray[np.int64]

_NEW_LINE = ord("\n")
_OPENING, _CLOSING = ord("{"), ord("}")


class Records:
    """Record i is `buffer[starts[i] : starts[i] + lengths[i]]`; a length of `NOTHING` says that it has no value.

    `starts` and `lengths` have shape (n,); the stretches stand in order, at least a byte apart, as many bytes as `PADDING` has before the
    buffer's end, and none of their bytes may be changed.
    """

    __slots__ = ("buffer", "lengths", "starts")

    def __init__(self, buffer: bytearray, starts: Places, lengths: Places) -> None:
        if len(starts) and int(starts[-1]) + int(lengths[-1]) + len(PADDING) > len(buffer):
            raise AssertionError(f"less than {len(PADDING)} bytes stand behind the last record")
        self.buffer = buffer
        self.starts = starts
        self.lengths = lengths

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Records:
        """Records with these values."""
        lengths = np.array([NOTHING if value is None else len(value) for value in values], dtype=np.int64)
        sizes = np.maximum(lengths, 0)
        buffer = bytearray(b"\n").join([*(value or b"" for value in values), PADDING])
        return cls(buffer, np.cumsum(sizes + 1) - sizes - 1, lengths)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, place: int) -> bytes | None:
        start, length = int(self.starts[place]), int(self.lengths[place])
        return None if length == NOTHING else bytes(self.buffer[start : start + length])

    def values(self) -> Iterator[bytes | None]:
        """Each record's value, in order."""
        whole = memoryview(self.buffer)
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            yield None if length == NOTHING else bytes(whole[start : start + length])

    def as_lines(self, longest: int) -> tuple[bytearray, set[int]]:
        """The buffer as lines of JSON objects, and the places that are none: no value, longer than `longest`, or not wholly in braces.

        Whoever decodes as many objects from lines that are none of these has one of each. For a line's end is whitespace in JSON and may
        not stand in a string, so at the end of a line that ends in a brace the decoder stands behind a token. Inside an object
        only a comma or a closing bracket could follow, but a line starts with an opening brace: every line holds at least one whole
        object, or decoding fails.
        """
        text = np.frombuffer(self.buffer, dtype=np.uint8)
        starts, lengths = self.starts, self.lengths
        ends = starts + np.maximum(lengths, 0)
        fit = (lengths >= 2) & (lengths <= longest)
        if not fit.all():
            starts, ends = starts[fit], ends[fit]
        fit[fit] = (text[starts] == _OPENING) & (text[ends - 1] == _CLOSING)
        unfit = set() if fit.all() else set(np.flatnonzero(~fit).tolist())
        ends = (self.starts + np.maximum(lengths, 0))[:-1]
        gaps = self.starts[1:] - ends
        step = 0
        while len(ends):
            text[ends + step] = _NEW_LINE
            step += 1
            if step >= gaps.min():
                wider = gaps > step
                gaps, ends = gaps[wider], ends[wider]
        return self.buffer, unfit
