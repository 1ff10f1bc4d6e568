"""
The option `multilabel` of a bundle: a second head on the same vector finds further labels of a text.

The second head is added to a finished bundle. It changes only the file's second output and the manifest's `multilabel`: the first head's
logits stay the same to the last bit, and so do calibration and measurements. The head is a logistic regression of each label against
all others, fitted to the vectors of the training rows. A row with two labels is an example of both. The published `tags` always contain
the decision's own tag, even if the second head disagrees. The head does not learn from people's answers: an answer names one label of a
text, and leaves the other labels unknown.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from tagstream.model_export.bundle import invariance
from tagstream.model_export.bundle.invariance import refused
from tagstream.model_export.bundle.manifest import Multilabel
from tagstream.model_export.bundle.model import LABEL_LOGITS, SCORE_DECIMALS, Prediction, sigmoid
from tagstream.model_export.data.corpus import PAIRS
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make.draft import Draft
from tagstream.model_export.make.network import INVARIANCE_SEED, PARITY_ROWS, SecondHead
from tagstream.model_export.onnx import heads, parity
from tagstream.model_export.onnx.heads import Floats
from tagstream.model_export.train import batches
from tagstream.model_export.train.examples import Examples, drawing_weights, examples
from tagstream.model_export.train.head import Head, HeadRecipe

logger = logging.getLogger(__name__)

Flags = npt.NDArray[np.bool_]

# The threshold of a label before one is chosen, and if no threshold helps: only the decision's own tag is then published.
NEVER = 1.0
METRIC_DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelHeadRecipe(HeadRecipe):
    """
    The fit of the second head. It differs from the first head's fit in the strength and in the rows of `pairs`.

    Strength and share were chosen by the log loss on the calibration rows; decision 9 has the figures.
    """

    strength: float = 3.0
    source_shares: dict[str, float] = field(default_factory=lambda: HeadRecipe().source_shares | {PAIRS: 0.1})


def fitted(draft: Draft, rows: Splits, recipe: LabelHeadRecipe) -> SecondHead:
    """
    Fit a second head.

    Args:
        draft: A finished bundle with the first head only.
        rows: Training rows for the head.
        recipe: The numbers of the fit.

    Raises:
        HeadError: The head in the bundle's file is not one that `quantize` writes.
    """
    labels = draft.manifest.labels
    tokenizer = batches.load_tokenizer(draft.tokenizer, draft.manifest.max_length)
    learned = [row for row in (*rows.train, *rows.pairs.get("train", ())) if not row.answered]
    train = examples(tokenizer, learned, labels)
    vectors = heads.embed(draft.model, train.rows)
    head = fit(vectors, train, truth(learned, labels), recipe)
    model = heads.with_label_head(draft.model, head, labels)
    training = {
        "head": asdict(recipe),
        "two_label_rows": sum(len(set(row.tags)) > 1 for row in learned),
        "max_logit_of_rounding": _gap(model, head, train.rows[:PARITY_ROWS], vectors),
    }
    return SecondHead(model=model, training=training)


def promised(draft: Draft, second: SecondHead, rows: Splits, unseen: Sequence[Prediction] | None = None) -> Draft:
    """
    Choose the thresholds of a second head, and measure the head. An old head keeps its thresholds if no calibration row has several labels.

    Args:
        draft: A finished bundle with the first head only.
        second: The second head.
        rows: Calibration rows for the thresholds, and gold rows.
        unseen: Predictions of `rows.calibration` by networks that have not seen the rows; None if the draft's network has not seen them.
            A network is right more often on rows that it has seen than on the stream.

    Returns:
        The bundle with both heads.

    Raises:
        ParityError: The option changes a decision, or a decision depends on the other texts of its batch.
    """
    labels = draft.manifest.labels
    tokenizer = batches.load_tokenizer(draft.tokenizer, draft.manifest.max_length)
    option = Multilabel(
        thresholds=dict.fromkeys(labels, NEVER),
        golden=_golden_scores(
            second.model, batches.windows(tokenizer, [text.text for text in draft.manifest.golden], draft.manifest.windows)
        ),
        metrics={},
        training=second.training,
    )
    both = replace(draft, model=second.model)
    classifier = both.saying(multilabel=option).loaded()
    calibration = (*rows.calibration, *rows.pairs.get("calibration", ()))
    texts = [row.text for row in calibration]
    predictions = classifier.classify(texts)
    _check_same(draft.loaded().classify(texts), predictions)
    invariance.check_invariance(classifier, texts[:PARITY_ROWS], seed=INVARIANCE_SEED)
    if unseen is not None:
        honest = [msgspec.structs.replace(found, label=one.label) for found, one in zip(predictions, unseen, strict=False)]
        predictions = honest + predictions[len(honest) :]
    carried = truth(calibration, labels)
    # Rows that name one label only would count every further label of a text as wrong.
    kept = second.thresholds if not (carried.sum(axis=1) > 1).any() else None
    thresholds = choose_thresholds(predictions, carried) if kept is None else kept
    logger.info("label_thresholds_chosen %s", thresholds)
    parts = {"holdout": rows.holdout, "corpus_test": rows.corpus_test, "pairs_test": rows.pairs.get("corpus_test", ())}
    found = {part: (of_part, classifier.classify([row.text for row in of_part])) for part, of_part in parts.items() if of_part}
    metrics = {
        part: _measured(said, thresholds, truth(of_part, labels))
        for part, (of_part, said) in {**found, "calibration": (calibration, predictions)}.items()
    }
    return both.saying(multilabel=msgspec.structs.replace(option, thresholds=thresholds, metrics=metrics))


def truth(rows: Sequence[Row], labels: Sequence[str]) -> Flags:
    """Return which labels each row carries, [rows, labels]."""
    return np.array([[label in (row.tag, *row.tags) for label in labels] for row in rows], dtype=np.bool_)


def fit(vectors: Floats, train: Examples, carried: Flags, recipe: HeadRecipe) -> Head:
    """
    Fit each label against all others, with the row weights of the first head.

    Args:
        vectors: The inputs of the head, [rows, width].
        train: The rows, with the labels and sources that determine their weights.
        carried: Which labels each row carries, [rows, labels].
        recipe: The numbers of the fit.
    """
    weights = drawing_weights(train, recipe.source_shares, recipe.class_levelling)
    counted = (weights / weights.mean()).double().numpy()
    fitted = [
        LogisticRegression(C=recipe.strength, max_iter=recipe.iterations).fit(vectors, carried[:, place], sample_weight=counted)
        for place in range(carried.shape[1])
    ]
    return Head(weight=np.concatenate([one.coef_ for one in fitted]), bias=np.concatenate([one.intercept_ for one in fitted]))


def choose_thresholds(predictions: Sequence[Prediction], carried: Flags) -> dict[str, float]:
    """
    Choose, for every label, the threshold with the best F1 of the published tags. The decision's own tag is always published.

    Of equally good thresholds, the highest is taken, so that a tag is added only if it improves F1. `NEVER` is one of the candidates:
    it means that adding this label by its score does not help.

    Args:
        predictions: The predictions of the calibration rows, with label scores.
        carried: Which labels each row carries, [rows, labels].
    """
    chosen: dict[str, float] = {}
    for place, label in enumerate(predictions[0].probabilities):
        scores = np.array([found.label_scores[label] for found in predictions])
        decided = np.array([found.label == label for found in predictions])
        candidates = sorted({NEVER, *scores.tolist()}, reverse=True)
        # Of equal candidates, `max` keeps the first, which is the highest.
        chosen[label] = max(candidates, key=lambda at: _f1(carried[:, place], decided | (scores >= at)))
    return chosen


def measure(said: Flags, decided: Flags, carried: Flags) -> dict[str, Any]:
    """
    Measure the published sets of labels, and for comparison the decision's own tag alone.

    Args:
        said: The published `tags`, [rows, labels].
        decided: The published `tag`, [rows, labels].
        carried: The labels that each row carries, [rows, labels].

    Returns:
        `rows`: number of rows; `two_label_rows`: number of rows with more than one label; `two_label_subset_right`: number of these whose
        `tags` are exactly the row's labels; `tags_added`: number of tags in addition to `tag`; `tags_added_right`: number of these that
        the row carries; `micro_f1`, `macro_f1` and `subset_accuracy`, the share of rows whose `tags` are exactly the row's labels; and
        these three for `tag` alone, with the suffix `_of_tag_alone`.
    """
    several = carried.sum(axis=1) > 1
    added = said & ~decided
    found: dict[str, Any] = {
        "rows": len(carried),
        "two_label_rows": int(several.sum()),
        "two_label_subset_right": int((said == carried).all(axis=1)[several].sum()),
        "tags_added": int(added.sum()),
        "tags_added_right": int((added & carried).sum()),
    }
    for whose, sets in (("", said), ("_of_tag_alone", decided)):
        by_label = [_f1(carried[:, place], sets[:, place]) for place in range(carried.shape[1])]
        found[f"micro_f1{whose}"] = _decimals(_f1(carried, sets))
        found[f"macro_f1{whose}"] = _decimals(float(np.mean(by_label)))
        found[f"subset_accuracy{whose}"] = _decimals(float((sets == carried).all(axis=1).mean()))
    return found


def as_text(option: Multilabel) -> str:
    """Return the figures as text."""
    shown = ", ".join(f"{label} {threshold:.4f}" for label, threshold in option.thresholds.items())
    lines = [f"multilabel, from a score of: {shown}"]
    for part, found in option.metrics.items():
        alone = {name: found[f"{name}_of_tag_alone"] for name in ("micro_f1", "macro_f1", "subset_accuracy")}
        lines += [
            f"  {part}: {found['rows']} rows, {found['two_label_rows']} with two labels, {found['two_label_subset_right']} of these exactly right",
            f"    tags added {found['tags_added']}, {found['tags_added_right']} of them right",
            *(f"    {name} {found[name]:.4f}, of the tag alone {value:.4f}" for name, value in alone.items()),
        ]
    return "\n".join(lines)


def _measured(predictions: Sequence[Prediction], thresholds: Mapping[str, float], carried: Flags) -> dict[str, Any]:
    decided = np.array([[label == found.label for label in thresholds] for found in predictions], dtype=np.bool_)
    reached = [[found.label_scores[label] >= least for label, least in thresholds.items()] for found in predictions]
    return measure(decided | np.array(reached, dtype=np.bool_), decided, carried)


def _f1(carried: Flags, said: Flags) -> float:
    return 2 * float((carried & said).sum()) / max(1.0, float(carried.sum() + said.sum()))


def _decimals(value: float) -> float:
    return round(value, METRIC_DECIMALS)


def _golden_scores(model: bytes, texts: Sequence[Sequence[Sequence[int]]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(sigmoid, logits)) for logits in parity.means(model, texts, output=LABEL_LOGITS).tolist())


def _gap(model: bytes, fitted: Head, rows: Sequence[Sequence[int]], vectors: Floats) -> float:
    """Return the largest difference, in logit units, between a label logit of the file and the same logit before rounding."""
    exact = vectors[: len(rows)] @ fitted.weight.T + fitted.bias
    return round(float(np.abs(parity.run(model, rows, output=LABEL_LOGITS) - exact).max()), SCORE_DECIMALS)


def _check_same(before: Sequence[Prediction], after: Sequence[Prediction]) -> None:
    """Refuse a second head that changes a decision: it may only add tags and label scores."""
    changed = sum(
        msgspec.structs.replace(found, tags=(), label_scores={}) != one for one, found in zip(before, after, strict=True)
    )
    if changed:
        msg = f"the second head changes {changed} of {len(before)} decisions of the first"
        raise refused(msg)
