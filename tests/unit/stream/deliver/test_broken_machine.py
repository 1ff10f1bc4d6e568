"""A failure of the model, producer, stream or observer ends the process, and no event of the failed batch is acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest

from tagstream.monitoring.observer import NO_TOPICS
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.fatal import DeliveryError
from tests.fakes import FakeBroker, FakeStream, Gate, RecordingObserver, offset_of
from tests.unit.stream.deliver.delivering import decided, drive, quiet, rig, until

# Each of these machines breaks at offset 4. Events 0 to 3 come before it and are safe, 5 and later come after it.
BROKEN = 4


class RefusingBroker(FakeBroker):
    """A producer that raises when a record is handed over."""

    async def send(self, publication: Publication) -> asyncio.Future[None]:
        """Refuse one record."""
        if offset_of(publication) == BROKEN:
            raise ConnectionError(BROKEN)
        return await super().send(publication)


class LosingBroker(FakeBroker):
    """A broker that takes a record whose confirmation then fails, is cancelled or never comes."""

    def __init__(self, how: Callable[[asyncio.Future[None]], object]) -> None:
        """`how` is called with the confirmation and may fail or cancel it."""
        super().__init__()
        self._how = how

    async def send(self, publication: Publication) -> asyncio.Future[None]:
        """Take every record, and break the confirmation of one."""
        if offset_of(publication) != BROKEN:
            return await super().send(publication)
        self.sent.append(BROKEN)
        confirmation: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._how(confirmation)
        return confirmation


class BlockedBroker(FakeBroker):
    """A producer whose buffer is full and stays full."""

    async def send(self, publication: Publication) -> asyncio.Future[None]:
        """Take every record except one, for which the call never returns."""
        if offset_of(publication) == BROKEN:
            await asyncio.Event().wait()
        return await super().send(publication)


class DeafStream(FakeStream):
    """A Faust stream that refuses one acknowledgement."""

    def ack(self, events: Sequence[Any]) -> None:
        """Refuse the acknowledgement of one event."""
        for event in events:
            if event.message.offset == BROKEN:
                raise KeyError(BROKEN)
            super().ack([event])


class RaisingObserver(RecordingObserver):
    """An observer that raises, which the protocol forbids."""

    def received(self, events: int, repeated: int = 0, topics: Mapping[str, int] = NO_TOPICS) -> None:
        """Raise on the second batch."""
        super().received(events, repeated, topics)
        if len(self.batches) == 2:
            raise ZeroDivisionError


def breaks(how: Callable[[list[Publication]], list[Publication]]) -> Callable[[Sequence[Record]], list[Publication]]:
    """Return a `decide` that fails for the batch with the broken offset."""
    return lambda events: how(decided(events)) if events[0].offset == BROKEN else decided(events)


def raises(error: BaseException) -> Callable[[object], Any]:
    """Return a function that raises this error."""

    def throw(_: object) -> Any:
        raise error

    return throw


MACHINES: dict[str, tuple[dict[str, Any], type[BaseException], str]] = {
    "send raises": ({"broker": RefusingBroker}, ConnectionError, "4"),
    "send blocks": ({"broker": BlockedBroker, "produce_timeout_seconds": 2}, DeliveryError, "did not confirm"),
    "confirmation fails": (
        {"broker": lambda: LosingBroker(lambda future: future.set_exception(OSError("gone")))},
        OSError,
        "gone",
    ),
    "confirmation is cancelled by the producer": (
        {"broker": lambda: LosingBroker(lambda future: future.cancel())},
        DeliveryError,
        "cancelled",
    ),
    "confirmation never comes": (
        {"broker": lambda: LosingBroker(lambda _: None), "produce_timeout_seconds": 2},
        DeliveryError,
        "did not confirm 1 outcome within 2 s",
    ),
    "decide raises": ({"decide": lambda: breaks(raises(MemoryError("full")))}, MemoryError, "full"),
    "decide exits": ({"decide": lambda: breaks(raises(SystemExit(3)))}, SystemExit, "3"),
    "decide loses one": ({"decide": lambda: breaks(lambda found: found[:-1])}, DeliveryError, "1 events became 0 outcomes"),
    "decide invents one": ({"decide": lambda: breaks(lambda found: [*found, *found])}, DeliveryError, "became 2 outcomes"),
    "decide hangs": (
        {"decide": lambda: Gate(decided, BROKEN), "inference_timeout_seconds": 2},
        DeliveryError,
        "the model did not answer for a batch of 1 events within 2 s",
    ),
    "acknowledgement raises": ({"stream": DeafStream}, KeyError, "4"),
    "observer raises": ({"observer": RaisingObserver}, ZeroDivisionError, ""),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_broken_machine_ends_the_process_and_acknowledges_neither_its_batch_nor_later_ones(name: str) -> None:
    """`fail` is called once with the cause, and earlier events, which were confirmed, stay acknowledged."""
    parts, kind, says = MACHINES[name]

    async def scenario() -> None:
        made = {key: part() if callable(part) else part for key, part in parts.items()}
        async with rig(**made) as it:
            it.stream.feed(0, 1, 2, 3)
            await until(lambda: it.stream.acknowledged == [0, 1, 2, 3])
            it.stream.feed(BROKEN)
            await until(lambda: it.stream.taken == BROKEN + 1)
            await asyncio.sleep(0)
            it.stream.feed(*range(BROKEN + 1, 40))
            await until(lambda: bool(it.death.causes))
            await quiet()
            assert it.stream.acknowledged == [0, 1, 2, 3]
            (cause,) = it.death.causes
            assert isinstance(cause, kind)
            assert says in str(cause)

    drive(scenario)


def test_an_error_of_the_stream_itself_ends_the_process() -> None:
    """The agent itself must not raise, because Faust would then stop gracefully, and commit."""

    class TornStream(FakeStream):
        async def events(self) -> AsyncIterator[Any]:
            async for event in super().events():
                yield event
                raise ConnectionResetError

    async def scenario() -> None:
        async with rig(stream=TornStream(), broker=FakeBroker(confirms=False), feed=[0]) as it:
            await until(lambda: bool(it.death.causes))
            assert isinstance(it.death.causes[0], ConnectionResetError)
            assert it.stream.acknowledged == []

    drive(scenario)
