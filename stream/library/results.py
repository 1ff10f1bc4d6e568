"""Results for programs: an event was decided or rejected, and the result has the records that a worker would publish."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import msgspec

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Decision, Publication
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.settings.topics import Topics

T = TypeVar("T")

Event = str | Mapping[str, Any] | Record
"""An event from a program: a title; its fields by name, including `title`; or a record of a topic. Of a record, value, key and headers
are used."""


class RejectedError(ValueError):
    """The event was rejected, so there is no decision. The message has the reason, without the event's text."""

    def __init__(self, rejected: "Rejected") -> None:
        """Keep the rejection."""
        super().__init__(rejected.message)
        self.rejected = rejected

    def __reduce__(self) -> tuple[type["RejectedError"], tuple["Rejected"]]:
        """Pickle the rejection, so that a process pool can send the error. By default, pickle calls the class with the message."""
        return type(self), (self.rejected,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """
    A decided event.

    Attributes:
        event_id: The event's id. If the event has none, the id is derived from its bytes.
        decision: The whole decision. `tag`, `confidence` and `needs_person` are shortcuts.
        records: The record for `tagged` or `review`, with topic, key, value and headers; then a copy for `audit`, if the event is drawn.
    """

    event_id: str
    decision: Decision
    # Not in the repr, because records contain text of the event.
    records: tuple[Record, ...] = field(repr=False)

    @property
    def tag(self) -> str:
        """The label with the highest probability, or the person's label if a person decided."""
        return self.decision.tag

    @property
    def confidence(self) -> float:
        """The probability of `tag`, 0 to 1."""
        return self.decision.confidence

    @property
    def needs_person(self) -> bool:
        """True if the decision has reasons to ask a person. Its record is then for `review`."""
        return bool(self.decision.reasons)

    def fields(self) -> dict[str, Any]:
        """Return the record's value as an object: the fields of the event, followed by the fields of the decision."""
        found: dict[str, Any] = msgspec.json.decode(self.records[0].value or b"")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """
    A rejected event: the event is invalid, or the model cannot decide it.

    Attributes:
        code: The reason's code. docs/producers.md has the list, which may grow.
        stage: The stage that failed: `decode`, `validate`, `infer`, `produce`.
        message: The fault, without any text of the event.
        records: The dead letter.
    """

    code: str
    stage: str
    message: str
    records: tuple[Record, ...] = field(repr=False)


Result = Decided | Rejected
"""The result of one event."""


def record_of(event: Event) -> Record:
    """
    Return the record of an event. Text that is not valid Unicode, NaN and infinities stay in the record, which is then rejected.

    Raises:
        TypeError: The event is not a title, a mapping or a record, or a field has no JSON form.
    """
    if isinstance(event, Record):
        if not (isinstance(event.value, bytes | None) and isinstance(event.key, bytes | None)):
            msg = "key and value of a Record are bytes, or None"
            raise TypeError(msg)
        return event
    if isinstance(event, str):
        event = {"title": event}
    if not isinstance(event, Mapping):
        msg = f"an event is a title, its fields by name, or a Record; this is {type(event).__name__}"
        raise TypeError(msg)
    if not all(isinstance(name, str) for name in event):
        msg = "the name of a field is a text"
        raise TypeError(msg)
    try:
        return Record(key=None, value=_json(event, readable=True))
    except UnicodeEncodeError:
        # The text has half of a surrogate pair, for example from `errors="surrogateescape"`. The decoder rejects the value.
        return Record(key=None, value=_json(event, readable=False))


def _json(fields: Mapping[str, Any], *, readable: bool) -> bytes:
    return json.dumps(dict(fields), ensure_ascii=not readable, separators=(",", ":")).encode()


def records_of(events: Iterable[Event]) -> Iterator[tuple[Record, bool]]:
    """
    Yield the record of each event, and True if the event was given as a record.

    The fields of a given record are where the settings say. The fields of other events have the contract's names.

    Raises:
        TypeError: `events` is a single event; or an event is not a title, a mapping or a record, or has a field without a JSON form. The
            message has the event's place.
    """
    if isinstance(events, str | bytes | Mapping | Record):
        msg = f"decide takes several events, and this is one {type(events).__name__}: for one use [event]"
        raise TypeError(msg)
    for place, event in enumerate(events):
        try:
            yield record_of(event), isinstance(event, Record)
        except (TypeError, ValueError) as error:
            msg = f"event {place} of those to decide: {error}"
            raise TypeError(msg) from error


def result_of(publication: Publication, topics: Topics) -> Result:
    """
    Return the result of a publication.

    Args:
        publication: The pipeline's result for an event.
        topics: The names of the topics.
    """
    records = tuple(
        Record(topic=getattr(topics, name), key=publication.key, value=value, headers=publication.headers)
        for name, value in publication.records
    )
    outcome = publication.outcome
    if isinstance(outcome, Refusal):
        return Rejected(code=outcome.reason.value, stage=outcome.stage.value, message=outcome.message, records=records)
    # Reasons and flags become plain strings, as a reader of the record gets them.
    plain = {name: tuple(map(str, getattr(outcome.decision, name))) for name in ("reasons", "text_flags")}
    return Decided(event_id=outcome.event.id, decision=msgspec.structs.replace(outcome.decision, **plain), records=records)


def decided(result: Result) -> Decided:
    """
    Return the result if it is a decision.

    Raises:
        RejectedError: The event was rejected.
    """
    if isinstance(result, Rejected):
        raise RejectedError(result)
    return result


def in_batches(found: Iterable[T], most: int) -> Iterator[list[T]]:
    """
    Yield lists of at most `most` elements.

    >>> list(in_batches("abc", 2))
    [['a', 'b'], ['c']]
    """
    rest = iter(found)
    while batch := list(islice(rest, most)):
        yield batch
