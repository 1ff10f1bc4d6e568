"""Whatever a producer writes is read: the same records as aiokafka's, and those that it stops at."""

import gzip
import hashlib
import tracemalloc
from typing import Any

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.contract.events import CUT_HEADERS, Rejected, decode
from stream.contract.record import Record
from stream.kafka import records
from stream.kafka.records import INFLATED_BYTES, Records, read
from tests.wire import GZIP, BadName, Row, batch_of

KEPT = 1024 * 1024
blobs = st.none() | st.binary(max_size=40)
rows = st.lists(st.tuples(blobs, blobs, st.lists(st.tuples(st.text(max_size=8), blobs), max_size=3)), min_size=1, max_size=6)


def all_of(data: bytes, kind: type[Any] = Records) -> list[tuple[Any, ...]]:
    """Every record in an answer to a fetch."""
    found, whole = [], kind(data)
    while whole.has_next():
        batch = whole.next_batch()
        assert batch.validate_crc()
        found += [(one.offset, one.timestamp, one.timestamp_type, one.key, one.value, list(one.headers)) for one in batch]
    return found


@settings(max_examples=200, deadline=None)
@given(first=rows, second=rows, codec=st.sampled_from([0, GZIP]))
def test_what_aiokafka_can_read_is_read_as_aiokafka_does(first: list[Row], second: list[Row], codec: int) -> None:
    """By the quick way, and by the one that streams."""
    data = batch_of(first, codec=codec, base_offset=7) + batch_of(second, codec=codec, base_offset=7 + len(first))
    expected = all_of(data, MemoryRecords)
    assert all_of(data) == expected
    one = batch_of(first, codec=codec, base_offset=7)
    streamed = [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for r in read(memoryview(one), KEPT)]
    assert streamed == expected[: len(first)]


@pytest.mark.parametrize("codec", [0, GZIP])
def test_a_header_name_that_is_not_text_stops_nobody(codec: int) -> None:
    """A consumer of aiokafka stops at it for ever; here it is one bad event among good ones, with its bytes."""
    good: Row = (b"k", b"v", [("fine", b"1")])
    data = batch_of([good, (b"k", b'{"title": "a"}', [(BadName("x"), b"2"), ("fine", b"3")]), good], codec=codec)
    with pytest.raises((UnicodeDecodeError, CorruptRecordException)):
        all_of(data, MemoryRecords)
    found = all_of(data)
    assert [one[0] for one in found] == [0, 1, 2]
    assert found[1][5] == [("bad-\udcff\udcfe", b"2"), ("fine", b"3")]
    event = Record(topic="c", partition=0, offset=1, timestamp_ms=0, key=b"k", value=found[1][4], headers=tuple(found[1][5]))
    outcome = decode(event)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "invalid_utf8"


def test_a_bomb_is_read_in_bounded_memory() -> None:
    """256 MiB in 261 KB: the beginning of the value, its size and digest, and the good records around it."""
    bomb = bytes(256 * 1024 * 1024)
    digest = hashlib.sha256(bomb).hexdigest()
    data = batch_of([(None, b"before", []), (b"k", bomb, [("h", b"1")]), (None, b"after", [])], codec=GZIP)
    del bomb
    assert len(data) < 300_000
    tracemalloc.start()
    found = all_of(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
    assert [one[4] for one in (found[0], found[2])] == [b"before", b"after"]
    _, _, _, key, value, headers = found[1]
    assert (key, set(value)) == (b"k", {0})
    assert len(value) < KEPT
    told = dict(headers)
    assert told[CUT_HEADERS[1]] == digest.encode()
    assert int(told[CUT_HEADERS[0]]) > 256 * 1024 * 1024
    assert told["h"] == b"1"
    outcome = decode(
        Record(topic="c", partition=0, offset=1, timestamp_ms=0, key=key, value=b'{"title": "a"}', headers=tuple(headers))
    )
    assert isinstance(outcome, Rejected), "what is left of a record must not pass for the whole"
    assert outcome.reason == "too_large"


def test_many_small_records_are_not_all_in_memory_at_once() -> None:
    """A bomb of a hundred thousand records: each comes whole, one at a time."""
    count = 100_000
    data = batch_of([(None, bytes(100), [])] * count, codec=GZIP)
    batch = Records(data).next_batch()
    assert len(gzip.decompress(bytes(data[61:]))) > INFLATED_BYTES
    tracemalloc.start()
    assert sum(one.value == bytes(100) for one in batch) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


def test_a_flood_of_headers_and_a_huge_key_are_cut() -> None:
    """Whatever part is large, what is left fits into a dead letter."""
    flood: list[tuple[str, bytes | None]] = [(f"h{number}", b"x" * 100) for number in range(100_000)]
    data = batch_of([(bytes(9_000_000), b"v", flood)], codec=GZIP)
    (found,) = all_of(data)
    size = len(found[3]) + len(found[4]) + sum(len(name) + len(value or b"") for name, value in found[5])
    assert size < KEPT
    assert CUT_HEADERS[0] in dict(found[5])


def test_a_large_value_of_a_small_batch_is_cut_only_if_it_was_compressed() -> None:
    """What the topic let through uncompressed has the topic's own bound."""
    row: Row = (None, bytes(3 * KEPT), [])
    assert len(all_of(batch_of([row]))[0][4]) == 3 * KEPT
    assert len(all_of(batch_of([row], codec=GZIP))[0][4]) < KEPT


@pytest.mark.parametrize("codec", [3, 4])
def test_what_cannot_be_streamed_is_bounded_too(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """LZ4 and Zstandard: read whole up to a bound; beyond it every record is a dead letter without its bytes."""
    large: list[Row] = [(b"k", bytes(100_000), [])] * 100
    data = batch_of(large, codec=codec)
    assert len(data) < 100_000
    assert [one[4] for one in all_of(data)] == [bytes(100_000)] * 100
    monkeypatch.setattr(records, "AT_ONCE_BYTES", 9_000_000)
    tracemalloc.start()
    found = all_of(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(one[0], one[4], one[5]) for one in found] == [(at, None, [(CUT_HEADERS[0], b"unknown")]) for at in range(100)]
    assert peak < 20_000_000


def test_both_builders_make_the_same_bytes() -> None:
    """The one in Python, which these tests use, stands for what producers send."""
    slow, fast = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 1000), DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1000)
    for builder in (slow, fast):
        builder.append(0, 1, b"k", b"v", [("h", b"1")])
    assert bytes(slow.build()) == bytes(fast.build())


def test_a_small_bound_keeps_nothing_of_a_value_rather_than_nearly_all_of_it() -> None:
    """Key and headers have their own share of what may be kept; what is left for the value cannot be less than nothing."""

    class Small(Records):
        kept = 50_000

    ((_, _, _, _, value, headers),) = all_of(batch_of([(None, bytes(1_000_000), [])], codec=GZIP), Small)
    assert value == b""
    assert dict(headers)[CUT_HEADERS[0]] == b"1000000"
