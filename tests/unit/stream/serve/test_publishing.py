"""The queue before the broker: a word that does not come is an answer too."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence

import pytest

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.producer import UndeliveredError
from tagstream.stream.serve.errors import RequestError
from tagstream.stream.serve.publishing import MOST_WAITING, Publishing
from tests.waiting import HANG_SECONDS


class Silent:
    """A broker that says nothing before it is set free."""

    def __init__(self) -> None:
        """It has been asked for nothing."""
        self.asked = threading.Event()
        self.free = threading.Event()
        self.sent: list[Record] = []

    def deliver(self, records: Sequence[Record]) -> list[UndeliveredError | None]:
        """Wait."""
        self.sent += records
        self.asked.set()
        assert self.free.wait(HANG_SECONDS)
        return [None] * len(records)

    @contextlib.contextmanager
    def sender(self) -> Iterator["Silent"]:
        """It is connected to."""
        yield self

    async def is_asked(self) -> None:
        """Wait until the first events are on their way."""
        assert await asyncio.to_thread(self.asked.wait, HANG_SECONDS)


def events(count: int) -> list[Record]:
    """So many events."""
    return [Record(key=None, value=b"%d" % number) for number in range(count)]


def test_a_word_that_does_not_come_in_time_is_503_and_what_waits_is_not_sent() -> None:
    """A request has its own bound, whatever the client of the broker does; its events that wait in the queue are taken out."""
    broker = Silent()

    async def scenario() -> RequestError:
        publishing = Publishing(broker.sender, "content", wait_seconds=1)
        async with publishing:
            first = asyncio.create_task(publishing.publish(events(1)))
            await broker.is_asked()
            publishing.most_seconds = 0.05
            with pytest.raises(RequestError, match=r"some of 2 events \(no word within 0\.05 s\)") as refused:
                await publishing.publish(events(2))
            publishing.most_seconds = HANG_SECONDS
            last = asyncio.create_task(publishing.publish(events(3)))
            broker.free.set()
            await asyncio.gather(first, last)
        return refused.value

    found = asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS))
    assert (found.status, found.headers) == (503, {"Retry-After": "1"})
    assert [record.value for record in broker.sent] == [b"0", b"0", b"1", b"2"]
    assert {record.topic for record in broker.sent} == {"content"}


def test_more_events_than_may_wait_are_refused_with_what_they_wait_for() -> None:
    """A full queue is 503 at once, and the sentence is of the broker, not of the model."""
    broker = Silent()

    async def scenario() -> RequestError:
        async with Publishing(broker.sender, "content", wait_seconds=1) as publishing:
            first = asyncio.create_task(publishing.publish(events(1)))
            await broker.is_asked()
            full = asyncio.create_task(publishing.publish(events(MOST_WAITING)))
            await asyncio.sleep(0)
            with pytest.raises(RequestError, match=f"^{MOST_WAITING} events wait for the broker, so none") as refused:
                await publishing.publish(events(1))
            broker.free.set()
            await asyncio.gather(first, full)
        return refused.value

    found = asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS))
    assert (found.status, found.headers) == (503, {"Retry-After": "1"})
    assert len(broker.sent) == 1 + MOST_WAITING


def test_a_broken_client_is_told_to_all_that_wait() -> None:
    """An error that is none of a broker ends the sending: those on their way and those that wait get an answer at once."""
    broker = Silent()

    def breaking(records: Sequence[Record]) -> list[UndeliveredError | None]:
        Silent.deliver(broker, records)
        raise MemoryError

    broker.deliver = breaking  # type: ignore[method-assign]

    async def scenario() -> list[BaseException | None]:
        async with Publishing(broker.sender, "content", wait_seconds=1) as publishing:
            first = asyncio.create_task(publishing.publish(events(1)))
            await broker.is_asked()
            second = asyncio.create_task(publishing.publish(events(2)))
            await asyncio.sleep(0)
            broker.free.set()
            found = await asyncio.gather(first, second, return_exceptions=True)
            assert isinstance(publishing.broken, MemoryError)
            return [*found, *await asyncio.gather(publishing.publish(events(1)), return_exceptions=True)]

    for error in asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS)):
        assert isinstance(error, RequestError)
        assert (error.status, "this server ends" in str(error)) == (503, True)
