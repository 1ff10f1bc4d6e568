"""Earned thresholds: if people's answers prove that less confident decisions reach the target precision, fewer events go to people.

For each predicted label, with an equal part of the error level:

1. A walk begins at the label's threshold in the bundle that the first answers were about. The walk goes down the grid while the bets of
   `martingale` reject the hypothesis "the share right at or above this confidence is at most the target". The last rejected confidence is
   the new threshold. A false threshold can only be reached through the first false step. So the level is spent once, for all days
   together. The walk does not assume that the share right falls with the confidence.
2. If the walk's first step fails, a stricter confidence may still be proved. This test looks at every confidence of the grid, corrects for
   their number, and has a tenth of the level.
3. If the answers prove that the share right at the present threshold is below the target, and no stricter confidence is proved, a person
   is asked about every event of the label.
4. Otherwise the label keeps its threshold and its certificate. Too few answers change neither.

With prices, a label has not the last confidence that is proved, but of all proved ones, and of asking a person about every event, the
cheapest by the answers. The steps of a walk are proved together, and so are the confidences of the grid, so any of them may be chosen.
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

# The part of a label's level for the walk. The rest is for the test of the whole grid.
WALK_PART = 0.9

# Costs that differ by less are equal: sums in another order differ by rounding.
EQUAL = 1e-9

ThresholdVerdict = Literal["earned", "withdrawn", "asked", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPrices:
    """
    The cost of events that have answers.

    Attributes:
        dearer: By how much it costs more to publish the event than to ask a person, shape (answers,). Below 0 if it costs less.
        item: The price of asking a person.
        currency: The currency's name; may be empty.
    """

    dearer: Floats
    item: float
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    People's answers about decisions of the model. All arrays have the same length.

    Attributes:
        said: The label that the model predicted.
        confidence: The published, rounded confidence of the label.
        right: True if the person gave the same label.
        weight: The inverse of the probability that the event was sampled for a question, 1 or more.
        publishable: True if a threshold decides about the event. Other events go to a person at any confidence. They count for the
            published share, and for no threshold.
        count: The number of identical answers.
        prices: What the events cost; None without prices.
    """

    said: npt.NDArray[np.str_]
    confidence: Floats
    right: Bools
    weight: Floats
    publishable: Bools
    count: Ints
    prices: AnswerPrices | None = None

    @property
    def answers(self) -> int:
        """The number of answers."""
        return int(self.count.sum())

    def published(self, thresholds: Mapping[str, float]) -> float:
        """Return the weighted share of events, 0 to 1, that the thresholds publish."""
        return self._mean(thresholds, np.ones(len(self.said)))

    def cost(self, thresholds: Mapping[str, float]) -> float | None:
        """Return the mean cost of an event under these thresholds; None without prices."""
        return None if self.prices is None else self.prices.item + self._mean(thresholds, self.prices.dearer)

    def _mean(self, thresholds: Mapping[str, float], amount: Floats) -> float:
        """Return the weighted mean over all events of an amount that published events have."""
        mass = self.weight * self.count
        below = np.array([thresholds[label] for label in self.said.tolist()])
        kept = self.publishable & (self.confidence >= below)
        total = float(mass.sum())
        return float(mass[kept] @ amount[kept]) / total if total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """
    The verdict on one label.

    Attributes:
        verdict: `earned`: answers certify the threshold. `withdrawn`: they disprove it, and a person is always asked. `asked`: a person
            is always asked, since this costs least. `kept`: nothing is proved.
        threshold: The new threshold with its certificate; for `kept`, the present threshold.
        answers: The number of answers about the label, for events that a threshold decides about.
        times_needed: The factor by which the number of answers must grow for the first step of the walk, if further answers are like these.
            None if the first step is done or out of reach.
    """

    verdict: ThresholdVerdict
    threshold: LabelThreshold
    answers: int
    times_needed: float | None = None


