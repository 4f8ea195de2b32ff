"""The pieces that dashboards are made of: one look for a line, a figure and a table. It knows no dashboard and no metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as StatPanel
from grafana_foundation_sdk.builders.table import Panel as TablePanel
from grafana_foundation_sdk.builders.timeseries import Panel as TimeseriesPanel
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, GREY = "green", "yellow", "orange", "red", "text"
RATIO, SECONDS, SHORT, BYTES, PER_SECOND = "percentunit", "s", "short", "bytes", "cps"

Steps = Sequence[tuple[float | None, str]]
"""Colours by the value from which they hold; the first from None, which is all that is lower."""


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL and how its series are called; `{{label}}` is a label's value."""

    expr: str
    legend: str = "__auto"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: a query with one value for each row, by the rows' label."""

    title: str
    expr: str
    unit: str = SHORT
    decimals: int = 0
    steps: Steps = ()


def truncated(ratio: str) -> str:
    """A ratio cut to thousandths of a percent: availability is never shown as more than it is."""
    return f"floor(100000 * ({ratio})) / 100000"


def steps(given: Steps) -> ThresholdsConfig:
    """Colours by value."""
    marks = [Threshold(value, colour) for value, colour in given]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(marks)


def lines(
    title: str,
    says: str,
    *queries: Query,
    unit: str = SHORT,
    decimals: int | None = None,
    width: int = 12,
    marks: Steps = (),
    stacked: bool = False,
) -> TimeseriesPanel:
    """Values over time. `marks` are dashed lines across it."""
    panel = (
        TimeseriesPanel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(8)
        .line_width(1)
        .fill_opacity(30 if stacked else 0)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if decimals is not None:
        panel.decimals(decimals)
    if marks:
        panel.thresholds(steps(marks))
        panel.thresholds_style(GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    if stacked:
        panel.stacking(StackingConfig().mode(StackingMode.NORMAL).group("A"))
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(
            Dataquery().expr(query.expr).legend_format(query.legend).range().ref_id(ref).datasource(SOURCE)
        )
    return panel


def figure(
    title: str,
    says: str,
    *queries: Query,
    unit: str = SHORT,
    decimals: int = 0,
    width: int = 4,
    colours: Steps = ((None, GREY),),
    nothing: str = "none",
) -> StatPanel:
    """The present value, or `nothing` where no series has one."""
    panel = (
        StatPanel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .decimals(decimals)
        .span(width)
        .height(4)
        .no_value(nothing)
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .thresholds(steps(colours))
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(
            Dataquery().expr(query.expr).legend_format(query.legend).instant().ref_id(ref).datasource(SOURCE)
        )
    return panel


def table(title: str, says: str, row: str, *columns: Column, link: str = "", width: int = 24) -> TablePanel:
    """One line for each value of the label `row`, by the first column upwards; `link` is the address behind that label."""
    panel = TablePanel().title(title).description(says).datasource(SOURCE).span(width).height(12)
    names = {}
    for ref, column in zip("ABCDEFGHIJ", columns, strict=False):
        panel.with_target(
            Dataquery().expr(column.expr).instant().format(PromQueryFormat.TABLE).ref_id(ref).datasource(SOURCE)
        )
        names[f"Value #{ref}"] = column.title
        look = [DynamicConfigValue("unit", column.unit), DynamicConfigValue("decimals", column.decimals)]
        if column.steps:
            look += [
                DynamicConfigValue("thresholds", steps(column.steps).build()),
                DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ]
        panel.override_by_name(column.title, look)
    if link:
        panel.override_by_name(row, [DynamicConfigValue("links", [{"title": "Open", "url": link}])])
    order = {row: 0} | {name: at for at, name in enumerate(names, 1)}
    panel.with_transformation(DataTransformerConfig("merge", options={}))
    panel.with_transformation(
        DataTransformerConfig(
            "organize", options={"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
        )
    )
    panel.with_transformation(DataTransformerConfig("sortBy", options={"sort": [{"field": columns[0].title}]}))
    return panel


def to_dashboard(title: str, uid: str) -> DashboardLink:
    """A link in the head of a dashboard to another, at the same time."""
    return DashboardLink(title).type(DashboardLinkType.LINK).url(f"/d/{uid}").keep_time(keep_time=True)
