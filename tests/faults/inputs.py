"""The input of fault runs: events that must be decided, and malformed ones that must come back byte for byte. Pure."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from tagstream.stream.contract.event import Headers

# Of two events with one id, the header that only one of them has: by it the checker tells whose outcome it sees.
SENT_AGAIN = ("sent", b"again")
# The header of what a stranger has written.
STRANGER = ("sent", b"by a stranger")


class Transaction(Enum):
    """How a producer's transaction ends. A hung one is open until the harness fences its producer, or the broker's timeout."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    HUNG = "hung"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """
    One record to send.

    Attributes:
        event_id: None where the record is malformed and belongs into the dead letters.
        key: None where there is none.
        value: None is a tombstone.
        headers: In their order.
        codec: The compression of its batch: gzip, snappy, lz4 or zstd; None for no compression.
        transaction: How the producer's transaction ends; None for a record without one.
    """

    event_id: str | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    codec: str | None = None
    transaction: Transaction | None = None

    @property
    def is_event(self) -> bool:
        """Whether an outcome is expected: not of a record whose transaction is not committed."""
        return self.transaction in (None, Transaction.COMMITTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A planted record and where the broker has said that it keeps it."""

    planted: Planted
    partition: int
    offset: int


# Each is malformed in its own way; the number keeps them apart.
MALFORMED: tuple[Callable[[int], bytes | None], ...] = (
    lambda number: b'{"id": "bad-%d", "title": ' % number,
    lambda number: b"\xff\xfe\x00 %d" % number,
    lambda _: None,
    lambda _: b"",
    lambda number: b"[%d]" % number,
    lambda number: b'{"id": "bad-%d"}' % number,
    lambda number: b'{"id": "bad-%d", "title": 7}' % number,
    lambda number: b'{"id": "bad-%d", "title": "a\\u0000b"}' % number,
    lambda number: b'{"id": "bad-%d", "title": "a", "b": %b}' % (number, b"[" * 100 + b"]" * 100),
    lambda number: b'{"id": "bad-%d", "title": "a", "title": "b"}' % number,
    lambda number: b'{"id": "bad-%d", "title": "a", "b": NaN}' % number,
    lambda number: b'{"id": "bad-%d", "title": "\\ud800"}' % number,
)
TITLES = (
    "Attention over long documents",
    "Segmenting leaves in the field",
    "Rolling back a bad model",
    "Überblick: Modelle für alles",
    "画像を読む網",
)


def plant(count: int, *, malformed: int, seed: str, first: int = 0) -> list[Planted]:
    """
    `count` records, `malformed` of them evenly spread over the kinds, in a shuffled order that the seed fixes.

    `first` is the number in the first id: ids of another call do not meet these.

    >>> sum(planted.event_id is None for planted in plant(1000, malformed=10, seed="a"))
    10
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    records = [_bad(first + number) for number in range(malformed)] + [
        _good(first + number) for number in range(count - malformed)
    ]
    chance.shuffle(records)
    return records


def _good(number: int) -> Planted:
    event_id = f"event-{number}"
    fields: dict[str, object] = {"id": event_id, "title": f"{TITLES[number % len(TITLES)]} {number}"}
    if number % 2:
        fields["description"] = f"Number {number} of many."
    if number % 3 == 0:
        fields["extra"] = {"rank": number, "nested": [1.0, None, "ä"]}
    return Planted(
        event_id=event_id,
        key=b"producer-%d" % (number % 97) if number % 4 == 0 else None,
        value=json.dumps(fields, ensure_ascii=number % 5 == 0).encode(),
        headers=(("traceparent", b"00-%032x-01" % number),) if number % 7 == 0 else (),
    )


def _bad(number: int) -> Planted:
    value = MALFORMED[number % len(MALFORMED)](number)
    # A header of the dead letter's own name must not be mistaken for ours.
    headers = (("x-dlq-code", b"of the producer"), ("__streams.errors.offset", b"-1")) if number % 2 else ()
    return Planted(event_id=None, key=b"bad-%d" % number if value is None or number % 3 else None, value=value, headers=headers)


def by_partition(inputs: Sequence[Input]) -> dict[int, list[Input]]:
    """The inputs of each partition in the order of their offsets."""
    found: dict[int, list[Input]] = {}
    for one in sorted(inputs, key=lambda one: (one.partition, one.offset)):
        found.setdefault(one.partition, []).append(one)
    return found
