"""
The process of a second model: reads `review`, asks, writes opinions to `second`, and publishes what they settle on `tagged`.

1. The process fences every process before (`stream/kafka/single_writer.py`), and only then reads `second`, `reviewed` and `review` to their ends.
2. It asks about items without an opinion, and writes each opinion with what follows from it, in a transaction.
3. It acts on opinions that it has read back, and on no others: the decision on `tagged` and the offset behind the opinion are one transaction.

So nothing follows from an opinion before it can be read, an item has one opinion, and a process that is killed anywhere leaves nothing half done.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec

from tagstream.monitoring.metrics.second import SecondMetrics
from tagstream.monitoring.vocabulary import NoOpinion
from tagstream.stream.contract.event import Record, weight
from tagstream.stream.contract.published import DecidedEvent
from tagstream.stream.contract.second_opinions import SecondOpinion, tagged_by_second, write_opinion
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.reading.reader import Reader, reader_of
from tagstream.stream.kafka.rights import Operation, second_group
from tagstream.stream.kafka.single_writer import SingleWriter, single_writer
from tagstream.stream.logs import logger
from tagstream.stream.second.budget import Budget
from tagstream.stream.second.ledger import Due, Ledger
from tagstream.stream.second.reading import READ, SecondReading
from tagstream.stream.settings.settings import Settings

WRITTEN = ("tagged",)
# The pauses after answers that did not come: a second model that is down is not asked about everything that waits.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
PAUSING = frozenset({NoOpinion.DOWN, NoOpinion.LATE, NoOpinion.REFUSED})
LOOK_SECONDS = 15.0
# Brokers forget offsets that nobody commits for a week; the next process would publish all decisions again.
NOTE_SECONDS = 3600.0
log = logger("tagstream.second")


@dataclass(slots=True)
class Pauses:
    """When the next item may be asked about."""

    seconds: float = 0.0
    until: float = field(default=float("-inf"))

    def note(self, opinion: SecondOpinion, now: float) -> None:
        """Wait after an opinion that did not come, each time twice as long; `now` is a monotonic time in seconds."""
        if opinion.reason not in PAUSING:
            self.seconds = 0.0
        elif now >= self.until:
            self.seconds = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * self.seconds))
            self.until = now + self.seconds


class SecondProcess:
    """
    One process of a second model.

    Attributes:
        opinions: The number of opinions that this process has written.
        settled: The number of decisions that this process has published.
    """

    def __init__(
        self,
        settings: Settings,
        ask: Callable[[DecidedEvent], SecondOpinion],
        ledger: Ledger,
        budget: Budget,
        metrics: SecondMetrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Do nothing yet.

        Args:
            settings: Brokers, topics and bounds.
            ask: Asks the second model about an item (`Adviser.ask`).
            ledger: An empty ledger.
            budget: Is told what earlier processes have spent.
            metrics: Are told what happens.
            clock: Seconds since 1970.

        Raises:
            SecurityError: The file of the keys of answers cannot be used.
        """
        self._settings, self._ask, self._ledger, self._budget = settings, ask, ledger, budget
        self._limits, self._clock = settings.limits, clock
        self._reading = SecondReading(settings, ledger)
        self._metrics = metrics
        # Items that are being asked about, and items whose opinion is written and not read back yet.
        self._busy: dict[str, Future[SecondOpinion]] = {}
        self._unread: set[str] = set()
        self._again: deque[DecidedEvent] = deque()
        self._pauses = Pauses()
        self._started, self._looked, self._noted = False, float("-inf"), float("-inf")
        self.opinions = self.settled = 0

    def run(self, stop: threading.Event) -> None:
        """
        Give opinions until `stop` is set.

        Raises:
            BrokerUnreachableError: The brokers do not answer; the next process continues.
            NotAuthorizedError: This user lacks a right.
            WriterFencedError: Another process has begun.
            WriterRefusedError: The brokers have no transactions, or this user may not write in them.
            TopicsMissingError: A topic does not exist.
        """
        names = {role: getattr(self._settings.topics, role) for role in (*READ, *WRITTEN)}
        admin.require(
            self._settings,
            names,
            operations={**dict.fromkeys(READ, Operation.READ), **dict.fromkeys(WRITTEN, Operation.WRITE)},
        )
        # Before a call is paid for: whoever may not write opinions asks for none.
        admin.require(self._settings, {"second": names["second"]}, operations={"second": Operation.WRITE})
        workers = self._settings.second.concurrency
        with (
            single_writer(self._settings, second_group(self._settings)) as writer,
            reader_of(self._settings, [names[role] for role in READ]) as reader,
            ThreadPoolExecutor(workers, "second") as executor,
        ):
            try:
                self._begin(writer, reader, stop)
                while not stop.is_set():
                    self._step(writer, reader, executor, workers)
                if self._started:
                    self._end(writer, reader)
            finally:
                for one in self._busy.values():
                    one.cancel()

    def _begin(self, writer: SingleWriter, reader: Reader, stop: threading.Event) -> None:
        """Read all topics to their ends."""
        second = self._settings.topics.second
        acted = writer.acted([place for place in reader.partitions() if place[0] == second])
        for opinion in self._reading.to_ends(reader, acted):
            self._budget.seen(opinion)
            if stop.is_set():
                return
        self._started = True
        self._metrics.begun()
        log.info("second_begins", waiting=self._ledger.waiting, due=len(self._ledger.due()), generation=self._ledger.generation)

    def _step(self, writer: SingleWriter, reader: Reader, executor: ThreadPoolExecutor, workers: int) -> None:
        self._look_around(reader)
        self._take(reader.poll())
        self._act(writer, reader)
        self._write(writer)
        if time.monotonic() < self._pauses.until:
            return
        self._again.extend(self._ledger.to_ask_again(round(self._clock() * 1000)))
        free = 2 * workers - len(self._busy)
        again = [self._again.popleft() for _ in range(min(free, len(self._again)))]
        for item in [*again, *self._ledger.to_ask(free - len(again), self._busy.keys() | self._unread)]:
            if item.decision.prediction_id not in self._busy:
                self._busy[item.decision.prediction_id] = executor.submit(self._ask, item)

    def _end(self, writer: SingleWriter, reader: Reader) -> None:
        """Write the answers that are paid for, and what follows from them."""
        until = time.monotonic() + self._settings.second.timeout_seconds
        for identity, one in list(self._busy.items()):
            if one.cancel():
                del self._busy[identity]
        while self._busy and time.monotonic() < until:
            self._write(writer)
            self._take(reader.poll())
        for records in reader.read_to(
            {place: end for place, end in reader.ends().items() if place[0] == self._settings.topics.second}
        ):
            self._take(records)
        self._act(writer, reader)

    def _look_around(self, reader: Reader) -> None:
        """Now and then: say what is known, and read partitions that were added."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        found = self._ledger.warranty.status()
        self._metrics.stands(
            waiting=self._ledger.waiting,
            certified=sum(one.certified for one in found.cells),
            withdrawn=sum(one.withdrawn for one in found.cells),
            generation=self._ledger.generation,
        )
        added = [place for place in reader.partitions() if place not in reader.positions]
        if added:
            reader.begin({**reader.positions, **reader.starts(added)})

    def _take(self, records: list[Record]) -> None:
        for opinion in self._reading.take(records, {}):
            self._unread.discard(opinion.prediction_id)

    def _write(self, writer: SingleWriter) -> None:
        """Write the opinions that have come, in one transaction."""
        done = [identity for identity, one in self._busy.items() if one.done()]
        found = [self._judged(self._busy.pop(identity).result()) for identity in done]
        if not found:
            return
        now = time.monotonic()
        for opinion in found:
            self._pauses.note(opinion, now)
        topic = self._settings.topics.second
        self._unread.update(one.prediction_id for one in found)
        writer.write([Record(topic=topic, key=one.event_id.encode(), value=write_opinion(one)) for one in found])
        self.opinions += len(found)
        for one in found:
            self._metrics.opinion(one.reason, calls=one.calls, cost=one.cost)

    def _judged(self, given: SecondOpinion) -> SecondOpinion:
        """Return the opinion with what follows from it."""
        opinion = self._ledger.judged(given)
        item = self._ledger.item(opinion.prediction_id)
        if not opinion.settles or item is None:
            return opinion
        key, value, headers, _ = tagged_by_second(item, opinion, 0, self._limits)
        # A decision that the broker will not take would stop the process at every start.
        if weight(key, value, headers) <= self._limits.max_outcome_bytes:
            return opinion
        return msgspec.structs.replace(opinion, settles=False, audit_probability=None, audited=False)

    def _act(self, writer: SingleWriter, reader: Reader) -> None:
        """Publish what follows from the opinions that were read back, and note it, in one transaction."""
        due = self._ledger.due()
        if not due and time.monotonic() - self._noted < NOTE_SECONDS:
            return
        self._noted = time.monotonic()
        after = {place: offset for place, offset in reader.positions.items() if place[0] == self._settings.topics.second}
        writer.write(list(self._decisions(due)), after)
        for one in due:
            self._ledger.done(one.opinion)
            if one.item is not None:
                self.settled += 1
                self._metrics.settled(audited=one.opinion.audited)

    def _decisions(self, due: list[Due]) -> Iterator[Record]:
        now_ms = round(self._clock() * 1000)
        for one in due:
            if one.item is None:
                log.warning(
                    "item_gone",
                    prediction_id=one.opinion.prediction_id,
                    consequence="its opinion stays without a decision: the topic review does not have the item any more",
                )
                continue
            key, value, headers, _ = tagged_by_second(one.item, one.opinion, now_ms, self._limits)
            yield Record(topic=self._settings.topics.tagged, key=key, value=value, headers=headers)
