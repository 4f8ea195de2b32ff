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
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.counting import request as rq
from monitor.counting import times
from monitor.counting.frame import Columns, Decision, Frame, narrow, pack
from monitor.counting.kernel import SHIFT, Known, keyed
from monitor.counting.records import Records
from monitor.counting.request import Rejected, Request
from monitor.counting.template import Matched, Said, Templates, read_runs
from monitor.counting.users import Hashes, merged

Text = Said | bytes
"""What a record says besides its time: its fields, or its runs (see `template`)."""

Ints = NDArray[np.int64]
WIDTH = len(rq.CLASSES)
REMEMBERED = 300_000
"""Texts and minutes that a `Reader` remembers before it starts afresh."""
NUMBER = (1 << SHIFT) - 1
WAITING = 200_000
"""Requests that wait to be summed up."""
SAMPLE = b'{"time":"2015-01-01T00:00:00Z","tenant":"a","portal":"b","outcome":"success","user":"c","latency_ms":1}'
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


class Texts:
    """What records say, each text with a number, and what it means: looked up once."""

    def __init__(self, codes: Mapping[str, str]) -> None:
        self.codes = codes
        self.portals: list[tuple[str, str]] = []
        """Tenants' portals."""
        self.unclassified: dict[int, str] = {}
        """By number: the code of an unclassified failure."""
        self._cells = np.empty(1 << 10, dtype=np.int64)
        self._size = 0
        self._numbers: dict[Text, int] = {}
        self._places: dict[tuple[str, str], int] = {}
        self._checked: set[str | None] = {None}
        """Codes that are names."""

    def __len__(self) -> int:
        return self._size

    @property
    def cells(self) -> Ints:
        """By number: the place among `portals` times `WIDTH` plus the class; -1: the text may be wrong, and says so only in a record."""
        return self._cells[: self._size]

    def where(self, number: int) -> Where | None:
        """What the text means; None when it may be wrong."""
        cell = int(self._cells[number])
        if cell < 0:
            return None
        return Where(*self.portals[cell // WIDTH], cell % WIDTH, self.unclassified.get(number, ""))

    def numbers(self, texts: Sequence[Text]) -> Ints:
        """The number of each text; those that say the same have the same."""
        known = self._numbers
        new = [text for text in dict.fromkeys(texts) if text not in known]
        runs = iter(read_runs([text for text in new if isinstance(text, bytes)]))
        for text in new:
            said = next(runs) if isinstance(text, bytes) else text
            known[text] = self._number(said)
        return np.fromiter((known[text] for text in texts), np.int64, len(texts))

    def _number(self, said: Said | None) -> int:
        found = self._numbers.get(said) if said is not None else None
        if found is not None:
            return found
        number = self._size
        if number == len(self._cells):
            self._cells = np.concatenate((self._cells, np.empty_like(self._cells)))
        self._cells[number] = -1 if said is None else self._cell(number, said)
        self._size += 1
        if said is not None:
            self._numbers[said] = number
        return number

    def _cell(self, number: int, said: Said) -> int:
        tenant, portal, outcome, fault, code = said
        name = tenant, portal
        place = self._places.get(name)
        if place is None or code not in self._checked:
            try:
                rq.check_names(tenant, portal, code)
            except Rejected:
                return -1
            self._checked.add(code)
        if place is None:
            place = self._places[name] = len(self.portals)
            self.portals.append(name)
        index = rq.classify(outcome, fault, code, self.codes)
        if index == rq.UNCLASSIFIED:
            self.unclassified[number] = code or ""
        return place * WIDTH + index


class _Sums:
    """Requests by key: the UTC epoch minute, shifted by `SHIFT`, and the number."""

    __slots__ = ("_keys", "_sums", "_waiting")

    def __init__(self) -> None:
        self._keys: list[Ints] = []
        self._waiting = 0
        self._sums: tuple[Ints, Ints] = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._sums[0])

    def add(self, keys: Ints) -> None:
        """Count requests."""
        self._keys.append(keys)
        self._waiting += len(keys)
        if self._waiting > WAITING:
            self.all()

    def all(self) -> tuple[Ints, Ints]:
        """Keys in order, and how many there are of each."""
        if self._keys:
            keys = np.sort(np.concatenate(self._keys))
            begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
            keys, n = keys[begins], np.diff(begins, append=len(keys))
            if len(self._sums[0]):
                keys, n = np.concatenate((self._sums[0], keys)), np.concatenate((self._sums[1], n))
                order = np.argsort(keys, kind="stable")
                keys, n = keys[order], n[order]
                begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
                keys, n = keys[begins], np.add.reduceat(n, begins)
            self._sums = keys, n
            self._keys, self._waiting = [], 0
        return self._sums


class Counts:
    """Counted requests and the users who made them."""

    __slots__ = ("_alone", "_sums", "users")

    def __init__(self) -> None:
        self.users: dict[str, dict[int, set[int]]] = {}
        """By tenant and UTC epoch minute: hashes of users, as in `counting.users`; one may be there twice, with and without a failure."""
        self._sums: dict[Texts, _Sums] = {}
        self._alone: Counter[tuple[int, Where]] = Counter()

    def __len__(self) -> int:
        """How many cells there were, each of a minute and what was said, when requests were last summed up."""
        return sum(map(len, self._sums.values())) + len(self._alone)

    def add(self, minute: int, where: Where, n: int = 1) -> None:
        """Count `n` requests of a minute."""
        self._alone[minute, where] += n

    def add_all(self, texts: Texts, keys: Ints) -> None:
        """Count a request for each key, shape (n,), see `kernel.SHIFT`; each one's text has a `where`."""
        if len(keys):
            self._sums.setdefault(texts, _Sums()).add(keys)

    def sample(self, minute: int, where: Where) -> tuple[set[int], bool]:
        """The hashes of a tenant's minute, to be added to; and whether who made such a request has met a failure."""
        sample = self.users.setdefault(where.tenant, {}).setdefault(minute, set())
        return sample, where.class_index in (rq.SERVER, rq.UNCLASSIFIED)

    def columns(self, place: Callable[[str], int], parts: int) -> list[Columns]:
        """What was counted, in `parts`; `place` gives a tenant's."""
        portals: dict[tuple[str, str], int] = {}
        coded: list[tuple[int, int, str, int]] = []
        counted: list[tuple[Ints, Ints, Ints]] = []
        for texts, sums in self._sums.items():
            keys, n = sums.all()
            numbers = keys & NUMBER
            cells = texts.cells[numbers]
            mine, at = np.unique(cells // WIDTH, return_inverse=True)
            named = np.array([portals.setdefault(texts.portals[each], len(portals)) for each in mine.tolist()])
            counted.append((keys >> SHIFT, named[at] * WIDTH + cells % WIDTH, n))
            for each in np.flatnonzero(cells % WIDTH == rq.UNCLASSIFIED).tolist():
                code = texts.unclassified[int(numbers[each])]
                coded.append((int(named[at[each]]), int(keys[each] >> SHIFT), code, int(n[each])))
        for (minute, where), count in self._alone.items():
            number = portals.setdefault((where.tenant, where.portal), len(portals))
            counted.append((np.array([minute]), np.array([number * WIDTH + where.class_index]), np.array([count])))
            if where.class_index == rq.UNCLASSIFIED:
                coded.append((number, minute, where.code, count))
        made = [Columns() for _ in range(parts)]
        if not counted:
            return made
        names = list(portals)
        mine_of: dict[str, list[int]] = {}
        for number, (tenant, _) in enumerate(names):
            mine_of.setdefault(tenant, []).append(number)
        own: list[list[int]] = [[] for _ in made]
        part_of = {tenant: place(tenant) for tenant in mine_of}
        for tenant, mine_too in mine_of.items():
            made[part_of[tenant]].portals[tenant] = [names[number][1] for number in mine_too]
            own[part_of[tenant]] += mine_too
        for number, minute, code, count in coded:
            tenant, portal = names[number]
            by_minute = made[part_of[tenant]].codes.setdefault(tenant, {}).setdefault(portal, {}).setdefault(code, {})
            by_minute[minute] = by_minute.get(minute, 0) + count
        when, cell, n = (np.concatenate(column) for column in zip(*counted, strict=True))
        # Rows in the order of parts, of places in each, and of minutes.
        rank = np.empty(len(names), dtype=np.int64)
        rank[[number for part in own for number in part]] = np.arange(len(names))
        rows, row = np.unique(rank[cell // WIDTH] << SHIFT | when, return_inverse=True)
        # The sums are floats, exact far beyond any count.
        sums_of = np.bincount(row * WIDTH + cell % WIDTH, weights=n, minlength=len(rows) * WIDTH)
        table = sums_of.astype(np.int64).reshape(-1, WIDTH)
        many = np.bincount(rows >> SHIFT, minlength=len(names)).astype("<u4")
        minutes = (rows & NUMBER).astype("<u4")
        place_upto, upto = 0, 0
        for part, mine_too in zip(made, own, strict=True):
            place_from, place_upto = place_upto, place_upto + len(mine_too)
            begin, upto = upto, upto + int(many[place_from:place_upto].sum())
            part.many, part.minutes = many[place_from:place_upto].tobytes(), minutes[begin:upto].tobytes()
            part.counts = [narrow(column) for column in table[begin:upto].T] if upto > begin else []
        return made


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
        self._texts = Texts(codes)
        self._numbers: dict[int, Ints] = {}
        """By template: the numbers of the texts that it has met, by its own."""
        self._minutes: dict[str | int, int] = {}

    def count(self, records: Records, now_ms: int, counts: Counts) -> list[Refused]:
        """Add a batch to `counts`; the refused. `now_ms` (epoch) bounds how far ahead a request's time may be."""
        refused: list[Refused] = []
        if len(self._texts) > REMEMBERED:
            self._templates.forget()
            self._texts, self._numbers = Texts(self.codes), {}
        places: Sequence[int] = range(len(records))
        if len(records) >= self.many:
            matched, places = self._templates.match(records, with_users=self.hashes is not None)
            for each in matched:
                numbers = self._numbered(each)[each.texts]
                self._add(records, each.places, numbers, each.minutes, each.labels, each.users, now_ms, counts, refused)
        if not places:
            return refused
        rest = records if len(places) == len(records) else Records.of([records[place] for place in places])
        _, unfit = rest.as_lines(rq.MAX_BYTES)
        said, at, users, mine = self._decode(rest, unfit, places, refused, with_users=self.hashes is not None)
        labels, minutes = times.by_minute(at)
        numbers = self._texts.numbers(said)
        self._add(records, np.array(mine, dtype=np.int64), numbers, minutes, labels, users, now_ms, counts, refused)
        return refused

    def _numbered(self, matched: Matched) -> Ints:
        """The numbers of a template's texts, by its own, and room for more."""
        found = self._numbers.get(matched.template, np.empty(0, dtype=np.int64))
        if matched.new:
            upto = matched.known + len(matched.new)
            if upto > len(found):
                found = np.concatenate((found[: matched.known], np.empty(2 * upto - matched.known, dtype=np.int64)))
                self._numbers[matched.template] = found
            found[matched.known : upto] = self._texts.numbers(matched.new)
        return found

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
        places: Ints,
        numbers: Ints,
        minutes: Ints,
        labels: Sequence[str | int],
        users: Sequence[bytes] | None,
        now_ms: int,
        counts: Counts,
        refused: list[Refused],
    ) -> None:
        """Count the records at `places` by the numbers of their texts and the labels of their minutes."""
        known = [self._minute(label, now_ms) for label in labels]
        if not len(places):
            return
        when = np.array([-1 if minute is None else minute for minute in known], dtype=np.int64)
        keys = np.empty(len(numbers), dtype=np.int64)
        doubtful = keyed(numbers, minutes, when, self._texts.cells, keys)
        if users is not None and self.hashes is not None:
            self._note(self.hashes, keys, users, counts)
        if doubtful:
            self._one_by_one(records, places[keys < 0].tolist(), now_ms, counts, refused)
            keys = keys[keys >= 0]
        counts.add_all(self._texts, keys)

    def _note(self, hashes: Hashes, keys: Ints, users: Sequence[bytes], counts: Counts) -> None:
        """Note who made the requests with these keys; those in doubt (-1) are noted one by one."""
        different, which = np.unique(keys, return_inverse=True)
        places: list[tuple[set[int], bool, Mapping[bytes, int]] | None] = [None] * len(different)
        for index, user in zip(which.tolist(), users, strict=True):
            if not user:
                continue
            place = places[index]
            if place is None:
                minute, number = divmod(int(different[index]), 1 << SHIFT)
                where = self._texts.where(number) if minute >= 0 else None
                if where is None:
                    continue
                place = places[index] = (*counts.sample(minute, where), hashes.at(minute))
            sample, failed, known = place
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


def warm() -> None:
    """Have the compiled code of counting at hand."""
    reader = Reader({}, Hashes("none"))
    reader.many = 1
    reader.count(Records.of([SAMPLE]), 0, Counts())
    Known.empty(1, 1).with_room(2, 2)


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
        counts = self.counts.columns(place, partitions)
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
                packed=pack(counts[q]),
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
