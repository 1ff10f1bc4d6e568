"""A delivery over fakes, and helpers that wait in its tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from tagstream.monitoring.health import Progress
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.crash.guard import Guard
from tagstream.stream.deliver.delivery import Admit, Delivery
from tagstream.stream.settings.settings import Settings
from tests.fakes import ANY_OUTCOME, Clock, Death, Died, FakeBroker, FakeEngine, FakeStream, Gate, RecordingObserver, Transact

# Only ends tests that hang.
SECONDS = 100


def decided(events: Sequence[Record]) -> list[Publication]:
    """One publication an event, with the offset as its key."""
    return [
        Publication(
            destination=Destination.TAGGED,
            key=str(event.offset).encode(),
            value=event.value,
            headers=(),
            observation=Observation(
                destination=Destination.TAGGED, created_ms=event.timestamp_ms, label="other", confidence=0.5
            ),
            outcome=ANY_OUTCOME,
        )
        for event in events
    ]


@dataclass
class Rig:
    """A running delivery with its fakes."""

    delivery: Delivery
    stream: FakeStream
    broker: FakeBroker
    observer: RecordingObserver
    death: Death
    run: asyncio.Task[None]


@contextlib.asynccontextmanager
async def rig(
    *,
    decide: Callable[[Sequence[Record]], list[Publication]] = decided,
    broker: FakeBroker | None = None,
    stream: FakeStream | None = None,
    observer: RecordingObserver | None = None,
    feed: Sequence[int] = (),
    transact: Transact | None = None,
    guard: Guard | None = None,
    admit: Admit | None = None,
    **knobs: Any,
) -> AsyncIterator[Rig]:
    """Run a delivery until the block ends, then cancel the delivery. Exceptions that the fakes raise in tasks are not reported."""
    broker, stream, observer = broker or FakeBroker(), stream or FakeStream(), observer or RecordingObserver()
    death = Death()
    knobs = {"batch_max_events": 4, "inference_threads": 2} | knobs
    delivery = Delivery(
        decide=decide,
        engine=FakeEngine(stream, broker, transact),
        observer=observer,
        progress=Progress(stall_seconds=20, monotonic=Clock()),
        settings=Settings(**knobs),
        guard=guard,
        admit=admit,
        fail=death,
    )
    asyncio.get_running_loop().set_exception_handler(lambda _, __: None)
    stream.feed(*feed)
    run = asyncio.create_task(delivery.run(stream.events()))
    try:
        yield Rig(delivery, stream, broker, observer, death, run)
    finally:
        if isinstance(decide, Gate):
            decide.open()
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError, Died):
            await run


def drive(scenario: Callable[[], Coroutine[Any, Any, None]], *, seconds: float = SECONDS) -> None:
    """Run a scenario on a fresh event loop for at most `seconds` of the loop's clock."""
    asyncio.run(asyncio.wait_for(scenario(), seconds))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition is true. `drive` bounds the wait."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def quiet() -> None:
    """Give the loop and the threads time to go on, before an assertion that something has not happened."""
    for _ in range(40):
        await asyncio.sleep(0.001)
