"""The seam between the rows that are decided and the place where a batch puts them."""

from dataclasses import dataclass
from typing import Protocol

from stream.batch.rows.row import Row
from stream.batch.sinks.tally import Tally
from stream.batch.sources.source import Chunk
from stream.contract.decisions import NeedsReview, Tagged
from stream.contract.publication import Publication


class BatchError(Exception):
    """The batch cannot go on, and nothing that it has written is lost: the message says why and the next step."""

    exit_code = 1


class ChangedError(BatchError):
    """The command is another one than the one that it would go on with: the message names the difference."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """
    One row with a decision.

    Attributes:
        place: Its place in its chunk, from 0.
        row: The row.
        publication: What the stream would publish for it.
        outcome: The decision.
        decided_at: Unix seconds, published as `tagged_at`.
    """

    place: int
    row: Row
    publication: Publication
    outcome: Tagged | NeedsReview
    decided_at: float


class Sink(Protocol):
    """
    An output that knows what is in it, also after a kill at any moment.

    Attributes:
        tally: Counts of all rows that are in the output, or are taken for it.
    """

    tally: Tally

    def missing(self, chunk: Chunk) -> Chunk | None:
        """
        The rows of a chunk that are not in the output yet; None if all are.

        Raises:
            ChangedError: The output holds rows of another input.
        """
        ...

    def put(self, chunk: Chunk, decided: list[Decided], rejected: list[bytes]) -> None:
        """
        Take the outcomes of all rows of a chunk that were missing.

        Args:
            chunk: As `missing` gave it.
            decided: Its rows with a decision, in order.
            rejected: A line of the side file for each other row.

        Raises:
            BatchError: They cannot be written.
        """
        ...

    def finish(self) -> None:
        """
        Make the output whole. No row comes after it.

        Raises:
            BatchError: It cannot be written.
            ChangedError: The output holds more rows than there were.
        """
        ...
