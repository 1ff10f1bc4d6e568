"""Compares one window of decisions with the reference: words, labels and producers that have changed. Pure.

Every threshold is an effect size with a least count. A p-value alone would not do: with enough events any change is
significant.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from tagstream.monitoring.comparison import psi_terms
from tagstream.monitoring.drift.baseline import Baseline
from tagstream.monitoring.drift.findings import MOST_EXAMPLES, MOST_ITEMS, Label, Source, Word
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import Signals
from tagstream.monitoring.vocabulary import DriftScore

# A word counts if at least this share of the window's events contain it (20 of 1,000), and at least this number of events.
LEAST_SHARE, LEAST_COUNT = 0.02, 10
# ... and if its share is at least this many times its share in the reference.
LEAST_RATIO = 2.0
# ... and if chance alone would rarely explain its share.
LEAST_Z = 3.0
# Standard errors by which the share of silent or unseen producers may exceed the expected one by chance.
CHANCE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """
    The result of comparing one window with the reference.

    Attributes:
        events: Number of decisions in the window.
        scores: The scores that could be computed. The scores of words and sources need a baseline.
        words: Words that became more frequent, largest z first.
        labels: All labels, largest term first.
        sources: Unseen producers, and None for events without a source, most frequent first.
    """

    events: int
    scores: Mapping[DriftScore, float]
    words: tuple[Word, ...]
    labels: tuple[Label, ...]
    sources: tuple[Source, ...]


def compare(window: Sequence[Observation], *, baseline: Baseline | None, label_ratio: Mapping[str, float] | None) -> Comparison:
    """
    Compare decisions with the baseline and with the reference's shares of labels.

    Args:
        window: The outcomes of one window; dead letters are left out.
        baseline: The counts with which words and sources are compared; None for no score of words and sources.
        label_ratio: The share of each label in the reference, 0 to 1; None for no score of labels.
    """
    decided = [(seen, seen.signals) for seen in window if seen.signals is not None and seen.label is not None]
    scores: dict[DriftScore, float] = {}
    words: tuple[Word, ...] = ()
    labels: tuple[Label, ...] = ()
    sources: tuple[Source, ...] = ()
    if decided and label_ratio:
        labels = _labels([seen.label or "" for seen, _ in decided], label_ratio)
        scores[DriftScore.LABELS] = math.fsum(label.psi_term for label in labels)
    if decided and baseline is not None:
        signals = [found for _, found in decided]
        words = _words(signals, baseline)
        scores[DriftScore.WORDS] = words[0].z if words else 0.0
        scores[DriftScore.SOURCES], sources = _sources(signals, baseline)
    return Comparison(events=len(decided), scores=scores, words=words, labels=labels, sources=sources)


def flooding(window: Sequence[Observation], baseline: Baseline, *, least: float) -> Source | None:
    """
    The named producer whose share of the window has grown most; None if no share has grown by `least`, beyond chance.

    Args:
        window: The decisions that were compared.
        baseline: Has the producers' ordinary shares.
        least: The least growth, a share of the window's events.
    """
    counts = Counter(found.source for found in _signals(window))
    events = counts.total()
    grown = {
        name: _excess(count / events, baseline.sources.get(name, 0), baseline.events, events)
        for name, count in counts.items()
        if name is not None
    }
    name = max(grown, key=lambda name: (grown[name], name), default=None)
    if name is None or grown[name] < least:
        return None
    return Source(source=name, share=round(counts[name] / events, 4), seen_before=name in baseline.sources)


def surprise(count: int, events: int, reference_count: int, reference_events: int) -> float:
    """
    How unlikely the share of a word is, given its share in the reference: a z, below 0 for a word that became rarer.

    The z is the signed root of Dunning's log-likelihood ratio. The usual log-odds with a prior have so wide an error for a word that the
    reference lacks that even twenty occurrences in a thousand events stay below z = 3.

    Args:
        count: Events with the word.
        events: All events of the window, at least 1.
        reference_count: Events of the reference with the word.
        reference_events: All events of the reference, at least 1.

    >>> [round(surprise(count, 1000, 0, 5000), 1) for count in (0, 5, 20)]
    [0.0, 4.2, 8.5]
    >>> round(surprise(40, 1000, 200, 5000), 1), surprise(10, 1000, 200, 5000) < 0
    (0.0, True)
    """
    share = (count + reference_count) / (events + reference_events)
    ratio = 0.0
    for here, among in ((count, events), (reference_count, reference_events)):
        ratio += _weighted_log(here, among * share) + _weighted_log(among - here, among * (1 - share))
    z = math.sqrt(max(0.0, 2 * ratio))
    return z if count * reference_events >= reference_count * events else -z


def examples(score: DriftScore, window: Iterable[Observation], found: Comparison) -> tuple[str, ...]:
    """
    Ids of events to look at, ten at most.

    Args:
        score: The score that the events must illustrate.
        window: The decisions that were compared.
        found: The comparison of the window.
    """
    match score:
        case DriftScore.WORDS:
            return examples_of_words(window, found.words[:MOST_ITEMS])
        case DriftScore.LABELS:
            return examples_of_labels(window, found.labels)
        case DriftScore.SOURCES:
            return examples_of_sources(window, found.sources)
        case _:
            assert_never(score)


def examples_of_words(window: Iterable[Observation], words: Sequence[Word]) -> tuple[str, ...]:
    """Ids of the events with the largest sum of z over these words."""
    weights = {word.word: word.z for word in words}
    weighed = (
        (math.fsum(weights.get(word, 0.0) for word in set(signals.words)), signals.event_id) for signals in _signals(window)
    )
    ordered = sorted((item for item in weighed if item[0] > 0), key=lambda item: -item[0])
    return first_ids(event_id for _, event_id in ordered)


def examples_of_labels(window: Iterable[Observation], labels: Sequence[Label]) -> tuple[str, ...]:
    """Ids of the events with the highest energy among the events of the label that grew most; among all events if no label grew."""
    grown = [label.label for label in labels if label.share > label.reference_share][:1]
    found = [
        seen.signals
        for seen in window
        if seen.signals is not None and seen.label is not None and (not grown or seen.label in grown)
    ]
    return first_ids(signals.event_id for signals in sorted(found, key=lambda signals: -signals.energy))


def examples_of_sources(window: Iterable[Observation], sources: Sequence[Source]) -> tuple[str, ...]:
    """Ids of the first events of these producers."""
    names = {source.source for source in sources}
    return first_ids(signals.event_id for signals in _signals(window) if signals.source in names)


def first_ids(event_ids: Iterable[str]) -> tuple[str, ...]:
    """The first ten different ids; a redelivered event counts once."""
    return tuple(itertools.islice(dict.fromkeys(event_ids), MOST_EXAMPLES))


def _signals(window: Iterable[Observation]) -> Iterable[Signals]:
    return (seen.signals for seen in window if seen.signals is not None)


def _words(signals: Sequence[Signals], baseline: Baseline) -> tuple[Word, ...]:
    counts: Counter[str] = Counter()
    for found in signals:
        counts.update(set(found.words))
    events = len(signals)
    least = max(LEAST_COUNT, LEAST_SHARE * events)
    scored = []
    for word, count in counts.items():
        if count < least:
            continue
        before = min(baseline.words.get(word, 0), baseline.events)
        share, reference_share = count / events, before / baseline.events
        if share >= LEAST_RATIO * reference_share:
            z = surprise(count, events, before, baseline.events)
            if z >= LEAST_Z:
                scored.append(Word(word=word, z=round(z, 2), share=round(share, 4), reference_share=round(reference_share, 4)))
    return tuple(sorted(scored, key=lambda word: (-word.z, word.word)))


def _labels(seen: Sequence[str], label_ratio: Mapping[str, float]) -> tuple[Label, ...]:
    counts = Counter(seen)
    # A label that is missing from the reference has the share 0, unlike in the recording rules: it is the strongest shift.
    reference = {label: label_ratio.get(label, 0.0) for label in sorted({*label_ratio, *counts})}
    shares = {label: counts[label] / len(seen) for label in reference}
    labels = [
        Label(label=label, share=round(shares[label], 4), reference_share=round(reference[label], 4), psi_term=round(term, 5))
        for label, term in psi_terms(shares, reference).items()
    ]
    return tuple(sorted(labels, key=lambda label: (-label.psi_term, label.label)))


def _sources(signals: Sequence[Signals], baseline: Baseline) -> tuple[float, tuple[Source, ...]]:
    counts = Counter(found.source for found in signals)
    events = len(signals)
    silent = counts.pop(None, 0)
    unseen = {name: count for name, count in counts.items() if name not in baseline.sources}
    # Good-Turing estimate: the expected share of events from unseen producers is the share of events from producers that were seen once.
    excess = _excess(sum(unseen.values()) / events, baseline.lone_sources, baseline.events, events)
    more_silent = _excess(silent / events, baseline.without_source, baseline.events, events)
    found: list[Source] = []
    if excess > 0:
        found += [Source(source=name, share=round(n / events, 4), seen_before=False) for name, n in unseen.items()]
    if more_silent > 0:
        found.append(Source(source=None, share=round(silent / events, 4), seen_before=baseline.without_source > 0))
    found.sort(key=lambda source: (-source.share, source.source or ""))
    return round(excess + more_silent, 4), tuple(found[:MOST_ITEMS])


def _excess(share: float, reference_count: int, reference_events: int, events: int) -> float:
    """The part of `share` that neither the reference nor chance explains."""
    expected = reference_count / reference_events
    error = math.sqrt(expected * (1 - expected) * (1 / events + 1 / reference_events))
    return max(0.0, share - expected - CHANCE * error)


def _weighted_log(observed: float, expected: float) -> float:
    return observed * math.log(observed / expected) if observed > 0 else 0.0
