"""How much of the stream each answer stands for, and how many plain answers the answers of a stratum are worth.

A stratum is a door and a predicted label. Its figures rest on up to three draws, one inside the other:

1. decisions are drawn for people with their inclusion probability;
2. a part of the drawn ones is answered. People see unsure decisions earlier or later than sure ones, so each band of
   confidence is weighted up to all that was drawn in it;
3. a part of the answers that contradict the model has a second opinion; those that have one stand for all of them.

The variance is that of the three draws. `worth` is the number of answers drawn plainly that would have the same variance
(Korn and Graubard 1998 call it the effective sample size).
"""

from dataclasses import dataclass, replace

import numpy as np

from monitoring.quality.sample import Floats, Sample

MOST_BANDS = 20
LEAST_IN_BAND = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """
    One door and one predicted label.

    Attributes:
        published: The door: `tagged`, or else `review`.
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


def strata(sample: Sample, populations: Floats | None = None) -> list[Stratum]:
    """
    The strata of a sample that hold any decision of the stream.

    Args:
        sample: The drawn decisions.
        populations: Decisions of the stream by door (`tagged`, then `review`) and predicted label, [2, K]. Without it, and where it
            has fewer than were drawn, the drawn ones stand for 1 / inclusion probability decisions each.
    """
    found = []
    for published in (True, False):
        for label in range(len(sample.labels)):
            rows = sample.where((sample.published == published) & (sample.predicted == label))
            drawn = float((1 / rows.inclusion).sum())
            known = 0.0 if populations is None else float(populations[0 if published else 1, label])
            population = known if known >= max(1, len(rows)) else drawn
            if population > 0:
                found.append(_stratum(rows, published=published, label=label, population=population))
    return found


def _stratum(rows: Sample, *, published: bool, label: int, population: float) -> Stratum:
    if rows.contradicted.any() and not (rows.contradicted & rows.settled).any():
        # No second opinion yet: the agreements alone would say 100 %, so the first answers count.
        rows = replace(rows, truth=rows.first)
    design = 1 / rows.inclusion
    expected = design @ rows.probabilities / design.sum() if len(rows) else np.full(len(rows.labels), 1 / len(rows.labels))
    shares = np.zeros(len(rows.labels) + 1)
    worth = 0.0
    if rows.settled.any():
        bands = _bands(rows)
        weights = _weights(rows, design, bands)
        settled = rows.settled
        np.add.at(shares, rows.truth[settled], weights[settled])
        shares /= shares.sum()
        worth = _worth(rows, design, bands, population)
    return Stratum(published=published, predicted=label, population=population, shares=shares, worth=worth, expected=expected)


def _bands(rows: Sample) -> Floats:
    """The band of confidence of each row, [n]; every band has answers."""
    answered = rows.confidence[rows.answered]
    count = min(MOST_BANDS, max(1, len(answered) // LEAST_IN_BAND))
    edges = np.unique(np.quantile(answered, np.arange(1, count) / count, method="lower"))
    bands: Floats = np.searchsorted(edges, rows.confidence, side="left").astype(np.float64)
    # Equal confidences can leave a band without an answer: it joins the one below, or the lowest that has one.
    answering = np.unique(bands[rows.answered])
    place = np.maximum(np.searchsorted(answering, bands, side="right") - 1, 0)
    joined: Floats = answering[place]
    return joined


def _weights(rows: Sample, design: Floats, bands: Floats) -> Floats:
    """The weight of each settled answer, [n]; zero for the others."""
    weights = np.zeros(len(rows))
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


def _worth(rows: Sample, design: Floats, bands: Floats, population: float) -> float:
    """
    Plain answers that are worth as much: the variance of one answer over that of the share.

    The bands count as equally hard. That is a little cautious for the share that is right, and fair for the rare kinds of mistake.
    """
    drawn = design.sum() ** 2 / (design**2).sum()
    variance = max(0.0, 1 - len(rows) / population) / drawn
    for band in np.unique(bands):
        inside = bands == band
        part = float(design[inside].sum() / design.sum())
        variance += part**2 * (1 / int((inside & rows.answered).sum()) - 1 / int(inside.sum()))
    # A kind of mistake is counted among the settled contradictions alone.
    contradicted = int(rows.contradicted.sum())
    settled = int((rows.contradicted & rows.settled).sum())
    if 0 < settled < contradicted:
        answers = int(rows.answered.sum())
        variance += (contradicted / settled - 1) / answers
    return float("inf") if variance <= 0 else 1 / variance
