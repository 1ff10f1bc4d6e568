"""A month of a stream with a known truth: confident mistakes, answers that are missing, and reviewers who err.

The shares of the labels, the strength of the model, the share of confident mistakes, the error rate of the reviewers and
the share of answered items differ from stream to stream.
"""

from dataclasses import dataclass

import numpy as np

from tagstream.monitoring.quality.sample import NO_ANSWER, Bools, Floats, Ints, Population, Sample
from tagstream.stream.review.store.sampling import CONFIDENCE_STEPS

LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
EVENTS = 100_000
AUDIT_RATE = 0.02
# Of a month of decisions about half is published, as by the shipped bundle.
PUBLISHED = (0.45, 0.6)
CONFIDENT_MISTAKES = (0.01, 0.03)
SLIPS = (0.02, 0.05)
AUDITS_ANSWERED = (0.7, 0.95)
REVIEWS_ANSWERED = (0.2, 0.5)
SECONDS_ANSWERED = (0.7, 1.0)
OFF_SUBJECT = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """
    In what a stream differs from an ordinary one.

    Attributes:
        rare: The share of "mlops"; None for an ordinary one.
        slip: The reviewers' error rate; None for an ordinary one.
        toward: The label that every slip names; None for any other label, each as often.
        left_out: The share of the model's mistakes that people leave without an answer.
    """

    rare: float | None = None
    slip: float | None = None
    toward: int | None = None
    left_out: float = 0.0


ORDINARY = Way()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """
    One month.

    Attributes:
        truth: The index of the true label of each event, `len(LABELS)` for none of them, [events].
        published: Whether the model published it, [events].
        predicted: The index of the label that the model gave, [events].
        drawn: The events that people were shown, with their settled answers.
        population: All decisions.
        slip: The reviewers' error rate.
    """

    truth: Ints
    published: Bools
    predicted: Ints
    drawn: Sample
    population: Population
    slip: float


def stream(seed: int, events: int = EVENTS, way: Way = ORDINARY) -> Stream:
    """The month of this seed."""
    generator = np.random.default_rng(seed)
    count = len(LABELS)
    shares = generator.dirichlet(np.array([6.0, 5.0, 3.0, 6.0]) * 5)
    if way.rare is not None:
        shares[2] = 0
        shares *= (1 - way.rare) / shares.sum()
        shares[2] = way.rare
    truth = generator.choice(count, size=events, p=shares)
    probabilities = _opinions(truth, generator)
    predicted = probabilities.argmax(axis=1)
    truth = np.where(generator.random(events) < OFF_SUBJECT, count, truth)
    confidence = probabilities.max(axis=1)
    published = confidence >= np.quantile(confidence, 1 - generator.uniform(*PUBLISHED))
    asked = ~published | (generator.random(events) < AUDIT_RATE)
    slip = float(generator.uniform(*SLIPS)) if way.slip is None else way.slip
    first, settled = _answers(truth[asked], predicted[asked], confidence[asked], published[asked], slip, way, generator)
    decisions, sums = np.zeros((2, count)), np.zeros((2, count, count))
    np.add.at(decisions, (1 - published, predicted), 1)
    np.add.at(sums, (1 - published, predicted), probabilities)
    drawn = Sample(
        labels=LABELS,
        published=published[asked],
        predicted=predicted[asked],
        # As the store has it.
        confidence=(np.floor(confidence[asked] * CONFIDENCE_STEPS) + 0.5).clip(max=CONFIDENCE_STEPS) / CONFIDENCE_STEPS,
        inclusion=np.where(published[asked], AUDIT_RATE, 1.0),
        first=first,
        truth=settled,
        count=np.ones(len(first), dtype=np.int64),
    )
    population = Population(decisions=decisions, probabilities=sums)
    return Stream(truth=truth, published=published, predicted=predicted, drawn=drawn, population=population, slip=slip)


def _opinions(truth: Ints, generator: np.random.Generator) -> Floats:
    """The model's probabilities, [events, K]: unsure where a text is hard, and sometimes sure of the wrong label."""
    events, count = len(truth), len(LABELS)
    believed = truth.copy()
    mistaken = generator.random(events) < generator.uniform(*CONFIDENT_MISTAKES)
    # Some labels are taken for each other more often than others.
    believed[mistaken] = (truth[mistaken] + generator.choice(3, size=int(mistaken.sum()), p=(0.5, 0.3, 0.2)) + 1) % count
    clear = generator.uniform(2.0, 2.6)
    logits = generator.standard_normal((events, count))
    logits[np.arange(events), believed] += clear
    # Normal scores with a shift of `clear` are calibrated by exp(clear * score).
    logits *= clear
    logits -= logits.max(axis=1, keepdims=True)
    found: Floats = np.exp(logits)
    found /= found.sum(axis=1, keepdims=True)
    return found


def _slipped(truth: Ints, slip: float, toward: int | None, generator: np.random.Generator) -> Ints:
    """One person's answers, of which a part is another label of the bundle."""
    count = len(LABELS)
    slips = generator.random(len(truth)) < slip
    if toward is not None:
        return np.where(slips, toward, truth)
    step = generator.integers(1, count, size=len(truth))
    return np.where(slips, np.where(truth == count, step, (truth + step) % count), truth)


def _answers(
    truth: Ints, predicted: Ints, confidence: Floats, published: Bools, slip: float, way: Way, generator: np.random.Generator
) -> tuple[Ints, Ints]:
    """First and settled answers; unsure decisions are answered rather than sure ones, or the other way round."""
    drawn = len(truth)
    opinions = [_slipped(truth, slip, way.toward, generator) for _ in range(3)]
    rank = np.empty(drawn)
    for door in (published, ~published):
        rank[door] = confidence[door].argsort().argsort() / max(1, door.sum() - 1)
    chance = np.where(published, generator.uniform(*AUDITS_ANSWERED), generator.uniform(*REVIEWS_ANSWERED))
    chance *= 1 + 0.4 * generator.choice((-1, 1)) * (rank - 0.5)
    answered = generator.random(drawn) < chance
    if way.left_out:
        answered &= (truth == predicted) | (generator.random(drawn) >= way.left_out)
    first = np.where(answered, opinions[0], NO_ANSWER)
    # As `settle` has it: the model, the first and the second person, then a third one.
    second = generator.random(drawn) < generator.uniform(*SECONDS_ANSWERED)
    by_two = np.where((opinions[1] == predicted) | (opinions[1] == first), opinions[1], NO_ANSWER)
    known = (opinions[2] == predicted) | (opinions[2] == first) | (opinions[2] == opinions[1])
    by_three = np.where((by_two == NO_ANSWER) & known, opinions[2], by_two)
    contradicted = np.where(second, by_three, NO_ANSWER)
    settled = np.where((first == predicted) | ~published, first, contradicted)
    return first, np.where(answered, settled, NO_ANSWER)
