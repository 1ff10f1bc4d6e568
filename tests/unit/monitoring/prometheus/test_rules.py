"""Prometheus' rules: promtool accepts them and their cases, and they ask only for what exists."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import typer
import yaml

from docs.generate.alerts import RUNBOOK_MARK, expected
from tagstream.monitoring.alarms import ALERTS as RECORDS
from tagstream.monitoring.figures.limited import REVIEW_BUDGET
from tagstream.stream.cli.main import app
from tests.waiting import HANG_SECONDS

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "monitoring" / "prometheus"
CONFIGURATIONS = ("prometheus.yml", "compose.yml", "hosts.yml")
CASES = sorted((FOLDER / "tests").glob("*.yml"))
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "```promql\n" in page.read_text(encoding="utf-8")]
# What Prometheus says of its targets and puts on every series.
OWN_SERIES = {"up": set()}
SCRAPED = {"job", "instance"}

needs_promtool = pytest.mark.needs("promtool")


def groups(name: str) -> list[dict[str, Any]]:
    """The groups of a rule file."""
    found: list[dict[str, Any]] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["groups"]
    return found


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of a file, from all of its groups."""
    return [rule for group in groups(name) for rule in group["rules"]]


RECORDED = {rule["record"]: rule["expr"] for rule in rules("recording.yml")}
ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
EXPRESSIONS = {**RECORDED, **{name: rule["expr"] for name, rule in ALERTS.items()}}

every_alert = pytest.mark.parametrize("alert", ALERTS)
every_expression = pytest.mark.parametrize("name", EXPRESSIONS)


@needs_promtool
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_promtool_accepts_the_configuration_and_its_rules(name: str) -> None:
    """Promtool accepts each configuration with its rule files."""
    promtool("check", "config", FOLDER / name)


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_promtool_finds_the_rules_doing_what_the_cases_say(path: Path) -> None:
    """The rules pass the promtool cases in monitoring/prometheus/tests."""
    promtool("test", "rules", path)


def promtool(*words: str | Path) -> None:
    """Run promtool; if it fails, its output is the message."""
    done = subprocess.run(
        ["promtool", *map(str, words)], capture_output=True, text=True, timeout=HANG_SECONDS, check=False, cwd=FOLDER
    )
    assert done.returncode == 0, done.stdout + done.stderr


def cases(path: Path) -> list[dict[str, Any]]:
    """The cases of one file."""
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
    return found


@every_alert
def test_a_case_of_an_alert_has_its_name(alert: str) -> None:
    """The name of each case says which alert it is about; one case is about both alerts on freshness."""
    named = {case for path in CASES for case, name, _ in expected(path) if name == alert}
    assert all(alert in case or alert.startswith("Freshness") for case in named)


def test_every_recorded_figure_is_checked() -> None:
    """Each recording rule has a case."""
    asked = "\n".join(
        expectation["expr"] for path in CASES for case in cases(path) for expectation in case.get("promql_expr_test", ())
    )
    assert [name for name in RECORDED if name not in asked] == []


@every_alert
def test_every_alert_has_a_page_for_three_in_the_morning(alert: str) -> None:
    """Each alert has a runbook with its tier; what to do comes first, and the page's own steps go on where those of the record end."""
    page = (ROOT / "docs" / "runbooks" / f"{alert}.md").read_text(encoding="utf-8")
    first, *others = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert first == "What to do"
    assert set(others) <= {"Which case it is", "Likely causes", "What it means"}
    assert page.startswith(f"# {alert}\n\n{ALERTS[alert]['labels']['tier'].capitalize()}. ")
    assert page.count(RUNBOOK_MARK) == 1
    steps = [int(number) for number in re.findall(r"^(\d+)\. ", page, re.MULTILINE)]
    assert steps == [*range(1, len(steps) + 1)]


