"""A prediction, and the one rule that turns logits into published scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

SCORE_DECIMALS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """
    A classifier's answer for one text.

    Attributes:
        label: The most probable label; the first of the bundle's order (of the rules' own, if they decide) where rounded scores tie.
        confidence: Calibrated probability of `label`, 0 to 1, rounded as published.
        probabilities: Calibrated probability of every label in the bundle's order, rounded as published.
        energy: `-logsumexp(logits)`, in logit units; higher is stranger.
        tokens: Tokens that the network read, special ones included.
        truncated: The text was longer than the bundle's `max_length`.
        unfamiliar: The share of the text's words that the training texts lack, 0 to 1 (`strangeness.unfamiliar_share`); 0 where
            the classifier does not know them.
        tags: `label` and the text's other labels, in the bundle's order; empty without the option `multilabel`.
        label_scores: The scores behind `tags`, one for each label, 0 to 1, rounded to four decimals; empty likewise.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    energy: float
    tokens: int
    truncated: bool
    unfamiliar: float = 0.0
    tags: tuple[str, ...] = ()
    label_scores: dict[str, float] = field(default_factory=dict)


class Classifier(Protocol):
    """
    A loaded model.

    `classify` returns one prediction for each text, in their order, and `[]` for no text. A prediction depends on its own text
    alone, not on the rest of the batch. Several threads may call it at once. It may raise any exception; `stream.decide.isolation`
    finds out whether the text or the machine is at fault.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the bundle's order."""
        ...

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict every text."""
        ...


def score(logits: Sequence[float], temperature: float, offsets: Sequence[float] = ()) -> tuple[float, ...]:
    """
    Calibrated probabilities as they are published: softmax(logits / temperature + offsets), rounded to four decimals.

    `offsets` are those of the bundle's prior (`manifest.Prior`), one a label; none without a prior.

    It computes with plain floats, one row at a time, since the last digit of a vectorised exponential may depend on the row's place in
    the batch.

    >>> score([2.0, 0.0], 1.0)
    (0.8808, 0.1192)
    >>> score([2.0, 0.0], 1.0, [-2.0, 0.0])
    (0.5, 0.5)
    """
    scaled = [value / temperature for value in logits]
    if offsets:
        scaled = [value + offset for value, offset in zip(scaled, offsets, strict=True)]
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


def predict(
    logits: Sequence[float],
    *,
    labels: Sequence[str],
    temperature: float,
    tokens: int,
    truncated: bool,
    unfamiliar: float = 0.0,
    offsets: Sequence[float] = (),
) -> Prediction:
    """
    Turn the logits of one text into its prediction.

    Raises:
        ValueError: A logit is not a finite number. The network is broken, and a comparison of NaN with a threshold means nothing.
    """
    if not all(map(math.isfinite, logits)):
        msg = "the network gave a score that is not a finite number"
        raise ValueError(msg)
    probabilities = score(logits, temperature, offsets)
    confidence = max(probabilities)
    return Prediction(
        label=labels[probabilities.index(confidence)],
        confidence=confidence,
        probabilities=dict(zip(labels, probabilities, strict=True)),
        energy=round(energy(logits), SCORE_DECIMALS),
        tokens=tokens,
        truncated=truncated,
        unfamiliar=unfamiliar,
    )


def add_tags(prediction: Prediction, label_logits: Sequence[float], thresholds: Mapping[str, float]) -> Prediction:
    """
    The same prediction with `tags`: its own label, and every label whose score, sigmoid(logit), reaches its threshold.

    Args:
        prediction: The prediction of the text.
        label_logits: One logit for each label, in the bundle's order.
        thresholds: The score that a label must reach, compared with the rounded one.

    Raises:
        ValueError: A logit is not a finite number, so the network is broken.

    >>> one = predict([2.0, 0.0], labels=["a", "b"], temperature=1.0, tokens=3, truncated=False)
    >>> add_tags(one, [-1.0, 2.0], {"a": 0.5, "b": 0.5}).tags, add_tags(one, [1.0, -2.0], {"a": 0.5, "b": 0.5}).tags
    (('a', 'b'), ('a',))
    """
    if not all(map(math.isfinite, label_logits)):
        msg = "the network gave a label score that is not a finite number"
        raise ValueError(msg)
    scores = dict(zip(prediction.probabilities, map(sigmoid, label_logits), strict=True))
    tags = tuple(label for label, found in scores.items() if label == prediction.label or found >= thresholds[label])
    return replace(prediction, tags=tags, label_scores=scores)


def sigmoid(logit: float) -> float:
    """
    1 / (1 + exp(-logit)), rounded to four decimals, without overflow.

    >>> sigmoid(0.0), sigmoid(-1000.0), sigmoid(1000.0)
    (0.5, 0.0, 1.0)
    """
    small = math.exp(-abs(logit))
    return round((1.0 if logit >= 0 else small) / (1.0 + small), SCORE_DECIMALS)
