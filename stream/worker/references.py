"""The topic `references`: what the group has learned of its ordinary stream. Read beside the delivery, in the thread of the watch for drift."""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from tagstream.monitoring.drift.learning import NoteRefusedError, ReferenceNote, read_note
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.reading.log import Log, log_of
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

READ_SECONDS = 5.0
# After a failure the brokers are left alone for so long.
PAUSE_SECONDS = 30.0

log = logger("tagstream.drift")


def fold(records: Iterable[Record], take: Callable[[ReferenceNote], None]) -> None:
    """Give the notes in some records to `take`, one by one: all at once could take all memory. Those that are refused are logged in one line."""
    now_ms, skipped, last = int(time.time() * 1000), 0, {}
    for record in records:
        try:
            take(read_note(record.value or b"", now_ms))
        except NoteRefusedError as error:
            skipped, last = skipped + 1, {"topic": record.topic, "offset": record.offset, "why": str(error)}
    if skipped:
        log.warning("drift_notes_skipped", records=skipped, **last)


class References:
    """Reads the topic from its beginning on. Its methods are called from one thread at a time, and wait for brokers within a bound."""

    def __init__(self, settings: Settings) -> None:
        """Connect at the first `read`."""
        self._settings = settings
        self._stack = ExitStack()
        self._log: Log | None = None
        self._next: dict[int, int] = {}
        self._due = 0.0

    def read(self, take: Callable[[ReferenceNote], None]) -> None:
        """
        Give the notes that came since the last call to `take`; none within `READ_SECONDS` of it, or while the brokers do not answer.

        Where the brokers fail in the middle, the next call gives the same notes again.
        """
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + READ_SECONDS
        try:
            if self._log is None:
                self._log = self._stack.enter_context(log_of(self._settings, self._settings.topics.references))
            ends = self._log.ends()
            if ends != self._next:
                fold(self._log.read(dict.fromkeys(ends, 0) | self._next, ends), take)
                self._next = ends
        except BrokerUnreachableError as error:
            log.warning("drift_references_unread", why=str(error), again_seconds=PAUSE_SECONDS)
            self._due = now + PAUSE_SECONDS
            self.close()

    def again(self) -> None:
        """Let the next `read` begin at the topic's beginning: another watch needs what the group has learned for its model."""
        self._next, self._due = {}, 0.0

    def close(self) -> None:
        """Give the connection back; a later `read` makes another."""
        self._stack.close()
        self._log = None
