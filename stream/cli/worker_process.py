"""The composition of a worker: reads nothing but its settings, hands the core its parts, and runs it."""

import functools
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tagstream.model_export.verify import VERIFY_SECONDS
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.metrics.process import process_registry
from tagstream.monitoring.server.application import Page
from tagstream.stream import logs
from tagstream.stream.cli.framed import framed_pipeline_of
from tagstream.stream.decide.from_settings import RULES_CONSEQUENCE, decider_of
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.deliver.fatal import NotStartedError, die
from tagstream.stream.rollout.search import RolloutSearch
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.allocator import limit_fragmentation
from tagstream.stream.worker.part import MakePart, Membership, WorkerPart

if TYPE_CHECKING:
    from tagstream.stream.rollout.part import WorkerRollout

log = logs.logger("tagstream.worker")

T = TypeVar("T")


def main(settings: Settings, *, parts: Sequence[MakePart] = ()) -> None:
    """
    Run until stopped; ends in SystemExit.

    Args:
        settings: All of them.
        parts: What this worker does beside the delivery, and beside what its settings ask for.

    Raises:
        BundleError: The bundle is refused. One that does not end to load ends the process.
        BrokerUnreachableError: No broker answered in time.
        TopicsMissingError: A topic does not exist.
        MetricsPortError: The metrics address cannot be bound.
        StateFolderError: `state_folder` was named and cannot be used.
        TracingUnavailableError: A receiver of traces is set, and OpenTelemetry is not installed.
    """
    limit_fragmentation()
    logs.configure(level=settings.log_level, form=settings.log_format)
    with ThreadPoolExecutor(1, thread_name_prefix="start") as beside:
        loading = beside.submit(decider_of, settings)
        # Faust and the clients of brokers, while the runtime loads the model in its own code.
        from tagstream.stream.tracing.tracing import tracing_of
        from tagstream.stream.worker import process
        from tagstream.stream.worker.drift import watch_of

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
        with tracing_of(settings, service="tagstream-worker", counted=metrics.traces.counted) as tracing:
            # While the brokers are asked, which is mostly waiting.
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
    """What a worker does beside the delivery. Where rules decide, no change of the model is followed: a person has said that no model may."""
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
    """What follows a change of the model: loaded at the start where there is a place for bundles, else once there is a topic."""
    from tagstream.stream.rollout.part import WorkerRollout

    return WorkerRollout


def page_of_worker() -> Page:
    """Alarms and figures, loaded once somebody looks."""
    from tagstream.monitoring.server.page import WorkerPage

    return WorkerPage()


def in_time(step: Future[T], settings: Settings) -> T:
    """
    What a step of loading the bundle gives. A step that does not end ends this process with 2: its thread cannot be ended.

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


def announce(decider: Decider, metrics: Metrics) -> None:
    """Say in metrics and log which decider is at work."""
    model = decider.model
    metrics.model_loaded(
        name=model.name,
        version=model.version,
        digest=model.digest,
        arithmetic=model.arithmetic,
        now=time.time(),
        thresholds={label: decider.asked_below(label) for label in decider.labels},
        reference=decider.reference,
    )
    if decider.bundle is None:
        log.warning(
            "rules_decide",
            name=model.name,
            version=model.version,
            digest=model.digest,
            consequence=RULES_CONSEQUENCE,
            next="TAGSTREAM_DECIDER=model once there is a bundle that verifies; docs/runbooks/CircuitBreakerOpen.md",
        )
    else:
        log.info("bundle_loaded", name=model.name, version=model.version, digest=model.digest, path=str(decider.bundle.path))
    if model.arithmetic is not None:
        log.warning(
            "arithmetic_differs",
            arithmetic=model.arithmetic,
            consequence="this processor or runtime computes the golden texts otherwise than the machine that made the bundle, so "
            "decisions from here have prediction ids of their own",
            next="docs/runbooks/ModelVersionSkew.md",
        )
