import os
import random
import shutil
from pathlib import Path

import pytest

from monitor.sources.tail import HEAD_BYTES, LINE_BYTES, STILL, Position, Tail, load_position, save_position


def everything(tail: Tail, *, patient: bool = True) -> list[bytes]:
    lines: list[bytes] = []
    for _ in range(20 * STILL):
        while (batch := tail.read(patient=patient)) is not None:
            lines += batch.lines
    return lines


def write(log: Path, *lines: str) -> None:
    with log.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def rename(log: Path) -> None:
    shift(log)
    log.rename(f"{log}.1")


def copy_and_truncate(log: Path) -> None:
    shift(log)
    shutil.copyfile(log, f"{log}.1")
    os.truncate(log, 0)


def shift(log: Path) -> None:
    last = 1
    while Path(f"{log}.{last}").exists():
        last += 1
    for number in range(last, 1, -1):
        Path(f"{log}.{number - 1}").rename(f"{log}.{number}")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "decisions.log"


def test_the_last_line_waits_for_its_end(log: Path) -> None:
    log.write_bytes(b"one\ntw")
    tail = Tail(log, None)
    assert everything(tail) == [b"one"]
    with log.open("ab") as file:
        file.write(b"o\n\nthree\n")
    assert everything(tail) == [b"two", b"three"]


def test_a_file_that_is_not_there_yet_is_waited_for(log: Path) -> None:
    tail = Tail(log, None)
    assert tail.read() is None
    write(log, "one")
    assert everything(tail) == [b"one"]


@pytest.mark.parametrize("rotate", [rename, copy_and_truncate])
@pytest.mark.parametrize("restarted", [False, True])
def test_lines_written_before_several_rotations_come_first(log: Path, rotate, restarted: bool) -> None:
    write(log, "one", "two")
    tail = Tail(log, None)
    assert everything(tail) == [b"one", b"two"]
    for number in range(12):
        write(log, f"before rotation {number}")
        rotate(log)
    write(log, "after")
    if restarted:
        tail = Tail(log, tail.position)
    assert everything(tail) == [*(b"before rotation %d" % number for number in range(12)), b"after"]
    assert tail.lost == []


def test_a_writer_that_lingers_in_the_renamed_file_is_heard(log: Path) -> None:
    write(log, "one")
    tail = Tail(log, None)
    with log.open("a", buffering=1) as lingering:
        assert everything(tail) == [b"one"]
        rename(log)
        write(log, "three")
        assert tail.read() is None
        lingering.write("two\n")
    assert everything(tail) == [b"two", b"three"]


def test_an_unfinished_line_of_a_rotated_file_comes_as_it_is(log: Path) -> None:
    log.write_bytes(b"one\ntor")
    tail = Tail(log, None)
    rename(log)
    write(log, "two")
    tail = Tail(log, Position(Path(f"{log}.1").stat().st_ino, 0, 0, ""))
    assert everything(tail) == [b"one", b"tor", b"two"]


def test_dated_names_are_read_in_their_order(log: Path) -> None:
    write(log, "one")
    tail = Tail(log, None)
    everything(tail)
    for day in ("20261130", "20261201", "20261202"):
        write(log, day)
        log.rename(f"{log}-{day}")
    write(log, "now")
    assert everything(Tail(log, tail.position)) == [b"20261130", b"20261201", b"20261202", b"now"]


def test_an_empty_generation_in_between_stops_nothing(log: Path) -> None:
    write(log, "one")
    tail = Tail(log, None)
    everything(tail)
    rename(log)
    log.touch()
    rename(log)
    write(log, "two")
    assert everything(tail) == [b"two"]


def test_files_with_other_names_are_left_alone(log: Path) -> None:
    write(log, "one")
    tail = Tail(log, None)
    everything(tail)
    for other in ("decisions.log.bak", "decisions.log.1.gz", "decisions.logs", "decisions.log-new"):
        (log.parent / other).write_text("not ours\n")
    rename(log)
    write(log, "two")
    assert everything(Tail(log, tail.position)) == [b"two"]


