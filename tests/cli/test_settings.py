"""Settings: a TOML file under the environment; whoever mistypes is told everything at once, where it stands and what was meant."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from monitor.contract.support import headquarters
from monitor.settings import Settings, SettingsError, load

ROOT = Path(__file__).parents[2]


def fault(environ: dict[str, str], directory: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ, directory)
    return str(caught.value)


def test_without_a_file_and_an_environment_the_defaults_hold(tmp_path: Path) -> None:
    assert load({"HOME": "/", "PATH": "x"}, tmp_path) == Settings()


def test_the_environment_stands_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text(
        'group = "file"\npartitions = 12\nflush_seconds = 2\n[codes]\nE-1 = "client"\n', encoding="utf-8"
    )
    found = load({"MONITOR_GROUP": "environment", "MONITOR_FLUSH_SECONDS": "0.5"}, tmp_path)
    assert (found.group, found.partitions, found.flush_seconds) == ("environment", 12, 0.5)
    assert found.codes == {"E-1": "client"}
    assert found.http_port == Settings().http_port


def test_a_named_file_is_read_in_place_of_the_working_directorys(tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text("partitions = 1", encoding="utf-8")
    (tmp_path / "other.toml").write_text("partitions = 2", encoding="utf-8")
    assert load({"MONITOR_CONFIG": str(tmp_path / "other.toml")}, tmp_path).partitions == 2


def test_a_named_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert f"MONITOR_CONFIG: expected a file, found none at {tmp_path / 'x'}" in fault(
        {"MONITOR_CONFIG": str(tmp_path / "x")}, tmp_path
    )


def test_an_unknown_name_is_told_the_nearest_known_one(tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text("partition = 3", encoding="utf-8")
    said = fault({"MONITOR_KAFKA_BOOTSTRAPS": "x:1"}, tmp_path)
    assert f"{tmp_path / 'monitor.toml'}: unknown key 'partition', did you mean 'partitions'?" in said
    assert "unknown variable MONITOR_KAFKA_BOOTSTRAPS, did you mean 'MONITOR_KAFKA_BOOTSTRAP'?" in said


def test_a_name_that_is_like_no_other_is_not_given_a_guess(tmp_path: Path) -> None:
    assert fault({"MONITOR_ZZZZ": "1"}, tmp_path) == "settings: unknown variable MONITOR_ZZZZ"


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text('grop = "x"\nreplicas = "many"\n', encoding="utf-8")
    said = fault(
        {
            "MONITOR_HTTP_PORT": "eighty",
            "MONITOR_PARTITIONS": "0",
            "MONITOR_FLUSH_SECONDS": "-1",
            "MONITOR_SESSION_SECONDS": "30",
            "MONITOR_SOURCES": "auth-requests",
            "MONITOR_CODES": "E-1=nobody",
            "MONITOR_GRUP": "x",
        },
        tmp_path,
    )
    for each in (
        "unknown key 'grop'", "replicas: ", "found 'many'", "http_port: ", "found 'eighty'", "partitions: expected more than 0, found 0",
        "flush_seconds: expected more than 0, found -1.0", "MONITOR_SOURCES: expected name=value,name=value, found 'auth-requests'",
        "codes.E-1: expected server, client or external, found 'nobody'", "unknown variable MONITOR_GRUP",
        "session_seconds: expected 20.0 at most, found 30.0",
    ):  # fmt: skip
        assert each in said


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text("group = \n", encoding="utf-8")
    said = fault({}, tmp_path)
    assert f"{tmp_path / 'monitor.toml'}: expected TOML: " in said
    assert "line 1" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=native", {"a": "native"}),
        ("a=native,b=freeradius", {"a": "native", "b": "freeradius"}),
        (" a = native , b = freeradius , ", {"a": "native", "b": "freeradius"}),
        ("a=x=y", {"a": "x=y"}),
    ],
)
def test_a_mapping_is_written_as_names_and_values(text: str, expected: dict[str, str], tmp_path: Path) -> None:
    assert load({"MONITOR_SOURCES": text}, tmp_path).sources == expected


def test_company_holidays_are_dates_with_commas_or_toml_dates(tmp_path: Path) -> None:
    days = (date(2026, 12, 24), date(2026, 12, 31))
    assert load({"MONITOR_COMPANY_HOLIDAYS": "2026-12-24, 2026-12-31"}, tmp_path).company_holidays == days
    assert load({"MONITOR_COMPANY_HOLIDAYS": ""}, tmp_path).company_holidays == ()
    assert "company_holidays: " in fault({"MONITOR_COMPANY_HOLIDAYS": "Christmas"}, tmp_path)
    (tmp_path / "monitor.toml").write_text("company_holidays = [2026-12-24, 2026-12-31]")
    assert load({}, tmp_path).company_holidays == days


def test_the_desk_keeps_the_headquarters_hours_and_holidays_and_a_place_that_nobody_knows_is_a_fault() -> None:
    found = headquarters(Settings(hq_zone="Australia/Sydney", hq_public_holidays="AU-NSW"))
    assert (found.hours.zone, found.hours.country, found.hours.subdivision) == ("Australia/Sydney", "AU", "NSW")
    with pytest.raises(
        SettingsError, match="the headquarters' zone: expected an IANA zone such as Europe/London, found 'Mars'"
    ):
        headquarters(Settings(hq_zone="Mars"))
    with pytest.raises(SettingsError, match="public_holidays: expected a country"):
        headquarters(Settings(hq_public_holidays="GB-XXX"))


def test_no_source_at_all_is_a_fault(tmp_path: Path) -> None:
    assert fault({"MONITOR_SOURCES": ""}, tmp_path) == "settings: sources: expected at least one topic"


def test_topics_carry_the_prefix(tmp_path: Path) -> None:
    found = load({"MONITOR_TOPIC_PREFIX": "eu.", "MONITOR_SOURCES": "radius=freeradius"}, tmp_path)
    assert found.topic("journal") == "eu.journal"
    assert found.source_topics == {"eu.radius": "freeradius"}


def test_a_command_with_settings_that_cannot_be_used_ends_as_a_usage_error_in_one_line(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MONITOR_")}
    done = subprocess.run(
        [sys.executable, "-c", "from monitor.cli import main; main()", "worker"],
        env={**environment, "PYTHONPATH": str(ROOT), "MONITOR_PARTITION": "3"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "settings: unknown variable MONITOR_PARTITION, did you mean 'MONITOR_PARTITIONS'?\n"
