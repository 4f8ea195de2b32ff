"""What a person decides where counts cannot: whose fault a code is, what a silence was, that an unmeasured month may be final.

Rules:
- *classify*: failures nobody could classify, with this code, from an instant on: server, client or external.
- *silence*: minutes in which nothing came: `bad` with the number of requests that the person holds to be missing, spread evenly over the
  minutes, or `excluded`. It holds for minutes in which really nothing came; requests that arrive late are counted instead.
- *accept_unmeasured*: a month whose coverage is under the terms' may be final.
- *withdraw*: an earlier ruling, as if it had not been made.
- Where two rulings are about the same minute, the later (`at`, then id) holds. The order in which they arrive changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from monitor.contract.decisions import Fields, Reason, Refused, is_text, known
from monitor.contract.exclusions import ALL
from monitor.contract.instant import rfc3339
from monitor.contract.period import MINUTE_MS, month_named

Kind = Literal["classify", "silence", "accept_unmeasured", "withdraw"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FAULTS = ("server", "client", "external")
SILENCE = ("bad", "excluded")


@dataclass(frozen=True, slots=True)
class Ruling:
    """One decision about a tenant, or about all (`*`). `at` and `recorded`: UTC epoch milliseconds.

    classify: `code`, `verdict` (one of `FAULTS`), `start` (UTC epoch minute). silence: [`start`, `end`), `verdict` (one of `SILENCE`),
    `requests` missing. accept_unmeasured: `month`. withdraw: `ruling`, the id of the other.
    """

    id: str
    tenant: str
    kind: Kind
    at: int
    by: str
    recorded: int
    reason: str = ""
    code: str = ""
    verdict: str = ""
    start: int = 0
    end: int = 0
    requests: int = 0
    month: str = ""
    ruling: str = ""

    def concerns(self, tenant: str) -> bool:
        """Whether it is about the tenant."""
        return self.tenant in (tenant, ALL)

    def record(self) -> dict[str, Any]:
        """The decision as the JSON object that `ruling_of` reads."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in ("id", "tenant", "kind", "by", "reason")}
        fields["at"] = rfc3339(self.at)
        if self.kind == "classify":
            fields |= {"code": self.code, "as": self.verdict, "from": rfc3339(self.start * MINUTE_MS)}
        elif self.kind == "silence":
            fields |= {"as": self.verdict, "from": rfc3339(self.start * MINUTE_MS), "to": rfc3339(self.end * MINUTE_MS)}
            fields |= {"requests": self.requests} if self.verdict == "bad" else {}
        elif self.kind == "accept_unmeasured":
            fields["month"] = self.month
        else:
            fields["ruling"] = self.ruling
        return fields


def ruling_of(data: Any, recorded: int) -> Ruling:
    """The ruling in a record of the topic `decisions` (`deploy/schemas/decision.schema.json`), recorded at `recorded` (ms).

    Names every fault in one ValueError.
    """
    fields = Fields(data)
    name, tenant, by = (fields.text(field, needed=True) for field in ("id", "tenant", "by"))
    kind: Any = fields.choice("kind", KINDS)
    at, reason = fields.made(recorded), fields.text("reason", needed=True)
    more: dict[str, Any] = {}
    if kind == "classify":
        more = {"code": _code(fields), "verdict": fields.choice("as", FAULTS), "start": fields.minute("from")}
    elif kind == "silence":
        more = dict(zip(("start", "end"), fields.window(), strict=True))
        more["verdict"] = fields.choice("as", SILENCE)
        if fields.data.get("as") == "bad":
            more["requests"] = fields.number("requests", 1)
    elif kind == "accept_unmeasured":
        more["month"] = fields.text("month", needed=True)
        try:
            month_named(more["month"] or "2026-01")
        except ValueError as error:
            fields.faults.append(f"month: {error}")
    else:
        more["ruling"] = fields.text("ruling", needed=True)
    fields.check()
    return Ruling(name, tenant, kind, at, by, recorded, reason, **more)


def _code(fields: Fields) -> str:
    """A code as producers write it; "" is that of failures without one."""
    found = fields.data.get("code")
    if is_text(found):
        return str(found)
    fields.fault("code", 'a text ("" for failures without a code)')
    return ""


@dataclass(frozen=True, slots=True)
class Rulings:
    """The rulings that hold for one tenant, the latest last."""

    tenant: str
    held: tuple[Ruling, ...] = ()
    codes: dict[str, list[Ruling]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        codes: dict[str, list[Ruling]] = {}
        for ruling in self.held:
            if ruling.kind == "classify":
                codes.setdefault(ruling.code, []).append(ruling)
        object.__setattr__(self, "codes", codes)

    def fault(self, code: str, minute: int) -> str | None:
        """Whose fault an unclassified failure with the code at the UTC epoch minute was; None when nobody has decided."""
        return next((r.verdict for r in reversed(self.codes.get(code, [])) if r.start <= minute), None)

    @property
    def silences(self) -> list[Ruling]:
        """Rulings on silence, the latest last."""
        return [ruling for ruling in self.held if ruling.kind == "silence"]

    def accepted(self, month: str) -> Ruling | None:
        """Who accepted the month called like "2026-11" although it was not measured well enough, if anybody."""
        return next((r for r in self.held if r.kind == "accept_unmeasured" and r.month == month), None)


def rulings(decisions: Iterable[Ruling], tenant: str, as_of: int) -> tuple[Rulings, tuple[Refused, ...]]:
    """What holds for the tenant as it was known at the instant `as_of` (ms), and the rulings that were refused by then."""
    taken, twins = known((item for item in decisions if item.concerns(tenant)), as_of)
    refused = [refusal for _, refusal in twins]
    names = {item.id for item in taken if item.kind != "withdraw"}
    withdrawn = {item.ruling for item in taken if item.kind == "withdraw"}
    refused += [
        Refused(item.id, Reason.UNKNOWN, f"there is no ruling {item.ruling} to withdraw")
        for item in taken
        if item.kind == "withdraw" and item.ruling not in names
    ]
    held = [item for item in taken if item.kind != "withdraw" and item.id not in withdrawn]
    held.sort(key=lambda item: (item.at, item.id))
    return Rulings(tenant, tuple(held)), tuple(sorted(refused, key=lambda item: (item.id, item.reason)))
