"""The estimators that are compared: ours, and four that a reader could take for right."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.quality.streams import LABELS, Stream
from tagstream.monitoring.quality.estimate import Estimate, everything, published
from tagstream.monitoring.quality.figures import BY_LABEL, Totals
from tagstream.monitoring.quality.sample import Floats, Ints

Interval = tuple[float, float]
# By figure: "accuracy", or (name of the figure, number of the label).
Name = str | tuple[str, int]
Intervals = dict[Name, Interval]

NAMES: tuple[Name, ...] = ("accuracy", *((name, label) for label in range(len(LABELS)) for name in BY_LABEL))
NORMAL = 1.959963984540054


def ours_published(one: Stream) -> Intervals:
    """The project's estimate of what is published."""
    return _intervals(published(one.drawn, one.population))


def ours_everything(one: Stream) -> Intervals:
    """The project's estimate of the model over both doors."""
    return _intervals(everything(one.drawn, one.population))


def shown_published(one: Stream) -> Intervals:
    """Of the published scope, what a reader is shown."""
    return _shown(published(one.drawn, one.population))


def shown_everything(one: Stream) -> Intervals:
    """Of both doors, what a reader is shown."""
    return _shown(everything(one.drawn, one.population))


def anyway(one: Stream) -> Intervals:
    """The accuracy of the published, whatever the decisions without an answer are."""
    found = published(one.drawn, one.population)
    return {"accuracy": found.anyway} if found.accuracy.shown else {}


def _shown(found: Estimate) -> Intervals:
    all_of_them = _intervals(found)
    shown = {("accuracy"): found.accuracy.shown} | {
        (name, number): found.by_label[label][name].shown for number, label in enumerate(LABELS) for name in BY_LABEL
    }
    return {name: interval for name, interval in all_of_them.items() if shown[name]}


def first_answers(one: Stream) -> Intervals:
    """Bad: one person's word is the truth, so that reviewers' slips are the model's mistakes."""
    return _intervals(published(replace(one.drawn, truth=one.drawn.first), one.population))


def all_answers_alike(one: Stream) -> Intervals:
    """Bad: audits and reviews in one heap, each answer counted once."""
    rows = one.drawn.where(one.drawn.settled)
    return _plain(rows.predicted, rows.truth)


def wald(one: Stream) -> Intervals:
    """Bad: the textbook interval, which shrinks to nothing where all answers are right."""
    rows = one.drawn.where(one.drawn.settled & one.drawn.published)
    return _plain(rows.predicted, rows.truth)


def confidence_alone(one: Stream) -> Intervals:
    """Bad: no labels at all, the mean confidence of the published is taken for their accuracy."""
    rows = one.drawn.where(one.drawn.published)
    # As if each decision were as right as the model believes.
    totals = Totals(np.pad(one.population.probabilities[:1], ((0, 0), (0, 0), (0, 1))), np.arange(len(LABELS)))
    return {name: _around(float(_measure(totals, name)[0]), len(rows)) for name in NAMES}


KNOWN_BAD: tuple[Callable[[Stream], Intervals], ...] = (first_answers, all_answers_alike, wald, confidence_alone)


def truths(one: Stream, *, everywhere: bool = False) -> dict[Name, float]:
    """The true figures of a stream: of what is published, or of both doors."""
    rows = np.ones(len(one.truth), dtype=np.bool_) if everywhere else one.published
    totals = Totals(_counts(one.predicted[rows], one.truth[rows])[None], np.arange(len(LABELS)))
    return {name: float(_measure(totals, name)[0]) for name in NAMES}


def _measure(totals: Totals, name: Name) -> Floats:
    return totals.accuracy() if isinstance(name, str) else totals.measure(*name)


def _intervals(found: Estimate) -> Intervals:
    by_label: Intervals = {
        (name, number): (figure.low, figure.high)
        for number, label in enumerate(LABELS)
        for name, figure in found.by_label[label].items()
    }
    return {"accuracy": (found.accuracy.low, found.accuracy.high), **by_label}


def _counts(predicted: Ints, truth: Ints) -> Floats:
    cells = np.zeros((len(LABELS), len(LABELS) + 1))
    np.add.at(cells, (predicted, truth), 1)
    return cells


def _plain(predicted: Ints, truth: Ints) -> Intervals:
    cells = _counts(predicted, truth)
    totals = Totals(cells[None], np.arange(len(LABELS)))
    found: Intervals = {}
    for name in NAMES:
        if isinstance(name, str):
            base = cells.sum()
        else:
            named, true = cells[name[1]].sum(), cells[:, name[1]].sum()
            base = {"precision": named, "recall": true, "f1": named + true}[name[0]]
        found[name] = _around(float(_measure(totals, name)[0]), base)
    return found


def _around(share: float, base: float) -> Interval:
    reach = NORMAL * float(np.sqrt(share * (1 - share) / base))
    return share - reach, share + reach
