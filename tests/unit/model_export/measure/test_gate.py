"""The gate for foreign texts: shares that can be counted by hand."""

from tagstream.model_export.bundle.model import OodLimits, Prediction
from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.measure import gate
from tests.replacing import replace

THRESHOLDS = {"one": 0.9, "two": 0.5}


def predicted(label: str, confidence: float, energy: float) -> Prediction:
    """A prediction of this energy."""
    return Prediction(
        label=label, confidence=confidence, probabilities={label: confidence}, energy=energy, tokens=5, truncated=False
    )


def test_the_gate_says_what_it_sends_away_wrongly_and_rightly() -> None:
    """One of four ordinary rows is strange; of four foreign rows one is strange, and one more is unsure."""
    ordinary = {
        "holdout": [predicted("one", 0.9, energy) for energy in (-3.0, -2.0, -1.0, -0.9)],
        "calibration": [predicted("one", 0.9, -3.0)],
    }
    foreign = [
        predicted("one", 0.95, -0.5),
        predicted("one", 0.6, -3.0),
        predicted("two", 0.6, -3.0),
        predicted("one", 0.95, -3.0),
    ]
    found = gate.count(ordinary, foreign, thresholds=THRESHOLDS, limits=OodLimits(energy=-1.0))
    assert found.false_rejection == {"holdout": 0.25, "calibration": 0.0}
    assert (found.not_ml_rows, found.not_ml_rejection, found.not_ml_review) == (4, 0.25, 0.5)
    said = found.as_text()
    assert (found.ood_energy, found.ood_unfamiliar) == (-1.0, None)
    assert "energy above -1.0000\n" in said
    assert "25.00% of holdout, 0.00% of calibration" in said
    assert "of 4 rows that are not about machine learning: 25.00% called strange, 50.00% to a person for any reason" in said


def test_unfamiliar_words_count_like_energy() -> None:
    """A bundle with both limits calls a text strange that exceeds either, and the report names both."""
    read, unread = predicted("one", 0.95, -3.0), replace(predicted("one", 0.95, -3.0), unfamiliar=0.5)
    limits = OodLimits(energy=-1.0, unfamiliar=0.4)
    found = gate.count(
        {"holdout": [read, unread]}, [unread, predicted("one", 0.95, -0.5)], thresholds=THRESHOLDS, limits=limits
    )
    assert (found.false_rejection["holdout"], found.not_ml_rejection) == (0.5, 1.0)
    assert "energy above -1.0000 or share of unfamiliar words above 0.4000" in found.as_text()


def test_strangeness_counts_like_energy() -> None:
    """A bundle with a gate calls a text strange that exceeds its limit, and the report names it."""
    strange = replace(predicted("one", 0.95, -3.0), strangeness=1.5)
    found = gate.count(
        {"holdout": [strange, replace(strange, strangeness=1.25)]},
        [],
        thresholds=THRESHOLDS,
        limits=OodLimits(energy=-1.0, strangeness=1.25),
    )
    assert found.false_rejection["holdout"] == 0.5
    assert "energy above -1.0000 or strangeness above 1.2500" in found.as_text()


def test_only_what_is_not_machine_learning_is_foreign() -> None:
    """Unlabelled titles of training rows are not foreign."""
    strange, title = (Row(text=tag, tag=tag, source="corpus", topic="t") for tag in (NOT_ML, "mlops"))
    splits = Splits(
        train=(), calibration=(), holdout=(), corpus_test=(), unlabelled=(strange, title), near_duplicates_removed=0
    )
    assert gate.foreign(splits) == [strange]


def test_without_foreign_rows_there_is_no_share_of_them() -> None:
    """Without foreign rows the shares are None, not zero."""
    found = gate.count({"holdout": [predicted("one", 0.9, -3.0)]}, [], thresholds=THRESHOLDS, limits=OodLimits(energy=-1.0))
    assert (found.not_ml_rows, found.not_ml_rejection, found.not_ml_review) == (0, None, None)
    assert "machine learning" not in found.as_text()
