"""A statement as one HTML file that a customer can be sent: nothing outside it is loaded, and it prints on A4.

It says what the statement's document says, in words and tables; it decides and counts nothing. The statement is the canonical JSON whose hash
stands at the end: this page may look different one day, the hash will not. Times are in the tenant's zone. Whatever came from outside (names,
reasons, codes) is escaped, because only `Markup` is written as it is.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from html import escape
from typing import Any

from monitor.contract.exclusions import ALL
from monitor.contract.instant import instant
from monitor.contract.period import MINUTE_MS, moment_of
from monitor.contract.readings import MinuteCounts
from monitor.contract.statement import Statement
from monitor.contract.terms import shown
from monitor.outlets.statement_chart import chart

Document = Mapping[str, Any]


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def page(statement: Statement, minutes: MinuteCounts) -> str:
    """The statement as an HTML document (UTF-8); `minutes`: the counts that it was made from, for the chart.

    ValueError when the minutes are others. ModuleNotFoundError, with what to install, where matplotlib is missing.
    """
    document = statement.document
    sections = (
        _head(document),
        _section("The month", _figure(document, minutes)),
        _section("Requests by portal and fault", *_counts(document)),
        _section("Three readings", *_readings(document)),
        _section("Affected dates and claims", *_affected(document)),
        _section("Exclusions", *_exclusions(document)),
        _section("Silence and coverage", *_silence(document)),
        _section("Decisions", *_rulings(document)),
        _section("Terms", *_terms(document)),
        _section("Evidence", *_evidence(document)),
        _section("Proof", *_proof(statement)),
    )
    title = f"{document['tenant']}, {_month(document)}: statement of availability"
    head = _tag("head", Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
                _tag("title", title), _tag("style", Markup(STYLE)))  # fmt: skip
    return "<!doctype html>\n" + _tag("html", head, _tag("body", _tag("main", *sections)), lang="en") + "\n"


# -- parts


def _head(document: Document) -> Markup:
    kind = KINDS[document["kind"]].format(number=document["number"])
    facts = [f"{kind}, as of {_time(document['as_of'], document)}"]
    if document["partner"]:
        facts.append(f"Partner: {document['partner']}")
    if document["tier"]:
        facts.append(f"Tier: {document['tier']}")
    facts.append(f"{_time(document['start'], document)} to {_time(document['end'], document)}, {document['zone']}")
    counts, promised = document["counts"], document["terms"]["tiers"][0]["below"]
    figures = [
        (shown(counts["good"], counts["bad"]), f"availability; {promised} % is promised"),
        (_plural(document["days"], "day"), "of extra licence term, if claimed" if document["days"] else "of credit"),
        (f"{counts['bad']:,}", f"of {counts['good'] + counts['bad']:,} requests that count failed"),
        (document["coverage"]["share"], "of the minutes were measured"),
    ]
    return _tag(
        "header",
        _tag("p", "Statement of availability", class_="kicker"),
        _tag("h1", f"{document['tenant']} ", _tag("span", _month(document))),
        _tag("p", *(_tag("span", fact) for fact in facts), class_="facts"),
        _tag("p", _verdict(document), class_=f"verdict {document['verdict']}"),
        *(_tag("p", note, class_="note") for note in _notes(document)),
        _tag("dl", *(_tag("div", _tag("dt", name), _tag("dd", value)) for value, name in figures)),
    )


def _verdict(document: Document) -> str:
    counts, tiers = document["counts"], document["terms"]["tiers"]
    share, promised = shown(counts["good"], counts["bad"]), tiers[0]["below"]
    if document["verdict"] == "kept":
        return f"Kept. {share} of the requests that count were answered as they should be; {promised} % was promised."
    if document["verdict"] == "missed":
        under = min(tier["below"] for tier in tiers if document["band"] < tier["below"])
        owed = f"That entitles to {_plural(document['days'], 'day')} of extra licence term, once claimed and confirmed."
        return (
            f"Missed. {share} of the requests that count were answered as they should be, less than {under} %. {owed}"
        )
    return {
        "no_demand": "No demand. No request that counts came, so there was nothing to be available for: nothing is missed or owed.",
        "ended": "The contract had ended. Requests are shown, and promised nothing.",
        "not_started": "The contract had not started. Requests are shown, and promised nothing.",
    }[document["verdict"]]


def _notes(document: Document) -> list[str]:
    """What a reader must know before relying on the verdict."""
    notes = []
    if document["kind"] in {"interim", "provisional"}:
        notes.append(
            f"Not final: what arrives or is decided until {_time(document['final_from'], document)} can change it."
        )
    if document["changed"]:
        notes.append(f"Changed since the version before: {', '.join(document['changed'])}.")
    if document["standing"] == "unknown":
        notes.append(
            "Nobody has recorded a contract with this tenant: the standard terms are shown, and nobody can claim."
        )
    if document["short"]:
        notes.append("The term covers only a part of the calendar month.")
    if document["disagree"]:
        notes.append("The three readings put this month in different bands. Requests are the contractual one.")
    if not document["coverage"]["enough"]:
        accepted = document["coverage"]["accepted_by"]
        least = document["terms"]["coverage_percent"]
        after = f"; {accepted} accepted it as it is" if accepted else "; it cannot be final until a person accepts it"
        notes.append(f"Unmeasured: under {least} % of the minutes were measured{after}.")
    undecided = sum(item["undecided_minutes"] for item in document["silence"])
    if undecided:
        notes.append(f"{_plural(undecided, 'minute')} of silence still need a person's decision.")
    return notes


def _figure(document: Document, minutes: MinuteCounts) -> Markup:
    caption = "Above: availability from the start of the month up to each hour, with the promised thresholds. Below: each hour by itself."
    return _tag("figure", Markup(chart(document, minutes)), _tag("figcaption", caption))


def _counts(document: Document) -> list[Markup]:
    rows = [[name, *_row(portal)] for name, portal in document["portals"].items()]
    total = ["All portals", *_row(document["counts"])]
    heads = (
        "Portal",
        "Succeeded",
        "Refused rightly",
        "Provider's failures",
        "Not classified",
        "Good",
        "Bad",
        "Fault elsewhere",
        "Left out by exclusions",
    )
    parts = [_table(heads, rows, numbers=range(1, 9), foot=total)] if rows else [_tag("p", "No request came.")]
    good, bad, missing = (document["counts"][name] for name in ("good", "bad", "missing"))
    explained = "Good and bad make the availability. A failure that nobody classified is bad; one whose fault lay elsewhere is neither."
    if missing:
        explained += f" {missing:,} more requests are held to be missing in silent minutes, and are bad: {good:,} good and {bad:,} bad in all."
    parts.append(_tag("p", explained))
    outside = sum(document["outside_term"].values())
    if outside:
        parts.append(_tag("p", f"{_plural(outside, 'request')} of the month came outside the term, and do not count."))
    if document["unclassified_codes"]:
        codes = [[code or "(no code)", f"{n:,}"] for code, n in document["unclassified_codes"].items()]
        parts.append(_table(("Code nobody has classified", "Requests"), codes, numbers=[1]))
    return parts


def _row(counts: Document) -> list[str]:
    counted = counts["counted"]
    good, bad = counted["success"] + counted["client"], counted["server"] + counted["unclassified"]
    numbers = (
        counted["success"],
        counted["client"],
        counted["server"],
        counted["unclassified"],
        good,
        bad,
        counted["external"],
    )
    return [f"{n:,}" for n in (*numbers, sum(counts["excluded"].values()))]


def _readings(document: Document) -> list[Markup]:
    rows = []
    for name, what in READINGS.items():
        reading = document["readings"][name]
        if reading is None:
            rows.append([name.capitalize(), what, "not counted", "", "", "", ""])
            continue
        figures = (f"{reading['good']:,}", f"{reading['bad']:,}", reading["availability"], _band(reading["band"]))
        rows.append([name.capitalize(), what, *figures, str(reading["days"])])
    heads = ("Reading", "What is counted", "Good", "Bad", "Availability", "Band", "Days")
    said = "They disagree: the month lands in different bands." if document["disagree"] else "They agree on the band."
    parts = [_table(heads, rows, numbers=range(2, 7)), _tag("p", said)]
    if document["users_method"]:
        parts.append(_tag("p", f"Users: {document['users_method']}."))
    return parts


def _affected(document: Document) -> list[Markup]:
    if not document["affected"]:
        return [_tag("p", "No date was affected: no request that counts failed.")]
    rows = [
        [day["date"], f"{day['bad']:,}", day["claim_by"], _time(day["claim_closes"], document)]
        for day in document["affected"]
    ]
    heads = ("Date affected", "Failed requests", "Last day to claim", "Claim closes")
    within = document["terms"]["claim_days"]
    if document["days"]:
        said = f"A credit is given when it is asked for: notify your partner within {within} days of a date on which service was affected."
    else:
        said = "This month entitles to no credit as it stands."
    return [_tag("p", said), _table(heads, rows, numbers=[1])]


def _exclusions(document: Document) -> list[Markup]:
    if not document["exclusions"]:
        return [_tag("p", "None was declared.")]
    parts = [
        _tag(
            "p",
            f"{_plural(document['excluded_minutes'], 'minute')} are left out. Only approved exclusions count; each is shown with and without.",
        )
    ]
    several = [part for part in document["excluded"] if len(part["exclusions"]) > 1]
    if several:
        told = (f"{' to '.join(_span(part, document))}: {' and '.join(part['exclusions'])}" for part in several)
        parts.append(_tag("p", f"Minutes under several exclusions are left out once. {'; '.join(told)}."))
    for item in document["exclusions"]:
        sides = [
            [name, item[side]["availability"], _band(item[side]["band"]), str(item[side]["days"]), f"{item[side]['bad']:,}",
             f"{item[side]['excluded_minutes']:,}", _dates(item[side]["affected"])]
            for name, side in (("With it", "with"), ("Without it", "without"))
        ]  # fmt: skip
        heads = ("The month", "Availability", "Band", "Days", "Bad", "Minutes left out", "Dates affected")
        parts.append(
            _tag(
                "article",
                _tag("h3", f"{item['id']}: {_words(item['category'])}, {item['state']}"),
                _tag("p", *_sentences(_told(item, document))),
                _table(heads, sides, numbers=range(1, 6)),
            )
        )
    return parts


def _told(item: Document, document: Document) -> list[str]:
    """An exclusion's story."""
    named = ", ".join(item["portals"])
    portals = "all portals" if item["portals"] == ALL else f"portal{'s' * (len(item['portals']) > 1)} {named}"
    tenants = "all tenants" if item["tenants"] == ALL else "this contract"
    told = [f"{_time(item['from'], document)} to {_time(item['to'], document)}, {portals}, {tenants}."]
    told += [f"Reason: {item['reason']}."] if item["reason"] else []
    told += [f"Reference: {item['reference']}."] if item["reference"] else []
    for act in ("declared", "corrected", "approved", "revoked"):
        if act in item:
            why = f" ({item[act]['reason']})" if item[act].get("reason") else ""
            told.append(f"{act.capitalize()} by {item[act]['by']}, {_time(item[act]['at'], document)}{why}.")
    if "proposed" in item:
        proposed = item["proposed"]
        told.append(
            f"A correction waits for approval: {_time(proposed['from'], document)} to {_time(proposed['to'], document)}."
        )
    return told


