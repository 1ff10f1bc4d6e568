"""A row of a file of events, and the error for a file that cannot be read as rows."""

from dataclasses import dataclass
from typing import NamedTuple


class RowsError(Exception):
    """The file cannot be read as rows: the message has the file, the place, the reason and the next step."""

    exit_code = 2


class Fault(NamedTuple):
    """Why some lines of a file are no row: the code of a dead letter, or `not_csv`, and a message without their text."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """
    One event value of a file.

    Attributes:
        line: The line on which it begins, from 1, blank ones counted: where an editor finds it.
        value: Its bytes.
        fault: Why it is no row, where the reader was told to go on behind such lines; `value` then is the lines as they came.
    """

    line: int
    value: bytes
    fault: Fault | None = None


def name_of(argument: str) -> str:
    """The name of the input in sentences."""
    return "standard input" if argument == "-" else argument
