"""Credits and the claims for them: one credit for each (tenant, month), folded from statements and people's decisions in the order of the log.

`TRANSITIONS` is the whole state machine. Who claims, confirms and applies is a person or billing; what is owed is a statement's. Rules:

- Until the month is final its credit is *open*: a claim is held, and decided when the final statement comes. What is wrong with a claim
  whatever the statement may say (no contract, no attestation, the wrong partner, too late, a second one) refuses it at once.
- A claim names affected dates. It is in time for a date until `claim_days` after it, by the local date on which the customer gave notice
  (`at`, not when it was recorded). One date that is affected and in time is enough.
- A refused claim is kept with its reason, and decides nothing: another one may be filed. While one stands or is held, a second is refused.
  A claim that was refused for what the statement said is decided again when an amendment says otherwise.
- A credit that nobody claimed lapses when the last affected date's deadline has passed.
- Days are the newest settled statement's, never over the cap; what was applied stays applied. When an amendment grants more than that, the
  credit is confirmed anew for the rest.
- The term's end with credits is the agreed end plus all days applied, each once: a decision that comes again changes nothing.
  `old_end` is the end without this credit, `new_end` is `days` later.
- Decisions about claims are taken in the order in which the log had them. A decision that does not fit is refused with a reason, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Any, Literal, Protocol, get_args

from monitor.contract.agreement import Agreement, Agreements
from monitor.contract.decisions import Fields, Reason, Refused, known
from monitor.contract.instant import rfc3339
from monitor.contract.period import MINUTE_MS, day_start, local_date, month_named
from monitor.contract.readings import Affected, deadline

Action = Literal["file", "confirm", "dispute", "apply"]
ACTIONS: tuple[Action, ...] = get_args(Action)
State = Literal["open", "none", "offered", "claimed", "confirmed", "disputed", "applied", "lapsed", "refused"]
STATES: tuple[State, ...] = get_args(State)
Event = Literal["owe", "owe_more", "clear", "file", "refuse", "confirm", "dispute", "apply", "lapse"]
EVENTS: tuple[Event, ...] = get_args(Event)

TRANSITIONS: dict[State, dict[Event, State]] = {
    "open": {"owe": "offered", "clear": "none"},
    "none": {"owe": "offered", "clear": "none", "refuse": "refused"},
    "offered": {"owe": "offered", "clear": "none", "file": "claimed", "refuse": "refused", "lapse": "lapsed"},
    "claimed": {"owe": "claimed", "clear": "refused", "confirm": "confirmed", "dispute": "disputed"},
    "confirmed": {"owe": "confirmed", "clear": "refused", "apply": "applied", "dispute": "disputed"},
    "disputed": {"owe": "disputed", "clear": "refused", "confirm": "confirmed"},
    "applied": {"owe": "applied", "owe_more": "confirmed", "clear": "applied"},
    "lapsed": {"owe": "offered", "clear": "none", "file": "claimed", "refuse": "refused"},
    "refused": {"owe": "refused", "clear": "refused", "file": "claimed", "refuse": "refused"},
}
"""From a state, by what happens, to the next. What is not named does not fit.

*owe*, *owe_more* (than was applied), *clear*: a settled statement entitles to days, or to none. *file*, *refuse*: a claim that stands, or not.
*lapse*: the last deadline has passed. The rest are decisions.
"""
STANDS: frozenset[State] = frozenset({"claimed", "confirmed", "disputed", "applied"})
"""States in which a claim stands."""
GIVES: frozenset[State] = STANDS | {"offered"}
"""States in which the term's new end is shown with all days owed."""
UNFOUNDED = frozenset({Reason.NOTHING_OWED, Reason.UNAFFECTED_DATE, Reason.LATE})
"""Refusals that another statement may undo: it names other dates, or other days."""


