"""Write the rules of Prometheus from the tables beside this file.

python -m deploy.prometheus.generate        # in the repository's root
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from deploy.prometheus import fleet, incidents, own, support, verdicts
from deploy.prometheus.rule import Alert, Record

RULES = Path(__file__).parent / "rules"
INTERVAL = "5s"
"""How often rules are evaluated, and workers scraped."""

GROUPS: dict[str, Sequence[Alert | Record]] = {
    "verdicts": verdicts.rules(),
    "incidents": incidents.rules(),
    "support": support.alerts(),
    "monitor": own.alerts(),
    "fleet": fleet.records(),
}

HEAD = "# Made by `python -m deploy.prometheus.generate` from the tables beside it. Change those.\n"


class _Writer(yaml.SafeDumper):
    """Writes expressions of several lines as they are read."""


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Writer.add_representer(str, _text)


def files() -> dict[str, str]:
    """The text of each file in rules/, by its name."""
    made = {}
    for name, rules in GROUPS.items():
        group = {"name": name, "interval": INTERVAL, "rules": [rule.rule() for rule in rules]}
        text = yaml.dump({"groups": [group]}, Dumper=_Writer, sort_keys=False, width=1000, allow_unicode=True)
        made[f"{name}.yaml"] = HEAD + text
    return made


if __name__ == "__main__":
    RULES.mkdir(exist_ok=True)
    for name, text in files().items():
        (RULES / name).write_text(text, encoding="utf-8")
