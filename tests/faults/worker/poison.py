"""A real worker whose model fails at certain titles: by a native abort, by an exception, or by hanging.

Run as `python -m tests.faults.worker.poison` with TAGSTREAM_* in the environment.
"""

import os
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

import stream.worker.process
from model_export.bundle.prediction import Prediction
from monitoring.observer import Observer
from stream import logs
from stream.decide import from_settings
from stream.decide.decider import Decider
from stream.decide.pipeline import Pipeline
from stream.settings.loading import load
from stream.settings.settings import Settings
from tests.faults.worker.faulty import in_a_sentence
from tests.faults.worker.points import Arms
from tests.faults.worker.stub import MODEL, SECONDS_VARIABLE, THRESHOLD, FaultyClassifier, FaultyMetrics, StubClassifier

ABORT = "abort-the-model"
RAISE = "raise-in-the-model"


class PoisonableClassifier(StubClassifier):
    """The stub, except for two words."""

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        Predict as the stub does.

        Raises:
            ValueError: For one word; it quotes the text, as libraries do.
        """
        for text in texts:
            if ABORT in text:
                os.abort()
            if RAISE in text:
                raise ValueError(text)
        return super().classify(texts)


def pipeline_of(settings: Settings, observer: Observer, *, seconds_per_batch: float) -> Pipeline:
    """The real pipeline around the poisonable classifier."""
    classifier = FaultyClassifier(PoisonableClassifier(), Arms(), seconds_per_batch)
    decider = Decider(classifier=classifier, model=MODEL, threshold=THRESHOLD)
    return from_settings.pipeline_of(settings, decider=decider, observer=observer)


def main() -> None:
    """Run until stopped."""
    settings = load(os.environ).settings
    logs.configure(level=settings.log_level, form=settings.log_format)
    registry = CollectorRegistry()
    metrics = FaultyMetrics(registry, Arms(), settings.topics.content)
    metrics.model_loaded(name=MODEL.name, version=MODEL.version, digest=MODEL.digest, now=0)
    pipeline = pipeline_of(settings, metrics, seconds_per_batch=float(os.environ.get(SECONDS_VARIABLE, "0")))
    stream.worker.process.run(settings, pipeline=pipeline, metrics=metrics, registry=registry)


if __name__ == "__main__":
    in_a_sentence(main)
