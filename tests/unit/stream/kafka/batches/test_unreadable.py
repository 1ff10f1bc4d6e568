"""Batches that a broker takes and that stop aiokafka: read as Java reads them, or dead letters, and the stream goes on."""

import hashlib
import random
import struct
from typing import Any

import pytest
from aiokafka.errors import UnsupportedCodecError
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from tagstream.stream.contract.dead_letter import read
from tagstream.stream.contract.event import UNREADABLE_HEADERS, Record, decode
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.kafka.batches.inflate import GZIP, LZ4, NONE, SNAPPY, ZSTD
from tagstream.stream.kafka.batches.records import Records
from tests.hostile.batches import XERIAL, batch, gzip_member, lz4_frame, mutant, plain, record, snappy_blocks, varint

ROWS = [(b"k", b'{"title": "%d"}' % number) for number in range(5)]
DATA = b"".join(record(varint(at), row) for at, row in enumerate(ROWS))
BROKEN = {GZIP: gzip_member(DATA)[:40], SNAPPY: XERIAL + b"\x00\x00", LZ4: b"junk" * 10, ZSTD: plain(DATA, ZSTD)[:-20]}


def found_in(data: bytes) -> list[Any]:
    """All records of a fetch response."""
    whole, found = Records(data), []
    while whole.has_next():
        found += list(whole.next_batch())
    return found


def pairs(found: list[Any]) -> list[tuple[int, bytes | None, bytes | None]]:
    """Offset, key and value of each record."""
    return [(one.offset, one.key, one.value) for one in found]


WHOLE = [(at, *row) for at, row in enumerate(ROWS)]
TOLERATED = {
    "junk behind the gzip trailer": (GZIP, gzip_member(DATA) + b"junk" * 10),
    "two gzip members": (GZIP, gzip_member(DATA[:30]) + gzip_member(DATA[30:])),
    "a byte behind the Snappy blocks": (SNAPPY, XERIAL + snappy_blocks(DATA, 64) + b"\x00"),
    "version 2 of the Snappy header": (SNAPPY, XERIAL[:8] + struct.pack(">ii", 2, 1) + snappy_blocks(DATA, 64)),
    "a repeated Snappy header": (SNAPPY, XERIAL + snappy_blocks(DATA[:64], 64) + XERIAL + snappy_blocks(DATA[64:], 64)),
    "raw Snappy": (SNAPPY, snappy_blocks(DATA, 4096)[4:]),
    "junk behind the LZ4 frame": (LZ4, lz4_frame(DATA) + b"junk"),
    "an LZ4 block that looks as if it began with its size": (LZ4, lz4_frame(record(varint(0), (b"key", None)) * 9)),
    "junk behind the Zstandard frame": (ZSTD, plain(DATA, ZSTD) + b"junk" * 3),
    "two Zstandard frames": (ZSTD, plain(DATA[:30], ZSTD) + plain(DATA[30:], ZSTD)),
}


@pytest.mark.parametrize("shape", TOLERATED)
def test_what_java_reads_is_read(shape: str) -> None:
    """Bytes that a strict reader refuses hide no event: each record comes whole."""
    codec, packed = TOLERATED[shape]
    if codec == LZ4 and "size" in shape:
        assert pairs(found_in(batch(packed, codec, 9))) == [(at, b"key", None) for at in range(9)]
    else:
        assert pairs(found_in(batch(packed, codec, len(ROWS)))) == WHOLE


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_records_that_cannot_be_read_leave_with_the_bytes_of_their_batch(codec: int) -> None:
    """Each offset has a record; the first unreadable one has the batch, all have its digest, and the next batch is read."""
    broken = batch(BROKEN[codec], codec, len(ROWS))
    behind = batch(plain(DATA, codec), codec, len(ROWS))
    found = found_in(broken + struct.pack(">q", len(ROWS)) + behind[8:])
    assert [one.offset for one in found] == list(range(2 * len(ROWS)))
    assert [row[1:] for row in pairs(found[len(ROWS) :])] == ROWS
    lost = [one for one in found[: len(ROWS)] if one.headers]
    assert lost[0].value == broken
    assert all(dict(one.headers)[UNREADABLE_HEADERS[2]].decode() == hashlib.sha256(broken).hexdigest() for one in lost)
    assert {dict(one.headers)[UNREADABLE_HEADERS[1]] for one in lost} == {b"%d to 4" % lost[0].offset}


