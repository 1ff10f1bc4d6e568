"""Advice on new thresholds: how many more decisions they could publish, and which labels break the promise.

The advice is an estimate, not a certificate: `tagstream model calibrate --reviewed` decides. Decisions just under a threshold
went to people, and the answers show how often the model was right there. A threshold could fall to the lowest confidence above
which the precision, published decisions included, stays above the promise with 95 % confidence.
"""

from dataclasses import dataclass

import numpy as np

from tagstream.monitoring.quality.estimate import LEAST_ANSWERS, Estimate
from tagstream.monitoring.quality.sample import Bools, Floats, Sample, quantiles

# New thresholds need a new bundle and a roll-out. They are worth it if people no longer see this share of the decisions.
WORTH_SHARE = 0.02
# The number of confidences that are tried for each label.
STEPS = 20
# The normal quantile of one-sided 95 %.
NORMAL = 1.6448536269514722


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdAdvice:
    """
    The advice whether to set new thresholds.

    Attributes:
        worth: Whether new thresholds are worth the work.
        reason: One sentence.
        share_now: Share of the decisions that is published without a person, 0 to 1.
        share_then: Share that would be published with the thresholds that the answers seem to support, 0 to 1.
        below: Labels whose precision is under `least`: the whole interval lies below it.
    """

    worth: bool
    reason: str
    share_now: float
    share_then: float
    below: tuple[str, ...]


UNJUDGED = ThresholdAdvice(worth=False, reason="no promise is known here", share_now=0.0, share_then=0.0, below=())


def advise(
    sample: Sample, found: Estimate, *, movable: Bools, promise: float, least: float, decisions: float
) -> ThresholdAdvice:
    """
    Say whether new thresholds are worth doing.

    Args:
        sample: The drawn decisions of the window.
        found: The estimate of what is published.
        movable: Whether low confidence alone sent the decision to people, [n]. No threshold can publish other decisions.
        promise: The promised precision of all published decisions, 0 to 1. It must still hold with the added decisions.
        least: The least precision that is allowed for a label, 0 to 1.
        decisions: All decisions of the window, published or sent to people.
    """
    now = found.decisions / decisions if decisions else 0.0
    below = tuple(
        label for label, figures in found.by_label.items() if figures["precision"].shown and figures["precision"].high < least
    )
    more = sum(_more(sample, label, movable, found, promise) for label in range(len(sample.labels)))
    then = now + more / decisions if decisions else 0.0
    answers = sample.decisions(sample.settled)
    if below:
        worth, reason = True, f"published precision is under the promise of {least:.0%} for {', '.join(below)}"
    elif found.accuracy.missing:
        worth, reason = False, f"{found.accuracy.missing} more audit answers are needed before the answers support anything"
    elif then - now >= WORTH_SHARE:
        worth, reason = True, f"about {then:.0%} could be published instead of {now:.0%}, at a precision of {promise:.0%}"
    else:
        worth, reason = False, f"{answers} answers do not support a threshold that publishes {WORTH_SHARE:.0%} more"
    return ThresholdAdvice(worth=worth, reason=reason, share_now=now, share_then=then, below=below)


def _more(sample: Sample, label: int, movable: Bools, found: Estimate, promise: float) -> float:
    """Return the number of a label's decisions that people see today and that could be published."""
    inside = (sample.predicted == label) & ~sample.published & movable
    rows = sample.where(inside)
    precision = found.by_label[sample.labels[label]]["precision"]
    if precision.value is None or rows.decisions(rows.settled) < LEAST_ANSWERS:
        return 0.0
    published = sample.published & (sample.predicted == label)
    count = float(sample.design[published].sum())
    # The interval of the published precision is not symmetrical; only its lower half counts here.
    error = (precision.value - precision.low) / 1.959963984540054
    best = 0.0
    confidence = rows.confidence
    for edge in quantiles(confidence, rows.count, 1 - np.arange(1, STEPS + 1) / STEPS):
        above = confidence >= edge
        answers = above & rows.settled
        if not answers.any():
            continue
        added = float(rows.design[above].sum())
        if _lower(precision.value, error, count, rows, answers, added) >= promise:
            best = max(best, added)
    return best


def _lower(share: float, error: float, count: float, rows: Sample, answers: Bools, added: float) -> float:
    """Return the lower confidence bound of the precision of the published and the added decisions together."""
    hits, given = rows.decisions(answers & (rows.truth == rows.predicted)), rows.decisions(answers)
    right = (hits + 0.5) / (given + 1)
    variance: Floats | float = (count * error) ** 2 + added**2 * right * (1 - right) / given
    return (count * share + added * right - NORMAL * float(np.sqrt(variance))) / (count + added)
