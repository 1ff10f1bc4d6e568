"""Prometheus' rules: promtool accepts them, every alert fires and is silent where it should, and they ask only for what exists."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import typer
import yaml

from monitoring import limits
from stream.cli.main import app
from tests.waiting import HANG_SECONDS

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "monitoring" / "prometheus"
CONFIGURATIONS = ("prometheus.yml", "compose.yml", "hosts.yml")
CASES = sorted((FOLDER / "tests").glob("*.yml"))
TIERS = {"page", "ticket", "info"}
BOARDS = {f"/d/tagstream-{name}" for name in ("overview", "quality", "review", "people")}
# What Prometheus says of its targets and puts on every series.
OWN_SERIES = {"up": set()}
SCRAPED = {"job", "instance"}
# Changes of a stream, and what a finding must be explained by.
DRIFT_ALERTS = {
    "ReviewShareRise",
    "PredictionDrift",
    "ConfidenceDrift",
    "EnergyDrift",
    "TokensPerWordDrift",
    "OutOfDistributionShare",
    "WithoutDescriptionShare",
    "UnseenSourceShare",
    "SuddenChange",
    "ContentDrift",
}
# Held against the bundle's reference, and so silent while two bundles decide.
COMPARED = DRIFT_ALERTS - {"UnseenSourceShare", "SuddenChange", "ContentDrift", "ReviewShareRise"}

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


@every_alert
def test_every_alert_has_a_case_where_it_fires_and_one_where_it_is_silent(alert: str) -> None:
    """Each alert has a case in which it fires and one with data in which it does not."""
    expected = [(case["name"], *outcome) for path in CASES for case in cases(path) for outcome in outcomes(case)]
    fires = {name for name, who, fired in expected if who == alert and fired}
    silent = {name for name, who, fired in expected if who == alert and not fired} - fires
    assert fires, f"{alert} has no case in monitoring/prometheus/tests where it fires"
    assert silent, f"{alert} has no case in monitoring/prometheus/tests where it is silent"
    assert all(alert in name or alert.startswith("Freshness") for name in fires | silent), "the case's name says which alert"


def cases(path: Path) -> list[dict[str, Any]]:
    """The cases of one file."""
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
    return found


def outcomes(case: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Alerts that a case names, and whether it expects them to fire."""
    for expectation in case.get("alert_rule_test", ()):
        yield expectation["alertname"], bool(expectation.get("exp_alerts"))
    for expectation in case.get("promql_expr_test", ()):
        named = re.match(r'ALERTS\{alertname="(\w+)"', expectation["expr"])
        if named is not None:
            yield named[1], bool(expectation["exp_samples"])
        for sample in expectation["exp_samples"]:
            fired = re.match(r'ALERTS\{alertname="(\w+)", alertstate="firing"', sample.get("labels", ""))
            if fired is not None:
                yield fired[1], True


def test_every_recorded_figure_is_checked() -> None:
    """Each recording rule has a case."""
    asked = "\n".join(
        expectation["expr"] for path in CASES for case in cases(path) for expectation in case.get("promql_expr_test", ())
    )
    assert [name for name in RECORDED if name not in asked] == []


@every_alert
def test_every_alert_says_what_is_so_what_to_do_and_where_to_look(alert: str) -> None:
    """Each alert has a tier, a summary, a next step, a runbook and a board; drift alerts also name the drift event."""
    rule = ALERTS[alert]
    annotations = rule["annotations"]
    assert rule["labels"]["tier"] in TIERS
    assert set(annotations) == {"summary", "description", "runbook_url", "dashboard"}
    assert len(annotations["summary"]) < 80
    assert "Next: " in annotations["description"]
    assert annotations["runbook_url"] == f"docs/runbooks/{alert}.md"
    assert annotations["dashboard"] in BOARDS
    assert (alert in DRIFT_ALERTS) == ("`tagstream drift tail --from-beginning`" in annotations["description"])


@every_alert
def test_every_alert_has_a_page_for_three_in_the_morning(alert: str) -> None:
    """Each alert has a runbook with the same six headings and a line in the index."""
    page = (ROOT / "docs" / "runbooks" / f"{alert}.md").read_text(encoding="utf-8")
    headings = ["What it means", "Who is hurt", "Look first", "Likely causes", "What to do", "When to silence"]
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == headings
    assert page.startswith(f"# {alert}\n")
    assert f"({alert}.md)" in (ROOT / "docs" / "runbooks" / "README.md").read_text(encoding="utf-8")


