"""Fills the store from the topics, in a thread. The queue is the asked events minus the answered events; a deleted store is filled again.

The topic `reviewed` is read to its end before any other topic, so that an answered event is never shown as open. After that all topics
are read as they grow.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from tagstream.stream.contract.answers import AnsweredEvent, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import DecidedEvent, PublishedDecision, read_decision
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.reports import read_report
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.follower import AGAIN_SECONDS, Follower
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.kafka.reading.reader import Place
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.review.store.records import AskedDecision, CountedDecision, Fact, TimedReport, timed, unix_ms
from tagstream.stream.review.store.store import Store
from tagstream.stream.settings.secret_files import answer_keys
from tagstream.stream.settings.settings import Settings

# Older decisions are not asked about and not counted.
KEEP_DAYS = 90
DAY_MS = 24 * 3600 * 1000
# The pauses between two lookups of reports without a decision, and between two deletions of old rows.
MATCH_SECONDS, PRUNE_SECONDS = 1.0, 3600.0
NEEDED = ("review", "reviewed")
# Topics that may be missing. The follower looks for a missing topic again.
OPTIONAL = ("audit", "reports", "tagged")
MISSING = "the console works without them; `tagstream doctor --create-topics` makes them"


class StoreFollower(Follower):
    """
    Keeps a store up to date with the topics.

    A failure of the brokers or the store is logged and retried. Any other exception ends the thread, and `check` raises the exception.

    Attributes:
        ready: Set when all answers from before the start are known. From then on no answered event is shown as open.
        trouble: The reason why the topics are not being read; None while they are being read.
    """

    noun = "store"
    remedy = "delete the store, or give another one by --store"

    def __init__(
        self, store: Store, settings: Settings, *, keep_days: int = KEEP_DAYS, clock: Callable[[], int] = unix_ms
    ) -> None:
        """
        Prepare the thread. Nothing is read yet.

        Args:
            store: The store to fill.
            settings: Brokers and topics, and the keys of answers.
            keep_days: The age in days beyond which decisions are deleted.
            clock: Returns Unix milliseconds.

        Raises:
            SecurityError: The file of the keys cannot be used.
        """
        self._store = store
        self._keys = answer_keys(settings.security)
        self._keep_ms = keep_days * DAY_MS
        self._clock = clock
        super().__init__(
            settings,
            store.name,
            log="tagstream.review",
            first=[settings.topics.reviewed],
            # `tagged` is read only for the totals, and only as far back as the store keeps decisions.
            begin_at={settings.topics.tagged: lambda: clock() - self._keep_ms},
        )
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._failure: BaseException | None = None
        self._missing: frozenset[str] = frozenset()
        self._matched, self._pruned = time.monotonic(), float("-inf")
        self.ready = threading.Event()
        self.trouble: str | None = None

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the thread. The wait is bounded by the brokers' timeout (`startup_timeout_seconds`)."""
        self.stop.set()
        self._thread.join(timeout=self._settings.startup_timeout_seconds + AGAIN_SECONDS)

    def check(self) -> None:
        """
        Raise the exception that has ended the thread, if the thread has ended.

        Raises:
            MismatchError: The store was filled from other topics.
            TopicsMissingError: `review` or `reviewed` does not exist.
            NotAuthorizedError: This user may not read a topic; the message has the missing ACL.
            Exception: The thread has ended for another reason.
        """
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self.run()
        except BaseException as error:  # noqa: BLE001 - the thread's owner raises it, in `check`
            self._failure = error

    def topics(self) -> list[str]:
        """
        Return the topics that exist.

        Raises:
            TopicsMissingError: `review` or `reviewed` does not exist.
            NotAuthorizedError: This user may not read a topic that exists.
        """
        topics = self._settings.topics
        named = {name: getattr(topics, name) for name in (*NEEDED, *OPTIONAL)}
        found = admin.describe(self._settings, named.values())
        missing = frozenset(named[name] for name in OPTIONAL if found[named[name]].partitions is None)
        there = {name: topic for name, topic in named.items() if topic not in missing}
        admin.require(self._settings, there, operations=dict.fromkeys(there, Operation.READ), found=found)
        if missing - self._missing:
            self._log.warning("topics_missing", topics=sorted(missing), next=MISSING)
        self._missing = missing
        return list(there.values())

    def positions(self) -> Mapping[Place, int]:
        """Return the offsets up to which the store is filled."""
        return self._store.writer.positions()

    def caught_up(self) -> None:
        """Note that all answers from before the start are known."""
        self.ready.set()
        self.trouble = None

    def failed(self, error: BrokerUnreachableError | DatabaseUnavailableError) -> None:
        """Show the failure in the console."""
        self.trouble = str(error)

    def take(self, records: Sequence[Record], reached: Mapping[Place, int]) -> None:
        """Add the facts of the records. At intervals, look up the events that readers reported and delete old rows."""
        if records or reached:
            self._store.writer.fill([fact for record in records for fact in self._facts(record)], reached)
        now = time.monotonic()
        if self.ready.is_set() and now - self._matched > MATCH_SECONDS:
            self._match()
            self._matched = now
        if self.ready.is_set() and now - self._pruned > PRUNE_SECONDS:
            self._store.writer.prune(self._keep_ms)
            self._pruned = now

    def _facts(self, record: Record) -> list[Fact]:
        """
        Return the facts of a record.

        A record that cannot be read has no facts. A reviewer's decision has no facts either, because its answer is on `reviewed`.
        """
        topics = self._settings.topics
        found: AnsweredEvent | PublishedDecision | TimedReport | Refusal
        if record.topic == topics.reviewed:
            found = read_answer(record, keys=self._keys)
        elif record.topic == topics.reports:
            report = read_report(record)
            found = report if isinstance(report, Refusal) else timed(report, record, self._clock())
        else:
            found = read_decision(record)
        match found:
            case Refusal():
                self.left_out(record, found.message)
                return []
            case DecidedEvent():
                # A decision on `audit` is on `tagged` too, and is counted there.
                counted: list[Fact] = [CountedDecision(item=found)] if found.door != "audit" else []
                return [*counted, AskedDecision(item=found)] if record.topic != topics.tagged else counted
            case AnsweredEvent() | TimedReport():
                return [found]
            case PublishedDecision():
                return []

    def _match(self) -> None:
        """Put the tagged decisions that readers reported into the queue."""
        unmatched = self._store.writer.unmatched()
        if not unmatched:
            return
        with log_of(self._settings, self._settings.topics.tagged) as tagged:
            for event_id, partition, offset in unmatched:
                decided = _looked_up(tagged.read({partition: offset}, {partition: offset + 1}), event_id)
                if decided is None:
                    self._store.writer.forget_place(event_id)
                else:
                    self._store.writer.fill([AskedDecision(item=decided)], {})


def _looked_up(records: Iterable[Record], event_id: str) -> DecidedEvent | None:
    """Return the model's decision on this event from the records; None if the records have no such decision (any more)."""
    found = [one for one in map(read_decision, records) if isinstance(one, DecidedEvent) and one.event.id == event_id]
    return found[0] if found else None
