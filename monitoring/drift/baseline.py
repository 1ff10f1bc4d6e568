"""The baseline: words, producers and labels of the stream in a healthy time. Windows are compared with it.

Two ways to one: the worker's own first healthy windows, or a file that `tagstream drift reference` made. The rows that a bundle
was calibrated on are no substitute for words and producers: no live stream has their vocabulary.
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
# A word or a producer of one event says little, and there is no end of them.
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
        format: Of the file.
        events: How many.
        words: Events with each word, of the words in two events or more.
        sources: Events of each producer.
        without_source: Events whose producer is silent.
        lone_sources: Producers of one single event; they estimate the share of events from producers never seen before.
        labels: Events with each label.
        model: Digest of the bundle that decided; "" where it is not known.
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
    """Counts that become a baseline. Their number is bounded."""

    events: int = 0
    words: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    without_source: int = 0

    def add(self, observations: Iterable[Observation]) -> None:
        """Count these decisions; dead letters have no words and are left out."""
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
        ValueError: There is none among them.
    """
    learning = Learning()
    learning.add(observations)
    if not learning.events:
        msg = "a baseline needs decisions, and there is none"
        raise ValueError(msg)
    return learning.baseline(model=model)


def render(baseline: Baseline) -> bytes:
    """The file: one spelling, so that its digest means something."""
    return msgspec.json.format(msgspec.json.encode(baseline, order="sorted"), indent=1) + b"\n"


def read(path: Path) -> Baseline:
    """
    Read a file that `render` wrote.

    Raises:
        BaselineError: It cannot be read, is too large, or is something else.
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
        f"TAGSTREAM_DRIFT_REFERENCE to let each worker learn from its own stream."
    )


def _bound(counts: Counter[str], most: int) -> None:
    if len(counts) > most:
        kept: Mapping[str, int] = dict(counts.most_common(most))
        counts.clear()
        counts.update(kept)
