"""
`?publish=true`: sends events to the topic `content`, so that what the model is unsure about reaches people.

Requests share a producer, and what comes while the broker confirms goes together afterwards.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from stream.contract.record import Record, memory_bytes
from stream.deliver.batcher import Batcher
from stream.kafka.errors import BrokerUnreachableError, NotAuthorizedError, TopicsMissingError
from stream.kafka.producer import CONFIRM_SECONDS, TooLargeError, UndeliveredError
from stream.logs import logger
from stream.serve.errors import RETRY_SECONDS, BrokenError, BusyError, RequestError
from stream.settings.secret_files import SecurityError

MOST_WAITING = 1024
MOST_AT_ONCE = 256
# To make a producer and to ask for partitions is bounded by `startup_timeout_seconds` each.
MARGIN_SECONDS = 5
RETRY = {"Retry-After": str(RETRY_SECONDS)}
log = logger("tagstream.serve")
UNCONFIRMED = (
    "The broker has not confirmed {count} of {all} events ({why}), so it is not known whether they are in the stream. Next: send the "
    "request again; an event with the same id, or without one the same bytes, gets the same decision."
)


class Sender(Protocol):
    """Sends records and waits for the broker's word on each (`stream.kafka.producer.VerbatimSender`)."""

    def deliver(self, records: Sequence[Record]) -> list[UndeliveredError | None]:
        """For each record None, or why it is not known to have arrived."""
        ...


@dataclass(slots=True)
class _Event:
    record: Record
    sent: asyncio.Future[UndeliveredError | None]


class Publishing:
    """
    The queue of events for the broker, for one event loop.

    Attributes:
        broken: Why nothing is sent any more; None while all is well. Then the process must end.
    """

    def __init__(self, sender: Callable[[], AbstractContextManager[Sender]], topic: str, *, wait_seconds: float) -> None:
        """
        Connect to nothing yet: whoever only asks for decisions needs no broker.

        Args:
            sender: Makes the sender at the first event.
            topic: The events' topic.
            wait_seconds: The most that the making of a sender takes, and the question for partitions.
        """
        self._make = sender
        self._topic = topic
        # One delivery may be under way, and one waits for it.
        self.most_seconds = 2 * (2 * wait_seconds + CONFIRM_SECONDS + MARGIN_SECONDS)
        self._batcher: Batcher[_Event] = Batcher(limit=MOST_AT_ONCE, size=_size, waiting=MOST_WAITING)
        self._waiting = 0
        self._unsent: set[asyncio.Future[UndeliveredError | None]] = set()
        self._sender: Sender | None = None
        self._opened = ExitStack()
        self.broken: BaseException | None = None

    async def __aenter__(self) -> Self:
        """Begin to wait for events."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publishing")
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection; what is under way is over, since every request has its answer."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await asyncio.get_running_loop().run_in_executor(self._thread, self._opened.close)
        self._thread.shutdown(wait=False)

    async def publish(self, records: Sequence[Record]) -> None:
        """
        Send these events; returns when the broker has all of them.

        Raises:
            RequestError: An event is too large for the topic, or the broker has not confirmed it in time.
            BrokenError: Nothing is sent any more.
        """
        if self.broken is not None:
            raise BrokenError
        if self._waiting + len(records) > MOST_WAITING:
            raise BusyError(self._waiting)
        loop = asyncio.get_running_loop()
        events = [_Event(_addressed(record, self._topic), loop.create_future()) for record in records]
        self._waiting += len(events)
        for event in events:
            self._unsent.add(event.sent)
            event.sent.add_done_callback(self._unsent.discard)
        for event in events:
            await self._batcher.put(event)
        try:
            async with asyncio.timeout(self.most_seconds):
                found = await asyncio.gather(*(event.sent for event in events))
        except TimeoutError as error:
            sentence = UNCONFIRMED.format(count="some", all=len(events), why=f"no word within {self.most_seconds:g} s")
            raise RequestError(503, sentence, RETRY) from error
        failures = [error for error in found if error is not None]
        if any(isinstance(error, TooLargeError) for error in failures):
            sentence = f"An event is too large for the topic {self._topic}, so it was not published. Next: shorten it."
            raise RequestError(413, sentence)
        if failures:
            raise RequestError(503, UNCONFIRMED.format(count=len(failures), all=len(events), why=failures[0]), RETRY)

    async def _run(self) -> None:
        while True:
            events = await self._batcher.next_batch()
            self._waiting -= len(events)
            records = [event.record for event in events]
            try:
                results = await asyncio.get_running_loop().run_in_executor(self._thread, self._deliver, records)
            except Exception as error:  # noqa: BLE001 - no error of a broker: the owner ends the process with it
                self.broken = error
                # Those that wait in the queue too: nobody takes them any more.
                for sent in list(self._unsent):
                    if not sent.done():
                        sent.set_exception(BrokenError())
                return
            for event, result in zip(events, results, strict=True):
                if not event.sent.done():
                    event.sent.set_result(result)

    def _deliver(self, records: Sequence[Record]) -> Sequence[UndeliveredError | None]:
        try:
            if self._sender is None:
                self._sender = self._opened.enter_context(self._make())
            return self._sender.deliver(records)
        except (BrokerUnreachableError, NotAuthorizedError, TopicsMissingError, SecurityError) as error:
            log.warning("broker_not_reached", error=str(error))
            # The next step is the operator's, not the client's.
            return [UndeliveredError(str(error).partition(" Next:")[0])] * len(records)


def _addressed(record: Record, topic: str) -> Record:
    return Record(key=record.key, value=record.value, headers=record.headers, topic=topic)


def _size(event: _Event) -> int:
    return memory_bytes(event.record.key, event.record.value, event.record.headers)
