"""The argument TEXT|FILE of `tagstream classify`: is it a text or the name of a file, and the event of a text."""

import json
import os
import re
from pathlib import Path

from stream.batch.rows.files import CSV_SUFFIXES, JSON_SUFFIXES
from stream.batch.rows.row import RowsError

SUFFIXES = ", ".join(sorted(CSV_SUFFIXES | JSON_SUFFIXES))
_ENDS_LIKE_A_FILE = re.compile(r"\.[A-Za-z]{2,8}$")


def is_file(argument: str) -> bool:
    """
    Does this argument name a file (or standard input) rather than being a text to classify?

    Raises:
        RowsError: It names a folder.
    """
    path = Path(argument)
    if argument == "-" or path.suffix.lower() in CSV_SUFFIXES | JSON_SUFFIXES:
        return True
    # An empty path is the working directory, and an empty text is a text.
    if not argument or not _exists(path):
        return False
    if path.is_dir():
        msg = (
            f"{argument} is a folder. Next: give a file in it ({SUFFIXES}); should it be a text, give it as an event: "
            f"""echo '{{"title": "..."}}' | tagstream classify -."""
        )
        raise RowsError(msg)
    # A file of another suffix, or a pipe: its first line shows the format.
    return True


def looks_like_a_path(argument: str) -> bool:
    """
    Does an argument that names no existing file look like a path?

    A text may contain a slash. An argument of several words is a path only if it begins like one or its folder exists.

    >>> [looks_like_a_path(text) for text in ("papers.parquet", "data/papers", "/no/such file", "TCP/IP")]
    [True, True, True, True]
    >>> [looks_like_a_path(text) for text in ("A/B tests for models", "Is it 3.5?", "What is MLOps", "")]
    [False, False, False, False]
    """
    if _ENDS_LIKE_A_FILE.search(argument):
        return True
    if os.sep not in argument:
        return False
    begins_so = argument.startswith((os.sep, f".{os.sep}", f"..{os.sep}", f"~{os.sep}"))
    return begins_so or not any(map(str.isspace, argument)) or _exists(Path(argument).parent)


def of_text(text: str) -> bytes:
    """
    The event of a bare title.

    Raises:
        RowsError: The text was not UTF-8 on the command line.
    """
    # How Python keeps the bytes of an argument that are no text.
    strange = next((place for place, character in enumerate(text, start=1) if "\ud800" <= character <= "\udfff"), None)
    if strange is not None:
        msg = f"the text is not UTF-8 (character {strange}). Next: convert it, or set the terminal to UTF-8."
        raise RowsError(msg)
    return json.dumps({"title": text}, ensure_ascii=False).encode()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        # Too long for a name, or with a NUL: a text.
        return False
