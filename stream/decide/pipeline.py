"""Payloads to outcomes: the same length, the same order. Synchronous; runs in a thread; knows no Kafka and no Faust.

The stream, the command line and the tests call this very object, so that they cannot disagree.
"""

import time
from collections.abc import Callable, Sequence
from importlib import metadata

from model_export.bundle.bundle import Bundle
from model_export.bundle.prediction import Classifier, Prediction
from model_export.bundle.text import Reading, read
from monitoring.observer import Observer
from monitoring.vocabulary import Reason, Stage
from stream.contract.events import DEFAULT_LIMITS, ContentEvent, Limits, Rejected, decode
from stream.contract.outcomes import ModelRef, Outcome, Publication, publish_all
from stream.contract.record import Record
from stream.decide.isolation import PROBE, Isolation, Unclassifiable
from stream.decide.routing import Router


class Pipeline:
    """Decode, classify, route."""

    def __init__(
        self,
        *,
        classifier: Classifier,
        router: Router,
        observer: Observer,
        limits: Limits = DEFAULT_LIMITS,
        attempts: int = 2,
        probe: Sequence[str] = PROBE,
    ) -> None:
        """Join the parts; `attempts` and `probe` as in `Isolation`."""
        self._isolation = Isolation(classifier, attempts=attempts, probe=probe, raised=observer.model_raised)
        self._router = router
        self._observer = observer
        self.limits = limits

    @property
    def release(self) -> str:
        """See `release_of`."""
        return release_of(self._router.model.digest)

    def decide(self, events: Sequence[Record]) -> list[Outcome]:
        """
        One outcome an event, in order.

        A bad event is a `Rejected` among the others. An exception means that the machine is broken: nothing was decided.
        """
        started = time.perf_counter()
        decoded = [decode(event, self.limits) for event in events]
        inference = time.perf_counter()
        readings = [read(event.title, event.description) for event in decoded if isinstance(event, ContentEvent)]
        answers = self._isolation.classify([reading.text for reading in readings])
        answered = zip(answers, readings, strict=True)
        outcomes: list[Outcome] = [
            event if isinstance(event, Rejected) else self._outcome(event, *next(answered)) for event in decoded
        ]
        self._observer.stage("decode", inference - started)
        self._observer.stage("inference", time.perf_counter() - inference)
        return outcomes

    def _outcome(self, event: ContentEvent, answer: Prediction | Unclassifiable, reading: Reading) -> Outcome:
        if isinstance(answer, Prediction):
            return self._router.route(event, answer, reading)
        message = f"the model raised {answer.error} for this event alone, each time, and for no other text"
        return Rejected(raw=event.raw, stage=Stage.INFER, reason=Reason.MODEL_RAISED, message=message, attempts=answer.attempts)

    def publications(self, events: Sequence[Record], clock: Callable[[], float] = time.time) -> list[Publication]:
        """What must reach the broker for these events, in order. `clock` gives Unix seconds."""
        outcomes = self.decide(events)
        started = time.perf_counter()
        publications = publish_all(outcomes, int(clock() * 1000), self.limits)
        self._observer.stage("encode", time.perf_counter() - started)
        return publications


def release_of(digest: str) -> str:
    """What decides: the version of the program and the digest of the bundle."""
    return f"{metadata.version('tagstream')} {digest}"


def router(bundle: Bundle, threshold: float | None) -> Router:
    """The router of a bundle; `threshold` overrides the bundle's own, whatever the label."""
    manifest = bundle.manifest
    model = ModelRef(name=manifest.name, version=manifest.version, digest=bundle.digest)
    return Router(
        model=model,
        threshold=manifest.threshold.confidence if threshold is None else threshold,
        thresholds=manifest.asked_below() if threshold is None else {},
        # A bundle from before there was such a figure asks nobody for this reason.
        ood_energy=manifest.reference.get("ood_energy"),
    )
