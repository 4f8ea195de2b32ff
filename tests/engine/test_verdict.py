"""The verdict's rules as a table."""

from __future__ import annotations

import pytest

from monitor.engine.verdict import AT_RISK, BREACHED, CLEARED, NONE, Evidence, Policy, Verdict, decide

POLICY = Policy(at_risk=0.8, clear=0.5, requests=100, failures=10)
TABLE: tuple[tuple[str, str, tuple[int, int, float, float], str | None], ...] = (
    # The threshold is 99 %: of 10,000 expected requests 100 may fail.
    ("none", NONE, (5_000, 50, 10_000, 0.79), None),
    ("at its edge", NONE, (5_000, 50, 10_000, 0.80), AT_RISK),
    ("already said", AT_RISK, (5_000, 50, 10_000, 0.99), None),
    ("between clear and at risk", AT_RISK, (5_000, 50, 10_000, 0.50), None),
    ("under clear", AT_RISK, (5_000, 50, 10_000, 0.49), CLEARED),
    ("the budget's last", NONE, (5_000, 100, 10_000, 0.10), None),
    ("one more than the budget", NONE, (5_000, 101, 10_000, 0.10), BREACHED),
    ("from at risk", AT_RISK, (5_000, 101, 10_000, 0.99), BREACHED),
    ("already breached", BREACHED, (5_000, 101, 10_000, 0.99), None),
    ("the budget is back but doubt remains", BREACHED, (5_000, 100, 10_000, 0.50), None),
    ("the budget is back", BREACHED, (5_000, 100, 10_000, 0.49), CLEARED),
    ("used up, whatever the probability says", BREACHED, (5_000, 101, 10_000, 0.0), None),
    ("more requests than were expected", NONE, (19_900, 101, 10_000, 0.10), None),
    ("too few requests", NONE, (85, 14, 0, 1.0), None),
    ("just enough requests", NONE, (86, 14, 0, 1.0), BREACHED),
    ("too few failures", NONE, (200, 9, 0, 1.0), None),
    ("nothing", NONE, (0, 0, 0, 1.0), None),
    ("all that counted is gone", BREACHED, (0, 0, 0, 0.0), CLEARED),
)


@pytest.mark.parametrize(("state", "evidence", "said"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_verdict_changes_only_where_the_table_says(
    state: str, evidence: tuple[int, int, float, float], said: str | None
) -> None:
    change = decide(Verdict(state, 1), 9_900, Evidence(*evidence), POLICY)
    assert (change and change[0]) == said


def test_a_reason_has_the_figures_it_was_decided_on() -> None:
    breached = decide(Verdict(), 9_900, Evidence(5_000, 101, 10_000.4, 0.1), POLICY)
    assert breached == (BREACHED, "101 requests failed and the month's expected 10000 allow 100")
    at_risk = decide(Verdict(), 9_900, Evidence(5_000, 50, 10_000, 0.813), POLICY)
    assert at_risk == (AT_RISK, "the probability of missing the threshold is 0.81, at or over 0.8")
