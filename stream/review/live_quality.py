"""A window of the store as the items of `monitoring/quality`: what was drawn, who answered, how the answers settle."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np

from monitoring.quality.report import Report, Window, measure
from monitoring.quality.sample import NO_ANSWER, Sample, settle
from monitoring.vocabulary import OFF_SUBJECT, ReviewReason
from stream.review.store.facts import Queue
from stream.review.store.figures import Drawn, Total
from stream.review.store.standing import Opinion

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WINDOW_DAYS = 30
# The precision that the shipped bundle's thresholds are certified for.
PROMISE = 0.95
# As the totals of the store have it.
SHORT_WORDS = 6
MOST_CHARACTERS = 100


class Source(Protocol):
    """What is asked of the store."""

    def drawn(self, since_ms: int, until_ms: int) -> Sequence[Drawn]:
        """Decisions that people were to be asked about."""

    def totals(self, since_ms: int, until_ms: int) -> Sequence[Total]:
        """All published decisions by hour."""

    def queue(self) -> Queue:
        """Figures of the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveQuality:
    """
    Live quality at a moment.

    Attributes:
        since_ms: Begin of the window, Unix milliseconds.
        until_ms: Its end.
        labels: The labels of the newest bundle in the window.
        report: The estimates; None where nothing was drawn for people.
        left_out: Drawn decisions of the keyword rules, or of bundles with other labels, which the estimates leave out.
        queue: What waits for people.
    """

    since_ms: int
    until_ms: int
    labels: tuple[str, ...]
    report: Report | None
    left_out: int
    queue: Queue


def live_quality(store: Source, *, now_ms: int, days: float = WINDOW_DAYS, promise: float = PROMISE) -> LiveQuality:
    """
    Estimate the quality of the last days.

    Args:
        store: The review console's.
        now_ms: End of the window, Unix milliseconds.
        days: Its length. It begins with a full hour, since the store counts decisions by the hour.
        promise: The precision that consumers of `tagged` are promised, 0 to 1.

    Raises:
        DatabaseUnavailableError: The database does not answer.
    """
    since_ms = int(now_ms - days * DAY_MS) // HOUR_MS * HOUR_MS
    drawn = store.drawn(since_ms, now_ms)
    labels = tuple(drawn[-1].item.probabilities) if drawn else ()
    same = [one for one in drawn if set(one.item.probabilities) == set(labels) and _before(one).decider == "model"]
    report = measure(window(same, store.totals(since_ms, now_ms), labels), promise=promise) if same else None
    return LiveQuality(
        since_ms=since_ms,
        until_ms=now_ms,
        labels=labels,
        report=report,
        left_out=len(drawn) - len(same),
        queue=store.queue(),
    )


def window(drawn: Sequence[Drawn], totals: Iterable[Total], labels: tuple[str, ...]) -> Window:
    """
    The arrays of a window.

    Args:
        drawn: Decisions of models that have exactly these labels.
        totals: Of the same hours; those of other models are left out.
        labels: In the order of their numbers.
    """
    place = {label: number for number, label in enumerate(labels)}
    numbers = place | {OFF_SUBJECT: len(labels)}
    predicted = [place[one.item.model_tag] for one in drawn]
    opinions = [_opinions(one.opinions, numbers) for one in drawn]
    sample = Sample(
        labels=labels,
        published=np.array([one.published for one in drawn], dtype=np.bool_),
        predicted=np.array(predicted, dtype=np.int64),
        probabilities=np.array(
            [[one.item.probabilities[label] for label in labels] for one in drawn], dtype=np.float64
        ).reshape(len(drawn), len(labels)),
        inclusion=np.array([_before(one).inclusion_probability for one in drawn], dtype=np.float64),
        first=np.array([given[0] if given else NO_ANSWER for given in opinions], dtype=np.int64),
        truth=np.array([_truth(*row) for row in zip(drawn, predicted, opinions, strict=True)], dtype=np.int64),
    )
    populations = np.zeros((2, len(labels)))
    models = {one.item.model for one in drawn}
    for total in totals:
        if total.model in models and total.tag in place and set(total.probability_sums) == set(labels):
            populations[0 if total.destination == "tagged" else 1, place[total.tag]] += total.decisions
    return Window(
        sample=sample,
        populations=populations,
        slices={
            "source": np.array([_named(one.item.source) for one in drawn], dtype=np.str_),
            "language": np.array([_named(_language(one)) for one in drawn], dtype=np.str_),
            "length": np.array(["short text" if _short(one) else "longer text" for one in drawn], dtype=np.str_),
        },
        movable=np.array([one.item.reasons == (ReviewReason.LOW_CONFIDENCE,) for one in drawn], dtype=np.bool_),
    )


def _opinions(given: Sequence[Opinion], numbers: dict[str, int]) -> list[int]:
    """The last word of each person, in the order in which they first spoke; answers with labels of other bundles say nothing."""
    last: dict[str, int] = {}
    for opinion in sorted(given, key=lambda one: one.order):
        if opinion.tag in numbers:
            last[opinion.reviewer] = numbers[opinion.tag]
    return list(last.values())


def _truth(one: Drawn, predicted: int, opinions: list[int]) -> int:
    """An audit is settled when two agree. A decision that was sent to people is theirs: the first answer counts."""
    if not opinions:
        return NO_ANSWER
    return settle(predicted, opinions) if one.published else opinions[0]


class _Before(msgspec.Struct):
    """What of `before` is asked here; everything on `review` is asked about."""

    decider: str = "model"
    inclusion_probability: float = 1.0


def _before(one: Drawn) -> _Before:
    return msgspec.json.decode(one.item.before, type=_Before)


class _Fields(msgspec.Struct):
    """What of the event is asked here; any producer may have put anything there."""

    language: Any = None


def _language(one: Drawn) -> str | None:
    found = msgspec.json.decode(one.item.fields, type=_Fields).language
    return found if isinstance(found, str) else None


def _named(name: str | None) -> str:
    return name[:MOST_CHARACTERS] if name else "(none)"


def _short(one: Drawn) -> bool:
    return len(f"{one.item.title} {one.item.description or ''}".split()) <= SHORT_WORDS
