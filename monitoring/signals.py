"""
The numbers of a decision that are watched for drift, with one record for each.

The records define the detectors of sudden changes, the counts of a baseline and of a bundle's reference, the live histograms and the series
of the reference, the recorded distances, and the figures and sentences of page and terminal. A distance with a limit has an alarm in
`alarms`, and a distribution has a panel in `docs/generate/quality.py`; `python -m docs.generate --check` reports a missing one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from types import MappingProxyType

from tagstream.monitoring.hiding import Hiding


class DriftSignal(StrEnum):
    """The numbers that a worker watches for sudden changes."""

    CONFIDENCE = "confidence"
    ENERGY = "energy"
    TOKENS_PER_WORD = "tokens_per_word"
    DESCRIBED = "described"


# A struct and not a dataclass: signals are made for every event, and a struct takes an eighth of the time.
class Signals(Hiding, frozen=True, kw_only=True):
    """
    The inputs of drift detection for one decision, beside its confidence.

    Attributes:
        event_id: The event's id.
        energy: `-logsumexp(logits)`; higher means a text less like the training text.
        tokens: Tokens that the network read, special tokens included.
        tokens_per_word: Tokens without the special tokens, divided by the words of the text, split at white space. Too low for a text that
            was cut.
        words: The first words of the text, lower-cased, in order.
        described: True if the event has a description; False if the decision rests on the title alone.
        source: The name that the producer gives itself, cut to `MAX_SOURCE_CHARACTERS`; None if there is no name.
        out_of_distribution: True if the text is unlike the training texts, by the bundle's limits.
    """

    hidden = frozenset({"words"})

    event_id: str
    energy: float
    tokens: int
    tokens_per_word: float
    words: tuple[str, ...]
    described: bool
    source: str | None
    out_of_distribution: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedMean:
    """
    How a worker watches the mean of a signal for sudden changes.

    Attributes:
        called: The name of the mean, as the beginning of a sentence for people.
        low: The value that becomes 0, since ADWIN's bound holds for numbers in 0 to 1. Values outside are cut.
        high: The value that becomes 1.
        least: The change of the mean, in the signal's own unit, below which it is not reported.
    """

    called: str
    low: float
    high: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """
    How the values of a signal are counted, live and in a reference, and compared.

    Attributes:
        edges: The upper edges of the buckets, ascending, in the signal's own unit. The reference and the live histogram have the same edges.
        metric: The name of the live histogram.
        meaning: The help text of the live histogram.
        reference: The name of the reference's series, which has a value for each edge.
        reference_meaning: The help text of the reference's series.
        title: The signal's name on the page and in the terminal.
        limit: The largest distance (Kolmogorov-Smirnov, 0 to 1) of the live values from the reference without an alarm; None if the distance
            is shown and raises no alarm.
    """

    edges: tuple[float, ...]
    metric: str
    meaning: str
    reference: str
    reference_meaning: str
    title: str
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """
    The record of one number of a decision.

    Attributes:
        name: The signal's name in findings, references and figures.
        value: Reads the number from `Signals`; None for the confidence, which is not in `Signals`.
        mean: How a worker watches the signal's mean; None if the mean is not watched.
        distribution: How the signal's values are counted; None if they are not counted.
    """

    name: str
    value: Callable[[Signals], float] | None
    mean: WatchedMean | None = None
    distribution: Distribution | None = None

    def read(self, confidence: float, signals: Signals) -> float:
        """The value of one decision, in the signal's own unit."""
        return confidence if self.value is None else self.value(signals)

    @property
    def cdf(self) -> str:
        """The key of the signal's distribution in a reference: by the text of each edge, the share of values up to the edge."""
        return f"{self.name}_cdf"

    @property
    def distance(self) -> str:
        """The name of the recorded distance of the last hour from the reference."""
        return f"job:tagstream_{self.name}_drift:ks1h"


CONFIDENCE = Signal(
    name="confidence",
    value=None,
    mean=WatchedMean(called="The mean confidence", low=0.0, high=1.0, least=0.03),
    distribution=Distribution(
        edges=(0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0),
        metric="tagstream_confidence_ratio",
        meaning="Calibrated probability of the decision.",
        reference="tagstream_reference_confidence_cdf",
        reference_meaning="Share of reference confidences up to at_most.",
        title="confidence",
        limit=0.1,
    ),
)
ENERGY = Signal(
    name="energy",
    value=attrgetter("energy"),
    mean=WatchedMean(called="The mean energy", low=-12.0, high=0.0, least=0.3),
    distribution=Distribution(
        # -12 to 0 in steps of a half.
        edges=tuple(half / 2 for half in range(-24, 1)),
        metric="tagstream_energy_score",
        meaning="Energy of a decision, -logsumexp(logits); higher means less like the training text.",
        reference="tagstream_reference_energy_cdf",
        reference_meaning="Share of reference energies up to at_most.",
        title="energy",
        limit=0.1,
    ),
)
TOKENS = Signal(
    name="tokens",
    value=attrgetter("tokens"),
    distribution=Distribution(
        edges=(4.0, 8.0, 16.0, 32.0, 64.0, 96.0, 128.0),
        metric="tagstream_text_tokens",
        meaning="Tokens that the network read.",
        reference="tagstream_reference_text_tokens_cdf",
        reference_meaning="Share of reference texts of up to at_most tokens.",
        title="tokens",
    ),
)
TOKENS_PER_WORD = Signal(
    name="tokens_per_word",
    value=attrgetter("tokens_per_word"),
    mean=WatchedMean(called="The mean number of tokens per word", low=1.0, high=4.0, least=0.1),
    distribution=Distribution(
        # About 1.3 for English, more for unfamiliar words, which are split into pieces.
        edges=(1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0),
        metric="tagstream_text_tokens_per_word_ratio",
        meaning="Tokens, without the special ones, per word between white space.",
        reference="tagstream_reference_text_tokens_per_word_cdf",
        reference_meaning="Share of reference texts of up to at_most tokens a word.",
        title="tokens a word",
        limit=0.15,
    ),
)
DESCRIBED = Signal(
    name="described",
    # 0 or 1 for each event, so the mean is the share of events with a description.
    value=attrgetter("described"),
    mean=WatchedMean(called="The share of events with a description", low=0.0, high=1.0, least=0.1),
)
SIGNALS = (CONFIDENCE, ENERGY, TOKENS, TOKENS_PER_WORD, DESCRIBED)

WATCHED: Mapping[DriftSignal, tuple[Signal, WatchedMean]] = MappingProxyType(
    {DriftSignal(signal.name): (signal, signal.mean) for signal in SIGNALS if signal.mean is not None}
)
DISTRIBUTIONS: Mapping[Signal, Distribution] = MappingProxyType(
    {signal: signal.distribution for signal in SIGNALS if signal.distribution is not None}
)
# The limit of each distance that is judged.
JUDGED: Mapping[Signal, float] = MappingProxyType(
    {signal: counted.limit for signal, counted in DISTRIBUTIONS.items() if counted.limit is not None}
)
