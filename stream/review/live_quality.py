"""Estimates live quality over a time window. The database counts the store's decisions, and `monitoring/quality` makes the estimates."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tagstream.monitoring.quality.amounts import minute_of
from tagstream.monitoring.quality.feedback import Feedback, ViewersAnswers
from tagstream.monitoring.quality.report import DecisionGroup, PromisedAccuracy, QualityReport, Window, measure
from tagstream.monitoring.quality.sample import Population
from tagstream.monitoring.quality.words import QualityTable
from tagstream.monitoring.vocabulary import Arm
from tagstream.stream.review.bundles import Bundles, KnownBundle
from tagstream.stream.review.store.records import QueueFigures
from tagstream.stream.review.store.sampling import DecidedBy, Drawn, LeftOut, Total
from tagstream.stream.review.store.store import Store
from tagstream.stream.review.store.votes import AskedOn
from tagstream.stream.review.store.work import PeoplesWork, WorkOn

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WINDOW_DAYS = 30
# The number of models with figures of their own: the newest ones.
MOST_MODELS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveQuality:
    """
    One estimate of live quality.

    Attributes:
        since_ms: The start of the window, Unix milliseconds.
        until_ms: The end of the window, Unix milliseconds.
        labels: The set of labels that most of the newest decisions have.
        report: The estimates; None if no decision was drawn for people.
        left_out: The records that the estimates do not use.
        queue: Figures of the items that wait for people.
        progress: The table of what answers certify, if the newest bundle was begun with labels in words; else None.
        drawn: The decisions that the estimates rest on.
        work: People's work on the decisions of the window.
        viewers: What viewers said, by the name and version of the bundle, the newest first; no estimate uses it.
    """

    since_ms: int
    until_ms: int
    labels: tuple[str, ...]
    report: QualityReport | None
    left_out: LeftOut
    queue: QueueFigures
    progress: QualityTable | None = None
    drawn: Drawn
    work: PeoplesWork
    viewers: Mapping[str, ViewersAnswers] = field(default_factory=dict)

    @property
    def days(self) -> float:
        """The length of the window in days."""
        return (self.until_ms - self.since_ms) / DAY_MS


def live_quality(
    store: Store, *, now_ms: int, bundles: Bundles, days: float = WINDOW_DAYS, promise: float | None = None
) -> LiveQuality:
    """
    Estimate the quality of the last days.

    Args:
        store: The review console's store.
        now_ms: The end of the window, Unix milliseconds.
        days: The window's length in days. The window begins with a full hour, because the store counts decisions by the hour.
        bundles: Looks up the bundles that decided: which bundles are one model, and the certified accuracy to judge the figures by.
        promise: An accuracy to judge by instead, for all published decisions and for each label, 0 to 1; None for the certified one.

    Raises:
        DatabaseUnavailableError: The database does not answer.
    """
    since_ms = int(now_ms - days * DAY_MS) // HOUR_MS * HOUR_MS
    drawn = store.samples.drawn(since_ms, now_ms)
    changed = store.samples.since_first_change(since_ms, now_ms, drawn.labels)
    known = bundles.known(one.digest for one in (*drawn.decided_by, *changed))
    models, arms = _models(drawn.decided_by, known), _arms(changed, known)
    whole, *counted = counts(store.samples.totals(since_ms, now_ms), drawn, [*models, *arms])
    work = store.work.of(since_ms, now_ms)
    minute = minute_of(work.times_ms)
    votes = store.votes.of(since_ms, now_ms)

    def feedback(group: Group) -> Feedback:
        answers, reported, confirmed = (
            sum(count for on, count in counted.items() if group.has(on))
            for counted in (work.answers, work.reported, work.confirmed)
        )
        minutes = None if minute is None else minute.times(answers).amount
        viewers = sum((said for on, said in votes.items() if group.has(on)), ViewersAnswers())
        return Feedback(answers=answers, minutes=minutes, reported=reported, confirmed=confirmed, viewers=viewers)

    def decided(groups: Sequence[Group], counts: Sequence[Counted], by: Sequence[DecidedBy]) -> list[DecisionGroup]:
        made = [[one for one in by if group.has(one)] for group in groups]
        found = store.samples.of_each(since_ms, now_ms, drawn.labels, made)
        return [
            DecisionGroup(
                name=group.name,
                bundles=tuple(dict.fromkeys(one.digest for one in by)),
                epochs=tuple(sorted({one.epoch for one in by})),
                sample=sample,
                population=count.population,
                fallback=count.fallback,
                feedback=feedback(group),
                sources=dict(count.sources),
            )
            for group, by, sample, count in zip(groups, made, found, counts, strict=True)
        ]

    window = Window(
        sample=drawn.sample,
        population=whole.population,
        slices=drawn.slices,
        movable=drawn.movable,
        models=decided(models, counted[: len(models)], drawn.decided_by),
        arms=decided(arms, counted[len(models) :], changed),
    )
    newest = known.get(drawn.bundle or "")
    certified = None if newest is None else newest.promise
    judged_by = certified if promise is None else PromisedAccuracy(accuracy=promise, least=promise)
    return LiveQuality(
        since_ms=since_ms,
        until_ms=now_ms,
        labels=drawn.labels,
        report=measure(window, promise=judged_by) if len(drawn.sample) else None,
        left_out=drawn.left_out,
        queue=store.queue.figures(),
        progress=None if newest is None else newest.progress,
        drawn=drawn,
        work=work,
        viewers=_by_model(votes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """
    Decisions that are measured together.

    Attributes:
        name: The name of the model or of the arm.
        bundles: The bundles that decided, each as a digest of the bundle's digest.
        epochs: The epochs of the decisions; None for any epoch.
        arms: The arms of the decisions; None for any arm.
    """

    name: str
    bundles: frozenset[int]
    epochs: frozenset[int] | None = None
    arms: frozenset[str] | None = None

    def has(self, one: DecidedBy | Total | WorkOn | AskedOn) -> bool:
        """True if these decisions belong to the group."""
        return (
            one.bundle in self.bundles
            and (self.epochs is None or one.epoch in self.epochs)
            and (self.arms is None or one.arm in self.arms)
        )


def _by_model(votes: Mapping[AskedOn, ViewersAnswers]) -> dict[str, ViewersAnswers]:
    sums = defaultdict[str, ViewersAnswers](ViewersAnswers)
    for on, said in votes.items():
        sums[on.model] += said
    return dict(sums)


def _models(decided_by: Sequence[DecidedBy], known: Mapping[str, KnownBundle]) -> list[Group]:
    """Return the newest models; empty for a single bundle. Bundles that differ only in thresholds are one model."""
    of_each = defaultdict[str, list[DecidedBy]](list)
    for one in decided_by:
        of_each[_judgement(one, known)].append(one)
    if len({one.bundle for one in decided_by}) <= 1:
        return []
    return [
        Group(name=made[0].model, bundles=frozenset(one.bundle for one in made))
        for made in list(of_each.values())[:MOST_MODELS]
    ]


def _arms(decided_by: Sequence[DecidedBy], known: Mapping[str, KnownBundle]) -> list[Group]:
    """
    Return champion and challenger in the epochs of the newest challenger, in which both had the same stream.

    Args:
        decided_by: The origins of the decisions after the first change of the model, the newest epoch first.
        known: The bundles that were found.
    """
    challengers = [one for one in decided_by if one.arm == Arm.CHALLENGER]
    if not challengers:
        return []
    newest = [one for one in challengers if _judgement(one, known) == _judgement(challengers[0], known)]
    epochs = frozenset(one.epoch for one in newest)

    def group(name: Arm, *arms: Arm) -> Group:
        made = [one for one in decided_by if one.epoch in epochs and one.arm in arms]
        return Group(name=name.value, bundles=frozenset(one.bundle for one in made), epochs=epochs, arms=frozenset(arms))

    return [group(Arm.CHAMPION, Arm.CHAMPION, Arm.FALLBACK), group(Arm.CHALLENGER, Arm.CHALLENGER)]


def _judgement(one: DecidedBy, known: Mapping[str, KnownBundle]) -> str:
    """Return the identity of the model. A bundle that was not found counts as a model of its own."""
    return known[one.digest].judgement if one.digest in known else one.digest


class Counted:
    """
    Counts of decisions.

    Attributes:
        population: The decisions by destination and label.
        fallback: The number of decisions that the champion made in the challenger's place.
        sources: The number of decisions by the events' source.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        """Count from zero, for decisions that have these labels."""
        self._labels = {label: number for number, label in enumerate(labels)}
        count = len(labels)
        self.population = Population(decisions=np.zeros((2, count)), probabilities=np.zeros((2, count, count)))
        self.fallback = 0
        self.sources = Counter[str]()

    def add(self, total: Total) -> None:
        """Add decisions."""
        cell = 0 if total.destination == "tagged" else 1, self._labels[total.tag]
        self.population.decisions[cell] += total.decisions
        self.population.probabilities[cell] += [total.probability_sums[label] for label in self._labels]
        self.fallback += total.decisions if total.arm == Arm.FALLBACK else 0
        self.sources[total.source] += total.decisions


