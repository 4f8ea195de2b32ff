"""Who is told what: routes by amtool, and a real Alertmanager that posts to a real listener."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from deploy.prometheus.generate import GROUPS
from deploy.prometheus.rule import Alert
from tests.alerts.programs import DEPLOY, Phone, alertmanager, ask, listening, until

TEXT = (DEPLOY / "alertmanager" / "alertmanager.yaml").read_text()
CONFIG = yaml.safe_load(TEXT)
ALERTS = {rule.name: rule for rules in GROUPS.values() for rule in rules if isinstance(rule, Alert)}
ACME = {"tenant": "acme", "threshold": "99"}
NEEDED = "prometheus-alertmanager" if shutil.which("prometheus-alertmanager") else "alertmanager"

RECEIVERS = {
    "BreachPossible": "inform",
    "BreachLikely": "page",
    "BreachImminent": "act-now",
    "Breached": "page",
    "MaintenanceRunning": "nobody",
    "BudgetBurningFast": "page",
    "BudgetBurningSteadily": "page",
    "BudgetBurningSlowly": "inform",
    "BudgetTricklingAway": "inform",
    "PlatformOutage": "act-now",
    "PlatformSilent": "act-now",
    "TenantSilent": "inform",
    "UnclassifiedRequests": "inform",
    "SupportDueSoon": "inform",
    "SupportOverdue": "page",
    "SupportDeskClosed": "nobody",
}
"""Of alerts on tenants and the platform; those on the monitor go to `monitor` when they page, else to `monitor-inform`."""


def labels(name: str) -> dict[str, str]:
    """The labels with which an alert reaches Alertmanager; each alert of the monitor has an instance, which no route asks for."""
    alert = ALERTS[name]
    made = {"alertname": name, "severity": alert.severity}
    if name.startswith(("Breach", "Budget")):
        return made | ACME
    if name in ("MaintenanceRunning", "UnclassifiedRequests", "TenantSilent"):
        return made | {"tenant": "acme"}
    if name.startswith("Support"):
        of_request = {} if name == "SupportDeskClosed" else {"request": "4711", "priority": "P2"}
        return made | {"tenant": "acme"} | of_request
    return made if name.startswith("Platform") else made | {"instance": "a:1"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("routes") / "alertmanager.yaml"
    path.write_text(TEXT.replace("${WEBHOOK}", "http://127.0.0.1:9/"))
    return path


@pytest.mark.needs("amtool")
@pytest.mark.parametrize("name", sorted(ALERTS))
def test_each_alert_has_one_receiver(name: str, filled: Path) -> None:
    alert = ALERTS[name]
    expected = RECEIVERS.get(name) or ("monitor" if alert.severity == "page" else "monitor-inform")
    given = [f"{key}={value}" for key, value in labels(name).items()]
    command = [
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={filled}",
        f"--verify.receivers={expected}",
        *given,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name}: expected {expected}, found {done.stdout.strip()}"


@pytest.mark.needs("amtool")
def test_amtool_accepts_the_configuration(filled: Path) -> None:
    done = subprocess.run(["amtool", "check-config", str(filled)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_routes_and_inhibitions_name_only_alerts_that_there_are() -> None:
    matchers = [m for route in CONFIG["route"]["routes"] for m in route["matchers"]]
    matchers += [
        m for rule in CONFIG["inhibit_rules"] for side in ("source", "target") for m in rule[f"{side}_matchers"]
    ]
    named = {name for m in matchers if m.startswith("alertname") for name in re.search(r'"(.*)"', m)[1].split("|")}  # type: ignore[index]  # no match is a fault
    assert named - set(ALERTS) == set()
    assert set(RECEIVERS) - set(ALERTS) == set()


def test_every_receiver_but_nobody_says_when_it_is_over() -> None:
    for receiver in CONFIG["receivers"]:
        hooks = receiver.get("webhook_configs", [])
        assert hooks == ([] if receiver["name"] == "nobody" else [{"url": "${WEBHOOK}", "send_resolved": True}])


class Desk:
    """A running Alertmanager and the phone it rings."""

    def __init__(self, address: str, phone: Phone) -> None:
        self._address = address
        self.phone = phone

    def fire(self, *names: str, over: bool = False, **labelled: str) -> None:
        """What Prometheus sends: these alerts fire, or are over. One that began earlier would not wait for its group."""
        now = datetime.now(UTC)
        ends = now if over else now + timedelta(minutes=5)
        alerts = [
            {
                "labels": {
                    **labels(name),
                    **({"tenant": labelled["tenant"]} if "tenant" in labelled else {}),
                    **labelled,
                },
                "startsAt": now.isoformat(),
                "endsAt": ends.isoformat(),
            }
            for name in names
        ]
        ask(f"{self._address}/api/v2/alerts", alerts)

    def settled(self, tenant: str) -> None:
        """Waits until every alert of a tenant has been through its route: two later ones, one after the other, have been told.

        One is not enough: groups are told side by side, and on a busy machine a later one can be the first.
        """
        for marker in (f"{tenant}-after", f"{tenant}-after-that"):
            self.fire("Breached", tenant=marker)
            until(lambda marker=marker: self.phone.told(marker), "the notification of a later alert")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The routes of deploy/ with their waits cut to a second: what is tested is what is told, not how long it takes."""
    phone = Phone()
    with listening(phone.take) as hook:
        text = TEXT.replace("${WEBHOOK}", f"http://{hook}/")
        text = re.sub(r"(group_wait|group_interval): \S+", r"\1: 1s", text)
        with alertmanager(tmp_path_factory.mktemp("alertmanager"), text) as address:
            yield Desk(address, phone)


