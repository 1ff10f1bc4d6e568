"""Compare a rebuilt model with the shipped model: is their difference on the same rows larger than the difference between two seeds?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tagstream.model_export.compare.evaluation_record import Measured
from tagstream.model_export.onnx import ngrams

# Twice the difference in weighted F1 between two seeds of one recipe (docs/evaluation.md).
SEED_NOISE = {"holdout": 0.01, "corpus_test": 0.01}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """
    The weighted F1 of the rebuilt model and of the shipped model, on one part of the data.

    >>> print(Reproduced(part="holdout", rebuilt=0.921, shipped=0.93, noise=0.01))
    holdout: 0.921 rebuilt, 0.930 shipped, -0.009: within what seeds alone move (0.010)
    """

    part: str
    rebuilt: float
    shipped: float
    noise: float

    @property
    def holds(self) -> bool:
        """True if the rebuilt model is at most `noise` worse than the shipped model."""
        return self.rebuilt >= self.shipped - self.noise

    def __str__(self) -> str:
        difference = self.rebuilt - self.shipped
        says = "worse than" if not self.holds else "better than" if difference > self.noise else "within"
        return (
            f"{self.part}: {self.rebuilt:.3f} rebuilt, {self.shipped:.3f} shipped, {difference:+.3f}: {says} what seeds alone "
            f"move ({self.noise:.3f})"
        )


def same_file(rebuilt: bytes, shipped: bytes, labels: Sequence[str]) -> str:
    """
    Compare two model files. A different linear algebra library may round the n-grams differently.

    Args:
        rebuilt: The ONNX file of the rebuilt model.
        shipped: The ONNX file of the shipped bundle.
        labels: The labels of both models, in order.

    Returns:
        A sentence for people.
    """
    if rebuilt == shipped:
        return "To the byte."
    if ngrams.without(rebuilt, labels) == ngrams.without(shipped, labels):
        return "Its network to the byte; not so the n-grams beside it."
    return "Not to the byte."


def reproduced(measured: Measured, shipped: str) -> Iterator[Reproduced]:
    """
    Compare the bundle of a record with the shipped bundle, part by part.

    Args:
        measured: The record.
        shipped: The name of the shipped bundle in the record.

    Raises:
        RuntimeError: No model of the record has this name.
    """
    other = next(model for model in measured.others if model.name == shipped)
    for part, found in measured.bundle.parts.items():
        yield Reproduced(
            part=part,
            rebuilt=found.evaluation.weighted_f1,
            shipped=other.parts[part].evaluation.weighted_f1,
            noise=SEED_NOISE[part],
        )
