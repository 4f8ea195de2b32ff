"""The chart on a statement's page: the month by the hour, as one SVG element. What the counts mean is the statement's; here they are drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.contract.exclusions import ALL, Window
from monitor.contract.instant import instant
from monitor.contract.period import MINUTE_MS, Period, local_days
from monitor.contract.readings import MinuteCounts, Sheet
from monitor.contract.rulings import Rulings, ruling_of
from monitor.contract.terms import Terms, label, terms_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

INK, PALE, GOOD, BAD, LEFT_OUT, SILENT = "#1d2733", "#d5dbe2", "#7fa8d1", "#c23b22", "#e4d7f2", "#f6d9a8"
_OF_ITS_OWN = 24
"""Hours that the line of the month so far needs before its lowest point sets the scale."""


def chart(document: Mapping[str, Any], minutes: MinuteCounts) -> str:
    """The month of a statement's document as an SVG element; the same minutes give the same bytes.

    ValueError when the minutes are not those that the statement was counted from. ModuleNotFoundError, with what to install, where matplotlib
    is missing.
    """
    period = Period(_minute(document["start"]), _minute(document["end"]), document["month"])
    terms = terms_of(document["terms"])
    good, bad = _counted(document, minutes, period, terms)
    wanted = document["counts"]["good"], document["counts"]["bad"]
    found = int(good.sum()), int(bad.sum())
    if found != wanted:
        raise ValueError(
            f"expected the minutes that {document['tenant']}'s statement for {document['month']} was counted from: it has {wanted[0]} good and "
            f"{wanted[1]} bad requests, the minutes {found[0]} and {found[1]}. Take them as of {document['as_of']}"
        )
    return _draw(document, period, terms, _by_hour(good), _by_hour(bad))


def _counted(
    document: Mapping[str, Any], minutes: MinuteCounts, period: Period, terms: Terms
) -> tuple[Integers, Integers]:
    """Good and bad by minute of the period, as the statement says that they count."""
    recorded = instant(document["as_of"])
    held = tuple(ruling_of(item, recorded) for item in document["rulings"])
    sheet = Sheet(minutes, period, document["zone"], terms, Rulings(document["tenant"], held))
    return sheet.by_minute([_window(item) for item in document["exclusions"] if item["state"] == "approved"])


def _window(item: Mapping[str, Any]) -> Window:
    portals = None if item["portals"] == ALL else tuple(item["portals"])
    return Window(_minute(item["from"]), _minute(item["to"]), item["category"], portals=portals)


def _minute(text: str) -> int:
    return instant(text) // MINUTE_MS


def _by_hour(counts: Integers) -> Integers:
    """Sums of 60 minutes from the period's start; the last may be shorter."""
    return np.add.reduceat(counts, np.arange(0, len(counts), 60)) if len(counts) else counts


def _draw(document: Mapping[str, Any], period: Period, terms: Terms, good: Integers, bad: Integers) -> str:
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "the chart of a statement is drawn with matplotlib: install monitor[report]", name="matplotlib"
        ) from None
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style = {"svg.fonttype": "none", "svg.hashsalt": "monitor", "font.family": "sans-serif", "font.size": 9}
    with mpl.rc_context(style | {"axes.edgecolor": PALE, "text.color": INK, "axes.labelcolor": INK}):
        figure = Figure(figsize=(9.4, 5.4), layout="constrained")
        so_far, failing, requests = figure.subplots(3, 1, sharex=True, height_ratios=(5, 3, 3))
        edges = np.minimum(np.arange(len(good) + 1) * 60, period.minutes)
        _so_far(so_far, edges, good, bad, terms)
        total = good + bad
        failing.stairs(100 * bad / np.maximum(total, 1), edges, fill=True, color=BAD)
        failing.set(
            ylabel="Failing, %\nof each hour",
            ylim=(0, max(5.0, 105 * float((bad / np.maximum(total, 1)).max(initial=0)))),
        )
        requests.stairs(total, edges, fill=True, color=GOOD, label="good")
        requests.stairs(bad, edges, fill=True, color=BAD, label="bad")
        requests.set(ylabel="Requests\nan hour", ylim=(0, None))
        requests.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(_short))
        days = local_days(period, document["zone"])
        starts = [max(start, period.start) - period.start for _, start, _ in days]
        requests.set_xticks([*starts, period.minutes], minor=True)
        middles = [
            (start + min(end, period.end) - period.start) / 2 for start, (_, _, end) in zip(starts, days, strict=True)
        ]
        requests.set_xticks(middles, [str(day.day) for day, _, _ in days])
        requests.set(xlabel=f"Day of the month ({document['zone']})", xlim=(0, max(period.minutes, 1)))
        for axes in (so_far, failing, requests):
            _shade(axes, document, period)
            axes.tick_params(which="major", axis="x", length=0)
            axes.tick_params(which="minor", axis="x", length=3, color=PALE)
            axes.tick_params(axis="y", color=PALE)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color=PALE, linewidth=0.5)
            axes.set_axisbelow(True)
        _legend(figure, document)
        written = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(written, metadata=nothing)
    return _element(
        written.getvalue(),
        f"Chart of {document['month']}: availability so far, failing requests and all requests by the hour",
    )