@dataclass(frozen=True, slots=True)
class ClaimDecision:
    """A decision about the credit of a month. `at`, `recorded`: UTC epoch milliseconds; of a claim `at` is when the customer gave notice.

    file: `partner`, `dates`, `attested`. confirm, dispute, apply: `claim`, the id of the claim that is meant; apply: `days` in all, what came
    before included.
    """

    id: str
    tenant: str
    month: str
    action: Action
    at: int
    by: str
    recorded: int
    partner: str = ""
    dates: tuple[date, ...] = ()
    attested: bool = False
    claim: str = ""
    days: int = 0
    reason: str = ""

    def record(self) -> dict[str, Any]:
        """The decision as the JSON object that `claim_of` reads."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in ("id", "tenant", "month", "action", "by")}
        fields["at"] = rfc3339(self.at)
        if self.action == "file":
            dates = [day.isoformat() for day in self.dates]
            fields |= {"partner": self.partner, "dates": dates, "attested": self.attested}
        else:
            fields["claim"] = self.claim
        fields |= {"days": self.days} if self.action == "apply" else {}
        return fields | ({"reason": self.reason} if self.reason else {})


def claim_of(data: Any, recorded: int) -> ClaimDecision:
    """The decision in a record of the topic `claims` (`deploy/schemas/claim.schema.json`), recorded at `recorded` (ms).

    Names every fault in one ValueError.
    """
    fields = Fields(data)
    name, tenant, month, by = (fields.text(field, needed=True) for field in ("id", "tenant", "month", "by"))
    action: Any = fields.choice("action", ACTIONS)
    at = fields.made(recorded)
    try:
        month_named(month or "2026-01")
    except ValueError as error:
        fields.faults.append(f"month: {error}")
    more: dict[str, Any] = {}
    if action == "file":
        more = {"partner": fields.text("partner"), "dates": _dates(fields), "attested": data.get("attested", False)}
        if not isinstance(more["attested"], bool):
            fields.fault("attested", "true or false")
    else:
        more["claim"] = fields.text("claim", needed=True)
    if action == "apply":
        more["days"] = fields.number("days", 1)
    more["reason"] = fields.text("reason", needed=action == "dispute")
    fields.check()
    return ClaimDecision(name, tenant, month, action, at, by, recorded, **more)


def _dates(fields: Fields) -> tuple[date, ...]:
    try:
        dates = tuple(sorted({date.fromisoformat(text) for text in fields.texts("dates")}))
    except ValueError:
        fields.fault("dates", "dates such as 2026-11-30")
        return ()
    if not dates and isinstance(fields.data.get("dates", []), list):
        fields.fault("dates", "the dates on which service was affected, one at least")
    return dates


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim and what became of it: `held` until the month is final, then standing, or `refused`."""

    filed: ClaimDecision
    held: bool = False
    refused: Refused | None = None

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        status = "refused" if self.refused else "held" if self.held else "stands"
        fields = {**self.filed.record(), "recorded": rfc3339(self.filed.recorded), "status": status}
        return fields | ({"refusal": self.refused.record()} if self.refused else {})


@dataclass(frozen=True, slots=True)
class Credit:
    """The credit of one tenant's month.

    `version` counts its changes. `days`: owed in all, or applied if that is more; `applied`: in the term's end already. `old_end`, `new_end`:
    the term's end without and with the credit; as they were at the last application once it is applied, None where the contract names no
    end. `statement`: the hash of the settled statement it rests on, None while there is none.
    """

    tenant: str
    month: str
    state: State = "open"
    version: int = 0
    days: int = 0
    applied: int = 0
    statement: str | None = None
    affected: tuple[Affected, ...] = ()
    claims: tuple[Claim, ...] = ()
    refused: tuple[Refused, ...] = ()
    reason: str = ""
    old_end: date | None = None
    new_end: date | None = None

    @property
    def id(self) -> str:
        """Its deterministic name with its version, such as acme/2026-11/credit-2."""
        return f"{self.tenant}/{self.month}/credit-{self.version}"

    @property
    def standing(self) -> Claim | None:
        """The claim that stands, if one does."""
        return next((item for item in self.claims if not item.held and not item.refused), None)

    @property
    def closes(self) -> int | None:
        """The UTC epoch minute from which no affected date can be claimed for; None without any."""
        return max((day.closes for day in self.affected), default=None)

    def record(self) -> dict[str, Any]:
        """The credit as a record of the topic `credits` (`deploy/schemas/credit.schema.json`)."""
        standing = self.standing
        return {
            "id": self.id,
            "tenant": self.tenant,
            "month": self.month,
            "version": self.version,
            "state": self.state,
            "reason": self.reason,
            "days": self.days,
            "applied_days": self.applied,
            "days_to_apply": self.days - self.applied if self.state == "confirmed" else 0,
            "old_end": self.old_end.isoformat() if self.old_end else None,
            "new_end": self.new_end.isoformat() if self.new_end else None,
            "statement": self.statement,
            "affected": [day.record() for day in self.affected],
            "claim": standing.filed.id if standing else None,
            "claims": [claim.record() for claim in self.claims],
            "refused": [item.record() for item in self.refused],
        }


