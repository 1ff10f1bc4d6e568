"""The contract of `reviewed`: a person's answer about one event, complete in itself, and the decision on `tagged` that follows from it.

A record is the event's own fields, byte for byte, then the answer. Every record is read with the same suspicion as an event.

**The signature** is a header of the record, made with a key that a console and the workers share. No worker knows every event, so no field
of an answer can show that a person gave it. The signature shows that a program with the key wrote the record's key and value, byte for
byte. Headers are not signed: tracing and mirroring add headers on the way. A signed record that is written again is the same answer, with
the same ids.
"""

import hashlib
import hmac
import uuid
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

import msgspec

from tagstream.monitoring import vocabulary
from tagstream.monitoring.record_time import AHEAD_MS
from tagstream.monitoring.vocabulary import Destination, Reason
from tagstream.stream.contract.event import DEFAULT_LIMITS, ContentEvent, Fields, Headers, Limits, Record
from tagstream.stream.contract.field_types import (
    MOST_ANSWERS,
    Asked,
    EventId,
    Label,
    Moment,
    Note,
    PersonName,
    Share,
    Uuid,
    Version,
)
from tagstream.stream.contract.outcome import (
    ASKED_FIELDS,
    DECISION_FIELDS,
    OPTIONAL_FIELD,
    ModelRef,
    ReviewerDecision,
    outcome_headers,
    prediction_id,
    timestamp,
    without_collisions,
)
from tagstream.stream.contract.published import (
    HIDDEN,
    REVIEWER_FIELDS,
    DecidedEvent,
    ModelDecision,
    Order,
    check_amounts,
    check_moments,
    check_version,
    milliseconds,
    opened,
    order_of_person,
    typed,
)
from tagstream.stream.contract.refusal import Refusal, Refused, UnwritableError, invalid

OFF_SUBJECT = vocabulary.OFF_SUBJECT
"""The tag of an event that fits no label. Only a person gives it."""
ANSWER_NAMESPACE = uuid.UUID("3f1c0c56-4f0e-5d0b-9f0e-0d2a6f9b7c15")

AskedBy = Literal["review", "audit", "user_report", "correction", "import"]
"""The door by which an event came before a person."""


