"""Cross-fitting: calibrate on all training rows, with logits from models that were not trained on the row or its group.

The shipped model is trained on all rows, so no row is new to the shipped model. The temperature, the thresholds and the certificate are
computed from the logits of the fold models instead. A fold model has fewer training rows than the shipped model. So, at the same
confidence, the shipped model is assumed to be right at least as often. The certificate depends on this assumption; a simulation in the
tests checks the assumption.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.temperature import Floats, Ints

Model = TypeVar("Model")

FOLDS = 10
SEED = 5
# One group for training and one group to score.
LEAST_GROUPS = 2


def cross_fit(
    groups: Sequence[str],
    targets: Ints,
    *,
    fit: Callable[[Ints], Model],
    score: Callable[[Model, Ints], Floats],
    folds: int = FOLDS,
    seed: int = SEED,
    always: int = 0,
) -> Floats:
    """
    Return the logits of all rows, shape (rows, labels), in the order of the rows. Each row's logits are from a model fitted without the
    row's group.

    Every model is fitted on the last `always` rows. These rows have all labels and get no logits.

    Args:
        groups: The group of each row. Rows of one group resemble each other and are never on both sides of a fold.
        targets: The index of each row's label, shape (rows,). The folds are stratified by label unless `always` > 0.
        fit: Fits a model to the rows at the given indices.
        score: Returns the logits of the rows at the given indices, shape (indices, labels).
        folds: The largest number of folds. There are fewer folds if a label has fewer groups.
        seed: The seed for drawing the folds.
        always: The number of rows at the end that are in the training part of every fold.

    Raises:
        CalibrationError: All rows of a label are in one group, so no model can be fitted without this group.
    """
    rows = len(targets) - always
    kept = np.arange(rows, len(targets))
    names, places = np.unique(np.asarray(groups[:rows]), return_inverse=True)
    # If `always` is over 0, every label has training rows in every fold.
    of = (
        {0: np.ones(rows, dtype=np.bool_)}
        if always and rows
        else {int(one): targets[:rows] == one for one in np.unique(targets[:rows])}
    )
    spread = {label: len(set(places[own].tolist())) for label, own in of.items()}
    fewest = min(spread, key=lambda label: spread[label]) if spread else -1
    if fewest < 0 or spread[fewest] < LEAST_GROUPS:
        what = f"label number {fewest} has rows of one group alone" if spread else "there are no rows"
        msg = f"cross-fitting needs rows of two groups or more of every label, and {what}. Next: give more rows of it."
        raise CalibrationError(msg)
    parts = min(folds, len(names), spread[fewest])
    kind = GroupKFold if always else StratifiedGroupKFold
    splitter = kind(n_splits=parts, shuffle=True, random_state=seed)
    found: Floats | None = None
    for first, held in splitter.split(places, targets[:rows], places):
        learned = np.concatenate([first, kept])
        missing = sorted(set(spread) - set(targets[learned].tolist()))
        if missing:
            msg = (
                f"a fold of {parts} has no row of label number {missing[0]} left to learn from: its rows are of few, large groups. "
                "Next: give rows of more groups, or fewer folds."
            )
            raise CalibrationError(msg)
        logits = score(fit(learned), held)
        if found is None:
            found = np.full((rows, logits.shape[1]), np.nan)
        found[held] = logits
    if found is None or not np.isfinite(found).all():
        msg = "cross-fitting gave no finite logits for some rows. Next: check that `score` gives one row of logits a place."
        raise CalibrationError(msg)
    return found
