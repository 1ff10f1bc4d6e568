"""Intervals: against the textbook, against a bootstrap over rows, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tagstream.model_export.calibrate import intervals
from tagstream.model_export.measure import evaluate


@pytest.mark.parametrize(
    ("hits", "rows", "expected"),
    [
        (9, 10, (0.5958, 0.9821)),
        (0, 20, (0.0, 0.1611)),
        (20, 20, (0.8389, 1.0)),
        (0, 0, (0.0, 1.0)),
        (500, 1000, (0.4691, 0.5309)),
    ],
)
def test_wilson_is_the_textbooks(hits: int, rows: int, expected: tuple[float, float]) -> None:
    """The interval is the textbook's, also where all rows, no rows or no hits are given."""
    assert intervals.wilson(hits, rows) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("hits", "rows"), [(3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_share(hits: int, rows: int) -> None:
    """More hits than rows, or fewer than none, are refused."""
    with pytest.raises(ValueError, match="no share"):
        intervals.wilson(hits, rows)


@pytest.fixture
def rows() -> tuple[intervals.Ints, intervals.Ints]:
    """Three hundred rows of three labels, three quarters of them right."""
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 3, 300)
    found = np.where(generator.random(300) < 0.75, truth, generator.integers(0, 3, 300))
    return truth, found


def test_f1_from_counts_is_scikit_learns(rows: tuple[intervals.Ints, intervals.Ints]) -> None:
    """F1 of every label and the weighted F1 equal scikit-learn's; an absent label has F1 0 and no weight."""
    truth, found = rows
    counts = intervals.confusion(truth, found, 4)
    assert intervals.class_f1(counts) == pytest.approx(f1_score(truth, found, average=None, labels=range(4), zero_division=0))
    assert float(intervals.weighted_f1(counts)) == pytest.approx(f1_score(truth, found, average="weighted"))


def test_redrawing_cells_is_redrawing_rows(rows: tuple[intervals.Ints, intervals.Ints]) -> None:
    """Redrawing cells gives the interval of a bootstrap over rows, up to chance."""
    truth, found = rows
    by_rows = evaluate.bootstrap_interval(truth, found)
    by_cells = intervals.bootstrap(intervals.confusion(truth, found, 3), intervals.weighted_f1)
    assert by_cells == pytest.approx(by_rows, abs=0.01)
    assert by_cells == intervals.bootstrap(intervals.confusion(truth, found, 3), intervals.weighted_f1)


def test_every_label_has_an_interval_around_its_f1(rows: tuple[intervals.Ints, intervals.Ints]) -> None:
    """Every label's F1 lies in its interval, and the interval of a rare label is wider."""
    truth, found = rows
    truth, found = np.concatenate([truth, [3] * 5]), np.concatenate([found, [3, 3, 3, 0, 1]])
    counts = intervals.confusion(truth, found, 4)
    bounds = intervals.class_intervals(counts)
    assert all(low <= f1 <= high for f1, (low, high) in zip(intervals.class_f1(counts), bounds, strict=True))
    widths = [high - low for low, high in bounds]
    assert widths[3] > 2 * max(widths[:3])


def test_no_rows_have_no_interval() -> None:
    """An interval without rows is refused."""
    with pytest.raises(ValueError, match="needs rows"):
        intervals.bootstrap(np.zeros((2, 2), dtype=np.int64), intervals.weighted_f1)


def test_holm_never_lowers_and_keeps_the_order() -> None:
    """Holm's correction lowers no p-value and keeps their order."""
    asked = [0.5, 0.001, 0.04, 0.04, 0.9]
    corrected = intervals.holm(asked)
    assert all(after >= before for before, after in zip(asked, corrected, strict=True))
    assert corrected == pytest.approx([1.0, 0.005, 0.16, 0.16, 1.0])
    assert intervals.holm([]) == []
