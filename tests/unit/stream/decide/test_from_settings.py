"""Settings choose between the model and the rules, and the rules tag no event."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tagstream.model_export.bundle import rules
from tagstream.model_export.bundle.bundle import BundleError
from tagstream.model_export.data.reader import InputRow
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.batch.run import decided
from tagstream.stream.cli import worker_process as main
from tagstream.stream.contract.outcome import NeedsReview, prediction_id
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.from_settings import decider_of, pipeline_of
from tagstream.stream.deliver.breaker import BreakerFile
from tagstream.stream.registry.client import RegistryError
from tagstream.stream.registry.unframing import unframing_of
from tagstream.stream.settings.settings import Settings
from tests.fakes import raw
from tests.foreign import bundles as foreign
from tests.waiting import HANG_SECONDS

EVENTS = (
    b'{"id":"a","title":"Deploying models on Kubernetes with monitoring, drift and rollback in production","tags":["x"]}',
    b'{"id":"b","title":"A walk along the river"}',
)
NOWHERE = Path("/nonexistent/bundle")
TICKETS = Path(__file__).parents[4] / "examples" / "tickets"


def by_rules(**knobs: Any) -> Settings:
    """Settings with the rules as decider and a bundle that does not exist."""
    return Settings.model_validate({"decider": "rules", "bundle": NOWHERE, **knobs})


@pytest.mark.parametrize("threshold", [None, 0.0, 0.5])
def test_the_rules_send_every_event_to_review_at_any_threshold(threshold: float | None) -> None:
    """Without a bundle each event goes to review with the rules' tag, probabilities, reason and name."""
    pipeline = pipeline_of(by_rules(confidence_threshold=threshold))
    outcomes = [found for found in pipeline.decide([raw(value) for value in EVENTS]) if isinstance(found, NeedsReview)]
    decisions = [outcome.decision for outcome in outcomes]
    assert [(found.decision.tag, found.decision.decider, found.decision.reasons) for found in outcomes] == [
        ("mlops", "rules", ("low_confidence",)),
        ("other", "rules", ("low_confidence",)),
    ]
    for found in decisions:
        assert set(found.probabilities) == {"computer-vision", "mlops", "natural-language-processing", "other"}
        assert found.confidence == found.probabilities[found.tag] < found.threshold


def test_rows_and_requests_never_ask_a_schema_registry() -> None:
    """Values of a topic may be framed; a row or a request is JSON, so that it ends no service and no batch whose registry is down."""
    chosen = by_rules(schema_registry={"url": "http://127.0.0.1:1", "timeout_seconds": 1})
    framed = [raw(b"\x00\x00\x00\x00\x01{}")]
    (found,) = pipeline_of(chosen).decide(framed)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.INVALID_JSON
    with pytest.raises(RegistryError, match=re.escape("127.0.0.1:1")):
        pipeline_of(chosen, unframe=unframing_of(chosen)).decide(framed)


def test_the_rules_name_themselves_and_the_ids_are_theirs() -> None:
    """Decisions of the rules have the rules' name and their own ids, so that the model later decides anew."""
    classifier = rules.RulesClassifier()
    found = [json.loads(row.answer) for row in decided(pipeline_of(by_rules()), [InputRow(1, value) for value in EVENTS])]
    assert {row["destination"] for row in found} == {"review"}
    assert found[0]["model"] == {"name": "keyword-rules", "version": classifier.version, "digest": classifier.digest}
    assert found[0]["prediction_id"] == prediction_id("a", classifier.digest)
    assert found[0]["tags"] == ["x"], "a producer's own field is not ours to move"


