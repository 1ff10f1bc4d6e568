"""Results as a program sees them: an event that was decided or rejected, with the records that a worker would publish for it."""

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
"""An event as a program has it: a title; its fields by name, with a `title` among them; or a record as it lies on a topic, of which bytes,
key and headers count."""


class RejectedError(ValueError):
    """A text is no event, so there is no decision on it: the message says why, without the text."""

    def __init__(self, rejected: "Rejected") -> None:
        """Keep the rejection."""
        super().__init__(rejected.message)
        self.rejected = rejected

    def __reduce__(self) -> tuple[type["RejectedError"], tuple["Rejected"]]:
        """An exception is made anew of its arguments, of which this one's are not the message: a pool of processes sends it so."""
        return type(self), (self.rejected,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """
    An event with a decision on it.

    Attributes:
        event_id: The event's id, given or made of its bytes.
        decision: All that was decided; `tag`, `confidence` and `needs_person` are the first to look at.
        records: The record for `tagged` or `review`, with topic, key, value and headers; behind it a copy for `audit`, if the event is drawn.
    """

    event_id: str
    decision: Decision
    # Never in a repr, as in `Record`.
    records: tuple[Record, ...] = field(repr=False)

    @property
    def tag(self) -> str:
        """The label with the highest probability; a person's where a person decided."""
        return self.decision.tag

    @property
    def confidence(self) -> float:
        """The probability of `tag`, 0 to 1."""
        return self.decision.confidence

    @property
    def needs_person(self) -> bool:
        """Whether the decision carries no promise of being right, so that its record is one for `review`."""
        return bool(self.decision.reasons)

    def fields(self) -> dict[str, Any]:
        """The value of the record as an object: the event's fields, and behind them those of the decision."""
        found: dict[str, Any] = msgspec.json.decode(self.records[0].value or b"")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """
    An event that is none, or that the model cannot decide.

    Attributes:
        code: Why, from a list that may grow: docs/producers.md has it.
        stage: Where it failed: `decode`, `validate`, `infer`, `produce`.
        message: The fault, without any text of the event.
        records: The dead letter.
    """

    code: str
    stage: str
    message: str
    records: tuple[Record, ...] = field(repr=False)


Result = Decided | Rejected
"""One for each event, in order."""


def record_of(event: Event) -> Record:
    """
    The record of an event. Text that is no UTF-8 and numbers that are none are left in it, and make it a rejected one.

    Raises:
        TypeError: It is none of the three, or a field has no form in JSON.
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
        # Half of a surrogate pair, as `errors="surrogateescape"` leaves it: whoever reads the value says so.
        return Record(key=None, value=_json(event, readable=False))


def _json(fields: Mapping[str, Any], *, readable: bool) -> bytes:
    return json.dumps(dict(fields), ensure_ascii=not readable, separators=(",", ":")).encode()


def records_of(events: Iterable[Event]) -> Iterator[tuple[Record, bool]]:
    """
    The record of each event, and whether it came as one: its fields then lie where those of the topic do, else they have the contract's names.

    Raises:
        TypeError: These are not several events; or one is none of the three, or a field has no form in JSON: the message has its place.
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
    The result of a publication.

    Args:
        publication: As a pipeline gives it.
        topics: Have the names of the topics that the records go to.
    """
    records = tuple(
        Record(topic=getattr(topics, name), key=publication.key, value=value, headers=publication.headers)
        for name, value in publication.records
    )
    outcome = publication.outcome
    if isinstance(outcome, Refusal):
        return Rejected(code=outcome.reason.value, stage=outcome.stage.value, message=outcome.message, records=records)
    # Texts, as whoever reads the record back gets them.
    plain = {name: tuple(map(str, getattr(outcome.decision, name))) for name in ("reasons", "text_flags")}
    return Decided(event_id=outcome.event.id, decision=msgspec.structs.replace(outcome.decision, **plain), records=records)


def decided(result: Result) -> Decided:
    """
    The decision.

    Raises:
        RejectedError: There is none.
    """
    if isinstance(result, Rejected):
        raise RejectedError(result)
    return result


def in_batches(found: Iterable[T], most: int) -> Iterator[list[T]]:
    """
    Lists of at most so many.

    >>> list(in_batches("abc", 2))
    [['a', 'b'], ['c']]
    """
    rest = iter(found)
    while batch := list(islice(rest, most)):
        yield batch
