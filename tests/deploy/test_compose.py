"""The compose file: what it mounts exists, what it renders is right, and nobody but this machine reaches it."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from monitor.settings import KNOWN, PREFIX

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ["topics", "worker-1", "worker-2"]


TEXTS = {"type": "array", "items": {"type": "string"}}
VALUES = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
LENGTH = {"type": "string", "pattern": r"^(\d+h)?(\d+m)?(\d+s)?$", "minLength": 2}
WAITS = ["service_started", "service_healthy", "service_completed_successfully"]


def exactly(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


SERVICE = exactly(
    image={"type": "string"},
    build=exactly(context={"type": "string"}, dockerfile={"type": "string"}),
    command=TEXTS,
    entrypoint=TEXTS,
    environment=VALUES,
    ports=TEXTS,
    volumes=TEXTS,
    tmpfs=TEXTS,
    depends_on={"oneOf": [TEXTS, {"type": "object", "additionalProperties": exactly(condition={"enum": WAITS})}]},
    healthcheck=exactly(
        test=TEXTS,
        interval=LENGTH,
        timeout=LENGTH,
        start_period=LENGTH,
        retries={"type": "integer"},
        disable={"type": "boolean"},
    ),
    restart={"enum": ["no", "always", "on-failure", "unless-stopped"]},
    stop_grace_period=LENGTH,
)
SCHEMA = {
    **exactly(
        name={"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        services={"type": "object", "additionalProperties": SERVICE},
        volumes={"type": "object", "additionalProperties": {"type": "null"}},
    ),
    "patternProperties": {"^x-": {}},
}
"""What of the Compose specification is used here: a mistyped key would be an error, or silently nothing, on somebody else's machine."""


def mounts(service: str) -> list[list[str]]:
    """[source, target, mode?] of each volume."""
    return [volume.split(":") for volume in SERVICES[service].get("volumes", [])]


def script(service: str) -> str:
    """The entrypoint's script, as the container's shell sees it."""
    [shell, _, text] = SERVICES[service]["entrypoint"]
    assert shell == "/bin/sh"
    return str(text).replace("$$", "$")


def rendered(service: str, folder: Path, **environment: str) -> str:
    """The configuration that an entrypoint writes, its paths moved from the container to `folder` and the repository."""
    before, _, program = script(service).partition("exec ")
    moves = {
        target: str((DEPLOY / source).resolve()) for source, target, *_ in mounts(service) if source.startswith(".")
    }
    [config] = re.findall(r"--config.file=(\S+)", program)
    # In one pass, so that a repository that itself stands under the container's /tmp is left where it is.
    moves["/tmp/"] = f"{folder}/"
    before = re.sub("|".join(map(re.escape, moves)), lambda found: moves[found[0]], before)
    subprocess.run(["/bin/sh", "-euc", before], check=True, env={"PATH": os.environ["PATH"], **environment})
    return (folder / Path(config).name).read_text()


def test_the_file_is_as_the_compose_specification_has_it() -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(COMPOSE)


def test_all_services_are_there() -> None:
    assert set(SERVICES) == {"kafka", *OURS, "prometheus", "alertmanager", "grafana"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_an_image_has_an_exact_tag(name: str) -> None:
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_to_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))
    assert "network_mode" not in SERVICES[name]


def test_no_port_is_published_twice() -> None:
    ports = [port.rsplit(":", 1)[0] for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_whatever_is_mounted_exists_and_cannot_be_written_to(name: str) -> None:
    for source, _, *mode in mounts(name):
        if source.startswith("."):
            assert (DEPLOY / source).exists()
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_whatever_a_service_waits_for_is_a_service_that_can_come_to_that(name: str) -> None:
    waits = SERVICES[name].get("depends_on", {})
    for other, how in waits.items() if isinstance(waits, dict) else ((each, {}) for each in waits):
        assert other in SERVICES
        if how.get("condition") == "service_healthy":
            assert SERVICES[other]["healthcheck"]["test"]
        if how.get("condition") == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "no"


@pytest.mark.parametrize("name", OURS)
def test_ours_are_built_here_and_know_their_settings(name: str) -> None:
    service = SERVICES[name]
    assert ((DEPLOY / service["build"]["context"]).resolve() / "Dockerfile").is_file()
    assert {key.removeprefix(PREFIX).lower() for key in service["environment"]} <= set(KNOWN)
    kafka = SERVICES["kafka"]["environment"]
    assert f"INSIDE://{service['environment']['MONITOR_KAFKA_BOOTSTRAP']}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(
        ","
    )


