"""The engine of a worker: Faust's app behind the verbs of `deliver/engine.py`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

import faust.transport.drivers.aiokafka as driver
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.engine import Holder, Say
from tagstream.stream.kafka.group_memory import GroupMemory
from tagstream.stream.kafka.transactions import Transactions
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.faust_app import App, raw_topic

COMMIT_SECONDS = 5.0
# The most events that are taken at a time, while other tasks of the event loop wait.
EVENTS_AT_ONCE = 64
log = logger("tagstream.app")


class FaustEngine:
    """Implements `Engine`. It looks producer and consumer up at each call, because Faust makes them when the app starts."""

    def __init__(self, app: App, settings: Settings, memory: GroupMemory) -> None:
        """Join an app of `faust_app` that has not started."""
        self._app = app
        self._names = settings.topic_names
        self.transacts = settings.delivery == "exactly_once"
        app.group_memory = self.memory = memory
        if self.transacts:
            app.transactions = Transactions(settings, lost=self._lost, memory=memory)

    def subscribe(self, name: str, topics: Sequence[str], run: Callable[[AsyncIterator[Any]], Awaitable[None]]) -> None:
        """Run an agent on these topics."""

        async def agent(stream: Any) -> None:
            await run(queued(stream.noack()))

        self._app.declare(name, agent, raw_topic(self._app, *topics))

    def held_by(self, holder: Holder) -> None:
        """The consumer calls this holder."""
        self._app.delivery = holder

    def ack(self, events: Sequence[Any]) -> None:
        """Mark the events as done."""
        self._app.consumer.ack_all([event.message for event in events])

    async def commit(self) -> None:
        """Commit what is acknowledged; events whose commit fails are read again."""
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                # While another commit is under way, the first call only waits for that.
                await self._app.consumer.commit()
                await self._app.consumer.commit()
        except (TimeoutError, ConnectionError, driver.KafkaError, ConsumerNotStarted) as error:
            log.warning("commit_failed", why=f"{type(error).__name__}: {error}", consequence="some outcomes will be sent again")

    def send(self, publication: Publication) -> Awaitable[Awaitable[Any]]:
        """
        Hand a publication to Faust's producer, with its copy for `audit` if it has one.

        Faust's topic objects are bypassed: they would encode the bytes again, at 20 times the cost.
        """
        if publication.audit is not None:
            return self._with_copy(publication)
        return self._queue(publication, publication.destination.value, publication.value)

    def _queue(self, publication: Publication, topic: str, value: bytes | None) -> Awaitable[Awaitable[Any]]:
        return cast(
            "Awaitable[Awaitable[Any]]",
            self._app.producer.send(self._names[topic], publication.key, value, None, None, list(publication.headers)),
        )

    async def _with_copy(self, publication: Publication) -> Awaitable[Any]:
        # The event is acknowledged after outcome and copy are confirmed. A process that ends in between sends both again.
        return asyncio.gather(*[await self._queue(publication, topic, value) for topic, value in publication.records])

    async def transact(self, sources: Sequence[Any], publications: Sequence[Publication]) -> list[Publication]:
        """Deliver by the transactions of the app, which only an engine that transacts has."""
        assert self._app.transactions is not None
        return await self._app.transactions.deliver(sources, publications)

    def sender(self, topic: str) -> Say:
        """
        A function that hands a key and a value (or None) for this topic to Faust's producer; two awaits, as for `send`.

        Records of one batch share a confirmation (`one_confirmation.py`). A caller that stops waiting does not cancel it for the others.
        """

        async def say(key: bytes, value: bytes | None) -> Awaitable[Any]:
            return asyncio.shield(await self._app.producer.send(topic, key, value, None, None, []))

        return say

    def member(self) -> str:
        """The member id of Faust's consumer."""
        try:
            return str(self._app.consumer.member_id)
        except ConsumerNotStarted:
            return ""

    def _lost(self, partition: Any, after: int | None, offsets: Sequence[int]) -> int | None:
        found: int | None = self._app.consumer.lost(TP(*partition), after, offsets)
        return found


async def queued(stream: Any) -> AsyncIterator[Any]:
    """
    The events of a Faust stream that are acknowledged by hand (`noack`), one by one.

    Faust's stream gives the event loop a turn before each event, which costs more than the event. Here only the first event comes that
    way. The events that are in the stream's queue already follow at once, under Faust's two conditions: the flow is not stopped, and the
    record was read since the last rebalance.
    """
    app, queue = stream.app, stream.channel.queue
    flow, waiting = app.flow_control, queue._queue  # noqa: SLF001
    async for first in stream.events():
        yield first
        for _ in range(min(EVENTS_AT_ONCE, len(waiting))):
            # While the agent waits, a rebalance may clear the queue.
            if not waiting or stream.should_stop:
                break
            # If no task waits for room and Faust has no error for the agent, `popleft` does all that `get_nowait` would do.
            plain = not (queue._putters or queue._errors or queue._pending_pressure_drop_callbacks)  # noqa: SLF001
            event = waiting.popleft() if plain else queue.get_nowait()
            if flow.is_active() and event.message.generation_id == app.consumer_generation_id:
                event.message.tracked = True
                yield event
