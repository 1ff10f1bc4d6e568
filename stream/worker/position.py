"""Where the worker stands in the log, asked of the brokers every second; and what had expired before it could be read."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from monitoring.health import Progress
from monitoring.metrics.metrics import Metrics
from stream.deliver.crash_guard import Guard, Unguarded
from stream.deliver.delivery import Delivery
from stream.deliver.fatal import DeliveryError
from stream.logs import logger

POSITION_TIMEOUT_SECONDS = 5.0
# Longer than a new leader takes to know the end of its log.
SHORT_SECONDS = 60.0
SETTLED_SECONDS = 10.0
SAY_SECONDS = 60.0
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
        handed_out: Records that were handed out, to Faust's buffer and behind it, and are not committable yet.
        waiting: Does an event of it wait in our hands to be acknowledged?
        acknowledged: The offset behind the last event that this process has acknowledged; None if there was none.
        settled: Has it been quiet for so long that whatever was fetched would have been given out?
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
        """All was fetched up to the end, and nothing of it waits."""
        return self.fetched is not None and self.fetched >= self.end and not self.handed_out and not self.waiting

    @property
    def ends_short(self) -> bool:
        """Does the log end before what was done with it? Then it is not the log of before."""
        return self.end < max(self.committed or 0, self.acknowledged or 0)

    @property
    def lag(self) -> int:
        """
        Events between the commit and the end.

        Offsets are not events: a transaction leaves markers in the log that nobody is given. Where all was fetched up to the end
        and nothing of it waits, in Faust's buffer or in hand, only what was acknowledged is still to be committed. Where nothing was
        ever done, though, nothing is excused at once: that records were fetched does not mean that anybody was given them yet.

        >>> Place(begin=0, end=10, committed=4, fetched=10, waiting=True).lag
        6
        >>> Place(begin=0, end=10, committed=9, fetched=10, waiting=False, acknowledged=9).lag
        0
        >>> Place(begin=0, end=10, committed=4, fetched=10, handed_out=1, waiting=False, acknowledged=4).lag
        6
        >>> Place(begin=3, end=10, committed=None, fetched=10, waiting=False).lag
        7
        >>> Place(begin=3, end=10, committed=None, fetched=10, waiting=False, settled=True).lag
        0
        """
        done = max((offset for offset in (self.committed, self.acknowledged) if offset is not None), default=None)
        if done is None and self.settled:
            done = self.begin
        end = min(done, self.end) if done is not None and self.quiet else self.end
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
        # Of quiet partitions their end and since when it is that; and since when a log ends short.
        self._quiet: dict[TP, tuple[int, float]] = {}
        self._short: dict[TP, float] = {}
        self._ends: dict[TP, int] = {}
        self._last_commit: float | None = None
        # A worker starts only when they have answered.
        self._known_at = time.time()
        self._said_at: float | None = None
        self._partitions = 0
        self._lag = 0

    async def tick(self) -> None:
        """Read the position once; a broker that does not answer leaves the last known one."""
        why = None
        try:
            async with asyncio.timeout(POSITION_TIMEOUT_SECONDS):
                await self._read()
        except TimeoutError:
            why = f"no answer within {POSITION_TIMEOUT_SECONDS:g} s"
        except (ConnectionError, KafkaError, ConsumerNotStarted) as error:
            why = f"{type(error).__name__}: {error}"
        self._note(why)
        self._metrics.position(
            partitions=self._partitions,
            lag=self._lag,
            inflight=self._delivery.inflight,
            last_commit=self._last_commit,
            oldest_seconds=self._delivery.oldest_seconds(time.time()),
            known_at=self._known_at,
        )
        self._progress.ticked(lag=self._lag, known=why is None)

    def _note(self, why: str | None) -> None:
        """Remember whether the brokers have answered; say that they do not, once a minute, and when they do again."""
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
                consequence="what waits is not known; nothing is lost, the events stay on the brokers",
                next="if it lasts: tagstream doctor, docs/runbooks/BrokersUnreachable.md",
            )

    async def _read(self) -> None:
        consumer = self._app.consumer
        if (why := consumer.standstill()) is not None:
            self._delivery.broken(DeliveryError(f"nothing will be read any more: {why}"))
        assigned = sorted(consumer.assignment())
        # Where the log begins matters to what was just taken up, to what was never committed, and where records are missing.
        unknown = [tp for tp in assigned if tp not in self._committed or tp in consumer.resumed_at or tp in consumer.skipped]
        # What is done in the meantime is beyond what the brokers will have said.
        acknowledged = dict(self._delivery.acknowledged)
        thread = consumer._thread  # noqa: SLF001 - Faust passes neither `committed` nor `position` through
        if assigned:
            looked = await thread.beside(_look, thread, assigned, unknown)
        else:
            await thread.beside(_answer, thread)
            looked = _Looked()
        begins = looked.begins
        self._count_expired(consumer, begins)
        places = self._places(consumer, looked, acknowledged)
        self._look_for_another_log(places)
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
        """
        Events that retention has deleted behind the commit: they are lost to everybody, and that must not be in silence.

        Before a partition was taken up, or before a worker that was too slow came to them; then the gap also has what was no event.
        """
        missed = [(tp, consumer.resumed_at.pop(tp), begins[tp]) for tp in begins if tp in consumer.resumed_at]
        for tp in [tp for tp in consumer.skipped if tp in begins]:
            first, behind = consumer.skipped.pop(tp)
            missed.append((tp, first, min(behind, begins[tp])))
        expired: Counter[int] = Counter()
        for tp, first, behind in missed:
            expired[tp.partition] += max(0, behind - max(first, self._expired.get(tp, 0)))
            self._expired[tp] = max(behind, self._expired.get(tp, 0))
        expired = +expired
        if expired:
            self._metrics.expired(sum(expired.values()))
            log.error(
                "events_expired_unread",
                events=sum(expired.values()),
                by_partition=dict(expired),
                why="the topic's retention has deleted them before this group had committed them",
                next="raise retention.ms or retention.bytes of the topic above the longest outage that you must survive",
            )

    def _look_for_another_log(self, places: Mapping[TP, Place]) -> None:
        """
        A topic that was made anew, or lost its end with a broker: Faust drops what comes below the offsets it knows, in silence.

        A new process knows only the commit, which goes with the topic. Where the commit stays, somebody has to say what is right.
        A leader that was just elected may not know the end of its log yet.
        """
        now = time.monotonic()
        self._short = {tp: self._short.get(tp, now) for tp, place in places.items() if place.ends_short}
        for tp, since in self._short.items():
            if now - since < SHORT_SECONDS:
                continue
            self._short[tp] = now
            place = places[tp]
            what = f"{tp.topic}/{tp.partition} ends at offset {place.end}, and was done up to {max(place.committed or 0, place.acknowledged or 0)}"
            if place.end < (place.acknowledged or 0):
                self._delivery.broken(
                    DeliveryError(f"{what}: the topic was made anew, or its end was lost. Nothing is wrong here")
                )
            log.error(
                "log_ends_before_commit",
                what=what,
                why="the topic was made anew, or its end was lost with a broker; new events below the commit are not read",
                next="docs/runbooks/Stalled.md: stop the workers and set the group's offset of this partition to the earliest, or to its end",
            )

    def _settled(self, places: Mapping[TP, Place]) -> dict[TP, Place]:
        """The same, and which of them have been quiet at the same end for long enough. Forgets those that are not held any more."""
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

    def _places(self, consumer: Any, looked: "_Looked", acknowledged: Mapping[tuple[str, int], int]) -> dict[TP, Place]:
        self._ends = {**self._ends, **looked.ends}
        waiting = self._delivery.holds()
        places = {
            tp: Place(
                begin=looked.begins.get(tp, 0),
                # Of a partition without a leader the last that was known.
                end=looked.ends[tp]
                if tp in looked.ends
                else max(self._ends.get(tp, 0), committed or 0, acknowledged.get(tp, 0)),
                committed=committed,
                fetched=fetched,
                handed_out=consumer.handed_out(tp),
                waiting=tuple(tp) in waiting,
                acknowledged=acknowledged.get(tp),
            )
            for tp, (committed, fetched) in looked.found.items()
        }
        return self._settled(places)


@dataclass(slots=True, kw_only=True)
class _Looked:
    """
    What the brokers say of partitions.

    Attributes:
        ends: The ends of what may be read, of those that have a leader.
        begins: The first offsets that are still there, of those that this was asked of.
        found: The group's offset, None before the first commit, and up to where records were fetched.
    """

    ends: Mapping[TP, int] = field(default_factory=dict)
    begins: Mapping[TP, int] = field(default_factory=dict)
    found: dict[TP, tuple[int | None, int | None]] = field(default_factory=dict)


async def _answer(thread: Any) -> None:
    """In the consumer's thread. A worker without partitions has nothing to ask, and still knows whether there are brokers."""
    if not await thread._ensure_consumer()._client.force_metadata_update():  # noqa: SLF001
        msg = "no broker answers"
        raise ConnectionError(msg)


