"""Finds the text for which the model raises, so that its neighbours are decided and it alone is not. Pure but for the model.

A batch that raised is halved until what still raises is one text. Whose fault it is, a probe says: texts that are known to be
good (the bundle's golden ones, which this very process has decided as it loaded). Where the model raises for them too, the
machine is broken, and that is an exception; where it does not, the text is the culprit, and that is a value. A culprit is tried
`attempts` times, and after each the probe: what fails only for a moment is nobody's fault.

A prediction does not depend on its neighbours, so taking a batch apart changes no decision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model_export.bundle.prediction import Classifier, Prediction

# For a classifier that brings no texts of its own.
PROBE = ("Detecting objects in images", "A walk along the river")
# Whatever the text, these say that the machine has run out of something.
MACHINE = (MemoryError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclassifiable:
    """
    A text for which the model raises, and only for it.

    `error` is the class of the exception. Its message is not kept: libraries quote their input.
    """

    error: str
    attempts: int


class Isolation:
    """Asks the classifier, and takes a batch apart that it raises for. Safe to call from several threads."""

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
            classifier: What is asked.
            attempts: How often a text on its own must fail, 1 or more.
            probe: Texts that this classifier is known to decide, 1 or more.
            raised: Told of every call of the model that raised; never raises.
        """
        self._classifier = classifier
        self._attempts = attempts
        self._probe = probe
        self._raised = raised

    def classify(self, texts: Sequence[str]) -> list[Prediction | Unclassifiable]:
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
        The predictions, or what the model raised.

        Returned, not raised on: an exception that is raised while another is handled is logged with it, and its message with text.
        """
        try:
            predictions = self._classifier.classify(texts)
        except MACHINE:
            raise
        # onnxruntime and tokenizers raise what they like; the probe tells an event's fault from the machine's.
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

    def _apart(self, texts: Sequence[str], error: Exception) -> list[Prediction | Unclassifiable]:
        if len(texts) <= 1:
            return [self._alone(text, error) for text in texts]
        middle = len(texts) // 2
        answers: list[Prediction | Unclassifiable] = []
        for half in (texts[:middle], texts[middle:]):
            answer = self._ask(half)
            answers += self._apart(half, answer) if isinstance(answer, Exception) else answer
        return answers

    def _alone(self, text: str, error: Exception) -> Prediction | Unclassifiable:
        """`error` is what the first attempt raised."""
        for _ in range(self._attempts - 1):
            self._check_machine()
            answer = self._ask([text])
            if not isinstance(answer, Exception):
                return answer[0]
            error = answer
        self._check_machine()
        return Unclassifiable(error=type(error).__name__, attempts=self._attempts)
