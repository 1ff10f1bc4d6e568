"""
The sources of decisions for a comparison: a bundle that decides here and now, or the published decisions. Also people's answers.

Decisions and answers are read from their topics into memory, each as one short record, up to a bound.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tagstream.model_export.bundle.bundle import Bundle, read
from tagstream.model_export.compare.comparison import RowDecision
from tagstream.monitoring.record_time import AHEAD_MS
from tagstream.monitoring.vocabulary import few
from tagstream.stream.contract.answers import AnsweredEvent, order, read_answer
from tagstream.stream.contract.event import Record, decode
from tagstream.stream.contract.outcome import Outcome
from tagstream.stream.contract.published import DecidedEvent, Order, read_decision
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.from_settings import decider_of, pipeline_of
from tagstream.stream.decide.pipeline import Decider, Draw, Pipeline
from tagstream.stream.kafka import admin, sizes
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.registry.unframing import unframing_of
from tagstream.stream.rollout.deciders import depot_of
from tagstream.stream.settings.secret_files import answer_keys
from tagstream.stream.settings.settings import Settings
from tagstream.stream.shadow.comparison import decided, decided_of

DIGEST = re.compile(r"[0-9a-f]{64}")
RECORDED = "recorded"
# The most decisions, and the most answers, in memory. Each takes some 400 bytes.
MOST_KEPT = 1_000_000
KEY_BYTES = 16


class DecisionSourceError(Exception):
    """A source of decisions cannot be used. The message names the source, the reason and the next step."""

    exit_code = 2


def as_workers_decide(settings: Settings) -> Settings:
    """
    Return the settings with the limits of workers.

    A topic may take only smaller records than the settings allow. Then workers lower their limits, and more events are dead letters.
    """
    return sizes.fitted(settings, list(sizes.shortfalls(settings, sizes.read(settings))))


class DecisionSource(Protocol):
    """
    The older end of a comparison.

    Attributes:
        name: The source's name for people.
        identity: The identity of a bundle's model (its digest, with the arithmetic where that differs), or `recorded`. A continued run
            must have the same identity.
    """

    name: str
    identity: str

    def decide(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> list[RowDecision | Refusal | None]:
        """
        Return the source's decision on each of these records; None for a record without a known decision.

        Args:
            records: The records as they were read.
            outcomes: The outcomes of the newer end, in the same order.
        """
        ...


def bundle_of(settings: Settings, named: str) -> Bundle:
    """
    Return the bundle in a folder, or the bundle with this digest in the place of bundles.

    Raises:
        DecisionSourceError: `named` is neither a folder nor a digest.
        BundleError: The bundle is damaged or not trusted.
        DepotError: The settings name no place of bundles, or the bundle is not in that place.
    """
    if Path(named).exists():
        return read(Path(named))
    if DIGEST.fullmatch(named):
        return depot_of(settings).read(named)
    msg = f"{named} is neither a folder nor the digest of a bundle (64 hexadecimal digits). Next: correct it."
    raise DecisionSourceError(msg)


def decider_named(settings: Settings, named: str) -> Decider:
    """
    Return the decider of a bundle under these settings, including the setting `confidence_threshold`. Raises the errors of `bundle_of`.

    The setting `decider` is ignored, because the keyword rules' decisions are not a bundle's decisions.
    """
    found = bundle_of(settings, named)
    return decider_of(settings.model_copy(update={"bundle": found.path, "decider": "model"}))


def require_same_labels(new: Decider, old: Decider) -> None:
    """
    Check that the decisions of two deciders can be compared.

    Raises:
        DecisionSourceError: The deciders have different labels.
    """
    if set(new.labels) != set(old.labels):
        msg = (
            f"{named_model(new)} has the labels {few(sorted(new.labels))}, and {named_model(old)} has {few(sorted(old.labels))}: "
            "their tags cannot be compared. Next: give two bundles with the same labels."
        )
        raise DecisionSourceError(msg)


def named_model(decider: Decider) -> str:
    """Return name and version of the decider's model, and the beginning of its digest."""
    return f"{decider.model.name} {decider.model.version} ({decider.model.digest[:12]})"


class Sample:
    """
    A sample of events. A hash of the event's id decides, so that each run has the same events.

    The hash has a salt of its own: with the salt of the audits, the sample would contain all audited events.

    Attributes:
        share: The share of all events, above 0, to 1.
    """

    def __init__(self, settings: Settings, share: float) -> None:
        """
        Prepare the sample.

        Args:
            settings: Limits on an event, the Schema Registry, and the salt.
            share: The share of all events, above 0, to 1.
        """
        self.share = share
        self._draw = Draw(rate=share, salt=f"shadow {settings.audit_salt}")
        self._limits = settings.limits
        self._unframe = unframing_of(settings)

    def has(self, event_id: str) -> bool:
        """Return True if the event with this id is in the sample."""
        return self._draw.inclusion_probability(event_id, "") is not None

    def of(self, records: Sequence[Record]) -> list[Record]:
        """Return the records in the sample. A record that is not an event has no id and is in every sample."""
        if self.share >= 1:
            return list(records)
        found = records if self._unframe is None else self._unframe(records)
        return [record for record, one in zip(records, found, strict=True) if self._has(one)]

    def _has(self, found: Record | Refusal) -> bool:
        event = found if isinstance(found, Refusal) else decode(found, self._limits)
        return isinstance(event, Refusal) or self.has(event.id)


