"""Reads tagstream's own records, with the same suspicion as an event: the JSON object, the event in it, and the typed fields.

Decisions on `tagged`, `review` and `audit` are read here. Answers and reports have files of their own.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from tagstream.model_export.bundle.limits import MAX_LABELS, MAX_NAME_CHARACTERS
from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.event import (
    DEFAULT_LIMITS,
    ContentEvent,
    Fields,
    Limits,
    Record,
    checked_object,
    fields_of,
    validated,
    whole_value,
)
from tagstream.stream.contract.field_types import MOST_ANSWERS, AskToken, Moment
from tagstream.stream.contract.outcome import (
    ASK_FIELD,
    ASKED_FIELDS,
    DECISION_FIELDS,
    OPTIONAL_FIELD,
    Decision,
    ReviewerDecision,
    prediction_id,
)
from tagstream.stream.contract.refusal import Refusal, Refused, invalid

HIDDEN = "overridden"
# The fields of a reviewer's decision on `tagged` that no other decision has.
REVIEWER_FIELDS = frozenset({"model_tag", "version", "decided_at", "supersedes"})

# The bound on lists that never have more than a few names. All other lists and objects of a decision have one entry for each label at most.
MAX_REASONS = 32
SHORT_LISTS = frozenset({"reasons", "text_flags"})

_VALUE_IN_MESSAGE = re.compile(r"^(Invalid enum value) .*?( - at `\$[^`]*`)?$", re.DOTALL)

Door = Literal["tagged", "review", "audit"]
Struct = TypeVar("Struct")


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a web page needs to ask its viewers about a decision.

    Attributes:
        token: Made of the event's id, the decision's id and the day of the event's record; the same at every delivery.
    """

    token: AskToken


class ModelDecision(Decision, frozen=True, kw_only=True):
    """
    A decision of the model or of the rules, in its form on the topic.

    Attributes:
        decider: The model, or the keyword rules.
        ask: The token by which viewers of a web page say whether the tag is right; only on `tagged`, on a drawn share of the decisions.
        tagged_at: The time of publication.
    """

    decider: Literal["model", "rules"]
    ask: Ask | None = None
    tagged_at: Moment

    @property
    def tagged_ms(self) -> int:
        """`tagged_at` in Unix milliseconds."""
        return milliseconds(self.tagged_at)

    @property
    def model_name(self) -> str:
        """Name and version of the bundle."""
        return f"{self.model.name} {self.model.version}"

    def of_another(self, event_id: str) -> Decision:
        """The same decision for another event with the same text."""
        kept = {name: getattr(self, name) for name in Decision.__struct_fields__}
        return Decision(**kept | {"prediction_id": prediction_id(event_id, self.model.in_epoch)})


Order = tuple[int, int, str, str]
"""The place of a decision among all decisions on one event: a person's version, the epoch, time and id. The greatest holds."""


def order_of_person(version: int, decided_at: str, decision_id: str) -> Order:
    """
    The place of a person's decision. The greatest version holds, then the latest time, then the greatest id, in any order of arrival.

    Args:
        version: 1 for the first answer on an event.
        decided_at: The time of the answer, as it is published.
        decision_id: The `answer_id`, which is the `prediction_id` on `tagged`.
    """
    return version, 0, decided_at, decision_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedDecision:
    """
    One record of `tagged`, `review` or `audit`.

    Attributes:
        event: The event as the worker read it. Its `record` is the published record, with key, headers and place.
        decision: The decision of the model, the rules or a reviewer.
        door: The topic, found by the fields: `review` has reasons, `audit` an inclusion probability without reasons, `tagged` neither.
    """

    event: ContentEvent
    decision: ModelDecision | ReviewerDecision
    door: Door

    @property
    def standing(self) -> Order:
        """
        The decision's place among the decisions on one event: the greatest holds.

        A person's decision stands above every model's decision. Decisions of people are in the order of `order_of_person`. A model's decision
        stands above the decisions of earlier epochs, so a late decision of a replaced model undoes nothing. Within an epoch the order of
        publication counts.
        """
        made = self.decision
        if isinstance(made, ReviewerDecision):
            return order_of_person(made.version, made.decided_at, made.prediction_id)
        return 0, made.model.epoch_number, made.tagged_at, made.prediction_id


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedEvent(PublishedDecision):
    """An event with a decision of the model or of the rules on it."""

    decision: ModelDecision


def read_decision(record: Record, limits: Limits = DEFAULT_LIMITS) -> PublishedDecision | Refusal:
    """
    Read one record of `tagged`, `review` or `audit`. Returns a decision or a refusal for any bytes, and never raises.

    A decision of the model or of the rules is a `DecidedEvent`. Fields that a newer version adds to a decision are taken for fields of the
    event.
    """
    try:
        return _read(record, limits)
    except Refused as refused:
        return refused.refusal


