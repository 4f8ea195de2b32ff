"""Every query of every dashboard, run against a real Prometheus that has scraped a worker in an incident."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from deploy.grafana import generate
from tests.alerts.programs import prometheus, query, until
from tests.kafka.test_worker import Deployment


@dataclass(frozen=True)
class Target:
    """What is scraped: host:port, and the tenant that the incident hits."""

    address: str
    tenant: str


def judged(page: str) -> bool:
    return "sla_breach_probability" in page and "sla_support_due" in page


@pytest.fixture(scope="module")
def worker(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A real worker in the middle of acme's incident: two days of history of 20 tenants, ten minutes of failures, a refused record."""
    deployment = Deployment(kafka, f"panels-{os.getpid()}", tmp_path_factory.mktemp("worker"), 2)
    deployment.make_topics()
    now = time.time_ns() // 60_000_000_000
    for minute in range(now - 2880, now + 1):
        for name in ("acme", *(f"tenant-{n:02}" for n in range(19))):
            failing = name == "acme" and minute > now - 10
            for n in range(3 if name == "acme" else minute % 3 == 0):
                outcome = {"outcome": "failure", "fault": "server"} if failing and n else {"outcome": "success"}
                value = {"tenant": name, "portal": "login", "time": minute * 60_000, **outcome}
                deployment.produce(json.dumps(value).encode())
    for n in range(20):
        deployment.produce(b"no request")
        doubtful = {
            "tenant": "acme",
            "portal": "login",
            "time": now * 60_000,
            "outcome": "failure",
            "code": f"E-{n % 2}",
        }
        deployment.produce(json.dumps(doubtful).encode())
    opened = {"tenant": "acme", "request": "4711", "type": "opened", "time": now * 60_000, "severity": "P1"}
    deployment.producer.produce(deployment.settings.topic("support-requests"), json.dumps(opened).encode(), "acme")
    deployment.all_produced()
    running = deployment.start()
    try:
        deployment.until("acme is judged", lambda: judged(running.page("metrics")), 90)
        yield Target(f"127.0.0.1:{running.port}", "acme")
    finally:
        deployment.close()


@pytest.fixture(scope="module")
def scraped(worker: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("panels"), worker.address, every="1s") as address:
        until(lambda: query(address, 'count_over_time(up{job="monitor"}[1m]) >= 4'), "four scrapes")
        yield address


def test_the_committed_dashboards_are_the_generated() -> None:
    committed = {path.name: path.read_text() for path in generate.FOLDER.iterdir()}
    assert committed == generate.files(), "run `python -m deploy.grafana.generate`"


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize("name", generate.files())
def test_every_panel_shows_data_in_an_incident(name: str, worker: Target, scraped: str) -> None:
    asked = list(generate.queries(generate.files()[name], tenant=worker.tenant))
    assert len(asked) > 10
    assert [f"{each.panel}: {each.expr}" for each in asked if not query(scraped, each.expr)] == []


@pytest.mark.needs("prometheus")
def test_the_worst_tenant_is_the_one_in_the_incident(worker: Target, scraped: str) -> None:
    [found] = [each for each in generate.queries(generate.files()["fleet.json"]) if each.panel == "Smallest budgets"]
    series = query(scraped, found.expr)
    assert min(series, key=lambda each: float(each["value"][1]))["metric"]["tenant"] == worker.tenant


def test_no_panel_is_without_a_title_a_description_and_a_query() -> None:
    for text in generate.files().values():
        for panel in json.loads(text)["panels"]:
            if panel["type"] != "row":
                assert panel["title"]
                assert panel["description"].endswith(".")
                assert panel["targets"]


def test_a_link_leads_to_a_dashboard_that_exists() -> None:
    texts = generate.files().values()
    assert {uid for text in texts for uid in re.findall(r"/d/([\w-]+)", text)} == {
        json.loads(text)["uid"] for text in texts
    }


def test_grafana_finds_its_data_source_and_the_dashboards() -> None:
    folder = generate.FOLDER.parent / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((folder / "dashboards" / "monitor.yaml").read_text())["providers"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert provider["type"] == "file"
    for text in generate.files().values():
        variables = {each["name"]: each for each in json.loads(text)["templating"]["list"]}
        assert variables["datasource"]["query"] == source["type"]
