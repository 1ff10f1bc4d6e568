"""The baseline: counts of the stream's decisions in a healthy time. Windows and the live figures are compared with it.

It is learned from the first healthy windows of the group (`tagstream.monitoring.drift.learning`), or comes from a file made by
`tagstream drift --from`. The rows that a bundle was calibrated on cannot replace it, because a live stream has other
words, other producers and texts that are harder or easier for the model.
"""

import hashlib
import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import DISTRIBUTIONS
from tagstream.monitoring.vocabulary import Destination

FORMAT = 1
LEAST_EVENTS = 5_000
MAX_FILE_BYTES = 64 * 1024 * 1024
# Bounds on memory: the number of rare words and producers grows with the stream.
MOST_WORDS = 50_000
MOST_SOURCES = 5_000
LEAST_COUNT_OF_A_WORD = 2
SHARES = ("undescribed", "out_of_distribution", "truncated", "reviewed")

# The greatest number up to which a double has every whole number; a share is computed from two of them.
MOST_EVENTS = 2**53
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_EVENTS)]


class BaselineError(Exception):
    """A file is not a drift reference; the message names the file, the reason and the next step."""

    exit_code = 2


class FigureCounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Numbers of events, for the figures of the recording rules.

    Attributes:
        distributions: By name of the signal, the number of events in each bucket between two edges; the last number is of events beyond the
            last edge.
        undescribed: The number of events without a description.
        out_of_distribution: The number of texts that are unlike the training texts.
        truncated: The number of texts that did not fit into the network.
        reviewed: The number of events that went to a person.
    """

    distributions: dict[str, list[Count]]
    undescribed: Count
    out_of_distribution: Count
    truncated: Count
    reviewed: Count


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Counts of events.

    Attributes:
        format: Version of the file format.
        events: Number of events.
        words: Number of events that contain the word, for words in at least two events.
        sources: Number of events of each producer.
        without_source: Number of events without a `source`.
        lone_sources: Number of producers with a single event; it estimates the share of events from unseen producers.
        labels: Number of events with each label.
        figures: Counts for the recording rules.
        model: Digest of the bundle that decided; "" if unknown.
    """

    format: Annotated[int, msgspec.Meta(ge=FORMAT, le=FORMAT)] = FORMAT
    events: Annotated[int, msgspec.Meta(ge=1, le=MOST_EVENTS)]
    words: dict[str, Count]
    sources: dict[str, Count]
    without_source: Count
    lone_sources: Count
    labels: dict[str, Count]
    figures: FigureCounts
    model: str = ""

    @property
    def label_ratio(self) -> dict[str, float]:
        """The share of each label."""
        total = sum(self.labels.values()) or 1
        return {label: count / total for label, count in self.labels.items()}

    @property
    def reference(self) -> dict[str, Any]:
        """The figures with which the recording rules compare, in the form and under the names of a bundle's reference."""
        found = self.figures
        cdfs = {
            signal.cdf: {
                str(edge): below / self.events
                for edge, below in zip(counted.edges, itertools.accumulate(found.distributions[signal.name]), strict=False)
            }
            for signal, counted in DISTRIBUTIONS.items()
            if len(found.distributions.get(signal.name, ())) == len(counted.edges) + 1
        }
        return {
            "rows": self.events,
            "label_ratio": self.label_ratio,
            "ood_ratio": found.out_of_distribution / self.events,
            "truncated_ratio": found.truncated / self.events,
            "without_description_ratio": found.undescribed / self.events,
            "review_ratio": found.reviewed / self.events,
            **cdfs,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the file's bytes."""
        return hashlib.sha256(render(self)).hexdigest()


@dataclass(slots=True)
class Learning:
    """Bounded counts from which a baseline is made."""

    events: int = 0
    words: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    without_source: int = 0
    # Names of `FigureCounts` that are single counts.
    shares: Counter[str] = field(default_factory=Counter)
    distributions: dict[str, list[int]] = field(
        default_factory=lambda: {signal.name: [0] * (len(counted.edges) + 1) for signal, counted in DISTRIBUTIONS.items()}
    )

    def add(self, observations: Iterable[Observation]) -> None:
        """Count these decisions. Dead letters are left out, because they have no words."""
        for seen in observations:
            signals = seen.signals
            if signals is None or seen.label is None or seen.confidence is None:
                continue
            self.events += 1
            self.shares["undescribed"] += not signals.described
            self.shares["out_of_distribution"] += signals.out_of_distribution
            self.shares["truncated"] += seen.truncated
            self.shares["reviewed"] += seen.destination is Destination.REVIEW
            for signal, counted in DISTRIBUTIONS.items():
                value = signal.read(seen.confidence, signals)
                self.distributions[signal.name][bisect_left(counted.edges, value)] += 1
            self.words.update(set(signals.words))
            self.labels[seen.label] += 1
            if signals.source is None:
                self.without_source += 1
            else:
                self.sources[signals.source] += 1
        _bound(self.words, MOST_WORDS)
        _bound(self.sources, MOST_SOURCES)

    def join(self, other: Baseline) -> None:
        """Add the counts of other events. A distribution with other edges is left out."""
        self.events += other.events
        self.words.update(other.words)
        self.sources.update(other.sources)
        self.labels.update(other.labels)
        self.without_source += other.without_source
        self.shares.update({name: getattr(other.figures, name) for name in SHARES})
        for name, counts in self.distributions.items():
            found = other.figures.distributions.get(name, [])
            if len(found) == len(counts):
                self.distributions[name] = [a + b for a, b in zip(counts, found, strict=True)]
        _bound(self.words, MOST_WORDS)
        _bound(self.sources, MOST_SOURCES)

    def baseline(self, *, model: str = "") -> Baseline:
        """The counts as a baseline, without words that occur in a single event."""
        return Baseline(
            events=self.events,
            words={word: count for word, count in sorted(self.words.items()) if count >= LEAST_COUNT_OF_A_WORD},
            sources=dict(sorted(self.sources.items())),
            without_source=self.without_source,
            lone_sources=sum(count == 1 for count in self.sources.values()),
            labels=dict(sorted(self.labels.items())),
            figures=FigureCounts(distributions=self.distributions, **{name: self.shares[name] for name in SHARES}),
            model=model,
        )


def of(observations: Sequence[Observation], *, model: str = "") -> Baseline:
    """
    The baseline of these decisions.

    Raises:
        ValueError: The observations have no decision.
    """
    learning = Learning()
    learning.add(observations)
    if not learning.events:
        msg = "a baseline needs decisions, and there is none"
        raise ValueError(msg)
    return learning.baseline(model=model)


def render(baseline: Baseline) -> bytes:
    """The content of the file. Keys are sorted, so equal baselines have equal bytes and digests."""
    return msgspec.json.format(msgspec.json.encode(baseline, order="sorted"), indent=1) + b"\n"


def read(path: Path) -> Baseline:
    """
    Read a file that `render` wrote.

    Raises:
        BaselineError: The file cannot be read, is too large, or is not a baseline.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _refused(path, f"it has more than {MAX_FILE_BYTES} bytes")
        return msgspec.json.decode(path.read_bytes(), type=Baseline)
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(path, str(error)) from error


def _refused(path: Path, why: str) -> BaselineError:
    return BaselineError(
        f"{path} is no drift reference: {why}. Next: make one with `tagstream drift --from FILE --out {path}`, or unset "
        f"TAGSTREAM_DRIFT_REFERENCE to let the group learn from its own first windows."
    )


def _bound(counts: Counter[str], most: int) -> None:
    if len(counts) > most:
        kept: Mapping[str, int] = dict(counts.most_common(most))
        counts.clear()
        counts.update(kept)