def _so_far(axes: Any, edges: Integers, good: Integers, bad: Integers, terms: Terms) -> None:
    """Availability from the period's start up to each hour, beside the promised lines."""
    goods, bads = np.cumsum(good), np.cumsum(bad)
    seen = goods + bads > 0
    line = 100.0 * goods[seen] / (goods + bads)[seen]
    axes.plot(edges[1:][seen], line, color=INK, linewidth=1.6)
    highest = terms.thresholds[0] / 100
    settled = line[_OF_ITS_OWN:] if len(line) > _OF_ITS_OWN else line
    lowest = min(float(settled.min(initial=100.0)), highest)
    room = (100 - lowest) * 0.25
    axes.set(ylabel="Availability\nso far, %", ylim=(max(0.0, lowest - room), 100 + (100 - lowest) * 0.06))
    axes.ticklabel_format(axis="y", useOffset=False)
    for threshold in terms.thresholds:
        if threshold / 100 >= lowest - room:
            axes.axhline(threshold / 100, color=BAD, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(
                f"{label(threshold)} %", (1, threshold / 100), xycoords=("axes fraction", "data"), xytext=(3, 0), textcoords="offset points",
                va="center", color=BAD,
            )  # fmt: skip


def _shade(axes: Any, document: Mapping[str, Any], period: Period) -> None:
    """Mark what does not count, what was silent and what nobody measured."""
    for stretches, look in _stretches(document):
        for stretch in stretches:
            low, high = _minute(stretch["from"]) - period.start, _minute(stretch["to"]) - period.start
            # A stretch of minutes must be wide enough to be seen.
            axes.axvspan(max(low, 0), min(max(high, low + 60), period.minutes), zorder=0, linewidth=0, **look)


def _stretches(document: Mapping[str, Any]) -> list[tuple[Sequence[Mapping[str, Any]], dict[str, Any]]]:
    return [
        (document["excluded"], {"color": LEFT_OUT}),
        (document["silence"], {"color": SILENT}),
        (document["coverage"]["gaps"], {"facecolor": "white", "hatch": "////", "edgecolor": "#9aa5b1"}),
    ]


def _legend(figure: Any, document: Mapping[str, Any]) -> None:
    from matplotlib.patches import Patch

    names = ("left out by an exclusion", "silence", "not measured")
    marks = [
        Patch(facecolor=GOOD, label="good requests"),
        Patch(facecolor=BAD, label="failing, by the provider's fault or undecided"),
    ]
    for (stretches, look), name in zip(_stretches(document), names, strict=True):
        if stretches:
            marks.append(Patch(linewidth=0, label=name, **look))
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False, fontsize=8.5)


def _short(value: float, _: int) -> str:
    """A tick of requests: 1200000 is 1.2M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _element(svg: str, title: str) -> str:
    """The drawing as an element of an HTML page: without what only a file needs, which names addresses elsewhere."""
    start = svg.index("<svg")
    opening, rest = svg[start:].split(">", 1)
    opening = re.sub(r' (xmlns(:\w+)?|width|height|version)="[^"]*"', "", opening)
    return f'{opening} role="img" aria-label="{title}">{rest.strip()}'