def test_the_models_metrics_leave_the_rules_out() -> None:
    """Confidences, labels and drift count the model's decisions only, and reviews are counted under both deciders."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, labels=rules.RulesClassifier().labels, topic="content")
    publications = pipeline_of(by_rules()).publications([raw(value) for value in EVENTS])
    metrics.published([one.observation for one in publications], 1)

    def counted(name: str) -> float:
        return sum(sample.value for metric in registry.collect() for sample in metric.samples if sample.name == name)

    assert counted("tagstream_events_published_total") == counted("tagstream_review_requested_total") == 2
    figures = (
        "predictions_total",
        "confidence_ratio_count",
        "energy_score_count",
        "text_tokens_count",
        "events_by_source_total",
    )
    assert [counted(f"tagstream_{name}") for name in figures] == [0] * len(figures)


def test_a_refused_bundle_is_refused_and_names_the_rules() -> None:
    """A refused bundle is an error that names the rules as the way to keep events flowing to people."""
    with pytest.raises(
        BundleError, match=r"there is no such folder.*Next: .*TAGSTREAM_DECIDER=rules keeps the stream flowing to people"
    ):
        decider_of(Settings(bundle=NOWHERE))


def test_the_rules_need_no_runtime() -> None:
    """The rules work where ONNX Runtime cannot be imported."""
    code = "import sys; from tagstream.stream.decide.from_settings import decider_of; from tagstream.stream.settings.settings import Settings\n"
    code += "decider_of(Settings(decider='rules')); print('onnxruntime' in sys.modules, 'tokenizers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG_SECONDS)
    assert done.stdout.split() == ["False", "False"]


def test_a_worker_runs_on_the_rules_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker on the rules exports the name of its decider and does not watch for drift."""
    ran = SimpleNamespace()
    monkeypatch.setattr(main, "limit_fragmentation", lambda: None)
    monkeypatch.setattr(main.logs, "configure", lambda **_: None)
    monkeypatch.setattr(
        "tagstream.stream.worker.process.run", lambda settings, **parts: vars(ran).update(parts, settings=settings)
    )
    main.main(by_rules())
    (info,) = [metric for metric in ran.registry.collect() if metric.name == "tagstream_model"]
    assert info.samples[0].labels["name"] == "keyword-rules"
    assert ran.watch is None
    assert rules.RulesClassifier().digest in ran.pipeline.decider.release


def test_the_models_open_breaker_waits_while_the_rules_stand_in(tmp_path: Path) -> None:
    """Under the rules a worker runs, and the model's open breaker stays open."""
    model, stand_in = Settings(state_folder=tmp_path), by_rules(state_folder=tmp_path)
    BreakerFile(model, release="1 model").write("the model failed on 600 of the last 1000 events")
    assert BreakerFile(stand_in, release="1 rules").why() is None
    assert BreakerFile(model, release="1 model").why() == "the model failed on 600 of the last 1000 events"


def test_rules_have_the_labels_of_the_bundle_or_do_not_start(tmp_path: Path) -> None:
    """A guess with a label of somebody else would be news to everybody; a file with the bundle's labels decides."""
    folder = foreign.write(tmp_path / "bundle").path
    with pytest.raises(
        rules.RulesError,
        match=r"the rules have computer-vision.*Next: `tagstream model inspect .*--draft-rules .*TAGSTREAM_RULES",
    ):
        decider_of(by_rules(bundle=folder))
    own = TICKETS / "rules.toml"
    found = decider_of(by_rules(bundle=folder, rules=own))
    assert found.labels == foreign.TICKETS
    assert decider_of(by_rules(rules=own)).labels == foreign.TICKETS, "the bundle is lost, which is what the rules are for"


def test_a_refused_bundle_names_the_file_that_rules_of_ones_own_need() -> None:
    """With the setting there is nothing to add."""
    with pytest.raises(BundleError, match=r"labels of your own need TAGSTREAM_RULES, too"):
        decider_of(Settings(bundle=NOWHERE))
    with pytest.raises(BundleError, match=r"every event to review\.$"):
        decider_of(Settings(bundle=NOWHERE, rules=TICKETS / "rules.toml"))
