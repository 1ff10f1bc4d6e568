"""How often reviewers slip, from audits of which a second person was asked.

An audit is blind, and a second person is asked where the first one contradicts the model. Where the second one takes the
model's side, the first has slipped. So among decisions that the model got right, slips are counted and not guessed. A slip that
agrees with a wrong model stays unseen; it is as rare as both together.
"""

from dataclasses import dataclass

import numpy as np

from monitoring.quality.sample import Floats, Ints, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewers:
    """
    What second opinions say of first ones.

    Attributes:
        answers: Audit answers.
        contradictions: Audit answers that contradict the model.
        second_opinions: Contradictions that are settled.
        overturned: Settled contradictions in which the model was right after all.
        slip: Share of first answers that are slips, where the model is right; None without a second opinion.
        slip_low: Lower end of its 95 % interval.
        slip_high: Upper end of its 95 % interval.
    """

    answers: int
    contradictions: int
    second_opinions: int
    overturned: int
    slip: float | None
    slip_low: float
    slip_high: float

    @property
    def waiting(self) -> int:
        """Contradictions that no second person has settled."""
        return self.contradictions - self.second_opinions

    @property
    def disagreement(self) -> float | None:
        """Share of the second opinions that overturned the first; None without one."""
        return self.overturned / self.second_opinions if self.second_opinions else None


def reviewers(sample: Sample) -> Reviewers:
    """Count opinions and slips over the audits of a sample."""
    audits = sample.where(sample.published)
    contradicted = audits.contradicted
    second = contradicted & audits.settled
    seconds = audits.decisions(second)
    overturned = audits.decisions(second & (audits.truth == audits.predicted))
    counts = audits.decisions(audits.answered), audits.decisions(contradicted), seconds, overturned
    if not seconds:
        return Reviewers(
            answers=counts[0],
            contradictions=counts[1],
            second_opinions=0,
            overturned=0,
            slip=None,
            slip_low=0.0,
            slip_high=1.0,
        )
    slips, others = _slips(*counts)
    low, high = np.quantile(_drawn(slips, others, 4000, np.random.default_rng(7)), (0.025, 0.975))
    share = slips / (slips + others) if slips + others else 0.0
    return Reviewers(
        answers=counts[0],
        contradictions=counts[1],
        second_opinions=seconds,
        overturned=overturned,
        slip=share,
        slip_low=0.0 if not slips else float(low),
        slip_high=float(high),
    )


def slip_draws(found: Reviewers, draws: int, generator: np.random.Generator) -> Floats:
    """Plausible slip rates, [draws]; zeros where no second opinion says anything of them."""
    if found.slip is None:
        return np.zeros(draws)
    counts = found.answers, found.contradictions, found.second_opinions, found.overturned
    return _drawn(*_slips(*counts), draws, generator)


def _slips(answers: int, contradictions: int, second_opinions: int, overturned: int) -> tuple[float, float]:
    """Slips and the agreements that face them: of the agreements only as many as the share of contradictions that are settled."""
    settled = second_opinions / contradictions
    return float(overturned), (answers - contradictions) * settled


def _drawn(slips: float, others: float, draws: int, generator: np.random.Generator) -> Floats:
    found: Floats = generator.beta(slips + 0.5, others + 0.5, size=draws)
    return found


def without_slips(totals: Floats, slip: Floats, *, labels: int) -> Floats:
    """
    What was true of the decisions in these totals, where each was answered by one person alone.

    A slip is taken to name any other label of the bundle, each as often.

    Args:
        totals: Decisions by answer, [draws, ..., K + 1]; the last, "not about this subject", is no slip.
        slip: Share of answers that are slips, [draws].
        labels: K.
    """
    if labels == 1:
        return totals
    rate = np.minimum(slip, 0.5 * (labels - 1) / labels).reshape(-1, *(1,) * (totals.ndim - 1))
    elsewhere = rate / (labels - 1)
    named = totals[..., :labels].sum(axis=-1, keepdims=True)
    # answers = (1 - rate) * true + elsewhere * (named - true); "not about this subject" slips to labels are left to it.
    true = (totals[..., :labels] - elsewhere * named) / (1 - rate - elsewhere)
    true = np.maximum(true, 0)
    true *= named / np.maximum(true.sum(axis=-1, keepdims=True), 1e-12)
    found: Floats = np.concatenate([true, totals[..., labels:]], axis=-1)
    return found


def with_missed(totals: Floats, slip: Floats, predicted: Ints, *, labels: int) -> Floats:
    """
    What was true of audited decisions in these totals, where two people are asked about every contradiction.

    A mistake is missed if the first or the second person slips to the model's label, and a right decision is taken for a mistake
    if both slip to the same other one. Each is rare, and so are mistakes.

    Args:
        totals: Decisions by stratum and settled answer, [draws, strata, K + 1].
        slip: Share of first answers that are slips, [draws].
        predicted: The label of each stratum, [strata].
        labels: K.
    """
    if labels == 1:
        return totals
    rate = np.minimum(slip, 0.25)[:, None, None]
    places = np.arange(len(predicted))
    right = totals[:, places, predicted][..., None]
    false = right * (rate / (labels - 1)) ** 2 * (np.arange(labels + 1) < labels)
    wrong = np.maximum(totals - false, 0) / (1 - 2 * rate / (labels - 1))
    wrong[:, places, predicted] = 0
    found: Floats = np.minimum(wrong, totals.sum(axis=-1, keepdims=True))
    found[:, places, predicted] = np.maximum(totals.sum(axis=-1) - found.sum(axis=-1), 0)
    return found