async def _look(thread: Any, assigned: list[TP], unknown: list[TP]) -> _Looked:
    """In the consumer's thread."""
    inner = thread._ensure_consumer()  # noqa: SLF001
    cluster = inner._client.cluster  # noqa: SLF001
    # Nobody can say where a partition without a leader ends, and aiokafka would ask for all of them until somebody can.
    led = [tp for tp in assigned if cluster.leader_for_partition(tp) not in {None, -1}]
    # For all at once: aiokafka's own `committed` asks for each by itself, and a second is not long for two hundred.
    commits = await inner._coordinator.fetch_committed_offsets(assigned)  # noqa: SLF001
    asked = [tp for tp in unknown if tp in led]
    begins = await inner.beginning_offsets(asked) if asked else {}
    # Last: an end that is older than the commit would look like a log that has lost its end.
    ends = await thread._highwaters(led) if led else {}  # noqa: SLF001
    # A rebalance may have taken some of them away since.
    held = [tp for tp in assigned if tp in inner.assignment()]
    return _Looked(
        ends=ends,
        begins=begins,
        found={tp: (commits[tp].offset if tp in commits else None, _position(inner, tp)) for tp in held},
    )


def _position(inner: Any, tp: TP) -> int | None:
    """Up to where was fetched. aiokafka's own `position` waits where that is not known, for as long as a partition has no leader."""
    state = inner._subscription.subscription.assignment.state_value(tp)  # noqa: SLF001
    return state.position if state is not None and state.has_valid_position else None