def _silence(document: Document) -> list[Markup]:
    parts = []
    if document["silence"]:
        rows = [
            [*_span(item, document), BASIS[item["basis"]], f"{item['expected']:,}", f"{item['undecided_minutes']:,}"]
            for item in document["silence"]
        ]
        heads = ("From", "To", "Whose", "Requests expected", "Minutes undecided")
        said = "No request came though history says that there must have been some. These minutes count on neither side until a person decides."
        parts += [_tag("p", said), _table(heads, rows, numbers=(3, 4))]
    else:
        parts.append(_tag("p", "No silence: there were no minutes without requests that history does not explain."))
    measured = document["coverage"]
    parts.append(
        _tag(
            "p",
            f"{measured['measured']:,} of {_plural(measured['minutes'], 'minute')} were measured, {measured['share']}.",
        )
    )
    if measured["gaps"]:
        rows = [_span(gap, document) for gap in measured["gaps"]]
        parts.append(_table(("Not measured from", "to"), rows))
    return parts


def _rulings(document: Document) -> list[Markup]:
    if not document["rulings"]:
        return [_tag("p", "No person had to decide anything that the counts leave open.")]
    rows = [
        [item["id"], _ruled(item, document), item["reason"], item["by"], _time(item["at"], document)]
        for item in document["rulings"]
    ]
    return [_table(("Decision", "What", "Reason", "By", "When"), rows)]


