"""The authored corpus: the project's own labelled texts, in `*.jsonl` files. Their labelling guidelines are in the same folder."""

import hashlib
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.text import compose, is_described
from tagstream.model_export.data import lexicon
from tagstream.model_export.data.madewithml import LABELS, DataError
from tagstream.model_export.data.row import Row

CORPUS = Path(__file__).parents[1] / "corpus"
NOT_ML = "not-ml"
# The sources of authored rows. Rows of `corpus` are borderline on purpose; rows of `plain` are like a stream's (files `plain-*.jsonl`).
AUTHORED, PLAIN = "corpus", "plain"
# The folder of the rows with several labels. Only the second head uses these rows: a first head is not trained, calibrated or measured on
# them.
PAIRS = "pairs"
REGISTERS = (
    "paper", "repository", "blog", "course", "announcement", "release", "question", "terse", "long", "noisy",
)  # fmt: skip


class CorpusLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a corpus file. `DATASHEET.md` in the corpus folder explains the fields."""

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
        DataError: The folder has no rows, or a line breaks the rules. The message names the file and the line.
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
    Read the rows of the folder `pairs` in a corpus. Most of these rows have two labels. Empty if the folder does not exist.

    Raises:
        DataError: As `read_corpus`.
    """
    return read_corpus(folder / PAIRS) if (folder / PAIRS).is_dir() else []


def read_lexicon(folder: Path) -> list[Row]:
    """
    Generate the rows of a corpus's lexicon. Empty if the corpus has no lexicon.

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
    """Return the SHA-256 of every corpus file, by file name, for a manifest."""
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
