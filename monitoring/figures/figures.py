"""The figures that people look at, on the page and in the terminal alike: flow, latency, confidence, labels, drift.
Plain records.

`compute` fills them. Their field names are those of `/snapshot.json` and of `tagstream top --json`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """
    A worker that is not ready or does not answer.

    Attributes:
        worker: Its name.
        answers: It answers with its metrics.
        why: The reason, sometimes with a next step.
        breaker_open: Its circuit breaker is open.
        brokers_silent: The brokers do not answer it.
        no_fault: It waits for its partitions, or it stops; no alarm.
    """

    worker: str
    answers: bool
    why: str
    breaker_open: bool = False
    brokers_silent: bool = False
    no_fault: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A bundle that a worker decides with; `arithmetic` is there where its processor computes otherwise than the bundle's maker."""

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
    Events per second over the last `seconds`, and quantiles of their age at the acknowledged outcome.

    `seconds` is None until two looks are far enough apart. With `p50_more` or `p99_more` the quantile is more than its figure, and the histogram does not say how much more.
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
    """A partition whose events wait behind an open transaction: how many, and for how long the workers have seen it open."""

    partition: str
    events: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """
    Position of the workers in the log, added up.

    `lag` is None, too, while one of the workers gets no answer from the brokers. `oldest_seconds` is the largest of any worker. It is
    None while no worker has an event in hand but events wait, or may wait: their age is not known.
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


# A list of tags is whole up to this number; a longer one is cut to the LEADING ones, since nobody reads 77 bars.
WHOLE, LEADING = 12, 10


def leading(labels: Sequence[LabelFigures]) -> tuple[LabelFigures, ...]:
    """
    The labels for a list that people read: all of a few, else those with the largest share and one line for the others together.

    A share counts whether it is of the decisions or of the reference, so that a label that has vanished is seen. The line of the others
    has the sum of their shares and of their PSI terms, and no confidence.
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
        thresholds: By label, decisions below go to a person (the highest of the workers); above 1, all of them do.
        bars: The distribution, beside the reference's.
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
        reference: The same figure in the reference in force, if it has one.
        limit: Values above it are an alarm; None: the figure is only shown.
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
        compared_seconds_ago: Seconds since a window was last compared with the reference; None before the first.
        silent_seconds: The same; before the first comparison, seconds since the start. None: windows are not compared.
        window_events: Decisions in a window, the largest of the workers'; 0 if they do not export it.
        learned: How far the group has learned its reference, 0 to 1; below 1 no figure is compared. The least of the workers.
        from_bundle: By figure, the distance of the reference from the bundle's; empty where it is the bundle's.
        last_change: When a signal last jumped in a worker, Unix seconds; None: not since the workers started.
    """

    changes: Mapping[str, int]
    scores: Mapping[str, float]
    thresholds: Mapping[str, float]
    compared_seconds_ago: float | None
    silent_seconds: float | None
    window_events: float
    learned: float = 1.0
    from_bundle: Mapping[str, float] = field(default_factory=dict)
    last_change: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFigures:
    """
    The change of the model of a running stream, as the workers that follow it see it.

    Attributes:
        workers: Those that follow it.
        apart: Those that decide events and follow none.
        epochs: The epochs by whose champions they decide, ascending; one, unless they differ.
        settled_seconds: Seconds since the last of them took over a model.
        arms: By arm, its share of the decisions of the judged span; empty before the first change.
        planned: The epoch that is planned; None without a plan.
        states: By state before that epoch, the number of workers.
        closing: The epoch for which events are held; None where none is about to begin.
        held_events: Events that are held.
        held_seconds: For how long the oldest is.
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
    """
    Everything at one moment. `distances` are judged by distributions, `shares` by counting; `rollout` is None where no worker follows
    one.
    """

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
