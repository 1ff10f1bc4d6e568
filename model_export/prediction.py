"""What a classifier says of one text, and the one rule by which logits become published scores."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from model_export.bundle import Bundle

SCORE_DECIMALS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """
    One decision.

    Attributes:
        label: The most probable label; the first of the bundle's order where rounded scores tie.
        confidence: Calibrated probability of `label`, 0 to 1, rounded as published.
        probabilities: Calibrated probability of every label in the bundle's order, rounded as published.
        energy: `-logsumexp(logits)`, in logit units; higher is stranger.
        tokens: Tokens that the network read, special ones included.
        truncated: The text was longer than the bundle's `max_length`.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    energy: float
    tokens: int
    truncated: bool


class Classifier(Protocol):
    """
    A loaded model.

    `classify` returns one prediction a text, in the order given, and `[]` for no text. A prediction depends on its own
    text alone, never on its neighbours. It may be called from several threads at once and raises only if the machine is
    broken.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the bundle's order."""
        ...

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict every text."""
        ...


LoadClassifier = Callable[[Bundle], Classifier]


def score(logits: Sequence[float], temperature: float) -> tuple[float, ...]:
    """
    Calibrated probabilities as they are published: softmax(logits / temperature), rounded to four decimals.

    Plain floats, a row at a time: vectorised exponentials may differ in the last digit by where a row stands in its batch.

    >>> score([2.0, 0.0], 1.0)
    (0.8808, 0.1192)
    """
    scaled = [value / temperature for value in logits]
    top = max(scaled)
    exponentials = [math.exp(value - top) for value in scaled]
    total = math.fsum(exponentials)
    return tuple(round(value / total, SCORE_DECIMALS) for value in exponentials)


def energy(logits: Sequence[float]) -> float:
    """
    Negative log of the sum of exponentials, the energy score of Liu et al. (NeurIPS 2020).

    >>> round(energy([0.0, 0.0]), 4)
    -0.6931
    """
    top = max(logits)
    return -(top + math.log(math.fsum(math.exp(value - top) for value in logits)))


def predict(logits: Sequence[float], *, labels: Sequence[str], temperature: float, tokens: int, truncated: bool) -> Prediction:
    """
    Make the decision that these logits stand for.

    Raises:
        ValueError: A logit is no finite number: the network is broken, and NaN is below no threshold.
    """
    if not all(map(math.isfinite, logits)):
        msg = "the network gave a score that is not a finite number"
        raise ValueError(msg)
    probabilities = score(logits, temperature)
    confidence = max(probabilities)
    return Prediction(
        label=labels[probabilities.index(confidence)],
        confidence=confidence,
        probabilities=dict(zip(labels, probabilities, strict=True)),
        energy=round(energy(logits), SCORE_DECIMALS),
        tokens=tokens,
        truncated=truncated,
    )
