"""
The contract of `second`: what a second model says about an item of `review`, and what it settles. A worker neither reads nor writes this topic.

Nothing follows from an opinion before it is on the topic. Of several opinions under one `prediction_id` the first in the log holds. The
decision on `tagged` is a function of the opinion and its item, but for `tagged_at`; so it may be published again.
"""

import hashlib
from dataclasses import replace

import msgspec

from tagstream.monitoring.vocabulary import Destination, NoOpinion, Reason
from tagstream.stream.contract.event import DEFAULT_LIMITS, Headers, Limits, Record
from tagstream.stream.contract.field_types import Asked, Cost, Count, EventId, Label, Moment, Sha256, Share, Uuid
from tagstream.stream.contract.outcome import (
    DECISION_FIELDS,
    OPTIONAL_FIELD,
    SecondDecision,
    outcome_headers,
    prediction_id,
    timestamp,
    without_collisions,
)
from tagstream.stream.contract.published import SECOND_FIELDS, DecidedEvent, check_moments, milliseconds, opened, typed
from tagstream.stream.contract.refusal import Refusal, Refused, UnwritableError, invalid

# Several times the longest opinion with all characters escaped, so that fields of a later version fit too.
MAX_OPINION_BYTES = 64 * 1024
# The most names of fields that an opinion has.
MAX_SENT = 32


class SecondBundle(msgspec.Struct, frozen=True, kw_only=True):
    """
    A bundle that gave an opinion.

    Attributes:
        name: The bundle's name.
        version: The bundle's version.
        digest: The SHA-256 of the bundle, in hexadecimal.
    """

    name: Label
    version: Label
    digest: Sha256


class SecondEndpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    An endpoint that gave an opinion, or failed to.

    Attributes:
        host: Host and port.
        model_asked: The model in the request.
        model: The model in the answer; absent if there is none.
        fingerprint: The `system_fingerprint` in the answer; absent if there is none.
        temperature: The temperature in the request.
        prompt_digest: The SHA-256 of the request without the item, in hexadecimal: model, labels, guidelines, bounds.
        generation: How often before the endpoint has begun to answer the same items otherwise.
    """

    host: Label
    model_asked: Label
    model: Label | None = None
    fingerprint: Label | None = None
    temperature: float
    prompt_digest: Sha256
    generation: Count = 0


class SecondOpinion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One opinion, in the order of the wire. It has either a label or a reason, and comes either from a bundle or from an endpoint.

    Attributes:
        event_id: The id of the event on `review`.
        prediction_id: The id of the decision on `review`.
        model_tag: The tag of the decision on `review`.
        label: The label that the second model gives.
        reason: Why there is no label. Treat an unknown reason like `down`.
        score: How sure the second model says it is of `label`, 0 to 1; absent if it does not say.
        bundle: The bundle that was asked.
        endpoint: The endpoint that was asked.
        sent: The names of the event's fields that were sent to the endpoint; absent if nothing left.
        calls: The number of requests, with those that failed.
        input_tokens: Tokens that the endpoint says it read.
        output_tokens: Tokens that the endpoint says it wrote.
        cost: What the requests cost at the prices of the settings. A request of unknown use counts with the most that it can have cost.
        settles: True if the label is published on `tagged` without waiting for a person, because such labels are certified.
        audit_probability: The probability with which a person is asked about the settled item in spite of that, blind; only with `settles`.
        audited: True if a person is asked about the settled item.
        decided_at: The time of the opinion, in UTC with milliseconds.
    """

    event_id: EventId
    prediction_id: Uuid
    model_tag: Label
    label: Label | None = None
    reason: Label | None = None
    score: Share | None = None
    bundle: SecondBundle | None = None
    endpoint: SecondEndpoint | None = None
    sent: tuple[Label, ...] = ()
    calls: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    cost: Cost = 0.0
    settles: bool = False
    audit_probability: Asked | None = None
    audited: bool = False
    decided_at: Moment

    @property
    def identity(self) -> str:
        """
        Who gave the opinion, as a SHA-256 in hexadecimal. What is known of one identity says nothing of another.

        It is the bundle's digest. Of an endpoint it covers all that the record says, the answering model and its fingerprint included.
        """
        return self.bundle.digest if self.bundle is not None else hashlib.sha256(msgspec.json.encode(self.endpoint)).hexdigest()

    @property
    def waits(self) -> bool:
        """True if a person is asked about the item."""
        return not self.settles or self.audited

    @property
    def decided_ms(self) -> int:
        """`decided_at` in Unix milliseconds."""
        return milliseconds(self.decided_at)