def _ruled(item: Document, document: Document) -> str:
    if item["kind"] == "classify":
        code = f"code {item['code']}" if item["code"] else "failures without a code"
        return f"{code}: fault {FAULTS[item['as']]}, from {_time(item['from'], document)}"
    if item["kind"] == "silence":
        held = f"bad, {item['requests']:,} requests missing" if item["as"] == "bad" else "left out"
        return f"silence {_time(item['from'], document)} to {_time(item['to'], document)}: {held}"
    return f"{item['month']} may be final although it was not measured well enough"


def _terms(document: Document) -> list[Markup]:
    terms = document["terms"]
    holidays = document["holidays"]
    rows = [[f"under {tier['below']} %", _plural(tier["days"], "day")] for tier in terms["tiers"]]
    said = [
        f"Version {terms['version']}.",
        f"At most {_plural(terms['cap_days'], 'day')} are credited for a calendar month, as extra licence term.",
        f"A claim is made within {_plural(terms['claim_days'], 'day')} of an affected date.",
        f"A month is final {_plural(terms['final_business_days'], 'business day')} after its end"
        + (
            f"; {' and '.join(holidays)} {'is a holiday' if len(holidays) == 1 else 'are holidays'} and not one."
            if holidays
            else "."
        ),
    ]
    if document["term_end"]:
        said.append(f"The term ends on {document['term_end']} as agreed on, credits not counted.")
    return [_tag("p", *_sentences(said)), _table(("Availability", "Credit"), rows, numbers=[1])]


