"""A panel and its JSON: queries, unit, lines, and a description with the next step and the alerts that it shows.

This file holds the form only; the queries and texts are in the files of the boards. The fields are those of schema 42.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tagstream.monitoring.alarms import Alert, Line
from tagstream.monitoring.signals import DISTRIBUTIONS, Signal

Json: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["timeseries", "stat", "heatmap", "trend", "table", "text"]

# A query selects the chosen job, and of it the chosen labels.
JOB = 'job="$job"'
ONE = f'{JOB}, label=~"$label"'
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
NEXT_STEP = "**When it is bad:**"
# Legends of lines that are drawn dashed: the reference of the bundle, and computed limits.
STEADY = "(reference|limit)$"
# A threshold above 1, which no confidence reaches.
NEVER: Json = {"type": "range", "options": {"from": 1.00001, "to": None, "result": {"index": 0, "text": "never"}}}


@dataclass(frozen=True, slots=True)
class Query:
    """
    One query to Prometheus.

    Attributes:
        expr: PromQL; may use `$job`, `$label` and `$__rate_interval`.
        legend: Name of the series; `{{label}}` in it is replaced by the value of that label.
    """

    expr: str
    legend: str


# A panel by label draws this many at each moment, so that a bundle with 77 labels stays readable; the variable $label picks others.
MOST_LABELS = 10


def most(expr: str) -> str:
    """The labels with the largest values."""
    return f"topk({MOST_LABELS}, {expr})"


def least(expr: str) -> str:
    """The labels with the smallest values."""
    return f"bottomk({MOST_LABELS}, {expr})"


def reference(metric: str) -> Query:
    """A figure of the reference in force; every worker exports the same one."""
    return Query(f"max by (job) (tagstream_reference_{metric}{{{JOB}}})", "reference")


def against_reference(signal: Signal) -> tuple[Query, ...]:
    """Cumulative shares at the bucket edges, of the last hour and of the reference; without +Inf, which no axis shows."""
    counted = DISTRIBUTIONS[signal]
    live = f'sum by (le) (increase({counted.metric}_bucket{{{JOB}, le!="+Inf"}}[1h]))'
    # A panel draws both over one field, `le`; the reference has its edges in another label.
    edges = f'max by (at_most) ({counted.reference}{{{JOB}, at_most!="+Inf"}})'
    return (
        Query(f"{live} / on () group_left () sum(increase({counted.metric}_count{{{JOB}}}[1h]))", "live"),
        Query(f'max without (at_most) (label_join({edges}, "le", "", "at_most"))', "reference"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """
    One panel.

    Attributes:
        title: Title, unique on the board.
        shows: Explains the drawing and how to read it; one or more sentences.
        then: The next step when the panel looks bad; exactly one sentence.
        unit: Grafana's name of the unit; empty for a text panel.
        queries: The queries; empty for a text panel.
        kind: Grafana's type of panel.
        lines: Thresholds from low to high.
        alerts: The alerts that are shown here; the board fills them in from their records, and their lines.
        width: Columns, of 24.
        height: Rows of the grid.
        stacked: Draw the series as areas on top of each other, for parts of a whole.
        low: Smallest value of the axis; None lets Grafana choose.
        high: Largest value of the axis; None lets Grafana choose.
        text: Markdown content of a text panel.
    """

    title: str
    shows: str
    then: str
    unit: str = ""
    queries: tuple[Query, ...] = ()
    kind: Kind = "timeseries"
    lines: tuple[Line, ...] = ()
    alerts: tuple[Alert, ...] = ()
    width: int = 8
    height: int = 8
    stacked: bool = False
    low: float | None = 0
    high: float | None = None
    text: str = ""

    @property
    def description(self) -> str:
        """The explanation, the next step and the alerts with their runbooks, as Markdown."""
        fires = ", ".join(f"{alert.name} ({alert.runbook})" for alert in self.alerts)
        return f"{self.shows}\n\n{NEXT_STEP} {self.then}" + (f"\n\nAlerts: {fires}" if fires else "")

    def json(self, number: int, x: int, y: int) -> Json:
        """
        The panel in Grafana's JSON.

        Args:
            number: Its id, unique on the board.
            x: The column of its left edge, 0 to 23.
            y: The row of its upper edge.
        """
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "targets": [self._target(index, query) for index, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": self._overrides()},
            "options": _OPTIONS[self.kind](self),
            "transformations": self._transformations(),
        }

    def _target(self, index: int, query: Query) -> Json:
        now = self.kind in {"stat", "trend", "table"}
        formats = {"trend": "table", "table": "table", "heatmap": "heatmap"}
        return {
            "refId": chr(ord("A") + index),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": query.expr,
            "legendFormat": query.legend,
            "format": formats.get(self.kind, "time_series"),
            "instant": now,
            "range": not now,
        }

    def _defaults(self) -> Json:
        if self.kind == "text":
            return {}
        defaults: Json = {"unit": self.unit, "color": {"mode": "palette-classic"}, "thresholds": self._thresholds()}
        if self.kind == "stat":
            defaults["color"] = {"mode": "thresholds"}
        # The horizontal axis of a curve is a field too, so limits for all fields would cut it.
        if self.low is not None and self.kind != "trend":
            defaults["min"] = self.low
        if self.high is not None and self.kind != "trend":
            defaults["max"] = self.high
        if any("tagstream_confidence_threshold_ratio" in query.expr for query in self.queries):
            defaults["mappings"] = [NEVER]
        if self.kind in {"timeseries", "trend"}:
            defaults["custom"] = {
                "drawStyle": "line",
                "lineWidth": 2,
                "fillOpacity": 20 if self.stacked else 0,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if self.lines else "off"},
            }
        return defaults

    def _thresholds(self) -> Json:
        calm = "green" if not self.lines or not self.lines[0].below else self.lines[0].colour
        steps: list[Json] = [{"color": calm, "value": None}]
        steps += [{"color": "green" if line.below else line.colour, "value": line.value} for line in self.lines]
        return {"mode": "absolute", "steps": steps}

    def _overrides(self) -> list[Json]:
        overrides: list[Json] = []
        if self.kind == "trend":
            edges = {"id": "byName", "options": "le"}
            overrides.append({"matcher": edges, "properties": [{"id": "unit", "value": "none"}]})
        if any(re.search(STEADY, query.legend) for query in self.queries):
            dashed = {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 6]}}
            thin = {"id": "custom.lineWidth", "value": 1}
            overrides.append({"matcher": {"id": "byRegexp", "options": f"/{STEADY}/"}, "properties": [dashed, thin]})
        return overrides

    def _transformations(self) -> list[Json]:
        names = {f"Value #{chr(ord('A') + index)}": query.legend for index, query in enumerate(self.queries)}
        hidden = {"Time": True, **{f"Time {index + 1}": True for index in range(len(self.queries))}}
        if self.kind == "table":
            return [{"id": "organize", "options": {"excludeByName": hidden, "renameByName": {"Value": self.queries[0].legend}}}]
        if self.kind == "trend":
            # A curve over bucket edges instead of time: the results are joined on the edge and sorted by it.
            return [
                {"id": "convertFieldType", "options": {"conversions": [{"targetField": "le", "destinationType": "number"}]}},
                {"id": "joinByField", "options": {"byField": "le", "mode": "outer"}},
                {"id": "organize", "options": {"excludeByName": hidden, "renameByName": names}},
                {"id": "sortBy", "options": {"sort": [{"field": "le"}]}},
            ]
        return []


_LEGEND: Json = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
_TOOLTIP: Json = {"mode": "multi", "sort": "desc"}


def _lines(_: Panel) -> Json:
    return {"legend": _LEGEND, "tooltip": _TOOLTIP}


def _curve(_: Panel) -> Json:
    return {"legend": _LEGEND, "tooltip": _TOOLTIP, "xField": "le"}


def _stat(panel: Panel) -> Json:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value" if panel.lines else "none",
        "graphMode": "none",
        "textMode": "value_and_name" if len(panel.queries) > 1 else "value",
        "orientation": "auto",
        "justifyMode": "auto",
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
        "wideLayout": True,
    }


def _heatmap(panel: Panel) -> Json:
    return {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "reverse": False, "exponent": 0.5, "fill": "dark-blue"},
        "exemplars": {"color": "orange"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
        "yAxis": {"axisPlacement": "left", "unit": panel.unit},
    }


def _table(_: Panel) -> Json:
    return {
        "frameIndex": 0,
        "showHeader": True,
        "cellHeight": "sm",
        "footer": {"show": False, "reducer": ["sum"], "fields": []},
    }


def _text(panel: Panel) -> Json:
    return {"mode": "markdown", "content": panel.text}


_OPTIONS: dict[Kind, Callable[[Panel], Json]] = {
    "timeseries": _lines,
    "stat": _stat,
    "heatmap": _heatmap,
    "trend": _curve,
    "table": _table,
    "text": _text,
}
