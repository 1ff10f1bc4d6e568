"""Reports every second where the worker stands in the log, and which events had expired before this group could commit them."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from tagstream.monitoring.health import Progress
from tagstream.monitoring.limits import OPEN_TRANSACTION_SECONDS
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.stream.deliver.crash.guard import Guard, Unguarded
from tagstream.stream.deliver.delivery import Deliveries
from tagstream.stream.deliver.fatal import DeliveryError
from tagstream.stream.logs import logger
from tagstream.stream.worker.faust_app import App
from tagstream.stream.worker.inner_consumer import Offsets, offsets_of

POSITION_TIMEOUT_SECONDS = 5.0
# The time for which a log must end short before that is reported: longer than a new leader takes to know its log's end.
SHORT_SECONDS = 60.0
SETTLED_SECONDS = 10.0
SAY_SECONDS = 60.0
log = logger("tagstream.position")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersTopic:
    """The topic of reviewers' answers, with a `Progress` of its own."""

    name: str
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionPosition:
    """
    Where this worker and its group stand in one partition.

    Attributes:
        begin: The first offset that is still in the log.
        end: The last stable offset, up to which records may be read.
        committed: The group's offset; None before the first commit.
        fetched: The offset up to which records were fetched; None if it is not known.
        waiting: True if the delivery holds an event of the partition that is not acknowledged yet.
        handed_out: The number of records that were handed out, to Faust's buffer or further, and may not be committed yet.
        acknowledged: The offset after the last event that this process has acknowledged; None if it has acknowledged no event.
        settled: True if the partition has been quiet for long enough that every fetched record would have been handed out.
    """

    begin: int
    end: int
    committed: int | None
    fetched: int | None
    waiting: bool
    handed_out: int = 0
    acknowledged: int | None = None
    settled: bool = False

    @property
    def quiet(self) -> bool:
        """True if everything was fetched up to the end, and no record of it waits."""
        return self.fetched is not None and self.fetched >= self.end and not self.handed_out and not self.waiting

    @property
    def done(self) -> int:
        """The offset up to which events were committed or acknowledged; 0 if there are no such events."""
        return max(self.committed or 0, self.acknowledged or 0)

    @property
    def ends_short(self) -> bool:
        """True if the log ends before events that were already processed: then it is another log than before."""
        return self.end < self.done

    @property
    def lag(self) -> int:
        """
        Events between the commit and the end.

        Offsets are not events: a transaction leaves markers in the log that are never handed out. In a quiet partition only the
        acknowledged events are still to be committed, and the markers after them do not count. If no event was ever acknowledged or
        committed, the markers count until the partition is settled, because a fetched record may not have been handed out yet.

        >>> PartitionPosition(begin=0, end=10, committed=4, fetched=10, waiting=True).lag
        6
        >>> PartitionPosition(begin=0, end=10, committed=9, fetched=10, waiting=False, acknowledged=9).lag
        0
        >>> PartitionPosition(begin=0, end=10, committed=4, fetched=10, handed_out=1, waiting=False, acknowledged=4).lag
        6
        >>> PartitionPosition(begin=3, end=10, committed=None, fetched=10, waiting=False).lag
        7
        >>> PartitionPosition(begin=3, end=10, committed=None, fetched=10, waiting=False, settled=True).lag
        0
        """
        done = max((offset for offset in (self.committed, self.acknowledged) if offset is not None), default=None)
        if done is None and self.settled:
            done = self.begin
        end = min(done, self.end) if done is not None and self.quiet else self.end
        return max(0, end - (self.begin if self.committed is None else self.committed))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableTail:
    """
    The events of one partition behind its last stable offset.

    Attributes:
        stable: The last stable offset: the first record of the oldest open transaction.
        events: The number of offsets from `stable` to the end of the log, markers of transactions included.
        since: When this worker first saw the last stable offset at `stable`, Unix seconds.
    """

    stable: int
    events: int
    since: float


