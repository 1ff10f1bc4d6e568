"""Every training row calibrates: its logits come from a model that has not seen it, nor any row of its group (cross-fitting).

The model that is shipped learns from all rows, so no row is new to it. The logits of the folds stand in for its own: temperature,
thresholds and certificate rest on them. A fold learns from fewer rows, so what is shipped is, as a rule, right at least as often
at the same confidence. This is an assumption of the certificate; the simulation in the tests holds it.
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
# One to learn from, one to score.
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
    The logits of every row, from a model that was fitted without its group; shape (rows, labels), in the order of the rows.

    The last `always` rows are learned from by every model, have every label, and get no logits.

    Args:
        groups: The group of each row: rows of one group resemble each other, and never stand on both sides of a fold.
        targets: The index of each row's label, shape (rows,): every fold gets its part of each.
        fit: Fits a model to the rows at these places.
        score: The logits of the rows at these places, shape (places, labels).
        folds: The largest number of parts; fewer where a label has fewer groups.
        seed: Of the drawing of folds.
        always: How many rows at the end no fold leaves out.

    Raises:
        CalibrationError: A label has rows of one group alone, so that no model can be fitted without it.
    """
    rows = len(targets) - always
    kept = np.arange(rows, len(targets))
    names, places = np.unique(np.asarray(groups[:rows]), return_inverse=True)
    # With rows that no fold leaves out, no label is without rows to learn from.
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