class Before(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The decision that the person saw, without its id and tag: its fields as they stood on its topic.

    Attributes:
        destination: The door of the event; `tagged` for an audit copy.
        inclusion_probability: The probability that a person is asked about such an event; None if there was no draw.
    """

    confidence: Share
    probabilities: Annotated[dict[Label, Share], msgspec.Meta(min_length=1)]
    tags: tuple[str, ...] = ()
    decider: Literal["model", "rules"]
    model: ModelRef
    threshold: float
    truncated: bool
    destination: Literal["tagged", "review"]
    reasons: tuple[str, ...] = ()
    inclusion_probability: Asked | None = None
    text_flags: tuple[str, ...] = ()
    tagged_at: Moment

    def decision(self, tag: str, prediction_id: str) -> ModelDecision:
        """The whole decision, with its tag and id."""
        return ModelDecision(tag=tag, prediction_id=prediction_id, **{name: getattr(self, name) for name in _KEPT})


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A person's answer about one event, in the order of the wire.

    Attributes:
        event_id: The event's id.
        prediction_id: The id of the decision that the person saw.
        model_tag: The tag of that decision.
        tag: A label of that decision, or `off_subject`.
        reviewer: The name of the person.
        decided_at: The time of the answer, in UTC with milliseconds.
        version: 1 for the first answer on an event, one more for each correction.
        note: The person's own words.
        supersedes: The id of the answer that this answer replaces; None for version 1.
        blind: True if the decision was hidden from the person.
        asked_by: The door by which the event came before the person.
        before: The rest of the decision.
    """

    event_id: EventId
    prediction_id: Uuid
    model_tag: Label
    tag: Label
    reviewer: PersonName
    decided_at: Moment
    version: Version
    note: Note | None = None
    supersedes: Uuid | None = None
    blind: bool
    asked_by: AskedBy
    before: Before


ANSWER_FIELDS = frozenset({*Answer.__struct_fields__, HIDDEN})
"""The names that are ours on `reviewed`; an event's field of such a name is in `overridden`."""
BEFORE_FIELDS = frozenset(Before.__struct_fields__)
# The fields that a decision and the `before` of an answer have in common.
_KEPT = tuple(name for name in Before.__struct_fields__ if name in ModelDecision.__struct_fields__)
# Among these, the fields in which a person's decision repeats the model's decision.
_OF_THE_MODEL = tuple(name for name in _KEPT if name not in ASKED_FIELDS | {"confidence", "decider", "tagged_at"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredEvent:
    """An answer with its event. `event.record` is the record of `reviewed`."""

    event: ContentEvent
    answer: Answer

    @property
    def shown(self) -> DecidedEvent:
        """The decision that the person saw, as the answer carries it. Its door is the event's door."""
        decision = self.answer.before.decision(self.answer.model_tag, self.answer.prediction_id)
        return DecidedEvent(event=self.event, decision=decision, door=self.answer.before.destination)


SIGNATURE_HEADER = "x-tagstream-signature"
_FORM = b"sha256="
# No other message that is signed with these keys may ever begin with these bytes.
_PURPOSE = b"tagstream answer 1\n"


@dataclass(frozen=True, slots=True)
class AnswerKeys:
    """
    The keys of answers. The first key signs, and each key is accepted, so that keys can be changed one process after the other.

    Without a key nothing is signed, and every record is accepted.

    >>> keys = AnswerKeys((b"new", b"old"))
    >>> record = AnswerKeys((b"old",)).signed(Record(key=b"k", value=b"{}"))
    >>> replace = msgspec.structs.replace
    >>> keys.accept(record), keys.accept(replace(record, value=b"[]")), keys.accept(replace(record, headers=()))
    (True, False, False)
    """

    keys: tuple[bytes, ...] = field(default=(), repr=False)

    def signed(self, record: Record) -> Record:
        """The record with a signature; without a key, the record without a signature."""
        kept = unsigned(record.headers)
        own = ((SIGNATURE_HEADER, _signature(self.keys[0], record)),) if self.keys else ()
        return msgspec.structs.replace(record, headers=(*kept, *own))

    def accept(self, record: Record) -> bool:
        """True if one of the keys has signed the record, or if there is no key."""
        given = _given(record)
        return not self.keys or any(hmac.compare_digest(given, _signature(key, record)) for key in self.keys)

    def check(self, record: Record) -> None:
        """
        Require a signature by one of the keys.

        Raises:
            Refused: None of the keys has signed the record.
        """
        if not self.accept(record):
            why = "the signature is by no key that is accepted here" if _given(record) else "the record has no signature"
            raise invalid(Reason.UNSIGNED_ANSWER, f"{why} (security.answer_keys_file)")


UNSIGNED = AnswerKeys()


def read_answer(record: Record, limits: Limits = DEFAULT_LIMITS, keys: AnswerKeys = UNSIGNED) -> AnsweredEvent | Refusal:
    """
    Read one record of `reviewed`. Returns an answer or a refusal for any bytes, and never raises.

    Args:
        record: The record.
        limits: Bounds on its size.
        keys: The keys of which one must have signed the record, which is checked first; without a key no signature is required.
    """
    try:
        keys.check(record)
        found = opened(record, limits)
        if isinstance(before := found.checked.get("before"), dict):
            check_amounts(before, BEFORE_FIELDS, Reason.INVALID_ANSWER)
        event = found.event(ANSWER_FIELDS)
        answer = typed(record.value or b"", Answer, Reason.INVALID_ANSWER)
        _check(answer, event)
    except Refused as refused:
        return refused.refusal
    return AnsweredEvent(event=event, answer=answer)


def write_answer(fields: Fields, answer: Answer) -> bytes:
    """
    The value of a record of `reviewed`. The record's key is the key of the decision's record.

    Args:
        fields: The event's own fields, such as `PublishedDecision.event.fields`.
        answer: The answer about this event.

    Raises:
        UnwritableError: `read_answer` would refuse this answer; the message says why.
    """
    kept = msgspec.json.encode(without_collisions(fields, ANSWER_FIELDS))
    value = kept[:-1] + b"," + msgspec.json.encode(answer)[1:]
    found = read_answer(Record(key=None, value=value))
    if isinstance(found, Refusal):
        raise UnwritableError(found)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """
    The part of an answer that does not follow from the decision: the words and the circumstances.

    Attributes:
        tag: A label of the decision, or `off_subject`.
        reviewer: The name of the person.
        blind: True if the decision was hidden from the person.
        asked_by: The door by which the event came before the person.
        note: The person's own words.
    """

    tag: str
    reviewer: str
    blind: bool
    asked_by: AskedBy
    note: str | None = None


def answer_to(shown: DecidedEvent, said: Said, *, now_ms: int, previous: Answer | None = None) -> Answer:
    """
    The answer of a person who saw this decision. A correction of another person's answer, too, refers to the model's decision.

    Args:
        shown: The event, and the decision of the model or of the rules.
        said: The person's words.
        now_ms: Unix milliseconds.
        previous: The answer that holds for this event so far, and that the new answer replaces.
    """
    return Answer(
        event_id=shown.event.id,
        prediction_id=shown.decision.prediction_id,
        model_tag=shown.decision.tag,
        decided_at=timestamp(now_ms),
        version=1 if previous is None else next_version(previous.version),
        supersedes=None if previous is None else answer_id(previous),
        before=before_of(shown.decision),
        **asdict(said),
    )


def before_of(decision: ModelDecision) -> Before:
    """The part of a decision that an answer carries as `before`."""
    kept = {name: getattr(decision, name) for name in _KEPT}
    return Before(destination="review" if decision.reasons else "tagged", **kept)


def answer_id(answer: Answer) -> str:
    """
    The id of an answer: every copy of the answer has the same id, and every other answer has another id.

    It is the `prediction_id` of the decision on `tagged`, and the `supersedes` of a correction.
    """
    said = (answer.event_id, answer.prediction_id, answer.tag, answer.reviewer, answer.decided_at, answer.version, answer.note)
    return str(uuid.uuid5(ANSWER_NAMESPACE, msgspec.json.encode(said).decode()))


def order(answer: Answer) -> Order:
    """The place of an answer among the decisions on its event (`PublishedDecision.standing`): the greatest holds, in any order of arrival."""
    return order_of_person(answer.version, answer.decided_at, answer_id(answer))


def next_version(version: int) -> int:
    """
    The version of a correction of an answer with this version. The highest version repeats, and the time then decides, so that every answer
    can be corrected.

    >>> next_version(1), next_version(MOST_ANSWERS) == MOST_ANSWERS
    (2, True)
    """
    return min(version + 1, MOST_ANSWERS)


def tagged_by_reviewer(
    answered: AnsweredEvent, now_ms: int, limits: Limits = DEFAULT_LIMITS
) -> tuple[bytes, bytes, Headers, ReviewerDecision]:
    """
    Key, value and headers of the record on `tagged`, and its decision. Everything but `tagged_at` follows from the record of `reviewed`.

    The record has neither the reviewer's name nor the note.

    Args:
        answered: The answer and its event.
        now_ms: Unix milliseconds, published as `tagged_at`.
        limits: Have the source of outcomes as CloudEvents, if there is one.
    """
    event, answer, before = answered.event, answered.answer, answered.answer.before
    decision = ReviewerDecision(
        tag=answer.tag,
        confidence=before.probabilities.get(answer.tag, 0.0),
        prediction_id=answer_id(answer),
        decider="reviewer",
        model_tag=answer.model_tag,
        version=answer.version,
        decided_at=answer.decided_at,
        supersedes=answer.supersedes or answer.prediction_id,
        tagged_at=timestamp(now_ms),
        **{name: getattr(before, name) for name in _OF_THE_MODEL},
    )
    # If the bundle gives `tags`, a producer's field of this name would be taken for the bundle's.
    ours = DECISION_FIELDS | REVIEWER_FIELDS | ({OPTIONAL_FIELD} if before.tags else set())
    kept = msgspec.json.encode(without_collisions(event.fields, ours))
    value = kept[:-1] + b"," + msgspec.json.encode(decision)[1:]
    record = event.record
    key = record.key if record.key is not None else event.id.encode()
    headers = outcome_headers(
        unsigned(record.headers), Destination.TAGGED, decision.prediction_id, decision.tagged_at.encode(), limits
    )
    return key, value, headers, decision


def _check(answer: Answer, event: ContentEvent) -> None:
    """
    Check the rules that types cannot express.

    Raises:
        Refused: A rule is broken.
    """
    before, record = answer.before, event.record
    check_moments(Reason.INVALID_ANSWER, decided_at=answer.decided_at, tagged_at=before.tagged_at)
    check_version(answer.version, Reason.INVALID_ANSWER)
    # Among answers with one version the latest `decided_at` holds, so an answer from the future could not be corrected.
    if record.timestamp_ms and milliseconds(answer.decided_at) > record.timestamp_ms + AHEAD_MS:
        raise invalid(Reason.INVALID_ANSWER, "decided_at is later than the record by more than an hour")
    if answer.event_id != event.id:
        raise invalid(Reason.INVALID_ANSWER, "event_id is not the id of the event that the record carries")
    if answer.prediction_id != prediction_id(event.id, before.model.in_epoch):
        raise invalid(
            Reason.UNKNOWN_DECISION,
            "prediction_id does not follow from event_id and before.model: no worker made this decision",
        )
    if OFF_SUBJECT in before.probabilities:
        raise invalid(Reason.UNKNOWN_LABEL, f"before.probabilities has {OFF_SUBJECT}, which only a person can give")
    if answer.model_tag not in before.probabilities:
        raise invalid(Reason.UNKNOWN_LABEL, "model_tag is no label of before.probabilities")
    if answer.tag != OFF_SUBJECT and answer.tag not in before.probabilities:
        raise invalid(Reason.UNKNOWN_LABEL, f"tag is neither a label of before.probabilities nor {OFF_SUBJECT}")
    if (answer.supersedes is None) != (answer.version == 1):
        raise invalid(Reason.INVALID_ANSWER, "version 1 supersedes no answer, and every later version supersedes one")


def unsigned(headers: Headers) -> Headers:
    """The headers without signatures."""
    return tuple((name, content) for name, content in headers if name != SIGNATURE_HEADER)


def _given(record: Record) -> bytes:
    """The record's signature; empty if it has none. The last signature header counts: earlier ones may come from the event."""
    return next((content or b"" for name, content in reversed(record.headers) if name == SIGNATURE_HEADER), b"")


def _signature(key: bytes, record: Record) -> bytes:
    # The key comes with its length, so that no byte can move between key and value.
    place = b"-" if record.key is None else b"%d:%b" % (len(record.key), record.key)
    made = hmac.new(key, _PURPOSE + place + b"\n", hashlib.sha256)
    made.update(record.value or b"")
    return _FORM + made.hexdigest().encode()
