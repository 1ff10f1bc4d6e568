"""The dead letters of a compressed batch keep a bounded number of bytes; the rest are references."""

import hashlib

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract.dead_letter import read
from tagstream.stream.contract.event import FACTOR, FIRST_BYTES, Budget, Record, weight
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.kafka.batches.inflate import GZIP
from tagstream.stream.kafka.batches.records import Records
from tests.hostile.batches import batch, plain, record, varint

REFUSAL = Refusal(stage=Stage.DECODE, reason=Reason.INVALID_JSON, message="not JSON")


def letters_of(value: bytes, count: int) -> tuple[list[Record], int]:
    """The dead letters of a batch of equal events, and the bytes of the batch."""
    data = b"".join(record(varint(at), (b"k", value)) for at in range(count))
    whole = batch(plain(data, GZIP), GZIP, count)
    events = [
        Record(
            topic="content", partition=0, offset=one.offset, key=one.key, value=one.value, budget=getattr(one, "budget", None)
        )
        for one in Records(whole).next_batch()
    ]
    found = publish_all(events, [REFUSAL] * count, 0)
    return [Record(topic="d", key=one.key, value=one.value, headers=one.headers) for one in found], len(whole)


def test_events_that_compress_well_become_references_beyond_the_budget() -> None:
    """Of 200 events of 100 KB in a 20 KB batch, those beyond the budget keep place, SHA-256, length and first bytes."""
    value = bytes(100_000)
    letters, batch_bytes = letters_of(value, 200)
    assert sum(len(one.value or b"") for one in letters) <= FACTOR * batch_bytes
    assert len(letters) == 200
    last = read(letters[-1])
    assert last is not None
    assert (last.value, last.length, last.sha256) == (None, len(value), hashlib.sha256(value).hexdigest())
    assert last.dropped == ("value",)
    assert last.key == b"k"
    assert dict(letters[-1].headers)["x-dlq-first-bytes"] == value[:FIRST_BYTES]


def test_events_beyond_the_limit_of_an_event_are_not_held_in_memory() -> None:
    """The reader cuts events above the size limit, which are refused anyway, so together they stay within the budget."""
    letters, batch_bytes = letters_of(bytes(950_000), 40)
    assert sum(weight(one.key, one.value, one.headers) for one in letters) <= 4 * batch_bytes + 40 * 1024


def test_ordinary_batches_keep_every_byte() -> None:
    """A batch that compresses to a third keeps every byte, and so does every tiny event."""
    value = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(20))
    assert all(one.value == value for one in letters_of(value, 3)[0])
    assert all(one.value == b"x" * 200 for one in letters_of(b"x" * 200, 500)[0])


def test_a_budget_is_shared() -> None:
    """Bytes that one dead letter takes from the budget are not available to the next."""
    budget = Budget(100)
    assert [budget.take(size) for size in (200, 200, 100, 1)] == [True, False, True, False]
