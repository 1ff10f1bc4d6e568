"""Reliability and risk by coverage on confidences whose figures can be counted by hand."""

import pytest

from tagstream.model_export.measure import curves


def test_bins_hold_the_rows_of_their_confidence() -> None:
    """An edge belongs to the bin that begins there, and 1.0 to the last."""
    found = curves.reliability([0.3, 0.39, 0.4, 1.0], [True, False, True, True])
    assert [(each.low, each.high, each.rows, each.right) for each in found] == [
        (0.3, 0.4, 2, 0.5),
        (0.4, 0.5, 1, 1.0),
        (0.9, 1.0, 1, 1.0),
    ]
    assert found[0].confidence == pytest.approx(0.345)
    assert found[0].interval[0] < 0.5 < found[0].interval[1]


def test_rows_of_one_confidence_are_answered_together() -> None:
    """No threshold could part them, whatever their order."""
    one = curves.risk_coverage([0.9, 0.9, 0.5, 0.5], [True, False, False, True])
    assert one == curves.risk_coverage([0.9, 0.5, 0.9, 0.5], [False, True, True, False])
    assert [(point.coverage, point.risk) for point in one.points] == [(0.5, 0.5), (1.0, 0.5)]


def test_area_is_smaller_where_the_surest_rows_are_right() -> None:
    """The same errors cost less where they are known to be unsure."""
    confidences = [0.9, 0.8, 0.7, 0.6]
    wise = curves.risk_coverage(confidences, [True, True, True, False]).area
    rash = curves.risk_coverage(confidences, [False, True, True, True]).area
    assert (wise, rash) == (pytest.approx(0.0625), pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, abs=1e-6))


def test_a_long_curve_keeps_its_ends_and_its_area() -> None:
    """Points are thinned out, the area is of all of them."""
    confidences = [1 - place / 5000 for place in range(5000)]
    correct = [place % 7 != 0 for place in range(5000)]
    thin, whole = (curves.risk_coverage(confidences, correct, points) for points in (50, 5000))
    assert len(thin.points) == 50
    assert (thin.points[0], thin.points[-1], thin.area) == (whole.points[0], whole.points[-1], whole.area)
    assert thin.points[-1].risk == pytest.approx(1 - sum(correct) / 5000)


@pytest.mark.parametrize(("confidences", "correct"), [([], []), ([0.5], [])])
def test_no_rows_make_no_curve(confidences: list[float], correct: list[bool]) -> None:
    """And neither do other rows."""
    with pytest.raises(ValueError, match="no curve"):
        curves.risk_coverage(confidences, correct)
