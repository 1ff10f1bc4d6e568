"""Payloads to outcomes: the same length, the same order. Synchronous; runs in a thread; knows no Kafka and no Faust.

The stream, the command line and the tests call this very object, so that they cannot disagree.
"""

import time
from collections.abc import Callable, Sequence

from model_export.bundle import Bundle
from model_export.prediction import Classifier
from model_export.text import compose
from monitoring.observer import Observer
from stream.events import DEFAULT_LIMITS, ContentEvent, Limits, RawEvent, Rejected, decode
from stream.outcomes import ModelRef, Outcome, Publication, publish_all
from stream.routing import Router


class Pipeline:
    """Decode, classify, route."""

    def __init__(self, *, classifier: Classifier, router: Router, observer: Observer, limits: Limits = DEFAULT_LIMITS) -> None:
        """Join the parts."""
        self._classifier = classifier
        self._router = router
        self._observer = observer
        self.limits = limits

    def decide(self, events: Sequence[RawEvent]) -> list[Outcome]:
        """
        One outcome an event, in order.

        A bad event is a `Rejected` among the others. An exception means that the machine is broken: nothing was decided.
        """
        started = time.perf_counter()
        decoded = [decode(event, self.limits) for event in events]
        inference = time.perf_counter()
        valid = [event for event in decoded if isinstance(event, ContentEvent)]
        predictions = self._classifier.classify([compose(event.title, event.description) for event in valid])
        if len(predictions) != len(valid):
            msg = f"{len(valid)} texts became {len(predictions)} predictions; an event would get its neighbour's decision"
            raise RuntimeError(msg)
        following = iter(predictions)
        outcomes: list[Outcome] = [
            event if isinstance(event, Rejected) else self._router.route(event, next(following)) for event in decoded
        ]
        self._observer.stage("decode", inference - started)
        self._observer.stage("inference", time.perf_counter() - inference)
        return outcomes

    def publications(self, events: Sequence[RawEvent], clock: Callable[[], float] = time.time) -> list[Publication]:
        """What must reach the broker for these events, in order. `clock` gives Unix seconds."""
        outcomes = self.decide(events)
        started = time.perf_counter()
        publications = publish_all(outcomes, int(clock() * 1000), self.limits)
        self._observer.stage("encode", time.perf_counter() - started)
        return publications


def router(bundle: Bundle, threshold: float | None) -> Router:
    """The router of a bundle; `threshold` overrides the bundle's own."""
    manifest = bundle.manifest
    model = ModelRef(name=manifest.name, version=manifest.version, digest=bundle.digest)
    return Router(
        model=model,
        threshold=manifest.threshold.confidence if threshold is None else threshold,
        # A bundle from before there was such a figure asks nobody for this reason.
        ood_energy=manifest.reference.get("ood_energy"),
    )
