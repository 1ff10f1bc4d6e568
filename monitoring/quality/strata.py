"""The number of decisions that each answer stands for, and the effective sample size of a stratum's answers.

A stratum is a destination (`tagged` or `review`) and a predicted label. Its figures rest on up to three draws, one inside the other:

1. Decisions are drawn for people with their inclusion probability.
2. Some of the drawn decisions are answered. People see unsure decisions earlier or later than sure ones, so the answers in each
   band of confidence are weighted up to all drawn decisions in the band.
3. Some of the answers that contradict the model have a second opinion. These stand for all contradictions.

The variance covers all three draws. `worth` is the number of answers in a simple random sample with the same variance
(the effective sample size of Korn and Graubard 1998).
"""

from dataclasses import dataclass, replace

import numpy as np

from tagstream.monitoring.quality.sample import Floats, Population, Sample, expected_shares, quantiles

MOST_BANDS = 20
LEAST_IN_BAND = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """
    One destination and one predicted label.

    Attributes:
        published: True if the decisions went to `tagged`, false for `review`.
        predicted: The label's number.
        population: Number of decisions of the stream in this stratum.
        shares: Share of each true label, "not about this subject" last, [K + 1]; zeros without an answer.
        worth: The effective sample size, in answers; 0 without an answer, infinite if all decisions are answered.
        expected: Mean of the model's probabilities over the stratum, [K].
    """

    published: bool
    predicted: int
    population: float
    shares: Floats
    worth: float
    expected: Floats


def strata(sample: Sample, population: Population | None = None) -> list[Stratum]:
    """
    Return the strata of a sample that hold any decision of the stream.

    Args:
        sample: The drawn decisions.
        population: All decisions of the stream. Without it, and in a stratum where it has fewer decisions than were drawn, each drawn
            decision stands for 1 / inclusion probability decisions.
    """
    found = []
    for published in (True, False):
        destination = 0 if published else 1
        for label in range(len(sample.labels)):
            rows = sample.where((sample.published == published) & (sample.predicted == label))
            known = 0.0 if population is None else float(population.decisions[destination, label])
            if population is not None and known >= max(1, len(rows)):
                expected = population.probabilities[destination, label] / known
                found.append(_stratum(rows, published=published, label=label, population=known, expected=expected))
            elif len(rows):
                drawn, expected = float(rows.design.sum()), expected_shares(label, rows)
                found.append(_stratum(rows, published=published, label=label, population=drawn, expected=expected))
    return found


def _stratum(rows: Sample, *, published: bool, label: int, population: float, expected: Floats) -> Stratum:
    if rows.contradicted.any() and not (rows.contradicted & rows.settled).any():
        # Without any second opinion, only the agreements are settled. They alone would give 100 %, so the first answers count.
        rows = replace(rows, truth=rows.first)
    shares = np.zeros(len(rows.labels) + 1)
    worth = 0.0
    if rows.settled.any():
        # A decision stands for at most the whole stratum.
        each: Floats = np.minimum(1 / rows.inclusion, population)
        bands = _bands(rows)
        weights = _weights(rows, each * rows.count, bands)
        settled = rows.settled
        np.add.at(shares, rows.truth[settled], weights[settled])
        shares /= shares.sum()
        worth = _worth(rows, each, bands, population)
    return Stratum(published=published, predicted=label, population=population, shares=shares, worth=worth, expected=expected)


def _bands(rows: Sample) -> Floats:
    """Return the band of confidence of each row, [n]; every band has answers."""
    answered = rows.answered
    count = min(MOST_BANDS, max(1, rows.decisions(answered) // LEAST_IN_BAND))
    edges = np.unique(quantiles(rows.confidence[answered], rows.count[answered], np.arange(1, count) / count))
    bands: Floats = np.searchsorted(edges, rows.confidence, side="left").astype(np.float64)
    # Equal confidences can leave a band without an answer. Such a band joins the next lower band with an answer, else the lowest one.
    answering = np.unique(bands[answered])
    place = np.maximum(np.searchsorted(answering, bands, side="right") - 1, 0)
    joined: Floats = answering[place]
    return joined


def _weights(rows: Sample, design: Floats, bands: Floats) -> Floats:
    """Return the weight of each row's settled answers, [n]; 0 for a row without them."""
    weights = np.zeros(len(rows.count))
    for band in np.unique(bands):
        inside = bands == band
        answers = inside & rows.answered
        weights[answers] = design[answers] * design[inside].sum() / design[answers].sum()
    contradicted, settled = rows.contradicted, rows.settled
    if (contradicted & settled).any():
        up = weights[contradicted].sum() / weights[contradicted & settled].sum()
        weights[contradicted & settled] *= up
    weights[~settled] = 0
    return weights


def _worth(rows: Sample, each: Floats, bands: Floats, population: float) -> float:
    """
    Return the effective sample size: the variance of one answer, divided by the variance of the share.

    All bands count as equally hard. This is slightly cautious for the share of right decisions, and fair for rare kinds of mistake.
    """
    design = rows.count * each
    drawn = design.sum() ** 2 / (rows.count * each**2).sum()
    variance = max(0.0, 1 - len(rows) / population) / drawn
    for band in np.unique(bands):
        inside = bands == band
        part = float(design[inside].sum() / design.sum())
        variance += part**2 * (1 / rows.decisions(inside & rows.answered) - 1 / rows.decisions(inside))
    # Kinds of mistake are known from settled contradictions alone.
    contradicted = rows.decisions(rows.contradicted)
    settled = rows.decisions(rows.contradicted & rows.settled)
    if 0 < settled < contradicted:
        variance += (contradicted / settled - 1) / rows.decisions(rows.answered)
    return float("inf") if variance <= 0 else 1 / variance