def _read(record: Record, limits: Limits) -> PublishedDecision:
    found = opened(record, limits)
    fields = found.fields
    by_person = found.checked.get("decider") == "reviewer"
    ours = DECISION_FIELDS | REVIEWER_FIELDS if by_person else DECISION_FIELDS
    names = list(fields)
    # A field `tags` or `ask` after `tag` is ours; a producer's field of such a name stands before `tag`.
    if "tag" in fields:
        ours |= {OPTIONAL_FIELD, ASK_FIELD} & set(names[names.index("tag") :])
    check_amounts(found.checked, ours - {HIDDEN}, Reason.WRONG_TYPE)
    event = found.event(ours)
    own = {name: raw for name, raw in fields.items() if name in ours}
    if by_person:
        made = typed_fields({name: raw for name, raw in own.items() if name not in ASKED_FIELDS}, ReviewerDecision)
        check_moments(Reason.WRONG_TYPE, tagged_at=made.tagged_at, decided_at=made.decided_at)
        check_version(made.version, Reason.WRONG_TYPE)
        return PublishedDecision(event=event, decision=made, door="tagged")
    decision = typed_fields(own, ModelDecision)
    check_moments(Reason.WRONG_TYPE, tagged_at=decision.tagged_at)
    asked: Door = "audit" if decision.inclusion_probability is not None else "tagged"
    return DecidedEvent(event=event, decision=decision, door="review" if decision.reasons else asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """
    The object of a record that tagstream wrote, in strict JSON.

    Attributes:
        record: The record of the object.
        checked: The object of `checked_object`.
        fields: The object's fields by name, as they came.
        limits: Bounds on the event.
    """

    record: Record
    checked: dict[str, Any]
    fields: Fields
    limits: Limits

    def event(self, ours: AbstractSet[str]) -> ContentEvent:
        """
        The event in the object: the fields that are not ours, and the fields in `overridden`.

        Raises:
            Refused: The object is not an event of the contract, has no id, or has a field in both places.
        """
        kept = {name: raw for name, raw in self.fields.items() if name not in ours}
        if HIDDEN in self.fields:
            if not isinstance(self.checked[HIDDEN], dict):
                raise invalid(Reason.WRONG_TYPE, f"{HIDDEN} is no object")
            hidden = fields_of(self.fields[HIDDEN])
            if hidden.keys() & kept.keys():
                raise invalid(Reason.DUPLICATE_KEY, f"a field is in {HIDDEN} and beside it")
            kept |= hidden
        if "id" not in kept:
            raise invalid(Reason.INVALID_ID, "id is missing")
        return validated(self.record, self.checked, kept, None, self.limits)


def opened(record: Record, limits: Limits) -> Opened:
    """
    Read a record that tagstream wrote.

    Raises:
        Refused: The record was not read whole, or its value is not strict JSON within the limits.
    """
    value = whole_value(record, limits.max_dead_letter_bytes)
    # `overridden` holds fields of the event one level deeper than in the event.
    checked = checked_object(value, replace(limits, max_depth=limits.max_depth + 1))
    return Opened(record=record, checked=checked, fields=fields_of(value), limits=limits)


def check_amounts(decision: Mapping[str, Any], names: AbstractSet[str], reason: Reason) -> None:
    """
    Check bounds that the published schema does not have: a decision has at most the labels, reasons and characters that a bundle can give.

    Call this before types are checked, so that a record beyond the bounds costs only one parse.

    Args:
        decision: The object of `checked_object`.
        names: The names of our fields.
        reason: The reason of a refusal.

    Raises:
        Refused: A list or an object has too many parts, or a field, or a name in a list or object, is too long.
    """
    for name in sorted(names & decision.keys()):
        found = decision[name]
        parts = found if isinstance(found, dict | list) else (found,)
        most = MAX_REASONS if name in SHORT_LISTS else MAX_LABELS
        if len(parts) > most:
            raise invalid(reason, f"{name} has {len(parts)} parts, and a bundle gives {most} at most")
        texts = [*parts, *parts.values()] if isinstance(parts, dict) else parts
        if any(isinstance(text, str) and len(text) > MAX_NAME_CHARACTERS for text in texts):
            raise invalid(reason, f"{name} has a text of more than {MAX_NAME_CHARACTERS} characters")


def typed(value: bytes, struct: type[Struct], reason: Reason = Reason.WRONG_TYPE) -> Struct:
    """
    The JSON object in `value` as a struct. Fields that the struct does not name are ignored, unless the struct forbids them.

    Args:
        value: The bytes of the object.
        struct: The type to read.
        reason: The reason of a refusal.

    Raises:
        Refused: A field is missing or has another type. The message names the field and never quotes a value.
    """
    try:
        return msgspec.json.decode(value, type=struct)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(reason, fault(error)) from None


def typed_fields(fields: Fields, struct: type[Struct], reason: Reason = Reason.WRONG_TYPE) -> Struct:
    """
    `typed` for fields that are parsed already.

    Args:
        fields: Only the fields of the struct, each as its own bytes.
        struct: The type to read.
        reason: The reason of a refusal.
    """
    return typed(msgspec.json.encode(fields), struct, reason)


def fault(error: Exception) -> str:
    """
    The message of msgspec on a value that it refused, without the value.

    >>> fault(msgspec.ValidationError("Invalid enum value 'their words' - at `$.asked_by`"))
    'Invalid enum value - at `$.asked_by`'
    """
    return _VALUE_IN_MESSAGE.sub(lambda found: f"{found[1]}{found[2] or ''}", str(error))


def milliseconds(moment: str) -> int:
    """
    Unix milliseconds of a time in the form of `Moment`.

    Raises:
        ValueError: The text has the form and is not a real time, such as the 31st of February.

    >>> milliseconds("2023-11-14T22:13:20.123Z")
    1700000000123
    """
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def check_version(version: int, reason: Reason) -> None:
    """
    Check that people can have answered this often.

    Raises:
        Refused: The version is too high: no correction could stand above it.
    """
    if version > MOST_ANSWERS:
        raise invalid(
            reason, f"version {version} is more answers on one event than the {MOST_ANSWERS} that people can have given"
        )


def check_moments(reason: Reason, **moments: str) -> None:
    """
    Check that these times are real. Their form was checked before.

    Raises:
        Refused: A time is not real; the message names its field.
    """
    for name, moment in moments.items():
        try:
            milliseconds(moment)
        except ValueError:
            raise invalid(reason, f"{name} is no time of the calendar") from None
