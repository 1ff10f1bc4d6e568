"""The baseline: counts of words, producers and labels of the stream in a healthy time. Windows are compared with it.

It comes from the worker's own first healthy windows, or from a file made by `tagstream drift reference`. The rows that
a bundle was calibrated on cannot replace it for words and producers, because live streams have another vocabulary.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from monitoring.observer import Observation

FORMAT = 1
LEAST_EVENTS = 5_000
MAX_FILE_BYTES = 64 * 1024 * 1024
# Bounds on memory: the number of rare words and producers grows with the stream.
MOST_WORDS = 50_000
MOST_SOURCES = 5_000
LEAST_COUNT_OF_A_WORD = 2

Count = Annotated[int, msgspec.Meta(ge=0)]


class BaselineError(Exception):
    """A file is not a drift reference; the message names the file, the reason and the next step."""

    exit_code = 2


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
        model: Digest of the bundle that decided; "" if unknown.
    """

    format: Annotated[int, msgspec.Meta(ge=FORMAT, le=FORMAT)] = FORMAT
    events: Annotated[int, msgspec.Meta(ge=1)]
    words: dict[str, Count]
    sources: dict[str, Count]
    without_source: Count
    lone_sources: Count
    labels: dict[str, Count]
    model: str = ""

    @property
    def label_ratio(self) -> dict[str, float]:
        """The share of each label."""
        total = sum(self.labels.values()) or 1
        return {label: count / total for label, count in self.labels.items()}

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

    def add(self, observations: Iterable[Observation]) -> None:
        """Count these decisions. Dead letters are left out, because they have no words."""
        for seen in observations:
            signals = seen.signals
            if signals is None or seen.label is None:
                continue
            self.events += 1
            self.words.update(set(signals.words))
            self.labels[seen.label] += 1
            if signals.source is None:
                self.without_source += 1
            else:
                self.sources[signals.source] += 1
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
            model=model,
        )


def of(observations: Sequence[Observation], *, model: str = "") -> Baseline:
    """
    The baseline of these decisions.

    Raises:
        ValueError: None of the observations is a decision.
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
        f"{path} is no drift reference: {why}. Next: make one with `tagstream drift reference FILE --out {path}`, or unset "
        f"TAGSTREAM_DRIFT_REFERENCE to let each worker use its own first windows."
    )


def _bound(counts: Counter[str], most: int) -> None:
    if len(counts) > most:
        kept: Mapping[str, int] = dict(counts.most_common(most))
        counts.clear()
        counts.update(kept)
