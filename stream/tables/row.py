"""One decision as a row of a table of predictions. The row is made from an outcome before publication, or from a published record."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from tagstream.model_export.bundle.text import read
from tagstream.stream.contract.event import ContentEvent
from tagstream.stream.contract.outcome import Decision, Publication, ReviewerDecision
from tagstream.stream.contract.published import ModelDecision, PublishedDecision, milliseconds
from tagstream.stream.contract.refusal import Refusal

BY_PERSON = "reviewer"
# An index takes values of about 2,700 bytes. Our digests have 64 characters, or 77 with the arithmetic.
MOST_DIGEST_CHARACTERS = 256
# The part of `model_digest` that names the bundle; what follows names the arithmetic of a processor.
DIGEST_CHARACTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRow:
    """
    One decision.

    Attributes:
        prediction_id: The key. The same event under the same model has one row.
        event_id: The event's id.
        text_hash: `hash_of_text` of the event.
        model_digest: `ModelRef.identity` of the model that decided; for a person's decision, of the model that the person corrects. An
            identity of more than `MOST_DIGEST_CHARACTERS` characters is replaced by its SHA-256.
        destination: `tagged` or `review`: the topic of the decision.
        tag: The tag.
        confidence: The probability of the tag, 0 to 1.
        decider: `model`, `rules` or `reviewer`.
        version: 0 for a model's decision, 1 or more for a person's decision.
        epoch: The epoch of a model's decision after the first change of the model; 0 for all other decisions.
        decided_at: When the decision was made, Unix milliseconds. For a person's decision it is that person's time, else `tagged_at`.
        tagged_at: When the decision was published, Unix milliseconds.
        answer: The value of the decision's record on the topic, JSON: the event's fields and the decision.
    """

    prediction_id: str
    event_id: str
    text_hash: str
    model_digest: str
    destination: str
    tag: str
    confidence: float
    decider: str
    version: int
    epoch: int
    decided_at: int
    tagged_at: int
    # Never in a repr, as in `Record`.
    answer: str = field(repr=False)

    @property
    def by_person(self) -> bool:
        """True if a person made the decision."""
        return self.decider == BY_PERSON

    @property
    def standing(self) -> tuple[int, int, int, str]:
        """The rank of this decision among the decisions on one event, as `PublishedDecision.standing`. The highest rank holds."""
        return self.version, self.epoch, self.decided_at, self.prediction_id

    @property
    def bundle(self) -> str:
        """The digest of the bundle, without the arithmetic."""
        return self.model_digest[:DIGEST_CHARACTERS]

    def is_stale(self, epochs: Mapping[str, int]) -> bool:
        """
        Return True if the bundle that decided has decided nothing in the newest epoch. A person's decision is never stale.

        Args:
            epochs: The newest epoch of a decision of each bundle (`Predictions.epochs`).
        """
        return not self.by_person and epochs.get(self.bundle, 0) < max(epochs.values(), default=0)

    @property
    def line(self) -> bytes:
        """The JSON object of `tagstream classify --json`: the record's value and then the destination."""
        return self.answer.encode()[:-1] + b',"destination":"%b"}' % self.destination.encode()


def row_of(publication: Publication) -> PredictionRow | None:
    """Return the row of an outcome of the pipeline; None for a refusal, which is not a decision."""
    outcome, value = publication.outcome, publication.value or b""
    if isinstance(outcome, Refusal):
        return None
    tagged_at = milliseconds(value[value.rindex(b':"') + 2 : -2].decode())
    return _row(
        outcome.event, outcome.decision, publication.destination.value, value, version=0, decided_at=tagged_at, at=tagged_at
    )


def row_of_record(found: PublishedDecision) -> PredictionRow:
    """Return the row of a record of `tagged` or `review`."""
    made, value = found.decision, found.event.record.value or b""
    at = milliseconds(made.tagged_at)
    if isinstance(made, ReviewerDecision):
        decided_at = milliseconds(made.decided_at)
        return _row(found.event, made, found.door, value, version=made.version, decided_at=decided_at, at=at)
    return _row(found.event, made, found.door, value, version=0, decided_at=at, at=at)


def hash_of_text(title: str, description: str | None) -> str:
    """
    Return the SHA-256, in hexadecimal, of all that a decision uses of an event's text.

    That is the text as the model reads it, the flags for its hidden characters (which send an event to a person), and whether the text
    was cut.

    >>> hash_of_text("Attention", "is all you need") == hash_of_text("Attention is", "all you need")
    True
    >>> hash_of_text("Att\u200bention", None) == hash_of_text("Attention", None)
    False
    """
    reading = read(title, description)
    return hashlib.sha256(msgspec.json.encode((reading.text, reading.flags, reading.cut))).hexdigest()


def _row(
    event: ContentEvent,
    made: Decision | ModelDecision | ReviewerDecision,
    destination: str,
    value: bytes,
    *,
    version: int,
    decided_at: int,
    at: int,
) -> PredictionRow:
    return PredictionRow(
        prediction_id=made.prediction_id,
        event_id=event.id,
        text_hash=hash_of_text(event.title, event.description),
        model_digest=_bounded(made.model.identity),
        destination=destination,
        tag=made.tag,
        confidence=made.confidence,
        decider=made.decider,
        version=version,
        epoch=0 if version else made.model.epoch_number,
        decided_at=decided_at,
        tagged_at=at,
        answer=value.decode(),
    )


def _bounded(digest: str) -> str:
    """
    Return a digest that fits into an index, for any record.

    >>> _bounded("e" * 64) == "e" * 64, len(_bounded("e" * 100_000))
    (True, 64)
    """
    return digest if len(digest) <= MOST_DIGEST_CHARACTERS else hashlib.sha256(digest.encode()).hexdigest()
