"""A producer that sends events while a run goes on, so that workers stand at the end of the log where an epoch begins. aiokafka."""

import asyncio
import json
import queue
import threading
from collections.abc import Iterable, Iterator

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tagstream.stream.contract.event import Record
from tagstream.stream.settings.settings import Settings
from tests.faults.inputs import Input, Planted, plant
from tests.waiting import HANG_SECONDS

# Far above the numbers in the ids of all other records of a run.
FIRST = 10_000_000
AT_ONCE = 200


class SteadyProducer:
    """
    Sends events from a thread of its own, each once, in turn to the partitions that there were at the start.

    Args:
        settings: Past the network.
        partitions: How many there are.
        per_second: How many events.
        seed: Fixes the events.
        earlier: What lies on `content`: `take` gives those events among it that an earlier process has sent.
    """

    def __init__(
        self, settings: Settings, *, partitions: int, per_second: float, seed: str, earlier: Iterable[Record] = ()
    ) -> None:
        """Begin at once."""
        self._settings = settings
        self._partitions = partitions
        self._pause = 1 / per_second
        self._seed = seed
        self._stopping = threading.Event()
        self._confirmed: queue.SimpleQueue[Input] = queue.SimpleQueue()
        found, self._first = recalled(seed, earlier)
        for one in found:
            self._confirmed.put(one)
        self._more = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="steady", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it still sends."""
        return not self._stopping.is_set()

    def burst(self, events: int) -> None:
        """Send so many at once, unless such a burst is on its way."""
        self._more = self._more or events

    def take(self) -> list[Input]:
        """
        The events that were confirmed since the last call.

        Raises:
            KafkaError: One could not be sent.
        """
        if self._error is not None:
            raise self._error
        return [self._confirmed.get() for _ in range(self._confirmed.qsize())]

    def stop(self) -> None:
        """Send no more; when this returns, all that was sent is confirmed."""
        self._stopping.set()
        self._thread.join(HANG_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._send())
        except (KafkaError, OSError) as error:
            self._error = error
        finally:
            self._stopping.set()

    async def _send(self) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._settings.broker_list, acks="all", enable_idempotence=True)
        await producer.start()
        events = self._events()
        try:
            while self.is_running:
                more, self._more = self._more, 0
                for start in range(0, more, AT_ONCE):
                    await self._some(producer, events, min(AT_ONCE, more - start))
                await self._some(producer, events, 1)
                await asyncio.sleep(self._pause)
        finally:
            await producer.stop()

    async def _some(self, producer: AIOKafkaProducer, events: Iterator[tuple[int, Planted]], count: int) -> None:
        sent = []
        for number, one in (next(events) for _ in range(count)):
            partition = number % self._partitions
            topic, headers = self._settings.topics.content, list(one.headers)
            sent.append((one, await producer.send(topic, key=one.key, value=one.value, headers=headers, partition=partition)))
        places = await asyncio.gather(*(confirmation for _, confirmation in sent))
        for (one, _), place in zip(sent, places, strict=True):
            self._confirmed.put(Input(planted=one, partition=place.partition, offset=place.offset))

    def _events(self) -> Iterator[tuple[int, Planted]]:
        number = self._first
        while True:
            for one in block(self._seed, number):
                yield number, one
                number += 1


def recalled(seed: str, content: Iterable[Record]) -> tuple[list[Input], int]:
    """The events of an earlier process with this seed among the records of `content`, and the number of the first one to send now."""
    blocks: dict[int, dict[str | None, Planted]] = {}
    found: list[Input] = []
    for record in content:
        event_id = json.loads(record.value or b"")["id"]
        number = int(event_id.rpartition("-")[2]) - FIRST
        if number < 0:
            continue
        first = number - number % AT_ONCE
        if first not in blocks:
            blocks[first] = {one.event_id: one for one in block(seed, first)}
        found.append(Input(planted=blocks[first][event_id], partition=record.partition, offset=record.offset))
    return found, max(blocks, default=-AT_ONCE) + AT_ONCE


def block(seed: str, first: int) -> list[Planted]:
    """So many events from the one with this number on."""
    return plant(AT_ONCE, malformed=0, seed=f"{seed}:{first}", first=FIRST + first)
