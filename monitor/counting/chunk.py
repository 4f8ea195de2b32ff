"""The open chunk of one source partition: raw records in, counts by (tenant, portal, minute, class) out, refused records named.

A chunk is the interval [start, upto) of offsets; it may have holes, its count is what was in it. What is here:
- Records are read many at a time, by `template` or else by the decoder, and counted by what they say, as text, and by minute. What a text
  means (`Where`) is looked up once for each that is new in the chunk, not once a record, and what was found right is remembered. Only
  records whose text is in doubt are looked at one by one.
- One bad record neither stops nor miscounts its neighbours.
- Unclassified failures are counted by their code too, so that a later decision about a code can move them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from monitor.counting import request as rq
from monitor.counting import times
from monitor.counting.frame import Decision, Frame, Tallies, Tally, pack
from monitor.counting.records import Records
from monitor.counting.request import Rejected, Request
from monitor.counting.template import Said, Templates, read_runs
from monitor.counting.users import Hashes, merged

Text = Said | bytes
"""What a record says besides its time: its fields, or its runs (see `template`)."""

WIDTH = len(rq.CLASSES)
REMEMBERED = 300_000
"""Texts and minutes that a `Reader` remembers before it starts afresh."""
MANY = 64
"""Records of a batch from which templates are cheaper than the decoder."""
LINES = 256
"""Records that are decoded in one call: enough to make the call cheap, few enough that a bad one spoils few and all stay in the cache."""

_said: Callable[[Request], Said] = attrgetter("tenant", "portal", "outcome", "fault", "code")
_time: Callable[[Request], str | int] = attrgetter("time")


class Where(NamedTuple):
    """Where a request counts, but for its minute; `code` is "" unless the class is unclassified."""

    tenant: str
    portal: str
    class_index: int
    code: str


class Counts:
    """Counted requests. `minutes`: by UTC epoch minute and by what they say; `where`: what each of these texts means.

    What one record alone was found to mean stands for itself.
    """

    __slots__ = ("minutes", "users", "where")

    def __init__(self) -> None:
        self.users: dict[str, dict[int, set[int]]] = {}
        """By tenant and UTC epoch minute: hashes of users, as in `counting.users`; one may be there twice, with and without a failure."""
        self.minutes: dict[int, Counter[Text | Where]] = {}
        self.where: dict[Text | Where, Where] = {}

    def __len__(self) -> int:
        return sum(map(len, self.minutes.values()))

    def add(self, minute: int, where: Where, n: int = 1) -> None:
        """Count `n` requests of a minute."""
        self.where[where] = where
        self.minutes.setdefault(minute, Counter())[where] += n

    def sample(self, minute: int, where: Where) -> tuple[set[int], bool]:
        """The hashes of a tenant's minute, to be added to; and whether who made such a request has met a failure."""
        sample = self.users.setdefault(where.tenant, {}).setdefault(minute, set())
        return sample, where.class_index in (rq.SERVER, rq.UNCLASSIFIED)

    def tallies(self) -> Iterator[tuple[str, str, Tally]]:
        """Each tenant's portals and what was counted there, minutes in order."""
        if not self.minutes:
            return
        portals: dict[tuple[str, str], int] = {}
        cells: dict[Text | Where, int] = {}
        unclassified: dict[Text | Where, str] = {}
        for text, (tenant, portal, index, code) in self.where.items():
            cells[text] = portals.setdefault((tenant, portal), len(portals)) * WIDTH + index
            if index == rq.UNCLASSIFIED:
                unclassified[text] = code
        minutes = sorted(self.minutes)
        counts = [self.minutes[minute] for minute in minutes]
        cell = np.concatenate([np.fromiter(map(cells.__getitem__, each), np.int64, len(each)) for each in counts])
        n = np.concatenate([np.fromiter(each.values(), np.int64, len(each)) for each in counts])
        at = np.repeat(np.arange(len(minutes)), list(map(len, counts)))
        rows, row = np.unique(cell // WIDTH * len(minutes) + at, return_inverse=True)
        # The sums are floats, exact far beyond any count.
        sums = np.bincount(row * WIDTH + cell % WIDTH, weights=n, minlength=len(rows) * WIDTH)
        table = sums.astype(np.int64).reshape(-1, WIDTH).tolist()
        whose, when = np.divmod(rows, len(minutes))
        begins = np.searchsorted(whose, np.arange(len(portals) + 1)).tolist()
        named = [minutes[each] for each in when.tolist()]
        made = [
            Tally({named[a]: table[a]}, {}) if b == a + 1 else Tally(dict(zip(named[a:b], table[a:b], strict=True)), {})
            for a, b in pairwise(begins)
        ]
        for minute, each in zip(minutes, counts, strict=True):
            for text in unclassified.keys() & each.keys():
                by_minute = made[cells[text] // WIDTH].codes.setdefault(unclassified[text], {})
                by_minute[minute] = by_minute.get(minute, 0) + each[text]
        for (tenant, portal), tally in zip(portals, made, strict=True):
            if tally.minutes:
                yield tenant, portal, tally


class Refused(NamedTuple):
    """A record that was not counted: its place in the batch and why."""

    place: int
    error: Rejected


class Reader:
    """Counts batches of native records; keeps only what it learned about values, so it may serve many chunks."""

    def __init__(self, codes: Mapping[str, str], hashes: Hashes | None = None) -> None:
        self.codes = codes
        self.hashes = hashes
        """Users are counted with it; None: they are not."""
        self.many = MANY
        """Smaller batches are left to the decoder."""
        self._templates = Templates()
        self._known: dict[Text, Where] = {}
        self._minutes: dict[str | int, int] = {}

    def count(self, records: Records, now_ms: int, counts: Counts) -> list[Refused]:
        """Add a batch to `counts`; the refused. `now_ms` (epoch) bounds how far ahead a request's time may be."""
        refused: list[Refused] = []
        _, unfit = records.as_lines(rq.MAX_BYTES)
        places: Sequence[int] = range(len(records))
        if len(records) >= self.many:
            matched, places = self._templates.match(records, unfit, with_users=self.hashes is not None)
            for taken, labels, texts, users in matched:
                self._add(records, texts, users, taken.tolist(), times.grouped(labels), now_ms, counts, refused)
        if not places:
            return refused
        if len(places) < len(records):
            rest = Records.of([records[place] for place in places])
            _, unfit = rest.as_lines(rq.MAX_BYTES)
        else:
            rest = records
        said, at, users, mine = self._decode(rest, unfit, places, refused, with_users=self.hashes is not None)
        self._add(records, said, users, mine, times.by_minute(at), now_ms, counts, refused)
        return refused

    @staticmethod
    def _decode(
        records: Records, unfit: set[int], places: Sequence[int], refused: list[Refused], *, with_users: bool
    ) -> tuple[list[Said], list[str | int], list[bytes] | None, list[int]]:
        """Texts, times, users (if wanted) and `places` of the records that are requests, in order; the others go to `refused`."""
        said: list[Said] = []
        at: list[str | int] = []
        users: list[bytes] | None = [] if with_users else None
        mine: list[int] = []
        lines = memoryview(records.buffer)
        ends = (records.starts + records.lengths).tolist()
        for first in range(0, len(records), LINES):
            upto = min(first + LINES, len(records))
            requests: list[Request] | None = None
            if not unfit or unfit.isdisjoint(range(first, upto)):
                with suppress(*rq.DECODE_ERRORS):
                    requests = rq.decode_lines(lines[records.starts[first] : ends[upto - 1]])
            if requests is not None and len(requests) == upto - first:
                mine += places[first:upto]
            else:
                requests = []
                for here in range(first, upto):
                    try:
                        requests.append(rq.read(records[here]))
                    except Rejected as error:
                        refused.append(Refused(places[here], error.alone()))
                    else:
                        mine.append(places[here])
            said += map(_said, requests)
            at += map(_time, requests)
            if users is not None:
                users += ((each.user or "").encode() for each in requests)
        return said, at, users, mine

    def _add(
        self,
        records: Records,
        texts: Sequence[Text],
        users: Sequence[bytes] | None,
        places: Sequence[int],
        by_minute: tuple[list[int] | None, list[times.Group]],
        now_ms: int,
        counts: Counts,
        refused: list[Refused],
    ) -> None:
        """Count the records at `places` by their texts and minutes."""
        order, groups = by_minute
        if order is not None:
            texts, places = [texts[i] for i in order], [places[i] for i in order]
            users = [users[i] for i in order] if users is not None else None
        for label, first, upto in groups:
            whole = upto - first == len(texts)
            mine = texts if whole else texts[first:upto]
            minute = self._minute(label, now_ms)
            doubtful = set(mine) if minute is None else self._count(mine, minute, counts)
            if users is not None and minute is not None:
                self._note(mine, users[first:upto], minute, counts)
            if doubtful:
                doubted = (p for p, text in zip(places[first:upto], mine, strict=True) if text in doubtful)
                self._one_by_one(records, doubted, now_ms, counts, refused)

    def _note(self, texts: Sequence[Text], users: Sequence[bytes], minute: int, counts: Counts) -> None:
        """Note who made the requests of a minute; those in doubt are noted one by one."""
        if self.hashes is None:
            return
        known = self.hashes.at(minute)
        places: dict[Text, tuple[set[int], bool] | None] = {}
        for text, user in set(zip(texts, users, strict=True)):
            if not user:
                continue
            if text not in places:
                where = counts.where.get(text)
                places[text] = None if where is None else counts.sample(minute, where)
            place = places[text]
            if place is not None:
                sample, failed = place
                sample.add(known[user] | failed)

    def _minute(self, label: str | int, now_ms: int) -> int | None:
        """The minute that a label of `times` names; None when it is wrong or not wholly in bounds."""
        minute = self._minutes.get(label)
        if minute is None:
            try:
                minute = times.whole_minute(label, now_ms)
            except Rejected:
                return None
            if len(self._minutes) > REMEMBERED:
                self._minutes.clear()
            self._minutes[label] = minute
        return minute

    def _count(self, texts: Sequence[Text], minute: int, counts: Counts) -> set[Text]:
        """Count requests of a minute; the texts that may be wrong, which are not counted."""
        mine = counts.minutes.setdefault(minute, Counter())
        before = len(mine)
        mine.update(texts)
        doubtful: set[Text] = set()
        # A dictionary keeps its keys in the order in which they came.
        new: list[Text] = list(islice(reversed(mine), len(mine) - before))  # type: ignore[arg-type]  # a `Where` is no text
        for text in new:
            if text in counts.where:
                continue
            where = self._known.get(text) or self._learn(text)
            if where is None:
                doubtful.add(text)
                del mine[text]
            else:
                counts.where[text] = where
        return doubtful

    def _learn(self, text: Text) -> Where | None:
        said = read_runs(text) if isinstance(text, bytes) else text
        if said is None:
            return None
        tenant, portal, outcome, fault, code = said
        try:
            rq.check_names(tenant, portal, code)
        except Rejected:
            return None
        if len(self._known) > REMEMBERED:
            self._known.clear()
        where = self._known[text] = _where(tenant, portal, outcome, fault, code, self.codes)
        return where

    def _one_by_one(
        self, records: Records, places: Iterable[int], now_ms: int, counts: Counts, refused: list[Refused]
    ) -> None:
        for place in places:
            try:
                r = rq.read(records[place])
                rq.check_names(r.tenant, r.portal, r.code)
                minute = rq.minute(r.time, now_ms)
            except Rejected as error:
                refused.append(Refused(place, error.alone()))
            else:
                where = _where(r.tenant, r.portal, r.outcome, r.fault, r.code, self.codes)
                counts.add(minute, where)
                if self.hashes is not None and r.user:
                    sample, failed = counts.sample(minute, where)
                    sample.add(self.hashes.at(minute)[r.user.encode()] | failed)


def _where(
    tenant: str, portal: str, outcome: str, fault: str | None, code: str | None, codes: Mapping[str, str]
) -> Where:
    index = rq.classify(outcome, fault, code, codes)
    return Where(tenant, portal, index, (code or "") if index == rq.UNCLASSIFIED else "")


class Chunk:
    """One source partition's open chunk, from `start` up to what has been counted so far."""

    def __init__(self, topic: str, partition: int, partitions: int, start: int) -> None:
        self.topic = topic
        self.partition = partition
        self.partitions = partitions
        self.start = start
        self.upto = start
        self._clear()

    def _clear(self) -> None:
        self.read = 0
        self.refused = 0
        self.counts = Counts()
        self.decisions: list[Decision] = []

    @property
    def empty(self) -> bool:
        """Whether no offset has been added since the start."""
        return self.upto == self.start

    def add(self, upto: int, read: int, refused: int, decisions: Iterable[Decision] = ()) -> None:
        """Take in a batch that ends before offset `upto` and is counted in `counts`; AssertionError when the offsets go backwards."""
        if upto < self.upto:
            raise AssertionError(
                f"{self.topic}-{self.partition}: a batch up to {upto} after {self.upto}: offsets must not go back"
            )
        self.upto = upto
        self.read += read
        self.refused += refused
        self.decisions.extend(decisions)

    def frames(self, place: Callable[[str], int], partitions: int, at_ms: int, complete_ms: int) -> list[Frame]:
        """A frame for each of the journal's `partitions`, also the empty ones; `place` gives a tenant's partition."""
        tallies: list[Tallies] = [{} for _ in range(partitions)]
        for tenant, portal, tally in self.counts.tallies():
            tallies[place(tenant)].setdefault(tenant, {})[portal] = tally
        users: list[dict[str, dict[int, list[int]]]] = [{} for _ in range(partitions)]
        for tenant, minutes in self.counts.users.items():
            users[place(tenant)][tenant] = {minute: merged(found) for minute, found in minutes.items()}
        decisions: list[list[Decision]] = [[] for _ in range(partitions)]
        for decision in self.decisions:
            if decision.tenant == "*":
                for each in decisions:
                    each.append(decision)
            else:
                decisions[place(decision.tenant)].append(decision)
        return [
            Frame(
                topic=self.topic,
                partition=self.partition,
                partitions=self.partitions,
                start=self.start,
                upto=self.upto,
                at_ms=at_ms,
                complete_ms=complete_ms,
                read=self.read,
                refused=self.refused,
                packed=pack(tallies[q]),
                decisions=decisions[q],
                users=users[q],
            )
            for q in range(partitions)
        ]

    def seal_frame(self, at_ms: int, complete_ms: int) -> Frame:
        """The empty frame [start, start): it names a committed start, which seals what ended there, and tells the time."""
        return Frame(
            topic=self.topic,
            partition=self.partition,
            partitions=self.partitions,
            start=self.start,
            upto=self.start,
            at_ms=at_ms,
            complete_ms=complete_ms,
        )

    def take(self) -> Chunk:
        """What has been counted so far, as a chunk to be sent; this one goes on behind it, and may be sent once that is committed."""
        taken = Chunk(self.topic, self.partition, self.partitions, self.start)
        taken.upto, taken.read, taken.refused = self.upto, self.read, self.refused
        taken.counts, taken.decisions = self.counts, self.decisions
        self.start = self.upto
        self._clear()
        return taken
