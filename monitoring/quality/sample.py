"""What was drawn for people, what they answered, and how much of the stream each answer stands for.

A decision is *published* (it went to `tagged`) or it went to `review`. People see a drawn part of the first kind, the audits,
and all of the second kind, of which a part is not answered yet. A person slips now and then, and a model that is right more
often than a person would look worse than it is. So an audit answer that contradicts the model needs a second opinion; until it
has one, the decision is *unsettled*.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NO_ANSWER = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """
    The drawn decisions of one window, answered or not; n rows.

    Attributes:
        labels: The labels of the bundle, K of them.
        published: Whether the decision went to `tagged`, [n].
        predicted: The label that the model gave, 0 to K - 1, [n].
        probabilities: The model's probabilities, [n, K].
        inclusion: The probability with which the decision was drawn, over 0 to 1, [n].
        first: The first person's answer: 0 to K - 1, K for "not about this subject", `NO_ANSWER` without one, [n].
        truth: The settled answer in the same numbers; `NO_ANSWER` without an answer, or where opinions are not settled, [n].
    """

    labels: tuple[str, ...]
    published: Bools
    predicted: Ints
    probabilities: Floats
    inclusion: Floats
    first: Ints
    truth: Ints

    def __post_init__(self) -> None:
        """
        Look for rows that no estimate could be right about.

        Raises:
            ValueError: Columns differ in length, or hold numbers outside their range.
        """
        rows, count = len(self.predicted), len(self.labels)
        shapes = {one.shape for one in (self.published, self.predicted, self.inclusion, self.first, self.truth)}
        if shapes != {(rows,)} or self.probabilities.shape != (rows, count):
            msg = f"the columns of a sample differ in length: {sorted(shapes)} beside probabilities {self.probabilities.shape}"
            raise ValueError(msg)
        if rows and not (self.inclusion.min() > 0 and self.inclusion.max() <= 1):
            msg = "an inclusion probability lies outside 0 to 1; a decision that could not be drawn stands for nothing"
            raise ValueError(msg)
        if rows and not (self.predicted.min() >= 0 and self.predicted.max() < count):
            msg = f"a predicted label lies outside 0 to {count - 1}"
            raise ValueError(msg)
        if rows and not all(one.min() >= NO_ANSWER and one.max() <= count for one in (self.first, self.truth)):
            msg = f"an answer lies outside {NO_ANSWER} to {count}"
            raise ValueError(msg)

    def __len__(self) -> int:
        """Count the drawn decisions."""
        return len(self.predicted)

    @property
    def confidence(self) -> Floats:
        """The model's probability of the label that it gave, [n]."""
        found: Floats = self.probabilities[np.arange(len(self)), self.predicted]
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
        """Whether the first answer is another than the model's, [n]."""
        found: Bools = self.answered & (self.first != self.predicted)
        return found

    def where(self, mask: Bools) -> "Sample":
        """The rows of the mask."""
        return Sample(
            labels=self.labels,
            published=self.published[mask],
            predicted=self.predicted[mask],
            probabilities=self.probabilities[mask],
            inclusion=self.inclusion[mask],
            first=self.first[mask],
            truth=self.truth[mask],
        )


def settle(predicted: int, opinions: Sequence[int]) -> int:
    """
    The answer that two of the model and its reviewers agree on; `NO_ANSWER` while no two do.

    Opinions are those of different people, in the order in which they were given. A first opinion that agrees with the model
    settles at once, so a second person is asked only where the first one contradicts.

    >>> settle(1, [1]), settle(1, [2]), settle(1, [2, 2]), settle(1, [2, 1]), settle(1, [2, 0]), settle(1, [2, 0, 2])
    (1, -1, 2, 1, -1, 2)
    """
    votes = [predicted]
    for opinion in opinions:
        if opinion in votes:
            return opinion
        votes.append(opinion)
    return NO_ANSWER
