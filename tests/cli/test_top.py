"""`monitor top` on terminals of every width: what is left out is the least of it, and a tenant's name is whole."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from monitor.cli.top import COLUMNS, Worst

LONG = "a-tenant-with-the-longest-name-that-there-can-be-" + "x" * 15


def status(tenant: str, **fields: Any) -> dict[str, Any]:
    made = {
        "tenant": tenant,
        "good": 1_234_567,
        "bad": 12_345,
        "unclassified": 3,
        "availability": 0.990099,
        "budget_left": -10.441,
        "projected": {"p05": 0.98015, "p50": 0.988, "p95": 0.99102},
        "breach_probability": {"95": 0.031, "99": 0.979, "90": 0.0},
        "verdicts": {"99": "breached", "95": "at_risk", "90": "none"},
    }
    return made | fields


def shown(width: int, *statuses: dict[str, Any]) -> list[str]:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(Worst(statuses, 20))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize(
    ("width", "missing"),
    [
        (60, {"requests", "failed", "so far", "in 90 of 100 cases"}),
        (80, {"requests", "in 90 of 100 cases"}),
        (120, set()),
    ],
)
def test_a_narrow_terminal_leaves_columns_out_and_cuts_none(width: int, missing: set[str]) -> None:
    head, *rows = shown(width, status("tenant-01"), status("tenant-02", verdicts={}))
    assert {name for name in COLUMNS if name not in head} == missing
    assert [row.split()[0] for row in rows] == ["tenant-01", "at", "tenant-02"]
    assert not any("…" in row for row in (head, *rows))
    assert max(map(len, rows)) <= width


@pytest.mark.parametrize("width", [60, 80])
def test_the_longest_name_there_is_stays_whole(width: int) -> None:
    lines = shown(width, status(LONG))
    assert LONG in "".join(line.split(" ")[0] for line in lines[1:])
    assert "budget left" in lines[0]


def test_each_figure_stands_under_its_name() -> None:
    head, row, more = shown(120, status("tenant-01"))
    assert " ".join(row.split()) == (
        "tenant-01 1246915 12348 99.009 % -1044.1 % 98.800 % 98.015 % to 99.102 % 0.98 breached 99"
    )
    assert more.strip() == "at risk 95"
    for name, figure in {"so far": "99.009 %", "P(miss)": "0.98", "ends at": "98.800 %"}.items():
        assert head.index(name) + len(name) == row.index(figure) + len(figure)


def test_a_tenant_of_whom_nothing_is_known_yet_has_dashes() -> None:
    nothing = {"availability": None, "budget_left": None, "projected": None, "breach_probability": None, "verdicts": {}}
    [_, row] = shown(120, status("tenant-01", good=0, bad=0, unclassified=0, **nothing))
    assert row.split() == ["tenant-01", "0", "0", "-", "-", "-", "-", "-"]
