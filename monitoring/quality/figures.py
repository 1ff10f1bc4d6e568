"""Accuracy, precision, recall and F1 from decisions by stratum and truth, for any number of draws at once."""

from collections.abc import Callable

import numpy as np

from tagstream.monitoring.quality.sample import Bools, Floats, Ints

ACCURACY = "accuracy"


class Totals:
    """
    Decisions by stratum and truth.

    Attributes:
        cells: Numbers of decisions, [draws, strata, K + 1]; the last column is "not about this subject".
        predicted: The label of each stratum, [strata].
    """

    def __init__(self, cells: Floats, predicted: Ints) -> None:
        """Store the decisions."""
        self.cells = cells
        self.predicted = predicted

    def measure(self, figure: str, label: int) -> Floats:
        """Return a figure by its name, [draws]. Accuracy ignores `label`: it covers all labels."""
        return self.accuracy() if figure == ACCURACY else BY_LABEL[figure](self, label)

    def accuracy(self) -> Floats:
        """Return the share of right decisions, [draws]."""
        return _ratio(self._right().sum(axis=-1), self.cells.sum(axis=(-2, -1)))

    def precision(self, label: int) -> Floats:
        """Return the share of right decisions among the decisions for a label, [draws]."""
        return _ratio(self._hits(label), self._named(label))

    def recall(self, label: int) -> Floats:
        """Return the share of the decisions for a label among the decisions whose truth is this label, [draws]."""
        return _ratio(self._hits(label), self._true(label))

    def f1(self, label: int) -> Floats:
        """Harmonic mean of precision and recall of a label, [draws]."""
        return _ratio(2 * self._hits(label), self._named(label) + self._true(label))

    def good(self, figure: str, label: int) -> Bools:
        """Cells whose decisions count as hits of a figure, [strata, K + 1]."""
        right = self._truths == self.predicted[:, None]
        found: Bools = right if figure == ACCURACY else right & (self.predicted == label)[:, None]
        return found

    def bad(self, figure: str, label: int) -> Bools:
        """Cells whose decisions count as mistakes of a figure, [strata, K + 1]."""
        wrong = self._truths != self.predicted[:, None]
        named, true = (self.predicted == label)[:, None], (self._truths == label)[None]
        chosen = {ACCURACY: wrong, "precision": wrong & named, "recall": wrong & true, "f1": wrong & (named | true)}
        found: Bools = chosen[figure]
        return found

    @property
    def _truths(self) -> Ints:
        return np.arange(self.cells.shape[-1])

    def _right(self) -> Floats:
        found: Floats = self.cells[:, np.arange(len(self.predicted)), self.predicted]
        return found

    def _hits(self, label: int) -> Floats:
        found: Floats = self._right()[:, self.predicted == label].sum(axis=-1)
        return found

    def _named(self, label: int) -> Floats:
        found: Floats = self.cells[:, self.predicted == label].sum(axis=(-2, -1))
        return found

    def _true(self, label: int) -> Floats:
        found: Floats = self.cells[:, :, label].sum(axis=-1)
        return found


BY_LABEL: dict[str, Callable[[Totals, int], Floats]] = {
    "precision": Totals.precision,
    "recall": Totals.recall,
    "f1": Totals.f1,
}


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole; NaN where the whole is 0."""
    found: Floats = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)
    return found
