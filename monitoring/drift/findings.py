"""The format of a drift finding: the value of a record on the topic `drift`."""

from datetime import UTC, datetime
from typing import assert_never

import msgspec

from tagstream.monitoring.signals import DriftSignal
from tagstream.monitoring.vocabulary import DriftKind

MOST_EXAMPLES = 10
# Items in a finding's one-line summary.
MOST_SHOWN = 5
MOST_ITEMS = 10


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A word in a larger share of events than in the reference; `z` is the signed root of the log-likelihood ratio."""

    word: str
    z: float
    share: float
    reference_share: float


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """A label's share of the decisions, and its term in the population stability index."""

    label: str
    share: float
    reference_share: float
    psi_term: float


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A producer that became more frequent; None stands for events without a source."""

    source: str | None
    share: float
    seen_before: bool


class Span(msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """The number of events, and the times of the first and last publication (RFC 3339)."""

    events: int
    start: str
    end: str


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle that decided."""

    name: str
    version: str
    digest: str


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One record on `drift`.

    Attributes:
        kind: A sudden change of a signal, or a window whose words, labels or sources differ from the reference.
        at: Time of the finding, RFC 3339.
        worker: The worker that found it, from its own partitions.
        window: The events that the finding is about.
        reference_digest: Digest of the baseline that was compared; for a change the bundle's digest.
        model: The bundle that decided.
        score: The score that reached its threshold: z, the index, or a share; None for a change.
        threshold: The threshold of the score; None for a change.
        signal: The signal that changed, with its means `before` and `after`; None for the other kinds.
        words: Words that became more frequent, largest z first.
        labels: Labels, largest term of the index first.
        sources: Producers that became more frequent, most frequent first.
        flood: The producer that grew most, if the window without its events is no finding: a flood of one source.
        example_ids: Ids of up to ten events to look at.
    """

    kind: DriftKind
    at: str
    worker: str
    window: Span
    reference_digest: str
    model: Model
    signal: DriftSignal | None = None
    before: float | None = None
    after: float | None = None
    score: float | None = None
    threshold: float | None = None
    words: tuple[Word, ...] = ()
    labels: tuple[Label, ...] = ()
    sources: tuple[Source, ...] = ()
    flood: Source | None = None
    example_ids: tuple[str, ...] = ()


def moment(milliseconds: int) -> str:
    """
    RFC 3339 in UTC with milliseconds.

    >>> moment(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def what_moved(finding: Finding) -> str:
    """A one-line summary of a finding: the first items of its kind. The record has all items."""
    match finding.kind:
        case DriftKind.CHANGE:
            return f"{finding.signal} from {finding.before} to {finding.after}"
        case DriftKind.WORDS:
            parts = [f"{word.word} {word.share:.1%} (was {word.reference_share:.1%})" for word in finding.words]
        case DriftKind.LABELS:
            parts = [f"{label.label} {label.share:.0%} (was {label.reference_share:.0%})" for label in finding.labels]
        case DriftKind.SOURCES:
            parts = [f"{source.source or 'no source'} {source.share:.1%}" for source in finding.sources]
        case _:
            assert_never(finding.kind)
    return ", ".join(parts[:MOST_SHOWN]) + flood_in_words(finding)


def flood_in_words(finding: Finding) -> str:
    """The addition to a summary that names the one source of a flood; empty if there is no flood."""
    flood = finding.flood
    return "" if flood is None else f"; a flood of one source: {flood.source}, {flood.share:.1%} of the events"
