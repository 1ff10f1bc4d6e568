"""The contract of `shadow`: what a second bundle would have decided on an event. Never a decision, and without a word of the event's text."""

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

# Several times the longest record: fields of a later version fit in too.
MAX_SHADOW_BYTES = 64 * 1024
MAX_SLICES = 32
MAX_SLICE_CHARACTERS = 128

Seconds = Annotated[float, msgspec.Meta(ge=0)]
SliceName = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SLICE_CHARACTERS)]


def slice_name(group: str, name: str) -> str:
    """
    A slice as a record of `shadow` and the guards of a plan name it.

    >>> slice_name("source", "web")
    'source: web'
    """
    return f"{group}: {name}"


class ShadowSide(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One decision on the event, without its probabilities.

    Attributes:
        tag: Its tag.
        confidence: That of the tag.
        destination: The topic of the outcome.
        prediction_id: Its id; that of the champion is on the topic of the outcome.
        model: The bundle, and epoch and arm once the model of the stream was changed.
    """

    tag: Label
    confidence: Share
    destination: Literal["tagged", "review"]
    prediction_id: Uuid
    model: ModelRef


class BatchTimes(msgspec.Struct, frozen=True, kw_only=True):
    """
    How long both took for the same batch of events, one after the other, in the follower's process.

    Attributes:
        champion: Seconds of the model, or models, that decide the stream.
        challenger: Seconds of the other bundle.
    """

    champion: Seconds
    challenger: Seconds


class Shadowed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One event that both bundles were asked about. A record that is written twice has the same event id and bundles.

    Attributes:
        event_id: The event's.
        partition: The partition of `content` in which it lies.
        offset: Its offset there.
        champion: By the bundle that decides the stream at this place of the log; absent where it raised for the event, which is a dead letter then.
        challenger: By the other bundle; absent where it failed. One of the two is there.
        failure: Why the absent one failed: the class of its exception, or the code of a dead letter.
        failed: Digest of the absent one's bundle.
        slices: The kinds of text that the event is of, and its source, by name.
        times: Of a batch; on one record of it alone.
        inclusion_probability: The share of the events that is compared.
        compared_at: When, in UTC with milliseconds.
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
    """A decision as it lies on `shadow`."""
    return ShadowSide(
        tag=decision.tag,
        confidence=decision.confidence,
        destination=destination,
        prediction_id=decision.prediction_id,
        model=decision.model,
    )


def read_shadowed(record: Record, limits: Limits = DEFAULT_LIMITS) -> Shadowed | Refusal:
    """Read one record of `shadow`; for any bytes it returns one of the two. A field that is not of the contract is ignored."""
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