def test_an_alarm_that_a_change_of_the_model_can_cause_asks_for_it_first() -> None:
    """They judge what the model makes of the texts: tags, confidence, energy, the share for people, and how right it is."""
    drifts = {"PredictionDrift", "ConfidenceDrift", "EnergyDrift", "OutOfDistributionShare", "SuddenChange"}
    asked = {alert.name for alert in RECORDS if alert.of_model}
    assert asked == drifts | {"ReviewShareRise", "ReviewShareOverBudget", "AccuracyBelowPromise", "ConfidenceGap"}
    page = (ROOT / "docs" / "runbooks" / "ConfidenceGap.md").read_text(encoding="utf-8")
    assert "## What to do\n\n1. Did the model change? `tagstream rollout log`" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_queries_of_a_page_ask_for_what_exists(page: Path, series: dict[str, list[dict[str, str]]]) -> None:
    """The queries in a runbook, or on another page, select existing series."""
    for block in re.findall(r"```promql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for expression in filter(None, (line.split(" # ")[0].strip() for line in block.splitlines())):
            check_series(expression, series)


@every_alert
def test_the_commands_of_a_page_exist(alert: str) -> None:
    """The tagstream commands in a runbook exist."""
    page = (ROOT / "docs" / "runbooks" / f"{alert}.md").read_text(encoding="utf-8")
    for words in re.findall(r"(?:`|\$ )tagstream ((?:[a-z]+ ?)+)", page + ALERTS[alert]["annotations"]["description"]):
        verbs = words.split()
        command: Any = typer.main.get_command(app)
        while verbs and hasattr(command, "commands"):
            name = verbs.pop(0)
            assert name in command.commands, f"there is no `tagstream {words}`"
            command = command.commands[name]


@every_expression
def test_every_expression_asks_for_series_that_exist(name: str, series: dict[str, list[dict[str, str]]]) -> None:
    """Rules select metrics of the worker, recorded figures or series of Prometheus itself."""
    check_series(EXPRESSIONS[name], series)


def check_series(expression: str, series: dict[str, list[dict[str, str]]]) -> None:
    """Fail unless every selector matches at least one series."""
    for selector in selectors(expression):
        wanted = [matcher for matcher in selector.matchers.matchers if matcher.name not in SCRAPED]
        if selector.name in RECORDED or selector.name in OWN_SERIES or selector.name == "ALERTS":
            continue
        assert selector.name in series, f"no metric {selector.name} in {expression}"
        assert any(all(chooses(matcher, labels) for matcher in wanted) for labels in series[selector.name]), expression


def selectors(expression: str) -> Iterator[Any]:
    """Every series selector in an expression."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), found.append)
    for node in found:
        if isinstance(node, promql_parser.MatrixSelector):
            yield node.vector_selector
        elif isinstance(node, promql_parser.VectorSelector):
            yield node


def chooses(matcher: Any, labels: dict[str, str]) -> bool:
    """Whether the matcher accepts a series with these labels."""
    value = labels.get(matcher.name, "")
    if matcher.op == promql_parser.MatchOp.Equal:
        return bool(value == matcher.value)
    assert matcher.op == promql_parser.MatchOp.Re, "the rules use = and =~ alone"
    return re.fullmatch(matcher.value, value) is not None


@every_expression
def test_nothing_is_said_of_one_worker_where_the_whole_is_meant(name: str) -> None:
    """Figures are aggregated by job, except where single workers must be looked at."""
    kept = {label for label in ("instance", "pod") if re.search(rf"by \([^)]*\b{label}\b", EXPRESSIONS[name])}
    assert kept == ({"instance"} if name in {"DriftEvaluationStale", "RolloutVersionsDiffer"} else set())


def test_the_budget_of_reviews_is_one_number() -> None:
    """The review budget in recording.yml is that of the figure's record."""
    assert RECORDED["job:tagstream_review_budget:ratio"].startswith(f"{REVIEW_BUDGET.limit} *")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_job_has_the_name_that_the_alerts_look_for(name: str) -> None:
    """Each configuration names the jobs of workers, of consoles, of `serve` and of a rollout, and loads both rule files."""
    configuration = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    assert [job["job_name"] for job in configuration["scrape_configs"]] == [
        "tagstream",
        "tagstream-review",
        "tagstream-serve",
        "tagstream-controller",
        "tagstream-shadow",
    ]
    assert configuration["rule_files"] == ["recording.yml", "alerts.yml"]
