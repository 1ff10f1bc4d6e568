"""What `tagstream batch IN OUT` is asked to do: the arguments, and what kind of thing each of them names."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stream.batch.rows.columns import Columns
from stream.batch.sinks.work import Paths

FormatName = Literal["csv", "jsonl", "parquet"]
PREDICTIONS = "predictions"
# The same as SQLAlchemy takes for a user and a password.
USER = re.compile(r"[^:/]*(?::[^@]*)?@")


class UsageError(Exception):
    """The arguments do not say what to read or where to write: the message says why and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    What is to be done.

    Attributes:
        source: A file, a folder, a glob, or `URL#TABLE`.
        out: A file, a folder, or `URL#TABLE`; without a table its name is `predictions`.
        columns: The names of the input for fields of the event.
        form: Of the files of a folder; None: by the suffix of a file, Parquet in a folder.
        fresh: Begin anew, whatever an earlier run has left.
        rejected: The side file; None: named after the output.
        escape_formulas: In CSV, no cell is one that a spreadsheet would compute.
    """

    source: str
    out: str
    columns: Columns
    form: FormatName | None = None
    fresh: bool = False
    rejected: Path | None = None
    escape_formulas: bool = False

    @property
    def side_file(self) -> Path:
        """The file of the rows that are no event. That of a table has a short hash of IN and OUT: several inputs go into one table."""
        if self.rejected is not None:
            return self.rejected
        if not is_url(self.out):
            return Paths(Path(self.out)).rejected
        both = f"{shown(self.source)}\n{shown(self.out)}"
        short = hashlib.blake2b(both.encode(errors="surrogateescape"), digest_size=4).hexdigest()
        return Path(f"{table_of(self.out)[1] or PREDICTIONS}.{short}.rejected.jsonl")


def is_url(argument: str) -> bool:
    """Whether IN or OUT is a table."""
    return "://" in argument


def table_of(argument: str) -> tuple[str, str]:
    """The URL and the name of a table; the name is empty where none is given."""
    url, _, name = argument.rpartition("#")
    return (url, name) if url else (name, "")


def shown(argument: str) -> str:
    """
    IN or OUT for a person: a URL without what stands before its host and without its query, where a password may be.

    >>> shown("postgresql://me:secret@host/db?password=secret#papers"), shown("in/a.csv")
    ('postgresql://host/db#papers', 'in/a.csv')
    """
    if not is_url(argument):
        return argument
    url, name = table_of(argument)
    scheme, _, rest = url.partition("://")
    place = re.split(r"[?&]", USER.sub("", rest, count=1) if USER.match(rest) else rest)[0].rpartition("@")[2]
    return f"{scheme}://{place}{f'#{name}' if name else ''}"
