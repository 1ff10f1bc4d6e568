"""How often reviewers slip, from audits of which a second person was asked.

An audit is blind, and a second person is asked where the first one contradicts the model. Where the second one takes the
model's side, the first has slipped. So among decisions that the model got right, slips are counted and not guessed. A slip that
agrees with a wrong model stays unseen; it is as rare as both together.
"""

from dataclasses import dataclass

import numpy as np

from tagstream.monitoring.quality.sample import Floats, Ints, Sample

# More slips than this are not taken out: there would be more of them than of what is true.
MOST_SLIPS = 0.25
# So many slips are taken to have been there before any was seen, over all labels, and as many that could have been and were none.
UNSEEN = 0.5
# Where fewer answers than this could have slipped to a label, the rate of all labels says more of it than its own.
LEAST_EXPOSED = 20


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
        toward: Overturned answers by the label that they named, K of them.
        exposed: First answers that could have been such a slip: on right decisions for another label, K of them.
    """

    answers: int
    contradictions: int
    second_opinions: int
    overturned: int
    slip: float | None
    slip_low: float
    slip_high: float
    toward: tuple[int, ...]
    exposed: tuple[float, ...]

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
    wrong = second & (audits.truth == audits.predicted)
    overturned = audits.decisions(wrong)
    labels, agreed = range(len(sample.labels)), audits.answered & ~contradicted
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
            toward=(0,) * len(sample.labels),
            exposed=(0.0,) * len(sample.labels),
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
        toward=tuple(audits.decisions(wrong & (audits.first == label)) for label in labels),
        exposed=tuple(
            audits.decisions(agreed & (audits.predicted != label)) * seconds / counts[1]
            + audits.decisions(wrong & (audits.predicted != label))
            for label in labels
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slips:
    """
    Plausible slips.

    Attributes:
        toward: How often a person who means another label names this one, [draws, K].
    """

    toward: Floats

    def named(self) -> Floats:
        """By the true label, the share of answers that are a slip and name another one, [draws, K + 1, K]."""
        labels = self.toward.shape[-1]
        found: Floats = np.minimum(self.toward, MOST_SLIPS)[:, None] * (
            np.ones((labels + 1, labels)) - np.eye(labels + 1, labels)
        )
        return found


def slips(found: Reviewers) -> Slips:
    """The slips that are seen, [1]."""
    toward, exposed = np.array([found.toward], dtype=np.float64), np.array([found.exposed])
    own = np.divide(toward, exposed, out=np.zeros_like(toward), where=exposed > 0)
    return _shrunk(own, np.array([found.slip or 0.0]), found)


def slip_draws(found: Reviewers, draws: int, generator: np.random.Generator) -> Slips:
    """
    Plausible slips; none where there is no second opinion.

    Args:
        found: The figures of the reviewers, of K labels.
        draws: The number of versions, n.
        generator: The source of chance.

    Returns:
        Slips toward each label, [n, K].
    """
    labels = len(found.toward)
    if found.slip is None:
        return Slips(toward=np.zeros((draws, labels)))
    counts = found.answers, found.contradictions, found.second_opinions, found.overturned
    whole = _drawn(*_slips(*counts), draws, generator)
    toward = np.array(found.toward, dtype=np.float64)
    right = np.maximum(np.array(found.exposed) - toward, 0)
    own = generator.beta(toward + UNSEEN / max(1, labels - 1), right + UNSEEN, size=(draws, labels))
    return _shrunk(own, whole, found)


def _shrunk(own: Floats, whole: Floats, found: Reviewers) -> Slips:
    """A label's own rate as far as answers speak of it, else its part of the rate of all."""
    exposed = np.array(found.exposed)
    share = exposed / (exposed + LEAST_EXPOSED)
    return Slips(toward=share * own + (1 - share) * whole[:, None] / max(1, len(found.toward) - 1))


def _slips(answers: int, contradictions: int, second_opinions: int, overturned: int) -> tuple[float, float]:
    """Slips and the agreements that face them: of the agreements only as many as the share of contradictions that are settled."""
    settled = second_opinions / contradictions
    return float(overturned), (answers - contradictions) * settled


def _drawn(slips: float, others: float, draws: int, generator: np.random.Generator) -> Floats:
    found: Floats = generator.beta(slips + 0.5, others + 0.5, size=draws)
    return found


def without_slips(totals: Floats, slip: Slips) -> Floats:
    """
    What was true of the decisions in these totals, where each was answered by one person alone.

    Slips name a label as often as those do that second persons overturned.

    Args:
        totals: Decisions by answer, [draws, strata, K + 1]; the last, "not about this subject", is no slip.
        slip: Plausible slips, as many draws.
    """
    labels = totals.shape[-1] - 1
    if labels == 1 or not totals.shape[1]:
        return totals
    named = slip.named()[:, :labels]
    # answers = true - slips away + slips from others; "not about this subject" slips to labels are left to it.
    answered = named + np.eye(labels) * (1 - named.sum(axis=-1))[:, :, None]
    named_by_true, given = np.swapaxes(answered, 1, 2)[:, None], totals[..., :labels, None]
    try:
        true = np.linalg.solve(named_by_true, given)
    except np.linalg.LinAlgError:
        # People who answer by chance say nothing of what is true: of all that fits their answers, the most even.
        true = np.linalg.pinv(named_by_true) @ given
    true = np.maximum(true[..., 0], 0)
    whole = totals[..., :labels].sum(axis=-1, keepdims=True)
    true *= whole / np.maximum(true.sum(axis=-1, keepdims=True), 1e-12)
    found: Floats = np.concatenate([true, totals[..., labels:]], axis=-1)
    return found


def with_missed(totals: Floats, slip: Slips, predicted: Ints) -> Floats:
    """
    What was true of audited decisions in these totals, where two people are asked about every contradiction.

    A mistake is missed if the first or the second person slips to the model's label, and a right decision is taken for a mistake
    if both slip to the same other one. Each is rare, and so are mistakes.

    Args:
        totals: Decisions by stratum and settled answer, [draws, strata, K + 1].
        slip: Plausible slips, as many draws.
        predicted: The label of each stratum, [strata].
    """
    labels = totals.shape[-1] - 1
    if labels == 1:
        return totals
    named = slip.named()
    places = np.arange(len(predicted))
    right = totals[:, places, predicted][..., None]
    false = np.concatenate([right * named[:, predicted] ** 2, np.zeros_like(right)], axis=-1)
    to_the_models = np.swapaxes(named, 1, 2)[:, predicted]
    wrong = np.maximum(totals - false, 0) / (1 - 2 * np.minimum(to_the_models, MOST_SLIPS))
    wrong[:, places, predicted] = 0
    found: Floats = np.minimum(wrong, totals.sum(axis=-1, keepdims=True))
    found[:, places, predicted] = np.maximum(totals.sum(axis=-1) - found.sum(axis=-1), 0)
    return found
