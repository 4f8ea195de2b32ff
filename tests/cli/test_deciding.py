"""Commands for people's decisions as a person meets them at a desk: what they say, what they refuse and why, and what stands in the topics."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from monitor.cli import contract, register
from monitor.cli.deciding import checked
from monitor.contract.support import STANDARD_SUPPORT
from monitor.settings import Settings
from monitor.stream import topics
from monitor.stream.reading import records

app = register()


class Desk:
    """Topics under a prefix of their own, no worker, and the command line."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self.settings = Settings(kafka_bootstrap=kafka, topic_prefix=prefix, partitions=2)
        self.environment = {"MONITOR_KAFKA_BOOTSTRAP": kafka, "MONITOR_TOPIC_PREFIX": prefix}

    def run(self, text: str, *more: str) -> Result:
        return CliRunner().invoke(app, [*text.split(), *more], env=self.environment)

    def says(self, text: str, *more: str) -> str:
        """What a command says that must succeed, where it was sent left out."""
        done = self.run(text, *more)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        return done.stdout.partition(" (")[0] if "+" in done.stdout else done.stdout

    def refuses(self, text: str, *more: str, code: int = 1) -> str:
        """What a command says that must not succeed."""
        done = self.run(text, *more)
        assert (done.exit_code, done.stdout) == (code, ""), done.output
        return done.stderr

    def sent(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """Key and value of the records of a topic."""
        return [(r.key.decode(), json.loads(r.value)) for r in asyncio.run(records(self.settings, name))]


@pytest.fixture
def desk(kafka: str, unique: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    monkeypatch.chdir(tmp_path)
    made = Desk(kafka, f"{unique}.")
    asyncio.run(topics.apply(made.settings))
    return made


def test_a_contract_is_recorded_whole_with_its_terms_and_listed_with_its_term(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "gold.toml").write_text(
        'tenant = "bravo"\nzone = "Pacific/Auckland"\nstart = 2026-01-01\nend = 2098-12-31\n'
        '[terms]\nversion = "gold-2"\ntiers = [{below = 99.95, days = 2}, {below = 97, days = 10}]\n'
    )
    assert "terms standard-1, UTC" in desk.says("contract add acme --partner north --tier gold --portal vpn")
    assert "bravo: terms gold-2, Pacific/Auckland from 2026-01-01 on" in desk.says("contract add --file gold.toml")
    assert "terms gold-2" in desk.says(
        "contract add bravo --file gold.toml --partner south --effective-from 2097-01-01"
    )
    [(key, acme), (_, bravo), _] = desk.sent("contracts")
    assert (key, acme["tenant"], acme["partner"], acme["portals"]) == ("acme", "acme", "north", ["vpn"])
    assert acme["terms"]["tiers"][0] == {"below": 99, "days": 3}
    assert (bravo["end"], bravo["terms"]["cap_days"]) == ("2098-12-31", 10)
    assert desk.says("contract list") == (
        "tenant  standing  zone              partner  tier  terms       promises  term                      with credits  later\n"
        "acme    in term   UTC               north    gold  standard-1  99 95 90  -                         -             -\n"
        "bravo   in term   Pacific/Auckland  -        -     gold-2      99.95 97  2026-01-01 to 2098-12-31  -"
        "             gold-2 from 2097-01-01\n"
    )
    [row] = json.loads(desk.says("contract list bravo --json"))
    assert [later["partner"] for later in row["later"]] == ["south"]


def test_a_contract_that_cannot_be_is_refused_with_every_fault_and_nothing_is_sent(desk: Desk, tmp_path: Path) -> None:
    assert desk.refuses("contract add Acme --zone Mars --start 2026-02-30", code=2).startswith(
        "expected [a-z0-9_-], 1 to 64 characters"
    )
    assert desk.refuses("contract add acme --zone Mars --start 2026-02-30", code=2) == (
        "zone: expected an IANA zone such as Europe/London, found 'Mars'; "
        "start: expected a date such as 2026-11-30, found '2026-02-30'\n"
    )
    (tmp_path / "c.json").write_text('{"tenant": "acme", "zoen": "UTC"}')
    assert desk.refuses("contract add --file c.json", code=2).startswith("--file: c.json: zoen: expected only tenant")
    assert desk.refuses("contract add --file none.json", code=2).startswith("--file: none.json: [Errno 2]")
    assert desk.sent("contracts") == []


def test_terms_keep_their_name_and_a_contract_is_not_recorded_twice(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text('version = "gold-2"\n[[tiers]]\nbelow = 99.5\ndays = 4\n')
    desk.says("contract add acme --terms t.toml --start 2026-01-01")
    assert desk.refuses("contract add acme --terms t.toml --start 2026-01-01") == (
        "refused: acme is promised exactly that from 2026-01-01 on already; nothing was sent\n"
    )
    (tmp_path / "t.toml").write_text('version = "gold-2"\n[[tiers]]\nbelow = 99.5\ndays = 5\n')
    assert desk.refuses("contract add bravo --terms t.toml") == (
        "refused: the terms 'gold-2' of acme say otherwise: give these a version of their own; nothing was sent\n"
    )
    assert len(desk.sent("contracts")) == 1


WINDOW = (
    "--from 2026-03-10T10:00:00Z --to 2026-03-10T10:05:00Z --category maintenance --tenant acme --by grace --reason x"
)


def test_an_exclusion_is_declared_corrected_approved_and_revoked_in_order_under_its_own_key(desk: Desk) -> None:
    assert (
        desk.says(f"exclude add m-7 {WINDOW} --portal vpn") == "m-7 declared: 2026-03-10 10:00 to 2026-03-10 10:05 UTC"
    )
    desk.says("exclude approve m-7 --by ada")
    desk.says("exclude correct m-7 --to 2026-03-10T10:20:00Z --reason longer --by grace")
    [held] = json.loads(desk.says("exclude list --json"))["exclusions"]
    assert (held["state"], held["to"], held["proposed"]["to"]) == (
        "approved", "2026-03-10T10:05:00Z", "2026-03-10T10:20:00Z",
    )  # fmt: skip
    assert (held["proposed"]["portals"], held["proposed"]["from"]) == (["vpn"], "2026-03-10T10:00:00Z")
    desk.says("exclude approve m-7 --by ada")
    [_, listed] = desk.says("exclude list").splitlines()
    assert " ".join(listed.split()) == (
        "m-7 approved maintenance 2026-03-10 10:00 2026-03-10 10:20 acme vpn "
        "declared by grace, approved by ada, corrected by grace longer"
    )
    desk.says("exclude revoke m-7 --reason wrong --by ada")
    assert [key for key, _ in desk.sent("exclusions")] == ["m-7"] * 5
    assert [said["action"] for _, said in desk.sent("exclusions")] == [
        "declare", "approve", "correct", "approve", "revoke",
    ]  # fmt: skip
    assert desk.says("exclude list --tenant other") == "no exclusions: `monitor exclude add` declares one\n"


def test_decisions_about_exclusions_that_cannot_be_are_refused_before_anything_is_sent(desk: Desk) -> None:
    assert desk.refuses("exclude approve m-7 --by ada").startswith("refused (unknown): m-7 was not declared by ")
    assert desk.refuses("exclude correct m-7 --by ada --reason x").startswith("refused: nobody declared 'm-7'")
    desk.says(f"exclude add m-7 {WINDOW}")
    assert desk.refuses(f"exclude add m-7 {WINDOW}").startswith("refused (already_declared): m-7 was declared at ")
    desk.says("exclude revoke m-7 --reason wrong --by ada")
    assert desk.refuses("exclude approve m-7 --by ada").startswith("refused (revoked): m-7 was revoked at ")
    wrong = "--from 2026-03-10T10:00:30Z --to 2026-03-10T09:00:00Z --category lunch --tenant acme --by grace"
    assert desk.refuses(f"exclude add m-8 {wrong} --reason x", code=2) == (
        "from: expected a whole minute, found '2026-03-10T10:00:30Z'; category: expected one of operator_error, "
        "customer_environment, third_party_change, environmental_stress, customer_demand, internet, customer_act, "
        "maintenance, misuse, force_majeure, superseded_release, found 'lunch'\n"
    )
    assert "at: expected a time at most five minutes after" in desk.refuses(
        f"exclude add m-8 {WINDOW} --at 2099-01-01T00:00:00Z", code=2
    )
    assert desk.refuses(f"exclude add m-8 {WINDOW} --at yesterday", code=2).startswith("--at: expected")
    assert len(desk.sent("exclusions")) == 2
    as_json = desk.run("exclude approve m-9 --by ada --json")
    assert json.loads(as_json.stdout)["refused"]["reason"] == "unknown"


def test_a_mistyped_tenant_is_pointed_out_where_there_are_contracts(desk: Desk) -> None:
    mistyped = WINDOW.replace("acme", "acmee")
    assert desk.run(f"exclude add m-1 {mistyped}").stderr == ""
    desk.says("contract add acme --partner north")
    done = desk.run(f"exclude add m-2 {mistyped}")
    assert (done.exit_code, done.stderr) == (0, "there is no contract with 'acmee': did you mean acme?\n")
    ruling = "--as external --from 2026-03-01T00:00:00Z --by ada --reason vendor"
    assert desk.run(f"decide classify zebra E-1 {ruling}").stderr == "there is no contract with 'zebra'\n"
    assert desk.run(f"decide classify * E-1 {ruling}").stderr == ""


def test_rulings_are_listed_with_those_about_all_and_can_be_withdrawn(desk: Desk) -> None:
    desk.says("decide classify * E-17 --as external --from 2026-03-01T00:00:00Z --by ada --reason vendor")
    desk.says(
        "decide silence acme --from 2026-03-02T10:00:00Z --to 2026-03-02T11:00:00Z --as bad --requests 40 --by ada"
        " --reason outage"
    )
    desk.says("decide accept acme 2026-03 --by ada --reason agreed")
    assert [(key, said["kind"]) for key, said in desk.sent("decisions")] == [
        ("*", "classify"), ("acme", "silence"), ("acme", "accept_unmeasured"),
    ]  # fmt: skip
    held = json.loads(desk.says("decide list acme --json"))["rulings"]
    assert [ruling["kind"] for ruling in held] == ["classify", "silence", "accept_unmeasured"]
    desk.says("decide withdraw acme", held[1]["id"], "--by", "ada", "--reason", "x")
    listed = desk.says("decide list acme").splitlines()
    assert len(listed) == 3
    assert "E-17 is external from 2026-03-01 00:00 on" in listed[1]
    assert "2026-03 may be final although too little was measured" in listed[2]
    assert desk.refuses("decide withdraw acme nothing --by ada --reason x").startswith(
        "refused (unknown): there is no ruling nothing to withdraw"
    )
    assert (
        desk.refuses(
            "decide silence acme --from 2026-03-02T10:00:00Z --to 2026-03-02T11:00:00Z --as bad --by ada --reason x",
            code=2,
        )
        == "requests: expected a whole number from 1 to 1000000000, found none\n"
    )


def test_a_claim_without_a_contract_or_an_attestation_is_refused_and_one_before_the_month_is_final_is_held(
    desk: Desk,
) -> None:
    file = "claim file acme 2026-03 --date 2026-03-10 --partner north --by grace --at 2026-03-12T00:00:00Z"
    assert desk.refuses(f"{file} --attested").startswith("refused (no_contract): there is no contract with acme")
    desk.says("contract add acme --partner north")
    assert desk.refuses(file).startswith("refused (not_attested): ")
    would = "claim acme/2026-03/claim-2 would be held until 2026-03 is final; nothing was sent\n"
    assert desk.says(f"{file} --attested --dry-run") == would
    assert desk.says(f"{file} --attested") == "claim acme/2026-03/claim-2 is held until 2026-03 is final"
    assert desk.refuses(f"{file} --attested").startswith("refused (second_claim): claim acme/2026-03/claim-2 was")
    assert desk.refuses("claim confirm acme 2026-03 --by ada").startswith("refused (not_final): 2026-03 is not final")
    assert desk.refuses("claim confirm acme 2026-04 --by ada").startswith(
        "refused: no claim of acme for 2026-04 stands"
    )
    late = "claim file acme 2026-02 --date 2026-02-01 --partner north --attested --by grace --at 2026-03-12T00:00:00Z"
    sentence = "notice was given on 2026-03-12; the last day for 2026-02-01 was 2026-03-03"
    assert desk.refuses(f"{late} --dry-run") == f"refused (late): {sentence}; nothing was sent\n"
    place = r" \(.*claims-\d\+\d\)\n"
    refused = rf"refused \(late\): {sentence}; it is kept as acme/2026-02/claim-1{place}"
    assert re.fullmatch(refused, desk.refuses(late))
    assert [value["id"] for _, value in desk.sent("claims")] == [
        "acme/2026-03/claim-1", "acme/2026-03/claim-2", "acme/2026-03/claim-3", "acme/2026-02/claim-1",
    ]  # fmt: skip
    assert desk.says("claim list acme") == (
        "acme 2026-03  claim acme/2026-03/claim-1 was sent, and no worker has taken it up yet\n"
        "acme 2026-03  claim acme/2026-03/claim-2 was sent, and no worker has taken it up yet\n"
        "acme 2026-03  claim acme/2026-03/claim-3 was sent, and no worker has taken it up yet\n"
        "acme 2026-02  claim acme/2026-02/claim-1 was sent, and no worker has taken it up yet\n"
    )


def test_what_nobody_has_counted_has_no_statement_and_what_is_mistyped_is_said(desk: Desk) -> None:
    assert desk.refuses("statement acme 2026-03").startswith("nothing is known of 'acme'")
    assert desk.refuses("statement acme March", code=2) == "expected a month like \"2026-11\", found 'March'\n"
    assert desk.refuses("verify acme 2026-13", code=2) == "expected a month like \"2026-11\", found '2026-13'\n"
    assert desk.says("verify acme") == (
        "acme: 0 statements: the chain is whole\nnothing to recount: no statement has been issued\n"
    )
    assert desk.says("claim list") == "no credits: no month that is settled was missed, and nobody claimed\n"
    assert desk.says("contract list") == "no contracts: `monitor contract add` records one\n"
    assert desk.refuses("contract list acme") == ("no contract with 'acme': `monitor contract add` records one\n")


def test_without_a_broker_or_its_topics_each_command_ends_with_one_line(kafka: str, unique: str) -> None:
    nowhere = {"MONITOR_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
    for words in ("contract list", "exclude approve m-7 --by ada", "decide list acme", "claim list", "verify acme"):
        done = CliRunner().invoke(app, words.split(), env=nowhere)
        assert (done.exit_code, done.stdout) == (3, "")
        assert done.stderr.startswith("no Kafka at 127.0.0.1:1: ")
    empty = {"MONITOR_KAFKA_BOOTSTRAP": kafka, "MONITOR_TOPIC_PREFIX": f"{unique}."}
    done = CliRunner().invoke(app, ["exclude", "list"], env=empty)
    assert (done.exit_code, done.stderr) == (
        1,
        f"{unique}.exclusions: not on {kafka}; `monitor topics apply` makes it\n",
    )


def test_a_contracts_file_may_hold_a_package_of_support_with_tomls_own_dates(tmp_path: Path) -> None:
    text = 'tenant = "acme"\nstart = 2026-01-01\n[support]\nversion = "enhanced-1"\ncompany_holidays = [2026-12-24]\n'
    (tmp_path / "contract.toml").write_text(text)
    agreement = checked("contracts", contract._file(tmp_path / "contract.toml"), 1_795_000_000_000)
    assert agreement.record()["support"] == {"version": "enhanced-1", "company_holidays": ["2026-12-24"]}
    assert agreement.support_terms(STANDARD_SUPPORT).hours.company_holidays == {date(2026, 12, 24)}
