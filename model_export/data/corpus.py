"""
The authored corpus: the project's own labelled texts, as `*.jsonl` files beside the guidelines that they were written
by.
"""

import hashlib
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.text import compose, is_described
from tagstream.model_export.data import lexicon
from tagstream.model_export.data.madewithml import LABELS, DataError
from tagstream.model_export.data.row import Row

CORPUS = Path(__file__).parents[1] / "corpus"
NOT_ML = "not-ml"
# The sources of authored rows: borderline on purpose, and plain as a stream has them (files `plain-*.jsonl`).
AUTHORED, PLAIN = "corpus", "plain"
# Rows for the option of several labels alone, in a folder of that name: no first head is trained, calibrated or
# measured on them.
PAIRS = "pairs"
REGISTERS = (
    "paper", "repository", "blog", "course", "announcement", "release", "question", "terse", "long", "noisy",
)  # fmt: skip


class CorpusLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a corpus file; `DATASHEET.md` beside the files explains the fields."""

    title: str
    tag: str
    topic: str
    register: str
    description: str | None = None
    tags: tuple[str, ...] = ()


def read_corpus(folder: Path) -> list[Row]:
    """
    Read the authored rows, in the order of file names and lines.

    Raises:
        DataError: There are no rows, or a line breaks the rules; the message names file and line.
    """
    rows = [
        _row(_corpus_line(raw, f"{path.name}:{number}"), PLAIN if path.name.startswith(PLAIN) else AUTHORED)
        for path in sorted(folder.glob("*.jsonl"))
        for number, raw in enumerate(path.read_bytes().splitlines(), start=1)
    ]
    if not rows:
        msg = f"{folder} holds no *.jsonl rows. Next: give the folder of the authored corpus."
        raise DataError(msg)
    return rows


def read_pairs(folder: Path) -> list[Row]:
    """
    Read the rows of the folder `pairs` in a corpus, of which most carry two labels; empty where there is no such folder.

    Raises:
        DataError: As `read_corpus`.
    """
    return read_corpus(folder / PAIRS) if (folder / PAIRS).is_dir() else []


def read_lexicon(folder: Path) -> list[Row]:
    """
    Make the rows of the lexicon in a corpus; empty where the corpus has none.

    Raises:
        DataError: The file is not a lexicon.
    """
    path = folder / lexicon.LEXICON.name
    if not path.is_file():
        return []
    try:
        made = lexicon.rows(path)
    except (OSError, ValueError) as error:
        msg = f"{path} is not a lexicon: {error}. Next: see corpus/DATASHEET.md for its shape."
        raise DataError(msg) from error
    return [
        Row(
            text=compose(row.title, row.description),
            tag=row.tag,
            source="lexicon",
            topic=row.topic,
            described=is_described(row.description),
        )
        for row in made
    ]


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every corpus file, by its name; a manifest keeps them."""
    paths = sorted([*folder.glob("*.jsonl"), *folder.glob("*.toml")])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _row(line: CorpusLine, source: str) -> Row:
    return Row(
        text=compose(line.title, line.description),
        tag=line.tag,
        source=source,
        topic=line.topic,
        described=is_described(line.description),
        title=line.title,
        register=line.register,
        tags=line.tags,
    )


def _corpus_line(raw: bytes, where: str) -> CorpusLine:
    try:
        line = msgspec.json.decode(raw, type=CorpusLine)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{where} is not a corpus row: {error}. Next: see corpus/DATASHEET.md for the fields."
        raise DataError(msg) from error
    wrong = {
        f"tag {line.tag!r} is none of {LABELS} and not {NOT_ML!r}": line.tag not in {*LABELS, NOT_ML},
        f"register {line.register!r} is none of {REGISTERS}": line.register not in REGISTERS,
        f"tags {line.tags!r} name an unknown label": not set(line.tags) <= {*LABELS, NOT_ML},
        f"tags {line.tags!r} lack the tag {line.tag!r}": bool(line.tags) and line.tag not in line.tags,
        "title is empty": not line.title.strip(),
        "topic is empty": not line.topic.strip(),
    }
    for rule, broken in wrong.items():
        if broken:
            msg = f"{where} breaks the corpus' rules: {rule}. Next: see corpus/DATASHEET.md."
            raise DataError(msg)
    return line
