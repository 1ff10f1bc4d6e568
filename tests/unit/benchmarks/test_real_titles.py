"""`python -m benchmarks.real_titles --agreement`: the figures that the datasheet cites."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from benchmarks.real_titles import agreement, kappa
from tagstream.model_export.calibrate.intervals import confusion
from tagstream.model_export.data.real import ReaderLabel, RealLine


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
