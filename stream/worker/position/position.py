"""Reports every second where the worker stands in the log, and which events had expired before this group could commit them."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from monitoring.health import Progress
from monitoring.metrics.metrics import Metrics
from stream.deliver.crash.guard import Guard, Unguarded
from stream.deliver.deliveries import Deliveries
from stream.deliver.fatal import DeliveryError
from stream.logs import logger
from stream.worker.position import offsets
from stream.worker.position.lag import Place
from stream.worker.position.offsets import Offsets
from stream.worker.position.open_transactions import OpenTransaction, OpenTransactions

POSITION_TIMEOUT_SECONDS = 5.0
# Longer than a new leader takes to know the end of its log.
SHORT_SECONDS = 60.0
SETTLED_SECONDS = 10.0
SAY_SECONDS = 60.0
log = logger("tagstream.position")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersTopic:
    """The topic of reviewers' answers, and the progress on it, apart from that on the events."""

    name: str
    progress: Progress


class Position:
    """Asks the brokers and does not trust Faust's own notes, which forget failed commits."""

    def __init__(
        self,
        app: faust.App,
        delivery: Deliveries,
        metrics: Metrics,
        progress: Progress,
        guard: Guard | None = None,
        *,
        answers: AnswersTopic | None = None,
    ) -> None:
        """
        Begin with no partitions.

        Args:
            app: Its consumer says which partitions are assigned.
            delivery: Says what is in hand and what is acknowledged; ends the process if the consumer stands still.
            metrics: Gets the figures.
            progress: Is told of each tick and of each commit of events.
            guard: Is told of the commits, so that it forgets suspects before them.
            answers: The topic of answers with its progress, which is told likewise; None where the worker takes none.
        """
        self._guard = guard or Unguarded()
        self._app = app
        self._delivery = delivery
        self._metrics = metrics
        self._progress = progress
        self._answers = answers
        self._committed: dict[TP, int] = {}
        # Up to where expired events are counted: if no new event comes, the commit stays where it was at every assignment.
        self._expired: dict[TP, int] = {}
        # The end of each quiet partition and since when it is quiet there; and since when a log ends short.
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
        self._open: Mapping[TP, OpenTransaction] = {}

    async def tick(self) -> None:
        """Read the position once and report it; while the brokers do not answer, the lag is reported as unknown."""
        why = None
        try:
            async with asyncio.timeout(POSITION_TIMEOUT_SECONDS):
                await self._read()
        except TimeoutError:
            why = f"no answer within {POSITION_TIMEOUT_SECONDS:g} s"
        except (ConnectionError, KafkaError, ConsumerNotStarted) as error:
            why = f"{type(error).__name__}: {error}"
        self._note(why)
        # A worker that cannot read what lies behind an open transaction makes all the progress that there is to make.
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
                {tp.partition: (found.events, found.since) for tp, found in self._open.items() if not self._is_of_answers(tp)}
            )
        self._progress.ticked(lag=readable, behind=behind)
        if self._answers is not None:
            lag = self._answers_lag if why is None else None
            self._metrics.answers.position(lag=lag)
            self._answers.progress.ticked(lag=lag)

    def _is_of_answers(self, tp: TP) -> bool:
        return self._answers is not None and tp.topic == self._answers.name

    def _note(self, why: str | None) -> None:
        """Remember whether the brokers have answered; log an outage once a minute, and its end."""
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
        # The beginning of the log is needed for partitions that were just taken up, never committed, or have missing records.
        unknown = [tp for tp in assigned if tp not in self._committed or tp in consumer.resumed_at or tp in consumer.skipped]
        # Copied before the question: events acknowledged meanwhile may lie after the ends in the answer.
        acknowledged = dict(self._delivery.acknowledged)
        # Faust passes neither `committed` nor `position` through, so its thread is asked.
        answer = await offsets.ask(consumer._thread, assigned, unknown)  # noqa: SLF001
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
        self._guard.committed({tp.partition: offset for tp, offset in committed.items() if not self._is_of_answers(tp)})
        self._open = self._transactions.see(answer.high, answer.ends)
        self._lag = sum(place.lag for tp, place in places.items() if not self._is_of_answers(tp))
        self._answers_lag = sum(place.lag for tp, place in places.items() if self._is_of_answers(tp))
        self._partitions = sum(not self._is_of_answers(tp) for tp in assigned)

    def _count_expired(self, consumer: Any, begins: Mapping[TP, int]) -> None:
        """
        Count and log the events after the commit that retention has deleted; they are lost.

        They expired before a partition was taken up, or before a slow worker reached them. In the second case the gap may also contain
        offsets that were no events.
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

    def _look_for_another_log(self, places: Mapping[TP, Place]) -> None:
        """
        Notice a topic that was made anew, or that lost its end with a broker.

        Faust drops every event below the offsets that it knows, without a log line. A new process knows only the commit, which is
        deleted with the topic, so this process ends. If the commit itself lies after the end, a restart does not help, and a person
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

    def _places(self, consumer: Any, answer: Offsets, acknowledged: Mapping[tuple[str, int], int]) -> dict[TP, Place]:
        self._ends = {**self._ends, **answer.ends}
        waiting = self._delivery.holds()
        places = {
            tp: Place(
                begin=answer.begins.get(tp, 0),
                # For a partition without a leader, the last known end.
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

    def _settled(self, places: Mapping[TP, Place]) -> dict[TP, Place]:
        """Mark the places that have been quiet at the same end for long enough; forget partitions that are not assigned any more."""
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
