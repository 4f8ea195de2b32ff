"""From a worker's text to a person: a real Prometheus with the rules of deploy/, a real Alertmanager with its routes, a real webhook."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from deploy.prometheus.generate import RULES
from tests.alerts.exposition import Worker
from tests.alerts.programs import DEPLOY, Phone, alertmanager, listening, prometheus, until

NEEDED = "prometheus-alertmanager" if shutil.which("prometheus-alertmanager") else "alertmanager"


@pytest.mark.needs("prometheus", NEEDED)
def test_an_incident_that_endangers_a_month_rings_once_with_figures_and_a_runbook(tmp_path: Path) -> None:
    """Scrapes, evaluations and Alertmanager's waits are cut to a second; the rules' own waits are as they are."""
    phone = Phone()
    text = (DEPLOY / "alertmanager" / "alertmanager.yaml").read_text()
    with listening(Worker().text) as worker, listening(phone.take) as hook:
        text = re.sub(r"(group_wait|group_interval): \S+", r"\1: 1s", text.replace("${WEBHOOK}", f"http://{hook}/"))
        with (
            alertmanager(tmp_path, text) as desk,
            prometheus(
                tmp_path, worker, every="1s", rules=f"{RULES}/*.yaml", alertmanager=desk.removeprefix("http://")
            ),
        ):
            until(lambda: ("page", "BreachLikely", "99", "firing") in phone.told("acme"), "the page")
    [page] = [each for each in phone.alerts() if each["labels"]["alertname"] == "BreachLikely"]
    assert page["annotations"]["summary"].startswith("acme will probably end the month below 99 %")
    assert "1h 23m 0s" in page["annotations"]["description"], "the point of no return"
    assert (DEPLOY.parent / page["annotations"]["runbook_url"]).suffix == ".md"
    assert {each["labels"].get("tenant") for each in phone.alerts()} == {"acme"}
