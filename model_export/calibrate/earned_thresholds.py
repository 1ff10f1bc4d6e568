"""Thresholds that are earned: where people's answers prove that less sure decisions are right often enough, fewer are asked.

For each predicted label, with an equal part of the error level:

1. The walk begins at the label's threshold in the bundle that the first answers were about, and goes down the grid while the
   bets of `martingale` disprove "the share right from here on is no more than the target". The last such confidence is the new
   threshold. A false one can only be reached through the first false one, so the level is spent once, without assuming that
   the share right falls with the confidence, and on all days together.
2. A label whose walk does not begin may still prove a stricter confidence, if the answers prove it although every confidence
   of the grid is looked at. A tenth of the level is for this.
3. Where the answers prove the opposite, that the share right at the present threshold is below the target, and no stricter
   confidence is proved, a person is asked about every event of the label.
4. Otherwise the label keeps its threshold and its certificate: too few answers are no reason to change either.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from tagstream.model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold
from tagstream.model_export.calibrate import martingale
from tagstream.model_export.calibrate.certificate import BOUND_LEVEL, GRID, Bools, down_to, lowest_seen
from tagstream.model_export.calibrate.martingale import WeightedAnswers
from tagstream.model_export.calibrate.temperature import Floats, Ints

# The part of a label's level for the walk, and for the look at the whole grid.
WALK_PART = 0.9

ThresholdVerdict = Literal["earned", "withdrawn", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    People's answers about decisions of the model; the arrays have one length.

    Attributes:
        said: The label that the model gave.
        confidence: Its published, rounded confidence.
        right: A person gave the same label.
        weight: One over the probability with which the event was asked about, 1 or more.
        publishable: A threshold decides about the event. Some go to a person whatever their confidence is; they count for the
            share that is published, and for no threshold.
        count: How many answers are like this one.
    """

    said: npt.NDArray[np.str_]
    confidence: Floats
    right: Bools
    weight: Floats
    publishable: Bools
    count: Ints

    @property
    def answers(self) -> int:
        """The number of answers."""
        return int(self.count.sum())

    def published(self, thresholds: Mapping[str, float]) -> float:
        """The share of all events, 0 to 1, that these thresholds publish: every answer by its weight."""
        mass = self.weight * self.count
        below = np.array([thresholds[label] for label in self.said.tolist()])
        kept = self.publishable & (self.confidence >= below)
        total = float(mass.sum())
        return float(mass[kept].sum()) / total if total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """
    The verdict on one label.

    Attributes:
        verdict: `earned`: certified from answers; `withdrawn`: a person is always asked; `kept`: nothing is proved.
        threshold: The new threshold with its certificate; for `kept` the present one.
        answers: How many answers there are about the label, of those that a threshold decides about.
        times_needed: How many times as many answers like these would begin the walk; None if that is done or out of reach.
    """

    verdict: ThresholdVerdict
    threshold: LabelThreshold
    answers: int
    times_needed: float | None = None


def reached(
    evidence: Evidence, *, present: Mapping[str, LabelThreshold], start: Mapping[str, float], target_precision: float
) -> dict[str, float]:
    """The threshold of every label after `earn`, without its certificate: quick, for simulations. Arguments are those of `earn`."""
    risk = (1.0 - BOUND_LEVEL) / len(present)
    return {
        label: _reached(of_label(evidence, label), present=kept, start=start[label], target=target_precision, risk=risk)[1]
        for label, kept in present.items()
    }


