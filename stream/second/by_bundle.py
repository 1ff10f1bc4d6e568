"""Second opinions of a larger bundle: deterministic, and without a network."""

import time
from collections.abc import Callable, Collection

from tagstream.model_export.bundle.text import read
from tagstream.monitoring.vocabulary import NoOpinion, few
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import DecidedEvent
from tagstream.stream.contract.second_opinions import SecondBundle, SecondOpinion
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.logs import logger
from tagstream.stream.second.adviser import SecondError

log = logger("tagstream.second")


class BundleAdviser:
    """
    Asks a loaded bundle. It is unsure where the bundle itself would not rely on its network: hidden characters, texts out of distribution.

    The time of an answer is the time of one text in the network.
    """

    def __init__(
        self, decider: Decider, labels: Collection[str], *, first: str, clock: Callable[[], float] = time.time
    ) -> None:
        """
        Take a loaded bundle.

        Args:
            decider: The second bundle.
            labels: The labels of the bundle that decides the stream.
            first: That bundle's digest.
            clock: Seconds since 1970.

        Raises:
            SecondError: The labels differ, or both bundles are the same.
        """
        differing = sorted(set(labels) ^ set(decider.labels))
        if differing:
            msg = (
                f"second.bundle has other labels than the bundle that decides: {few(differing)} in one of them alone. "
                f"Next: name a bundle with the same labels."
            )
            raise SecondError(msg)
        if decider.model.digest == first:
            msg = "second.bundle is the bundle that decides, and would agree with itself. Next: name a larger bundle."
            raise SecondError(msg)
        model = decider.model
        self._bundle = SecondBundle(name=model.name, version=model.version, digest=model.digest)
        self._decider = decider
        self._clock = clock

    def ask(self, item: DecidedEvent) -> SecondOpinion:
        """See `Adviser`."""
        label, score, reason = self._said(item)
        if label is not None and label not in item.decision.probabilities:
            label, score, reason = None, None, NoOpinion.NOT_A_LABEL
        return SecondOpinion(
            event_id=item.event.id,
            prediction_id=item.decision.prediction_id,
            model_tag=item.decision.tag,
            label=label,
            score=score,
            reason=None if reason is None else reason.value,
            bundle=self._bundle,
            decided_at=timestamp(round(self._clock() * 1000)),
        )

    def _said(self, item: DecidedEvent) -> tuple[str | None, float | None, NoOpinion | None]:
        reading = read(item.event.title, item.event.description)
        try:
            [found] = self._decider.classifier.classify([reading.text])
        # onnxruntime and tokenizers raise exceptions of any class; the item then stays with people.
        except Exception as error:
            log.exception("second_failed", why=type(error).__name__, consequence="the item stays with people")
            return None, None, NoOpinion.DOWN
        if reading.flags or self._decider.ood.is_strange(found):
            return None, None, NoOpinion.UNSURE
        return found.label, found.confidence, None
