"""Copies the decisions on `tagged` and `review` into a table of predictions, so that a query finds the decision that holds for an event."""

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
    Reads decisions into a table until `stop` is set. With `once`, it stops at the ends that the topics had when it began.

    A failure of the brokers or the database after the start is logged, and the follower tries again. With `once`, or at the start, the
    failure is raised.

    Attributes:
        decisions: The number of records that were read.
        written: The number of rows that were new or were replaced.
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
            stop: Ends the follower when set.
            once: Stop at the ends that the topics have at the start.
        """
        own = [getattr(settings.topics, role) for role in ROLES]
        super().__init__(settings, predictions.name, log="tagstream.tags", stop=stop, first=own if once else ())
        self._predictions = predictions
        self._once = once
        self.decisions = 0
        self.written = 0

    def topics(self) -> list[str]:
        """Return both topics, which must exist."""
        named = {role: getattr(self._settings.topics, role) for role in ROLES}
        admin.require(self._settings, named, operations=dict.fromkeys(named, Operation.READ))
        return list(named.values())

    def positions(self) -> Mapping[Place, int]:
        """Return the next offsets, which the table keeps."""
        return self._predictions.positions()

    def caught_up(self) -> None:
        """End the follower if it reads `once`."""
        if self._once:
            self.stop.set()

    def failed(self, error: BrokerUnreachableError | DatabaseUnavailableError) -> None:
        """Raise the error at the start, or if the follower reads `once`."""
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
            # One refused row would keep all others out of the table. So each row is written alone.
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
