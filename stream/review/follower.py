"""Fills the store from the topics, in a thread: the queue is what was asked minus what was answered, and a deleted store comes back.

The topic `reviewed` is read to its end before any other, so that no event is shown as open that has an answer. After that all topics
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

# Decisions that are older are not asked about and not counted.
KEEP_DAYS = 90
DAY_MS = 24 * 3600 * 1000
# How often reports without a decision are looked up, and what is old is forgotten.
MATCH_SECONDS, PRUNE_SECONDS = 1.0, 3600.0
NEEDED = ("review", "reviewed")
# A topic that is not there yet is looked for again.
OPTIONAL = ("audit", "reports", "tagged")
MISSING = "the console works without them; `tagstream doctor --create-topics` makes them"


class StoreFollower(Follower):
    """
    Keeps a store as new as the topics. `ready` is set when all answers are known that were given before the start.

    A failure of brokers or store is logged and tried again; `trouble` has it meanwhile. Any other ends the thread; `check` raises it.

    Attributes:
        ready: No event that has an answer is shown as open from now on.
        trouble: Why the topics are not read at the moment; None while they are.
    """

    noun = "store"
    remedy = "delete the store, or give another one by --store"

    def __init__(
        self, store: Store, settings: Settings, *, keep_days: int = KEEP_DAYS, clock: Callable[[], int] = unix_ms
    ) -> None:
        """
        Read nothing yet.

        Args:
            store: To be filled.
            settings: Brokers and topics, and the keys of answers.
            keep_days: Decisions that are older are forgotten.
            clock: Unix milliseconds.

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
            # All that is published is read for the totals alone: as much of it as is kept.
            begin_at={settings.topics.tagged: lambda: clock() - self._keep_ms},
        )
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._failure: BaseException | None = None
        self._missing: frozenset[str] = frozenset()
        self._matched, self._pruned = time.monotonic(), float("-inf")
        self.ready = threading.Event()
        self.trouble: str | None = None

    def __enter__(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End, within the bound of an answer of the brokers."""
        self.stop.set()
        self._thread.join(timeout=self._settings.startup_timeout_seconds + AGAIN_SECONDS)

    def check(self) -> None:
        """
        Does it still read?

        Raises:
            MismatchError: The store was filled from other topics.
            TopicsMissingError: `review` or `reviewed` does not exist.
            NotAuthorizedError: This user may not read a topic; the message has the missing ACL.
            Exception: Another reason why the thread ended.
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
        The topics that there are.

        Raises:
            TopicsMissingError: `review` or `reviewed` is not among them.
            NotAuthorizedError: This user may not read one that is there.
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
        """Where the store stands."""
        return self._store.writer.positions()

    def caught_up(self) -> None:
        """All answers are known that were given before the start."""
        self.ready.set()
        self.trouble = None

    def failed(self, error: BrokerUnreachableError | DatabaseUnavailableError) -> None:
        """Tell it to the console."""
        self.trouble = str(error)

    def take(self, records: Sequence[Record], reached: Mapping[Place, int]) -> None:
        """Add the facts of the records; look up the events that readers complain of, and forget what is old."""
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
        """The facts of a record: none of one that cannot be read, nor of a reviewer's decision, whose answer is on `reviewed`."""
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
                # An audit's copy is on `tagged` too, where it is counted.
                counted: list[Fact] = [CountedDecision(item=found)] if found.door != "audit" else []
                return [*counted, AskedDecision(item=found)] if record.topic != topics.tagged else counted
            case AnsweredEvent() | TimedReport():
                return [found]
            case PublishedDecision():
                return []

    def _match(self) -> None:
        """Bring tagged decisions that readers complain of before a reviewer."""
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
    """The decision at the place of a tagged event; None if it has gone, is another event's, or a reviewer's."""
    found = [one for one in map(read_decision, records) if isinstance(one, DecidedEvent) and one.event.id == event_id]
    return found[0] if found else None
