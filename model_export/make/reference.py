"""The reference of a bundle: the statistics of ordinary traffic that a live stream is compared with, and the golden texts."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tagstream.model_export.bundle.model import SCORE_DECIMALS, OodLimits, Prediction
from tagstream.model_export.bundle.text import signals_of
from tagstream.monitoring.signals import DISTRIBUTIONS

# The share of ordinary texts that do not exceed a limit of `OodLimits`.
ORDINARY = 0.995
# A word of only one row is not typical of ordinary traffic, and such words would fill the bundle.
LEAST_ROWS_PER_WORD = 2
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995)

# The project's own sentences, two for each label: every machine that loads the bundle must get nearly the same probabilities for them.
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


def describe(
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    *,
    texts: Sequence[str],
    described: Sequence[bool],
    limits: OodLimits | None = None,
    known_words: Sequence[str] = (),
) -> dict[str, object]:
    """
    Return the reference part of a manifest, in the form of `manifest.Reference`.

    Args:
        predictions: The finished bundle's predictions of the rows.
        labels: The bundle's labels.
        texts: The composed text of each row.
        described: By row, whether it has a description in addition to its title.
        limits: The limits above which a text is out of distribution; None for the limits of `limits_of`.
        known_words: The words of the training texts, from which the predictions' `unfamiliar` was computed. Without them, a text cannot be
            out of distribution by its words.

    Returns:
        `rows`, the number of rows; `label_ratio`, the share of each predicted label; for each distribution of `monitoring.signals`, such as
        `confidence_cdf`, the share of values up to each edge; `energy_quantiles`, by quantile; the limits `ood_energy`, `ood_unfamiliar`
        and `ood_strangeness`; `ood_ratio`, the share of rows that exceed a limit; `known_words`; `tokens`, the length of texts;
        `truncated_ratio`; `without_description_ratio`; `words`, by word, the number of rows that contain it.

    Raises:
        ValueError: There are no predictions, or the numbers of predictions, texts and description flags differ.
    """
    if not predictions:
        msg = "a reference needs predictions: the calibration part of the data is empty"
        raise ValueError(msg)
    rows = len(predictions)
    if (len(texts), len(described)) != (rows, rows):
        msg = f"a reference needs one text a prediction: {rows} predictions, {len(texts)} texts, {len(described)} flags"
        raise ValueError(msg)
    if limits is None:
        limits = limits_of(predictions, known_words=known_words)
    counts = Counter(prediction.label for prediction in predictions)
    energies = np.array([prediction.energy for prediction in predictions])
    tokens = np.array([prediction.tokens for prediction in predictions])
    signals = [
        signals_of(
            text,
            event_id="",
            energy=found.energy,
            tokens=found.tokens,
            described=has_more,
            source=None,
            out_of_distribution=limits.is_strange(found),
        )
        for text, found, has_more in zip(texts, predictions, described, strict=True)
    ]
    measured = [(found.confidence, seen) for found, seen in zip(predictions, signals, strict=True)]
    return {
        "rows": rows,
        "label_ratio": {label: round(counts[label] / rows, 6) for label in labels},
        **{
            signal.cdf: _cdf(np.array([signal.read(*one) for one in measured]), counted.edges)
            for signal, counted in DISTRIBUTIONS.items()
        },
        "energy_quantiles": {str(q): round(float(np.quantile(energies, q)), 4) for q in QUANTILES},
        "ood_energy": limits.energy,
        "ood_ratio": round(sum(seen.out_of_distribution for seen in signals) / rows, 6),
        "without_description_ratio": round(1 - sum(described) / rows, 6),
        "words": _words([seen.words for seen in signals]),
        "tokens": _lengths(tokens),
        "truncated_ratio": round(sum(prediction.truncated for prediction in predictions) / rows, 6),
        **({"known_words": list(known_words), "ood_unfamiliar": limits.unfamiliar} if known_words else {}),
        **({} if limits.strangeness is None else {"ood_strangeness": limits.strangeness}),
    }


def limits_of(
    predictions: Sequence[Prediction], *, known_words: Sequence[str] = (), strangeness: float | None = None
) -> OodLimits:
    """
    Return the limits above which a text is out of distribution.

    Energy and unfamiliar words each have a limit that a share `ORDINARY` of the rows does not exceed.

    Args:
        predictions: The predictions of the calibration rows.
        known_words: As for `describe`.
        strangeness: The limit on the strangeness, in logit units; None without a gate.
    """
    unfamiliar = _ordinary([found.unfamiliar for found in predictions]) if known_words else None
    return OodLimits(energy=_ordinary([found.energy for found in predictions]), unfamiliar=unfamiliar, strangeness=strangeness)


def _ordinary(values: Sequence[float]) -> float:
    return round(float(np.quantile(values, ORDINARY)), SCORE_DECIMALS)


def _lengths(tokens: npt.NDArray[np.int64]) -> dict[str, float]:
    return {
        "mean": round(float(tokens.mean()), 2),
        "p50": round(float(np.quantile(tokens, 0.5)), 1),
        "p95": round(float(np.quantile(tokens, 0.95)), 1),
        "max": int(tokens.max()),
    }


def _cdf(values: npt.NDArray[Any], cuts: Sequence[float]) -> dict[str, float]:
    return {str(edge): round(float((values <= edge).mean()), 6) for edge in cuts}


def _words(texts: Sequence[tuple[str, ...]]) -> dict[str, int]:
    counts = Counter(word for text in texts for word in set(text))
    return {word: rows for word, rows in sorted(counts.items()) if rows >= LEAST_ROWS_PER_WORD}
