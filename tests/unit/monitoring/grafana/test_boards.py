"""The boards query existing series and explain each panel."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from docs.generate.boards import BOARDS, COLUMNS, DASHBOARDS, Board, dashboard, queries
from docs.generate.panels import NEXT_STEP, Panel

ROOT = Path(__file__).parents[4]
PROMETHEUS = ROOT / "monitoring" / "prometheus"
PROVISIONING = ROOT / "monitoring" / "grafana" / "provisioning"
# What Prometheus says of itself and of its targets, by name, with the labels that a board may ask for.
OWN_SERIES = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "job", "tier"}}
SCRAPED = {"job", "instance"}
VARIABLES = {"datasource", "job", "label"}

every_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)


def panels(board: Board) -> list[Panel]:
    """The board's panels, with their alerts."""
    return [board.with_alerts(panel) for _, row in board.rows for panel in row]


def committed(board: Board) -> dict[str, Any]:
    """The board that Grafana reads."""
    loaded: dict[str, Any] = json.loads((ROOT / DASHBOARDS / f"{board.name}.json").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def recorded() -> set[str]:
    """Names of the recording rules."""
    groups = yaml.safe_load((PROMETHEUS / "recording.yml").read_text(encoding="utf-8"))["groups"]
    return {rule["record"] for group in groups for rule in group["rules"]}


def nodes(expression: str) -> list[Any]:
    """Every part of an expression."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), found.append)
    return found


def selectors(expression: str) -> Iterator[Any]:
    """Every series selector in an expression."""
    for node in nodes(expression):
        if isinstance(node, promql_parser.MatrixSelector):
            yield node.vector_selector
        elif isinstance(node, promql_parser.VectorSelector):
            yield node


@every_board
def test_a_board_has_its_address_and_schema(board: Board) -> None:
    """The uid that links contain and the schema version stay as they are."""
    model = committed(board)
    assert model["uid"] == f"tagstream-{board.name}"
    assert model["schemaVersion"] == 42


@every_board
def test_an_import_asks_for_the_data_source_and_puts_it_where_the_board_reads_it(board: Board) -> None:
    """Grafana writes the answer over `${DS_PROMETHEUS}`, which stands once: in the variable that every query names."""
    model = committed(board)
    [asked] = model["__inputs"]
    assert (asked["type"], asked["pluginId"]) == ("datasource", "prometheus")
    placeholder = f"${{{asked['name']}}}"
    assert json.dumps(model).count(placeholder) == 1
    [chosen] = [variable for variable in model["templating"]["list"] if variable["current"].get("value") == placeholder]
    assert (chosen["name"], chosen["type"], chosen["query"]) == ("datasource", "datasource", "prometheus")
    read = [target["datasource"]["uid"] for panel in model["panels"] for target in panel.get("targets", ())]
    assert set(read) == {"${datasource}"}


@every_board
def test_an_import_is_told_what_the_board_requires(board: Board) -> None:
    """The Grafana of compose, Prometheus, and the plugin of each panel."""
    model = committed(board)
    required = {(each["type"], each["id"]) for each in model["__requires"]}
    panels = {("panel", panel["type"]) for panel in model["panels"] if panel["type"] != "row"}
    assert required == {("grafana", "grafana"), ("datasource", "prometheus")} | panels
    image = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["grafana"]["image"]
    assert image == f"grafana/grafana:{model['__requires'][0]['version']}"


@every_board
def test_every_panel_says_what_it_shows_and_what_to_do(board: Board) -> None:
    """Every panel has an explanation and exactly one sentence with the next step."""
    for panel in panels(board):
        assert panel.shows.endswith("."), panel.title
        assert panel.then.endswith("."), panel.title
        assert ". " not in panel.then, f"{panel.title}: the next step is one sentence"
    for panel in committed(board)["panels"]:
        if panel["type"] != "row":
            assert NEXT_STEP in panel["description"], panel["title"]


@every_board
def test_every_panel_has_a_unit_and_asks_something(board: Board) -> None:
    """Every panel has a unit and a query, except for text panels, which have neither."""
    for panel in panels(board):
        if panel.kind == "text":
            assert panel.text, panel.title
            assert not panel.queries, panel.title
        else:
            assert panel.unit, panel.title
            assert panel.queries, panel.title


@every_board
def test_panels_have_ids_and_titles_of_their_own(board: Board) -> None:
    """Ids and titles are unique on a board, so a link to a panel opens that panel."""
    drawn = committed(board)["panels"]
    assert len({panel["id"] for panel in drawn}) == len(drawn)
    assert len({panel["title"] for panel in drawn}) == len(drawn)
    for panel in drawn:
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references), panel["title"]


@every_board
def test_no_panel_lies_on_another(board: Board) -> None:
    """No two panels overlap, and none lies outside the grid."""
    taken: dict[tuple[int, int], str] = {}
    for panel in committed(board)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS, panel["title"]
        for cell in itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]


@every_board
def test_each_board_links_to_the_others(board: Board) -> None:
    """Each board links to the others and keeps the time range and the variables."""
    links = committed(board)["links"]
    assert {link["url"] for link in links} == {f"/d/{other.name.uid}" for other in BOARDS if other is not board}
    assert all(link["keepTime"] and link["includeVars"] for link in links)


@every_board
def test_every_variable_is_used_and_every_used_one_is_there(board: Board) -> None:
    """The declared variables are exactly those that the queries use."""
    model = committed(board)
    declared = {variable["name"] for variable in model["templating"]["list"]}
    asked = json.dumps([model["panels"], model["annotations"]])
    used = set(re.findall(r"\$\{?(\w+)", asked)) - {"__rate_interval"}
    assert declared == VARIABLES
    assert used == VARIABLES


@every_board
def test_every_expression_parses(board: Board) -> None:
    """Every query is valid PromQL once its variables are filled in."""
    expressions = queries(committed(board))
    assert expressions
    for expression in expressions:
        assert "$" not in expression
        promql_parser.parse(expression)


@every_board
def test_every_expression_asks_for_series_that_exist(
    board: Board, series: dict[str, list[dict[str, str]]], recorded: set[str]
) -> None:
    """Every selector matches a metric of the worker, a recording rule or a series of Prometheus itself."""
    for expression in queries(committed(board)):
        for selector in selectors(expression):
            wanted = [matcher for matcher in selector.matchers.matchers if matcher.name not in SCRAPED]
            if selector.name in OWN_SERIES:
                assert {matcher.name for matcher in wanted} <= OWN_SERIES[selector.name], expression
                continue
            if selector.name in recorded:
                continue
            assert selector.name in series, f"no metric {selector.name} in {expression}"
            assert any(all(fits(matcher, labels) for matcher in wanted) for labels in series[selector.name]), expression


def fits(matcher: Any, labels: dict[str, str]) -> bool:
    """Whether the matcher accepts a series with these labels; a missing label counts as empty, as in Prometheus."""
    value = labels.get(matcher.name, "")
    if matcher.op == promql_parser.MatchOp.Equal:
        return bool(value == matcher.value)
    if matcher.op == promql_parser.MatchOp.NotEqual:
        return bool(value != matcher.value)
    matched = re.fullmatch(matcher.value, value) is not None
    return matched if matcher.op == promql_parser.MatchOp.Re else not matched


@every_board
def test_labels_to_group_by_exist(board: Board, series: dict[str, list[dict[str, str]]]) -> None:
    """Queries group by labels that their series have, because Prometheus accepts unknown labels without an error."""
    for expression in queries(committed(board)):
        for node in nodes(expression):
            if not isinstance(node, promql_parser.AggregateExpr) or node.modifier is None:
                continue
            names = {selector.name for selector in selectors(node.expr.prettify())} & set(series)
            known = SCRAPED | {label for name in names for labels in series[name] for label in labels}
            if names:
                assert set(node.modifier.labels) <= known, expression


@every_board
def test_legends_name_labels_that_their_query_keeps(board: Board) -> None:
    """A legend only uses labels that remain after the aggregation."""
    for panel in panels(board):
        for query in panel.queries:
            for label in re.findall(r"\{\{(\w+)\}\}", query.legend):
                kept = re.search(rf"by \([^)]*\b{label}\b", query.expr) or f"job_{label}:" in query.expr
                assert kept, f"{panel.title}: {query.legend}"


def test_the_runbooks_that_panels_name_are_there() -> None:
    """Every runbook that a panel names exists."""
    for board in BOARDS:
        for page in re.findall(r"docs/[\w/.-]+\.md", json.dumps(dashboard(board))):
            assert (ROOT / page).is_file(), page


def test_the_estimate_says_what_it_cannot_see() -> None:
    """Panels with the estimated accuracy say that it is blind to labels that change meaning."""
    [quality] = [board for board in BOARDS if board.name == "quality"]
    estimates = [panel for panel in panels(quality) if any("cbpe" in query.expr for query in panel.queries)]
    assert len(estimates) == 2
    for panel in estimates:
        assert "blind" in panel.shows.lower()
        assert "labels that change meaning" in panel.shows


def test_grafana_is_provisioned_with_the_data_source_and_the_folder() -> None:
    """The data source and folder of the provisioning are those that the boards and compose use."""
    [source] = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    [provider] = yaml.safe_load((PROVISIONING / "dashboards" / "tagstream.yml").read_text(encoding="utf-8"))["providers"]
    assert (source["uid"], source["type"], source["url"]) == ("prometheus", "prometheus", "http://prometheus:9090")
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    for board in BOARDS:
        [chosen] = [variable for variable in committed(board)["templating"]["list"] if variable["name"] == "datasource"]
        # A provisioned board keeps the placeholder, so Grafana takes the data source whose name is the text.
        assert chosen["current"]["text"] == source["name"]


def test_the_rate_interval_follows_the_scrape_interval() -> None:
    """Grafana is told the real scrape interval, because a wrong one leaves gaps in every rate."""
    [source] = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    for name in ("prometheus.yml", "compose.yml", "hosts.yml"):
        scrape = yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["global"]["scrape_interval"]
        assert source["jsonData"]["timeInterval"] == scrape, name


@every_board
def test_a_panel_by_label_stays_readable_with_77_labels(board: Board) -> None:
    """It asks for the ten largest or the ten smallest, so no legend has 77 lines; which ten, the variable `$label` can narrow."""
    for panel in panels(board):
        for query in panel.queries:
            if "{{label}}" in query.legend:
                assert query.expr.startswith(("topk(10, ", "bottomk(10, ")), panel.title
                assert 'label=~"$label"' in query.expr, panel.title
