"""A real worker that breaks on command, with the real delivery, pipeline and producer of `tagstream.stream.worker.process.run`.

Run as `python -m tests.faults.worker` with TAGSTREAM_* in the environment; signals or TESTS_FAULTS_FAILPOINTS arm its
points. The model is the stub, with
TESTS_FAULTS_MODEL=poisonable one that some titles break, or with TESTS_FAULTS_MODEL=bundle the settings' own bundle.
"""

import os
import sys
from collections.abc import Callable

from prometheus_client import CollectorRegistry

import tagstream.stream.kafka.transactions
import tagstream.stream.worker.faust_app
import tagstream.stream.worker.process
from tagstream.monitoring.observer import NullObserver, Observer
from tagstream.stream import logs
from tagstream.stream.cli.worker_process import page_of_worker, parts_of
from tagstream.stream.contract.event import Limits
from tagstream.stream.contract.outcome import Decide
from tagstream.stream.decide.from_settings import decider_of
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.drift.observer import watch_of
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tagstream.stream.tracing.tracing import tracing_of
from tagstream.stream.worker.allocator import limit_fragmentation
from tagstream.stream.worker.faust_app import CLIENT_ID
from tests.faults.worker.failpoints import FAILPOINTS_VARIABLE, Arms
from tests.faults.worker.poison import poisonable_decider
from tests.faults.worker.stub import (
    ANSWER_SECONDS_VARIABLE,
    MODEL,
    MODEL_VARIABLE,
    OTHER_MODEL,
    SECONDS_VARIABLE,
    FaultyAnswering,
    FaultyMetrics,
    FaultyPipeline,
    faulty_producer,
    faulty_transactions,
    stub_decider,
)


def main() -> None:
    """Run until stopped."""
    limit_fragmentation()
    arms = Arms()
    arms.listen()
    arms.read(os.environ.get(FAILPOINTS_VARIABLE, ""))
    settings = load(os.environ).settings
    logs.configure(level=settings.log_level, form=settings.log_format)
    registry = CollectorRegistry()
    metrics, pipeline = _parts(settings, arms, registry)
    # A finding of the drift watch goes through the same producer; a worker survives that it is not published.
    spared = settings.topics.drift
    tagstream.stream.worker.faust_app.Producer = faulty_producer(tagstream.stream.worker.faust_app.Producer, arms, spared)  # type: ignore[misc]
    tagstream.stream.kafka.transactions.PartitionProducer = faulty_transactions(
        tagstream.stream.kafka.transactions.PartitionProducer, arms
    )  # type: ignore[misc]
    watch = watch_of(settings, pipeline.decider)
    seconds = float(os.environ.get(ANSWER_SECONDS_VARIABLE) or os.environ.get(SECONDS_VARIABLE, "0"))

    def answering(limits: Limits) -> Decide:
        faulty = FaultyAnswering(arms, limits, seconds_per_batch=seconds, full_batch=settings.batch_max_events)
        return faulty.publications

    with tracing_of(settings, service="tagstream-worker", counted=metrics.traces.counted, client_id=CLIENT_ID) as tracing:
        tagstream.stream.worker.process.run(
            settings,
            pipeline=pipeline,
            make=pipeline_of_trial,
            metrics=metrics,
            registry=registry,
            watch=watch,
            answering=answering,
            tracing=tracing,
            parts=parts_of(settings, pipeline, metrics),
            page=page_of_worker,
        )


def pipeline_of_trial(settings: Settings) -> FaultyPipeline:
    """The pipeline of this worker in the process of a trial, where no point is armed."""
    return _pipeline(settings, Arms(), NullObserver(), _decider(settings))


def _parts(settings: Settings, arms: Arms, registry: CollectorRegistry) -> tuple[FaultyMetrics, FaultyPipeline]:
    decider = _decider(settings)
    model = decider.model
    metrics = FaultyMetrics(registry, arms, settings.topics.content, decider.labels)
    metrics.model_loaded(name=model.name, version=model.version, digest=model.digest, now=0)
    return metrics, _pipeline(settings, arms, metrics, decider)


def _decider(settings: Settings) -> Decider:
    wanted = os.environ.get(MODEL_VARIABLE, "stub")
    if wanted == "bundle":
        return decider_of(settings)
    if wanted == "poisonable":
        return poisonable_decider()
    return stub_decider({"stub": MODEL, "other-stub": OTHER_MODEL}[wanted])


def _pipeline(settings: Settings, arms: Arms, observer: Observer, decider: Decider) -> FaultyPipeline:
    seconds = float(os.environ.get(SECONDS_VARIABLE, "0"))
    return FaultyPipeline(arms, settings, observer, decider=decider, seconds_per_batch=seconds)


def in_a_sentence(run: Callable[[], None]) -> None:
    """Run, and end with the sentence and exit code of an error that has them, as `tagstream` does."""
    try:
        run()
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
