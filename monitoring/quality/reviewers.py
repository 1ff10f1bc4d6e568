"""Slips of reviewers: the rate of wrong first answers, estimated from audits with a second opinion.

An audit is blind. If the first answer contradicts the model, a second person is asked. If the second person agrees with the
model, the first answer was a slip. So among decisions that the model got right, slips are counted and not guessed. A slip that
agrees with a wrong model is not seen; it takes a slip and a mistake of the model at once, so it is rare.
"""

from dataclasses import dataclass

import numpy as np

from tagstream.monitoring.quality.sample import Floats, Ints, Sample

# The largest slip rate that is corrected for: above it, slips could outnumber true answers.
MOST_SLIPS = 0.25
# The prior of the slip rate, in answers: this many slips over all labels, and this many answers that are not slips.
UNSEEN = 0.5
# With fewer exposed answers than this, the overall slip rate weighs more in a label's rate than the label's own rate.
LEAST_EXPOSED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewers:
    """
    The slips in first opinions, as second opinions show them. K is the number of labels.

    Attributes:
        answers: Audit answers.
        contradictions: Audit answers that contradict the model.
        second_opinions: Contradictions that are settled.
        overturned: Settled contradictions in which the model was right after all.
        slip: Share of the first answers on right decisions that are slips; None without a second opinion.
        slip_low: Lower end of its 95 % interval.
        slip_high: Upper end of its 95 % interval.
        toward: By label, the number of overturned answers that named this label, [K].
        exposed: By label, the number of first answers that could have been a slip to this label: those on right decisions for another
            label, [K].
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
        """Share of the second opinions that overturned the first opinion; None without a second opinion."""
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
    Plausible slip rates.

    Attributes:
        toward: By label, the probability that a person who means another label names this label, [draws, K].
    """

    toward: Floats

    def named(self) -> Floats:
        """Return, by true label and other label, the share of the answers that slip to the other label, [draws, K + 1, K]."""
        labels = self.toward.shape[-1]
        found: Floats = np.minimum(self.toward, MOST_SLIPS)[:, None] * (
            np.ones((labels + 1, labels)) - np.eye(labels + 1, labels)
        )
        return found


def slips(found: Reviewers) -> Slips:
    """Return the slip rates that were counted, as one draw."""
    toward, exposed = np.array([found.toward], dtype=np.float64), np.array([found.exposed])
    own = np.divide(toward, exposed, out=np.zeros_like(toward), where=exposed > 0)
    return _shrunk(own, np.array([found.slip or 0.0]), found)


def slip_draws(found: Reviewers, draws: int, generator: np.random.Generator) -> Slips:
    """
    Draw plausible slip rates; all are 0 without a second opinion.

    Args:
        found: The figures of the reviewers, for K labels.
        draws: The number of draws, n.
        generator: The random generator.

    Returns:
        The slip rate toward each label, [n, K].
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
    """Return each label's slip rate: its own rate, shrunk toward its part of the overall rate if few answers are exposed."""
    exposed = np.array(found.exposed)
    share = exposed / (exposed + LEAST_EXPOSED)
    return Slips(toward=share * own + (1 - share) * whole[:, None] / max(1, len(found.toward) - 1))


def _slips(answers: int, contradictions: int, second_opinions: int, overturned: int) -> tuple[float, float]:
    """Return the slips and the agreements to compare them with: the agreements times the settled share of the contradictions."""
    settled = second_opinions / contradictions
    return float(overturned), (answers - contradictions) * settled


def _drawn(slips: float, others: float, draws: int, generator: np.random.Generator) -> Floats:
    found: Floats = generator.beta(slips + 0.5, others + 0.5, size=draws)
    return found


def without_slips(totals: Floats, slip: Slips) -> Floats:
    """
    Return totals by true label, for decisions that one person alone has answered.

    Slips are taken to name each label as often as the overturned audit answers do.

    Args:
        totals: Decisions by answer, [draws, strata, K + 1]. The last answer, "not about this subject", does not count as a slip.
        slip: Plausible slip rates, with as many draws.
    """
    labels = totals.shape[-1] - 1
    if labels == 1 or not totals.shape[1]:
        return totals
    named = slip.named()[:, :labels]
    # answers = true - slips to other labels + slips from other labels. Slips from "not about this subject" are not corrected.
    answered = named + np.eye(labels) * (1 - named.sum(axis=-1))[:, :, None]
    named_by_true, given = np.swapaxes(answered, 1, 2)[:, None], totals[..., :labels, None]
    try:
        true = np.linalg.solve(named_by_true, given)
    except np.linalg.LinAlgError:
        # Answers by chance do not determine the truth: of all solutions that fit them, take the most even one.
        true = np.linalg.pinv(named_by_true) @ given
    true = np.maximum(true[..., 0], 0)
    whole = totals[..., :labels].sum(axis=-1, keepdims=True)
    true *= whole / np.maximum(true.sum(axis=-1, keepdims=True), 1e-12)
    found: Floats = np.concatenate([true, totals[..., labels:]], axis=-1)
    return found


def with_missed(totals: Floats, slip: Slips, predicted: Ints) -> Floats:
    """
    Return totals by true label, for audited decisions: a second person is asked about every contradiction.

    A mistake is missed if the first or the second person slips to the model's label. A right decision counts as a mistake if both
    persons slip to the same other label. Both cases are rare, and so are mistakes.

    Args:
        totals: Decisions by stratum and settled answer, [draws, strata, K + 1].
        slip: Plausible slip rates, with as many draws.
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
