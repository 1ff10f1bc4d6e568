"""Plain records of the figures on the page and in the terminal: flow, latency, confidence, labels, drift.

`compute` fills the records. `/snapshot.json` and `tagstream top --json` have the same field names.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """
    A worker that is not ready or does not answer.

    Attributes:
        worker: The worker's name.
        answers: The worker answers with its metrics.
        why: The reason, sometimes with a next step.
        breaker_open: The worker's circuit breaker is open.
        brokers_silent: The brokers do not answer the worker.
        no_fault: The worker waits for its partitions, or it stops; this is not an alarm.
    """

    worker: str
    answers: bool
    why: str
    breaker_open: bool = False
    brokers_silent: bool = False
    no_fault: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A bundle with which a worker decides. `arithmetic` is empty if the worker's processor computes as the bundle's maker did."""

    name: str
    version: str
    digest: str
    arithmetic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSpan:
    """
    The span on which drift is judged.

    Attributes:
        seconds: Length of the span; None if a worker does not report its start.
        decisions: Decisions of the model.
        decided: Outcomes in `tagged` and `review`, by the model or the keyword rules.
        events: All outcomes, dead letters included.
        since_start: The span goes back to the start of the workers.
    """

    seconds: float | None
    decisions: int
    decided: int
    events: int
    since_start: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """
    Events per second over the last `seconds`, and quantiles of the events' age at the acknowledgement of the outcome.

    `seconds` is None until two looks are far enough apart. `p50_more` or `p99_more`: the figure is only a lower bound of the quantile.
    """

    seconds: float | None = None
    received: float | None = None
    tagged: float | None = None
    review: float | None = None
    dlq: float | None = None
    p50_seconds: float | None = None
    p99_seconds: float | None = None
    p50_more: bool = False
    p99_more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTotals:
    """Events since the workers started."""

    received: int
    tagged: int
    review: int
    dlq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedPartition:
    """A partition with `events` behind an open transaction; the workers have seen the transaction open for `seconds`."""

    partition: str
    events: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """
    The position of the workers in the log, added up over the workers.

    `lag` is None, too, while one worker gets no answer from the brokers. `oldest_seconds` is the largest age of any worker. It is None
    while events wait, or may wait, and no worker has one in hand: the age of the waiting events is not known.
    """

    lag: int | None
    inflight: int | None
    partitions: int | None
    oldest_seconds: float | None
    open_transactions: tuple[BlockedPartition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFigures:
    """One label: its share of the decisions and of the reference, its term of the PSI, and its mean confidence."""

    label: str
    share: float | None
    reference: float | None
    psi_term: float | None
    confidence: float | None


# A list of up to WHOLE tags is shown whole. A longer list is cut to the LEADING tags, because people do not read 77 bars.
WHOLE, LEADING = 12, 10


def leading(labels: Sequence[LabelFigures]) -> tuple[LabelFigures, ...]:
    """
    Return the labels for a list that people read: all labels, or those with the largest shares and one line for the rest.

    The larger of a label's two shares counts, of the decisions or of the reference, so that a label that has vanished is seen. The line
    of the rest has the sum of the shares and the sum of the PSI terms, but no confidence.
    """
    if len(labels) <= WHOLE:
        return tuple(labels)
    order = sorted(labels, key=lambda one: -max(one.share or 0.0, one.reference or 0.0))
    rest = order[LEADING:]

    def summed(figures: Iterable[float | None]) -> float | None:
        known = [figure for figure in figures if figure is not None]
        return sum(known) if known else None

    others = LabelFigures(
        label=f"{len(rest)} more",
        share=summed(one.share for one in rest),
        reference=summed(one.reference for one in rest),
        psi_term=summed(one.psi_term for one in rest),
        confidence=None,
    )
    return (*order[:LEADING], others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The share of confidences above `low` and up to `high`, now and in the reference."""

    low: float
    high: float
    share: float | None
    reference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """
    The confidence of the decisions.

    Attributes:
        mean: Mean calibrated confidence. It estimates the accuracy as long as the calibration holds.
        thresholds: By label, the confidence below which a decision goes to a person; above 1, every decision of the label does. The highest
            threshold of the workers.
        bars: The distribution, and the distribution in the reference.
    """

    mean: float | None
    thresholds: Mapping[str, float]
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """
    A figure with its limit.

    Attributes:
        name: Name in JSON.
        title: Name on the page and in the terminal.
        value: The figure; None if the workers do not export it.
        reference: The same figure in the reference in force; None if the reference does not have it.
        limit: The largest value without an alarm; None if the figure is shown only.
        over: The value is above the limit, and there are enough events to judge it. Shown in red.
    """

    name: str
    title: str
    value: float | None
    reference: float | None = None
    limit: float | None = None
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectors:
    """
    Results of the workers' own drift detectors.

    Attributes:
        changes: Number of sudden changes in the judged span, by signal.
        scores: Scores of the last windows: words, labels and sources.
        thresholds: Scores from which a window is a finding; empty if the workers do not export them.
        floods: By score, the share that one source has of a window that is a finding because of it; 0 without such a source.
        compared_seconds_ago: Seconds since a window was last compared with the reference; None before the first comparison.
        silent_seconds: As `compared_seconds_ago`, but before the first comparison seconds since the start; None: windows are not compared.
        window_events: Decisions in a window, the largest number of the workers; 0 if the workers do not export it.
        learned: How far the group has learned its reference, 0 to 1, the least of the workers. Below 1, no figure is compared.
        from_bundle: By figure, the distance of the reference in force from the bundle's; empty if the bundle's reference is in force.
        last_change: When a signal last jumped in a worker, Unix seconds; None if no signal has jumped since the workers started.
    """

    changes: Mapping[str, int]
    scores: Mapping[str, float]
    thresholds: Mapping[str, float]
    compared_seconds_ago: float | None
    silent_seconds: float | None
    window_events: float
    learned: float = 1.0
    from_bundle: Mapping[str, float] = field(default_factory=dict)
    floods: Mapping[str, float] = field(default_factory=dict)
    last_change: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFigures:
    """
    The rollout of a model, as the workers that follow it see it.

    Attributes:
        workers: Number of workers that follow the rollout.
        apart: Number of workers that decide events but do not follow the rollout.
        epochs: The epochs of the champions in use, ascending; one epoch, unless the workers differ.
        settled_seconds: Seconds since a worker last took over a model.
        arms: By arm, its share of the decisions of the judged span; empty before the first change of the model.
        planned: The planned epoch; None without a plan.
        states: By state before the planned epoch, the number of workers.
        closing: The epoch for which events are held; None if no epoch is about to begin.
        held_events: Number of held events.
        held_seconds: Seconds for which the oldest held event is held.
        refusals: Plans that were refused in the judged span.
    """

    workers: int
    apart: int
    epochs: tuple[int, ...]
    settled_seconds: float | None
    arms: Mapping[str, float]
    planned: int | None
    states: Mapping[str, int]
    closing: int | None
    held_events: int
    held_seconds: float
    refusals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All figures of one moment: `distances` between distributions, `shares` of counts. `rollout` is None if no worker follows one."""

    at: float
    workers: int
    troubles: tuple[Trouble, ...]
    models: tuple[LoadedModel, ...]
    window: JudgedSpan
    flow: Flow
    totals: EventTotals
    position: LogPosition
    labels: tuple[LabelFigures, ...]
    confidence: Confidence
    distances: tuple[Measure, ...]
    shares: tuple[Measure, ...]
    dead_letters: Mapping[str, int]
    detectors: Detectors
    rollout: RolloutFigures | None = None
