"""
Real titles: their labels are in the project, their texts in a folder that the setting `real` names.

The texts are other people's and are never copied into the project. A sheet in `corpus/real` names a title by the SHA-256
of its normalised form, and the rows are those that the folder's `titles.csv.gz` has under these digests.
"""

import csv
import gzip
import hashlib
import io
import tomllib
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.text import compose, is_described
from tagstream.model_export.data.corpus import CORPUS, NOT_ML
from tagstream.model_export.data.madewithml import LABELS, DataError
from tagstream.model_export.data.row import Row

SHEETS = CORPUS / "real"
# The sheet that is measured and never learned from, and the sheets that are learned from. No source is in both.
DEV = "dev.jsonl"
LEARNED = ("learned.jsonl", "chance-1.jsonl", "chance-2.jsonl", "chance-3.jsonl")
SOURCES = "sources.toml"
TITLES = "titles.csv.gz"
REAL = "real"
# Of a source whose rows have an author each, the share of titles that is held out.
HELD_OUT_SHARE = 0.2
# Why a learned row was read: hint and an earlier model differed. All 3,525 such titles were read, and of the 31,085 others 23,900, drawn by
# chance. So of the disagreements, too, this share speaks about all titles.
DISAGREEMENT, READ_BY_CHANCE = "disagreement", 0.77


class ReaderLabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The label that one reader gave a title, without seeing another's.

    Attributes:
        reader: The person or session that read it.
        tags: The label, and after it the second one of a row that carries two.
        doubtful: As in `RealLine`, to this reader.
    """

    reader: str
    tags: tuple[str, ...]
    doubtful: bool = False


class RealLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    One line of a sheet: the label of one title.

    Attributes:
        digest: The title's, as `digest` gives it.
        tags: Both labels of a row that carries two.
        doubtful: The guidelines leave the label open, or the text is too short to tell.
        family: The kind of place that the row is from, such as `paper` or `question`.
        drawn: Of a learned row, `disagreement` where hint and shipped model differed when it was drawn, else `chance`.
        reader: The person or session that read it; `both` where `readings` has two.
        readings: Both readers' labels, first and second reader, of a row that two have read; `tag` and `tags` are settled.
    """

    digest: str
    tag: str
    family: str
    reader: str
    tags: tuple[str, ...] = ()
    doubtful: bool = False
    drawn: str | None = None
    readings: tuple[ReaderLabel, ...] = ()


class Sources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The permitted use of a source; each is named by the beginning of the `source` of its rows.

    Attributes:
        held_out: No row of it is learned from.
        divided: `HELD_OUT_SHARE` of its titles are held out, by digest.
        title_only: Descriptions are not learned from.
    """

    held_out: tuple[str, ...]
    divided: tuple[str, ...]
    title_only: tuple[str, ...]

    def is_held_out(self, source: str, title: str) -> bool:
        """
        Is this row kept for measuring, so that no network may learn from it, nor from an opinion on it?

        >>> Sources(held_out=("a/talks",), divided=(), title_only=()).is_held_out("a/talks:june.csv", "A talk")
        True
        """
        if names(self.held_out, source):
            return True
        return self.is_divided(source) and int(digest(title)[:8], 16) < HELD_OUT_SHARE * 16**8

    def is_divided(self, source: str) -> bool:
        """Has every row of this source an author of its own?"""
        return names(self.divided, source)

    def is_title_only(self, source: str) -> bool:
        """May only the titles of this source be learned from?"""
        return names(self.title_only, source)


def digest(title: str) -> str:
    """
    The name of a title in a sheet: the SHA-256 of the text that a model reads of it.

    >>> digest("Attention  is all you need") == digest("Attention is all you need")
    True
    """
    return hashlib.sha256(compose(title, None).encode()).hexdigest()


def read_sources(sheets: Path = SHEETS) -> Sources:
    """
    The permitted use of each source.

    Raises:
        DataError: The file cannot be read, or lacks a list.
    """
    path = sheets / SOURCES
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=Sources)
    except (OSError, ValueError) as error:
        msg = f"{path} does not name the sources: {error}. Next: restore the file."
        raise DataError(msg) from error


def read_sheet(path: Path) -> list[RealLine]:
    """
    The labels of a sheet, in the order of lines.

    Raises:
        DataError: The file cannot be read, or a line breaks the rules; the message names file and line.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: restore the file."
        raise DataError(msg) from error
    return [_line(line, f"{path.name}:{number}") for number, line in enumerate(raw.splitlines(), start=1)]


def read_real(sheet: str, folder: Path | None, sheets: Path = SHEETS) -> list[Row]:
    """
    The rows of a sheet, with their texts.

    Args:
        sheet: `DEV`, or one of `LEARNED`. Of a source that allows titles alone, the learned text is the title.
        folder: The folder with `titles.csv.gz`; without it there are no rows.
        sheets: The folder with the sheets.

    Raises:
        DataError: A file cannot be read, a line breaks the rules, the folder lacks a title of the sheet, or the sheet learns
            from a source that is held out.
    """
    return [] if folder is None else _read(sheet, read_sheet(sheets / sheet), folder, read_sources(sheets))


def read_learned(folder: Path | None, sheets: Path = SHEETS) -> list[Row]:
    """The rows of all sheets that are learned from. Arguments and errors are those of `read_real`."""
    return [row for sheet in LEARNED for row in read_real(sheet, folder, sheets)]


