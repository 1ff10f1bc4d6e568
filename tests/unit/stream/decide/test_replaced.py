"""The decider in force is held by the pipeline alone, and all that depends on it follows a replacement between two batches."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import NullObserver, Observation
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.decide.announcement import announce
from tagstream.stream.decide.from_settings import UnknownLabelError, draw_of
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.deliver.breaker import BreakerFile
from tagstream.stream.drift.observer import DriftObserver, watch_of
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.app import breaker_file
from tests.fakes import KeywordClassifier, deciding, raw
from tests.replacing import replace

NEWER = ModelRef(name="m", version="2", digest="e" * 64)
EVENT = raw(b'{"id":"a","title":"deployment"}')


class OtherLabels(KeywordClassifier):
    """A classifier that calls "mlops" by another name."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels."""
        return ("operations", *(label for label in super().labels if label != "mlops"))

    def classify(self, texts: Any) -> Any:
        """The same predictions, under the other names."""
        return [
            replace(
                one,
                label={"mlops": "operations"}.get(one.label, one.label),
                probabilities={{"mlops": "operations"}.get(name, name): p for name, p in one.probabilities.items()},
            )
            for one in super().classify(texts)
        ]


def worker(settings: Settings) -> tuple[Pipeline, Metrics, CollectorRegistry]:
    """A pipeline whose metrics follow its decider."""
    registry = CollectorRegistry()
    first = deciding()
    metrics = Metrics(registry, labels=first.labels, topic="content")
    pipeline = Pipeline(decider=first, observer=metrics, limits=settings.limits)
    pipeline.follow(functools.partial(announce, metrics=metrics))
    return pipeline, metrics, registry


def test_metrics_count_under_the_labels_of_the_decider_in_force(tmp_path: Path) -> None:
    """The first decision of a replaced decider is counted under its own label, and the model's name is the new one."""
    pipeline, metrics, registry = worker(Settings(state_folder=tmp_path))
    pipeline.replace(deciding(OtherLabels(), model=NEWER))
    assert registry.get_sample_value("tagstream_predictions_total", {"label": "operations"}) == 0
    (published,) = pipeline.publications([EVENT])
    metrics.published([published.observation], 1)
    assert published.destination is Destination.TAGGED
    assert registry.get_sample_value("tagstream_predictions_total", {"label": "operations"}) == 1
    name = {"name": "m", "version": "2", "digest": "e" * 64}
    assert registry.get_sample_value("tagstream_model_info", name) == 1
    assert registry.get_sample_value("tagstream_confidence_threshold_ratio", {"label": "operations"}) == 0.7
    assert registry.get_sample_value("tagstream_confidence_threshold_ratio", {"label": "mlops"}) is None


def test_the_breakers_file_bears_the_release_of_the_decider_in_force(tmp_path: Path) -> None:
    """A breaker that opens after a replacement is answered by the next replacement, and not by the one before."""
    settings = Settings(state_folder=tmp_path)
    pipeline, _, _ = worker(settings)
    file = breaker_file(settings, pipeline)
    before = pipeline.decider
    pipeline.replace(deciding(model=NEWER))
    assert file.write("too many dead letters")
    assert BreakerFile(settings, release=pipeline.decider.release).why() == "too many dead letters"
    assert BreakerFile(settings, release=before.release).why() is None


def test_drift_is_watched_anew_for_the_decider_in_force(tmp_path: Path) -> None:
    """After a replacement, drift is looked for under the new model's name, and nothing that the old one decided counts."""
    settings = Settings(state_folder=tmp_path)
    pipeline, metrics, _ = worker(settings)
    watch = watch_of(settings, pipeline.decider)
    assert watch is not None
    drift = DriftObserver(watch, recorder=metrics, send=None)
    newer = deciding(model=NEWER)
    again = watch_of(settings, newer)
    assert again is not None
    drift.renew(again)
    assert drift._watch is watch, "not before the next turn, in which the thread of the watch is free"
    drift.published([Observation(destination=Destination.TAGGED, created_ms=1, label="mlops", confidence=0.9)], 2)

    async def turn() -> None:
        with ThreadPoolExecutor(1) as executor:
            await drift.turn(executor)

    asyncio.run(turn())
    assert drift._watch is again


def test_a_decider_that_one_follower_refuses_does_not_come_into_force() -> None:
    """Rates for labels that the new decider lacks refuse it; whoever was told of it is told of the old one again."""
    settings = Settings(audit_rates="mlops=0.5")
    told: list[str] = []
    pipeline = Pipeline(decider=deciding(), observer=NullObserver())
    pipeline.follow(lambda decider: told.append(decider.model.version))
    pipeline.follow(lambda decider: setattr(pipeline, "draw", draw_of(settings, decider.labels)))
    with pytest.raises(UnknownLabelError, match="'mlops'"):
        pipeline.replace(deciding(OtherLabels(), model=NEWER))
    assert told == ["1", "2", "1"]
    assert pipeline.decider.model.version == "1"


def test_rules_do_not_take_the_place_of_a_model_in_a_running_pipeline() -> None:
    """Only a person brings the rules into force, at a start."""
    pipeline = Pipeline(decider=deciding(), observer=NullObserver())
    rules: Decider = replace(deciding(), kind="rules")
    with pytest.raises(ValueError, match="rules cannot take its place"):
        pipeline.replace(rules)
