"""Nothing is forgotten: each alert has a case in which it comes and goes, and a runbook; each runbook has an alert."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.prometheus.generate import GROUPS
from deploy.prometheus.rule import RUNBOOKS, Alert, kebab
from tests.alerts.promtool import Case
from tests.alerts.test_incident_rules import BURNS, WIDER
from tests.alerts.test_own_rules import CASES as OWN
from tests.alerts.test_support_rules import CASES as SUPPORT
from tests.alerts.test_verdict_rules import CASES as VERDICTS

ROOT = Path(__file__).parents[2]
ALERTS = sorted({rule.name for rules in GROUPS.values() for rule in rules if isinstance(rule, Alert)})
COMMAND = re.compile(
    r"    monitor (top|status TENANT|check|local status|topics apply --dry-run|support (list|show TENANT REQUEST))"
)


def _seconds(at: str) -> int:
    return sum(int(n) * {"h": 3600, "m": 60, "s": 1}[unit] for n, unit in re.findall(r"(\d+)([hms])", at))


def _comes_and_goes(case: Case) -> bool:
    fires = [bool(seen) for _, seen in sorted(case.at.items(), key=lambda item: _seconds(item[0]))]
    return not fires[0] and any(fires) and not fires[-1]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_case_in_which_it_comes_and_goes(alert: str) -> None:
    assert any(case.alert == alert and _comes_and_goes(case) for case in [*VERDICTS, *BURNS, *WIDER, *SUPPORT, *OWN])


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_opens_with_what_to_type_and_is_read_in_a_minute(alert: str) -> None:
    lines = (ROOT / RUNBOOKS / f"{kebab(alert)}.md").read_text().splitlines()
    assert lines[0] == f"# {alert}"
    assert COMMAND.fullmatch(lines[2]), lines[2]
    assert [line for line in lines if line.startswith("## ")] == [
        "## What it means",
        "## What to do",
        "## When it ends",
    ]
    assert len(lines) < 30


def test_a_runbook_belongs_to_an_alert() -> None:
    found = {path.stem for path in (ROOT / RUNBOOKS).glob("*.md")}
    assert found == {kebab(alert) for alert in ALERTS}
