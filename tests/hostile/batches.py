"""
Record batches as a mutation of a well-formed one: compressed data, records and header, with a CRC that is right again.

A batch has rows that a reader must find in it (`rows`), or none where a mutation may change its content.
"""

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cramjam
from aiokafka.record.util import calc_crc32c

from tagstream.stream.kafka.batches.inflate import GZIP, LZ4, NONE, SNAPPY, ZSTD

HEADER = struct.Struct(">qiibIhiqqqhii")
CRC_AT, ATTRIBUTES_AT = 17, 21
FIRST_MS = 1_700_000_000_000
XERIAL = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
LZ4_END = struct.pack("<I", 0)
LZ4_BLOCK_BYTES = 4 * 1024 * 1024
# A broker of the tests has 512 MiB of heap and handles several requests at once.
MOST_CLAIMED_BYTES = 16 * 1024 * 1024
Row = tuple[bytes | None, bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One batch: the mutation's name, the bytes, the number of offsets that its header claims, and its rows if known."""

    name: str
    batch: bytes
    count: int
    rows: tuple[Row, ...] | None


def varint(number: int, bits: int = 32) -> bytes:
    """A zigzag varint."""
    value = ((number << 1) ^ (number >> bits - 1)) & (1 << bits) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def longer(encoded: bytes) -> bytes:
    """The same number in one byte more than an encoder writes."""
    return encoded[:-1] + bytes([encoded[-1] | 0x80, 0])


def field(content: bytes | None) -> bytes:
    """Bytes with their length before them."""
    return varint(-1) if content is None else varint(len(content)) + content


def record(
    offset: bytes,
    row: Row,
    *,
    headers: bytes = b"\x00",
    attributes: int = 0,
    delta: bytes = b"\x00",
    length: int | None = None,
) -> bytes:
    """One record of format 2."""
    body = bytes([attributes]) + delta + offset + field(row[0]) + field(row[1]) + headers
    return varint(len(body) if length is None else length) + body


def batch(
    payload: bytes, codec: int, count: int, *, last_delta: int | None = None, attributes: int = 0, first_ms: int = FIRST_MS
) -> bytes:
    """A batch with a right CRC."""
    last = count - 1 if last_delta is None else last_delta
    header = HEADER.pack(0, 49 + len(payload), -1, 2, 0, attributes | codec, last, first_ms, first_ms, -1, -1, -1, count)
    return with_crc(header + payload)


def with_crc(data: bytes) -> bytes:
    """The batch with its CRC and length corrected."""
    changed = bytearray(data)
    struct.pack_into(">i", changed, 8, len(changed) - 12)
    struct.pack_into(">I", changed, CRC_AT, calc_crc32c(bytes(changed[ATTRIBUTES_AT:])))
    return bytes(changed)


def plain(data: bytes, codec: int) -> bytes:
    """The data compressed as an ordinary producer does."""
    if codec == GZIP:
        return gzip_member(data)
    if codec == SNAPPY:
        return XERIAL + snappy_blocks(data, 4096)
    if codec == LZ4:
        return lz4_frame(data)
    return bytes(cramjam.zstd.compress(data)) if codec == ZSTD else data


def gzip_member(data: bytes, header: bytes = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03") -> bytes:
    """One gzip member behind the given header."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return header + deflate.compress(data) + deflate.flush() + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def snappy_blocks(data: bytes, size: int) -> bytes:
    """Blocks of the Snappy stream of Java, without its header."""
    packed = [bytes(cramjam.snappy.compress_raw(data[at : at + size])) for at in range(0, len(data), size)]
    return b"".join(struct.pack(">i", len(block)) + block for block in packed)


def lz4_frame(data: bytes, *, flags: int = 0x60, extra: bytes = b"", end: bytes = LZ4_END, stored: bool = False) -> bytes:
    """An LZ4 frame of independent blocks, the only ones that Java reads; `flags` is FLG, `extra` the content size."""
    descriptor = bytes([flags, 0x70]) + extra
    found = b"\x04\x22\x4d\x18" + descriptor + bytes([xxh32(descriptor) >> 8 & 0xFF])
    for at in range(0, max(1, len(data)), LZ4_BLOCK_BYTES):
        part = data[at : at + LZ4_BLOCK_BYTES]
        block = part if stored else bytes(cramjam.lz4.compress_block(part, store_size=False))
        found += struct.pack("<I", len(block) | (0x80000000 if stored else 0)) + block
    return found + end


def xxh32(data: bytes) -> int:
    """XXH32 of fewer than 16 bytes with the seed 0 (the checksum of an LZ4 frame's descriptor)."""
    mask, p1, p2, p3, p4, p5 = 0xFFFFFFFF, 2654435761, 2246822519, 3266489917, 668265263, 374761393
    found, at = p5 + len(data), 0
    for at in range(0, len(data) - 3, 4):
        found = found + int.from_bytes(data[at : at + 4], "little") * p3 & mask
        found = (found << 17 | found >> 15) * p4 & mask
    for byte in data[len(data) // 4 * 4 :]:
        found = found + byte * p5 & mask
        found = (found << 11 | found >> 21) * p1 & mask
    found = (found ^ found >> 15) * p2 & mask
    found = (found ^ found >> 13) * p3 & mask
    return found ^ found >> 16


def framed(draw: random.Random, data: bytes, codec: int) -> tuple[str, bytes]:
    """The same records in compressed data that only a strict reader refuses."""
    junk = draw.randbytes(draw.choice([1, 2, 3, 4, 17, 18, 19, 300]))
    at = draw.randrange(len(data))
    skippable = struct.pack("<II", 0x184D2A50 | draw.randrange(16), 5) + b"skip!"
    size = struct.pack("<Q", draw.choice([len(data), 0, 2**40]))
    shapes: dict[int, dict[str, Callable[[], bytes]]] = {
        NONE: {"plain": lambda: data, "junk": lambda: data + junk},
        GZIP: {
            "junk": lambda: gzip_member(data) + junk,
            "half_member": lambda: gzip_member(data) + gzip_member(data)[: draw.randrange(1, 20)],
            "members": lambda: gzip_member(data[:at]) + gzip_member(data[at:]),
            "empty_member": lambda: gzip_member(data) + gzip_member(b""),
            "name": lambda: gzip_member(data, b"\x1f\x8b\x08\x18" + bytes(6) + b"name\x00comment\x00"),
            "extra": lambda: gzip_member(data, b"\x1f\x8b\x08\x04" + bytes(6) + b"\x03\x00abc"),
            "reserved": lambda: gzip_member(data, b"\x1f\x8b\x08\xe0" + bytes(6)),
        },
        SNAPPY: {
            "tail": lambda: XERIAL + snappy_blocks(data, 4096) + junk[: draw.choice([1, 2, 3])],
            "version": lambda: XERIAL[:8] + struct.pack(">ii", draw.choice([2, 7, 2**31 - 1]), 1) + snappy_blocks(data, 64),
            "compatible": lambda: XERIAL[:8] + struct.pack(">ii", 1, draw.choice([-1, 0, 99])) + snappy_blocks(data, 64),
            "headers": lambda: XERIAL * 2 + snappy_blocks(data[:at], 64) + XERIAL + snappy_blocks(data[at:], 64) + XERIAL,
            "no_header": lambda: XERIAL + snappy_blocks(data, 64) + b"\x82SNAPPX" + bytes(9),
            "raw": lambda: bytes(cramjam.snappy.compress_raw(data)),
            "empty_blocks": lambda: XERIAL + struct.pack(">ib", 1, 0) * 3 + snappy_blocks(data, 64),
        },
        LZ4: {
            "junk": lambda: lz4_frame(data) + junk,
            "frames": lambda: lz4_frame(data) + lz4_frame(data),
            "checksum": lambda: lz4_frame(data, flags=0x64, end=LZ4_END + b"nope"),
            "size": lambda: lz4_frame(data, flags=0x68, extra=size),
            "stored": lambda: lz4_frame(data, stored=True),
            "end": lambda: lz4_frame(data, end=struct.pack("<I", 0x80000000)),
            "plain": lambda: bytes(cramjam.lz4.compress(data)),
        },
        ZSTD: {
            "junk": lambda: bytes(cramjam.zstd.compress(data)) + junk,
            "skippable": lambda: skippable + bytes(cramjam.zstd.compress(data)) + skippable,
            "frames": lambda: bytes(cramjam.zstd.compress(data[:at])) + bytes(cramjam.zstd.compress(data[at:])),
            "level": lambda: bytes(cramjam.zstd.compress(data, level=draw.choice([1, 19]))),
        },
    }
    name = draw.choice(sorted(shapes[codec]))
    return name, shapes[codec][name]()


def peculiar(draw: random.Random, rows: Sequence[Row]) -> tuple[str, bytes]:
    """The same keys and values in records that no client writes."""
    name_of_header = draw.choice([varint(2) + b"\xff\xfe", varint(-3), varint(0)])
    shapes: dict[str, Callable[[int, Row], bytes]] = {
        "header_name": lambda at, row: record(varint(at), row, headers=varint(1) + name_of_header + field(b"1")),
        "attributes": lambda at, row: record(varint(at), row, attributes=draw.randrange(128)),
        "attributes_high": lambda at, row: record(varint(at), row, attributes=draw.randrange(128, 256)),
        "length": lambda at, row: record(varint(at), row, length=draw.choice([0, 1, 7, 1000, 2**31 - 1])),
        "length_negative": lambda at, row: record(varint(at), row, length=-draw.randrange(1, 100)),
        "delta": lambda at, row: record(varint(at), row, delta=varint(draw.choice([-(2**63), 2**63 - 1, -5, 2**40]), 64)),
        "offsets_equal": lambda _, row: record(varint(0), row),
        "offsets_wild": lambda _, row: record(varint(draw.choice([-(2**31), -1, 5, 2**31 - 1])), row),
        "long_varint": lambda at, row: record(longer(varint(at)), row),
        "overflow": lambda at, row: record(varint(at)[:-1] + bytes([varint(at)[-1] | 0x80, 0x80, 0x80, 0x80, 0x70]), row),
    }
    name = draw.choice(sorted(shapes))
    return name, b"".join(shapes[name](at, row) for at, row in enumerate(rows))


def mutant(draw: random.Random) -> Mutant:
    """One mutated batch; the same state of `draw` gives the same one."""
    codec = draw.choice([NONE, GZIP, SNAPPY, LZ4, ZSTD])
    rows = tuple(
        (draw.choice([None, b"", b"key"]), draw.choice([None, b"", b'{"title": "a"}', draw.randbytes(draw.randrange(400))]))
        for _ in range(draw.randrange(1, 8))
    )
    records, names = (
        b"".join(record(varint(at), row) for at, row in enumerate(rows)),
        [("none", "gzip", "snappy", "lz4", "zstd")[codec]],
    )
    if draw.random() < 0.4:
        name, records = peculiar(draw, rows)
        names.append(name)
    packed = plain(records, codec)
    if draw.random() < 0.6:
        name, packed = framed(draw, records, codec)
        names.append(name)
    if draw.random() < 0.25:
        changed = flipped(draw, batch(packed, codec, len(rows)))
        while snappy_claim(changed) > MOST_CLAIMED_BYTES:
            changed = flipped(draw, batch(packed, codec, len(rows)))
        return Mutant(name=".".join([*names, "flipped"]), batch=changed, count=len(rows), rows=None)
    first_ms = draw.choice([FIRST_MS] * 9 + [-(2**62)])
    attributes = draw.choice([0] * 9 + [0x40, 0x80, 0x4000])
    whole = batch(packed, codec, len(rows), first_ms=first_ms, attributes=attributes)
    return Mutant(name=".".join(names), batch=whole, count=len(rows), rows=rows)


def flipped(draw: random.Random, whole: bytes) -> bytes:
    """A few bytes behind the CRC are changed, added or removed, most of them in the compressed part."""
    changed = bytearray(whole)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(HEADER.size if draw.random() < 0.9 else ATTRIBUTES_AT, len(changed))
        action = draw.randrange(3)
        if action == 0:
            changed[at] ^= 1 << draw.randrange(8)
        elif action == 1 and at >= HEADER.size:
            changed[at:at] = draw.randbytes(draw.randrange(1, 5))
        elif at >= HEADER.size and len(changed) > HEADER.size + 1:
            del changed[at]
    return with_crc(bytes(changed))


def snappy_claim(whole: bytes) -> int:
    r"""
    The most bytes that a broker allocates for a block of a Snappy batch; 0 for another codec.

    snappy-java allocates the size that a block says it has, up to 2 GiB, before it looks at the block. The broker of the tests ends
    when its heap is exhausted (`-XX:+ExitOnOutOfMemoryError`), so such batches are left out: no worker would ever read them.

    >>> snappy_claim(batch(plain(bytes(100), SNAPPY), SNAPPY, 1)), snappy_claim(batch(b"\xff\xff\xff\x7f" + bytes(9), SNAPPY, 1))
    (100, 268435455)
    """
    if whole[ATTRIBUTES_AT + 1] & 0x07 != SNAPPY:
        return 0
    data = whole[HEADER.size :]
    if data[: len(XERIAL) - 8] != XERIAL[:-8]:
        return _unsigned(data)
    most, at = 0, len(XERIAL)
    while at + 4 <= len(data):
        if data[at : at + 4] == XERIAL[:4]:
            at += len(XERIAL)
            continue
        size = int.from_bytes(data[at : at + 4], "big")
        most = max(most, size, _unsigned(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return most


def _unsigned(data: bytes) -> int:
    """The varint with which a Snappy block says its size; as many of its bytes as are there."""
    found = 0
    for number, byte in enumerate(data[:5]):
        found |= (byte & 0x7F) << 7 * number
        if not byte & 0x80:
            break
    return found
