"""Reads a decision back from `tagged`, `review` or `audit`: the event's own fields apart from ours, as they were before publication."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import msgspec

from monitoring.vocabulary import MAX_LABELS, MAX_NAME_CHARACTERS, Reason
from stream.contract.decisions import ModelRef
from stream.contract.events import ContentEvent, validated, whole_value
from stream.contract.limits import DEFAULT_LIMITS, Limits
from stream.contract.parsing.strict_json import Fields, checked_object, fields_of
from stream.contract.parsing.typed import Moment, Share, Uuid, Version, check_moments, check_version, typed_fields
from stream.contract.publication import DECISION_FIELDS, OPTIONAL_FIELD
from stream.contract.record import Record
from stream.contract.refusal import Refusal, Refused, invalid

HIDDEN = "overridden"
# What a reviewer's decision on `tagged` has beside the fields of every decision.
REVIEWER_FIELDS = frozenset({"model_tag", "version", "decided_at", "supersedes"})

# Lists of which no version has more than a few names; every other list or object of a decision is one of labels.
MAX_REASONS = 32
SHORT_LISTS = frozenset({"reasons", "text_flags"})

Door = Literal["tagged", "review", "audit"]
Asked = Annotated[float, msgspec.Meta(gt=0, le=1)]
"""The probability that a person is asked about such an event: above 0, to 1."""


class ModelDecision(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the model, or the rules, decided: the fields of `tagged`, `review` and `audit` by their names on the wire.

    Attributes:
        tag: The label with the highest probability.
        tags: Every label that the text is about, `tag` among them; only where the bundle gives it.
        confidence: The probability of `tag`.
        probabilities: All labels of the bundle.
        prediction_id: Made of the event's id, the bundle and the contract's version; the same at every delivery.
        decider: The model, or the keyword rules.
        model: The bundle that decided, or the rules.
        threshold: The confidence below which a person is asked about this tag; above 1 it means always.
        truncated: The model read only the beginning of the text.
        reasons: Why a person is asked; only on `review`.
        inclusion_probability: On `review` and `audit`; None on `tagged`.
        text_flags: The kinds of hidden characters in the text; only on `review`.
        tagged_at: The time of publication.
    """

    tag: str
    tags: tuple[str, ...] = ()
    confidence: Share
    probabilities: dict[str, Share]
    prediction_id: Uuid
    decider: Literal["model", "rules"]
    model: ModelRef
    threshold: float
    truncated: bool
    reasons: tuple[str, ...] = ()
    inclusion_probability: Asked | None = None
    text_flags: tuple[str, ...] = ()
    tagged_at: Moment


class ReviewerDecision(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a person decided, as it is on `tagged`, in the order of the wire.

    Attributes:
        tag: The person's: a label, or `off_subject`.
        confidence: The model's probability of that tag, 0 for `off_subject`.
        probabilities: The model's, of all labels of the bundle.
        prediction_id: The id of the answer.
        decider: A person.
        model: The bundle that had decided before, or the rules.
        threshold: The confidence below which a person was asked about the model's tag.
        truncated: The model had read only the beginning of the text.
        model_tag: What the model, or the rules, had said.
        version: 1 for the first answer on an event, one more for each correction.
        decided_at: When the person decided.
        supersedes: The `prediction_id` of the decision that this one replaces.
        tagged_at: The time of publication.
    """

    tag: str
    confidence: Share
    probabilities: dict[str, Share]
    prediction_id: Uuid
    decider: Literal["reviewer"]
    model: ModelRef
    threshold: float
    truncated: bool
    model_tag: str
    version: Version
    decided_at: Moment
    supersedes: Uuid
    tagged_at: Moment


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
    def standing(self) -> tuple[int, str, str]:
        """
        Its place among the decisions on one event: the greatest holds.

        A person's stands above every model's; persons' are in the order of `answers.order`, models' in that of their publication.
        """
        made = self.decision
        if isinstance(made, ReviewerDecision):
            return made.version, made.decided_at, made.prediction_id
        return 0, made.tagged_at, made.prediction_id


def read_decision(record: Record, limits: Limits = DEFAULT_LIMITS) -> PublishedDecision | Refusal:
    """
    Read one record of `tagged`, `review` or `audit`. For any bytes it returns one of the two, and it never raises.

    Fields that a newer version adds to a decision are taken for fields of the event.
    """
    try:
        return _read(record, limits)
    except Refused as refused:
        return refused.refusal


def _read(record: Record, limits: Limits) -> PublishedDecision:
    checked, fields = opened(record, limits)
    by_person = checked.get("decider") == "reviewer"
    ours = DECISION_FIELDS | REVIEWER_FIELDS if by_person else DECISION_FIELDS
    names = list(fields)
    # `tags` is ours where it stands in our part, behind `tag`; the producer's own stands before it.
    if OPTIONAL_FIELD in fields and "tag" in fields and names.index(OPTIONAL_FIELD) > names.index("tag"):
        ours |= {OPTIONAL_FIELD}
    check_amounts(checked, ours - {HIDDEN}, Reason.WRONG_TYPE)
    event = carried_event(record, checked, fields, ours, limits)
    own = {name: raw for name, raw in fields.items() if name in ours}
    if by_person:
        made = typed_fields(own, ReviewerDecision)
        check_moments(Reason.WRONG_TYPE, tagged_at=made.tagged_at, decided_at=made.decided_at)
        check_version(made.version, Reason.WRONG_TYPE)
        return PublishedDecision(event=event, decision=made, door="tagged")
    decision = typed_fields(own, ModelDecision)
    check_moments(Reason.WRONG_TYPE, tagged_at=decision.tagged_at)
    asked: Door = "audit" if decision.inclusion_probability is not None else "tagged"
    return PublishedDecision(event=event, decision=decision, door="review" if decision.reasons else asked)


def opened(record: Record, limits: Limits) -> tuple[dict[str, Any], Fields]:
    """
    The object of a record that tagstream wrote: checked as `checked_object` does, and its fields as they came.

    Raises:
        Refused: The record was not read whole, or its value is not strict JSON within the limits.
    """
    value = whole_value(record, limits.max_dead_letter_bytes)
    # `overridden` holds fields of the event one level deeper than they came.
    return checked_object(value, replace(limits, max_depth=limits.max_depth + 1)), fields_of(value)


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


def carried_event(
    record: Record, checked: Mapping[str, Any], fields: Fields, ours: frozenset[str], limits: Limits
) -> ContentEvent:
    """
    The event that a record carries beside our fields; those of its fields that have a name of ours come from `overridden`.

    Raises:
        Refused: It is no event of the contract, has no id, or names a field in both places.
    """
    kept = {name: raw for name, raw in fields.items() if name not in ours}
    if HIDDEN in fields:
        if not isinstance(checked[HIDDEN], dict):
            raise invalid(Reason.WRONG_TYPE, f"{HIDDEN} is no object")
        hidden = fields_of(fields[HIDDEN])
        if hidden.keys() & kept.keys():
            raise invalid(Reason.DUPLICATE_KEY, f"a field is in {HIDDEN} and beside it")
        kept |= hidden
    if "id" not in kept:
        raise invalid(Reason.INVALID_ID, "id is missing")
    return validated(record, checked, kept, None, limits)
