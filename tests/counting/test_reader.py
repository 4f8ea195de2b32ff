"""`chunk.Reader` counts a batch as a whole; whatever the batch, the result is that of looking at each record by itself."""

from __future__ import annotations

import gc
import json
import weakref
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.counting import chunk
from monitor.counting import request as rq
from monitor.counting.chunk import Chunk, Counts, Reader, Where
from monitor.counting.frame import add_up
from monitor.counting.records import PADDING, Records
from monitor.counting.request import Rejected
from monitor.counting.template import Templates
from tests.tallied import tallies

NOW = 1_795_428_030_000  # 2026-11-23T10:00:30Z: five minutes ahead ends within a minute
CODES = {"E-1": "server", "E-2": "client"}


Cells = Counter[tuple[int, Where]]
"""Requests by minute and place."""


def cells(counts: Counts) -> Cells:
    """What was counted, as the frames will have it; unclassified requests by their codes."""
    found: Cells = Counter()
    [columns] = counts.columns(lambda _: 0, 1)
    columns.check()
    found_at = add_up([columns])
    for tenant, portal, tally in ((t, p, tally) for t, portals in found_at.items() for p, tally in portals.items()):
        assert list(tally.minutes) == sorted(tally.minutes)
        for minute, row in tally.minutes.items():
            for index, n in enumerate(row[: rq.UNCLASSIFIED]):
                found[minute, Where(tenant, portal, index, "")] += n
            coded = {code: n for code, by_minute in tally.codes.items() if (n := by_minute.get(minute, 0))}
            assert sum(coded.values()) == row[rq.UNCLASSIFIED]
            for code, n in coded.items():
                found[minute, Where(tenant, portal, rq.UNCLASSIFIED, code)] += n
    return +found


def one_by_one(values: Sequence[bytes | None]) -> tuple[Cells, dict[int, tuple[str, str, str]]]:
    """The rules of `request`, applied to each record alone."""
    counts: Cells = Counter()
    refused = {}
    for place, value in enumerate(values):
        try:
            r = rq.read(value)
            rq.check_names(r.tenant, r.portal, r.code)
            index = rq.classify(r.outcome, r.fault, r.code, CODES)
            code = r.code if index == rq.UNCLASSIFIED and r.code else ""
            counts[rq.minute(r.time, NOW), Where(r.tenant, r.portal, index, code)] += 1
        except Rejected as error:
            refused[place] = (str(error.reason), error.place, str(error))
    return counts, refused


def assert_counts_as_one_by_one(reader: Reader, several: Sequence[Sequence[bytes | None]]) -> None:
    """The reader remembers from batch to batch, and the counts go on."""
    counts, expected = Counts(), Cells()
    for values in several:
        refused = reader.count(Records.of(values), NOW, counts)
        more, why = one_by_one(values)
        expected += more
        assert cells(counts) == expected
        assert {place: (str(e.reason), e.place, str(e)) for place, e in refused} == why
        assert len(refused) == len(why)


times = st.one_of(
    st.sampled_from(
        [
            "2026-11-23T10:00:00Z", "2026-11-23T10:00:59.5z", "2026-11-23 10:00:07Z", "2026-11-23T15:30:00+05:30",
            "2026-11-23T15:29:60+05:30", "2026-11-23T09:59:60Z", "2026-11-23T10:05:30Z", "2026-11-23T10:05:30.001Z",
            "2026-11-23T10:05:31Z", "2026-11-23T10:06:00Z", "2026-11-23T10:00:00", "2026-11-23T10:00", "2026-11-23T24:00:00Z",
            "2026-02-29T10:00:00Z", "2014-12-31T23:59:59Z", "2015-01-01T00:00:00Z", "2026-11-23T10:00:00-00:10", "", "now", "é" * 16,
            "2026-11-23X10:00:00Z", "2026-11-23T10:00:00 Z", "2026-11-23T10:00:61Z",
        ]
    ),
    st.integers(NOW - 120_000, NOW + 301_000),
    st.sampled_from([NOW + 300_000, NOW + 300_001, NOW // 1000, 1_420_070_399_999, 1_420_070_400_000, -1, 0]),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
)  # fmt: skip
objects = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["ant", "bee", "Ant", "", "ant\n"]),
        "time": times,
        "portal": st.sampled_from(["login", "Ädmin", "", "a\tb"]),
        "outcome": st.sampled_from(["success", "failure", "failure"]),
    },
    optional={
        "fault": st.sampled_from([None, "server", "client", "external"]),
        "code": st.sampled_from([None, "", "E-1", "E-2", "E-3", "x" * 65, "a\x7f"]),
        "latency_ms": st.sampled_from([1.5, 3, "fast"]),
        "unknown": st.just({"a": [1]}),
    },
)
rubbish = st.sampled_from(
    [
        None,
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"tenant": NaN}',
        b"[" * 40_000,
        b"{}" * 40_000,
        b'{"user": "\xed\xa0\x80"}',
    ]
)
records = st.one_of(
    objects.map(lambda each: json.dumps(each).encode()),
    objects.map(lambda each: json.dumps(each).encode()[:-1] + b', "tenant": "bee", "tenant": "cat"}'),
    rubbish,
)
batches = st.lists(st.tuples(records, st.integers(1, 3)), max_size=12).flatmap(
    lambda drawn: st.permutations([record for record, times in drawn for _ in range(times)])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(batches, min_size=1, max_size=3))
