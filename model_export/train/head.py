"""The linear head of a network: logistic regression on the vectors of a frozen encoder."""

from dataclasses import dataclass, field

from sklearn.linear_model import LogisticRegression

from model_export.calibrate.temperature import Floats
from model_export.train.lessons import Examples, drawing_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRecipe:
    """
    The fit of a head to a frozen encoder.

    The regression is weak on purpose: the encoder has seen most of these texts, and a strong fit would follow their
        memorised labels.
    """

    strength: float = 0.3
    source_shares: dict[str, float] = field(
        default_factory=lambda: {"madewithml": 0.35, "corpus": 0.25, "plain": 0.35, "lexicon": 0.05}
    )
    class_levelling: float = 0.5
    iterations: int = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Logits are `vectors @ weight.T + bias`. Shapes: weight (labels, width), bias (labels,)."""

    weight: Floats
    bias: Floats


def fit_head(vectors: Floats, train: Examples, recipe: HeadRecipe) -> Head:
    """Logistic regression on the vectors of the training texts, drawn in the recipe's shares."""
    weights = drawing_weights(train, recipe.source_shares, recipe.class_levelling)
    regression = LogisticRegression(C=recipe.strength, max_iter=recipe.iterations)
    regression.fit(vectors, train.targets, sample_weight=(weights / weights.mean()).double().numpy())
    return Head(weight=regression.coef_, bias=regression.intercept_)
