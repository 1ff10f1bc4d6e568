"""Rows to train on that people's answers gave: the file that `tagstream review export --form rows` writes."""

import hashlib
from pathlib import Path

import msgspec

from model_export.bundle.files import read_whole
from model_export.bundle.text import compose, is_described
from model_export.data.corpus import NOT_ML, PLAIN
from model_export.data.madewithml import LABELS, DataError
from model_export.data.row import Row


class AnswerLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line: an event's text, and what a person said that it is about."""

    id: str
    title: str
    tag: str
    description: str | None = None


def read_answers(path: Path) -> list[Row]:
    """
    Read the rows, in the order of lines.

    Raises:
        DataError: The file cannot be read or is empty, or a line is no row of a known label; the message names the line.
    """
    try:
        raw = read_whole(path)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: give a file that `tagstream review export --form rows` wrote."
        raise DataError(msg) from error
    rows = [_row(line, f"{path}:{number}") for number, line in enumerate(raw.splitlines(), start=1) if line.strip()]
    if not rows:
        msg = f"{path} holds no answers. Next: answer some events, and export again."
        raise DataError(msg)
    return rows


def digest(path: Path) -> dict[str, str]:
    """The SHA-256 of the file, by its name; a manifest keeps it."""
    return {path.name: hashlib.sha256(read_whole(path)).hexdigest()}


def _row(raw: bytes, where: str) -> Row:
    try:
        line = msgspec.json.decode(raw, type=AnswerLine)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{where} is no row: {error}. Next: write the file with `tagstream review export --form rows`."
        raise DataError(msg) from error
    if line.tag not in {*LABELS, NOT_ML} or not line.title.strip():
        msg = f"{where} is no row: its tag is none of {(*LABELS, NOT_ML)}, or its title is empty. Next: leave the line out."
        raise DataError(msg)
    return Row(
        text=compose(line.title, line.description),
        tag=line.tag,
        source=PLAIN,
        topic=f"answer:{line.id}",
        described=is_described(line.description),
        title=line.title,
    )
