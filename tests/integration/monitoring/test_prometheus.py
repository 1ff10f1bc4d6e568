"""A real Prometheus over two real workers on Apache Kafka: rules, boards, and figures recomputed from the topics."""

import json
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docs.generate.boards import BOARDS, DASHBOARDS, queries
from tagstream.model_export.bundle.bundle import read
from tagstream.model_export.data.corpus import CORPUS, read_corpus
from tagstream.monitoring import comparison
from tagstream.monitoring.signals import CONFIDENCE, DISTRIBUTIONS
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker import Broker
from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.cluster.topics import fresh_environment, make_topics, send
from tests.faults.inputs import MALFORMED, Planted
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT
from tests.integration.monitoring.watching import Prometheus, started, watching
from tests.integration.running import all_written
from tests.prometheus import rules
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.needs("prometheus"), pytest.mark.slow]

WORKERS = 2
EVENTS, BAD = 3_000, 60
# Every figure of a board has data after such a stream, except those with a reason here.
EXPECTED_EMPTY = {
    'sum by (kind) (increase(tagstream_drift_findings_total{job="tagstream"}[5m])) > 0': "a stream like its reference has no findings",
    'histogram_quantile(0.99, sum by (le) (rate(tagstream_rollout_hold_duration_seconds_bucket{job="tagstream"}[20s])))': (
        "no event is held where no model is changed"
    ),
    'max by (partition) (tagstream_open_transaction_events{job="tagstream"})': "there is a series only while a transaction is open",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The results of the stream: Prometheus with its history, decisions from the topics, the reference of the group."""

    prometheus: Prometheus
    decisions: list[dict[str, Any]]
    asked: int
    reference: dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs, configuration and data."""
    return tmp_path_factory.mktemp("prometheus")


@pytest.fixture(scope="module")
def compared_bundle(bundle_folder: Path, tiny_bundle_folder: Path) -> Path:
    """The default bundle if its reference has distributions, else the tiny one."""
    return bundle_folder if "energy_cdf" in read(bundle_folder).manifest.reference else tiny_bundle_folder


@pytest.fixture(scope="module")
def run(kafka: Broker, folder: Path, compared_bundle: Path) -> Iterator[Run]:
    """Two workers and Prometheus, 3,000 rows of the authored corpus and some unreadable ones, until all are counted."""
    environ = {
        **fresh_environment(kafka.bootstrap, "prometheus"),
        "TAGSTREAM_BUNDLE": str(compared_bundle),
        "TAGSTREAM_KNOWN_SOURCES": "papers",
        "TAGSTREAM_DRIFT_WINDOW_EVENTS": "200",
        "TAGSTREAM_DRIFT_REFERENCE_WINDOWS": "2",
        "TAGSTREAM_DRIFT_LEARNING_SECONDS": "0",
        "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": str(HANG_SECONDS),
        # Keep the session of a worker on a busy machine.
        "TAGSTREAM_SESSION_TIMEOUT_SECONDS": "30",
    }
    settings = load(environ, folder=ROOT).settings
    make_topics(settings)
    with Processes(grace_seconds=5) as processes, TopicObserver(settings) as observer:
        workers = [started(processes, environ, folder / f"worker-{number}.log") for number in range(WORKERS)]
        for worker in workers:
            worker.until_metric("tagstream_assigned_partitions", lambda value: value > 0)
        prometheus = watching(processes, {"tagstream": [worker.url for worker in workers]}, folder)
        prometheus.until('count(tagstream_events_received_total{job="tagstream"})', WORKERS)
        send(settings, rows())
        all_written(observer, EVENTS + BAD)
        outcomes = observer.outcomes()
        written = sum(map(len, outcomes.values()))
        prometheus.until("sum(tagstream_events_published_total)", written)
        prometheus.until("sum(job:final_tagstream_predictions:count1h)", decided(outcomes))
        # Each worker may end the learning; the last record on the topic counts for both.
        label = "tagstream_reference_label_ratio"
        prometheus.until(f"max(max by (label) ({label}) - min by (label) ({label}))", 0)
        ratios = prometheus.now(f"max by (label) ({label})")
        cdf = prometheus.now("max by (at_most) (tagstream_reference_confidence_cdf)")
        yield Run(
            prometheus=prometheus,
            decisions=[
                json.loads(record.value or b"")
                for door in (Destination.TAGGED, Destination.REVIEW)
                for record in outcomes[door]
            ],
            asked=len(outcomes[Destination.REVIEW]),
            reference={
                "label_ratio": {labels["label"]: value for labels, value in ratios},
                "confidence_cdf": {labels["at_most"]: value for labels, value in cdf},
            },
        )


def decided(outcomes: dict[Destination, list[Any]]) -> int:
    """Records that are decisions."""
    return len(outcomes[Destination.TAGGED]) + len(outcomes[Destination.REVIEW])


def rows() -> list[Planted]:
    """Rows of the authored corpus in a fixed order, a third of them from an unknown producer."""
    chance = random.Random("prometheus")  # noqa: S311 - repeatable, not secret
    texts = chance.sample(read_corpus(CORPUS), EVENTS)
    good = [
        Planted(event_id=f"row-{number}", key=None, value=json.dumps(event(number, row.text)).encode())
        for number, row in enumerate(texts)
    ]
    bad = [
        Planted(event_id=None, key=b"bad-%d" % number, value=MALFORMED[number % len(MALFORMED)](number))
        for number in range(BAD)
    ]
    planted = [*good, *bad]
    chance.shuffle(planted)
    return planted


def event(number: int, text: str) -> dict[str, str]:
    """A row as its producer sends it: some have a title only, some name their source."""
    title, _, description = text.partition(". ")
    fields = {"id": f"row-{number}", "title": title}
    if description:
        fields["description"] = description
    if number % 4:
        fields["source"] = "feed" if number % 3 == 0 else "papers"
    return fields


def test_prometheus_sees_two_workers_and_no_rule_fails(run: Run) -> None:
    """Prometheus scrapes both workers, each has done a share, and every rule and alert text is evaluated without error."""
    assert run.prometheus.value('sum(up{job="tagstream"})') == WORKERS
    shares = dict(enumerate(value for _, value in run.prometheus.now("sum by (instance) (tagstream_predictions_total)")))
    assert len(shares) == WORKERS
    assert min(shares.values()) > EVENTS / 10
    groups = run.prometheus.get("/api/v1/rules")["groups"]
    loaded = [rule for group in groups for rule in group["rules"]]
    assert len({rule["name"] for rule in loaded if rule["type"] == "alerting"}) == len(rules("alerts.yml"))
    assert [(rule["name"], rule.get("lastError")) for rule in loaded if rule["health"] != "ok"] == []


@pytest.mark.parametrize("name", [rule["record"] for rule in rules("recording.yml")])
def test_every_recording_rule_returns_data(run: Run, name: str) -> None:
    """Each recording rule returns a number and not only NaN."""
    until(lambda: run.prometheus.ever(name) > 0, f"{name} has had a number")


# The board People asks the review console, which does not run here.
@pytest.mark.parametrize("board", [board for board in BOARDS if board.name != "people"], ids=lambda board: board.name)
def test_every_query_of_a_board_is_answered(run: Run, board: Any) -> None:
    """With its variables filled in, each query gives a number, or has a stated reason for giving none."""
    model = json.loads((ROOT / DASHBOARDS / f"{board.name}.json").read_text(encoding="utf-8"))
    asked = queries(model, rate_interval="20s")
    assert asked

    def empty() -> list[str]:
        return [expression for expression in asked if not run.prometheus.ever(expression)]

    # Workers look at commits every few seconds and Prometheus at workers, so the last figure follows the last event.
    until(lambda: EXPECTED_EMPTY.keys() >= set(empty()), "every query is answered", state=empty)
    # Where only the comparison hides a series, the series exists.
    hidden = [expression.removesuffix(" > 0") for expression in empty() if expression.endswith(" > 0")]
    assert all(run.prometheus.ever(expression) for expression in hidden)


def assert_settles(run: Run, name: str, expected: float) -> None:
    """Wait for the value, since the last of several rules may be one evaluation behind."""
    expression = f"job:final_tagstream_{name}"
    run.prometheus.until(expression, pytest.approx(expected, rel=1e-6))


def test_the_drift_of_both_workers_together_is_that_of_the_raw_events(run: Run) -> None:
    """Stability index and Kolmogorov distance equal, to six digits, those of the tags and confidences on the topics."""
    counts = Counter(one["tag"] for one in run.decisions)
    total = len(run.decisions)
    share = {label: counts[label] / total for label in run.reference["label_ratio"]}
    known = {float(edge): ratio for edge, ratio in run.reference["confidence_cdf"].items()}
    edges = DISTRIBUTIONS[CONFIDENCE].edges
    live = {edge: sum(one["confidence"] <= edge for one in run.decisions) / total for edge in edges}
    distance = max(abs(live[edge] - known[edge]) for edge in edges)

    psi = comparison.psi(share, run.reference["label_ratio"])
    assert psi is not None
    assert_settles(run, "prediction_drift:psi1h", psi)
    assert_settles(run, "confidence_drift:ks1h", distance)


def test_the_shares_of_both_workers_together_are_those_of_the_raw_events(run: Run) -> None:
    """Estimated accuracy, reviews, events with a title alone and unknown producers equal the counts of the topics."""
    total = len(run.decisions)
    expected = {
        "accuracy_estimate:cbpe1h": math.fsum(one["confidence"] for one in run.decisions) / total,
        "review:ratio1h": run.asked / total,
        "without_description:ratio1h": sum("description" not in one for one in run.decisions) / total,
        "truncated:ratio1h": sum(one["truncated"] for one in run.decisions) / total,
        "unseen_source:ratio1h": sum(one.get("source") == "feed" for one in run.decisions) / total,
        "dead_letter:ratio10m": BAD / (total + BAD),
    }
    for name, value in expected.items():
        assert_settles(run, name, value)


def test_one_workers_figure_is_not_the_whole(run: Run) -> None:
    """The mean of the two workers' shares differs from the pooled share, so the test of pooling can fail."""
    shares = run.prometheus.now(
        "sum by (instance, label) (tagstream_predictions_total) / on (instance) group_left ()"
        " sum by (instance) (tagstream_predictions_total)"
    )
    assert len({labels["instance"] for labels, _ in shares}) == WORKERS
    assert len({round(value, 6) for _, value in shares}) > len(run.reference["label_ratio"])


def test_both_workers_have_looked_for_drift(run: Run) -> None:
    """Each worker has closed and compared windows, so that the boards' drift figures have content."""
    assert run.prometheus.value("min(tagstream_drift_window_events)") == 200
    assert (run.prometheus.value("min(tagstream_drift_last_evaluated_timestamp_seconds)") or 0) > run.prometheus.since
