"""A table of predictions as the output of a batch. The table itself says what is decided already, so there is no other state."""

from pathlib import Path

from monitoring.vocabulary import Destination
from stream.batch.sinks import side_file
from stream.batch.sinks.sink import Decided
from stream.batch.sinks.tally import Tally
from stream.batch.sinks.work import writing
from stream.batch.sources.source import Chunk
from stream.contract.decisions import prediction_id
from stream.contract.events import decode
from stream.contract.limits import Limits
from stream.contract.record import Record
from stream.contract.refusal import Refusal
from stream.tables.predictions import Predictions
from stream.tables.row import hash_of_text, row_of


class TableOut:
    """
    Implements `Sink` by one transaction for each chunk.

    A row whose event has a decision of this model on the same text in the table is not decided again. Of rows with one id and different
    texts the last one stays.

    Attributes:
        tally: Counts of the rows so far.
    """

    def __init__(self, predictions: Predictions, *, model: str, limits: Limits, rejected: Path, fresh: bool = False) -> None:
        """
        Write into a table that is open.

        Args:
            predictions: The table.
            model: The identity of the model that decides.
            limits: Those of the pipeline.
            rejected: The side file; each run writes it anew, since each run reads all rows.
            fresh: Decide on all rows again.

        Raises:
            BatchError: Another run writes this side file, or it cannot be written.
        """
        self._predictions, self._model, self._limits, self._fresh = predictions, model, limits, fresh
        self._rejected = rejected
        self._lines = side_file.grow(rejected)
        self.tally = Tally()

    def missing(self, chunk: Chunk) -> Chunk | None:
        """As of `Sink`."""
        texts: dict[int, tuple[str, str]] = {}
        # Of rows with one id the last one stays, and of those with one text the first one, here as over two chunks.
        holding: dict[str, int] = {}
        for place, row in enumerate(chunk.rows):
            event = decode(Record(key=None, value=row.value), self._limits)
            if row.fault is None and not isinstance(event, Refusal):
                name, text = prediction_id(event.id, self._model), hash_of_text(event.title, event.description)
                texts[place] = name, text
                if name not in holding or texts[holding[name]][1] != text:
                    holding[name] = place
        known = {} if self._fresh else self._predictions.known_texts(holding)
        needed = {place for name, place in holding.items() if known.get(name) != texts[place][1]}
        wanted = [place for place in range(len(chunk.rows)) if place not in texts or place in needed]
        self.tally.rows += len(chunk.rows) - len(wanted)
        self.tally.kept += len(chunk.rows) - len(wanted)
        return chunk.only(wanted) if wanted else None

    def put(self, chunk: Chunk, decided: list[Decided], rejected: list[bytes]) -> None:
        """
        As of `Sink`.

        Raises:
            DatabaseUnavailableError: The database does not answer within its bound.
        """
        del chunk
        rows = [row for found in decided if (row := row_of(found.publication)) is not None]
        self._predictions.upsert(rows)
        for found in decided:
            self.tally.count(found.publication.destination)
        with writing(side_file.beside(self._rejected)):
            self._lines.writelines(rejected)
        for _ in rejected:
            self.tally.count(Destination.DLQ)

    def finish(self) -> None:
        """As of `Sink`."""
        with writing(self._rejected):
            if self.tally.rejected:
                side_file.put(self._rejected, self._lines)
            else:
                side_file.remove(self._rejected)
        self.let_go()

    def let_go(self) -> None:
        """Close the side file, also where the run has not ended."""
        self._lines.close()