def read_opinion(record: Record, limits: Limits = DEFAULT_LIMITS) -> SecondOpinion | Refusal:
    """Read one record of `second`. Returns an opinion or a refusal for any bytes. Fields that the contract does not have are ignored."""
    try:
        opened(record, replace(limits, max_dead_letter_bytes=MAX_OPINION_BYTES))
        found = typed(record.value or b"", SecondOpinion)
        _check(found)
    except Refused as refused:
        return refused.refusal
    return found


def write_opinion(opinion: SecondOpinion) -> bytes:
    """
    The value of a record of `second`; its key is the event's id.

    Raises:
        UnwritableError: A field has another type, is too long, or contradicts another field; the message says which.
    """
    if opinion.reason is not None and opinion.reason not in set(NoOpinion):
        raise UnwritableError(invalid(Reason.WRONG_TYPE, f"reason is none of {', '.join(NoOpinion)}").refusal)
    value = msgspec.json.encode(opinion)
    found = read_opinion(Record(key=None, value=value))
    if isinstance(found, Refusal):
        raise UnwritableError(found)
    return value


def tagged_by_second(
    item: DecidedEvent, opinion: SecondOpinion, now_ms: int, limits: Limits = DEFAULT_LIMITS
) -> tuple[bytes, bytes, Headers, SecondDecision]:
    """
    Key, value and headers of the record on `tagged`, and its decision. Everything but `tagged_at` follows from the item and the opinion.

    Args:
        item: The item of `review`.
        opinion: The opinion on it, which settles it.
        now_ms: Unix milliseconds, published as `tagged_at`.
        limits: Have the source of outcomes as CloudEvents, if there is one.
    """
    before, event = item.decision, item.event
    assert opinion.label is not None, "only a label settles"
    decision = SecondDecision(
        tag=opinion.label,
        confidence=before.probabilities.get(opinion.label, 0.0),
        probabilities=before.probabilities,
        prediction_id=prediction_id(event.id, f"second:{opinion.prediction_id}"),
        decider="second",
        model=before.model,
        threshold=before.threshold,
        truncated=before.truncated,
        model_tag=before.tag,
        decided_at=opinion.decided_at,
        supersedes=opinion.prediction_id,
        tagged_at=timestamp(now_ms),
    )
    # If the bundle gives `tags`, a producer's field of this name would be taken for the bundle's.
    ours = DECISION_FIELDS | SECOND_FIELDS | ({OPTIONAL_FIELD} if before.tags else set())
    kept = msgspec.json.encode(without_collisions(event.fields, ours))
    value = kept[:-1] + b"," + msgspec.json.encode(decision)[1:]
    key = event.record.key if event.record.key is not None else event.id.encode()
    headers = outcome_headers(
        event.record.headers, Destination.TAGGED, decision.prediction_id, decision.tagged_at.encode(), limits
    )
    return key, value, headers, decision


def _check(opinion: SecondOpinion) -> None:
    check_moments(Reason.WRONG_TYPE, decided_at=opinion.decided_at)
    if not opinion.event_id.strip():
        raise invalid(Reason.INVALID_ID, "event_id is blank")
    if (opinion.label is None) == (opinion.reason is None):
        raise invalid(Reason.WRONG_TYPE, "an opinion has either label or reason")
    if (opinion.bundle is None) == (opinion.endpoint is None):
        raise invalid(Reason.WRONG_TYPE, "an opinion has either bundle or endpoint")
    if opinion.score is not None and opinion.label is None:
        raise invalid(Reason.WRONG_TYPE, "score belongs to a label, and there is none")
    if opinion.settles and opinion.label is None:
        raise invalid(Reason.WRONG_TYPE, "without a label nothing is settled")
    if opinion.settles != (opinion.audit_probability is not None) or (opinion.audited and not opinion.settles):
        raise invalid(Reason.WRONG_TYPE, "audit_probability and audited belong to what is settled")
    if len(opinion.sent) > MAX_SENT:
        raise invalid(Reason.WRONG_TYPE, f"sent has more than {MAX_SENT} names")