@dataclass(frozen=True, slots=True)
class Account:
    """All credits of a tenant by month."""

    tenant: str
    credits: Mapping[str, Credit]

    def refusal(self, decision: str) -> Refused | None:
        """Why the decision with this id was refused; None when it was not."""
        for credit in self.credits.values():
            refused = [*credit.refused, *(claim.refused for claim in credit.claims if claim.refused)]
            found = next((item for item in refused if item.id == decision), None)
            if found:
                return found
        return None

    def extension(self, agreement: Agreement) -> int:
        """Days applied to the agreement's term: those of months that ended before it started went to another."""
        start = agreement.start
        months = (credit for credit in self.credits.values() if credit.applied)
        return sum(
            credit.applied
            for credit in months
            if start is None or month_named(credit.month, agreement.zone).end > day_start(start, agreement.zone)
        )


class Settlement(Protocol):
    """What a credit needs of a statement: whether it is `settled`, its `month`, instant (ms), hash, days owed and affected dates."""

    @property
    def settled(self) -> bool:
        """Whether it is final or amends a final one."""

    @property
    def month(self) -> str:
        """Like "2026-11"."""

    @property
    def as_of(self) -> int:
        """When it was made."""

    @property
    def sha256(self) -> str:
        """Its hash."""

    @property
    def days(self) -> int:
        """Days of credit that the month entitles to."""

    @property
    def affected(self) -> Sequence[Affected]:
        """In order."""


def fold(
    agreements: Agreements, statements: Iterable[Settlement], decisions: Iterable[ClaimDecision], as_of: int
) -> Account:
    """A tenant's credits as they were known at the instant `as_of` (ms, inside).

    Statements and decisions may be given that came later: they are left out. At the same instant contracts come first, then statements, then
    decisions in the order given.
    """
    settlements = [item for item in statements if item.settled and item.as_of <= as_of]
    taken, twins = known((item for item in decisions if item.tenant == agreements.tenant), as_of)
    if not settlements and not taken and not twins:
        return Account(agreements.tenant, {})
    ledger = _Ledger(agreements)
    events: list[tuple[int, int, Callable[[], None]]] = []
    events += [(item.recorded, 0, partial(ledger.renew, item.recorded)) for item in agreements.known(as_of).all]
    events += [(item.as_of, 1, partial(ledger.settle, item)) for item in settlements]
    events += [(item.recorded, 2, partial(ledger.decide, item)) for item in taken]
    events += [
        (item.recorded, 3, partial(ledger.refuse, item.month, refused, item.recorded)) for item, refused in twins
    ]
    for at, _, happen in sorted(events, key=lambda item: item[:2]):
        ledger.pass_time(at)
        happen()
    ledger.pass_time(as_of)
    return Account(agreements.tenant, dict(sorted(ledger.credits.items())))