def earn(
    evidence: Evidence,
    *,
    present: Mapping[str, LabelThreshold],
    start: Mapping[str, float],
    target_precision: float,
) -> dict[str, Earned]:
    """
    The verdict on every label.

    Args:
        evidence: The answers.
        present: The thresholds of the bundle, by label; each label gets an equal part of the error level, 1 - `BOUND_LEVEL`.
        start: Where each label's walk begins, fixed before the first answer.
        target_precision: The share right that is asked for, over 0 and under 1.
    """
    risk = (1.0 - BOUND_LEVEL) / len(present)
    return {
        label: _earn(of_label(evidence, label), present=kept, start=start[label], target=target_precision, risk=risk)
        for label, kept in present.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """The answers on one predicted label that a threshold decides about, the surest first."""

    confidence: Floats
    answers: WeightedAnswers

    def places(self, candidates: Sequence[float]) -> Ints:
        """How many are at or above each confidence."""
        found: Ints = np.searchsorted(-self.confidence, -np.asarray(candidates), side="right").astype(np.int64)
        return found

    def grid(self) -> tuple[float, ...]:
        """The confidences of the grid that answers had: below them there is nothing to learn from."""
        return down_to(lowest_seen(self.confidence, self.answers.count), GRID) if len(self.confidence) else ()

    def above(self, confidence: float) -> WeightedAnswers:
        """The answers at or above a confidence."""
        end = int(self.places([confidence])[0])
        all_ = self.answers
        return replace(all_, right=all_.right[:end], weight=all_.weight[:end], count=all_.count[:end])

    @property
    def rows(self) -> int:
        """How many answers these are."""
        return int(self.answers.count.sum())


def of_label(evidence: Evidence, label: str) -> Sorted:
    """The answers about one predicted label."""
    chosen = np.flatnonzero((evidence.said == label) & evidence.publishable)
    order = chosen[np.argsort(-evidence.confidence[chosen], kind="stable")]
    return Sorted(
        confidence=evidence.confidence[order],
        answers=WeightedAnswers(
            right=evidence.right[order],
            weight=evidence.weight[order],
            count=evidence.count[order],
            largest=float(evidence.weight.max(initial=1.0)),
        ),
    )


def _earn(given: Sorted, *, present: LabelThreshold, start: float, target: float, risk: float) -> Earned:
    verdict, confidence = _reached(given, present=present, start=start, target=target, risk=risk)
    if verdict == "earned":
        return Earned(verdict=verdict, answers=given.rows, threshold=_certified(given, confidence, target=target, risk=risk))
    if verdict == "withdrawn":
        return Earned(verdict=verdict, answers=given.rows, threshold=always_ask(given, target=target, risk=risk))
    times = martingale.times_needed(given.above(start), target=target, risk=WALK_PART * risk)
    return Earned(verdict=verdict, answers=given.rows, threshold=present, times_needed=times)


def _reached(
    given: Sorted, *, present: LabelThreshold, start: float, target: float, risk: float
) -> tuple[ThresholdVerdict, float]:
    found = _walked(given, start=start, target=target, risk=WALK_PART * risk)
    if found is not None:
        return "earned", found
    refuted = martingale.log_wealth_against(given.above(present.confidence), target=target) >= -math.log(risk)
    if refuted or not present.certified:
        found = _anywhere(given, target=target, risk=(1.0 - WALK_PART) * risk)
    if found is not None:
        return "earned", found
    return ("withdrawn", ALWAYS_ASK) if refuted else ("kept", present.confidence)


def _walked(given: Sorted, *, start: float, target: float, risk: float) -> float | None:
    """The confidence that the walk reaches from `start` downward; None where it does not begin."""
    steps = [start, *(confidence for confidence in given.grid() if confidence < start)]
    wealth = martingale.log_wealth(given.answers, target=target, places=given.places(steps))
    reached = np.append(wealth >= -math.log(risk), False).argmin()
    return steps[int(reached) - 1] if reached else None


def _anywhere(given: Sorted, *, target: float, risk: float) -> float | None:
    """The lowest confidence of the grid that is proved although all are looked at."""
    grid = given.grid()
    wealth = martingale.log_wealth(given.answers, target=target, places=given.places(grid))
    proved = np.flatnonzero(wealth >= math.log(len(GRID) / risk))
    return grid[int(proved[-1])] if len(proved) else None


def _certified(given: Sorted, confidence: float, *, target: float, risk: float) -> LabelThreshold:
    above = given.above(confidence)
    mass = above.weight * above.count
    return LabelThreshold(
        confidence=confidence,
        target_precision=target,
        precision=round(float(mass[above.right].sum() / mass.sum()), 6),
        precision_lower_bound=round(max(target, martingale.share_at_least(above, risk=risk)), 6),
        bound_level=round(1.0 - risk, 6),
        rows=int(above.count.sum()),
        label_rows=given.rows,
        certified=True,
    )


def always_ask(given: Sorted, *, target: float, risk: float) -> LabelThreshold:
    """
    The record of a label about which a person is always asked.

    Args:
        given: The answers about the label.
        target: The share right that was not proved, 0 to 1.
        risk: The label's part of the error level, 0 to 1.
    """
    return LabelThreshold(
        confidence=ALWAYS_ASK,
        target_precision=target,
        precision=None,
        precision_lower_bound=0.0,
        bound_level=round(1.0 - risk, 6),
        rows=0,
        label_rows=given.rows,
        certified=False,
    )
