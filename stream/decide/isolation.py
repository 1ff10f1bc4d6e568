"""Finds the text for which the model raises, so that its neighbours are decided and only it is refused. Pure but for the model.

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
    """Asks the classifier, and takes a batch apart if it raises. Safe to call from several threads."""

    def __init__(
        self,
        classifier: Classifier,
        *,
        attempts: int = 2,
        probe: Sequence[str] = PROBE,
        raised: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Join the parts.

        Args:
            classifier: The model.
            attempts: How often a text on its own must fail before it is refused, 1 or more.
            probe: Texts that this classifier is known to decide, 1 or more.
            raised: Told of every call of the model that raised; never raises.
        """
        self._classifier = classifier
        self._attempts = attempts
        self._probe = probe
        self._raised = raised

    def classify(self, texts: Sequence[str]) -> list[Prediction | Refusal]:
        """
        One answer a text, in order.

        Of n texts with b culprits and k attempts the model is asked at most `2 + b * (2 * ceil(log2(n)) + 2 * k - 1)` times.

        Raises:
            Exception: The machine is broken: the model's own exception for the probe, or MemoryError, OSError, or a number of
                predictions that is not that of the texts. Nothing is decided.
        """
        answer = self._ask(texts)
        if not isinstance(answer, Exception):
            return [*answer]
        if len(texts) > 1:
            self._check_machine()
        return self._apart(texts, answer)

    def _ask(self, texts: Sequence[str]) -> list[Prediction] | Exception:
        """
        The predictions, or the exception that the model raised.

        It is returned and not raised again, since the log of an exception shows the one that was being handled, and its message may
        quote the text of an event.
        """
        try:
            predictions = self._classifier.classify(texts)
        except MACHINE:
            raise
        # onnxruntime and tokenizers raise exceptions of any class; the probe tells an event's fault from the machine's.
        except Exception as error:  # noqa: BLE001
            self._raised()
            return error
        if len(predictions) != len(texts):
            msg = f"{len(texts)} texts became {len(predictions)} predictions; an event would get its neighbour's decision"
            raise RuntimeError(msg)
        return predictions

    def _check_machine(self) -> None:
        answer = self._ask(self._probe)
        if isinstance(answer, Exception):
            answer.add_note("The model raised this for texts that it is known to decide: the machine is broken, not an event.")
            raise answer

    def _apart(self, texts: Sequence[str], error: Exception) -> list[Prediction | Refusal]:
        if len(texts) <= 1:
            return [self._alone(text, error) for text in texts]
        middle = len(texts) // 2
        answers: list[Prediction | Refusal] = []
        for half in (texts[:middle], texts[middle:]):
            answer = self._ask(half)
            answers += self._apart(half, answer) if isinstance(answer, Exception) else answer
        return answers

    def _alone(self, text: str, error: Exception) -> Prediction | Refusal:
        """One text on its own; `error` is the exception of its first attempt."""
        for _ in range(self._attempts - 1):
            self._check_machine()
            answer = self._ask([text])
            if not isinstance(answer, Exception):
                return answer[0]
            error = answer
        self._check_machine()
        # Only the class of the exception: libraries quote their input in the message.
        message = f"the model raised {type(error).__name__} for this event alone, each time, and for no other text"
        return Refusal(stage=Stage.INFER, reason=Reason.MODEL_RAISED, message=message, attempts=self._attempts)
