"""A model that fails at certain titles: by a native abort, by an exception, by memory without end, or by hanging."""

import os
from collections.abc import Sequence

from tagstream.model_export.bundle.model import Prediction
from tagstream.stream.decide.pipeline import Decider
from tests.faults.worker.stub import MODEL, THRESHOLD, StubClassifier

ABORT = "abort-the-model"
RAISE = "raise-in-the-model"
DEVOUR = "devour-the-memory"
# More than any container of a worker has, in parts that a machine grants.
PARTS, PART_BYTES = 200, 16 * 1024 * 1024


class PoisonableClassifier(StubClassifier):
    """The stub, except for three words."""

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        Predict as the stub does.

        Raises:
            ValueError: For one word; it quotes the text, as libraries do.
            MemoryError: For another, where the process may not have that much.
        """
        for text in texts:
            if ABORT in text:
                os.abort()
            if RAISE in text:
                raise ValueError(text)
            if DEVOUR in text:
                _ = [b"x" * PART_BYTES for _ in range(PARTS)]
        return super().classify(texts)


def poisonable_decider() -> Decider:
    """The decider of this model."""
    return Decider(classifier=PoisonableClassifier(), model=MODEL, threshold=THRESHOLD)