class BundleSource:
    """A bundle that decides the same records."""

    def __init__(self, settings: Settings, decider: Decider) -> None:
        """Decide under these settings."""
        self._pipeline: Pipeline = pipeline_of(settings, decider=decider, unframe=unframing_of(settings))
        self.name = named_model(decider)
        self.identity = decider.model.identity

    def decide(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> list[RowDecision | Refusal | None]:
        """See the protocol."""
        del outcomes
        found = [publication.outcome for publication in self._pipeline.publications(records)]
        return [one if isinstance(one, Refusal) else decided_of(one) for one in found]


@dataclass(slots=True)
class RecordedSource:
    """
    The published decisions on `tagged` and `review`: for each event the model's decision that holds.

    A person's decision counts as an answer and not as a decision here.

    Attributes:
        unreadable: The number of records that are not a decision.
    """

    name: str = "what was published"
    identity: str = RECORDED
    unreadable: int = 0
    _kept: dict[bytes, tuple[Order, RowDecision]] = field(default_factory=dict)

    def take(self, record: Record, sample: Sample) -> None:
        """
        Keep the decision in a record, if its order is above the decision that is kept for the event.

        Raises:
            DecisionSourceError: There are too many decisions.
        """
        found = read_decision(record)
        if isinstance(found, Refusal):
            self.unreadable += 1
            return
        if not isinstance(found, DecidedEvent) or found.door == "audit" or not sample.has(found.event.id):
            return
        key, standing = key_of(found.event.id), found.standing
        before = self._kept.get(key)
        if before is None or standing > before[0]:
            self._kept[key] = (standing, decided(found.decision, found.door))
            _bound(len(self._kept), "decisions are published on the events of this range and after it")

    def decide(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> list[RowDecision | Refusal | None]:
        """See the protocol. If the newer end refuses an event, the event's id is not known, and the decision is None."""
        del records
        return [None if isinstance(one, Refusal) else self._of(one.event.id) for one in outcomes]

    def _of(self, event_id: str) -> RowDecision | None:
        found = self._kept.get(key_of(event_id))
        return None if found is None else found[1]


def recorded(settings: Settings, since_ms: int | None, sample: Sample) -> RecordedSource:
    """
    Read the published decisions.

    Args:
        settings: Brokers and topics.
        since_ms: No event of the range is older than this time, Unix milliseconds. Decisions are read from one hour before it, because
            clocks differ. None reads all decisions.
        sample: Only the decisions on events of this sample are kept.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
        TopicsMissingError: A topic does not exist.
        DecisionSourceError: There are too many decisions.
    """
    topics = {"tagged": settings.topics.tagged, "review": settings.topics.review}
    admin.require(settings, topics, operations=dict.fromkeys(topics, Operation.READ))
    found = RecordedSource()
    for topic in topics.values():
        for record in _records(settings, topic, None if since_ms is None else since_ms - AHEAD_MS):
            found.take(record, sample)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAnswers:
    """
    People's answers.

    Attributes:
        why: The reason why the answers cannot be read; empty if they were read.
    """

    why: str = ""
    _tags: Mapping[bytes, tuple[Order, str]] = field(default_factory=dict)

    def tag(self, event_id: str) -> str | None:
        """Return the tag in the newest answer on an event; None without an answer."""
        found = self._tags.get(key_of(event_id))
        return None if found is None else found[1]


def answers(settings: Settings) -> KnownAnswers:
    """
    Read people's answers, if the topic `reviewed` exists and may be read.

    Raises:
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
        SecurityError: The file of the keys cannot be used.
        DecisionSourceError: There are too many answers.
    """
    topic = settings.topics.reviewed
    found = admin.describe(settings, [topic])[topic]
    if found.partitions is None:
        return KnownAnswers(why=f"there is no topic {topic}")
    if found.operations is not None and Operation.READ not in found.operations:
        return KnownAnswers(why=f"this user may not read {topic}")
    keys = answer_keys(settings.security)
    tags: dict[bytes, tuple[Order, str]] = {}
    for record in _records(settings, topic, None):
        answered = read_answer(record, keys=keys)
        if isinstance(answered, AnsweredEvent):
            key, above = key_of(answered.event.id), order(answered.answer)
            if key not in tags or above > tags[key][0]:
                tags[key] = (above, answered.answer.tag)
                _bound(len(tags), "events have an answer")
    return KnownAnswers(_tags=tags)


def key_of(event_id: str) -> bytes:
    """Return a short key for an event, whatever the length of its id."""
    return hashlib.blake2b(event_id.encode(), digest_size=KEY_BYTES).digest()


def _records(settings: Settings, topic: str, since_ms: int | None) -> Iterator[Record]:
    with log_of(settings, topic) as log:
        yield from log.read(None if since_ms is None else log.offsets_since(max(0, since_ms)))


def _bound(kept: int, what: str) -> None:
    if kept > MOST_KEPT:
        msg = (
            f"more than {MOST_KEPT:,} {what}, which is more than is kept in memory. Next: give a later --since, or a --sample."
        )
        raise DecisionSourceError(msg)
