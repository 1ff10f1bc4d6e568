"""The statistics of the comparison: pure functions of what was written and when."""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Start-up and warm-up are not the rate: the first tenth is left out.
WARM = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The part of a run that is measured: `events` outcomes after `first_ms` until `last_ms`, Unix milliseconds."""

    events: int
    first_ms: int
    last_ms: int

    @property
    def per_second(self) -> float:
        """Outcomes per second."""
        return self.events * 1000 / max(1, self.last_ms - self.first_ms)


def span_of(stamps_ms: Sequence[int]) -> Span:
    """
    The span of some records' timestamps, without the first tenth.

    Raises:
        ValueError: There are fewer than two timestamps after it.

    >>> span_of([0, *range(1000, 1010)]).per_second
    1000.0
    """
    warm = sorted(stamps_ms)[len(stamps_ms) // WARM :]
    if len(warm) <= 1:
        msg = f"{len(stamps_ms)} records give no rate. Next: measure more events."
        raise ValueError(msg)
    return Span(events=len(warm) - 1, first_ms=warm[0], last_ms=warm[-1])


def cpu_within(readings: Sequence[tuple[float, float]], first_ms: float, last_ms: float) -> float:
    """
    Processor seconds between two moments, from readings (Unix seconds, processor seconds so far) that lie around them.

    >>> cpu_within([(0.0, 0.0), (1.0, 2.0), (2.0, 2.5)], 500, 1500)
    1.25
    """
    return _at(readings, last_ms / 1000) - _at(readings, first_ms / 1000)


def _at(readings: Sequence[tuple[float, float]], moment: float) -> float:
    place = bisect_left(readings, moment, key=lambda reading: reading[0])
    if place == 0:
        return readings[0][1]
    if place == len(readings):
        return readings[-1][1]
    (before, least), (after, most) = readings[place - 1], readings[place]
    return least + (most - least) * (moment - before) / (after - before)


def percentile(values: Sequence[float], share: float) -> float:
    """
    The smallest value that at least this share of all values, 0 to 1, does not exceed (nearest rank).

    >>> percentile([4, 1, 3, 2], 0.5), percentile([4, 1, 3, 2], 0.99)
    (2, 4)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def delays_ms(events: Sequence[tuple[float, int]], since_ms: float) -> list[float]:
    """
    From the moment at which an event should have been sent to its outcome's timestamp, of events intended at `since_ms` or later.

    A late sender makes these longer, not the load smaller: an event that waits behind a slow one counts its wait.

    >>> delays_ms([(0.0, 5), (10.0, 12)], since_ms=5)
    [2.0]
    """
    return [written - intended for intended, written in events if intended >= since_ms]


def lag(intended_ms: Sequence[float], written_ms: Sequence[int], moment_ms: float) -> int:
    """
    Events that should have been sent by this moment and had no outcome by then. Both sequences are sorted.

    >>> lag([1.0, 2.0, 3.0], [2, 9], 3)
    2
    """
    return bisect_right(intended_ms, moment_ms) - bisect_right(written_ms, moment_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """
    The result of an arm on its events.

    Attributes:
        lost: Events without an outcome.
        repeated: Outcomes beyond an event's first.
        foreign: Outcomes of no event of this run, or without a label.
        agreement: The share of outcomes whose label is that of the arm's own model asked beforehand, 0 to 1.
        f1: The weighted F1 of the gold events' labels; None where there are none.
    """

    lost: int
    repeated: int
    foreign: int
    agreement: float
    f1: float | None

    def faults(self, least_agreement: float) -> list[str]:
        """
        Reasons why this arm's figures are void; an empty list where its work is whole.

        >>> Work(lost=1, repeated=0, foreign=0, agreement=0.5, f1=None).faults(1.0)
        ['1 events lost', 'only 0.5000 of the labels are those of its model (at least 1.0)']
        """
        found = [
            f"{count} {what}"
            for count, what in (
                (self.lost, "events lost"),
                (self.repeated, "outcomes written again"),
                (self.foreign, "outcomes that belong to no event"),
            )
            if count
        ]
        if self.agreement < least_agreement:
            found.append(f"only {self.agreement:.4f} of the labels are those of its model (at least {least_agreement})")
        return found


def work_of(
    written: Sequence[tuple[str, str] | None], *, expected: Mapping[str, str], gold: Mapping[str, str], whole: bool = True
) -> Work:
    """
    Judge an arm's outcomes.

    Args:
        written: Event id and label of every outcome; None for one that is no decision.
        expected: The label that the arm's model gives, by event id.
        gold: The right label of the events that have one.
        whole: The arm had the time to decide all events; else events without an outcome are not lost.
    """
    from sklearn.metrics import f1_score

    decided = [one for one in written if one is not None and one[0] in expected]
    counts = Counter(event for event, _ in decided)
    agreed = sum(expected[event] == label for event, label in decided)
    scored = [(gold[event], label) for event, label in dict(decided).items() if event in gold]
    f1 = f1_score(*zip(*scored, strict=True), average="weighted", zero_division=0) if scored else None
    return Work(
        lost=len(expected) - len(counts) if whole else 0,
        repeated=len(decided) - len(counts),
        foreign=len(written) - len(decided),
        agreement=agreed / len(decided) if decided else 0.0,
        f1=None if f1 is None else round(float(f1), 4),
    )
