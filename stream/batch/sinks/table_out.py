"""A table of predictions as the output of a batch. The table itself says what is decided already, so there is no other state."""

from pathlib import Path

from monitoring.vocabulary import Destination
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
from stream.tables.row import PredictionRow, hash_of_text, row_of


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
        """
        self._predictions, self._model, self._limits, self._fresh = predictions, model, limits, fresh
        self._rejected = rejected
        self._growing = rejected.with_name(f"{rejected.name}.new")
        with writing(self._growing):
            self._lines = self._growing.open("wb")
        self.tally = Tally()

    def missing(self, chunk: Chunk) -> Chunk | None:
        """As of `Sink`."""
        if self._fresh:
            return chunk
        texts: dict[int, tuple[str, str]] = {}
        for place, row in enumerate(chunk.rows):
            event = decode(Record(key=None, value=row.value), self._limits)
            if row.fault is None and not isinstance(event, Refusal):
                texts[place] = prediction_id(event.id, self._model), hash_of_text(event.title, event.description)
        known = self._predictions.known_texts(name for name, _ in texts.values())
        wanted = [
            place for place in range(len(chunk.rows)) if place not in texts or known.get(texts[place][0]) != texts[place][1]
        ]
        held = len(chunk.rows) - len(wanted)
        self.tally.rows += held
        self.tally.kept += held
        return chunk.only(wanted) if wanted else None

    def put(self, chunk: Chunk, decided: list[Decided], rejected: list[bytes]) -> None:
        """
        As of `Sink`.

        Raises:
            DatabaseUnavailableError: The database does not answer within its bound.
        """
        del chunk
        # Of rows with one id and one text the first one stays, as it would over two chunks.
        rows: dict[str, PredictionRow] = {}
        for found in decided:
            row = row_of(found.publication)
            before = rows.get(row.prediction_id) if row is not None else None
            if row is not None and (before is None or before.text_hash != row.text_hash):
                rows[row.prediction_id] = row
            self.tally.count(found.publication.destination)
        self._predictions.upsert(rows.values())
        with writing(self._growing):
            self._lines.writelines(rejected)
        for _ in rejected:
            self.tally.count(Destination.DLQ)

    def finish(self) -> None:
        """As of `Sink`."""
        with writing(self._rejected):
            self._lines.close()
            if self.tally.rejected:
                self._growing.replace(self._rejected)
            else:
                self._growing.unlink()
                self._rejected.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Close the side file, also where the run has not ended."""
        self._lines.close()
