"""The topic `references`: the group's notes on its ordinary stream. The drift thread reads them beside the delivery."""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from tagstream.monitoring.drift.learning import NoteRefusedError, ReferenceNote, read_note
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.admin import require
from tagstream.stream.kafka.errors import BrokerUnreachableError, NotAuthorizedError, TopicsMissingError
from tagstream.stream.kafka.reading.log import Log, log_of
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

READ_SECONDS = 5.0
# The wait after a failure of the brokers.
PAUSE_SECONDS = 30.0

log = logger("tagstream.drift")


def fold(records: Iterable[Record], take: Callable[[ReferenceNote], None]) -> None:
    """Give the notes in the records to `take`, one by one, to save memory. All refused notes are logged in one line."""
    now_ms, skipped, last = int(time.time() * 1000), 0, {}
    for record in records:
        try:
            take(read_note(record.value or b"", now_ms))
        except NoteRefusedError as error:
            skipped, last = skipped + 1, {"topic": record.topic, "offset": record.offset, "why": str(error)}
    if skipped:
        log.warning("drift_notes_skipped", records=skipped, **last)


class References:
    """Reads the topic from its beginning on. Only one thread may call its methods at a time. Each wait for brokers has a bound."""

    def __init__(self, settings: Settings) -> None:
        """The first `read` connects."""
        self._settings = settings
        self._stack = ExitStack()
        self._log: Log | None = None
        self._next: dict[int, int] = {}
        self._due = 0.0
        self._why = ""

    def read(self, take: Callable[[ReferenceNote], None]) -> None:
        """
        Give the notes that came since the last call to `take`.

        Does nothing within `READ_SECONDS` of the last read, or within `PAUSE_SECONDS` of a failure: the brokers do not answer, or this user
        cannot read the topic. If the brokers fail in the middle, the next call gives the same notes again.
        """
        if time.monotonic() < self._due:
            return
        try:
            if self._log is None:
                self._log = self._open()
            ends = self._log.ends()
            if ends != self._next:
                fold(self._log.read(dict.fromkeys(ends, 0) | self._next, ends), take)
                self._next = ends
            self._why, pause = "", READ_SECONDS
        except (BrokerUnreachableError, NotAuthorizedError, TopicsMissingError) as error:
            # Once for each reason: `serve` may run for months without brokers.
            if str(error) != self._why:
                log.warning("drift_references_unread", why=str(error), again_seconds=PAUSE_SECONDS)
            self._why, pause = str(error), PAUSE_SECONDS
            self.close()
        # Counted from here, because a failure may have taken as long as the pause.
        self._due = time.monotonic() + pause

    def _open(self) -> Log:
        # Asked for first: a consumer's question for a topic that does not exist would create it on some clusters.
        topic = self._settings.topics.references
        require(self._settings, {"references": topic}, operations={"references": Operation.READ})
        return self._stack.enter_context(log_of(self._settings, topic))

    def again(self) -> None:
        """Let the next `read` start at the topic's beginning, because another watch needs the group's notes on its own model."""
        self._next, self._due = {}, 0.0

    def close(self) -> None:
        """Close the connection; a later `read` opens another."""
        self._stack.close()
        self._log = None
