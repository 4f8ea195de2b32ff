"""A statement as a customer gets it: what is on the page, that nothing on it can act or load, and how it looks in a browser."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from monitor.cli.statement import lines
from monitor.contract.agreement import Agreements, agreement_of
from monitor.contract.exclusions import ExclusionDecision, Window
from monitor.contract.period import MINUTE_MS, month_named
from monitor.contract.readings import Minutes, Silence, UserMinutes
from monitor.contract.rulings import Ruling
from monitor.contract.statement import Facts, Statement, Stretch, Tail, interim, issue
from monitor.outlets.statement_page import page

OCTOBER = month_named("2026-10", "Europe/Berlin")  # the clock goes back on the 25th
END_MS = OCTOBER.end * MINUTE_MS
HOSTILE = '<script>alert("x")</script> & \'<img src=//evil.example/a.png>'


def at(day: int, minute: int = 0) -> int:
    return OCTOBER.start + (day - 1) * 1440 + minute


def month() -> Facts:
    """October with an outage on the 12th, maintenance on the 20th, a silence on the 22nd, an hour unmeasured on the 26th."""
    rows, codes = [], []
    for minute in range(OCTOBER.start, OCTOBER.end):
        hour = minute // 60 % 24
        n = (3 if hour < 5 else 30) + minute % 7
        outage, upgrade = at(12, 540) <= minute < at(12, 1440), at(20, 60) <= minute < at(20, 180)
        if at(22, 600) <= minute < at(22, 660):
            continue
        for portal, share in (("authentication", 1), ("self-service", 4)):
            came = n // share
            bad = came * 9 // 10 if outage else came if upgrade else minute % 977 == 0
            undecided = 1 if minute % 1999 == 0 and came > bad else 0
            rows.append((portal, minute, (came - bad - undecided, came // 9, bad, minute % 13 == 0, undecided)))
            codes += [(portal, "E-77" if portal == "authentication" else HOSTILE, minute, 1)] if undecided else []
    soon = at(27) * MINUTE_MS
    upgrade = Window(at(20, 60), at(20, 180), "maintenance", reason=f"upgrade {HOSTILE}", reference="CHG-7")
    refused = Window(at(12, 540), at(12, 1440), "customer_environment", portals=("self-service",), reason="their DNS")
    decisions = [
        ExclusionDecision("d1", "upgrade-20", "declare", soon, "grace", soon, upgrade),
        ExclusionDecision("d2", "upgrade-20", "approve", soon, "linus", soon),
        ExclusionDecision("d3", "dns-12", "declare", soon, HOSTILE, soon, refused),
    ]
    minutes = np.arange(OCTOBER.start, OCTOBER.end, dtype=np.int64)
    users = np.full(len(minutes), 20, dtype=np.int64)
    failed = np.where((minutes >= at(12, 540)) & (minutes < at(12, 1440)), 19, 0)
    record = {
        "tenant": "acme",
        "partner": "North & Sons",
        "tier": "gold",
        "zone": "Europe/Berlin",
        "start": "2026-01-01",
        "end": "2026-12-31",
    }
    return Facts(
        agreements=Agreements("acme", (agreement_of(record, 0),)),
        month="2026-10",
        minutes=Minutes(rows, codes),
        as_of=END_MS,
        exclusions=decisions,
        rulings=[Ruling("r1", "acme", "classify", soon, "ada", soon, "expired certificate", "E-77", "external", at(1))],
        silences=[Silence(at(22, 600), at(22, 660), 2_012)],
        gaps=[(at(26, 120), at(26, 180))],
        users=UserMinutes(minutes, users, failed, "keyed sample, exact up to 64 users a minute"),
        sources=[Stretch("auth-requests", 0, 1_000, 2_400_000), Stretch("auth-requests", 1, 0, 2_399_871)],
        journal=[Stretch("journal", 3, 12_000, 98_000)],
    )


@pytest.fixture(scope="module")
def facts() -> Facts:
    return month()


@pytest.fixture(scope="module")
def final(facts: Facts) -> Statement:
    provisional = issue(facts, Tail(), None)
    made = issue(replace(facts, as_of=END_MS + 5 * 86_400_000), Tail().after(provisional), provisional)
    assert made.document["kind"] == "final"
    return made


@pytest.fixture(scope="module")
def html(final: Statement, facts: Facts) -> str:
    return page(final, facts.minutes)


class Parsed(HTMLParser):
    """A page's elements with their attributes, and its text without markup, style and drawing."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.style, self._open, text = "", [], []
        self._text = text
        self.feed(html)
        assert self._open == []
        self.text = re.sub(r"\s+", " ", " ".join(text))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open:
            self.style += data
        elif "svg" not in self._open:
            self._text.append(data)


