"""The contract of `shadow`: what a second bundle would have decided on an event. A record is never a decision, and has no text of the event."""

from dataclasses import replace
from typing import Annotated, Literal

import msgspec

from tagstream.model_export.bundle.limits import MAX_NAME_CHARACTERS
from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.event import DEFAULT_LIMITS, Limits, Record
from tagstream.stream.contract.field_types import Asked, EventId, Label, Moment, Share, Uuid
from tagstream.stream.contract.outcome import Decision, ModelRef
from tagstream.stream.contract.published import check_moments, opened, typed
from tagstream.stream.contract.refusal import Refusal, Refused, UnwritableError, invalid
from tagstream.stream.contract.rollout_records import Digest

# Several times the longest record, so that fields of a later version fit too.
MAX_SHADOW_BYTES = 64 * 1024
MAX_SLICES = 32
MAX_SLICE_CHARACTERS = 128

Seconds = Annotated[float, msgspec.Meta(ge=0)]
SliceName = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SLICE_CHARACTERS)]


def slice_name(group: str, name: str) -> str:
    """
    The name of a slice in a record of `shadow` and in the guards of a plan.

    >>> slice_name("source", "web")
    'source: web'
    """
    return f"{group}: {name}"


class ShadowSide(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One decision on the event, without its probabilities.

    Attributes:
        tag: The tag of the decision.
        confidence: The confidence in the tag.
        destination: The topic of the outcome.
        prediction_id: The id of the decision. The champion's id is also on the topic of the outcome.
        model: The bundle, with epoch and arm after the first change of the stream's model.
    """

    tag: Label
    confidence: Share
    destination: Literal["tagged", "review"]
    prediction_id: Uuid
    model: ModelRef


class BatchTimes(msgspec.Struct, frozen=True, kw_only=True):
    """
    The times of both bundles for the same batch of events, one after the other, in the follower's process.

    Attributes:
        champion: Seconds of the model, or models, that decide the stream.
        challenger: Seconds of the other bundle.
    """

    champion: Seconds
    challenger: Seconds


class Shadowed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One event that both bundles had to decide. A record that is written twice has the same event id and bundles.

    Attributes:
        event_id: The event's id.
        partition: The event's partition of `content`.
        offset: The event's offset in that partition.
        champion: The decision of the bundle that decides the stream at this offset; absent if the bundle raised for the event, which is
            then a dead letter.
        challenger: The decision of the other bundle; absent if it failed. Champion or challenger is always there.
        failure: Why the absent decision failed: the class of the exception, or the code of a dead letter.
        failed: The digest of the bundle that failed.
        slices: The names of the event's kinds of text, and of its source.
        times: The times of a batch, on only one of the batch's records.
        inclusion_probability: The share of the events that is compared.
        compared_at: The time of the comparison, in UTC with milliseconds.
    """

    event_id: EventId
    partition: Annotated[int, msgspec.Meta(ge=0)]
    offset: Annotated[int, msgspec.Meta(ge=0)]
    champion: ShadowSide | None = None
    challenger: ShadowSide | None = None
    failure: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)] | None = None
    failed: Digest | None = None
    slices: Annotated[tuple[SliceName, ...], msgspec.Meta(max_length=MAX_SLICES)] = ()
    times: BatchTimes | None = None
    inclusion_probability: Asked
    compared_at: Moment


def shadow_side(decision: Decision, destination: Literal["tagged", "review"]) -> ShadowSide:
    """A decision in its form on `shadow`."""
    return ShadowSide(
        tag=decision.tag,
        confidence=decision.confidence,
        destination=destination,
        prediction_id=decision.prediction_id,
        model=decision.model,
    )


def read_shadowed(record: Record, limits: Limits = DEFAULT_LIMITS) -> Shadowed | Refusal:
    """Read one record of `shadow`. Returns a record or a refusal for any bytes. Fields that the contract does not have are ignored."""
    try:
        opened(record, replace(limits, max_dead_letter_bytes=MAX_SHADOW_BYTES))
        found = typed(record.value or b"", Shadowed)
        check_moments(Reason.WRONG_TYPE, compared_at=found.compared_at)
        if found.champion is None and found.challenger is None:
            raise invalid(Reason.WRONG_TYPE, "neither champion nor challenger is there")
    except Refused as refused:
        return refused.refusal
    return found


def write_shadowed(found: Shadowed) -> bytes:
    """
    The value of a record of `shadow`; its key is the event's id.

    Raises:
        UnwritableError: A field has another type, is too long or empty; the message says which.
    """
    value = msgspec.json.encode(found)
    read = read_shadowed(Record(key=None, value=value))
    if isinstance(read, Refusal):
        raise UnwritableError(read)
    return value
