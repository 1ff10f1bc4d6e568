"""Assembles the four boards as Grafana's JSON.

The queries are in `panels[].targets[].expr` and `annotations.list[].expr`. Grafana fills in four variables; `queries` does
the same, so that a test can ask a live Prometheus:

    $job               a scrape job, "tagstream"
    $label             a regular expression of labels, ".+" for all
    $__rate_interval   at least four scrape intervals, "1m" at 15 s
    ${datasource}      only as the uid of the data source, never inside an expression

An import asks for the data source and puts its uid in the place of `${DS_PROMETHEUS}`, the first value of the variable `datasource`.
A board that is provisioned keeps `${DS_PROMETHEUS}`. Grafana finds no data source with this uid, and takes the one with the text of
the value, `Prometheus`: the name of the provisioned one.

While workers run, every query of a panel returns a series; those of the board People while a review console runs. The query of an annotation does so only around the moment that it
marks.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from docs.generate.alerts import asks_for
from docs.generate.overview import OVERVIEW
from docs.generate.panels import DATASOURCE, Json, Kind, Panel
from docs.generate.people import PEOPLE
from docs.generate.quality import QUALITY
from docs.generate.review import REVIEW
from tagstream.monitoring.alarms import ALERTS, BoardName
from tagstream.monitoring.signals import DISTRIBUTIONS, JUDGED
from tagstream.monitoring.vocabulary import DriftScore

# From the root of the project.
DASHBOARDS = Path("monitoring/grafana/dashboards")
SCHEMA = 42
# The Grafana of docker-compose.yml: an import into an older one warns.
GRAFANA = "11.6.0"
INPUT = "DS_PROMETHEUS"
_PLUGINS: dict[Kind, str] = {
    "heatmap": "Heatmap",
    "stat": "Stat",
    "table": "Table",
    "text": "Text",
    "timeseries": "Time series",
    "trend": "Trend",
}
COLUMNS = 24
ROW_HEIGHT = 1

# A deploy: a digest that was not there five minutes ago. `changes` does not work here, because model_info is always 1.
_DEPLOYED = (
    'count by (version, digest) (tagstream_model_info{job="$job"})'
    ' unless on (version, digest) (tagstream_model_info{job="$job"} offset 5m)'
)
_DRIFTED = 'sum by (kind) (increase(tagstream_drift_findings_total{job="$job"}[5m])) > 0'


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """
    One board.

    Attributes:
        name: File name without `.json`.
        title: Title in Grafana's list of dashboards.
        answers: The question that the board answers.
        rows: The headings from top to bottom, each with its panels.
    """

    name: BoardName
    title: str
    answers: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]

    def with_alerts(self, panel: Panel) -> Panel:
        """The panel with the alerts that name it, and with their lines."""
        shown = [alert for alert in ALERTS if (alert.board, alert.panel) == (self.name, panel.title)]
        shown.sort(key=lambda alert: min((line.value for line in alert.lines), default=math.inf))
        lines = {*panel.lines, *(line for alert in shown for line in alert.lines)}
        return replace(panel, alerts=tuple(shown), lines=tuple(sorted(lines, key=lambda line: line.value)))


BOARDS = (
    Board(name=BoardName.OVERVIEW, title="tagstream: Overview", answers="Do events get through, and in time?", rows=OVERVIEW),
    Board(
        name=BoardName.QUALITY, title="tagstream: Quality", answers="Are the decisions still like the reference?", rows=QUALITY
    ),
    Board(name=BoardName.REVIEW, title="tagstream: Review", answers="How many decisions go to people, and why?", rows=REVIEW),
    Board(
        name=BoardName.PEOPLE, title="tagstream: People", answers="How right are the decisions, as people find?", rows=PEOPLE
    ),
)


def dashboard(board: Board) -> Json:
    """The board as a dashboard model of Grafana."""
    return {
        "__inputs": [_input()],
        "__requires": _requires(board),
        "uid": board.name.uid,
        "title": board.title,
        "description": board.answers,
        "tags": ["tagstream"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "links": [_link(other) for other in BOARDS if other is not board],
        "annotations": {"list": list(_annotations())},
        "templating": {"list": _variables()},
        "panels": _placed(board),
    }


def text(board: Board) -> str:
    """The content of the committed file."""
    return json.dumps(dashboard(board), indent=2, ensure_ascii=False) + "\n"


def queries(board: Json, *, job: str = "tagstream", label: str = ".+", rate_interval: str = "1m") -> list[str]:
    """
    Every expression of a board with its variables filled in, ready for Prometheus; each expression once.

    Args:
        board: The dashboard model, as read from its file.
        job: Value of `$job`, the name of the scrape job.
        label: Value of `$label`, a regular expression.
        rate_interval: Value of `$__rate_interval`, a PromQL duration.
    """
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    asked += [annotation["expr"] for annotation in board["annotations"]["list"] if "expr" in annotation]
    known = {"$job": job, "$label": label, "$__rate_interval": rate_interval}
    filled = []
    for expression in asked:
        for variable, value in known.items():
            expression = expression.replace(variable, value)  # noqa: PLW2901 - one expression on its way
        filled.append(expression)
    return list(dict.fromkeys(filled))


def unplaced() -> list[str]:
    """Sentences on alerts whose panel is on no board, and on distributions and comparisons of windows that no panel draws."""
    panels = [(board.name, panel) for board in BOARDS for _, row in board.rows for panel in row]
    found = {(name, panel.title) for name, panel in panels}
    asked = [query.expr for _, panel in panels for query in panel.queries]
    missing = [
        *((signal, counted.reference) for signal, counted in DISTRIBUTIONS.items()),
        *((signal, signal.distance) for signal in JUDGED),
    ]
    return [
        *(
            f"{series} is drawn by no panel. Next: add one for {signal.name} to docs/generate/quality.py."
            for signal, series in missing
            if not any(series in expr for expr in asked)
        ),
        *(
            f"The comparison {score.value} of a window is drawn by no panel. Next: add one to docs/generate/quality.py."
            for score in DriftScore
            if not any(asks_for(score, expr) for expr in asked)
        ),
        *(
            f"{alert.name} is shown by the panel {alert.panel!r}, which the board {alert.board.value} does not have. "
            f"Next: name one that shows its figure, or add it to docs/generate/{alert.board.value}.py."
            for alert in ALERTS
            if (alert.board, alert.panel) not in found
        ),
    ]


def _input() -> Json:
    return {
        "name": INPUT,
        "label": "Prometheus",
        "description": "The Prometheus that scrapes the workers.",
        "type": "datasource",
        "pluginId": "prometheus",
        "pluginName": "Prometheus",
    }


def _requires(board: Board) -> list[Json]:
    kinds = sorted({panel.kind for _, row in board.rows for panel in row})
    return [
        {"type": "grafana", "id": "grafana", "name": "Grafana", "version": GRAFANA},
        {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
        *({"type": "panel", "id": kind, "name": _PLUGINS[kind], "version": ""} for kind in kinds),
    ]


def _placed(board: Board) -> list[Json]:
    """Give headings and panels their places from top to bottom; a panel that does not fit on a line begins the next one."""
    placed: list[Json] = []
    y = 0
    for heading, row in board.rows:
        placed.append(_heading(heading, len(placed) + 1, y))
        y += ROW_HEIGHT
        x = tallest = 0
        for panel in map(board.with_alerts, row):
            if x + panel.width > COLUMNS:
                y, x, tallest = y + tallest, 0, 0
            placed.append(panel.json(len(placed) + 1, x, y))
            x += panel.width
            tallest = max(tallest, panel.height)
        y += tallest
    return placed


def _heading(title: str, number: int, y: int) -> Json:
    place = {"h": ROW_HEIGHT, "w": COLUMNS, "x": 0, "y": y}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _link(board: Board) -> Json:
    return {
        "type": "link",
        "title": board.title.removeprefix("tagstream: "),
        "tooltip": board.answers,
        "url": f"/d/{board.name.uid}",
        "icon": "dashboard",
        "tags": [],
        "asDropdown": False,
        "targetBlank": False,
        "includeVars": True,
        "keepTime": True,
    }


def _annotations() -> Iterator[Json]:
    yield {
        "builtIn": 1,
        "name": "Annotations & Alerts",
        "type": "dashboard",
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
    }
    yield _annotation("Deploys", _DEPLOYED, "blue", "new bundle {{version}}", "digest {{digest}}")
    yield _annotation("Drift", _DRIFTED, "orange", "drift: {{kind}}", "tagstream tail drift shows the finding")


def _annotation(name: str, expr: str, colour: str, title: str, content: str) -> Json:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "expr": expr,
        "step": "60s",
        "iconColor": colour,
        "titleFormat": title,
        "textFormat": content,
    }


def _variables() -> list[Json]:
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": {"text": "Prometheus", "value": f"${{{INPUT}}}"},
            "hide": 0,
        },
        _labels_of("job", "Job", "label_values(tagstream_model_info, job)", {"text": "tagstream", "value": "tagstream"}),
        _labels_of("label", "Label", 'label_values(tagstream_predictions_total{job="$job"}, label)', None),
    ]


def _labels_of(name: str, title: str, query: str, one: Json | None) -> Json:
    """A variable over the values of a label. With `one`, the reader picks one value, at first `one`; else any number."""
    return {
        "name": name,
        "label": title,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        # As Grafana itself saves it; 1 is "label values".
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "sort": 1,
        "multi": one is None,
        "includeAll": one is None,
        **({"allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}} if one is None else {"current": one}),
        "hide": 0,
    }
