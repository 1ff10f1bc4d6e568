"""Deduplication for consumers of `tagged`, `review` and `content.dlq`: each outcome once, though delivery is at least once.

A redelivered event repeats its outcome, all but `tagged_at`. `Distinct` keeps the first outcome, counts the repetitions and refuses a
conflict. A person's decision comes after the model's decision and replaces it. Among several decisions of people the version decides which
one holds, not the order of arrival. This module uses no broker. docs/consumers.md has the guarantees.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from tagstream.stream.contract.answers import AnsweredEvent, answer_id, order, read_answer
from tagstream.stream.contract.dead_letter import DeadLetter, read
from tagstream.stream.contract.event import CUT_HEADERS, FIRST_BYTES, Record
from tagstream.stream.contract.outcome import ASK_FIELD, ModelRef
from tagstream.stream.contract.published import Order, order_of_person

REMEMBER = 100_000
_CLOCK = "tagged_at"
_ID = "prediction_id"
# A record with these fields is an answer on `reviewed`. Its `prediction_id` is the id of the decision that the person saw.
_ANSWERED = {"reviewer", "asked_by", "before"}


class ConflictError(Exception):
    """Two outcomes with one id differ in more than the time: the message has the places of both."""

    exit_code = 4


class _Outcome(NamedTuple):
    """
    The parts of a record that are compared.

    Attributes:
        identity: The digest of the outcome's id; empty if the record is not an outcome.
        content: The digest of everything that a repetition must repeat.
        event: The digest of the event's id, if the record has it.
        order: The order of a person's decision, or of a model's decision after the first change of the model; None for other records.
    """

    identity: bytes
    content: bytes
    event: bytes = b""
    order: Order | None = None


class Distinct:
    """
    Tells first outcomes from repeated and superseded ones.

    Memory is bounded: for each of the last `remember` outcomes it keeps two digests and a place, about 300 bytes. A repetition is
    recognised if fewer than `remember` other outcomes lie between the two. `remember` must cover the outcomes that other workers
    publish until the partitions of a dead worker have moved. An event that its producer sends again after days may pass as new.
    It also keeps the order of the last `remember` decisions of people, and of models after the first change of the model. A decision on
    `review` may supersede a decision on `tagged`, and the other way about, so use one `Distinct` for all topics of one stream.

    Attributes:
        first: The number of outcomes that were seen for the first time and are not superseded.
        duplicates: The number of repetitions, which are dropped.
        superseded: The number of decisions, which are dropped, that came after a decision that stands above them: a person's older version
            after a newer version, a model's decision after a person's, or a decision of an earlier epoch.
        conflicts: The number of outcomes that differ from the first outcome of their id.
        unidentified: The number of records that tagstream did not write, which are let through.
    """

    def __init__(self, *, remember: int = REMEMBER) -> None:
        """
        Remember at most `remember` outcomes.

        Raises:
            ValueError: `remember` is less than one.
        """
        if remember < 1:
            msg = f"remember={remember} outcomes tells nothing apart; it must be 1 or more"
            raise ValueError(msg)
        self._remember = remember
        self._seen: OrderedDict[bytes, tuple[bytes, int, int]] = OrderedDict()
        self._holds: OrderedDict[bytes, Order] = OrderedDict()
        self.first = self.duplicates = self.superseded = self.conflicts = self.unidentified = 0

    def admit(self, record: Record) -> bool:
        """
        True if the outcome is seen for the first time, and no earlier decision stands above it.

        Raises:
            ConflictError: An earlier outcome with the same id differs. The conflict is counted and the first outcome stays known, so a
                caller may catch the error and go on with the next record.
        """
        found = _outcome(record)
        if not found.identity:
            self.unidentified += 1
            return True
        before = self._seen.get(found.identity)
        if before is None:
            self._seen[found.identity] = (found.content, record.partition, record.offset)
            if len(self._seen) > self._remember:
                self._seen.popitem(last=False)
            return self._is_news(found)
        same, partition, offset = before
        if same != found.content:
            self.conflicts += 1
            msg = (
                f"{record.topic} {partition}/{offset} and {record.partition}/{record.offset} are of one id and differ in more than the time. "
                f"Next: did two events have one id, or did settings change between two deliveries? docs/consumers.md says what follows."
            )
            raise ConflictError(msg)
        self._seen.move_to_end(found.identity)
        self.duplicates += 1
        return False

    def _is_news(self, found: _Outcome) -> bool:
        """True if no noted decision on the same event stands above this decision. A decision that has an order is noted."""
        above = self._holds.get(found.event)
        if above is not None and (found.order is None or found.order < above):
            self.superseded += 1
            return False
        if found.order is not None:
            self._holds[found.event] = found.order
            self._holds.move_to_end(found.event)
            if len(self._holds) > self._remember:
                self._holds.popitem(last=False)
        self.first += 1
        return True


def distinct(records: Iterable[Record], *, remember: int = REMEMBER) -> Iterator[Record]:
    """
    Each outcome once, in order. Use `Distinct` to go on after a conflict.

    Raises:
        ConflictError: Two outcomes of one id differ; the iterator ends there.

    >>> value = b'{"id":"a","tag":"mlops","prediction_id":"p-%d","tagged_at":"%d"}'
    >>> records = [Record(topic="tagged", key=b"a", value=value % (of, at), offset=at) for at, of in enumerate([1, 1, 2, 1])]
    >>> [record.offset for record in distinct(records)]
    [0, 2]
    """
    known = Distinct(remember=remember)
    return (record for record in records if known.admit(record))


def _outcome(record: Record) -> _Outcome:
    letter = read(record)
    if letter is not None and letter.origin is not None:
        name = f"{letter.origin_topic}/{letter.origin}".encode()
        return _Outcome(_digest([record.topic.encode(), name]), _digest([*_event_of(letter), letter.code.encode()]))
    fields = _fields(record.value)
    if _ID not in fields:
        return _Outcome(b"", b"")
    name, above = bytes(fields[_ID]), _order_of(record, fields)
    said = read_answer(record) if fields.keys() >= _ANSWERED else None
    # Decisions on `tagged` and `review` supersede each other. Copies on `audit` and answers on `reviewed` are not further decisions.
    among = b"copied" if "inclusion_probability" in fields and "reasons" not in fields else b"decided"
    if isinstance(said, AnsweredEvent):
        name, above, among = answer_id(said.answer).encode(), order(said.answer), b"answered"
    event = _digest([among, bytes(fields.get("id", b""))])
    # An event that its producer sends again on a later day has another token on the same decision.
    apart = {_ID, _CLOCK, *([ASK_FIELD] if list(fields)[-2:] == [ASK_FIELD, _CLOCK] else [])}
    fields = {name: raw for name, raw in fields.items() if name not in apart}
    parts = [record.key, *(part for field, content in fields.items() for part in (field.encode(), bytes(content)))]
    return _Outcome(_digest([record.topic.encode(), name]), _digest(parts), event, above)


class _ByPerson(msgspec.Struct):
    """The fields of a person's decision on `tagged` by which it is ordered."""

    version: int
    decided_at: str
    prediction_id: str