def test_a_page_says_all_that_the_statement_says(html, final):
    text, document = Parsed(html).text, final.document
    assert "acme October 2026" in text
    assert "Final statement, as of 2026-11-06 00:00 +01:00" in text
    good, bad = document["counts"]["good"], document["counts"]["bad"]
    thousandths = 100_000 * good // (good + bad)
    assert f"Missed. {thousandths // 1000}.{thousandths % 1000:03d} % of the requests that count" in text
    for portal in ("authentication", "self-service"):
        for n in document["portals"][portal]["counted"].values():
            assert f"{n:,}" in text
    for figure in (good, bad, good + bad, document["coverage"]["measured"], 2_012, 2_399_871):
        assert f"{figure:,}" in text
    for reading in document["readings"].values():
        assert reading["availability"] in text
    for day in document["affected"]:
        assert f"{day['date']} {day['bad']:,} {day['claim_by']}" in text
    for item in document["exclusions"]:
        for side in ("with", "without"):
            assert item[side]["availability"] in text
    assert "2026-10-01 to 2026-10-31" in text
    assert "upgrade-20: maintenance, approved" in text
    assert "dns-12: customer environment, declared" in text
    assert "code E-77: fault elsewhere" in text
    assert "2026-10-22 10:00 +02:00 2026-10-22 11:00 +02:00 this tenant's" in text
    assert "2026-10-26 01:00 +01:00 2026-10-26 02:00 +01:00" in text
    assert "standard-1" in text
    assert f"{final.sha256} " in text
    assert f"{document['previous']} " in text


def test_minutes_under_two_windows_are_told_with_both_and_holidays_with_the_day_that_is_final(facts):
    soon, window = at(27) * MINUTE_MS, Window(at(20, 120), at(20, 240), "internet", portals=("vpn",), reason="dns")
    more = [
        ExclusionDecision("d4", "dns-20", "declare", soon, "grace", soon, window),
        ExclusionDecision("d5", "dns-20", "approve", soon, "linus", soon),
    ]
    made = interim(replace(facts, exclusions=[*facts.exclusions, *more], holidays={date(2026, 11, 2)}))
    text = Parsed(page(made, facts.minutes)).text
    assert "left out once. 2026-10-20 02:00 +02:00 to 2026-10-20 03:00 +02:00: dns-20 and upgrade-20." in text
    assert "excluded once 2026-10-20 00:00 to 2026-10-20 01:00 UTC: under dns-20 and upgrade-20" in lines(made)
    assert "portal vpn, this contract" in text.replace("all tenants", "this contract")
    assert "final 3 business days after its end; 2026-11-02 is a holiday and not one." in text


def test_the_readings_disagree_in_words(html, final):
    assert final.document["disagree"] == ("They disagree" in Parsed(html).text)


def test_what_people_wrote_is_shown_as_they_wrote_it_and_does_nothing(html):
    parsed = Parsed(html)
    assert parsed.text.count(HOSTILE) == 3  # a reason, a name, a code
    assert {tag for tag, _ in parsed.elements} & {
        "script",
        "img",
        "link",
        "iframe",
        "object",
        "a",
        "form",
        "base",
    } == set()
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)


def test_a_page_loads_nothing(html):
    parsed = Parsed(html)
    values = [str(value) for _, attributes in parsed.elements for value in attributes.values()]
    assert not [value for value in values if "//" in value or re.search(r"url\((?!#)", value)]
    assert not re.search(r"@import|url\(", parsed.style)
    assert not re.search(r"url\((?!['\"]?#)", html)