def test_the_image_is_named_after_the_version_that_is_built() -> None:
    [version] = re.findall(r'^version = "(.+)"$', (DEPLOY.parent / "pyproject.toml").read_text(), re.MULTILINE)
    assert {SERVICES[name]["image"] for name in OURS} == {f"monitor:{version}"}


def test_workers_wait_for_topics_and_have_names_of_their_own() -> None:
    workers = [SERVICES[name] for name in OURS if name.startswith("worker")]
    assert all(
        worker["depends_on"] == {"topics": {"condition": "service_completed_successfully"}} for worker in workers
    )
    assert len({worker["environment"]["MONITOR_INSTANCE"] for worker in workers}) == len(workers) == 2
    assert SERVICES["topics"]["command"] == ["monitor", "topics", "apply"]


def test_kafka_answers_this_machine_under_the_address_that_is_published() -> None:
    environment, [port] = SERVICES["kafka"]["environment"], SERVICES["kafka"]["ports"]
    assert f"OUTSIDE://{port.rsplit(':', 1)[0]}" in environment["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert environment["KAFKA_LOG_DIRS"] == mounts("kafka")[0][1]


@pytest.mark.needs("promtool")
def test_prometheus_is_given_the_rules_both_workers_and_alertmanager(tmp_path: Path) -> None:
    config = yaml.safe_load(rendered("prometheus", tmp_path))
    assert config["rule_files"] == [f"{DEPLOY / 'prometheus' / 'rules'}/*.yaml"]
    assert config["alerting"]["alertmanagers"][0]["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    [files] = config["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert yaml.safe_load(Path(files).read_text()) == [{"targets": ["worker-1:8642", "worker-2:8642"]}]
    subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yaml"], check=True, capture_output=True)


def test_prometheus_keeps_a_month_and_the_days_in_which_it_is_settled() -> None:
    assert "--storage.tsdb.retention.time=40d" in script("prometheus")
    assert f"--storage.tsdb.path={mounts('prometheus')[-1][1]}" in script("prometheus")


@pytest.mark.needs("amtool")
@pytest.mark.parametrize("webhook", ["http://127.0.0.1:9/", r"http://desk:80/page?team=a&level=1|2&path=a\b"])
def test_alertmanager_is_given_the_webhook_whatever_characters_it_has(webhook: str, tmp_path: Path) -> None:
    text = rendered("alertmanager", tmp_path, WEBHOOK=webhook)
    expected = (DEPLOY / "alertmanager" / "alertmanager.yaml").read_text().replace("${WEBHOOK}", webhook)
    assert text == expected
    if "\\" not in webhook:  # YAML's own escape
        subprocess.run(["amtool", "check-config", tmp_path / "alertmanager.yaml"], check=True, capture_output=True)


def test_grafana_finds_its_dashboards_and_prometheus_where_they_are() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    [provider] = yaml.safe_load((provisioning / "dashboards" / "monitor.yaml").read_text())["providers"]
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    places = {target: source for source, target, _ in mounts("grafana")}
    assert list((DEPLOY / places[provider["options"]["path"]]).glob("*.json"))
    assert (DEPLOY / places["/etc/grafana/provisioning"]).resolve() == provisioning
    assert source["url"] == f"http://prometheus:{SERVICES['prometheus']['ports'][0].rsplit(':', 1)[1]}"
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (DEPLOY / places[str(home.parent)] / home.name).is_file()


def test_nothing_but_the_webhook_is_taken_from_the_environment() -> None:
    text = (DEPLOY / "compose.yaml").read_text().replace("$$", "")
    assert re.findall(r"\$\{?\w+", text) == ["${WEBHOOK"]
