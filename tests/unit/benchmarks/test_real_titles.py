"""`python -m benchmarks.real_titles`: how far readers agree, and how two bundles are compared."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from benchmarks.real_titles import Decided, agreement, kappa, pair
from tagstream.model_export.bundle.model import predict
from tagstream.model_export.calibrate.intervals import confusion
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.data.real import ReaderLabel, RealLine
from tagstream.model_export.data.row import Row


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_kappa_is_that_of_the_books(pairs: list[tuple[int, int]]) -> None:
    """Agreement beyond chance is what scikit-learn finds; where both gave one label alone there is none to speak of."""
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    found = float(kappa(confusion(first, second, 3)))
    if len({*first, *second}) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(cohen_kappa_score(first, second))


def line(family: str, first: tuple[str, ...], second: tuple[str, ...]) -> RealLine:
    """A row that both readers read, settled as the first said."""
    readings = (ReaderLabel(reader="first", tags=first), ReaderLabel(reader="second", tags=second, doubtful=True))
    return RealLine(digest="0" * 64, tag=first[0], family=family, reader="both", readings=readings)


def test_agreement_counts_labels_and_second_labels() -> None:
    """A row whose readers name one label first and share another differs in the label, and has one in common."""
    told = agreement(
        [
            line("talk", ("mlops",), ("mlops",)),
            line("talk", ("mlops", "other"), ("other",)),
            line("paper", ("computer-vision",), ("other",)),
            line("paper", ("other",), ("other",)),
        ]
    )
    assert "| all | 4 | 0.500 " in told
    assert "| 0.750 | 0, 4, 0 |" in told
    assert "| talk | 2 | 0.500 " in told
    assert "The settled label is the first reader's in 4 rows and the second one's in 2." in told


def test_two_bundles_are_compared_row_by_row() -> None:
    """The row that the new bundle alone has right stands against that of the old one; what is published is counted for each."""

    def found(*said: tuple[str, bool]) -> list[Decided]:
        rows = [Row(text=tag, tag=tag, source="real", topic="t") for tag in ("mlops", "other", "other")]
        return [
            (
                row,
                predict([4.0 * (label == tag) for label in LABELS], labels=LABELS, temperature=1.0, tokens=3, truncated=False),
                public,
            )
            for row, (tag, public) in zip(rows, said, strict=True)
        ]

    new = found(("mlops", True), ("other", True), ("mlops", True))
    old = found(("mlops", True), ("mlops", True), ("mlops", False))
    told = pair("all", new, old)
    assert told.startswith("| all | 3 | +")
    assert told.endswith("| 1 to 0, p 1 | 2, 1 | 3, 2 |")
