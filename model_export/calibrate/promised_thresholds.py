"""Choose the thresholds of a bundle for its promise: about each label, about all published decisions together, or a review budget."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from tagstream.model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold, Threshold, Trade
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.calibrate import joint
from tagstream.model_export.calibrate.certificate import BOUND_LEVEL
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.joint import DecidedRows
from tagstream.model_export.calibrate.prices import PricedRows, candidates, choose
from tagstream.model_export.calibrate.temperature import Floats
from tagstream.model_export.calibrate.thresholds import choose_threshold, choose_thresholds, label_threshold

# The precisions, besides the promised precision, for which the published share is listed.
TRADE_TARGETS = (0.80, 0.85, 0.90, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99)
RISK = 1.0 - BOUND_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """
    The thresholds for a promise.

    Attributes:
        threshold: The threshold of all labels together.
        thresholds: The threshold of each label.
        trade: The published share at other target precisions.
    """

    threshold: Threshold
    thresholds: dict[str, LabelThreshold]
    trade: tuple[Trade, ...]


def promised(
    decided: DecidedRows,
    labels: Sequence[str],
    asked: Promise,
    *,
    certified_only: bool = False,
    level: float = RISK,
) -> Promised:
    """
    Choose and certify the thresholds of a bundle.

    Args:
        decided: The calibration rows. Each row was scored by a network that was not trained on the row.
        labels: The labels, in the order of the indices in `decided`.
        asked: The promise.
        certified_only: If True, all uncertified events go to people. If False, an uncertified threshold is set by the observed precision.
        level: The error level of the certificates; less than `RISK` where the rows are looked at several times (`certificate.risk_of`).

    Raises:
        CalibrationError: `certified_only` is False, and no threshold reaches the precision, neither certified nor observed.
    """
    trade = _trade(decided, labels, asked, level)
    if asked.review_budget is not None:
        budgeted = joint.budgeted(decided, reviews=asked.review_budget, labels=len(labels))
        return _of_vector(decided, labels, asked, budgeted, trade, level=level)
    if asked.kind != "per-label":
        found = joint.choose(decided, len(labels), target=asked.precision, floor=asked.least, risk=level)
        if found is not None:
            return _of_vector(decided, labels, asked, found.thresholds, trade, risk=found.risk, level=level)
    nothing = [ALWAYS_ASK] * len(labels)
    if certified_only and asked.kind != "per-label":
        return _of_vector(decided, labels, asked, nothing, trade, certified=False, level=level)
    try:
        overall = choose_threshold(
            decided.confidence.tolist(), decided.right.tolist(), target_precision=asked.precision, weights=_weights(decided)
        )
    except CalibrationError:
        if not certified_only:
            raise
        return _of_vector(decided, labels, asked, nothing, trade, certified=False, level=level)
    if asked.kind == "per-label":
        own = choose_thresholds(
            [labels[number] for number in decided.said.tolist()],
            decided.confidence.tolist(),
            decided.right.tolist(),
            labels=labels,
            target_precision=asked.precision,
            pooled=ALWAYS_ASK if certified_only else overall.confidence,
            weights=_weights(decided),
            risk=level,
        )
        return Promised(threshold=overall, thresholds=own, trade=trade)
    return _uncertified(decided, labels, asked, overall.confidence, trade, level)


def _of_vector(  # noqa: PLR0913 - rows, promise and level, each by its name
    decided: DecidedRows,
    labels: Sequence[str],
    asked: Promise,
    vector: Sequence[float],
    trade: tuple[Trade, ...],
    risk: float | None = None,
    *,
    level: float,
    certified: bool = True,
) -> Promised:
    """Return the record of one threshold per label. The thresholds are fixed, or the joint walk chose them at a part `risk` of the level."""
    shown, risk = decided.take(joint.kept(decided, vector)), level if risk is None else risk
    bound = shown.bound(risk) if len(shown.right) else 0.0
    # With a review budget, the target is the lower bound that the budget's threshold proves.
    target = asked.precision if asked.review_budget is None else int(bound * 1e4) / 1e4
    shared = [confidence for confidence in vector if confidence != ALWAYS_ASK]
    total = float(decided.weight.sum())
    coverage = round(float(shown.weight.sum()) / total, 6) if total else 0.0
    overall = Threshold(
        confidence=min(shared, default=1.0),
        target_precision=target,
        precision=round(shown.precision() or 0.0, 6),
        precision_lower_bound=round(max(bound, target) if certified else bound, 6),
        bound_level=round(1.0 - risk, 6),
        coverage=coverage,
        rows=len(decided.right),
        # A review budget is about all decisions together.
        promise="both" if asked.kind == "both" else "overall",
        certified=certified and bool(len(shown.right)),
        floor=asked.least if asked.review_budget is None else None,
        # The lowest allowed threshold (`lowest_seen`) may send a larger share to people than the budget.
        review_budget=None if asked.review_budget is None else max(asked.review_budget, round(1.0 - coverage, 6)),
    )
    grid = joint.grid_of(decided)
    path = np.repeat(np.asarray(grid)[:, None], len(labels), axis=1)
    own = {}
    for number, label in enumerate(labels):
        rows = decided.take(decided.said == number)
        own_level = level / len(labels)
        spent = joint.walk(rows, path, target=asked.least, risk=own_level)
        where = grid.index(vector[number]) if vector[number] in grid else None
        proved = where is not None and bool(spent[where] > 0)
        own[label] = label_threshold(
            rows,
            vector[number],
            target=asked.least,
            risk=float(spent[where]) if where is not None and proved else own_level,
            certified=proved,
        )
    return Promised(threshold=overall, thresholds=own, trade=trade)


def by_costs(priced: PricedRows, labels: Sequence[str], asked: Promise, *, level: float = RISK) -> Promised:
    """
    Choose the thresholds that make the expected cost least. A label whose precision cannot be proved is for people.

    Args:
        priced: The calibration rows with their prices.
        labels: The labels.
        asked: The promise; its precision is proved of each label.
        level: As in `promised`.
    """
    decided, risk = priced.decided, level / len(labels)
    vector = choose(priced, len(labels), floor=asked.precision, risk=level)
    proved = candidates(decided, len(labels), floor=asked.precision, risk=level)
    own = {}
    for number, (label, confidence) in enumerate(zip(labels, vector, strict=True)):
        rows = decided.take(decided.said == number)
        certified = confidence != ALWAYS_ASK
        found = label_threshold(rows, confidence, target=asked.precision, risk=risk, certified=certified)
        if certified:
            # The walk proves the target at each candidate. A bound above it does not hold for one that was chosen by its rows.
            found = msgspec.structs.replace(found, precision_lower_bound=asked.precision)
        elif proved[number]:
            found = msgspec.structs.replace(found, labels_needed=None, dear=True)
        own[label] = found
    shown = decided.take(joint.kept(decided, vector))
    overall = Threshold(
        confidence=min((each for each in vector if each != ALWAYS_ASK), default=1.0),
        target_precision=asked.precision,
        precision=round(shown.precision() or 0.0, 6),
        # If each label reaches the precision, all together do.
        precision_lower_bound=asked.precision if len(shown.right) else 0.0,
        bound_level=round(1.0 - level, 6),
        coverage=round(float(shown.weight.sum() / decided.weight.sum()), 6),
        rows=len(decided.right),
    )
    return Promised(threshold=overall, thresholds=own, trade=_trade(decided, labels, asked, level))


def _uncertified(
    decided: DecidedRows, labels: Sequence[str], asked: Promise, confidence: float, trade: tuple[Trade, ...], level: float
) -> Promised:
    """Return uncertified thresholds: `confidence`, or always a person for a label whose observed precision is below the floor."""
    vector = []
    for number in range(len(labels)):
        seen = decided.take((decided.said == number) & (decided.confidence >= confidence)).precision()
        vector.append(ALWAYS_ASK if seen is not None and seen < round(asked.least, 6) else confidence)
    return _of_vector(decided, labels, asked, vector, trade, certified=False, level=level)


def _trade(decided: DecidedRows, labels: Sequence[str], asked: Promise, level: float) -> tuple[Trade, ...]:
    targets = sorted({*TRADE_TARGETS, asked.precision} - {1.0})
    found = []
    for target in targets:
        each = joint.choose(decided, len(labels), target=target, floor=min(asked.floor, target), risk=level)
        found.append(
            Trade(
                target_precision=target,
                confidence=None if each is None else each.confidence,
                published=0.0 if each is None else round(each.published, 6),
            )
        )
    return tuple(found)


def _weights(decided: DecidedRows) -> Floats | None:
    return decided.weight if decided.weighted else None
