"""What ordinary traffic looked like to the model when it was made: what a live stream is compared with, and golden texts."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from model_export.prediction import Prediction

CONFIDENCE_EDGES = (0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995)

# The project's own sentences, two a label: every machine that loads the bundle must see nearly the same probabilities.
GOLDEN_TEXTS = (
    "Dense trackers for crowded scenes A detector and a re-identification head share one backbone and follow people through occlusion.",
    "Segmenting roofs in aerial photographs",
    "Rolling back a model in one command How our platform team versions artefacts, watches drift and reverts a bad deployment.",
    "A feature store for small teams",
    "Summarising parliamentary debates with long-context language models",
    "Low-resource machine translation Back-translation and subword sharing for languages with a few thousand sentence pairs.",
    "Recommending the next song with session graphs",
    "Forecasting electricity demand Gradient boosting against state-space models on hourly load.",
)


def describe(predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, object]:
    """
    The reference part of a manifest.

    Returns:
        `rows`; `label_ratio`, the share of each predicted label; `confidence_cdf`, the share of confidences at most each
        edge; `energy_quantiles`, by quantile; `tokens`, the length of texts; `truncated_ratio`.

    Raises:
        ValueError: There are no predictions.
    """
    if not predictions:
        msg = "a reference needs predictions: the calibration part of the data is empty"
        raise ValueError(msg)
    counts = Counter(prediction.label for prediction in predictions)
    confidences = np.array([prediction.confidence for prediction in predictions])
    energies = np.array([prediction.energy for prediction in predictions])
    tokens = np.array([prediction.tokens for prediction in predictions])
    rows = len(predictions)
    return {
        "rows": rows,
        "label_ratio": {label: round(counts[label] / rows, 6) for label in labels},
        "confidence_cdf": {str(edge): round(float((confidences <= edge).mean()), 6) for edge in CONFIDENCE_EDGES},
        "energy_quantiles": {str(q): round(float(np.quantile(energies, q)), 4) for q in QUANTILES},
        "tokens": {
            "mean": round(float(tokens.mean()), 2),
            "p50": round(float(np.quantile(tokens, 0.5)), 1),
            "p95": round(float(np.quantile(tokens, 0.95)), 1),
            "max": int(tokens.max()),
        },
        "truncated_ratio": round(sum(prediction.truncated for prediction in predictions) / rows, 6),
    }