class _ByModel(msgspec.Struct):
    """The field of a model's decision by which it is ordered."""

    model: ModelRef


def _order_of(record: Record, fields: dict[str, msgspec.Raw]) -> Order | None:
    """The order of a person's decision on `tagged`, or of a model's decision that names its epoch; None for every other record."""
    value = record.value or b""
    try:
        if bytes(fields.get("decider", b"")) == b'"reviewer"':
            by_person = msgspec.json.decode(value, type=_ByPerson)
            return order_of_person(by_person.version, by_person.decided_at, by_person.prediction_id)
        if b'"epoch"' in bytes(fields.get("model", b"")):
            epoch = msgspec.json.decode(value, type=_ByModel).model.epoch_number
            # An event has one decision in an epoch, so neither time nor id is needed.
            return (0, epoch, "", "") if epoch else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None


def _event_of(letter: DeadLetter) -> list[bytes | None]:
    """
    The event of a dead letter, in the same form if the dead letter is whole, cut or a reference.

    The dead letters of one compressed batch share a budget, so a dead letter may be whole at one delivery and a reference at the next.
    """
    cut = next((content for name, content in letter.headers if name == CUT_HEADERS[1]), None)
    value = letter.sha256.encode() if letter.sha256 is not None else _sha256(letter.value)
    # Not every form of a dead letter keeps a long key.
    return [letter.key if len(letter.key or b"") <= FIRST_BYTES and "key" not in letter.dropped else None, cut or value]


def _sha256(value: bytes | None) -> bytes | None:
    return None if value is None else hashlib.sha256(value).hexdigest().encode()


def _fields(value: bytes | None) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(value or b"", type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _digest(parts: Iterable[bytes | None]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        # Each part comes with its length, so that the same bytes split elsewhere give another digest.
        digest.update(b"-" if part is None else b"%d:" % len(part) + part)
    return digest.digest()
