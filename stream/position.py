"""Where the worker stands in the log, asked of the brokers every second; and what had expired before it could be read."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from monitoring.health import Progress
from monitoring.metrics import Metrics
from stream.crashguard import Guard, Unguarded
from stream.delivery import Delivery
from stream.logs import logger

POSITION_TIMEOUT_SECONDS = 5.0
log = logger("tagstream.position")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    One partition.

    Attributes:
        begin: The first offset that is still there.
        end: The end of what may be read.
        committed: The group's offset; None before the first commit.
        fetched: Up to where records were fetched; None if that is not known.
        given: Records that were given out, to Faust's buffer and behind it, and are not committable yet.
        waiting: Does an event of it wait in our hands to be acknowledged?
        acknowledged: The offset behind the last event that this process has acknowledged; None if there was none.
    """

    begin: int
    end: int
    committed: int | None
    fetched: int | None
    waiting: bool
    given: int = 0
    acknowledged: int | None = None

    @property
    def lag(self) -> int:
        """
        Events between the commit and the end.

        Offsets are not events: a transaction leaves markers in the log that nobody is given. Where all was fetched up to the end
        and nothing of it waits, in Faust's buffer or in hand, only what was acknowledged is still to be committed. Where nothing was
        ever done, though, nothing is excused: that records were fetched does not mean that anybody was given them.

        >>> Place(begin=0, end=10, committed=4, fetched=10, waiting=True).lag
        6
        >>> Place(begin=0, end=10, committed=9, fetched=10, waiting=False, acknowledged=9).lag
        0
        >>> Place(begin=0, end=10, committed=4, fetched=10, given=1, waiting=False, acknowledged=4).lag
        6
        >>> Place(begin=3, end=10, committed=None, fetched=10, waiting=False).lag
        7
        """
        done = max((offset for offset in (self.committed, self.acknowledged) if offset is not None), default=None)
        fetched = self.fetched is not None and self.fetched >= self.end
        drained = done is not None and fetched and not self.given and not self.waiting
        end = (done or 0) if drained else self.end
        return max(0, end - (self.begin if self.committed is None else self.committed))


class Position:
    """Read from the brokers and not from Faust's own notes, which forget failed commits."""

    def __init__(
        self, app: faust.App, delivery: Delivery, metrics: Metrics, progress: Progress, guard: Guard | None = None
    ) -> None:
        """Join the parts."""
        self._guard = guard or Unguarded()
        self._app = app
        self._delivery = delivery
        self._metrics = metrics
        self._progress = progress
        self._committed: dict[TP, int] = {}
        # Up to where what had expired is counted: nothing new may come, and then the commit stays where it was at every assignment.
        self._expired: dict[TP, int] = {}
        self._last_commit: float | None = None
        self._partitions = 0
        self._lag = 0

    async def tick(self) -> None:
        """Read the position once; a broker that does not answer leaves the last known one."""
        try:
            async with asyncio.timeout(POSITION_TIMEOUT_SECONDS):
                await self._read()
        except (TimeoutError, ConnectionError, KafkaError, ConsumerNotStarted) as error:
            log.warning("position_unknown", why=f"{type(error).__name__}: {error}")
        self._metrics.position(
            partitions=self._partitions,
            lag=self._lag,
            inflight=self._delivery.inflight,
            last_commit=self._last_commit,
            oldest_seconds=self._delivery.oldest_seconds(time.time()),
        )
        self._progress.ticked(lag=self._lag)

    async def _read(self) -> None:
        consumer = self._app.consumer
        assigned = sorted(consumer.assignment())
        # Where the log begins matters to what was just taken up, and to what was never committed.
        unknown = [tp for tp in assigned if tp not in self._committed or tp in consumer.resumed_at]
        thread = consumer._thread  # noqa: SLF001 - Faust passes neither `committed` nor `position` through
        looked = await thread.beside(_look, thread, assigned, unknown) if assigned else _Looked()
        begins = looked.begins
        self._count_expired(consumer, begins)
        places = self._places(consumer, looked)
        committed = {tp: place.committed for tp, place in places.items() if place.committed is not None}
        moved = {tp: offset for tp, offset in committed.items() if self._committed.get(tp) != offset}
        if moved:
            self._last_commit = time.time()
            self._progress.moved()
        self._committed = committed
        self._guard.committed({tp.partition: offset for tp, offset in committed.items()})
        self._lag = sum(place.lag for place in places.values())
        self._partitions = len(assigned)

    def _count_expired(self, consumer: Any, begins: Mapping[TP, int]) -> None:
        """Events that retention has deleted behind the commit: they are lost to everybody, and that must not be in silence."""
        resumed = {tp: max(consumer.resumed_at.pop(tp), self._expired.get(tp, 0)) for tp in begins if tp in consumer.resumed_at}
        expired = {tp.partition: begins[tp] - at for tp, at in resumed.items() if begins[tp] > at}
        self._expired |= {tp: begins[tp] for tp in resumed}
        if expired:
            self._metrics.expired(sum(expired.values()))
            log.error(
                "events_expired_unread",
                events=sum(expired.values()),
                by_partition=expired,
                why="the topic's retention has deleted them before this group had committed them",
                next="raise retention.ms or retention.bytes of the topic above the longest outage that you must survive",
            )

    def _places(self, consumer: Any, looked: "_Looked") -> dict[TP, Place]:
        waiting = self._delivery.holds()
        return {
            tp: Place(
                begin=looked.begins.get(tp, 0),
                end=looked.ends.get(tp, 0),
                committed=committed,
                fetched=fetched,
                given=consumer.given_out(tp),
                waiting=tuple(tp) in waiting,
                acknowledged=self._delivery.acknowledged.get(tp),
            )
            for tp, (committed, fetched) in looked.found.items()
        }


@dataclass(slots=True, kw_only=True)
class _Looked:
    """
    What the brokers say of partitions.

    Attributes:
        ends: The ends of what may be read.
        begins: The first offsets that are still there, of those that this was asked of.
        found: The group's offset, None before the first commit, and up to where records were fetched.
    """

    ends: Mapping[TP, int] = field(default_factory=dict)
    begins: Mapping[TP, int] = field(default_factory=dict)
    found: dict[TP, tuple[int | None, int | None]] = field(default_factory=dict)


async def _look(thread: Any, assigned: list[TP], unknown: list[TP]) -> _Looked:
    """In the consumer's thread."""
    inner = thread._ensure_consumer()  # noqa: SLF001
    ends = await thread._highwaters(assigned)  # noqa: SLF001
    begins = await inner.beginning_offsets(unknown) if unknown else {}
    # A rebalance may have taken some of them away since.
    held = [tp for tp in assigned if tp in inner.assignment()]
    return _Looked(ends=ends, begins=begins, found={tp: (await inner.committed(tp), await inner.position(tp)) for tp in held})
