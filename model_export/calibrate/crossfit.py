"""Every training row calibrates: its logits come from a model that has not seen it, nor any row of its group (cross-fitting).

The model that is shipped learns from all rows, so no row is new to it. The logits of the folds stand in for its own: temperature,
thresholds and certificate rest on them. A fold learns from fewer rows, so what is shipped is, as a rule, right at least as often
at the same confidence. This is an assumption of the certificate; the simulation in the tests holds it.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.temperature import Floats, Ints

Model = TypeVar("Model")

FOLDS = 10
SEED = 5


def cross_fit(
    groups: Sequence[str],
    targets: Ints,
    *,
    fit: Callable[[Ints], Model],
    score: Callable[[Model, Ints], Floats],
    folds: int = FOLDS,
    seed: int = SEED,
) -> Floats:
    """
    The logits of every row, from a model that was fitted without its group; shape (rows, labels), in the order of the rows.

    Args:
        groups: The group of each row: rows of one group resemble each other, and never stand on both sides of a fold.
        targets: The index of each row's label, shape (rows,): every fold gets its part of each.
        fit: Fits a model to the rows at these places.
        score: The logits of the rows at these places, shape (places, labels).
        folds: The largest number of parts; fewer where a label has fewer groups.
        seed: Of the drawing of folds.

    Raises:
        CalibrationError: A label has rows of one group alone, so that no model can be fitted without it.
    """
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    spread = {int(label): len(set(places[targets == label].tolist())) for label in np.unique(targets)}
    fewest = min(spread, key=lambda label: spread[label]) if spread else -1
    if fewest < 0 or spread[fewest] < 2:  # noqa: PLR2004 - two groups: one to learn from, one to score
        what = f"label number {fewest} has rows of one group alone" if spread else "there are no rows"
        msg = f"cross-fitting needs rows of two groups or more of every label, and {what}. Next: give more rows of it."
        raise CalibrationError(msg)
    parts = min(folds, len(names), spread[fewest])
    splitter = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=seed)
    found: Floats | None = None
    for learned, held in splitter.split(places, targets, places):
        missing = sorted(set(spread) - set(targets[learned].tolist()))
        if missing:
            msg = (
                f"a fold of {parts} has no row of label number {missing[0]} left to learn from: its rows are of few, large groups. "
                "Next: give rows of more groups, or fewer folds."
            )
            raise CalibrationError(msg)
        logits = score(fit(learned), held)
        if found is None:
            found = np.full((len(targets), logits.shape[1]), np.nan)
        found[held] = logits
    if found is None or not np.isfinite(found).all():
        msg = "cross-fitting gave no finite logits for some rows. Next: check that `score` gives one row of logits a place."
        raise CalibrationError(msg)
    return found
