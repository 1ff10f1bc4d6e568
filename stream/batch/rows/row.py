"""A row of a file of events, and the error for a file that cannot be read as rows."""

from dataclasses import dataclass


class RowsError(Exception):
    """The file cannot be read as rows: the message has the file, the place, the reason and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Row:
    """
    One event value of a file.

    Attributes:
        line: The line on which it begins, from 1, blank ones counted: where an editor finds it.
        value: Its bytes.
    """

    line: int
    value: bytes


def name_of(argument: str) -> str:
    """The name of the input in sentences."""
    return "standard input" if argument == "-" else argument
