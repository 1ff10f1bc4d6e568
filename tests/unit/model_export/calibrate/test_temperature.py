"""Temperature, calibration error and threshold on numbers whose answers are known."""

import numpy as np
import pytest

from tagstream.model_export.calibrate import certificate, thresholds
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.temperature import calibration_error, fit_temperature, level_sources, log_loss


def overconfident(temperature: float, rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for the labels drawn from them."""
    generator = np.random.default_rng(5)
    honest = generator.normal(size=(rows, 4)) * 2
    shares = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    targets = np.array([generator.choice(4, p=share) for share in shares])
    return honest * temperature, targets


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_that_spoiled_the_logits_is_found(temperature: float) -> None:
    """Logits that were scaled by T get a temperature of about T."""
    logits, targets = overconfident(temperature)
    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.08)


def test_temperature_lowers_the_loss() -> None:
    """Temperatures nearby have a larger loss."""
    logits, targets = overconfident(2.0)
    best = fit_temperature(logits, targets)
    losses = [log_loss(logits, targets, value) for value in (best * 0.8, best, best * 1.25)]
    assert losses[1] == min(losses)


def test_a_large_source_does_not_drown_a_small_one() -> None:
    """With levelled sources the temperature lies between those of two sources; unweighted, the large one decides."""
    (many, many_targets), (few, few_targets) = overconfident(3.0, 4000), overconfident(1.0, 200)
    logits, targets = np.concatenate([many, few]), np.concatenate([many_targets, few_targets])
    level = level_sources(["many"] * 4000 + ["few"] * 200)
    assert level[:4000].sum() == pytest.approx(level[4000:].sum()) == pytest.approx(2100)
    assert fit_temperature(logits, targets, level) < 0.9 * fit_temperature(logits, targets)


def test_no_rows_is_an_error_with_a_next_step() -> None:
    """Without calibration rows there is no temperature."""
    with pytest.raises(CalibrationError, match="Next:"):
        fit_temperature(np.zeros((0, 4)), np.zeros(0, dtype=np.int64))


def test_calibration_error_is_nought_where_confidence_is_right() -> None:
    """Three of four right at 0.75 is perfect."""
    assert calibration_error([0.75] * 4, [True, True, True, False]) == 0.0


def test_threshold_is_the_smallest_that_keeps_the_promise() -> None:
    """The one wrong row sits at 0.6: everything above it may be published, and the next confidence is 0.7."""
    confidences, correct = [0.9, 0.8, 0.7, 0.6, 0.5], [True, True, True, False, True]
    found = thresholds.choose_threshold(confidences, correct, target_precision=1.0)
    assert (found.confidence, found.precision, found.coverage, found.rows) == (0.7, 1.0, 0.6, 5)


def test_threshold_keeps_rows_that_tie() -> None:
    """Rows of equal confidence are published together, so they are counted together."""
    found = thresholds.choose_threshold([0.9, 0.9, 0.8, 0.8], [True, True, True, False], target_precision=0.75)
    assert (found.confidence, found.coverage) == (0.8, 1.0)


def test_lower_target_never_raises_the_threshold() -> None:
    """Asking for less publishes more."""
    generator = np.random.default_rng(3)
    confidences = generator.uniform(0.3, 1, 500)
    correct = (generator.uniform(size=500) < confidences).tolist()
    found = [thresholds.choose_threshold(confidences.tolist(), correct, target_precision=p) for p in (0.7, 0.8, 0.9)]
    assert found[0].confidence <= found[1].confidence <= found[2].confidence


def test_promise_that_cannot_be_kept_is_refused() -> None:
    """The most confident row is wrong: no threshold helps."""
    with pytest.raises(CalibrationError, match="no confidence reaches"):
        thresholds.choose_threshold([0.99, 0.5], [False, True], target_precision=0.9)


@pytest.mark.parametrize(("hits", "rows", "bound"), [(100, 100, 0.9705), (0, 10, 0.0), (98, 100, 0.9384)])
def test_lower_bound_is_clopper_pearson(hits: int, rows: int, bound: float) -> None:
    """Values from tables of the exact one-sided binomial bound."""
    assert certificate.lower_bound(hits, rows) == pytest.approx(bound, abs=5e-4)
