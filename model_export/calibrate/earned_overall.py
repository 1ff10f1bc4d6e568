"""Earned thresholds for a promise about all published decisions together: one walk for all labels, with the bets of `earned_thresholds`.

All labels share one threshold, except labels with a stricter threshold, which keep their own. The walk begins at the shared threshold of
the bundle that the first answers were about. If the answers prove that a label is below the floor, people decide all its events. Such a
label is right less often than the target, so without this label the share right of the other labels is at least as large.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tagstream.model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold, Threshold
from tagstream.model_export.calibrate import martingale
from tagstream.model_export.calibrate.certificate import BOUND_LEVEL
from tagstream.model_export.calibrate.earned_thresholds import Earned, Evidence, always_ask, earn, of_label

# The name of all labels among verdicts.
ALL = "all labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverallEarned:
    """The verdict on all labels together, and the thresholds with their evidence. For `kept`, the thresholds are the present thresholds."""

    verdict: Earned
    threshold: Threshold
    thresholds: dict[str, LabelThreshold]


def earn_overall(
    evidence: Evidence,
    *,
    threshold: Threshold,
    present: Mapping[str, LabelThreshold],
    start: float,
    target_precision: float,
) -> OverallEarned:
    """
    Return the verdict on all published decisions together.

    Args:
        evidence: The answers.
        threshold: The bundle's threshold for all labels together.
        present: The bundle's thresholds, by label.
        start: The shared confidence at which the walk begins, fixed before the first answer.
        target_precision: The requested share right, above 0 and below 1.
    """
    stricter = {label: found.confidence for label, found in present.items() if found.confidence > threshold.confidence}
    below = np.array([stricter.get(label, 0.0) for label in evidence.said.tolist()])
    pooled = replace(
        evidence,
        said=np.full(len(evidence.said), ALL),
        publishable=evidence.publishable & (evidence.confidence >= below),
    )
    as_one = LabelThreshold(
        confidence=threshold.confidence,
        target_precision=threshold.target_precision,
        precision=threshold.precision,
        precision_lower_bound=threshold.precision_lower_bound,
        bound_level=threshold.bound_level,
        rows=round(threshold.coverage * threshold.rows),
        label_rows=threshold.rows,
        certified=threshold.certified,
    )
    verdict = earn(pooled, present={ALL: as_one}, start={ALL: start}, target_precision=target_precision)[ALL]
    if verdict.verdict == "kept":
        return OverallEarned(verdict=verdict, threshold=threshold, thresholds=dict(present))
    shared = verdict.threshold.confidence
    floor = threshold.floor or 0.0
    own = {
        label: _label(evidence, label, confidence=max(shared, stricter.get(label, 0.0)), floor=floor, labels=len(present))
        for label in present
    }
    proved = verdict.threshold
    return OverallEarned(
        verdict=verdict,
        threshold=Threshold(
            confidence=min(shared, 1.0),
            target_precision=target_precision,
            precision=proved.precision or 0.0,
            precision_lower_bound=proved.precision_lower_bound,
            bound_level=proved.bound_level,
            coverage=round(evidence.published({label: found.confidence for label, found in own.items()}), 6),
            rows=evidence.answers,
            promise=threshold.promise,
            certified=proved.certified,
            floor=threshold.floor,
        ),
        thresholds=own,
    )


def _label(evidence: Evidence, label: str, *, confidence: float, floor: float, labels: int) -> LabelThreshold:
    """Return the record of a label at its threshold. If the label is proved to be below the floor, a person is always asked."""
    risk = (1.0 - BOUND_LEVEL) / labels
    own = of_label(evidence, label)
    above = own.above(confidence)
    # A bet needs a target above 0.
    refuted = floor > 0.0 and martingale.log_wealth_against(above, target=floor) >= -math.log(risk)
    if refuted or confidence == ALWAYS_ASK:
        return always_ask(own, target=floor, risk=risk)
    mass = above.weight * above.count
    bound = martingale.share_at_least(above, risk=risk)
    return LabelThreshold(
        confidence=confidence,
        target_precision=floor,
        precision=round(float(mass[above.right].sum() / mass.sum()), 6) if len(mass) else None,
        precision_lower_bound=round(bound, 6),
        bound_level=round(1.0 - risk, 6),
        rows=int(above.count.sum()),
        label_rows=own.rows,
        certified=bool(len(mass)) and bound >= floor,
    )
