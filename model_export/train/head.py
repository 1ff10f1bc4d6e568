"""The linear head of a network: logistic regression on the vectors of a frozen encoder."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from tagstream.model_export.calibrate.temperature import Floats
from tagstream.model_export.train.examples import Examples, drawing_weights

# The logit of a label that no training row has.
NEVER = -20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRecipe:
    """
    The fit of a head to a frozen encoder.

    The fit is weak on purpose: the encoder has seen most of these texts, and a strong fit would follow their memorised labels.
    """

    strength: float = 0.3
    source_shares: dict[str, float] = field(
        default_factory=lambda: {"madewithml": 0.35, "corpus": 0.25, "plain": 0.35, "lexicon": 0.05, "real": 1.0}
    )
    class_levelling: float = 0.5
    iterations: int = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A linear head: logits are `vectors @ weight.T + bias`. Shapes: weight (labels, width), bias (labels,)."""

    weight: Floats
    bias: Floats


def fit_head(vectors: npt.NDArray[np.floating[Any]], train: Examples, recipe: HeadRecipe, labels: int) -> Head:
    """
    Fit a head by logistic regression on the vectors of the training texts, weighted to the recipe's shares.

    Args:
        vectors: The vectors of the training texts, [rows, width].
        train: The training texts.
        recipe: The settings of the head.
        labels: The number of labels.
    """
    weights = drawing_weights(train, recipe.source_shares, recipe.class_levelling)
    regression = LogisticRegression(C=recipe.strength, max_iter=recipe.iterations)
    regression.fit(vectors, train.targets, sample_weight=(weights / weights.mean()).double().numpy())
    return every_label(regression, labels)


def every_label(regression: LogisticRegression, labels: int) -> Head:
    """
    Return a fitted regression as a head with one line for each label.

    scikit-learn gives two labels a common line, and does not give a line to a label without rows.

    >>> fitted = LogisticRegression().fit([[-1.0], [1.0]], [0, 2])
    >>> every_label(fitted, 3).weight.round(2).ravel().tolist(), float(every_label(fitted, 3).bias[1])
    ([-0.34, 0.0, 0.34], -20.0)
    """
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    head = Head(weight=np.zeros((labels, weight.shape[1])), bias=np.full(labels, NEVER))
    head.weight[regression.classes_], head.bias[regression.classes_] = weight, bias
    return head