def _read(sheet: str, lines: list[RealLine], folder: Path, sources: Sources) -> list[Row]:
    records = _records(folder / TITLES, {line.digest for line in lines})
    missing = sum(line.digest not in records for line in lines)
    if missing:
        msg = (
            f"{folder / TITLES} lacks {missing:,} of the {len(lines):,} titles of {sheet}. "
            f"Next: point TAGSTREAM_REAL at the folder that the sheet was made from."
        )
        raise DataError(msg)
    found: list[Row] = []
    for line in lines:
        title, description, source = records[line.digest]
        if sheet != DEV and sources.is_held_out(source, title):
            msg = (
                f"{sheet} learns from {source}, which is held out. Next: take the digest {line.digest[:12]}… out of the sheet."
            )
            raise DataError(msg)
        if sheet != DEV and sources.is_title_only(source):
            description = ""
        found.append(_row(line, title, description, source, sources))
    return found


def read_unlabelled(folder: Path | None, sheets: Path = SHEETS) -> list[Row]:
    """
    Titles that nobody labelled, of sources that may be learned from, in the order of their digests. Their tag is empty.

    Args:
        folder: As `read_real`.
        sheets: The folder with the sheets, whose titles are left out.

    Raises:
        DataError: As `read_real`.
    """
    if folder is None:
        return []
    sources = read_sources(sheets)
    read = {line.digest for sheet in (DEV, *LEARNED) for line in read_sheet(sheets / sheet)}
    found: list[Row] = []
    for name, (title, description, source) in sorted(_records(folder / TITLES).items()):
        if name in read or sources.is_held_out(source, title):
            continue
        told = "" if sources.is_title_only(source) else description
        text, topic = compose(title, told), f"{REAL}:{source}"
        found.append(Row(text=text, tag="", source=REAL, topic=topic, described=is_described(told), title=title))
    return found


def is_representative(row: Row) -> bool:
    """
    May this learned row speak about all titles beside others? Of disagreements a share `READ_BY_CHANCE` may, by digest.

    >>> drawn = {"chance": 0, "disagreement": 0}
    >>> for why in drawn:
    ...     rows = [Row(text=f"{n}", tag="other", source="real", topic="t", title=f"{n}", columns=(("drawn", why),)) for n in range(800)]
    ...     drawn[why] = sum(map(is_representative, rows))
    >>> drawn["chance"], 580 < drawn["disagreement"] < 650
    (800, True)
    """
    return ("drawn", DISAGREEMENT) not in row.columns or int(digest(row.title)[8:16], 16) < READ_BY_CHANCE * 16**8


def digests(folder: Path | None, sheets: Path = SHEETS) -> dict[str, str]:
    """The SHA-256 of the files that rows are learned from, by name, for a manifest; empty without the folder."""
    if folder is None:
        return {}
    paths = (*(sheets / sheet for sheet in LEARNED), sheets / SOURCES, folder / TITLES)
    return {f"{REAL}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _row(line: RealLine, title: str, description: str, source: str, sources: Sources) -> Row:
    drawn = (("drawn", line.drawn),) if line.drawn else ()
    return Row(
        text=compose(title, description),
        tag=line.tag,
        source=REAL,
        # Rows with an author each have no siblings, so that each is a topic of its own.
        topic=f"{REAL}:{source}:{line.digest}" if sources.is_divided(source) else f"{REAL}:{source}",
        described=is_described(description),
        title=title,
        tags=line.tags,
        columns=(("family", line.family), ("doubtful", "yes" if line.doubtful else "no"), *drawn),
    )


def _records(path: Path, digests: set[str] | None = None) -> dict[str, tuple[str, str, str]]:
    """Title, description and source of these titles, or of all, by digest; of two with one digest the first."""
    found: dict[str, tuple[str, str, str]] = {}
    for title, description, source in read_packed(path, "title", "description", "source"):
        name = digest(title)
        if digests is None or name in digests:
            found.setdefault(name, (title, description, source))
    return found


def read_packed(path: Path, *columns: str) -> list[tuple[str, ...]]:
    """
    These columns of every record of a packed table of real texts.

    Raises:
        DataError: The file cannot be read, or lacks a column.
    """
    try:
        with gzip.open(path, "rb") as file:
            text = file.read().decode()
        return [
            tuple(record[column] for column in columns) for record in csv.DictReader(io.StringIO(text, newline=""), strict=True)
        ]
    except KeyError as error:
        msg = f"{path} has no column {error}. Next: point TAGSTREAM_REAL at a folder with {path.name}: {', '.join(columns)}."
        raise DataError(msg) from error
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        msg = f"{path} cannot be read: {error}. Next: point TAGSTREAM_REAL at a folder with {path.name}."
        raise DataError(msg) from error


def _line(raw: bytes, where: str) -> RealLine:
    try:
        line = msgspec.json.decode(raw, type=RealLine)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{where} is no label: {error}. Next: see corpus/DATASHEET.md for the fields."
        raise DataError(msg) from error
    read = [reading.tags for reading in line.readings]
    named = {line.tag, *line.tags}.union(*read)
    if not named <= {*LABELS, NOT_ML} or (line.tags and line.tag not in line.tags) or not all(read):
        msg = (
            f"{where} is no label: tag and tags must be of {(*LABELS, NOT_ML)}, tags hold the tag, and each reading has tags. "
            "Next: correct the line."
        )
        raise DataError(msg)
    return line


def names(beginnings: tuple[str, ...], source: str) -> bool:
    """
    Does one of these name the source: itself, or a repository or folder that it is in?

    >>> names(("a/b",), "a/b:README.md"), names(("a/b",), "a/bc:README.md")
    (True, False)
    """
    return any(source == beginning or source.startswith((f"{beginning}:", f"{beginning}/")) for beginning in beginnings)
