"""Lets promtool judge a case: series go in, and what Alertmanager would be told at some times is compared in full."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from deploy.prometheus.generate import GROUPS, INTERVAL, RULES

WORKER = 'instance="a:1",job="monitor"'


@dataclass(frozen=True)
class Seen:
    """One firing alert: its labels but for its name, and its text."""

    labels: dict[str, str]
    summary: str
    description: str


@dataclass(frozen=True)
class Case:
    """Series in promtool's notation, a value every 5 seconds from time 0, and what of an alert fires at some times."""

    law: str
    alert: str
    runbook: str
    series: dict[str, str]
    at: dict[str, list[Seen]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.law


def series(name: str, values: str, worker: str = WORKER, **labels: str) -> dict[str, str]:
    """One series of a worker; `class_` for `class`."""
    text = "".join(f',{key.rstrip("_")}="{value}"' for key, value in labels.items())
    return {f"{name}{{{worker}{text}}}": values}


def judge(case: Case, folder: Path) -> None:
    """Run promtool over one case; AssertionError with its report when anything differs."""
    group = next(name for name, rules in GROUPS.items() if case.alert in {rule.name for rule in rules})
    checks = [
        {
            "eval_time": at,
            "alertname": case.alert,
            "exp_alerts": [
                {
                    "exp_labels": alert.labels,
                    "exp_annotations": {
                        "summary": alert.summary,
                        "description": alert.description,
                        "runbook_url": case.runbook,
                    },
                }
                for alert in expected
            ],
        }
        for at, expected in case.at.items()
    ]
    test = {
        "rule_files": [str(RULES / f"{group}.yaml")],
        "evaluation_interval": INTERVAL,
        "tests": [
            {
                "interval": "5s",
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "alert_rule_test": checks,
            }
        ],
    }
    file = folder / "case.yaml"
    file.write_text(yaml.safe_dump(test, sort_keys=False, width=10_000), encoding="utf-8")
    run = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
