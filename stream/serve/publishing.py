"""
`?publish=true`: sends events to the topic `content`, so that what the model is unsure about reaches people.

Requests share a producer, and what comes while the broker confirms goes together afterwards.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Protocol, Self

import msgspec

from tagstream.stream.contract.event import Record, memory_bytes
from tagstream.stream.gathering import Gathering
from tagstream.stream.kafka.errors import BrokerUnreachableError, NotAuthorizedError, TopicsMissingError
from tagstream.stream.kafka.producer import CONFIRM_SECONDS, RecordTooLargeError, UndeliveredError
from tagstream.stream.logs import logger
from tagstream.stream.serve.errors import RETRY_SECONDS, BrokenError, RequestError
from tagstream.stream.settings.secret_files import SecurityError

MOST_WAITING = 1024
MOST_AT_ONCE = 256
# To make a producer and to ask for partitions is bounded by `startup_timeout_seconds` each.
MARGIN_SECONDS = 5
RETRY = {"Retry-After": str(RETRY_SECONDS)}
log = logger("tagstream.serve")
BUSY = "{waiting} events wait for the broker, so none of these was sent. Next: send the request again after Retry-After."
UNCONFIRMED = (
    "The broker has not confirmed {count} of {all} events ({why}), so it is not known whether they are in the stream. Next: send the "
    "request again; an event with the same id, or without one the same bytes, gets the same decision."
)


class Sender(Protocol):
    """Sends records and waits for the broker's word on each (`tagstream.stream.kafka.producer.VerbatimSender`)."""

    def deliver(self, records: Sequence[Record]) -> list[UndeliveredError | None]:
        """For each record None, or why it is not known to have arrived."""
        ...


class Publishing:
    """The queue of events before the broker and what empties it, for one event loop."""

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
        self._gathering: Gathering[Record, UndeliveredError | None] = Gathering(
            self._words,
            slots=1,
            at_once=MOST_AT_ONCE,
            size=lambda record: memory_bytes(record.key, record.value, record.headers),
            # A failure of the broker is a word (`_deliver`). Any other one breaks the client: the owner ends the process with it.
            fatal=BaseException,
            refusal=BrokenError,
        )
        self._sender: Sender | None = None
        self._opened = ExitStack()

    @property
    def broken(self) -> BaseException | None:
        """Why nothing is sent any more; None while all is well. Then the process must end."""
        return self._gathering.broken

    async def __aenter__(self) -> Self:
        """Begin to take events."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publishing")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection; what is under way is over, since every request has its answer."""
        self._gathering.stop(BrokenError)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._opened.close)
        self._thread.shutdown(wait=False)

    async def publish(self, records: Sequence[Record]) -> None:
        """
        Send these events; returns when the broker has all of them.

        Raises:
            RequestError: An event is too large for the topic, or the broker has not confirmed it in time.
            BrokenError: The broker's client does not send any more.
        """
        waiting = self._gathering.waiting
        if self.broken is None and waiting + len(records) > MOST_WAITING:
            raise RequestError(503, BUSY.format(waiting=waiting), RETRY)
        addressed = [msgspec.structs.replace(record, topic=self._topic) for record in records]
        try:
            async with asyncio.timeout(self.most_seconds):
                found = await self._gathering.found(addressed)
        except TimeoutError as error:
            sentence = UNCONFIRMED.format(count="some", all=len(records), why=f"no word within {self.most_seconds:g} s")
            raise RequestError(503, sentence, RETRY) from error
        failures = [error for error in found if error is not None]
        if any(isinstance(error, RecordTooLargeError) for error in failures):
            sentence = f"An event is too large for the topic {self._topic}, so it was not published. Next: shorten it."
            raise RequestError(413, sentence)
        if failures:
            raise RequestError(503, UNCONFIRMED.format(count=len(failures), all=len(records), why=failures[0]), RETRY)

    async def _words(self, records: Sequence[Record]) -> Sequence[UndeliveredError | None]:
        # A sender that hangs breaks the client: its thread cannot be taken out of it.
        async with asyncio.timeout(self.most_seconds):
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._deliver, records)

    def _deliver(self, records: Sequence[Record]) -> Sequence[UndeliveredError | None]:
        try:
            if self._sender is None:
                self._sender = self._opened.enter_context(self._make())
            return self._sender.deliver(records)
        except (BrokerUnreachableError, NotAuthorizedError, TopicsMissingError, SecurityError) as error:
            log.warning("broker_not_reached", error=str(error))
            # The next step is the operator's, not the client's.
            return [UndeliveredError(str(error).partition(" Next:")[0])] * len(records)
