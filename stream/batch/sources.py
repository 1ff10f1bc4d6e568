"""Files as the input of a batch: one file, a folder, or a glob; CSV, JSON Lines and Parquet."""

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tagstream.model_export.data.reader import (
    CSV_SUFFIXES,
    JSON_SUFFIXES,
    PARQUET_SUFFIXES,
    Columns,
    RowsError,
    in_chunks,
    open_lines,
)
from tagstream.stream.batch.run import Chunk, RowSource

KNOWN = CSV_SUFFIXES | JSON_SUFFIXES | PARQUET_SUFFIXES
# The columns of JSON Lines, which have none of their own: the fields that the contract of `content` names.
FIELDS = ("id", "title", "description", "created_on", "source")


def files_of(argument: str) -> list[Path]:
    """
    Return the files that an argument names, sorted by name: the file itself, all files below a folder, or the files of a glob.

    In a folder, only files with a readable suffix count. Names that begin with `_` or `.` belong to other programs (`_SUCCESS`), so they
    are left out.

    Raises:
        RowsError: There is no file.
    """
    path = Path(argument)
    if path.is_dir():
        inside = (found for found in path.rglob("*") if found.is_file() and found.suffix.lower() in KNOWN)
        files = sorted(found for found in inside if not any(part[0] in "_." for part in found.relative_to(path).parts))
        expected = f"a folder with files of these suffixes in it: {', '.join(sorted(KNOWN))}"
    elif glob.has_magic(argument) and not path.exists():
        files = sorted(found for name in glob.iglob(argument, recursive=True) if (found := Path(name)).is_file())  # noqa: PTH207 - a glob may begin anywhere
        expected = "a glob that names files, in quotes, so that the shell leaves it alone"
    else:
        return [path]
    if not files:
        msg = f"{argument} names no file to read. Next: give {expected}."
        raise RowsError(msg)
    return files


def source_of(files: list[Path], columns: Columns) -> RowSource:
    """
    Return the files as one source.

    Raises:
        RowsError: A file cannot be opened, columns are missing, or Parquet and other files are mixed.
        ModuleNotFoundError: The files are Parquet, and pyarrow is not installed.
    """
    parquet = [file for file in files if file.suffix.lower() in PARQUET_SUFFIXES]
    if not parquet:
        return LineFiles(files, columns)
    if len(parquet) < len(files):
        other = next(file for file in files if file not in parquet)
        msg = f"{parquet[0]} is Parquet and {other} is not. Next: give files of one kind; a glob such as 'FOLDER/*.parquet' chooses."
        raise RowsError(msg)
    from tagstream.stream.batch.parquet import ParquetFiles

    return ParquetFiles(parquet, columns)


class LineFiles:
    """CSV and JSON Lines files, one after the other. Implements `RowSource`; its size is in bytes."""

    as_in_topic: bool

    schema: Any = None

    def __init__(self, files: list[Path], columns: Columns) -> None:
        """
        Read the headers.

        Raises:
            RowsError: A file cannot be opened or its header cannot be read.
        """
        self._files, self._columns = files, columns
        self.size = float(sum(_bytes(file) for file in files))
        headers = []
        for file in files:
            with open_lines(str(file), columns) as lines:
                headers.append(lines.header)
        # A column that only some files have is empty in the rows of the other files.
        named = dict.fromkeys(name for header in headers for name in (FIELDS if header is None else header))
        self.columns = tuple(name for name in named if name)
        self.as_in_topic = all(header is None for header in headers) and not columns.of_file

    def chunks(self) -> Iterator[Chunk]:
        """See `RowSource`."""
        before = 0
        for file in self._files:
            with open_lines(str(file), self._columns) as lines:
                for rows in in_chunks(lines.rows(go_on=True)):
                    yield Chunk(source=str(file), rows=rows, done=before + lines.done)
                before += lines.done


def _bytes(file: Path) -> int:
    try:
        if file.is_file():
            return file.stat().st_size
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror}. Next: give a file that exists and may be read."
        raise RowsError(msg) from error
    msg = f"{file} is not a regular file, and a batch that was stopped must read its input again. Next: write the rows into a file first."
    raise RowsError(msg)
