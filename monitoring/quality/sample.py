"""The decisions that were drawn for people, the answers, and the number of decisions of the stream that each answer stands for.

A decision is *published* (it went to `tagged`), or it went to `review`. People see a drawn part of the published decisions, the
audits. They see all decisions in `review`, of which some are not answered yet. A person slips now and then, so a model that is
right more often than a person would look worse than it is. Therefore an audit answer that contradicts the model needs a second
opinion. Until then, the decision is *unsettled*.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tagstream.monitoring.limits import LEAST_INCLUSION

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NO_ANSWER = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """
    The drawn decisions of one window, answered or not, in n rows. A row stands for decisions that are equal in all columns.

    Attributes:
        labels: The labels of the bundle, K of them.
        published: Whether the decision went to `tagged`, [n].
        predicted: The label that the model gave, 0 to K - 1, [n].
        confidence: The model's probability of that label, 0 to 1, [n].
        inclusion: The probability that the decision was drawn, `LEAST_INCLUSION` to 1, [n].
        first: The first person's answer: 0 to K - 1, K for "not about this subject", `NO_ANSWER` without one, [n].
        truth: The settled answer, with the numbers of `first`; `NO_ANSWER` while the decision is unanswered or unsettled, [n].
        count: The number of drawn decisions in the row, at least 1, [n].
    """

    labels: tuple[str, ...]
    published: Bools
    predicted: Ints
    confidence: Floats
    inclusion: Floats
    first: Ints
    truth: Ints
    count: Ints

    def __post_init__(self) -> None:
        """
        Check the columns.

        Raises:
            ValueError: Columns differ in length, or hold numbers outside their range.
        """
        rows, labels = len(self.predicted), len(self.labels)
        columns = (self.published, self.predicted, self.confidence, self.inclusion, self.first, self.truth, self.count)
        shapes = {one.shape for one in columns}
        if shapes != {(rows,)}:
            msg = f"the columns of a sample differ in length: {sorted(shapes)}"
            raise ValueError(msg)
        # Each condition is written so that NaN is refused.
        if rows and not (self.inclusion.min() >= LEAST_INCLUSION and self.inclusion.max() <= 1):
            msg = f"an inclusion probability lies outside {LEAST_INCLUSION:g} to 1; no draw gives it"
            raise ValueError(msg)
        if rows and not (self.confidence.min() >= 0 and self.confidence.max() <= 1):
            msg = "a confidence lies outside 0 to 1"
            raise ValueError(msg)
        if rows and not (self.predicted.min() >= 0 and self.predicted.max() < labels):
            msg = f"a predicted label lies outside 0 to {labels - 1}"
            raise ValueError(msg)
        if rows and not all(one.min() >= NO_ANSWER and one.max() <= labels for one in (self.first, self.truth)):
            msg = f"an answer lies outside {NO_ANSWER} to {labels}"
            raise ValueError(msg)
        if rows and self.count.min() < 1:
            msg = "a row of a sample stands for no decision"
            raise ValueError(msg)

    def __len__(self) -> int:
        """Count the drawn decisions."""
        return int(self.count.sum())

    def decisions(self, mask: Bools) -> int:
        """Count the drawn decisions in the rows of a mask."""
        return int(self.count[mask].sum())

    @property
    def design(self) -> Floats:
        """The number of decisions of the stream that each row stands for: `count / inclusion`, [n]."""
        found: Floats = self.count / self.inclusion
        return found

    @property
    def answered(self) -> Bools:
        """Whether a person has answered, [n]."""
        found: Bools = self.first != NO_ANSWER
        return found

    @property
    def settled(self) -> Bools:
        """Whether the answer counts as the truth, [n]."""
        found: Bools = self.answered & (self.truth != NO_ANSWER)
        return found

    @property
    def contradicted(self) -> Bools:
        """Whether the first answer differs from the model's label, [n]."""
        found: Bools = self.answered & (self.first != self.predicted)
        return found

    @property
    def none(self) -> "Sample":
        """No rows, of the same labels."""
        return self.where(np.zeros(len(self.count), dtype=np.bool_))

    def where(self, mask: Bools) -> "Sample":
        """Return the rows of the mask."""
        return Sample(
            labels=self.labels,
            published=self.published[mask],
            predicted=self.predicted[mask],
            confidence=self.confidence[mask],
            inclusion=self.inclusion[mask],
            first=self.first[mask],
            truth=self.truth[mask],
            count=self.count[mask],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """
    All decisions of the window, drawn for people or not.

    Attributes:
        decisions: Number of decisions by destination (`tagged`, then `review`) and predicted label, [2, K].
        probabilities: The model's probabilities of each label, summed over these decisions, [2, K, K].
    """

    decisions: Floats
    probabilities: Floats


def expected_shares(label: int, rows: Sample) -> Floats:
    """Return the shares of the true labels that the model expects among its decisions for a label, by confidence alone, [K]."""
    labels = len(rows.labels)
    design = rows.design
    sure = float(design @ rows.confidence / design.sum()) if len(rows) else 1 / labels
    found = np.full(labels, (1 - sure) / max(1, labels - 1))
    found[label] = sure
    return found


def quantiles(values: Floats, counts: Ints, at: Floats) -> Floats:
    """
    Return quantiles of values with counts. Each quantile is one of the values: of two neighbours, the lower one.

    Args:
        values: The values, in any order, [n].
        counts: How often each value occurs, at least 1, [n].
        at: The shares of the values below each quantile, 0 to 1, [q].

    Returns:
        The quantiles, [q].

    >>> quantiles(np.array([0.2, 0.1, 0.9]), np.array([1, 3, 1]), np.array([0.5, 0.75, 1.0])).tolist()
    [0.1, 0.2, 0.9]
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[order])
    places = np.searchsorted(reached, np.floor(at * (reached[-1] - 1)), side="right")
    found: Floats = values[order][places]
    return found
