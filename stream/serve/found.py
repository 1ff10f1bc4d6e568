"""The answers of a table to the rows of a request. This module needs no database's library: a service without a table does without."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stream.contract.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """
    The table's answers to the rows of a request.

    Attributes:
        answers: The answer object of each row; None where the table has none.
        failed: The table did not answer, so that it has none for any row.
    """

    answers: list[bytes | None]
    failed: bool = False


class Table(Protocol):
    """A table that is asked before the model (`stream.serve.cached.Cached`). Safe for threads."""

    @property
    def is_paused(self) -> bool:
        """Is the table left alone for now?"""
        ...

    def look(self, records: Sequence[Record]) -> Found:
        """The table's answers. Blocks."""
        ...

    def pause(self, error: str) -> None:
        """Leave the table alone for a while, because of this."""
        ...


def nothing(records: Sequence[Record]) -> Found:
    """The result for these rows of a table that does not answer."""
    return Found(answers=[None] * len(records), failed=True)
