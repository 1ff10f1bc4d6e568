"""Every batch that a broker accepts is read: as aiokafka reads it, and also where aiokafka would stop."""

import gzip
import hashlib
import random
import tracemalloc
from typing import Any

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from tagstream.stream.contract.event import CUT_HEADERS, UNREADABLE_HEADERS, Record, decode
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.kafka.batches.inflate import LZ4, SNAPPY, ZSTD, inflate
from tagstream.stream.kafka.batches.parse import BATCH_HEADER, batch_header, parse
from tagstream.stream.kafka.batches.records import INFLATED_BYTES, Records
from tests.wire import GZIP, BadName, Row, batch_of

KEPT = 1024 * 1024
blobs = st.none() | st.binary(max_size=40)
rows = st.lists(st.tuples(blobs, blobs, st.lists(st.tuples(st.text(max_size=8), blobs), max_size=3)), min_size=1, max_size=6)


def all_of(data: bytes, kind: type[Any] = Records) -> list[tuple[Any, ...]]:
    """Every record in a fetch response."""
    found, whole = [], kind(data)
    while whole.has_next():
        batch = whole.next_batch()
        assert batch.validate_crc()
        found += [(one.offset, one.timestamp, one.timestamp_type, one.key, one.value, list(one.headers)) for one in batch]
    return found


def streamed_from(data: bytes) -> list[Any]:
    """The records of one batch as our own parser reads them."""
    header = batch_header(memoryview(data))
    return [one.record for one in parse(inflate(memoryview(data)[BATCH_HEADER.size :], header.codec), header, KEPT)]


@settings(max_examples=200, deadline=None)
@given(first=rows, second=rows, codec=st.sampled_from([0, GZIP]))
def test_records_are_the_same_as_aiokafkas(first: list[Row], second: list[Row], codec: int) -> None:
    """Read through aiokafka and read as a stream, a batch gives the same records."""
    data = batch_of(first, codec=codec, base_offset=7) + batch_of(second, codec=codec, base_offset=7 + len(first))
    expected = all_of(data, MemoryRecords)
    assert all_of(data) == expected
    one = batch_of(first, codec=codec, base_offset=7)
    streamed = [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for r in streamed_from(one)]
    assert streamed == expected[: len(first)]


@pytest.mark.parametrize("codec", [0, GZIP])
def test_a_header_name_that_is_not_text_is_read(codec: int) -> None:
    """A consumer of aiokafka stops at it for ever; here it is one bad event among good ones, and keeps its bytes."""
    good: Row = (b"k", b"v", [("fine", b"1")])
    data = batch_of([good, (b"k", b'{"title": "a"}', [(BadName("x"), b"2"), ("fine", b"3")]), good], codec=codec)
    with pytest.raises((UnicodeDecodeError, CorruptRecordException)):
        all_of(data, MemoryRecords)
    found = all_of(data)
    assert [one[0] for one in found] == [0, 1, 2]
    assert found[1][5] == [("bad-\udcff\udcfe", b"2"), ("fine", b"3")]
    event = Record(topic="c", partition=0, offset=1, timestamp_ms=0, key=b"k", value=found[1][4], headers=tuple(found[1][5]))
    outcome = decode(event)
    assert isinstance(outcome, Refusal)
    assert outcome.reason == "invalid_utf8"


def test_a_bomb_is_read_in_bounded_memory() -> None:
    """Of 256 MiB in 261 KB the value's beginning, size and digest are kept, and the records around it are read."""
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
    added = dict(headers)
    assert added[CUT_HEADERS[1]] == digest.encode()
    assert int(added[CUT_HEADERS[0]]) > 256 * 1024 * 1024
    assert added["h"] == b"1"
    outcome = decode(
        Record(topic="c", partition=0, offset=1, timestamp_ms=0, key=key, value=b'{"title": "a"}', headers=tuple(headers))
    )
    assert isinstance(outcome, Refusal), "a record that was cut must not pass for a whole one"
    assert outcome.reason == "too_large"


def test_many_small_records_are_not_all_in_memory_at_once() -> None:
    """Of a batch of a hundred thousand records each is read whole, one at a time."""
    count = 100_000
    data = batch_of([(None, bytes(100), [])] * count, codec=GZIP)
    batch = Records(data).next_batch()
    assert len(gzip.decompress(bytes(data[61:]))) > INFLATED_BYTES
    tracemalloc.start()
    assert sum(one.value == bytes(100) for one in batch) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < INFLATED_BYTES + 4 * 1024 * 1024


def test_a_flood_of_headers_and_a_huge_key_are_cut() -> None:
    """A record with a large key or large headers is cut until it fits into a dead letter."""
    flood: list[tuple[str, bytes | None]] = [(f"h{number}", b"x" * 100) for number in range(100_000)]
    data = batch_of([(bytes(9_000_000), b"v", flood)], codec=GZIP)
    (found,) = all_of(data)
    size = len(found[3]) + len(found[4]) + sum(len(name) + len(value or b"") for name, value in found[5])
    assert size < KEPT
    assert CUT_HEADERS[0] in dict(found[5])


def test_a_large_value_of_a_small_batch_is_cut_only_if_it_was_compressed() -> None:
    """An uncompressed value has passed the topic's own limit, and stays whole."""
    row: Row = (None, bytes(3 * KEPT), [])
    assert len(all_of(batch_of([row]))[0][4]) == 3 * KEPT
    assert len(all_of(batch_of([row], codec=GZIP))[0][4]) < KEPT


@pytest.mark.parametrize("codec", [SNAPPY, LZ4, ZSTD])
def test_the_other_codecs_are_bounded_too(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is read block by block; a Zstandard frame only as far as a bound, and what lies beyond is a dead letter."""
    large: list[Row] = [(b"k", bytes(100_000), [])] * 100
    data = batch_of(large, codec=codec)
    assert len(data) < 500_000
    assert [one[4] for one in all_of(data)] == [bytes(100_000)] * 100
    monkeypatch.setattr("tagstream.stream.kafka.batches.inflate.AT_ONCE_BYTES", 9_000_000)
    tracemalloc.start()
    found = all_of(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    read = 89 if codec == ZSTD else 100
    assert [(one[0], one[4]) for one in found[:read]] == [(at, bytes(100_000)) for at in range(read)]
    assert [one[0] for one in found[read:]] == list(range(read, 100))
    assert all(one[5][0][0] == UNREADABLE_HEADERS[0] for one in found[read:])
    assert peak < 20_000_000


def test_both_builders_make_the_same_bytes() -> None:
    """These tests build batches with aiokafka's Python builder, which makes the same bytes as its C builder."""
    slow, fast = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 1000), DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1000)
    for builder in (slow, fast):
        builder.append(0, 1, b"k", b"v", [("h", b"1")])
    assert bytes(slow.build()) == bytes(fast.build())


def test_a_bound_below_the_share_of_key_and_headers_keeps_no_value() -> None:
    """Key and headers have a fixed share of the bound; what is left for the value is never negative."""

    class Small(Records):
        kept = 50_000

    noise = random.Random(1).randbytes(40_000)  # noqa: S311 - seeded
    ((_, _, _, _, value, headers),) = all_of(batch_of([(None, noise + bytes(960_000), [])], codec=GZIP), Small)
    assert value == b""
    assert dict(headers)[CUT_HEADERS[0]] == b"1000000"
