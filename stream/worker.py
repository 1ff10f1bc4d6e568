"""The worker process: reads nothing but its settings, chooses the real parts, and runs them."""

import time

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from model_export.bundle import read
from monitoring.drift import DriftWatch
from monitoring.metrics import Metrics
from stream import app, logs
from stream.allocator import limit_fragmentation
from stream.classifier import OnnxClassifier
from stream.drift import watch_of
from stream.isolation import PROBE
from stream.pipeline import Pipeline, router
from stream.settings import Settings

log = logs.logger("tagstream.worker")


class PortTakenError(Exception):
    """The metrics address cannot be bound: the message says which, why, and what to do."""

    exit_code = 2


def main(settings: Settings) -> None:
    """
    Run until stopped; ends in SystemExit.

    Raises:
        BundleError: The bundle is refused.
        BrokerUnreachableError: No broker answered in time.
        TopicsMissingError: A topic does not exist.
        PortTakenError: The metrics port is taken.
        StateFolderError: `state_folder` was named and cannot be used.
    """
    limit_fragmentation()
    logs.configure(level=settings.log_level, form=settings.log_format)
    bundle = read(settings.bundle)
    registry = process_registry()
    metrics = Metrics(
        registry,
        labels=bundle.manifest.labels,
        topic=settings.topics.content,
        known_sources=settings.known_source_names,
    )
    routed = router(bundle, settings.confidence_threshold)
    classifier = OnnxClassifier(bundle)
    classifier.warm_up(settings.inference_threads)
    pipeline = Pipeline(
        classifier=classifier,
        router=routed,
        observer=metrics,
        limits=settings.limits,
        attempts=settings.model_attempts,
        probe=[text.text for text in bundle.manifest.golden] or PROBE,
    )
    name, version = bundle.manifest.name, bundle.manifest.version
    metrics.model_loaded(
        name=name,
        version=version,
        digest=bundle.digest,
        now=time.time(),
        thresholds={label: routed.asked_below(label) for label in bundle.manifest.labels},
        reference=bundle.manifest.reference,
    )
    log.info("bundle_loaded", name=name, version=version, digest=bundle.digest, path=str(bundle.path))
    run(settings, pipeline=pipeline, metrics=metrics, registry=registry, watch=watch_of(settings, bundle))


def run(
    settings: Settings,
    *,
    pipeline: Pipeline,
    metrics: Metrics,
    registry: CollectorRegistry,
    watch: DriftWatch | None = None,
) -> None:
    """Run these parts; see `main`."""
    try:
        app.run(settings, pipeline=pipeline, metrics=metrics, registry=registry, watch=watch)
    except app.MetricsPortError as error:
        msg = (
            f"the metrics address {settings.metrics_host}:{settings.metrics_port} cannot be bound: {error}. "
            f"Next: stop what holds it, or set TAGSTREAM_METRICS_PORT=0 for a free port."
        )
        raise PortTakenError(msg) from error


def process_registry() -> CollectorRegistry:
    """A registry with the process's own figures: memory, descriptors, CPU, garbage collection."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
