"""
The compressed bytes of a record batch as a stream of chunks, read as Apache Kafka's own clients read them.

A broker inflates a batch before it accepts it, so Java can inflate every batch that a consumer meets. The readers here accept what Java's
streams accept, and ignore the rest: bytes after a gzip trailer, an LZ4 frame or a Zstandard frame, and Snappy with another header version,
repeated headers, or up to three bytes too many. Whole-buffer decoders raise on all of these.

Formats: RFC 1951 and RFC 1952 (gzip), SnappyInputStream of snappy-java (Snappy), Lz4BlockInputStream of Apache Kafka with the LZ4 frame
format 1.6.1, RFC 8878 (Zstandard).
"""

import struct
import zlib
from collections.abc import Generator, Iterator

import aiokafka.codec
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
NAMES = ("none", "gzip", "snappy", "lz4", "zstd")
# cramjam inflates a Zstandard frame as a whole: the part of a frame beyond this size is not read. A worker holds one inflated frame for
# each partition.
AT_ONCE_BYTES = 16 * 1024 * 1024
_CHUNK = 256 * 1024
_PIECE = 32 * 1024

_GZIP_HEADER = struct.Struct("<HBB6x")
_GZIP_MAGIC, _DEFLATE = 0x8B1F, 8
_HAS_CHECKSUM, _HAS_EXTRA, _HAS_NAME, _HAS_COMMENT = 2, 4, 8, 16
_GZIP_TRAILER = 8

_XERIAL_HEADER = struct.Struct(">8sii")
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
# More than the best ratio of Snappy's format, in which three bytes copy at most 64.
_SNAPPY_RATIO = 32

_LZ4_MAGIC = 0x184D2204
_LZ4_BLOCK_CHECKSUM, _LZ4_CONTENT_SIZE = 0x10, 0x08
_LZ4_STORED = 0x80000000

_ZSTD_MAGIC = 0xFD2FB528
_SKIPPABLE, _SKIPPABLE_MASK = 0x184D2A50, 0xFFFFFFF0
_ZSTD_BLOCK_BYTES = 128 * 1024
_RUN_LENGTH = 1


def inflate(data: memoryview, codec: int) -> Iterator[bytes | memoryview]:
    """
    Inflate chunk by chunk; a chunk has at most 4 MiB, except for raw Snappy (22 times the data) and Zstandard (`AT_ONCE_BYTES`).

    Args:
        data: The bytes after the header of a batch.
        codec: The compression in the batch's attributes, 0 to 4.

    Raises:
        CorruptRecordException: The data ends too early or breaks the format.
        UnsupportedCodecError: The codec is unknown, or its library is not installed.
    """
    if codec not in range(len(NAMES)):
        msg = f"a batch has the unknown codec {codec}"
        raise UnsupportedCodecError(msg)
    if codec not in {NONE, GZIP} and aiokafka.codec.cramjam is None:
        msg = f"cramjam is not installed, which reads {NAMES[codec]}"
        raise UnsupportedCodecError(msg)
    return _translated(data, codec)


def missing_codecs() -> list[str]:
    """Codecs that producers may use and this installation cannot read; a worker stops at such a batch."""
    return [] if aiokafka.codec.cramjam is not None else list(NAMES[SNAPPY:])


def is_of_the_machine(error: Exception) -> bool:
    """True if an error while reading a batch is the machine's and not the batch's: memory or a library is missing."""
    return isinstance(error, MemoryError) or (isinstance(error, UnsupportedCodecError) and bool(missing_codecs()))


def _translated(data: memoryview, codec: int) -> Iterator[bytes | memoryview]:
    read = (_stored, _gzip, _snappy, _lz4, _zstd)[codec]
    try:
        yield from read(data)
    except (zlib.error, struct.error, IndexError, ValueError, _decompression_error()) as error:
        msg = f"a batch cannot be inflated ({NAMES[codec]}, {type(error).__name__})"
        raise CorruptRecordException(msg) from error


def _decompression_error() -> type[Exception]:
    cramjam = aiokafka.codec.cramjam
    return zlib.error if cramjam is None else cramjam.DecompressionError


def _stored(data: memoryview) -> Iterator[memoryview]:
    yield data


def _gzip(data: memoryview) -> Iterator[bytes]:
    """Inflate all members. The stream ends at bytes after a trailer that do not begin another member."""
    begins: int | None = _deflated_at(data, 0)
    while begins is not None:
        ends = yield from _deflated(data, begins)
        try:
            begins = _deflated_at(data, ends + _GZIP_TRAILER)
        except (struct.error, ValueError, IndexError):
            begins = None


def _deflated_at(data: memoryview, at: int) -> int:
    """The position behind the header of the gzip member at `at`."""
    magic, method, flags = _GZIP_HEADER.unpack_from(data, at)
    if (magic, method) != (_GZIP_MAGIC, _DEFLATE):
        msg = "no gzip header"
        raise ValueError(msg)
    at += _GZIP_HEADER.size
    if flags & _HAS_EXTRA:
        at += 2 + int(struct.unpack_from("<H", data, at)[0])
    for named in (_HAS_NAME, _HAS_COMMENT):
        if flags & named:
            at += bytes(data[at:]).index(0) + 1
    return at + 2 if flags & _HAS_CHECKSUM else at


