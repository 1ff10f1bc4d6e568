"""
Where the decisions of a comparison come from: a bundle that decides here and now, or what was published; and what people answered.

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
# Each takes some 400 bytes.
MOST_KEPT = 1_000_000
KEY_BYTES = 16


class DecisionSourceError(Exception):
    """A source of decisions cannot be had: the message says which, why, and the next step."""

    exit_code = 2


def as_workers_decide(settings: Settings) -> Settings:
    """The settings with the limits that workers have: a topic may take smaller records than they allow, and then more is a dead letter."""
    return sizes.fitted(settings, list(sizes.shortfalls(settings, sizes.read(settings))))


class DecisionSource(Protocol):
    """
    The older end of a comparison.

    Attributes:
        name: For people.
        identity: Of a bundle its digest: a run that is continued must have the same.
    """

    name: str
    identity: str

    def decide(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> list[RowDecision | Refusal | None]:
        """
        What it has decided on each of these records; None where it knows of no decision.

        Args:
            records: As they were read.
            outcomes: Those of the newer end, in the same order.
        """
        ...


def bundle_of(settings: Settings, named: str) -> Bundle:
    """
    The bundle in a folder, or the one of this digest in the place of bundles.

    Raises:
        DecisionSourceError: There is no such folder, and it is no digest.
        BundleError: It is no bundle that can be trusted.
        DepotError: The settings name no place of bundles, or it does not have this one.
    """
    if Path(named).exists():
        return read(Path(named))
    if DIGEST.fullmatch(named):
        return depot_of(settings).read(named)
    msg = f"there is no folder {named}, and it is no digest of a bundle (64 hexadecimal digits). Next: correct it."
    raise DecisionSourceError(msg)


def decider_named(settings: Settings, named: str) -> Decider:
    """
    The decider of a bundle under these settings, the setting `confidence_threshold` included. Raises as `bundle_of`.

    A decision of the keyword rules is none of a bundle, so the setting `decider` does not count here.
    """
    found = bundle_of(settings, named)
    return decider_of(settings.model_copy(update={"bundle": found.path, "decider": "model"}))


def require_same_labels(new: Decider, old: Decider) -> None:
    """
    Can their decisions be compared?

    Raises:
        DecisionSourceError: They have other labels.
    """
    if set(new.labels) != set(old.labels):
        msg = (
            f"{named_model(new)} has the labels {few(sorted(new.labels))}, and {named_model(old)} has {few(sorted(old.labels))}: "
            "none of their tags means the same. Next: give two bundles with the same labels."
        )
        raise DecisionSourceError(msg)


def named_model(decider: Decider) -> str:
    """Name, version and the beginning of the digest."""
    return f"{decider.model.name} {decider.model.version} ({decider.model.digest[:12]})"


class Sample:
    """
    The events of a sample: a hash of the id decides, so that each run has the same ones.

    Its salt is not that of the audits: with one, all audits would fall into the sample.

    Attributes:
        share: Of all events.
    """

    def __init__(self, settings: Settings, share: float) -> None:
        """
        Draw nothing yet.

        Args:
            settings: Limits on an event, the Schema Registry, and the salt.
            share: Above 0, to 1.
        """
        self.share = share
        self._draw = Draw(rate=share, salt=f"shadow {settings.audit_salt}")
        self._limits = settings.limits
        self._unframe = unframing_of(settings)

    def has(self, event_id: str) -> bool:
        """Whether the event of this id belongs to it."""
        return self._draw.inclusion_probability(event_id, "") is not None

    def of(self, records: Sequence[Record]) -> list[Record]:
        """The records that belong to it. One that is no event has no id, and belongs to every sample."""
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
    What was published on `tagged` and `review`: of the models' decisions on an event the one that holds.

    A person's decision is an answer, and does not count here.

    Attributes:
        unreadable: Records that are no decision.
    """

    name: str = "what was published"
    identity: str = RECORDED
    unreadable: int = 0
    _kept: dict[bytes, tuple[Order, RowDecision]] = field(default_factory=dict)

    def take(self, record: Record, sample: Sample) -> None:
        """
        Keep the decision in a record, if it stands above the one that is kept.

        Raises:
            DecisionSourceError: There are too many.
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
        """See the protocol. Where the newer end refuses an event, its id is not known here."""
        del records
        return [None if isinstance(one, Refusal) else self._of(one.event.id) for one in outcomes]

    def _of(self, event_id: str) -> RowDecision | None:
        found = self._kept.get(key_of(event_id))
        return None if found is None else found[1]


def recorded(settings: Settings, since_ms: int | None, sample: Sample) -> RecordedSource:
    """
    Read what was published.

    Args:
        settings: Brokers and topics.
        since_ms: No event of the range is older; what was published an hour before that and later is read, since clocks differ. None: all.
        sample: Of all other events nothing is kept.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
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
    What people answered.

    Attributes:
        why: Why there is none to be had; empty where they were read.
    """

    why: str = ""
    _tags: Mapping[bytes, tuple[Order, str]] = field(default_factory=dict)

    def tag(self, event_id: str) -> str | None:
        """The tag that the newest answer on an event gives; None without an answer."""
        found = self._tags.get(key_of(event_id))
        return None if found is None else found[1]


def answers(settings: Settings) -> KnownAnswers:
    """
    Read what people answered, where that topic is there and may be read.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
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
    """An id by which an event is kept: short, whatever its producer calls it."""
    return hashlib.blake2b(event_id.encode(), digest_size=KEY_BYTES).digest()


def _records(settings: Settings, topic: str, since_ms: int | None) -> Iterator[Record]:
    with log_of(settings, topic) as log:
        yield from log.read(None if since_ms is None else log.offsets_since(max(0, since_ms)))


def _bound(kept: int, what: str) -> None:
    if kept > MOST_KEPT:
        msg = f"more than {MOST_KEPT:,} {what}, and so many are not kept in memory. Next: give a later --since, or a --sample."
        raise DecisionSourceError(msg)