@example([[b'{"tenant":"ant","portal":"p","outcome":"success","time":"2026-11-23T10:05:30Z"}',
           b'{"tenant":"ant","portal":"p","outcome":"success","time":"2026-11-23T10:05:31Z"}']])  # fmt: skip
def test_batches_count_as_their_records_do_one_by_one(several: list[list[bytes | None]]) -> None:
    assert_counts_as_one_by_one(Reader(CODES), several)


FIELDS = {
    "time": ['"2026-11-23T10:00:07.123Z"', '"2026-11-23T09:59:59.999Z"', '"2026-11-23T10:05:31.000Z"', '"2026-11-23T10:00:60.000Z"', '""'],
    "tenant": ['"ant"', '"bee-2"', '"Ant"'],
    "portal": ['"login"', '"self service"'],
    "outcome": ['"success"', '"failure"', '"maybe"'],
    "fault": ['"server"', '"client"', "null", '"nobody"'],
    "code": ['"E-1"', '"E-9"', '""', "null", "7"],
    "user": ['"u-1@ant.example"', '""', "null", '"\\u00e4"', "1"],
    "latency_ms": ["0", "12", "12.75", "0.5", "07", "1.", ".5", "1e3", "-1", "null", '"12"', "123456789012345678", "1.2.3"],
    "method": ['"totp"', '"a}{,:b"', "true", '"\\""', "[1]", '"\t"', '"é"'],
}  # fmt: skip
LIKELY = 0.9


@st.composite
def written(draw: st.DrawFn) -> list[bytes]:
    """Records as one producer writes them, most of them right, some changed by a byte or two."""
    random = draw(st.randoms(use_true_random=False))
    names = [
        "time",
        "tenant",
        "portal",
        "outcome",
        *random.sample(sorted(set(FIELDS) - {"time", "tenant", "portal", "outcome"}), 3),
    ]
    random.shuffle(names)
    if random.random() < 0.1:
        names.append(random.choice(names))
    comma, colon = random.choice([(",", ":"), (", ", ": "), (" ,  ", " : ")])
    usual = {name: random.choice(FIELDS[name][:2]) for name in FIELDS}
    made = []
    for _ in range(random.randint(1, 30)):
        values = {name: usual[name] if random.random() < LIKELY else random.choice(FIELDS[name]) for name in names}
        record = bytearray(("{" + comma.join(f'"{name}"{colon}{values[name]}' for name in names) + "}").encode())
        while random.random() > LIKELY:
            at = random.randrange(len(record))
            piece = random.choice(
                [
                    b'"',
                    b"\\",
                    b",",
                    b":",
                    b"}",
                    b"{",
                    b"0",
                    b".",
                    b" ",
                    b"\n",
                    b"x",
                    b"\xff",
                    b"null",
                    b'"fault":"server",',
                ]
            )
            record[at : at + random.randint(0, 2)] = piece
        made.append(bytes(record))
    return made  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(written(), min_size=1, max_size=3))
def test_records_of_one_form_count_as_the_decoder_reads_them_whatever_was_done_to_some(
    several: list[list[bytes]],
) -> None:
    reader = Reader(CODES)
    reader.many = 1  # the reader would leave so few to the decoder
    assert_counts_as_one_by_one(reader, several)


def test_a_template_takes_what_is_of_its_form_and_nothing_else() -> None:
    good = b'{"time":"2026-11-23T10:00:07.123Z","tenant":"ant","portal":"login","outcome":"success","user":"u","latency_ms":%b,"n":"x"}'
    records = Records.of(
        [good % b"1", good % b"0.25", good % b"-1", good % b"01", good.replace(b'"u"', b'"\\u0041"') % b"1"]
    )
    (found,), left = Templates().match(records)
    assert (found.places.tolist(), found.minutes.tolist(), found.labels) == ([0, 1], [0, 0], ["2026-11-23T10:00"])
    assert (found.texts.tolist(), found.new) == ([0, 0], [b'"tenant":"ant","portal":"login","outcome":"success"'])
    assert left == [2, 3, 4]