def _evidence(document: Document) -> list[Markup]:
    rows = [
        [name, stretch["topic"], str(stretch["partition"]), f"{stretch['from']:,}", f"{stretch['upto']:,}"]
        for name in ("sources", "journal")
        for stretch in document["evidence"][name]
    ]
    if not rows:
        return [_tag("p", "No offsets are recorded.")]
    said = "The records that this statement was counted from. Offsets: the first, and the one after the last."
    return [_tag("p", said), _table(("Log", "Topic", "Partition", "From offset", "Up to"), rows, numbers=(2, 3, 4))]


def _proof(statement: Statement) -> list[Markup]:
    document = statement.document
    if document["kind"] == "interim":
        return [_tag("p", "An interim statement is made on demand and is part of no chain; it proves nothing.")]
    rows = [
        ["This statement", statement.sha256],
        ["The tenant's statement before it", document["previous"] or "none: it is the first"],
    ]
    if document["supersedes"]:
        rows.append(["The version it replaces", document["supersedes"]])
    said = (
        f"Statement {statement.id}, number {document['sequence'] + 1} of this tenant's. The hashes are SHA-256 of the statements' JSON; each "
        "statement names the one before, so none can be changed or left out unseen."
    )
    return [_tag("p", said), _table(("Hash of", "SHA-256"), rows, class_="hashes")]


# -- words

KINDS = {
    "interim": "Interim statement",
    "provisional": "Provisional statement",
    "final": "Final statement",
    "amendment": "Amendment {number}",
}
READINGS = {
    "requests": "all requests that count: the contractual reading",
    "minutes": "minutes with demand; one in which too many requests failed was down",
    "users": "users by minute, without a failure of the provider's or with one",
}
BASIS = {"tenant": "this tenant's", "platform": "the whole platform's"}
FAULTS = {"server": "the provider's", "client": "the user's, so good", "external": "elsewhere, so on neither side"}


def _month(document: Document) -> str:
    year, number = document["month"].split("-")
    return f"{calendar.month_name[int(number)]} {year}"