def test_a_new_file_on_an_old_inode_is_read_from_its_beginning_and_the_gap_is_told(log: Path) -> None:
    write(log, "new one", "new two")
    gone = Position(log.stat().st_ino, 4, 4, "0" * 64)
    tail = Tail(log, gone)
    assert everything(tail) == [b"new one", b"new two"]
    assert len(tail.lost) == 1
    assert "byte 4" in tail.lost[0]


def test_a_truncation_without_a_copy_is_told_and_reading_goes_on(log: Path) -> None:
    write(log, "one", "two")
    tail = Tail(log, None)
    everything(tail)
    log.write_text("three is longer than what was there\n")
    assert everything(tail) == [b"three is longer than what was there"]
    assert len(tail.lost) == 1


def test_a_line_without_an_end_does_not_fill_the_memory_and_loses_nothing(log: Path) -> None:
    long = random.Random(1).randbytes(5 * LINE_BYTES + 17).replace(b"\n", b" ")
    log.write_bytes(long + b"\nnext\n" + long + b"\n")
    lines = everything(Tail(log, None))
    assert b"".join(lines) == long + b"next" + long
    assert b"next" in lines
    assert max(len(line) for line in lines) <= LINE_BYTES


def test_a_position_is_what_was_saved_and_anything_else_is_an_error(tmp_path: Path) -> None:
    place = tmp_path / ".position"
    assert load_position(place) is None
    position = Position(7, 4096, HEAD_BYTES, "ab" * 32)
    save_position(place, position)
    assert load_position(place) == position
    for wrong in (b"", b"{}", b'{"inode":"7"}', b"\xff"):
        place.write_bytes(wrong)
        with pytest.raises(ValueError, match="position"):
            load_position(place)


@pytest.mark.parametrize("rotate", [rename, copy_and_truncate])
def test_whatever_the_order_of_writes_rotations_and_crashes_no_line_is_lost(tmp_path: Path, rotate) -> None:
    for seed in range(60):
        directory = tmp_path / str(seed)
        directory.mkdir()
        written, shipped, crashes, lost = history(random.Random(seed), directory / "log", rotate)
        first_times = list(dict.fromkeys(shipped))
        assert first_times == written, f"seed {seed}"
        assert lost == [], f"seed {seed}"
        if not crashes:
            assert shipped == written, f"seed {seed}"
        shutil.rmtree(directory)


def history(chance: random.Random, log: Path, rotate) -> tuple[list[bytes], list[bytes], int, list[str]]:
    """A log's life: lines written, lines shipped, how often the shipper died before it saved, what it says it lost."""
    written: list[bytes] = []
    shipped: list[bytes] = []
    lost: list[str] = []
    crashes = 0
    may_crash = chance.random() < 0.7
    write(log, "0")
    written.append(b"0")
    tail = Tail(log, None)
    saved: Position | None = None

    def ship() -> None:
        nonlocal saved, tail, crashes
        batch = tail.read()
        if batch is not None:
            shipped.extend(batch.lines)
            if may_crash and saved is not None and chance.random() < 0.3:
                crashes += 1
                lost.extend(tail.lost)
                tail.close()
                tail = Tail(log, saved)
                return
        saved = tail.position

    ship()
    for _ in range(60):
        what = chance.random()
        if what < 0.45:
            lines = [str(len(written) + n).encode() * chance.choice([1, 1, 300]) for n in range(chance.randrange(1, 4))]
            with log.open("ab") as file:
                file.writelines(line + b"\n" for line in lines)
            written += lines
        elif what < 0.6 and log.exists() and log.stat().st_size:
            rotate(log)
        else:
            ship()
    for _ in range(30):
        ship()
    may_crash = False
    for _ in range(20 * STILL):
        ship()
    lost.extend(tail.lost)
    tail.close()
    return written, shipped, crashes, lost