def counts(totals: Iterable[Total], drawn: Drawn, groups: Sequence[Group] = ()) -> list[Counted]:
    """Return the counts of all decisions by the models in `drawn`, followed by the counts of each group."""
    whole, *each = [Counted(drawn.labels) for _ in range(1 + len(groups))]
    for total in totals:
        if not _has_labels(total, drawn):
            continue
        # The arm of a canary may have no drawn decision yet, so its bundle need not be one of the models in `drawn`.
        into = [counted for counted, group in zip(each, groups, strict=True) if group.has(total)]
        for counted in (whole, *into) if is_measured(total, drawn) else into:
            counted.add(total)
    return [whole, *each]


def is_measured(total: Total, drawn: Drawn) -> bool:
    """True for decisions that are like the drawn ones: of a model with their labels."""
    return total.model in drawn.models and _has_labels(total, drawn)


def _has_labels(total: Total, drawn: Drawn) -> bool:
    labels = set(drawn.labels)
    return total.tag in labels and set(total.probability_sums) == labels


def left_out(found: LiveQuality) -> str:
    """Return a sentence about the records that the estimates do not use; empty if they use all records."""
    said = {
        "decisions of rules, or of models with other labels": found.left_out.other,
        "decisions that no worker makes (a probability that no draw gives, or a tag that is none of their labels)": found.left_out.unsound,
        "answers that follow from no decision which this console has read": found.left_out.strays,
    }
    named = [f"{count:,} {name}" for name, count in said.items() if count]
    return f"Left out: {'; '.join(named)}." if named else ""
