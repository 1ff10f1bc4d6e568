"""Finds the text for which the model raises, so that only this text is refused and the rest of its batch is decided.

A batch that raised is halved until one text is left that still raises. Then a probe is asked: texts that the model is known to
decide (the bundle's golden texts, which this process decided when it loaded the bundle). If the model raises for the probe too, the
machine is broken, and the exception is raised. If it does not, the text is to blame, and becomes a `Refusal`. A text is blamed only
after `attempts` failures, each followed by a probe that works: a model that fails for a moment costs no event.

A prediction does not depend on its neighbours, so taking a batch apart changes no decision.
"""

from collections.abc import Callable, Sequence

from model_export.bundle.prediction import Classifier, Prediction
from monitoring.vocabulary import Reason, Stage
from stream.contract.refusal import Refusal

# For a classifier that brings no texts of its own.
PROBE = ("Detecting objects in images", "A walk along the river")
# Raised when the machine has run out of something, whichever text was asked about.
MACHINE = (MemoryError, OSError)


class Isolation:
    """Calls the classifier, and halves a batch for which it raises. Safe to call from several threads."""

    def __init__(
        self,
        classifier: Classifier,
        *,
        attempts: int = 2,
        probe: Sequence[str] = PROBE,
        raised: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Keep the classifier and the rules for it.

        Args:
            classifier: The model.
            attempts: How often a text on its own must fail before it is refused, 1 or more.
            probe: Texts that this classifier is known to decide, 1 or more.
            raised: Called after every call of the model that raised; must not raise.
        """
        self._classifier = classifier
        self._attempts = attempts
        self._probe = probe
        self._raised = raised

    def classify(self, texts: Sequence[str]) -> list[Prediction | Refusal]:
        """
        A prediction or a refusal for each text, in order.

        For n texts of which b make the model raise, and k attempts, the model is called at most
        `2 + b * (2 * ceil(log2(n)) + 2 * k - 1)` times.

        Raises:
            Exception: The machine is broken, and no text is decided: the model's own exception for the probe, a MemoryError or
                OSError, or RuntimeError if the number of predictions is not the number of texts.
        """
        answers: list[Prediction | Refusal] = []
        # Parts of the batch that are still to be decided, the next one last.
        parts = [texts]
        failures = 0
        while parts:
            part = parts.pop()
            failure = ""
            try:
                predictions = self._classifier.classify(part)
            except MACHINE:
                raise
            # onnxruntime and tokenizers raise exceptions of any class; the probe tells an event's fault from the machine's.
            except Exception as error:  # noqa: BLE001
                self._raised()
                # The class alone: the message may quote the text of an event. The failure is dealt with after this block, since an
                # exception that is raised within it would carry this one, message included, into the log.
                failure = type(error).__name__
            if not failure:
                answers += _one_for_each(part, predictions)
                failures = 0
            elif len(part) > 1:
                if part is texts:
                    self._check_machine()
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            elif part:
                self._check_machine()
                failures += 1
                if failures < self._attempts:
                    parts.append(part)
                else:
                    answers.append(_refusal(failure, failures))
                    failures = 0
        return answers

    def _check_machine(self) -> None:
        """
        Call the model for the probe.

        Raises:
            Exception: The model raised this for the probe.
        """
        try:
            predictions = self._classifier.classify(self._probe)
        except MACHINE:
            raise
        except Exception as error:
            self._raised()
            error.add_note("The model raised this for texts that it is known to decide: the machine is broken, not an event.")
            raise
        _one_for_each(self._probe, predictions)


def _one_for_each(texts: Sequence[str], predictions: list[Prediction]) -> list[Prediction]:
    if len(predictions) != len(texts):
        msg = f"{len(texts)} texts became {len(predictions)} predictions; an event would get its neighbour's decision"
        raise RuntimeError(msg)
    return predictions


def _refusal(failure: str, attempts: int) -> Refusal:
    message = f"the model raised {failure} for this event alone, each time, and for no other text"
    return Refusal(stage=Stage.INFER, reason=Reason.MODEL_RAISED, message=message, attempts=attempts)
