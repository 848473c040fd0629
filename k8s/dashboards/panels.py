"""The kinds of panels that the dashboards are made of.

Each has a title and a text that says what it shows and when to worry; a list of queries is pairs of
PromQL and legend. Units are Grafana's ids (`s`, `percentunit`, `cpm`: counts a minute, ...), limits
are pairs of a value and the colour from there on. A runbook is named by its alert.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel: TypeAlias = Builder[models.Panel]
Queries: TypeAlias = Sequence[tuple[str, str]]
Limits: TypeAlias = Sequence[tuple[float, str]]

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"
LOW, HIGH = 4, 9
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_LAST = common.ReduceDataOptions().calcs(["lastNotNull"])


def number(
    title: str,
    says: str,
    expr: str,
    *,
    unit: str,
    limits: Limits = (),
    base: str = GREEN,
    words: Mapping[int, tuple[str, str]] | None = None,
    none: str = "no data",
    runbook: str = "",
    width: int = 4,
    height: int = LOW,
) -> Panel:
    """Show one value, now. `words`: what to show, and in which colour, instead of a value."""
    return (
        stat.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .thresholds(_steps(limits, base))
        .mappings([_named(words)] if words else [])
        .no_value(none)
        .links(_to(runbook))
        .color_mode(options.BigValueColorMode.BACKGROUND)
        .graph_mode(options.BigValueGraphMode.NONE)
        .with_target(_query(expr, "", 0).instant())
        .reduce_options(_LAST)
        .height(height)
        .span(width)
    )


def lines(
    title: str,
    says: str,
    queries: Queries,
    *,
    unit: str,
    limits: Limits = (),
    stacked: bool = False,
    most: float | None = None,
    none: str = "no data",
    runbook: str = "",
    width: int = 12,
) -> Panel:
    """Show values over time; `stacked` ones are bars. Limits are drawn, `most` ends the axis."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .thresholds(_steps(limits, "transparent"))
        .no_value(none)
        .links(_to(runbook))
        .line_width(1)
        .fill_opacity(80 if stacked else 5)
        .show_points(options.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(options.LegendDisplayMode.TABLE)
            .placement(options.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(options.TooltipDisplayMode.MULTI)
            .sort(options.SortOrder.DESCENDING)
        )
        .height(HIGH)
        .span(width)
    )
    if limits:
        style = options.GraphThresholdsStyleMode.DASHED
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))
    if stacked:
        panel.draw_style(options.GraphDrawStyle.BARS)
        panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    if most is not None:
        panel.max(most)
    for index, (expr, legend) in enumerate(queries):
        panel.with_target(_query(expr, legend, index).range())
    return panel


def bars(
    title: str,
    says: str,
    queries: Queries,
    *,
    unit: str,
    limits: Limits = (),
    base: str = BLUE,
    decimals: int | None = None,
    link: tuple[str, str] | None = None,
    none: str = "no data",
    width: int = 12,
) -> Panel:
    """Show a bar for each series, now. `link`: title and URL of where a click on one leads."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .thresholds(_steps(limits, base))
        .no_value(none)
        .orientation(options.VizOrientation.HORIZONTAL)
        .display_mode(options.BarGaugeDisplayMode.BASIC)
        .reduce_options(_LAST)
        .height(HIGH)
        .span(width)
    )
    if decimals is not None:
        panel.decimals(decimals)
    if link is not None:
        words, url = link
        panel.data_links([dashboard.DashboardLink(words).url(url).target_blank(target_blank=True)])
    for index, (expr, legend) in enumerate(queries):
        panel.with_target(_query(expr, legend, index).instant())
    return panel


def columns(
    title: str,
    says: str,
    queries: Queries,
    *,
    units: Sequence[str],
    keys: Mapping[str, str],
    none: str = "no data",
    width: int = 12,
) -> Panel:
    """Show a table: rows are known by the labels `keys` (label: heading), a query is a column.

    Its legend is the heading. The first query decides which rows come first.
    """
    letters = [chr(ord("A") + index) for index in range(len(queries))]
    headings = dict(zip(letters, (heading for _, heading in queries), strict=True))
    names = {f"Value #{letter}": heading for letter, heading in headings.items()}
    names = names if len(queries) > 1 else {"Value": queries[0][1]}
    order = {name: index for index, name in enumerate((*keys, *names))}
    panel = (
        table.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit("short")
        .no_value(none)
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": order,
                    "renameByName": {**keys, **names},
                },
            )
        )
        .sort_by([common.TableSortByFieldState().display_name(queries[0][1]).desc(desc=True)])
        .height(HIGH)
        .span(width)
    )
    for index, ((expr, heading), unit) in enumerate(zip(queries, units, strict=True)):
        table_of = PromQueryFormat.TABLE
        panel.with_target(_query(expr, "", index).instant().format(table_of))
        panel.override_by_name(heading, [models.DynamicConfigValue(id_val="unit", value=unit)])
    return panel


def heat(title: str, says: str, expr: str, *, unit: str, width: int = 12) -> Panel:
    """Show how a histogram's observations are spread over time; the query yields `le` buckets."""
    return (
        heatmap.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .calculate(calculate=False)
        .unit("short")
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges"))
        .with_target(_query(expr, "{{le}}", 0).range().format(PromQueryFormat.HEATMAP))
        .height(HIGH)
        .span(width)
    )


def states(
    title: str,
    says: str,
    expr: str,
    legend: str,
    *,
    words: Mapping[int, tuple[str, str]],
    none: str,
    width: int = 12,
) -> Panel:
    """Show when each series had which value, as a word and its colour."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit("short")
        .mappings([_named(words)])
        .no_value(none)
        .show_value(options.VisibilityMode.NEVER)
        .with_target(_query(expr, legend, 0).range())
        .height(HIGH)
        .span(width)
    )


def _to(runbook: str) -> list[Builder[models.DashboardLink]]:
    if not runbook:
        return []
    link = dashboard.DashboardLink(f"Runbook of {runbook}").type(models.DashboardLinkType.LINK)
    return [link.url(f"${{runbooks}}/{runbook}.md").target_blank(target_blank=True)]


def _query(expr: str, legend: str, index: int) -> Dataquery:
    letter = chr(ord("A") + index)
    return Dataquery().expr(expr).legend_format(legend).ref_id(letter).datasource(SOURCE)


def _steps(limits: Limits, base: str) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color=base)]
    steps += [models.Threshold(value=value, color=color) for value, color in limits]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _named(words: Mapping[int, tuple[str, str]]) -> models.ValueMap:
    return models.ValueMap(
        {
            str(value): models.ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(words.items())
        }
    )
