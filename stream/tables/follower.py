"""Keeps a table of predictions as new as `tagged` and `review`, so that a query says which decision of an event holds."""

import threading
from collections.abc import Iterable, Mapping, Sequence

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import read_decision
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.database.database import DatabaseRefusedError, DatabaseUnavailableError
from tagstream.stream.follower import Follower
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.reading.reader import Place
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.settings.settings import Settings
from tagstream.stream.tables.predictions import Predictions
from tagstream.stream.tables.row import PredictionRow, row_of_record

ROLES = ("tagged", "review")


class TableFollower(Follower):
    """
    Reads decisions into a table, until `stop` is set, or with `once` until their ends as they are at the start.

    A failure of brokers or database after the start is logged and tried again; with `once`, and at the start, it is raised.

    Attributes:
        decisions: Records that were read.
        written: Rows that were new or were replaced.
    """

    noun = "table"
    remedy = "give another table by --table, or drop this one with what bears its name"

    def __init__(
        self, settings: Settings, predictions: Predictions, stop: threading.Event | None = None, *, once: bool = False
    ) -> None:
        """
        Read nothing yet.

        Args:
            settings: Brokers and topics.
            predictions: The table, opened as `followed`.
            stop: Ends it.
            once: End where the topics end.
        """
        own = [getattr(settings.topics, role) for role in ROLES]
        super().__init__(settings, predictions.name, log="tagstream.tags", stop=stop, first=own if once else ())
        self._predictions = predictions
        self._once = once
        self.decisions = 0
        self.written = 0

    def topics(self) -> list[str]:
        """Both topics, which must be there."""
        named = {role: getattr(self._settings.topics, role) for role in ROLES}
        admin.require(self._settings, named, operations=dict.fromkeys(named, Operation.READ))
        return list(named.values())

    def positions(self) -> Mapping[Place, int]:
        """Where the table stands."""
        return self._predictions.positions()

    def caught_up(self) -> None:
        """The end, where they are read once."""
        if self._once:
            self.stop.set()

    def failed(self, error: BrokerUnreachableError | DatabaseUnavailableError) -> None:
        """Raise it at the start, and where the topics are read once."""
        if self._once or not self.started:
            raise error

    def take(self, records: Sequence[Record], reached: Mapping[Place, int]) -> None:
        """Write the rows of decisions."""
        if not records and not reached:
            return
        read = list(self._rows(records))
        try:
            self.written += self._predictions.upsert([row for _, row in read], reached)
        except DatabaseRefusedError:
            # One of them would keep all others out of the table for ever.
            for record, row in read:
                self._write_alone(record, row)
            self.written += self._predictions.upsert([], reached)
        self.decisions += len(records)

    def _write_alone(self, record: Record, row: PredictionRow) -> None:
        try:
            self.written += self._predictions.upsert([row])
        except DatabaseRefusedError as error:
            self.left_out(record, str(error))

    def _rows(self, records: Iterable[Record]) -> Iterable[tuple[Record, PredictionRow]]:
        for record in records:
            found = read_decision(record)
            if not isinstance(found, Refusal) and found.door in ROLES:
                yield record, row_of_record(found)
            else:
                self.left_out(record, found.message if isinstance(found, Refusal) else "it is a copy for an audit")
