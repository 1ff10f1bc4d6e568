"""How much of the stream each answer stands for, and how many plain answers the answers of a stratum are worth.

A stratum is a destination (`tagged` or `review`) and a predicted label. Its figures rest on up to three draws, one inside the other:

1. decisions are drawn for people with their inclusion probability;
2. a part of the drawn ones is answered. People see unsure decisions earlier or later than sure ones, so each band of
   confidence is weighted up to all that was drawn in it;
3. a part of the answers that contradict the model has a second opinion; those that have one stand for all of them.

The variance is that of the three draws. `worth` is the number of answers drawn plainly that would have the same variance
(Korn and Graubard 1998 call it the effective sample size).
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
        published: The decisions went to `tagged`; else to `review`.
        predicted: The label's number.
        population: Decisions of the stream in this stratum.
        shares: Share of each true label, "not about this subject" last, [K + 1]; zeros without an answer.
        worth: Plain answers that would say as much; 0 without an answer, infinite if all decisions are answered.
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
    The strata of a sample that hold any decision of the stream.

    Args:
        sample: The drawn decisions.
        population: All decisions of the stream. Without it, and where it has fewer than were drawn, the drawn ones stand for
            1 / inclusion probability decisions each.
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
        # No second opinion yet: the agreements alone would say 100 %, so the first answers count.
        rows = replace(rows, truth=rows.first)
    shares = np.zeros(len(rows.labels) + 1)
    worth = 0.0
    if rows.settled.any():
        # No decision stands for more than all of its stratum.
        each: Floats = np.minimum(1 / rows.inclusion, population)
        bands = _bands(rows)
        weights = _weights(rows, each * rows.count, bands)
        settled = rows.settled
        np.add.at(shares, rows.truth[settled], weights[settled])
        shares /= shares.sum()
        worth = _worth(rows, each, bands, population)
    return Stratum(published=published, predicted=label, population=population, shares=shares, worth=worth, expected=expected)


def _bands(rows: Sample) -> Floats:
    """The band of confidence of each row, [n]; every band has answers."""
    answered = rows.answered
    count = min(MOST_BANDS, max(1, rows.decisions(answered) // LEAST_IN_BAND))
    edges = np.unique(quantiles(rows.confidence[answered], rows.count[answered], np.arange(1, count) / count))
    bands: Floats = np.searchsorted(edges, rows.confidence, side="left").astype(np.float64)
    # Equal confidences can leave a band without an answer: it joins the one below, or the lowest that has one.
    answering = np.unique(bands[answered])
    place = np.maximum(np.searchsorted(answering, bands, side="right") - 1, 0)
    joined: Floats = answering[place]
    return joined


def _weights(rows: Sample, design: Floats, bands: Floats) -> Floats:
    """The weight of the settled answers of each row, [n]; zero for the others."""
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
    Plain answers that are worth as much: the variance of one answer over that of the share.

    The bands count as equally hard. That is a little cautious for the share that is right, and fair for the rare kinds of mistake.
    """
    design = rows.count * each
    drawn = design.sum() ** 2 / (rows.count * each**2).sum()
    variance = max(0.0, 1 - len(rows) / population) / drawn
    for band in np.unique(bands):
        inside = bands == band
        part = float(design[inside].sum() / design.sum())
        variance += part**2 * (1 / rows.decisions(inside & rows.answered) - 1 / rows.decisions(inside))
    # A kind of mistake is counted among the settled contradictions alone.
    contradicted = rows.decisions(rows.contradicted)
    settled = rows.decisions(rows.contradicted & rows.settled)
    if 0 < settled < contradicted:
        variance += (contradicted / settled - 1) / rows.decisions(rows.answered)
    return float("inf") if variance <= 0 else 1 / variance
