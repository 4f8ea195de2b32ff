"""`monitor judge`: the whole of what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from monitor.cli.judge import judge

app = typer.Typer()
app.command("judge")(judge)
app.callback()(lambda: None)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_month_is_judged_with_what_is_left_until_each_threshold() -> None:
    assert run("judge", "--good", "98990", "--bad", "1010").stdout == (
        "availability  98.990 %\n"
        "band          95 %\n"
        "credit        3 days, if claimed\n"
        "99 %          missed: back at it after 1000 more that succeed\n"
        "95 %          kept: 4200 more may fail\n"
        "90 %          kept: 9988 more may fail\n"
    )
    assert json.loads(run("judge", "--good", "98990", "--bad", "1010", "--json").stdout) == {
        "availability": 0.9899,
        "band": 95,
        "days": 3,
        "good": 98990,
        "bad": 1010,
        "left": {"99": -1000, "95": 4200, "90": 9988},
    }


def test_a_month_without_a_request_is_not_given_a_band() -> None:
    assert run("judge", "--good", "0", "--bad", "0").stdout.splitlines()[:3] == [
        "availability  no demand",
        "band          none: there is nothing to judge",
        "credit        none",
    ]
    answer = json.loads(run("judge", "--good", "0", "--bad", "0", "--json").stdout)
    assert (answer["availability"], answer["band"], answer["days"]) == (None, None, 0)


def test_other_terms_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gold.toml"
    path.write_text('version = "gold-2"\n[[tiers]]\nbelow = 99.95\ndays = 2\n')
    answer = json.loads(run("judge", "--good", "99940", "--bad", "60", "--terms", str(path), "--json").stdout)
    assert (answer["band"], answer["days"], answer["left"]) == (0, 2, {"99.95": -20_000})
    assert "under all that is promised" in run("judge", "--good", "99940", "--bad", "60", "--terms", str(path)).stdout


def test_terms_that_cannot_be_read_are_refused_with_every_fault(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('version = "x"\ncap_days = -1\n[[tiers]]\nbelow = 101\ndays = 2\n')
    found = run("judge", "--good", "1", "--bad", "0", "--terms", str(path))
    assert found.exit_code == 2
    assert found.stderr == (
        "--terms: cap_days: expected a whole number from 0 to 366, found -1; "
        "tiers[0].below: expected percent over 0 and under 100, two decimals at most, found 101\n"
    )
    for words in (["--terms", str(tmp_path / "none.toml")], ["--bad", "-1"]):
        assert run("judge", "--good", "1", "--bad", "0", *words).exit_code == 2
