"""The figures that people look at, on the page and in the terminal alike: flow, latency, confidence, labels, drift.
Plain records.

`compute` fills them. Their field names are those of `/snapshot.json` and of `tagstream top --json`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A worker that does not answer, or answers that it is not ready; `why` in its own words, if need be with what to do next."""

    worker: str
    answers: bool
    why: str
    breaker_open: bool = False
    brokers_silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A bundle that decides."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSpan:
    """
    What drift is judged on: its length and its events; seconds are None where a worker does not say them.

    `decisions` are the model's; `decided` left by `tagged` or `review`, whoever decided, the keyword rules too.
    """

    seconds: float | None
    decisions: int
    decided: int
    events: int
    since_start: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Events a second of the last seconds, and how old they were at the end."""

    received: float | None = None
    tagged: float | None = None
    review: float | None = None
    dlq: float | None = None
    p50_seconds: float | None = None
    p99_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Events since the workers began."""

    received: int
    tagged: int
    review: int
    dlq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the workers stand in the log, added up; the oldest event is the oldest of all workers."""

    lag: int | None
    inflight: int | None
    partitions: int | None
    oldest_seconds: float | None
    idle_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFigures:
    """One label: its share of the decisions beside the reference's, its part of the PSI, and the mean confidence of its decisions."""

    label: str
    share: float | None
    reference: float | None
    psi_term: float | None
    confidence: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The share of confidences above `low` and up to `high`, beside the reference's."""

    low: float
    high: float
    share: float | None
    reference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """
    How sure the model is.

    Attributes:
        mean: The estimate of accuracy without labels: right if the model is as sure as it is right, which it cannot see
        itself. thresholds: Below it a person is asked, by label (the strictest of the workers); above 1 where one
        always is. bars: The distribution beside the reference's.
    """

    mean: float | None
    thresholds: Mapping[str, float]
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """
    A figure with its limit.

    Attributes:
        name: For machines.
        title: For people.
        value: None where the workers do not have it.
        reference: What it was in the reference, where there is such a thing.
        limit: An alarm above it; None where nothing is judged.
    """

    name: str
    title: str
    value: float | None
    reference: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectors:
    """
    What the workers' own detectors say.

    Attributes:
        changes: Sudden changes in the window, by signal.
        scores: Of the last windows of words, tags and sources.
        thresholds: From where on they are findings; empty where the workers do not say.
        compared_seconds_ago: When the last of them was compared with the reference; None before the first.
        silent_seconds: The same, or since the start before the first; None where the workers do not compare at all.
        window_events: Decisions in a window, the largest of the workers'; 0 where none of them says.
    """

    changes: Mapping[str, int]
    scores: Mapping[str, float]
    thresholds: Mapping[str, float]
    compared_seconds_ago: float | None
    silent_seconds: float | None
    window_events: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything at one moment. `distances` are judged by distributions, `shares` by counting."""

    at: float
    workers: int
    troubles: tuple[Trouble, ...]
    models: tuple[LoadedModel, ...]
    window: JudgedSpan
    flow: Flow
    totals: Totals
    position: Position
    labels: tuple[LabelFigures, ...]
    confidence: Confidence
    distances: tuple[Measure, ...]
    shares: tuple[Measure, ...]
    dead_letters: Mapping[str, int]
    detectors: Detectors
