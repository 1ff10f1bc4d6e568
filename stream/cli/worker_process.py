"""Composes a worker from its settings alone: makes the parts, passes them to the core, and runs the worker."""

import functools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tagstream.model_export.verify import VERIFY_SECONDS
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.metrics.process import process_registry
from tagstream.monitoring.server.application import Page
from tagstream.stream import logs
from tagstream.stream.cli.framed import framed_pipeline_of
from tagstream.stream.decide.announcement import announce
from tagstream.stream.decide.from_settings import decider_of
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.deliver.fatal import NotStartedError, die
from tagstream.stream.rollout.search import RolloutSearch
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.allocator import limit_fragmentation
from tagstream.stream.worker.part import MakePart, Membership, WorkerPart

if TYPE_CHECKING:
    from tagstream.stream.rollout.part import WorkerRollout

T = TypeVar("T")


def main(settings: Settings, *, parts: Sequence[MakePart] = ()) -> None:
    """
    Run a worker until it is stopped; ends in SystemExit.

    Args:
        settings: All settings.
        parts: Further parts of this worker, beside the delivery and the parts that the settings ask for.

    Raises:
        BundleError: The bundle is refused. A bundle whose loading does not end ends the process.
        BrokerUnreachableError: No broker answered in time.
        TopicsMissingError: A topic does not exist.
        MetricsPortError: The metrics address cannot be bound.
        StateFolderError: The settings name a `state_folder`, and it cannot be used.
        TracingUnavailableError: The settings name a receiver of traces, and OpenTelemetry is not installed.
    """
    limit_fragmentation()
    logs.configure(level=settings.log_level, form=settings.log_format)
    with ThreadPoolExecutor(1, thread_name_prefix="start") as beside:
        loading = beside.submit(decider_of, settings)
        # These imports load Faust and the broker clients while the runtime loads the model in native code.
        from tagstream.stream.drift.observer import watch_of
        from tagstream.stream.tracing.tracing import tracing_of
        from tagstream.stream.worker import process
        from tagstream.stream.worker.faust_app import CLIENT_ID

        decider = in_time(loading, settings)
        registry = process_registry()
        metrics = Metrics(
            registry,
            labels=decider.labels,
            topic=settings.topics.content,
            further_topics=list(settings.contents),
            known_sources=settings.known_source_names,
        )
        pipeline = framed_pipeline_of(settings, decider=decider, observer=metrics)
        pipeline.follow(functools.partial(announce, metrics=metrics))
        watch = watch_of(settings, decider)
        with tracing_of(settings, service="tagstream-worker", counted=metrics.traces.counted, client_id=CLIENT_ID) as tracing:
            # The model warms up while the process waits for the brokers.
            warm = beside.submit(decider.warm_up, settings.inference_threads)
            process.run(
                settings,
                pipeline=pipeline,
                make=framed_pipeline_of,
                metrics=metrics,
                registry=registry,
                watch=watch,
                tracing=tracing,
                warm=lambda: in_time(warm, settings),
                page=page_of_worker,
                parts=[*parts_of(settings, pipeline, metrics), *parts],
            )


def parts_of(settings: Settings, pipeline: Pipeline, metrics: Metrics) -> list[MakePart]:
    """Return the parts beside the delivery. A worker that decides by rules follows no rollout: a person has excluded every model."""
    if pipeline.decider.kind != "model":
        return []
    if settings.rollout.bundles:
        _follower()

    def search(membership: Membership) -> WorkerPart:
        def follow(topic_ids: dict[str, str], works: bool) -> WorkerPart:  # noqa: FBT001 - as `Follow`
            return _follower()(settings, pipeline, metrics.rollout, membership, topic_ids, works=works)

        return RolloutSearch(settings, follow)

    return [search]


def _follower() -> "type[WorkerRollout]":
    """Import the part that follows a rollout: at the start if `rollout.bundles` is set, else once the rollout's topic exists."""
    from tagstream.stream.rollout.part import WorkerRollout

    return WorkerRollout


def page_of_worker() -> Page:
    """Return the page of alarms and figures. It is imported at the first request."""
    from tagstream.monitoring.server.page import WorkerPage

    return WorkerPage()


def in_time(step: Future[T], settings: Settings) -> T:
    """
    Return the result of a step of loading the bundle. If the step does not end in time, end this process with exit code 2, because the
    step's thread cannot be stopped.

    Raises:
        BundleError: The bundle is refused.
    """
    try:
        return step.result(VERIFY_SECONDS)
    except TimeoutError:
        if step.done():
            raise
        msg = (
            f"bundle {settings.bundle} is refused: it was not loaded, and its largest batches decided, within {VERIFY_SECONDS:g} s. Next: "
            f"`tagstream model verify {settings.bundle}`; then use another bundle, or give the worker more of the processor."
        )
        die(NotStartedError(msg))