def test_the_same_statement_makes_the_same_page_and_stays_as_it_is(html, final, facts):
    before = final.sha256
    assert page(final, facts.minutes) == html
    assert page(Statement.of(final.data), facts.minutes) == html
    assert final.sha256 == Statement.of(final.data).sha256 == before


def test_minutes_that_the_statement_was_not_counted_from_are_refused(final, facts):
    late = Minutes([("authentication", at(2), (1, 0, 0, 0, 0))])
    with pytest.raises(ValueError, match=r"expected the minutes .* was counted from: it has .* the minutes 1 and 0"):
        page(final, late)


def test_without_matplotlib_the_error_names_what_to_install(final, facts, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"install monitor\[report\]"):
        page(final, facts.minutes)


def test_availability_is_cut_off_and_never_rounded_up(facts):
    rows = Minutes([("vpn", at(3), (98_999_6, 0, 10_00_4, 0, 0))])
    text = Parsed(page(interim(replace(facts, minutes=rows, rulings=(), users=None, exclusions=())), rows)).text
    assert "Missed. 98.999 %" in text
    assert "Users users by minute, without a failure of the provider's or with one not counted" in text


def test_a_month_without_requests_says_so_and_no_hundred_percent(facts):
    none = Minutes()
    text = Parsed(page(interim(replace(facts, minutes=none, rulings=(), users=None, exclusions=())), none)).text
    assert "No demand. No request that counts came" in text
    assert "100.000 %" not in text.replace("100.000 % of the minutes", "")
    assert "is part of no chain" in text


# -- in a browser

PROBE = """<script>
const wide = [...document.querySelectorAll('main *:not(svg *)')].filter(
  e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline');
document.title = 'probe ' + document.documentElement.scrollWidth + ' ' + innerWidth + ' ' + wide.map(e => e.tagName).join(',') + '.';
</script>"""


def chromium(folder: Path, file: Path, *options: str) -> str:
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}", *options, file.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.needs("chromium")
@pytest.mark.parametrize(("width", "media"), [(1024, "screen"), (703, "print")])
def test_nothing_is_wider_than_the_window_or_a_sheet_of_a4(html, tmp_path, width, media):
    file = tmp_path / "page.html"
    # 703 px are what an A4 sheet's margins leave; there the print style holds.
    file.write_text((html.replace("@media print", "@media all") if media == "print" else html) + PROBE, "utf-8")
    written = chromium(tmp_path, file, f"--window-size={width},900", "--dump-dom")
    found = re.search(r"<title>probe (\d+) (\d+) (.*?)\.</title>", written)
    assert found, written[:500]
    assert (int(found[1]), int(found[2]), found[3]) == (width, width, "")


@pytest.mark.needs("chromium")
def test_a_page_is_drawn_in_a_browser(html, tmp_path):
    file, picture = tmp_path / "page.html", tmp_path / "page.png"
    file.write_text(html, "utf-8")
    chromium(tmp_path, file, "--window-size=1024,3600", f"--screenshot={picture}")
    pixels = image.imread(picture)[:, :, :3]
    assert pixels.shape[1] == 1024
    inked = (pixels < 0.8).any(axis=2)
    assert 0.01 < inked.mean() < 0.5
    # The chart's colours: bad requests, good ones, what is left out.
    for colour in ((0xC2, 0x3B, 0x22), (0x7F, 0xA8, 0xD1), (0xE4, 0xD7, 0xF2)):
        assert (np.abs(pixels * 255 - colour).max(axis=2) < 3).sum() > 50, colour
    assert inked[-1:].mean() < 0.01


@pytest.mark.needs("chromium")
def test_a_page_prints_on_a_few_sheets_of_a4(html, tmp_path):
    file, printed = tmp_path / "page.html", tmp_path / "page.pdf"
    file.write_text(html, "utf-8")
    chromium(tmp_path, file, "--no-pdf-header-footer", f"--print-to-pdf={printed}")
    data = printed.read_bytes()
    sheets = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", data)
    assert 2 <= len(sheets) <= 6
    assert {(round(float(w)), round(float(h))) for w, h in sheets} <= {(595, 842), (596, 842)}
