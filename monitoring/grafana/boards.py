"""Assembles the four boards as Grafana's JSON. `python -m monitoring.grafana.boards` rewrites the committed files.

The queries are in `panels[].targets[].expr` and `annotations.list[].expr`. Grafana fills in four variables; `queries` does
the same, so that a test can ask a live Prometheus:

    $job               a scrape job, "tagstream"
    $label             a regular expression of labels, ".+" for all
    $__rate_interval   at least four scrape intervals, "1m" at 15 s
    ${datasource}      only as the uid of the data source, never inside an expression

While workers run, every query of a panel returns a series; those of the board People while a review console runs. The query of an annotation does so only around the moment that it
marks.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitoring.grafana.overview import OVERVIEW
from monitoring.grafana.panels import DATASOURCE, Json, Panel
from monitoring.grafana.people import PEOPLE
from monitoring.grafana.quality import QUALITY
from monitoring.grafana.review import REVIEW

DASHBOARDS = Path(__file__).parent / "dashboards"
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
        name: File name without `.json`, and the end of the uid.
        title: Title in Grafana's list of dashboards.
        answers: The question that the board answers.
        rows: The headings from top to bottom, each with its panels.
    """

    name: str
    title: str
    answers: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]

    @property
    def uid(self) -> str:
        """Grafana's id of the board. Links from alerts and other boards contain it, so it must not change."""
        return f"tagstream-{self.name}"


BOARDS = (
    Board(name="overview", title="tagstream: Overview", answers="Do events get through, and in time?", rows=OVERVIEW),
    Board(name="quality", title="tagstream: Quality", answers="Are the decisions still like the reference?", rows=QUALITY),
    Board(name="review", title="tagstream: Review", answers="How many decisions go to people, and why?", rows=REVIEW),
    Board(name="people", title="tagstream: People", answers="How right are the decisions, as people find?", rows=PEOPLE),
)


def dashboard(board: Board) -> Json:
    """The board as a dashboard model of Grafana."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.answers,
        "tags": ["tagstream"],
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "links": [_link(other) for other in BOARDS if other is not board],
        "annotations": {"list": list(_annotations())},
        "templating": {"list": _variables()},
        "panels": _placed(board.rows),
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


def _placed(rows: Sequence[tuple[str, Sequence[Panel]]]) -> list[Json]:
    """Give headings and panels their places from top to bottom; a panel that does not fit on a line begins the next one."""
    placed: list[Json] = []
    y = 0
    for heading, panels in rows:
        placed.append(_heading(heading, len(placed) + 1, y))
        y += ROW_HEIGHT
        x = tallest = 0
        for panel in panels:
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
        "url": f"/d/{board.uid}",
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
    yield _annotation("Drift", _DRIFTED, "orange", "drift: {{kind}}", "tagstream drift tail shows the finding")


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
            "current": {"text": "Prometheus", "value": "prometheus"},
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


def main() -> None:
    """Rewrite the committed files and print their names."""
    DASHBOARDS.mkdir(exist_ok=True)
    for board in BOARDS:
        path = DASHBOARDS / f"{board.name}.json"
        path.write_text(text(board), encoding="utf-8")
        sys.stdout.write(f"{path.name}: {len(dashboard(board)['panels'])} panels\n")


if __name__ == "__main__":
    main()
