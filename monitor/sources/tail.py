"""Reads a log file that others write and rotate, line by line, from a position that outlives a crash.

Sending the lines is left to `monitor.cli.ship`. Rules:
- A position is saved only after its lines are safe elsewhere. So a line may come twice after a crash, and none is left
  out.
- A file is known by its inode and the hash of its first bytes, not by its name: a new file on an old inode is new.
- Rotation by rename: what is left in the old file comes first, then each newer one whole, in the order of their names
  (`FILE.2`, `FILE.1`, `FILE`; dates upwards). The old file is left only when the new one has something and the old has
  stood still for `STILL` reads, because some writers linger.
- Rotation by copy and truncate: the rest comes from the copy. What was written between copying and truncating is lost
  to everyone.
- The last line waits for its end, unless its file was rotated away.
- A line over `LINE_BYTES` comes in pieces. Empty lines do not come.
- Compressed files are not read: rotate with delayed compression. What cannot be found is told in `lost`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

READ_BYTES = 1_048_576
"""Most that one batch holds, in bytes."""
LINE_BYTES = 262_144
"""Longest piece of a line, in bytes."""
HEAD_BYTES = 1024
"""How much of a file's beginning tells it from others, in bytes."""
STILL = 3
"""Reads without a new line, after which a rotated file is left."""

_ROTATED = re.compile(r"(?:\.(?P<number>\d{1,6})|-(?P<date>\d{8}(?:\d\d|-\d{1,10})?))")


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a file is safe: the lines in [0, `offset`) bytes. `head` is the SHA-256 of its first `head_bytes`."""

    inode: int
    offset: int
    head_bytes: int
    head: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines in order, without their ends, and the position behind them."""

    lines: list[bytes]
    position: Position


def load_position(path: Path) -> Position | None:
    """The saved position, None when there is none. Raises OSError, and ValueError when it holds something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Position)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(
            f"expected a position in {path}: {error}; without that file the log is read from its beginning"
        ) from None


def save_position(path: Path, position: Position) -> None:
    """Save the position so that a crash leaves the old one or the new one. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    with draft.open("wb") as file:
        file.write(msgspec.json.encode(position))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


class Tail:
    """The lines of the log at `path` from `position` on (None: from its beginning).

    `lost` has a sentence for each part that is gone.
    """

    def __init__(self, path: Path, position: Position | None) -> None:
        self.path = path
        self.lost: list[str] = []
        self._from = position
        self._file = -1
        self._at = Position(0, 0, 0, "")
        self._still = 0

    @property
    def position(self) -> Position | None:
        """Behind the last batch; None until there was a file."""
        return self._at if self._file >= 0 else None

    def close(self) -> None:
        """Let go of the open file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def read(self, *, patient: bool = True) -> Batch | None:
        """The next lines, or None when there are none now. Raises OSError.

        Not `patient`: a rotated file is left as soon as it is read.
        """
        while self._file >= 0 or self._begin():
            batch = self._lines()
            if not _begins(self._file, self._at):
                self._truncated()
                continue
            if batch is None:
                following = self._following()
                if following is None:
                    return None
                self._still += 1
                if patient and self._still < STILL:
                    os.close(following)
                    return None
                batch = self._lines(unfinished=True)
                if batch is None:
                    self._take(following, Position(os.fstat(following).st_ino, 0, 0, ""))
                    continue
                os.close(following)
            self._still = 0
            self._at = batch.position
            return batch
        return None

    def _begin(self) -> bool:
        """Open the file to go on in; whether there is one."""
        wanted = self._from
        if wanted is not None:
            found = self._find(wanted, by_inode=True)
            if found is None:
                found = self._find(wanted, by_inode=False)
            if found is not None:
                self._take(found, msgspec.structs.replace(wanted, inode=os.fstat(found).st_ino))
                return True
        file = _opened(self.path)
        if file is None:
            return False
        if wanted is not None:
            self._tell(wanted)
        self._take(file, Position(os.fstat(file).st_ino, 0, 0, ""))
        return True

    def _truncated(self) -> None:
        """Our file was emptied under us: go on in its copy, else at its beginning."""
        copy = self._find(self._at, by_inode=False)
        if copy is not None:
            self._take(copy, msgspec.structs.replace(self._at, inode=os.fstat(copy).st_ino))
            return
        self._tell(self._at)
        self._at = Position(self._at.inode, 0, 0, "")

    def _tell(self, position: Position) -> None:
        where = f"byte {position.offset} of inode {position.inode}"
        self.lost.append(f"{self.path}: what followed {where} is gone or compressed; reading on at the beginning")

    def _take(self, file: int, position: Position) -> None:
        self.close()
        self._file, self._at, self._from, self._still = file, position, None, 0

    def _find(self, wanted: Position, *, by_inode: bool) -> int | None:
        """A descriptor of the file that has what was read at its beginning: the same one, or a copy."""
        if not by_inode and not wanted.head_bytes:
            return None
        for path in self._generations():
            file = _opened(path)
            if file is None:
                continue
            if (os.fstat(file).st_ino == wanted.inode) == by_inode and _begins(file, wanted):
                return file
            os.close(file)
        return None

    def _generations(self) -> list[Path]:
        """The rotated files, oldest first, and the log itself."""
        return [path for _, path in sorted(self._rotated())] + [self.path]

    def _rotated(self) -> Iterator[tuple[tuple[int, str], Path]]:
        for path in self.path.parent.iterdir():
            name = path.name
            match = _ROTATED.fullmatch(name, len(self.path.name)) if name.startswith(self.path.name) else None
            if match is not None:
                yield (-int(match["number"] or 0), match["date"] or ""), path

    def _following(self) -> int | None:
        """A descriptor of the generation after ours; None while ours is the newest or the log itself still empty."""
        generations = self._generations()
        inodes = [_inode(path) for path in generations]
        ours = self._at.inode
        if inodes[-1] == ours:
            return None
        # A file that has been compressed or deleted while we had it open is followed by the log itself.
        place = inodes.index(ours) + 1 if ours in inodes else len(inodes) - 1
        file = _opened(generations[place])
        if file is None:
            return None
        state = os.fstat(file)
        renamed_since = state.st_ino != inodes[place]
        unused = place == len(inodes) - 1 and not state.st_size
        if renamed_since or unused:
            os.close(file)
            return None
        return file

    def _lines(self, *, unfinished: bool = False) -> Batch | None:
        """The lines behind our position, the last one too when it is `unfinished`; None when there are none."""
        chunk = os.pread(self._file, READ_BYTES, self._at.offset)
        end = len(chunk) if unfinished else chunk.rfind(b"\n") + 1
        if not end and len(chunk) >= LINE_BYTES:
            end = LINE_BYTES
        if not end:
            return None
        lines = [
            line[begin : begin + LINE_BYTES]
            for line in chunk[:end].split(b"\n")
            for begin in range(0, len(line), LINE_BYTES)
        ]
        return Batch(lines, self._behind(chunk[:end]))

    def _behind(self, chunk: bytes) -> Position:
        at = self._at
        offset = at.offset + len(chunk)
        if at.head_bytes == HEAD_BYTES:
            return msgspec.structs.replace(at, offset=offset)
        head = (os.pread(self._file, at.offset, 0) + chunk)[:HEAD_BYTES]
        return Position(at.inode, offset, len(head), _hash(head))


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _begins(file: int, position: Position) -> bool:
    """Whether the file holds what was read up to the position, as far as its size and its head tell."""
    if os.fstat(file).st_size < position.offset:
        return False
    return not position.head_bytes or _hash(os.pread(file, position.head_bytes, 0)) == position.head


def _hash(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()
