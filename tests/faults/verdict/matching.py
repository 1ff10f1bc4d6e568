"""Finds the input that each outcome is of: by the event's id, or by the place that a dead letter names. Pure."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract import dead_letter
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef
from tests.faults.inputs import SENT_AGAIN, Input

CLOCK = b',"tagged_at":'

Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class Matched:
    """An outcome with the input that it is of."""

    destination: Destination
    record: Record
    of: Input


def place(one: Input) -> Place:
    """Where the input lies on `content`."""
    return one.partition, one.offset


def name(one: Input) -> str:
    """The input in a finding."""
    return f"{one.planted.event_id or 'malformed'} at {one.partition}/{one.offset}"


def matched(inputs: Sequence[Input], outcomes: Mapping[Destination, Sequence[Record]]) -> tuple[list[Matched], list[str]]:
    """
    All outcomes that have an input, and the names of those that have none.

    Of two inputs with one id, `SENT_AGAIN` tells whose outcome it is.
    """
    by_id: defaultdict[str, list[Input]] = defaultdict(list)
    by_place = {place(one): one for one in inputs}
    for one in inputs:
        if one.planted.event_id is not None:
            by_id[one.planted.event_id].append(one)
    found: list[Matched] = []
    invented: list[str] = []
    for destination, records in outcomes.items():
        for record in records:
            where = origin(record) if destination is Destination.DLQ else None
            of = by_place.get(where) if where is not None else _told_by_headers(record, by_id.get(_event_id(record) or "", ()))
            if of is None:
                invented.append(f"{destination} {record.partition}/{record.offset}")
            else:
                found.append(Matched(destination, record, of))
    return found, invented


def decision(outcome: Matched) -> bytes | None:
    """
    The fields that all outcomes of an input by one model have in common, beside destination and key.

    The value without the time that the clock wrote; of a dead letter the fingerprint of the event, which a reference to it has too.
    """
    value = outcome.record.value
    if outcome.destination is not Destination.DLQ:
        return value if value is None else without_clock(value)
    letter = dead_letter.read(outcome.record)
    return fingerprint(value) if letter is None or letter.sha256 is None else letter.sha256.encode()


def key_of(outcome: Matched) -> bytes | None:
    """The key of the event as its outcome says it: a reference to an event without a key has an empty one, and a header for that."""
    letter = dead_letter.read(outcome.record) if outcome.destination is Destination.DLQ else None
    return outcome.record.key if letter is None else letter.key


def is_intact(one: Input, outcome: Matched) -> bool:
    """Whether a dead letter has the record as it came: its key, bytes, or the digest of those, and headers."""
    planted, record = one.planted, outcome.record
    return (
        decision(outcome) == fingerprint(planted.value)
        and key_of(outcome) == planted.key
        and record.headers[: len(planted.headers)] == planted.headers
        and bool(dict(record.headers).get("x-dlq-stage"))
    )


def fingerprint(value: bytes | None) -> bytes | None:
    """The SHA-256 of a value; None for a tombstone."""
    return value if value is None else hashlib.sha256(value).hexdigest().encode()


def without_clock(value: bytes) -> bytes:
    """
    A value up to the time that the clock wrote.

    >>> without_clock(b'{"id":"a","tagged_at":"2026-01-01T00:00:00.000Z"}')
    b'{"id":"a"'
    """
    before, found, _ = value.rpartition(CLOCK)
    return before if found else value


Model = tuple[str, str | None, str | None]
"""The digest of a model, and the epoch and arm by which it decided; None for both where it names none."""


def said_by(model: ModelRef) -> Model:
    """A model as its decisions name it."""
    return model.digest, model.epoch, model.arm


def model_of(outcome: Matched) -> Model | None:
    """The model that says it has decided; None for a dead letter, and where none is said."""
    if outcome.destination is Destination.DLQ:
        return None
    value = msgspec.json.decode(outcome.record.value or b"{}", type=dict[str, msgspec.Raw])
    return said_by(msgspec.json.decode(value["model"], type=ModelRef)) if "model" in value else None


def _told_by_headers(record: Record, candidates: Sequence[Input]) -> Input | None:
    was_again = SENT_AGAIN in record.headers
    same = (one for one in candidates if (SENT_AGAIN in one.planted.headers) == was_again)
    return next(same, candidates[0]) if candidates else None


def _event_id(record: Record) -> str | None:
    try:
        value = msgspec.json.decode(record.value or b"", type=dict[str, msgspec.Raw])
        return msgspec.json.decode(value["id"], type=str)
    except (msgspec.DecodeError, KeyError):
        return None


def origin(record: Record) -> Place | None:
    """The origin that a dead letter names, in the last headers, since the producer's own come first."""
    headers = dict(record.headers)
    try:
        return int(headers["__streams.errors.partition"]), int(headers["__streams.errors.offset"])
    except (KeyError, ValueError):
        return None