def test_an_unreadable_record_is_a_dead_letter_that_a_replay_leaves_alone() -> None:
    """Its value is not the event, so it counts as dropped."""
    lost = found_in(batch(BROKEN[LZ4], LZ4, 1))[0]
    event = Record(topic="content", partition=0, offset=0, key=None, value=lost.value, headers=tuple(lost.headers))
    refusal = decode(event)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "unreadable_batch"
    (publication,) = publish_all([event], [refusal], 0)
    letter = read(Record(topic="content.dlq", key=publication.key, value=publication.value, headers=publication.headers))
    assert letter is not None
    assert letter.dropped == ("value",)
    assert letter.value == lost.value


def test_a_batch_that_compaction_has_thinned_out_keeps_its_offsets() -> None:
    """Offsets of records that were read are their own; those of unreadable ones follow and stay inside the batch."""
    kept = b"".join(record(varint(at), ROWS[at]) for at in (1, 3))
    whole = batch(plain(kept, GZIP), GZIP, 2, last_delta=4)
    assert pairs(found_in(whole)) == [WHOLE[1], WHOLE[3]]
    assert [one.offset for one in found_in(batch(plain(kept, GZIP), GZIP, 3, last_delta=4))] == [1, 3, 4]
    assert [one.offset for one in found_in(batch(plain(kept, GZIP), GZIP, 9, last_delta=4))] == [1, 3, 4]


@pytest.mark.parametrize("deltas", [[0, 0, 0, 0, 0], [-5, 2**31 - 1, 3, -(2**31), 0]])
def test_offsets_that_a_producer_invents_drop_no_record(deltas: list[int]) -> None:
    """A broker does not check them in an uncompressed batch, and aiokafka drops a record whose offset does not rise."""
    data = b"".join(record(varint(delta), row) for delta, row in zip(deltas, ROWS, strict=True))
    assert pairs(found_in(batch(data, NONE, len(ROWS)))) == WHOLE


def test_an_old_batch_that_cannot_be_read_is_one_dead_letter() -> None:
    """Formats 0 and 1 may lie on brokers that were upgraded; a wrapper whose content is broken has one offset."""
    builder = LegacyRecordBatchBuilder(1, GZIP, 1 << 20)
    for number in range(3):
        builder.append(number, 5, b"k", b"v" * 1000, None)
    whole = bytearray(builder.build())
    struct.pack_into(">q", whole, 0, 7)
    assert [one.offset for one in found_in(bytes(whole))] == [5, 6, 7]
    whole[-12] ^= 0xFF
    (lost,) = found_in(bytes(whole))
    assert (lost.offset, lost.value) == (7, bytes(whole))
    assert lost.headers[0][0] == UNREADABLE_HEADERS[0]


@pytest.mark.parametrize("codec", [SNAPPY, LZ4, ZSTD])
def test_a_missing_library_is_no_property_of_the_batch(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cramjam a worker stops, since its dead letters would be good events."""
    whole = batch(plain(DATA, codec), codec, len(ROWS))
    monkeypatch.setattr("aiokafka.codec.cramjam", None)
    with pytest.raises(UnsupportedCodecError):
        found_in(whole)


def test_memory_that_runs_out_is_no_property_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is at fault, and another one can read the batch."""

    def raise_it(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("tagstream.stream.kafka.batches.records.parse", raise_it)
    with pytest.raises(MemoryError):
        found_in(batch(BROKEN[LZ4], LZ4, len(ROWS)))


def test_mutants_raise_nothing_and_each_offset_has_one_record() -> None:
    """Two thousand mutated batches, those that a broker would refuse included."""
    draw = random.Random(14)  # noqa: S311 - seeded
    for _ in range(2000):
        made = mutant(draw)
        whole = Records(made.batch).next_batch()
        offsets = [one.offset for one in whole]
        assert offsets == sorted(set(offsets)), made.name
        if whole.last_offset_delta + 1 == made.count == len(offsets) or made.rows is not None:
            assert offsets == list(range(made.count)), made.name
