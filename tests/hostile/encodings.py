"""Values that are not the text that they seem: other encodings, compressed data, random bytes, no bytes."""

import bz2
import gzip
import io
import lzma
import random
import zipfile
import zlib
from collections.abc import Callable

from tagstream.monitoring.vocabulary import Reason
from tests.hostile.record import Hostile, Make, dead, decided, encoded, event

BOMB_BYTES = 2_000_000


def not_utf8(chance: random.Random, number: int) -> Hostile:
    """CESU-8, overlong forms, cut sequences, stray continuations, bytes that never occur, Latin-1."""
    sequence = chance.choice(
        [
            b"\xed\xa0\x80",
            b"\xed\xa0\xbd\xed\xb8\x80",
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xc0\x80",
            b"\xf8\x88\x80\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xf4\x90\x80\x80",
            b"\x80",
            b"\xbf\xbf",
            b"\xe2\x82",
            b"\xff",
            b"caf\xe9 ",
        ]
    )
    return dead(b'{"id":"hostile-%d","title":"a%bb"}' % (number, sequence), Reason.INVALID_UTF8)


def sixteen_bits(chance: random.Random, number: int) -> Hostile:
    """UTF-16 and UTF-32, with and without a mark."""
    encoding = chance.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
    value = encoded(chance, event(number)).encode(encoding)
    return dead(value, Reason.INVALID_UTF8, Reason.INVALID_JSON)


def byte_order_mark(chance: random.Random, number: int) -> Hostile:
    """UTF-8 with a byte order mark, which is not JSON (RFC 8259, 8.1)."""
    return dead(b"\xef\xbb\xbf" + encoded(chance, event(number)).encode(), Reason.INVALID_JSON)


def lone_surrogate(chance: random.Random, number: int) -> Hostile:
    """Half a pair, in a value, a name, deep inside, or in the wrong order."""
    half = chance.choice(["\\ud800", "\\udbff", "\\udc00", "\\udfff", "\\ude00\\ud83d"])
    value = chance.choice(
        [
            f'{{"id":"hostile-{number}","title":"a{half}"}}',
            f'{{"id":"hostile-{number}","title":"a","{half}":1}}',
            f'{{"id":"hostile-{number}","title":"a","x":[{{"y":"{half}"}}]}}',
        ]
    )
    return dead(value, Reason.LONE_SURROGATE)


def surrogate_pair(_: random.Random, number: int) -> Hostile:
    """A complete surrogate pair, which is one character."""
    return decided(f'{{"id":"hostile-{number}","title":"\\ud83d\\ude00 faces"}}', flags=frozenset())


def nul(chance: random.Random, number: int) -> Hostile:
    """U+0000, which breaks databases and programs in C."""
    value = chance.choice(
        [
            f'{{"id":"hostile-{number}","title":"a\\u0000b"}}',
            f'{{"id":"\\u0000{number}","title":"a"}}',
            f'{{"id":"hostile-{number}","title":"a","x":{{"\\u0000":1}}}}',
            f'{{"id":"hostile-{number}","title":"a","x":[["\\u0000"]]}}',
        ]
    )
    return dead(value, Reason.NUL_CHARACTER)


def compressed(chance: random.Random, number: int) -> Hostile:
    """An event that a producer has compressed."""
    plain = encoded(chance, event(number)).encode()
    return dead(_compressed(chance, plain), Reason.INVALID_UTF8, Reason.INVALID_JSON)


def bomb(chance: random.Random, _: int) -> Hostile:
    """Megabytes compressed to a few kilobytes; they must not be unpacked."""
    return dead(_compressed(chance, b" " * BOMB_BYTES), Reason.INVALID_UTF8, Reason.INVALID_JSON)


def _compressed(chance: random.Random, plain: bytes) -> bytes:
    ways: list[Callable[[bytes], bytes]] = [
        lambda value: gzip.compress(value, mtime=0),
        zlib.compress,
        bz2.compress,
        lzma.compress,
        _zipped,
    ]
    return chance.choice(ways)(plain)


def _zipped(plain: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as folder:
        folder.writestr(zipfile.ZipInfo("event.json"), plain, compress_type=zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def chance_bytes(chance: random.Random, _: int) -> Hostile:
    """Random bytes behind a byte that cannot begin JSON."""
    value = chance.randbytes(chance.randint(1, 300)) + b"\xfe"
    return dead(value, Reason.INVALID_UTF8)


def tombstone(chance: random.Random, number: int) -> Hostile:
    """No value; with a key or without."""
    return dead(None, Reason.TOMBSTONE, key=chance.choice([None, b"", b"gone-%d" % number]))


def empty(chance: random.Random, number: int) -> Hostile:
    """A value of no bytes."""
    return dead(b"", Reason.EMPTY, key=chance.choice([None, b"", b"gone-%d" % number]))


CLASSES: tuple[Make, ...] = (
    not_utf8,
    sixteen_bits,
    byte_order_mark,
    lone_surrogate,
    surrogate_pair,
    nul,
    compressed,
    chance_bytes,
    tombstone,
    empty,
)
HEAVY: tuple[Make, ...] = (bomb,)
