"""Tells metrics and log which decider is in force: of a worker, and of `serve`."""

import time

from tagstream.monitoring.metrics.decisions import DecisionMetrics
from tagstream.stream.decide.from_settings import RULES_CONSEQUENCE
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.logs import logger

log = logger("tagstream.decider")


def announce(decider: Decider, metrics: DecisionMetrics) -> None:
    """Report the current decider in the metrics and the log."""
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
