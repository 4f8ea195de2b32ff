"""What people decide, as it comes in: fields read with every fault named, decisions filtered by when they were known, refusals.

A decision has three times. `at` is when a person says it was made, and orders decisions among themselves; `recorded` is when the
log had it, and tells what was known when; what it is *about* (a window, a month) is its own. Rules:

- What is malformed is a ValueError with every fault: it changes nothing and belongs in a rejected topic.
- What is well formed but cannot be is `Refused`, with a reason from a table and a sentence; it is kept and shown.
- A decision is named by its `id`. One that comes again with the same content changes nothing; of two with different content the one
  recorded first holds, and the other is refused.
- Nothing may be dated more than `AHEAD_MS` after it was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeVar

from monitor.contract.instant import instant, rfc3339
from monitor.contract.period import MINUTE_MS

AHEAD_MS = 300_000
"""How far a decision may be dated ahead of its record, in milliseconds: clocks differ."""


class Reason(StrEnum):
    """Why a decision was refused."""

    SAME_ID = "same_id"
    UNKNOWN = "unknown"
    ALREADY_DECLARED = "already_declared"
    ALREADY_APPROVED = "already_approved"
    REVOKED = "revoked"
    NO_CONTRACT = "no_contract"
    NOT_ATTESTED = "not_attested"
    WRONG_PARTNER = "wrong_partner"
    SECOND_CLAIM = "second_claim"
    LATE = "late"
    UNAFFECTED_DATE = "unaffected_date"
    NOTHING_OWED = "nothing_owed"
    NOT_FINAL = "not_final"
    WRONG_STATE = "wrong_state"
    WRONG_DAYS = "wrong_days"


@dataclass(frozen=True, slots=True)
class Refused:
    """A decision that is refused: its id, the reason and a sentence for people."""

    id: str
    reason: Reason
    sentence: str

    def record(self) -> dict[str, str]:
        """As a JSON object."""
        return {"id": self.id, "reason": self.reason.value, "sentence": self.sentence}


class Decision(Protocol):
    """What all decisions have in common; `recorded` and `at` are UTC epoch milliseconds."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> str:
        """Its name, unique within its topic."""

    @property
    def at(self) -> int:
        """When it was made."""

    @property
    def recorded(self) -> int:
        """When the log had it."""


D = TypeVar("D", bound=Decision)


def known(decisions: Iterable[D], as_of: int) -> tuple[list[D], list[tuple[D, Refused]]]:
    """The decisions recorded by the instant `as_of` (inside), each id once, in the order of record; and those whose id was used before."""
    first: dict[str, D] = {}
    twins: list[tuple[D, Refused]] = []
    seen: set[D] = set()
    for decision in sorted(decisions, key=lambda item: item.recorded):
        said = replace(decision, recorded=0)
        if decision.recorded > as_of or said in seen:
            continue
        seen.add(said)
        held = first.setdefault(decision.id, decision)
        if held is not decision:
            sentence = f"{decision.id} is the id of another decision, of {rfc3339(held.at)}: give this one its own"
            twins.append((decision, Refused(decision.id, Reason.SAME_ID, sentence)))
    return list(first.values()), twins


MOST = 1_000_000_000
"""The largest whole number that a decision may name."""


def is_text(found: Any) -> bool:
    """Whether it is a text that can be written as UTF-8; JSON may escape halves of characters that cannot."""
    return isinstance(found, str) and not any("\ud800" <= letter <= "\udfff" for letter in found)


class Fields:
    """The fields of a JSON or TOML object, read one at a time; `faults` gathers what is wrong, `check` raises them together."""

    def __init__(self, data: Any) -> None:
        if not isinstance(data, Mapping):
            raise ValueError(f"expected an object, found {type(data).__name__}")  # noqa: TRY004 - bad data
        self.data = data
        self.faults: list[str] = []

    def fault(self, name: str, expected: str) -> None:
        """Note that a field is not as expected."""
        found = f"found {self.data[name]!r:.80}" if name in self.data else "found none"
        self.faults.append(f"{name}: expected {expected}, {found}")

    def text(self, name: str, needed: bool = False) -> str:
        """A text, stripped; "" when it is missing and not needed."""
        found = self.data.get(name)
        if is_text(found) and (text := str(found).strip()):
            return text
        if needed or not (found is None or found == ""):
            self.fault(name, "a text")
        return ""

    def choice(self, name: str, choices: Sequence[str], needed: bool = True) -> str:
        """One of the choices; the first of them when it is none; "" when it is missing and not needed."""
        found = self.data.get(name)
        if found is None and not needed:
            return ""
        if isinstance(found, str) and found in choices:
            return found
        self.fault(name, f"one of {', '.join(choices)}")
        return choices[0]

    def number(self, name: str, least: int = 0) -> int:
        """A whole number from `least` to `MOST`."""
        found = self.data.get(name)
        if isinstance(found, int) and not isinstance(found, bool) and least <= found <= MOST:
            return found
        self.fault(name, f"a whole number from {least} to {MOST}")
        return least

    def time(self, name: str) -> int:
        """An instant as UTC epoch milliseconds, from RFC 3339 with an offset or from milliseconds."""
        try:
            return instant(self.data.get(name))
        except ValueError as error:
            self.faults.append(f"{name}: {error}")
            return 0

    def minute(self, name: str) -> int:
        """An instant that is a whole UTC epoch minute."""
        at = self.time(name)
        if at % MINUTE_MS:
            self.fault(name, "a whole minute")
        return at // MINUTE_MS

    def window(self) -> tuple[int, int]:
        """`from` and `to` as UTC epoch minutes, the end outside."""
        before = len(self.faults)
        start, end = self.minute("from"), self.minute("to")
        if len(self.faults) == before and start >= end:
            self.fault("to", "a time after from")
        return start, end

    def day(self, name: str) -> date | None:
        """A local date, as text or TOML's own; None when it is missing."""
        found = self.data.get(name)
        if found is None or type(found) is date:
            return found
        try:
            return date.fromisoformat(found)
        except (TypeError, ValueError):
            self.fault(name, "a date such as 2026-11-30")
            return None

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts without repetition, sorted; empty when it is missing."""
        found = self.data.get(name, [])
        if isinstance(found, list) and all(is_text(item) and item for item in found):
            return tuple(sorted(set(found)))
        self.fault(name, "a list of texts")
        return ()

    def made(self, recorded: int) -> int:
        """The instant `at` of a decision that was recorded at `recorded`."""
        at = self.time("at")
        if at > recorded + AHEAD_MS:
            self.fault("at", f"a time at most five minutes after it was recorded, {rfc3339(recorded)}")
        return at

    def check(self) -> None:
        """Raise one ValueError with every fault, if there is one."""
        if self.faults:
            raise ValueError("; ".join(self.faults))