class _Ledger:
    """A tenant's credits while they are folded. Instants are epoch milliseconds."""

    def __init__(self, agreements: Agreements) -> None:
        self.agreements = agreements
        self.credits: dict[str, Credit] = {}

    def credit(self, month: str) -> Credit:
        return self.credits.get(month) or Credit(self.agreements.tenant, month)

    def _agreement(self, month: str, at: int) -> Agreement:
        return self.agreements.known(at).month(month).agreement

    def _set(self, credit: Credit, at: int) -> None:
        """Keep a credit as it is now, under a new version when it differs from the last one."""
        before = self.credit(credit.month)
        if not credit.state == before.state == "applied":
            agreement = self._agreement(credit.month, at)
            others = {name: other for name, other in self.credits.items() if name != credit.month}
            old = agreement.term_end(Account(credit.tenant, others).extension(agreement))
            days = credit.days if credit.state in GIVES else credit.applied
            credit = replace(credit, old_end=old, new_end=old + timedelta(days=days) if old else None)
        if credit != before:
            self.credits[credit.month] = replace(credit, version=before.version + 1)

    def renew(self, at: int) -> None:
        """The end of the term may have changed."""
        for credit in list(self.credits.values()):
            self._set(credit, at)

    def _move(self, credit: Credit, event: Event, at: int, **changes: Any) -> None:
        self._set(replace(credit, state=TRANSITIONS[credit.state][event], **changes), at)

    def pass_time(self, at: int) -> None:
        """Let offered credits lapse whose deadlines have passed by the instant."""
        for credit in list(self.credits.values()):
            closes = credit.closes
            if credit.state == "offered" and closes is not None and at >= closes * MINUTE_MS:
                why = f"nobody claimed by {credit.affected[-1].claim_by}"
                self._move(credit, "lapse", closes * MINUTE_MS, reason=why)

    def settle(self, statement: Settlement) -> None:
        """A final statement or an amendment has come."""
        at, credit = statement.as_of, self.credit(statement.month)
        owed = min(statement.days, self._agreement(credit.month, at).terms.cap_days)
        days = max(owed, credit.applied)
        affected = tuple(statement.affected)
        changes: dict[str, Any] = {"days": days, "statement": statement.sha256, "affected": affected}
        event: Event = "owe" if owed else "clear"
        if credit.state == "applied" and owed > credit.applied:
            event = "owe_more"
        if event == "clear" and credit.state in STANDS and credit.applied:
            # What was applied stays: an amendment may take back only what was not.
            self._set(replace(credit, state="applied", reason="", **changes), at)
        elif event == "clear" and credit.state in STANDS:
            why = f"{credit.month} entitles to no credit after an amendment"
            self._move(self._drop(credit, why), event, at, reason=why, **changes)
        else:
            if event == "owe" and credit.applied and days == credit.applied:
                changes["state"] = "applied"
            state = TRANSITIONS[credit.state][event]
            kept = credit.reason if state in ("refused", "disputed") else ""
            self._set(replace(credit, **{"state": state, "reason": kept} | changes), at)
        self._reconsider(credit.month, at)
        now = self.credit(credit.month)
        turned_down = [claim.refused for claim in now.claims if claim.refused]
        if credit.state == "open" and now.state == "offered" and turned_down:
            self._move(now, "refuse", at, reason=turned_down[-1].sentence)
        self.pass_time(at)

    @staticmethod
    def _drop(credit: Credit, why: str) -> Credit:
        """The credit with its standing claim refused."""
        claims = tuple(
            item
            if item.held or item.refused
            else replace(item, refused=Refused(item.filed.id, Reason.NOTHING_OWED, why))
            for item in credit.claims
        )
        return replace(credit, claims=claims)

    def _reconsider(self, month: str, at: int) -> None:
        """Decide held claims, and those again that an earlier statement did not support, until one stands."""
        for place, claim in enumerate(self.credit(month).claims):
            credit = self.credit(month)
            if credit.standing:
                return
            if not claim.held and not (claim.refused and claim.refused.reason in UNFOUNDED):
                continue
            refusal = self._unfounded(credit, claim.filed)
            if refusal and not claim.held:
                continue
            event: Event = "refuse" if refusal else "file"
            claims = (*credit.claims[:place], Claim(claim.filed, refused=refusal), *credit.claims[place + 1 :])
            self._move(credit, event, at, claims=claims, reason=refusal.sentence if refusal else "")

    def decide(self, decision: ClaimDecision) -> None:
        """A decision has come."""
        credit = self.credit(decision.month)
        if decision.action == "file":
            self._file(credit, decision)
            return
        refusal = self._unfit(credit, decision)
        if refusal:
            self.refuse(decision.month, refusal, decision.recorded)
        elif decision.action == "apply":
            self._move(credit, "apply", decision.recorded, applied=credit.days, reason="")
            self.renew(decision.recorded)
        else:
            reason = decision.reason if decision.action == "dispute" else ""
            self._move(credit, decision.action, decision.recorded, reason=reason)

    def refuse(self, month: str, refusal: Refused, at: int) -> None:
        """Keep a decision that does not fit."""
        credit = self.credit(month)
        self._set(replace(credit, refused=(*credit.refused, refusal)), at)

    def _unfit(self, credit: Credit, decision: ClaimDecision) -> Refused | None:
        """Why a decision about a claim cannot be, if it cannot."""

        def no(reason: Reason, sentence: str) -> Refused:
            return Refused(decision.id, reason, sentence)

        claim = next((item for item in credit.claims if item.filed.id == decision.claim), None)
        if claim is None:
            return no(Reason.UNKNOWN, f"nobody filed a claim {decision.claim} for {credit.month}")
        if claim.refused:
            return no(Reason.WRONG_STATE, f"claim {decision.claim} was refused: {claim.refused.sentence}")
        if claim.held:
            return no(Reason.NOT_FINAL, f"{credit.month} is not final: claim {decision.claim} is held until then")
        if decision.action not in TRANSITIONS[credit.state]:
            return no(
                Reason.WRONG_STATE, f"the credit of {credit.month} is {credit.state}: {decision.action} does not fit"
            )
        if decision.action == "apply" and decision.days != credit.days:
            return no(Reason.WRONG_DAYS, f"the credit is {credit.days} days in all, not {decision.days}: read it again")
        return None

    def _file(self, credit: Credit, filed: ClaimDecision) -> None:
        """A claim has come: refused at once, held, or decided."""
        at_once = self._wrong(credit, filed)
        if at_once is None and credit.state == "open":
            self._set(replace(credit, claims=(*credit.claims, Claim(filed, held=True))), filed.recorded)
        elif at_once is None:
            self._admit(credit, filed, filed.recorded)
        else:
            self._turn_down(credit, filed, at_once, filed.recorded)

    def _turn_down(self, credit: Credit, filed: ClaimDecision, refusal: Refused, at: int) -> None:
        credit = replace(credit, claims=(*credit.claims, Claim(filed, refused=refusal)))
        if "refuse" in TRANSITIONS[credit.state]:
            credit = replace(credit, state=TRANSITIONS[credit.state]["refuse"], reason=refusal.sentence)
        self._set(credit, at)

    def _admit(self, credit: Credit, filed: ClaimDecision, at: int) -> None:
        """Decide a claim by what the settled statement says."""
        refusal = self._unfounded(credit, filed)
        if refusal:
            self._turn_down(credit, filed, refusal, at)
        else:
            self._move(credit, "file", at, claims=(*credit.claims, Claim(filed)), reason="")

    def _wrong(self, credit: Credit, filed: ClaimDecision) -> Refused | None:
        """What refuses a claim whatever the statement says; the first of several."""
        agreement = self._agreement(credit.month, filed.recorded)

        def no(reason: Reason, sentence: str) -> Refused:
            return Refused(filed.id, reason, sentence)

        if not agreement.contracted:
            return no(Reason.NO_CONTRACT, f"there is no contract with {credit.tenant} for {credit.month}")
        if not filed.attested:
            return no(Reason.NOT_ATTESTED, "the claim does not attest that the customer kept its own obligations")
        if filed.partner != agreement.partner:
            return no(
                Reason.WRONG_PARTNER, f"the partner is {agreement.partner or 'nobody'}, not {filed.partner or 'nobody'}"
            )
        other = next((item for item in credit.claims if not item.refused), None)
        if other:
            return no(Reason.SECOND_CLAIM, f"claim {other.filed.id} was filed for {credit.month} before")
        given = local_date(filed.at // MINUTE_MS, agreement.zone)
        if all(given > deadline(day, agreement.terms, agreement.zone)[0] for day in filed.dates):
            last = deadline(filed.dates[-1], agreement.terms, agreement.zone)[0]
            return no(Reason.LATE, f"notice was given on {given}; the last day for {filed.dates[-1]} was {last}")
        return None

    def _unfounded(self, credit: Credit, filed: ClaimDecision) -> Refused | None:
        """Why the settled statement does not support a claim, if it does not."""
        agreement = self._agreement(credit.month, filed.recorded)
        given = local_date(filed.at // MINUTE_MS, agreement.zone)
        hit = [item for item in credit.affected if item.day in filed.dates and item.day <= given]
        if not credit.days:
            return Refused(filed.id, Reason.NOTHING_OWED, f"{credit.month} entitles to no credit")
        if not hit:
            dates = ", ".join(map(str, filed.dates))
            return Refused(filed.id, Reason.UNAFFECTED_DATE, f"by {given} no request that counts had failed on {dates}")
        if all(given > item.claim_by for item in hit):
            last = hit[-1]
            return Refused(
                filed.id, Reason.LATE, f"notice was given on {given}; the last day for {last.day} was {last.claim_by}"
            )
        return None


@dataclass(frozen=True, slots=True)
class NoticeDue:
    """The customer is to be told that a date was affected, and until when it may claim. Said once for each date, when the date is over."""

    tenant: str
    month: str
    affected: Affected

    @property
    def id(self) -> str:
        """Its deterministic name, such as acme/2026-11-23/notice-due."""
        return f"{self.tenant}/{self.affected.day}/notice-due"

    def record(self) -> dict[str, Any]:
        """As the data of a CloudEvent."""
        return {
            "id": self.id,
            "type": "notice_due",
            "tenant": self.tenant,
            "month": self.month,
            **self.affected.record(),
        }


def notices(
    tenant: str, month: str, zone: str, affected: Iterable[Affected], told: Collection[str], now: int
) -> list[NoticeDue]:
    """The notices that are due at the instant `now` (ms): for affected dates that are over, not told yet and still open to a claim."""
    today, minute = local_date(now // MINUTE_MS, zone), now // MINUTE_MS
    due = (NoticeDue(tenant, month, day) for day in affected if day.day < today and minute < day.closes)
    return [notice for notice in due if notice.id not in told]
