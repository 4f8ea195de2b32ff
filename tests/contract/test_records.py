"""Records at the edge: the schemas say what the decoders take and what statements and credits are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import ValidationError

from monitor.contract.agreement import Agreements, agreement_of
from monitor.contract.credits import claim_of, fold
from monitor.contract.exclusions import exclusion_of
from monitor.contract.period import month_named
from monitor.contract.readings import Minutes, Silence, UserMinutes
from monitor.contract.rulings import ruling_of
from monitor.contract.statement import Facts, Stretch, Tail, canonical, interim, issue
from tests.schemas import schema

LATE = 1_800_000_000_000
READERS: dict[str, Callable[[Any, int], Any]] = {
    "contract": agreement_of,
    "exclusion": exclusion_of,
    "claim": claim_of,
    "decision": ruling_of,
}


def examples(name: str) -> list[Any]:
    found: list[Any] = schema(name).schema["examples"]
    return found


@pytest.mark.parametrize("name", READERS)
def test_the_schemas_examples_are_read_and_written_back_within_the_schema(name: str) -> None:
    for example in examples(name):
        schema(name).validate(example)
        schema(name).validate(READERS[name](example, LATE).record())


@pytest.mark.parametrize("name", READERS)
def test_what_a_schema_asks_for_the_decoder_asks_for_too(name: str) -> None:
    for example in examples(name):
        for field in example:
            without = {key: value for key, value in example.items() if key != field}
            try:
                schema(name).validate(without)
            except ValidationError:
                with pytest.raises(ValueError):
                    READERS[name](without, LATE)
            else:
                READERS[name](without, LATE)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["\ud800", "2026-11-10", "2026-11", "2026-11-10T12:00:00Z", "*", "bad", "silence", "../x", "9" * 400]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=100)
@given(data=st.data())
def test_whatever_a_record_holds_it_is_read_or_its_faults_are_named(name: str, data: st.DataObject) -> None:
    names = sorted({field for example in examples(name) for field in example})
    record = data.draw(st.sampled_from(examples(name))) | data.draw(
        st.dictionaries(st.sampled_from(names), anything, max_size=4)
    )
    try:
        found = READERS[name](record, LATE)
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017 - a record that is read is fine too
        return
    assert READERS[name](json.loads(canonical(found.record())), LATE) == found


def facts() -> Facts:
    """A November with something of everything."""
    november = month_named("2026-11", "Pacific/Auckland")
    noon = november.start + 9 * 1440 + 720
    rows = [("vpn", noon + minute, (90, 5, 5, 1, 2)) for minute in range(30)] + [("admin", noon, (1, 0, 0, 0, 0))]
    codes = [("vpn", code, noon + minute, 1) for minute in range(30) for code in ("E71", "")]
    window = {
        "from": noon * 60_000,
        "to": (noon + 5) * 60_000,
        "category": "internet",
        "tenants": "*",
        "portals": ["vpn"],
    }
    story = [
        {"exclusion": "m-1", "action": "declare", "at": noon * 60_000, "by": "grace", "reason": "cable cut", **window},
        {"exclusion": "m-1", "action": "approve", "at": noon * 60_000 + 1, "by": "linus"},
        {"exclusion": "m-1", "action": "correct", "at": noon * 60_000 + 2, "by": "grace", "reason": "longer", **window},
        {"exclusion": "m-2", "action": "declare", "at": noon * 60_000, "by": "grace", "reason": "error", **window},
        {"exclusion": "m-2", "action": "revoke", "at": noon * 60_000 + 1, "by": "linus", "reason": "error"},
    ]
    users = UserMinutes(np.array([noon]), np.array([50]), np.array([4]), "exact")
    return Facts(
        agreements=Agreements("acme", (agreement_of(examples("contract")[0], 0),)),
        month="2026-11",
        minutes=Minutes(rows, codes),
        as_of=november.end * 60_000,
        exclusions=[exclusion_of(item, LATE - 300_000 * place) for place, item in enumerate(story)],
        rulings=[ruling_of(item, item_at) for item, item_at in zip(examples("decision"), [LATE] * 3, strict=True)],
        silences=[Silence(noon + 60, noon + 90, 400)],
        gaps=[(noon, noon + 3)],
        users=users,
        sources=[Stretch("auth-requests", 0, 0, 900)],
        journal=[Stretch("journal", 2, 5, 90)],
    )


def test_statements_and_credits_hold_to_their_schemas() -> None:
    made = facts()
    later = LATE + 10
    whole = interim(replace(made, as_of=later))
    assert {item["id"]: item["state"] for item in whole.document["exclusions"]} == {"m-1": "approved", "m-2": "revoked"}
    schema("statement").validate(json.loads(whole.data))
    provisional = issue(made, Tail(), None)
    assert provisional is not None
    final = issue(replace(made, as_of=later), Tail().after(provisional), provisional)
    assert final is not None
    for item in (provisional, final):
        schema("statement").validate(json.loads(item.data))
    decisions = [claim_of(item, LATE) for item in examples("claim")]
    for count in range(len(decisions) + 1):
        account = fold(made.agreements, [final], decisions[:count], later + 1)
        for credit in account.credits.values():
            schema("credit").validate(credit.record())


def test_the_same_facts_are_the_same_bytes() -> None:
    assert interim(facts()).data == interim(facts()).data
    assert list(json.loads(interim(facts()).data)) == sorted(json.loads(interim(facts()).data))