def test_tens_of_thousands_of_texts_are_told_apart_also_after_those_met_were_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunk, "REMEMBERED", 25_000)
    reader, counts = Reader(CODES), Counts()
    form = '{"time":"2026-11-23T10:00:%02dZ","tenant":"t%d","user":"u","portal":"p%d","outcome":"success","id":"%x"}'
    expected: Cells = Counter()
    for batch in range(12):
        made = [(n % 9_001, n % 3, n) for n in range(batch * 5_000, batch * 5_000 + 8_000)]
        values = [(form % (n % 60, tenant, portal, n)).encode() for tenant, portal, n in made]
        assert not reader.count(Records.of(values), NOW, counts)
        expected += Counter(
            (NOW // 60_000, Where(f"t{tenant}", f"p{portal}", rq.SUCCESS, "")) for tenant, portal, _ in made
        )
    assert len({where for _, where in expected}) > 25_000
    assert cells(counts) == expected


def test_minutes_beyond_those_told_apart_in_a_batch_are_counted_all_the_same() -> None:
    reader, counts = Reader(CODES), Counts()
    form = '{"time":"2026-11-23T%02d:%02d:07Z","tenant":"ant","portal":"p","outcome":"success"}'
    values = [(form % divmod(n % 590, 60)).encode() for n in range(2_000)]
    assert not reader.count(Records.of(values), NOW, counts)
    expected, refused = one_by_one(values)
    assert not refused
    assert cells(counts) == expected


def test_a_form_with_long_constants_is_looked_for_in_short_records_too() -> None:
    long = b'{"%b":true,"time":"2026-11-23T10:00:07Z","tenant":"ant","portal":"p","outcome":"success"}' % (b"x" * 500)
    short = b'{"a":"","b":"","c":"","d":"","e":1}'
    assert long.count(b'"') == short.count(b'"')
    reader, counts = Reader(CODES), Counts()
    reader.many = 1
    assert not reader.count(Records.of([long]), NOW, counts)
    refused = reader.count(Records.of([short, b"{}"]), NOW, counts)
    assert [place for place, _ in refused] == [0, 1]
    assert cells(counts).total() == 1


def test_what_stands_beyond_a_records_end_is_not_read_as_its_own() -> None:
    whole = b'{"time":"2026-11-23T10:00:07Z","tenant":"ant","portal":"p","outcome":"success","latency_ms":12}'
    line = whole + b"\x07\\" + b'"'
    buffer = bytearray(line * 3 * len(whole) + PADDING)
    # Every place at which the record can be cut, among whole ones.
    lengths = np.array([each for cut in range(len(whole)) for each in (len(whole), cut, len(whole))])
    starts = np.arange(len(lengths)) * len(line)
    reader, counts = Reader(CODES), Counts()
    refused = reader.count(Records(buffer, starts, lengths), NOW, counts)
    assert [place for place, _ in refused] == list(range(1, len(lengths), 3))
    assert cells(counts).total() == 2 * len(whole)


def test_a_buffer_that_ends_with_its_last_record_is_refused() -> None:
    with pytest.raises(AssertionError, match="behind the last record"):
        Records(bytearray(b"{}"), np.array([0]), np.array([2]))


def test_a_refused_record_does_not_keep_its_batch_in_memory() -> None:
    class Watched(Records):
        __slots__ = ("__weakref__",)

    batch = Watched(
        *(
            getattr(Records.of([b'{"x":1}', b"{", b'{"tenant":"A b"}']), name)
            for name in ("buffer", "starts", "lengths")
        )
    )
    seen = weakref.ref(batch)
    gc.disable()
    try:
        refused = Reader({}).count(batch, NOW, Counts())
        del batch
        assert seen() is None
    finally:
        gc.enable()
    assert len(refused) == 3


def test_what_was_learned_of_a_minute_does_not_let_a_later_clock_refuse_it_or_an_earlier_one_accept_it() -> None:
    value = b'{"tenant":"ant","portal":"p","outcome":"success","time":"2026-11-23T10:05:00Z"}'
    reader, counts = Reader({}), Counts()
    assert [place for place, _ in reader.count(Records.of([value]), NOW - 60_000, counts)] == [0]
    assert not cells(counts)
    assert not reader.count(Records.of([value]), NOW, counts)
    assert cells(counts).total() == 1


def test_a_chunk_gives_each_tenant_to_one_frame_and_takes_up_where_it_was_taken() -> None:
    open_chunk = Chunk("auth-requests", 3, 8, start=100)
    open_chunk.counts.add(7, Where("ant", "p", rq.SUCCESS, ""), 4)
    open_chunk.counts.add(7, Where("bee", "p", rq.UNCLASSIFIED, "E-9"), 2)
    open_chunk.add(110, 7, 1)
    open_chunk.counts.add(7, Where("ant", "p", rq.SUCCESS, ""), 1)
    open_chunk.counts.add(8, Where("ant", "p", rq.SERVER, ""), 5)
    open_chunk.add(125, 6, 0)
    taken = open_chunk.take()
    first, second, third = taken.frames({"ant": 0, "bee": 2}.__getitem__, 3, at_ms=9, complete_ms=8)
    assert [(f.start, f.upto, f.read, f.refused) for f in (first, second, third)] == [(100, 125, 13, 1)] * 3
    assert {t: {p: x.minutes for p, x in ps.items()} for t, ps in tallies(first).items()} == {
        "ant": {"p": {7: [5, 0, 0, 0, 0], 8: [0, 0, 5, 0, 0]}}
    }
    assert not tallies(second)
    assert tallies(third)["bee"]["p"].codes == {"E-9": {7: 2}}
    assert (open_chunk.start, open_chunk.upto, open_chunk.empty, len(open_chunk.counts)) == (125, 125, True, 0)