def test_no_page_is_left_over() -> None:
    """Each runbook belongs to an alert."""
    assert {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")} == {*ALERTS, "README"}


@every_alert
def test_the_queries_of_a_page_ask_for_what_exists(alert: str, series: dict[str, list[dict[str, str]]]) -> None:
    """The queries in a runbook select existing series."""
    page = (ROOT / "docs" / "runbooks" / f"{alert}.md").read_text(encoding="utf-8")
    for block in re.findall(r"```promql\n(.*?)```", page, re.DOTALL):
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
    assert kept == ({"instance"} if name == "DriftEvaluationStale" else set())


@pytest.mark.parametrize("alert", sorted(COMPARED))
def test_what_is_compared_has_a_least_count_a_wait_and_one_reference(alert: str) -> None:
    """Alerts on distances need 500 decisions and a waiting time, and do not fire while two bundles decide."""
    rule = ALERTS[alert]
    assert f"job:tagstream_predictions:count1h >= {limits.LEAST_DECISIONS}" in rule["expr"]
    assert "max_over_time(job:tagstream_model_digests:count[1h]) > 1" in rule["expr"]
    assert rule["expr"].count("unless") == 1
    assert rule["for"] == "30m"


@pytest.mark.parametrize(
    ("alert", "condition"),
    [
        ("PredictionDrift", f"psi1h > {limits.LABEL_PSI}"),
        ("ConfidenceDrift", f"ks1h > {limits.CONFIDENCE_KS}"),
        ("EnergyDrift", f"ks1h > {limits.ENERGY_KS}"),
        ("TokensPerWordDrift", f"ks1h > {limits.TOKENS_PER_WORD_KS}"),
        ("DeadLetterRatio", f"ratio10m > {limits.DEAD_LETTER_RATIO}"),
        ("DeadLetterRatio", f">= {limits.LEAST_BAD_EVENTS}"),
        ("FreshnessBurn", f"stale_ratio1h > {limits.STALE_RATIO}"),
        ("FreshnessBurn", f">= {limits.LEAST_BAD_EVENTS}"),
        ("FreshnessBurn", f'le="{limits.STALE_SECONDS}"'),
        ("ReviewShareOverBudget", f"job:tagstream_decisions:count1h >= {limits.LEAST_DECISIONS}"),
        ("OutOfDistributionShare", f"{limits.OUT_OF_DISTRIBUTION_TIMES:g} * clamp_min"),
        ("OutOfDistributionShare", f"{limits.OUT_OF_DISTRIBUTION_LEAST}"),
        ("WithoutDescriptionShare", f"{limits.WITHOUT_DESCRIPTION_MORE} + max"),
        ("ReviewShareRise", f"{limits.REVIEW_MORE} + max"),
        ("ReviewShareRise", f"job:tagstream_decisions:count1h >= {limits.LEAST_DECISIONS}"),
        ("StreamUnlikeBundle", f"> {limits.UNLIKE_BUNDLE_KS}"),
        ("UnseenSourceShare", f"ratio1h > {limits.UNSEEN_SOURCE_RATIO}"),
    ],
)
def test_whoever_looks_without_prometheus_sees_the_same_limits(alert: str, condition: str) -> None:
    """`monitoring/limits.py` has the same limits as the alerts."""
    assert condition in ALERTS[alert]["expr"]


def test_the_budget_of_reviews_is_one_number() -> None:
    """The review budget in recording.yml is that of `monitoring/limits.py`."""
    assert RECORDED["job:tagstream_review_budget:ratio"].startswith(f"{limits.REVIEW_RATIO} *")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_job_has_the_name_that_the_alerts_look_for(name: str) -> None:
    """Each configuration names the jobs of workers, of consoles and of `serve`, and loads both rule files."""
    configuration = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    assert [job["job_name"] for job in configuration["scrape_configs"]] == [
        "tagstream",
        "tagstream-review",
        "tagstream-serve",
    ]
    assert configuration["rule_files"] == ["recording.yml", "alerts.yml"]