@pytest.mark.needs(NEEDED)
def test_a_page_reaches_the_webhook_and_so_does_its_end(desk: Desk) -> None:
    desk.fire("BreachLikely", tenant="globex")
    until(lambda: desk.phone.told("globex"), "the page")
    desk.fire("BreachLikely", tenant="globex", over=True)
    until(lambda: len(desk.phone.told("globex")) == 2, "its end")
    assert desk.phone.told("globex") == [
        ("page", "BreachLikely", "99", "firing"),
        ("page", "BreachLikely", "99", "resolved"),
    ]


@pytest.mark.needs(NEEDED)
def test_of_a_tenant_and_threshold_the_most_certain_verdict_is_told(desk: Desk) -> None:
    desk.fire("BreachPossible", "BreachLikely", "BreachImminent", tenant="umbrella")
    desk.settled("umbrella")
    assert desk.phone.told("umbrella") == [("act-now", "BreachImminent", "99", "firing")]


@pytest.mark.needs(NEEDED)
def test_a_missed_threshold_is_told_and_the_next_one_in_danger_too(desk: Desk) -> None:
    desk.fire("BreachImminent", "Breached", tenant="hooli")
    desk.fire("BreachLikely", tenant="hooli", threshold="95")
    desk.settled("hooli")
    assert set(desk.phone.told("hooli")) == {
        ("page", "Breached", "99", "firing"),
        ("page", "BreachLikely", "95", "firing"),
    }


@pytest.mark.needs(NEEDED)
def test_of_one_incident_the_fastest_burn_at_the_lowest_threshold_is_told(desk: Desk) -> None:
    for threshold in ("99", "95", "90"):
        desk.fire(
            "BudgetBurningFast", "BudgetBurningSteadily", "BudgetTricklingAway", tenant="vehement", threshold=threshold
        )
    desk.settled("vehement")
    assert desk.phone.told("vehement") == [("page", "BudgetBurningFast", "90", "firing")]


@pytest.mark.needs(NEEDED)
def test_maintenance_is_quiet_but_for_what_cannot_wait(desk: Desk) -> None:
    desk.fire("MaintenanceRunning", "BreachLikely", "BudgetBurningFast", "UnclassifiedRequests", tenant="wonka")
    desk.fire("BreachImminent", tenant="wonka", threshold="95")
    desk.settled("wonka")
    assert desk.phone.told("wonka") == [("act-now", "BreachImminent", "95", "firing")]


@pytest.mark.needs(NEEDED)
def test_a_platform_wide_outage_is_one_message_and_tenants_are_told_when_it_is_over(desk: Desk) -> None:
    tenants = [f"tenant-{n}" for n in range(20)]
    desk.fire("PlatformOutage")
    for tenant in tenants:
        desk.fire("BreachLikely", "BudgetBurningFast", tenant=tenant)
    until(lambda: desk.phone.told(None), "the platform's page")
    # Inhibited alerts have no notification to wait for: three rounds of their groups go by.
    time.sleep(3)
    assert desk.phone.told(None) == [("act-now", "PlatformOutage", "", "firing")]
    assert [told for tenant in tenants for told in desk.phone.told(tenant)] == []
    desk.fire("PlatformOutage", over=True)
    until(lambda: all(desk.phone.told(tenant) for tenant in tenants), "the pages of the tenants that are still failing")


@pytest.mark.needs(NEEDED)
def test_a_closed_support_desk_is_told_of_p1_only_and_of_the_rest_when_it_opens(desk: Desk) -> None:
    desk.fire("SupportDeskClosed", "SupportOverdue", "SupportDueSoon", tenant="soylent")
    desk.fire("SupportOverdue", tenant="soylent", request="4712", priority="P1")
    desk.settled("soylent")
    told = [each["labels"] for each in desk.phone.alerts() if each["labels"].get("tenant") == "soylent"]
    assert [each["request"] for each in told] == ["4712"]
    desk.fire("SupportDeskClosed", tenant="soylent", over=True)
    until(lambda: "4711" in {each["labels"].get("request") for each in desk.phone.alerts()}, "the page of the morning")
    assert desk.phone.told("soylent") == [("page", "SupportOverdue", "", "firing")], "what is late is not soon due"


@pytest.mark.needs(NEEDED)
def test_neither_maintenance_nor_an_outage_excuses_an_answer_that_was_promised(desk: Desk) -> None:
    desk.fire("MaintenanceRunning", "SupportOverdue", tenant="tyrell")
    desk.settled("tyrell")
    assert desk.phone.told("tyrell") == [("page", "SupportOverdue", "", "firing")]
