"""Fills the store from the topics, in a thread: the queue is what was asked minus what was answered, and a deleted store comes back.

The topic `reviewed` is read to its end before any other, so that no event is shown as open that has an answer. After that all topics
are read as they grow. Where they are read on is kept in the store, in the same transaction as what was read.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Self

from stream.contract.answers import read_answer
from stream.contract.published import PublishedDecision, read_decision
from stream.contract.record import Record
from stream.contract.refusal import Refusal
from stream.contract.reports import read_report
from stream.database.database import DatabaseUnavailableError
from stream.kafka import admin
from stream.kafka.errors import BrokerUnreachableError
from stream.kafka.reading.log import log_of
from stream.kafka.reading.resumed import Resumed, resumed
from stream.kafka.rights import Operation
from stream.logs import logger
from stream.review.store.changes import Change
from stream.review.store.store import Store, unix_ms
from stream.review.translation import answered, decided, published, reported
from stream.settings.secret_files import answer_keys
from stream.settings.settings import Settings

# Decisions that are older are not asked about and not counted.
KEEP_DAYS = 90
DAY_MS = 24 * 3600 * 1000
# After a failure of brokers or store.
AGAIN_SECONDS = 2.0
# How often reports without a decision are looked up, partitions and topics are counted, and what is old is forgotten.
MATCH_SECONDS, LOOK_SECONDS, PRUNE_SECONDS = 1.0, 15.0, 3600.0
NEEDED = ("review", "reviewed")
# What is not there yet is looked for again after `LOOK_SECONDS`.
OPTIONAL = ("audit", "reports", "tagged")
MISSING = "the console works without them; `tagstream doctor --create-topics` makes them"

log = logger("tagstream.review")


class StoreMismatchError(Exception):
    """The store was filled from other topics than these: the message says which, and the next step."""

    exit_code = 2


class Follower:
    """
    Keeps a store as new as the topics. `ready` is set when all answers are known that were given before the start.

    A failure of brokers or store is logged and tried again; `trouble` has it meanwhile. Any other ends the thread; `check` raises it.

    Attributes:
        ready: No event that has an answer is shown as open from now on.
        trouble: Why the topics are not read at the moment; None while they are.
        behind: Records that are not read yet, at the last look.
        unreadable: Records that were left out because they are not of the contract.
    """

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
        self._settings = settings
        self._keys = answer_keys(settings.security)
        self._keep_ms = keep_days * DAY_MS
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._failure: BaseException | None = None
        self._missing: frozenset[str] = frozenset()
        self.ready = threading.Event()
        self.trouble: str | None = None
        self.behind = 0
        self.unreadable = 0

    def __enter__(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End, within the bound of an answer of the brokers."""
        self._stop.set()
        self._thread.join(timeout=self._settings.startup_timeout_seconds + AGAIN_SECONDS)

    def await_ready(self, seconds: float) -> bool:
        """
        Wait until `ready`, at most so long.

        Raises:
            Exception: What ended the thread.
        """
        deadline = time.monotonic() + seconds
        while not self.ready.wait(timeout=0.1) and time.monotonic() < deadline:
            self.check()
        self.check()
        return self.ready.is_set()

    def check(self) -> None:
        """
        Does it still read?

        Raises:
            StoreMismatchError: The store was filled from other topics.
            TopicsMissingError: `review` or `reviewed` does not exist.
            NotAuthorizedError: This user may not read a topic; the message has the missing ACL.
            Exception: Another reason why the thread ended.
        """
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except (BrokerUnreachableError, DatabaseUnavailableError) as error:
                self.trouble = str(error)
                log.warning("topics_not_followed", error=str(error))
                self._stop.wait(AGAIN_SECONDS)
            except BaseException as error:  # noqa: BLE001 - the thread's owner raises it, in `check`
                self._failure = error
                return

    def _follow(self) -> None:
        """Read until a topic or partition is new, or the end."""
        names = self._topics()
        with resumed(self._settings, names) as topics:
            self._begin(topics)
            reviewed = [self._settings.topics.reviewed]
            ends = topics.ends()
            while not self._stop.is_set() and _behind(topics, ends, reviewed):
                self._read(topics, reviewed)
            if not self._stop.is_set():
                self.ready.set()
                self.trouble = None
                self._keep_up(topics, names)

    def _keep_up(self, topics: Resumed, names: Collection[str]) -> None:
        known = topics.partitions()
        looked = matched = time.monotonic()
        pruned = float("-inf")
        while not self._stop.is_set():
            self._read(topics, names)
            now = time.monotonic()
            if now - matched > MATCH_SECONDS:
                self._match()
                matched = now
            if now - pruned > PRUNE_SECONDS:
                self._store.prune(self._keep_ms)
                pruned = now
            if now - looked > LOOK_SECONDS:
                looked = now
                self.behind = sum(max(0, end - topics.positions.get(place, 0)) for place, end in topics.ends().items())
                if topics.partitions() != known or self._topics() != names:
                    return

    def _topics(self) -> list[str]:
        """
        The topics that there are.

        Raises:
            TopicsMissingError: `review` or `reviewed` is not among them.
            NotAuthorizedError: This user may not read one that is there.
        """
        topics = self._settings.topics
        wanted = {name: getattr(topics, name) for name in (*NEEDED, *OPTIONAL)}
        found = admin.describe(self._settings, wanted.values())
        missing = frozenset(wanted[name] for name in OPTIONAL if found[wanted[name]].partitions is None)
        there = {name: topic for name, topic in wanted.items() if topic not in missing}
        admin.require(self._settings, there, operations=dict.fromkeys(there, Operation.READ), found=found)
        if missing - self._missing:
            log.warning("topics_missing", topics=sorted(missing), next=MISSING)
        self._missing = missing
        return list(there.values())

    def _begin(self, topics: Resumed) -> None:
        """
        Read on from where the store stands.

        Raises:
            StoreMismatchError: The store stands behind the end of a partition.
        """
        kept, starts, ends = self._store.positions(), topics.starts(), topics.ends()
        tagged = self._settings.topics.tagged
        # Everything that is published would be read for the totals alone: as much of it as is kept.
        recent = topics.since(tagged, self._clock() - self._keep_ms) if any(place[0] == tagged for place in starts) else {}
        positions = {}
        for place, start in starts.items():
            fresh = recent.get(place, ends[place]) if place[0] == tagged else start
            position = kept.get(place, fresh)
            if position > ends[place]:
                msg = (
                    f"the store {self._store.name} has read {place[0]} {place[1]} up to {position}, and the topic ends at {ends[place]}: "
                    f"it was made anew, or the store belongs to another cluster. Next: delete the store, or give another one by "
                    f"--store; the topics fill it."
                )
                raise StoreMismatchError(msg)
            positions[place] = max(position, start)
        topics.begin(positions)

    def _read(self, topics: Resumed, names: Collection[str]) -> None:
        before = dict(topics.positions)
        records = topics.poll(names)
        changes = [change for record in records for change in self._changes(record)]
        moved = {place: offset for place, offset in topics.positions.items() if offset != before[place]}
        if changes or moved:
            self._store.fill(changes, moved)

    def _changes(self, record: Record) -> Iterable[Change]:
        topics = self._settings.topics
        found: list[Change | Refusal | None]
        if record.topic == topics.reviewed:
            answer = read_answer(record, keys=self._keys)
            found = [answer if isinstance(answer, Refusal) else answered(answer)]
        elif record.topic == topics.reports:
            report = read_report(record)
            found = [report if isinstance(report, Refusal) else reported(report, record, self._clock())]
        else:
            decision = read_decision(record)
            found = [decision] if isinstance(decision, Refusal) else _of_decision(decision, asked=record.topic != topics.tagged)
        for one in found:
            if isinstance(one, Refusal):
                self.unreadable += 1
                log.warning(
                    "record_left_out", topic=record.topic, partition=record.partition, offset=record.offset, why=one.message
                )
            elif one is not None:
                yield one

    def _match(self) -> None:
        """Bring tagged decisions that readers complain of before a reviewer."""
        unmatched = self._store.unmatched()
        if not unmatched:
            return
        with log_of(self._settings, self._settings.topics.tagged) as tagged:
            for event_id, partition, offset in unmatched:
                change = _looked_up(list(tagged.read({partition: offset}, {partition: offset + 1})), event_id)
                if change is None:
                    self._store.forget_place(event_id)
                else:
                    self._store.fill([change], {})


def _behind(topics: Resumed, ends: dict[tuple[str, int], int], names: Collection[str]) -> bool:
    return any(topics.positions[place] < end for place, end in ends.items() if place[0] in names)


def _of_decision(decision: PublishedDecision, *, asked: bool) -> list[Change | Refusal | None]:
    return [published(decision), decided(decision) if asked else None]


def _looked_up(records: Sequence[Record], event_id: str) -> Change | None:
    """The decision at the place of a tagged event; None if it has gone, or is another event's."""
    for record in records:
        found = read_decision(record)
        if not isinstance(found, Refusal) and found.event.id == event_id:
            return decided(found)
    return None