def _deflated(data: memoryview, at: int) -> Generator[bytes, None, int]:
    """Inflate one DEFLATE stream; returns the position behind it."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for start in range(at, len(data), _PIECE):
        piece: bytes | memoryview = data[start : start + _PIECE]
        while True:
            yield inflater.decompress(piece, _CHUNK)
            piece = inflater.unconsumed_tail
            if inflater.eof:
                return min(start + _PIECE, len(data)) - len(inflater.unused_data)
            if not piece:
                break
    while chunk := inflater.decompress(b"", _CHUNK):
        yield chunk
    if not inflater.eof:
        msg = "DEFLATE data ends too early"
        raise ValueError(msg)
    return len(data)


def _snappy(data: memoryview) -> Iterator[memoryview]:
    """The blocks of snappy-java's stream, or one block without a frame, as `Snappy.compress` makes it."""
    if len(data) < _XERIAL_HEADER.size or data[: len(_XERIAL_MAGIC)] != _XERIAL_MAGIC:
        yield _snappy_block(data)
        return
    at = 0
    while len(data) - at >= 4:  # noqa: PLR2004 - the length of a block has four bytes
        if data[at : at + 4] == _XERIAL_MAGIC[:4]:
            magic, version, _ = _XERIAL_HEADER.unpack_from(data, at)
            if magic != _XERIAL_MAGIC:
                return
            if version < 1:
                msg = "a version of the Snappy stream that does not exist"
                raise ValueError(msg)
            at += _XERIAL_HEADER.size
            continue
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
        if not 0 <= size <= len(data) - at:
            msg = "a Snappy block ends too early"
            raise ValueError(msg)
        yield _snappy_block(data[at : at + size])
        at += size


def _snappy_block(block: memoryview) -> memoryview:
    snappy = aiokafka.codec.cramjam.snappy
    packed = bytes(block)
    if snappy.decompress_raw_len(packed) > _SNAPPY_RATIO * len(packed):
        msg = "a Snappy block says that it is longer than it can be"
        raise ValueError(msg)
    return memoryview(snappy.decompress_raw(packed))


def _lz4(data: memoryview) -> Iterator[memoryview]:
    """The blocks of the first frame. Like Java, this ignores checksums and everything after the frame."""
    magic, flags, descriptor = struct.unpack_from("<IBB", data)
    if magic != _LZ4_MAGIC:
        msg = "no LZ4 frame"
        raise ValueError(msg)
    most = 1 << (8 + 2 * (descriptor >> 4 & 7))
    buffer = bytearray(most)
    at = 7 + (8 if flags & _LZ4_CONTENT_SIZE else 0)
    while True:
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        stored, size = bool(size & _LZ4_STORED), size & ~_LZ4_STORED
        if not size:
            return
        if size > min(most, len(data) - at):
            msg = "an LZ4 block ends too early"
            raise ValueError(msg)
        block = data[at : at + size]
        if stored:
            yield block
        else:
            # Without `output_len` cramjam takes the first four bytes for a size, if they look like one.
            inflated = aiokafka.codec.cramjam.lz4.decompress_block_into(bytes(block), buffer, output_len=most)
            # A copy, because the next block overwrites the buffer.
            yield memoryview(bytes(memoryview(buffer)[:inflated]))
        at += size + (4 if flags & _LZ4_BLOCK_CHECKSUM else 0)


def _zstd(data: memoryview) -> Iterator[memoryview]:
    """Inflate all frames. The stream ends at bytes after a frame that do not begin another frame."""
    at = 0
    while at == 0 or _begins_frame(data, at):
        (magic,) = struct.unpack_from("<I", data, at)
        if magic & _SKIPPABLE_MASK == _SKIPPABLE:
            at += 8 + int(struct.unpack_from("<I", data, at + 4)[0])
            continue
        ends, blocks = _zstd_frame(data, at)
        buffer = bytearray(min(blocks * _ZSTD_BLOCK_BYTES, AT_ONCE_BYTES))
        frame, at = bytes(data[at:ends]), ends
        try:
            size = aiokafka.codec.cramjam.zstd.decompress_into(frame, buffer)
        except aiokafka.codec.cramjam.DecompressionError as error:
            if len(buffer) < AT_ONCE_BYTES or "whole buffer" not in str(error):
                raise
            yield memoryview(buffer)
            msg = f"a Zstandard frame inflates to more than {AT_ONCE_BYTES} bytes"
            raise CorruptRecordException(msg) from error
        yield memoryview(buffer)[:size]


def _begins_frame(data: memoryview, at: int) -> bool:
    if len(data) - at < 8:  # noqa: PLR2004 - no frame is shorter
        return False
    (magic,) = struct.unpack_from("<I", data, at)
    return bool(magic == _ZSTD_MAGIC or magic & _SKIPPABLE_MASK == _SKIPPABLE)


def _zstd_frame(data: memoryview, at: int) -> tuple[int, int]:
    """The end of the frame at `at`, and the number of its blocks. Nothing is inflated."""
    magic, descriptor = struct.unpack_from("<IB", data, at)
    if magic != _ZSTD_MAGIC:
        msg = "no Zstandard frame"
        raise ValueError(msg)
    single = descriptor >> 5 & 1
    content_size = (single, 2, 4, 8)[descriptor >> 6]
    at += 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + content_size
    blocks, last = 0, False
    while not last:
        (word,) = struct.unpack("<I", bytes(data[at : at + 3]) + b"\x00")
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        at += 3 + (1 if kind == _RUN_LENGTH else size)
        blocks += 1
    at += 4 * (descriptor >> 2 & 1)
    if at > len(data):
        msg = "a Zstandard frame ends too early"
        raise ValueError(msg)
    return at, blocks
