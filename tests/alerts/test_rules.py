"""The rules as files: those that the tables make, each checked by promtool, each with a runbook of its own name."""

from __future__ import annotations

import string
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.prometheus import incidents
from deploy.prometheus.generate import GROUPS, RULES, files
from deploy.prometheus.rule import Alert, kebab

ROOT = Path(__file__).parents[2]
ALERTS = [rule for rules in GROUPS.values() for rule in rules if isinstance(rule, Alert)]


def test_the_committed_rules_are_those_the_tables_make() -> None:
    assert {path.name: path.read_text() for path in RULES.iterdir()} == files()


@pytest.mark.needs("promtool")
def test_promtool_accepts_the_rules_and_the_configuration(tmp_path: Path) -> None:
    targets = tmp_path / "targets.yaml"
    targets.write_text('[{"targets": ["127.0.0.1:1"]}]')
    template = string.Template((RULES.parent / "prometheus.yaml").read_text())
    values = {"RULES": str(RULES), "TARGETS": str(targets), "ALERTMANAGER": "127.0.0.1:9093"}
    text = template.substitute(values)
    assert yaml.safe_load(text)["rule_files"] == [f"{RULES}/*.yaml"]
    (tmp_path / "prometheus.yaml").write_text(text)
    run = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yaml")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("burn", incidents.BURNS, ids=lambda burn: burn.name)
@pytest.mark.parametrize("threshold", ["99", "95", "90"])
def test_a_burn_alert_can_fire_before_everything_fails(burn: incidents.Burn, threshold: str) -> None:
    assert 0 < incidents.share(burn, threshold) <= 0.8


def test_a_burn_alert_waits_for_the_share_that_its_factor_takes_of_the_budget() -> None:
    fast, steady, slow, trickle = ([incidents.share(burn, t) for t in ("99", "95", "90")] for burn in incidents.BURNS)
    assert fast == [0.144, 0.72, 0.8]
    assert steady == [0.06, 0.3, 0.6]
    assert slow == [0.03, 0.15, 0.3]
    assert trickle == [0.01, 0.05, 0.1]


def test_a_name_in_kebab_case_keeps_its_words() -> None:
    assert kebab("BudgetBurningFast") == "budget-burning-fast"


def test_an_alert_pages_or_informs() -> None:
    assert {alert.severity for alert in ALERTS} == {"page", "inform"}
