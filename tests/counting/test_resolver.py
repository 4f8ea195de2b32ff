"""The resolver's rules as pictures: a frame is `start>upto`, in the order of the journal; what a frame seals stands behind it."""

from __future__ import annotations

import pytest

from monitor.counting.frame import Frame
from monitor.counting.resolver import Resolver, resume


def frame(picture: str, partition: int = 0, partitions: int = 1, at: int = 0, complete: int = 0) -> Frame:
    start, _, upto = picture.partition(">")
    return Frame(
        topic="t", partition=partition, partitions=partitions, start=int(start), upto=int(upto), at_ms=at, complete_ms=complete
    )  # fmt: skip


def draw(resolver: Resolver, journal: str) -> str:
    """Feed the frames of a journal; the same line with what each sealed: `=start>upto`, `=nothing`, and `gap first>upto`."""
    out = []
    for offset, picture in enumerate(journal.split()):
        sealed = resolver.take(offset, frame(picture))
        said = picture
        if sealed is not None:
            assert sealed.stamp == offset
            said += f"={sealed.frame.start}>{sealed.frame.upto}" if sealed.frame else "=nothing"
            said += f"(gap {sealed.gap.first}>{sealed.gap.upto})" if sealed.gap else ""
        out.append(said)
    return " ".join(out)


@pytest.mark.parametrize(
    ("picture", "counted", "dropped", "ignored"),
    [
        # A chunk counts when the next one starts where it ends; so does an empty frame that says the same.
        ("0>5 5>9=0>5 9>9=5>9", 2, 0, 0),
        # Two workers counted from one start: the one that was committed counts, whichever was written first.
        ("0>5 0>8 8>9=0>8", 1, 1, 0),
        ("0>8 0>5 5>9=0>5", 1, 1, 0),
        # The same chunk sent twice counts once.
        ("0>5 0>5 5>6=0>5", 1, 1, 0),
        # A worker that took over at the same start says so with an empty frame; that is no loss.
        ("0>5 0>0 5>6=0>5", 1, 0, 0),
        ("0>0 0>5 5>5=0>5", 1, 0, 0),
        # Nobody's end is the committed start: the longest that ends before it counts, the rest is a gap.
        ("0>5 0>7 9>12=0>7(gap 7>9)", 1, 1, 0),
        ("0>5 0>12 9>12=0>5(gap 5>9)", 1, 1, 0),
        # All candidates end behind the committed start: none counts.
        ("0>12 9>15=nothing(gap 0>9)", 0, 1, 0),
        # An operator skips what nobody has read.
        ("5>5 20>25=5>5(gap 5>20)", 1, 0, 0),
        # A worker that slept wakes up: what it says about an older start is ignored, whatever its end.
        ("0>5 5>9=0>5 0>5 0>9 9>9=5>9", 2, 0, 2),
        # A hole in the source's offsets is inside a chunk, not a gap.
        ("0>1000 1000>1000=0>1000", 1, 0, 0),
    ],
)
def test_a_committed_chunk_counts_once(picture: str, counted: int, dropped: int, ignored: int) -> None:
    resolver = Resolver()
    journal = " ".join(word.partition("=")[0] for word in picture.replace("(gap ", "(gap_").split())
    assert draw(resolver, journal) == picture
    assert (resolver.sealed, resolver.dropped, resolver.ignored) == (counted, dropped, ignored)


def test_a_restart_reads_from_the_first_frame_of_the_oldest_open_candidates() -> None:
    resolver = Resolver()
    assert resolver.oldest(following=7) == 7
    for offset, (picture, partition) in enumerate([("0>5", 0), ("0>3", 1), ("5>9", 0), ("5>7", 0), ("3>4", 1)]):
        resolver.take(offset, frame(picture, partition, 2))
    assert resolver.oldest(following=5) == 2
    resolver.take(5, frame("9>9", 0, 2))
    assert resolver.oldest(following=6) == 4


def test_a_restart_does_not_read_again_how_long_a_source_was_idle() -> None:
    resolver = Resolver()
    for offset, picture in enumerate(["0>5", *["5>5"] * 1000]):
        resolver.take(offset, frame(picture, at=offset))
    assert resolver.oldest(following=1001) == 1000
    assert resolver.clock_ms() == 1000
    # A chunk that is on its way is kept, however often somebody says that nothing was committed since.
    for offset, picture in enumerate(["5>9", *["5>5"] * 1000], start=1001):
        resolver.take(offset, frame(picture))
    assert resolver.oldest(following=2002) == 1000
    assert len(resolver.open["t", 0].frames) == 2
    sealed = resolver.take(2002, frame("9>9"))
    assert sealed is not None
    assert (sealed.frame, sealed.gap) == (frame("5>9"), None)


def test_the_clock_is_the_slowest_sources_and_stands_until_every_partition_has_spoken() -> None:
    resolver = Resolver()
    resolver.take(0, frame("0>5", 0, 2, at=100, complete=90))
    assert (resolver.clock_ms(), resolver.complete_ms()) == (None, None)
    resolver.take(1, frame("0>5", 1, 2, at=70, complete=0))
    assert (resolver.clock_ms(), resolver.complete_ms()) == (70, None)
    resolver.take(2, frame("5>5", 1, 2, at=120, complete=60))
    assert (resolver.clock_ms(), resolver.complete_ms()) == (100, 60)


@pytest.mark.parametrize(("asked", "goes_on"), [(0, 5), (4, 5), (5, 5), (8, 5), (9, 9), (30, 30)])
def test_a_group_that_is_set_back_goes_on_at_the_newest_start_and_one_set_ahead_where_it_was_told(
    asked: int, goes_on: int
) -> None:
    assert resume(asked, ("t", 0), [frame("0>5"), frame("5>9"), frame("0>40", partition=1)]) == goes_on
