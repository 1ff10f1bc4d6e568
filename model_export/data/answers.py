"""Training rows from people's answers, in the file that `tagstream review --export FILE --form rows` writes."""

import hashlib
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.files import read_whole
from tagstream.model_export.bundle.text import compose, is_described
from tagstream.model_export.data.corpus import NOT_ML, PLAIN
from tagstream.model_export.data.madewithml import LABELS, DataError
from tagstream.model_export.data.row import Row
from tagstream.monitoring.vocabulary import OFF_SUBJECT


class AnswerLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of the file: the text of an event and the label that a person gave."""

    id: str
    title: str
    tag: str
    description: str | None = None


def read_answers(path: Path) -> list[Row]:
    """
    Read the training rows for the shipped model, in the order of the lines.

    Raises:
        DataError: As `read_lines`, or the tag of a line is not a shipped label.
    """
    rows = []
    for number, line in read_lines(path):
        if line.tag not in {*LABELS, OFF_SUBJECT}:
            msg = f"{path}:{number} is no row: its tag is none of {(*LABELS, OFF_SUBJECT)}. Next: leave the line out."
            raise DataError(msg)
        rows.append(row_of(line, tag=NOT_ML if line.tag == OFF_SUBJECT else line.tag, source=PLAIN))
    return rows


def read_lines(path: Path) -> list[tuple[int, AnswerLine]]:
    """
    Read the lines and their line numbers. Any label is accepted.

    Raises:
        DataError: The file cannot be read or is empty, or a line is not a row. The message names the line.
    """
    try:
        raw = read_whole(path)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: give a file that `tagstream review --export FILE --form rows` wrote."
        raise DataError(msg) from error
    lines = [(number, _line(line, f"{path}:{number}")) for number, line in enumerate(raw.splitlines(), start=1) if line.strip()]
    if not lines:
        msg = f"{path} holds no answers. Next: answer some events, and export again."
        raise DataError(msg)
    return lines


def row_of(line: AnswerLine, *, tag: str, source: str) -> Row:
    """Return the training row of a line, with the given tag and source."""
    return Row(
        text=compose(line.title, line.description),
        tag=tag,
        source=source,
        topic=f"answer:{line.id}",
        described=is_described(line.description),
        title=line.title,
        answered=True,
    )


def digest(path: Path) -> dict[str, str]:
    """Return the SHA-256 of the file, by file name, for a manifest."""
    return {path.name: hashlib.sha256(read_whole(path)).hexdigest()}


def _line(raw: bytes, where: str) -> AnswerLine:
    try:
        line = msgspec.json.decode(raw, type=AnswerLine)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{where} is no row: {error}. Next: write the file with `tagstream review --export FILE --form rows`."
        raise DataError(msg) from error
    if not (line.title.strip() and line.tag.strip()):
        msg = f"{where} is no row: its title or its tag is empty. Next: leave the line out."
        raise DataError(msg)
    return line