def _time(text: str, document: Document) -> str:
    """An instant in the tenant's zone, to the minute; with the offset where that is not UTC."""
    zone = document["zone"]
    local = moment_of(instant(text) // MINUTE_MS, zone)
    return f"{local:%Y-%m-%d %H:%M} {'UTC' if zone == 'UTC' else local.isoformat()[-6:]}"


def _span(item: Document, document: Document) -> list[str]:
    return [_time(item["from"], document), _time(item["to"], document)]


def _band(band: float | None) -> str:
    return "-" if band is None else f"{band} %" if band else "none kept"


def _dates(dates: Sequence[str]) -> str:
    """Rising dates, those that follow each other as a range."""
    ranges: list[list[date]] = []
    for day in map(date.fromisoformat, dates):
        if ranges and day - ranges[-1][-1] == timedelta(days=1):
            ranges[-1][1:] = [day]
        else:
            ranges.append([day])
    return ", ".join(" to ".join(map(str, days)) for days in ranges) or "none"


def _plural(n: int, name: str) -> str:
    return f"{n:,} {name}" if n == 1 else f"{n:,} {name}s"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _sentences(said: Iterable[str]) -> list[str]:
    return [" ".join(said)]


# -- HTML


def _tag(name: str, *children: str, class_: str = "", lang: str = "", scope: str = "") -> Markup:
    """An element. Children are escaped unless they are `Markup`."""
    attributes = "".join(
        f' {key}="{escape(value)}"' for key, value in (("class", class_), ("lang", lang), ("scope", scope)) if value
    )
    inside = "".join(child if isinstance(child, Markup) else escape(child) for child in children)
    return Markup(f"<{name}{attributes}>{inside}</{name}>")


def _section(title: str, *parts: Markup) -> Markup:
    return _tag("section", _tag("h2", title), *parts)


def _table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Iterable[int] = (),
    foot: Sequence[str] = (),
    class_: str = "",
) -> Markup:
    """A table whose first column names the rows; `numbers`: columns of figures."""
    right = set(numbers)

    def cells(row: Sequence[str]) -> list[Markup]:
        return [
            _tag("td" if place else "th", cell, class_="n" if place in right else "", scope="" if place else "row")
            for place, cell in enumerate(row)
        ]

    head = _tag(
        "tr", *(_tag("th", cell, class_="n" if place in right else "", scope="col") for place, cell in enumerate(heads))
    )
    parts = [_tag("thead", head), _tag("tbody", *(_tag("tr", *cells(row)) for row in rows))]
    if foot:
        parts.append(_tag("tfoot", _tag("tr", *cells(foot))))
    return _tag("table", *parts, class_=class_)


STYLE = """
@page { size: A4; margin: 15mm 14mm 17mm; }
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1d2733; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.5rem 3rem; }
h1 { margin: 0; font-size: 2rem; line-height: 1.2; overflow-wrap: anywhere; }
h1 span { font-weight: 400; color: #55626f; }
h2 { margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid #d5dbe2; font-size: 1.15rem; }
h3 { margin: 1.2rem 0 .3rem; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; overflow-wrap: anywhere; }
.kicker { margin: 0 0 .2rem; color: #55626f; font-size: .85rem; letter-spacing: .04em; text-transform: uppercase; }
.facts { color: #55626f; }
.facts span { display: inline-block; max-width: 100%; margin-right: 1.4rem; }
.verdict { margin: 1rem 0 .8rem; padding: .8rem 1rem; border-left: 5px solid #8a96a3; background: #f1f4f7; font-size: 1.1rem; }
.verdict.kept { border-color: #2c7a4b; background: #eef7f1; }
.verdict.missed { border-color: #c23b22; background: #fcf0ed; }
.note { padding-left: 1rem; border-left: 3px solid #d9a441; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem; margin: 1.2rem 0 0; }
dl div { display: flex; flex-direction: column-reverse; justify-content: flex-end; padding: .7rem .9rem; }
dl div { border: 1px solid #d5dbe2; border-radius: 6px; }
dt { color: #55626f; font-size: .85rem; line-height: 1.35; }
dd { margin: 0; font-size: 1.45rem; font-variant-numeric: tabular-nums; }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { color: #55626f; font-size: .85rem; }
table { width: 100%; margin: .6rem 0; border-collapse: collapse; font-size: .85rem; line-height: 1.35; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid #e3e8ed; text-align: left; vertical-align: top; overflow-wrap: break-word; }
thead th { color: #55626f; font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody th, tbody td { overflow-wrap: anywhere; }
tbody td:not(.n) { min-width: 4em; }
tbody th { min-width: 9em; }
.n + :not(.n) { padding-left: 1.6rem; }
section { overflow-x: auto; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { white-space: nowrap; overflow-wrap: normal; }
tfoot th, tfoot td { border-top: 2px solid #8a96a3; border-bottom: 0; font-weight: 600; }
.hashes td { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .78rem; overflow-wrap: anywhere; }
article, figure, tr { break-inside: avoid; }
h2, h3 { break-after: avoid; }
@media print {
  body { font-size: 9.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  section { overflow-x: visible; }
  dd { font-size: 1.2rem; }
  table { font-size: 7.5pt; }
  th, td { padding: .2rem .3rem; }
  h2 { margin-top: 1.4rem; }
}
"""