class OpenTransactions:
    """
    Notices a last stable offset that stands still before the end of the log (KIP-98), and logs it once a minute.

    Consumers of committed records read up to the last stable offset. All events after it wait until the open transaction ends or the
    broker aborts it, even events of other producers and events without a transaction.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """`now` is the time in Unix seconds."""
        self._now = now
        self._open: dict[TP, UnreadableTail] = {}
        self._said: dict[TP, float] = {}

    def see(self, ends: Mapping[TP, int], stable: Mapping[TP, int]) -> Mapping[TP, UnreadableTail]:
        """
        Look at the partitions of this worker, and forget all others.

        Args:
            ends: The end of each log, read before `stable`, so that records that are committed meanwhile are not counted.
            stable: The last stable offset of each partition.

        Returns:
            The partitions with events after the last stable offset.
        """
        now, before = self._now(), self._open
        self._open = {}
        for tp, offset in stable.items():
            if (events := ends.get(tp, offset) - offset) > 0:
                known = before.get(tp)
                since = known.since if known is not None and known.stable == offset else now
                self._open[tp] = UnreadableTail(stable=offset, events=events, since=since)
        self._say(now)
        return self._open

    def _say(self, now: float) -> None:
        self._said = {tp: at for tp, at in self._said.items() if tp in self._open}
        for tp, found in self._open.items():
            if now - found.since >= OPEN_TRANSACTION_SECONDS and not 0 <= now - self._said.get(tp, -SAY_SECONDS) < SAY_SECONDS:
                self._said[tp] = now
                log.warning(
                    "transaction_open",
                    topic=tp.topic,
                    partition=tp.partition,
                    events=found.events,
                    from_offset=found.stable,
                    since_seconds=round(now - found.since),
                    why="a producer has neither committed nor aborted its transaction, so no consumer may read what follows",
                    next="docs/runbooks/OpenTransaction.md",
                )


class PositionReporter:
    """Reports the position. It asks the brokers, because Faust's own notes forget failed commits."""

    def __init__(
        self,
        app: App,
        delivery: Deliveries,
        metrics: Metrics,
        progress: Progress,
        guard: Guard | None = None,
        *,
        answers: AnswersTopic | None = None,
        topics: Collection[str] = (),
    ) -> None:
        """
        Join the parts.

        Args:
            app: Its consumer knows the assigned partitions.
            delivery: Knows the events in hand and the acknowledged offsets; ends the process if the consumer stands still.
            metrics: Gets the figures.
            progress: Is told of each tick and of each commit of events.
            guard: Is told of the commits, so that it forgets suspects before them.
            answers: The topic of answers, whose progress is told of each tick and commit of answers; None if the worker takes no answers.
            topics: The topics of events. If there are several, a partition is named with its topic.
        """
        self._names_topics = len(topics) > 1
        self._guard = guard or Unguarded()
        self._app = app
        self._delivery = delivery
        self._metrics = metrics
        self._progress = progress
        self._answers = answers
        self._committed: dict[TP, int] = {}
        # The offset up to which expired events are counted: without new events, every assignment finds the same commit and the same gap.
        self._expired: dict[TP, int] = {}
        # The end of each quiet partition, and since when it is quiet at that end; and since when a log ends short.
        self._quiet: dict[TP, tuple[int, float]] = {}
        self._short: dict[TP, float] = {}
        self._ends: dict[TP, int] = {}
        self._last_commit: float | None = None
        # A worker starts only after the brokers have answered.
        self._known_at = time.time()
        self._said_at: float | None = None
        self._partitions = 0
        self._lag = self._answers_lag = 0
        self._transactions = OpenTransactions()
        self._open: Mapping[TP, UnreadableTail] = {}

    async def tick(self) -> None:
        """Read the position once and report it. If the brokers do not answer, the lag is reported as unknown."""
        why = None
        try:
            async with asyncio.timeout(POSITION_TIMEOUT_SECONDS):
                await self._read()
        except TimeoutError:
            why = f"no answer within {POSITION_TIMEOUT_SECONDS:g} s"
        except (ConnectionError, KafkaError, ConsumerNotStarted) as error:
            why = f"{type(error).__name__}: {error}"
        self._note(why)
        # Events behind an open transaction cannot be read, so the worker's progress is not measured by them.
        readable = self._lag if why is None else None
        behind = sum(found.events for tp, found in self._open.items() if not self._is_of_answers(tp))
        self._metrics.position(
            partitions=self._partitions,
            lag=None if readable is None else readable + behind,
            inflight=self._delivery.inflight,
            last_commit=self._last_commit,
            oldest_seconds=self._delivery.oldest_seconds(time.time()),
            known_at=self._known_at,
        )
        if why is None:
            self._metrics.open_transactions(
                {
                    self._named(tp): (found.events, found.since)
                    for tp, found in self._open.items()
                    if not self._is_of_answers(tp)
                }
            )
        self._progress.ticked(lag=readable, behind=behind)
        if self._answers is not None:
            lag = self._answers_lag if why is None else None
            self._metrics.answers.position(lag=lag)
            self._answers.progress.ticked(lag=lag)

    def _named(self, tp: TP) -> str:
        """The partition's number, after its topic if several topics of events are read."""
        return f"{tp.topic}/{tp.partition}" if self._names_topics else str(tp.partition)

    def _is_of_answers(self, tp: TP) -> bool:
        return self._answers is not None and tp.topic == self._answers.name

    def _note(self, why: str | None) -> None:
        """Note whether the brokers have answered. Log an outage once a minute, and its end."""
        now = time.time()
        if why is None:
            if self._said_at is not None:
                log.info("position_known_again", after_seconds=round(now - self._known_at))
            self._known_at, self._said_at = now, None
        elif self._said_at is None or not 0 <= now - self._said_at < SAY_SECONDS:
            self._said_at = now
            log.warning(
                "position_unknown",
                why=why,
                since_seconds=round(now - self._known_at),
                consequence="the lag is not known; no event is lost, they stay on the brokers",
                next="if it lasts: tagstream doctor, docs/runbooks/BrokersUnreachable.md",
            )

    async def _read(self) -> None:
        consumer = self._app.consumer
        if (why := consumer.standstill()) is not None:
            self._delivery.broken(DeliveryError(f"no event will be read any more: {why}"))
        assigned = sorted(consumer.assignment())
        # The log's beginning is needed for a partition that was just taken up, was never committed, or has missing records.
        unknown = [tp for tp in assigned if tp not in self._committed or tp in consumer.resumed_at or tp in consumer.skipped]
        # Copied before the request: events that are acknowledged meanwhile may lie after the ends in the answer.
        acknowledged = dict(self._delivery.acknowledged)
        # Faust passes neither `committed` nor `position` through.
        answer = await offsets_of(consumer._thread, assigned, unknown)  # noqa: SLF001
        self._count_expired(consumer, answer.begins)
        places = self._places(consumer, answer, acknowledged)
        self._look_for_another_log(places)
        committed = {tp: place.committed for tp, place in places.items() if place.committed is not None}
        moved = {tp for tp, offset in committed.items() if self._committed.get(tp) != offset}
        if any(not self._is_of_answers(tp) for tp in moved):
            self._last_commit = time.time()
            self._progress.moved()
        if self._answers is not None and any(self._is_of_answers(tp) for tp in moved):
            self._answers.progress.moved()
        self._committed = committed
        self._guard.committed({tuple(tp): offset for tp, offset in committed.items() if not self._is_of_answers(tp)})
        self._open = self._transactions.see(answer.high, answer.ends)
        self._lag = sum(place.lag for tp, place in places.items() if not self._is_of_answers(tp))
        self._answers_lag = sum(place.lag for tp, place in places.items() if self._is_of_answers(tp))
        self._partitions = sum(not self._is_of_answers(tp) for tp in assigned)

    def _count_expired(self, consumer: Any, begins: Mapping[TP, int]) -> None:
        """
        Count and log the events after the commit that retention has deleted: these events are lost.

        They expired before a partition was taken up, or before a slow worker reached them. In the second case the gap may also contain
        offsets that were not events.
        """
        missed = [(tp, consumer.resumed_at.pop(tp), begins[tp]) for tp in begins if tp in consumer.resumed_at]
        for tp in [tp for tp in consumer.skipped if tp in begins]:
            first, behind = consumer.skipped.pop(tp)
            missed.append((tp, first, min(behind, begins[tp])))
        expired: Counter[TP] = Counter()
        for tp, first, behind in missed:
            expired[tp] += max(0, behind - max(first, self._expired.get(tp, 0)))
            self._expired[tp] = max(behind, self._expired.get(tp, 0))
        for topic in sorted({tp.topic for tp in +expired}):
            self._say_expired(topic, {tp.partition: count for tp, count in (+expired).items() if tp.topic == topic})

    def _say_expired(self, topic: str, by_partition: Mapping[int, int]) -> None:
        count = sum(by_partition.values())
        if self._answers is not None and topic == self._answers.name:
            self._metrics.answers.expired(count)
        else:
            self._metrics.expired(count)
        log.error(
            "events_expired_unread",
            topic=topic,
            events=count,
            by_partition=by_partition,
            why="the topic's retention deleted these events before this group had committed them",
            next="raise retention.ms or retention.bytes of the topic above the longest outage that you must survive",
        )

    def _look_for_another_log(self, places: Mapping[TP, PartitionPosition]) -> None:
        """
        Notice a topic that was made anew, or that lost its end with a broker.

        Faust silently drops every event below the offsets that it knows. A new process knows only the commit, which is deleted with the
        topic, so this process ends. If the commit itself lies after the end, a restart does not help: the error is logged, and a person
        must decide. A new leader may not know the end of its log yet, hence `SHORT_SECONDS`.
        """
        now = time.monotonic()
        self._short = {tp: self._short.get(tp, now) for tp, place in places.items() if place.ends_short}
        for tp, since in self._short.items():
            if now - since < SHORT_SECONDS:
                continue
            self._short[tp] = now
            place = places[tp]
            what = f"{tp.topic}/{tp.partition} ends at offset {place.end}, and was done up to {place.done}"
            if place.end < (place.acknowledged or 0):
                self._delivery.broken(
                    DeliveryError(f"{what}: the topic was made anew, or its end was lost. This worker itself is well")
                )
            log.error(
                "log_ends_before_commit",
                what=what,
                why="the topic was made anew, or its end was lost with a broker; new events below the commit are not read",
                next="docs/runbooks/Stalled.md: stop the workers and set the group's offset of this partition to the earliest, or to its end",
            )

    def _places(
        self, consumer: Any, answer: Offsets, acknowledged: Mapping[tuple[str, int], int]
    ) -> dict[TP, PartitionPosition]:
        self._ends = {**self._ends, **answer.ends}
        waiting = self._delivery.holds()
        places = {
            tp: PartitionPosition(
                begin=answer.begins.get(tp, 0),
                # A partition without a leader has its last known end.
                end=answer.ends[tp]
                if tp in answer.ends
                else max(self._ends.get(tp, 0), committed or 0, acknowledged.get(tp, 0)),
                committed=committed,
                fetched=fetched,
                handed_out=consumer.handed_out(tp),
                waiting=tuple(tp) in waiting,
                acknowledged=acknowledged.get(tp),
            )
            for tp, (committed, fetched) in answer.found.items()
        }
        return self._settled(places)

    def _settled(self, places: Mapping[TP, PartitionPosition]) -> dict[TP, PartitionPosition]:
        """Mark the partitions that have been quiet at the same end for `SETTLED_SECONDS`. Forget partitions that are no longer assigned."""
        now = time.monotonic()
        quiet: dict[TP, tuple[int, float]] = {}
        for tp, place in places.items():
            if place.quiet:
                end, since = self._quiet.get(tp, (None, now))
                quiet[tp] = (place.end, since if end == place.end else now)
        self._quiet = quiet
        return {
            tp: replace(place, settled=tp in quiet and now - quiet[tp][1] >= SETTLED_SECONDS) for tp, place in places.items()
        }
