"""The counts of a batch."""

from dataclasses import dataclass

from monitoring.vocabulary import Destination


@dataclass(slots=True, kw_only=True)
class Tally:
    """
    How many rows there were and what became of them; every row is counted in one of the others.

    Attributes:
        rows: Rows of the input so far.
        tagged: Rows that the model is sure of.
        review: Rows that a person should see.
        rejected: Rows that are no event; they are in the side file.
        kept: Rows for which a table needs no decision: it holds one, or a later row has the id.
    """

    rows: int = 0
    tagged: int = 0
    review: int = 0
    rejected: int = 0
    kept: int = 0

    def count(self, destination: Destination) -> None:
        """One row more."""
        self.rows += 1
        match destination:
            case Destination.TAGGED:
                self.tagged += 1
            case Destination.REVIEW:
                self.review += 1
            case Destination.DLQ:
                self.rejected += 1
