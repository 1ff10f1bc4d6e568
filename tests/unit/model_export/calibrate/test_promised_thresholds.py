"""Thresholds of a bundle that publishes only what its rows certify."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr

from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.promise.promise import Promise, PromiseKind
from tagstream.model_export.calibrate.joint import DecidedRows
from tagstream.model_export.calibrate.promised_thresholds import RISK, promised

LABELS = ("a", "b", "c")
ROWS = st.lists(st.tuples(st.integers(0, 2), st.floats(0.3, 1.0), st.integers(0, 9)), max_size=120)


def decided(rows: list[tuple[int, float, int]], mistakes: int) -> DecidedRows:
    """Rows as predicted label, confidence and a die that says whether it is right."""
    return DecidedRows(
        said=np.array([said for said, _, _ in rows], dtype=np.int64),
        confidence=np.array([round(confidence, 4) for _, confidence, _ in rows], dtype=np.float64),
        right=np.array([die >= mistakes for _, _, die in rows], dtype=np.bool_),
        weight=np.ones(len(rows)),
    )


@pytest.mark.parametrize("kind", ["overall", "per-label", "both"])
@given(rows=ROWS, mistakes=st.integers(0, 3), precision=st.sampled_from([0.6, 0.9, 0.95]))
@settings(deadline=None, max_examples=15)
def test_nothing_is_published_that_the_rows_do_not_certify(
    kind: PromiseKind, rows: list[tuple[int, float, int]], mistakes: int, precision: float
) -> None:
    """Whatever rows there are, none at all among them: a label that is not always asked about has an exact proof behind it."""
    given_rows = decided(rows, mistakes)
    found = promised(given_rows, LABELS, Promise(kind=kind, precision=precision, floor=0.5), certified_only=True)
    below = np.array([found.thresholds[label].confidence for label in LABELS])
    shown = given_rows.confidence >= below[given_rows.said]
    if kind == "per-label":
        for number, label in enumerate(LABELS):
            own = shown & (given_rows.said == number)
            proved = (
                found.thresholds[label].certified and bdtr((own & ~given_rows.right).sum(), own.sum(), 1 - precision) <= RISK
            )
            assert proved or below[number] == ALWAYS_ASK
    else:
        proved = found.threshold.certified and bdtr((shown & ~given_rows.right).sum(), shown.sum(), 1 - precision) <= RISK
        assert proved or (below == ALWAYS_ASK).all()
