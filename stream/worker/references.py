"""The topic `references`: what the group has learned of its ordinary stream. Read beside the delivery, in the thread of the watch for drift."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec

from monitoring.drift.learning import Note
from stream.contract.record import Record
from stream.kafka.errors import BrokerUnreachableError
from stream.kafka.reading.log import Log, log_of
from stream.logs import logger
from stream.settings.settings import Settings

READ_SECONDS = 5.0
# After a failure the brokers are left alone for so long.
PAUSE_SECONDS = 30.0

log = logger("tagstream.drift")


def notes(records: Iterator[Record]) -> Iterator[Note]:
    """The notes in some records; a record that is none is left out and logged."""
    for record in records:
        try:
            yield msgspec.json.decode(record.value or b"", type=Note)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("drift_note_unreadable", topic=record.topic, offset=record.offset, why=str(error))


class References:
    """Reads the topic from its beginning on. Its methods are called from one thread at a time, and wait for brokers within a bound."""

    def __init__(self, settings: Settings) -> None:
        """Connect at the first `read`."""
        self._settings = settings
        self._stack = ExitStack()
        self._log: Log | None = None
        self._next: dict[int, int] = {}
        self._due = 0.0

    def read(self) -> list[Note]:
        """The notes that came since the last call; none within `READ_SECONDS` of it, or while the brokers do not answer."""
        now = time.monotonic()
        if now < self._due:
            return []
        self._due = now + READ_SECONDS
        try:
            if self._log is None:
                self._log = self._stack.enter_context(log_of(self._settings, self._settings.topics.references))
            ends = self._log.ends()
            if ends == self._next:
                return []
            found = list(notes(self._log.read(dict.fromkeys(ends, 0) | self._next, ends)))
        except BrokerUnreachableError as error:
            log.warning("drift_references_unread", why=str(error), again_seconds=PAUSE_SECONDS)
            self._due = now + PAUSE_SECONDS
            self.close()
            return []
        self._next = ends
        return found

    def close(self) -> None:
        """Give the connection back; a later `read` makes another."""
        self._stack.close()
        self._log = None