def reached(
    evidence: Evidence, *, present: Mapping[str, LabelThreshold], start: Mapping[str, float], target_precision: float
) -> dict[str, float]:
    """Return the threshold of every label as `earn` does, without certificates. This is fast, for simulations. Arguments as of `earn`."""
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
    Return the verdict on every label.

    Args:
        evidence: The answers.
        present: The thresholds of the bundle, by label. Each label gets an equal part of the error level, 1 - `BOUND_LEVEL`.
        start: The confidence at which each label's walk begins, fixed before the first answer.
        target_precision: The requested share right, above 0 and below 1.
    """
    risk = (1.0 - BOUND_LEVEL) / len(present)
    return {
        label: _earn(of_label(evidence, label), present=kept, start=start[label], target=target_precision, risk=risk)
        for label, kept in present.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """The answers about one predicted label, for events that a threshold decides about. The highest confidence comes first."""

    confidence: Floats
    answers: WeightedAnswers
    dearer: Floats | None

    def places(self, candidates: Sequence[float]) -> Ints:
        """Return the number of array entries at or above each confidence."""
        found: Ints = np.searchsorted(-self.confidence, -np.asarray(candidates), side="right").astype(np.int64)
        return found

    def grid(self) -> tuple[float, ...]:
        """Return the confidences of the grid, cut off at the lowest confidence of the answers (`lowest_seen`)."""
        return down_to(lowest_seen(self.confidence, self.answers.count), GRID) if len(self.confidence) else ()

    def above(self, confidence: float) -> WeightedAnswers:
        """Return the answers at or above a confidence."""
        end = int(self.places([confidence])[0])
        all_ = self.answers
        return replace(all_, right=all_.right[:end], weight=all_.weight[:end], count=all_.count[:end])

    @property
    def rows(self) -> int:
        """The number of answers."""
        return int(self.answers.count.sum())


def of_label(evidence: Evidence, label: str) -> Sorted:
    """Return the answers about one predicted label, sorted by confidence."""
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
        dearer=None if evidence.prices is None else evidence.prices.dearer[order],
    )


def _earn(given: Sorted, *, present: LabelThreshold, start: float, target: float, risk: float) -> Earned:
    verdict, confidence = _reached(given, present=present, start=start, target=target, risk=risk)
    if verdict == "earned":
        return Earned(verdict=verdict, answers=given.rows, threshold=_certified(given, confidence, target=target, risk=risk))
    if verdict in {"withdrawn", "asked"}:
        return Earned(verdict=verdict, answers=given.rows, threshold=always_ask(given, target=target, risk=risk))
    times = martingale.times_needed(given.above(start), target=target, risk=WALK_PART * risk)
    return Earned(verdict=verdict, answers=given.rows, threshold=present, times_needed=times)


def _reached(
    given: Sorted, *, present: LabelThreshold, start: float, target: float, risk: float
) -> tuple[ThresholdVerdict, float]:
    proved = _walked(given, start=start, target=target, risk=WALK_PART * risk)
    refuted = martingale.log_wealth_against(given.above(present.confidence), target=target) >= -math.log(risk)
    if not proved and (refuted or not present.certified):
        proved = _anywhere(given, target=target, risk=(1.0 - WALK_PART) * risk)
    if proved:
        chosen = _chosen(given, proved)
        return ("asked" if chosen == ALWAYS_ASK else "earned"), chosen
    return ("withdrawn", ALWAYS_ASK) if refuted else ("kept", present.confidence)


def _chosen(given: Sorted, proved: Sequence[float]) -> float:
    """Return the lowest of the proved confidences, which descend; with prices the cheapest, or `ALWAYS_ASK` if asking costs less."""
    if given.dearer is None:
        return proved[-1]
    mass = given.answers.weight * given.answers.count
    places = given.places(proved)
    more = np.append(0.0, np.cumsum(mass * given.dearer))[places]
    least = min(0.0, float(more.min())) + EQUAL * float(mass.sum())
    cheapest = np.flatnonzero(more <= least)
    if not len(cheapest):
        return ALWAYS_ASK
    # Of equal costs the one that publishes most; where no answer lies between two confidences, the stricter one.
    return proved[int(cheapest[places[cheapest].argmax()])]


def _walked(given: Sorted, *, start: float, target: float, risk: float) -> Sequence[float]:
    """Return the confidences that the walk from `start` proves, in its order; none if the first step fails."""
    steps = [start, *(confidence for confidence in given.grid() if confidence < start)]
    wealth = martingale.log_wealth(given.answers, target=target, places=given.places(steps))
    reached = np.append(wealth >= -math.log(risk), False).argmin()
    return steps[: int(reached)]


def _anywhere(given: Sorted, *, target: float, risk: float) -> Sequence[float]:
    """Return the confidences of the grid that are proved after a correction for the grid's size, the highest first."""
    grid = given.grid()
    wealth = martingale.log_wealth(given.answers, target=target, places=given.places(grid))
    proved = np.flatnonzero(wealth >= math.log(len(GRID) / risk))
    return [grid[place] for place in proved.tolist()]


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
    Return the record of a label about which a person is always asked.

    Args:
        given: The answers about the label.
        target: The share right that is not proved, 0 to 1.
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
