"""
Makes a larger bundle for `benchmarks.second_bundle`: the frozen adviser of the shipped training, all-mpnet-base-v2, with a regression as its head.

    TAGSTREAM_DATA=FOLDER TAGSTREAM_REAL=FOLDER python -m benchmarks.larger OUT    # needs torch and the adviser's packages

It learns from the shipped bundle's training rows, and is calibrated on a quarter of the same real titles. The regression is the vectors' part of the
adviser's (`train/kernel.py`), on landmarks instead of all rows, so that it fits into a bundle. There is no gate for strange texts.
"""

import argparse
import logging
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.data import splits
from tagstream.model_export.data.real import REAL
from tagstream.model_export.data.row import Row
from tagstream.model_export.make import recipe, steps
from tagstream.model_export.make.imported_classifier import Imported
from tagstream.model_export.train import advisor, batches
from tagstream.model_export.train.advisor import AdviceRecipe, AdviserEncoder
from tagstream.model_export.train.kernel import Vectors
from tagstream.model_export.train.pretrained import ByMask, Pretrained

LANDMARKS, SEED, THREADS = 4096, 20261202, 2
# The import runs every title some ten times; a quarter of them is enough for a temperature.
CALIBRATION_STEP = 4
# Keeps the normal equations solvable where landmarks nearly repeat each other.
JITTER = 1e-3


class Regression(nn.Module):
    """Kernel ridge regression on a label's indicator: the scores of unit vectors, [texts, labels]."""

    landmarks: Tensor
    coefficients: Tensor
    shares: Tensor

    def __init__(self, landmarks: Tensor, coefficients: Tensor, shares: Tensor, sharpness: float) -> None:
        """
        Take a fit.

        Args:
            landmarks: Unit vectors, [landmarks, width].
            coefficients: Of each landmark and label, [landmarks, labels].
            shares: The score of a text that resembles no landmark, [labels].
            sharpness: As in `KernelRecipe`.
        """
        super().__init__()
        self.register_buffer("landmarks", landmarks)
        self.register_buffer("coefficients", coefficients)
        self.register_buffer("shares", shares)
        self.sharpness = sharpness

    def near(self, vectors: Tensor) -> Tensor:
        """Return the kernel of vectors and landmarks, [texts, landmarks]."""
        return torch.exp(-2 * self.sharpness * (1 - vectors @ self.landmarks.T))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the scores, [texts, labels]."""
        return self.near(vectors) @ self.coefficients + self.shares


class Classifier(nn.Module):
    """The adviser's encoder and a regression, with the call of a classifier of transformers."""

    def __init__(self, encoder: nn.Module, regression: Regression) -> None:
        """Take both parts."""
        super().__init__()
        self.encoder = encoder
        self.regression = regression

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Return the scores as `logits`, [texts, labels]."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        summed = (states * attention_mask[:, :, None].to(states.dtype)).sum(dim=1)
        return SimpleNamespace(logits=self.regression(nn.functional.normalize(summed, dim=-1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Given(Imported):
    """
    A classifier that is in memory, on its way into a bundle.

    Attributes:
        classifier: The classifier.
    """

    classifier: Pretrained

    def original(self) -> Pretrained:
        """Return the classifier."""
        return self.classifier


def fitted(vectors: Vectors, rows: list[Row], labels: tuple[str, ...], given: AdviceRecipe, landmarks: int) -> Regression:
    """
    Fit a regression.

    Args:
        vectors: Unit vectors of the rows, [rows, width].
        rows: The rows to learn from.
        labels: The labels, in order.
        given: Has the weights of sources and the numbers of the kernel; that of words is not used.
        landmarks: The most landmarks, drawn from the rows.
    """
    known = torch.from_numpy(vectors)
    weights = torch.tensor([given.source_weights.get(row.source, 1.0) for row in rows])
    weights = weights / weights.mean()
    targets = nn.functional.one_hot(torch.tensor([labels.index(row.tag) for row in rows]), len(labels)).float()
    shares = (targets * weights[:, None]).sum(dim=0) / weights.sum()
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))[:landmarks]
    found = Regression(known[drawn], torch.zeros(len(drawn), len(labels)), shares, given.kernel.sharpness)
    near = found.near(known)
    equations = (near.T * weights) @ near + given.kernel.ridge * found.near(known[drawn]) + JITTER * torch.eye(len(drawn))
    aims = near.T @ ((targets - shares) * weights[:, None])
    found.coefficients = torch.linalg.solve(equations.double(), aims.double()).float()
    return found


def encoder_of() -> AdviserEncoder:
    """The adviser's encoder."""
    found = advisor.find()
    if found is None:
        sys.exit(f"the adviser is not installed. Next: pip install {' '.join(advisor.REQUIREMENTS)}.")
    return found


def main() -> None:
    """Make the bundle, and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder of the bundle")
    folder = parser.parse_args().out
    data, real = (os.environ.get(f"TAGSTREAM_{name}") for name in ("DATA", "REAL"))
    if not data or not real:
        sys.exit("no texts: TAGSTREAM_DATA or TAGSTREAM_REAL names no folder. Next: name both folders (CONTRIBUTING.md).")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(THREADS)
    rows = splits.load(Path(data), real_folder=Path(real))
    learned = list(rows.train)
    # The first call may change the encoder's precision, and the bundle gets the file's.
    vectors = advisor.embed(encoder_of(), [row.text for row in learned])
    regression = fitted(vectors, learned, rows.labels, AdviceRecipe(), LANDMARKS)
    encoder = encoder_of()
    classifier = Pretrained(
        name=advisor.NAME,
        network=ByMask(Classifier(encoder.network, regression), advisor.PADDING).eval(),
        tokenizer=batches.load_tokenizer(encoder.tokenizer),
        labels=rows.labels,
        max_length=batches.MAX_LENGTH,
        runtime=f"torch {torch.__version__}",
    )
    source = Given(place=advisor.NAME, classifier=classifier, against_eight_bits="a second model has time")
    titles = tuple(row for row in rows.calibration if row.source == REAL)[::CALIBRATION_STEP]
    parts = replace(rows, calibration=titles, holdout=(), corpus_test=(), unlabelled=())
    made = steps.make(folder, recipe.imported(source, parts, Promise(), labels=rows.labels, name="larger"))
    print(made.as_text())


if __name__ == "__main__":
    main()
