"""Reads what tagstream published back, with the same suspicion as an event: its JSON object, the event that it carries, and its typed fields.

A decision of `tagged`, `review` or `audit` is read here; answers and reports have files of their own.
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
from tagstream.stream.contract.field_types import MOST_ANSWERS, Moment
from tagstream.stream.contract.outcome import (
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

# Lists of which no version has more than a few names; every other list or object of a decision is one of labels.
MAX_REASONS = 32
SHORT_LISTS = frozenset({"reasons", "text_flags"})

_VALUE_IN_MESSAGE = re.compile(r"^(Invalid enum value) .*?( - at `\$[^`]*`)?$", re.DOTALL)

Door = Literal["tagged", "review", "audit"]
Struct = TypeVar("Struct")


class ModelDecision(Decision, frozen=True, kw_only=True):
    """
    A decision of the model, or of the rules, as it is on its topic.

    Attributes:
        decider: The model, or the keyword rules.
        tagged_at: The time of publication.
    """

    decider: Literal["model", "rules"]
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
        """The same decision on another event with the same text."""
        kept = {name: getattr(self, name) for name in Decision.__struct_fields__}
        return Decision(**kept | {"prediction_id": prediction_id(event_id, self.model.in_epoch)})


Order = tuple[int, int, str, str]
"""The place of a decision among those on one event: a person's version, the epoch, time and id. The greatest holds."""


def order_of_person(version: int, decided_at: str, decision_id: str) -> Order:
    """
    The place of a person's decision: the greatest version holds, then the later time, then the greater id, in whatever order they arrive.

    Args:
        version: 1 for the first answer on an event.
        decided_at: When, as it is published.
        decision_id: The `answer_id`, which is the `prediction_id` on `tagged`.
    """
    return version, 0, decided_at, decision_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedDecision:
    """
    One record of `tagged`, `review` or `audit`.

    Attributes:
        event: The event as the worker had read it; its `record` is the published record, with key, headers and place.
        decision: The model's, the rules' or a reviewer's.
        door: By the fields that are there: `review` has reasons, `audit` an inclusion probability without reasons, `tagged` neither.
    """

    event: ContentEvent
    decision: ModelDecision | ReviewerDecision
    door: Door

    @property
    def standing(self) -> Order:
        """
        Its place among the decisions on one event: the greatest holds.

        A person's stands above every model's; persons' are in the order of `order_of_person`. A model's stands above those of earlier
        epochs, so that a late decision of a model that was replaced undoes nothing; within an epoch the order is that of publication.
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
    Read one record of `tagged`, `review` or `audit`. For any bytes it returns one of the two, and it never raises; a decision of the
    model or of the rules is a `DecidedEvent`.

    Fields that a newer version adds to a decision are taken for fields of the event.
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
    # `tags` is ours where it stands in our part, behind `tag`; the producer's own stands before it.
    if OPTIONAL_FIELD in fields and "tag" in fields and names.index(OPTIONAL_FIELD) > names.index("tag"):
        ours |= {OPTIONAL_FIELD}
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
        record: Where it was read.
        checked: As `checked_object` gives it.
        fields: By name, as they came.
        limits: On its event.
    """

    record: Record
    checked: dict[str, Any]
    fields: Fields
    limits: Limits

    def event(self, ours: AbstractSet[str]) -> ContentEvent:
        """
        The event in it: its fields but for ours, and from `overridden` those that have a name of ours.

        Raises:
            Refused: It is no event of the contract, has no id, or names a field in both places.
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
        Refused: It was not read whole, or its value is not strict JSON within the limits.
    """
    value = whole_value(record, limits.max_dead_letter_bytes)
    # `overridden` holds fields of the event one level deeper than they came.
    checked = checked_object(value, replace(limits, max_depth=limits.max_depth + 1))
    return Opened(record=record, checked=checked, fields=fields_of(value), limits=limits)


def check_amounts(decision: Mapping[str, Any], names: AbstractSet[str], reason: Reason) -> None:
    """
    The bounds that the published schema does not have: a decision has as many labels, reasons and characters as a bundle can give it.

    It is asked before any type is, so that a record beyond the bounds costs no more than its one parse.

    Args:
        decision: The object that has the fields, as `checked_object` gives it.
        names: Those of its fields that are ours.
        reason: Of a refusal.

    Raises:
        Refused: A list or an object has too many parts, or a name in it, or a field, is too long.
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
    The JSON object in `value` as a struct; fields that the struct does not name are ignored, unless it forbids them.

    Args:
        value: The bytes of the object.
        struct: The type to read.
        reason: Of a refusal.

    Raises:
        Refused: A field is missing or has another type; the message names the field and never a value.
    """
    try:
        return msgspec.json.decode(value, type=struct)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(reason, fault(error)) from None


def typed_fields(fields: Fields, struct: type[Struct], reason: Reason = Reason.WRONG_TYPE) -> Struct:
    """
    As `typed`, of fields that were parsed before.

    Args:
        fields: Those of the struct alone, each as its own bytes.
        struct: As for `typed`.
        reason: As for `typed`.
    """
    return typed(msgspec.json.encode(fields), struct, reason)


def fault(error: Exception) -> str:
    """
    The words of msgspec on a value that it refused, without the value.

    >>> fault(msgspec.ValidationError("Invalid enum value 'their words' - at `$.asked_by`"))
    'Invalid enum value - at `$.asked_by`'
    """
    return _VALUE_IN_MESSAGE.sub(lambda found: f"{found[1]}{found[2] or ''}", str(error))


def milliseconds(moment: str) -> int:
    """
    Unix milliseconds of a time in the form of `Moment`.

    Raises:
        ValueError: It has the form and is no time, such as the 31st of February.

    >>> milliseconds("2023-11-14T22:13:20.123Z")
    1700000000123
    """
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def check_version(version: int, reason: Reason) -> None:
    """
    Can people have answered so often?

    Raises:
        Refused: They cannot. Above such a version no correction would hold.
    """
    if version > MOST_ANSWERS:
        raise invalid(
            reason, f"version {version} is more answers on one event than the {MOST_ANSWERS} that people can have given"
        )


def check_moments(reason: Reason, **moments: str) -> None:
    """
    Are these real times? Their form was checked before.

    Raises:
        Refused: One is not; the message names its field.
    """
    for name, moment in moments.items():
        try:
            milliseconds(moment)
        except ValueError:
            raise invalid(reason, f"{name} is no time of the calendar") from None
