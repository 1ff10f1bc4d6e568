"""What is said of calibration rows by networks that have not seen their labels, where the network of the bundle has."""

from collections.abc import Sequence
from dataclasses import dataclass

from model_export.bundle.prediction import Prediction, predict
from model_export.calibrate.temperature import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    One entry a calibration row.

    Attributes:
        logits: Shape (rows, labels).
        tokens: The number of tokens that the network reads.
        truncated: Whether the text has more.
        unfamiliar: The share of words, 0 to 1, that none of the texts has which the row's network has seen.
    """

    logits: Floats
    tokens: Sequence[int]
    truncated: Sequence[bool]
    unfamiliar: Sequence[float]

    def predictions(self, labels: Sequence[str], temperature: float, offsets: Sequence[float] = ()) -> list[Prediction]:
        """The rows as a bundle with this temperature, and these offsets of a prior, would predict them."""
        return [
            predict(
                logits.tolist(),
                labels=labels,
                temperature=temperature,
                offsets=offsets,
                tokens=tokens,
                truncated=truncated,
                unfamiliar=unfamiliar,
            )
            for logits, tokens, truncated, unfamiliar in zip(
                self.logits, self.tokens, self.truncated, self.unfamiliar, strict=True
            )
        ]
