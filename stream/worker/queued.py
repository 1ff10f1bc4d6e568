"""An agent's stream, read without a pass of the event loop for each event."""

from collections.abc import AsyncIterator
from typing import Any

# So many events are taken at a time, while other tasks of the event loop wait.
EVENTS_AT_ONCE = 64


class QueuedStream:
    """
    Implements `delivery.Stream` over a stream of Faust's.

    Faust's stream gives the event loop a turn before each event, which costs more than the event. Here only the first event comes that
    way. Those that are in the stream's queue already follow at once, under the same two conditions: the flow is not stopped, and the
    record was read since the last rebalance.
    """

    def __init__(self, stream: Any) -> None:
        """Wrap a stream whose events are acknowledged by hand (`noack`)."""
        self._stream = stream

    async def events(self) -> AsyncIterator[Any]:
        """The events, one by one."""
        stream, app, queue = self._stream, self._stream.app, self._stream.channel.queue
        async for first in stream.events():
            yield first
            for _ in range(min(EVENTS_AT_ONCE, queue.qsize())):
                # While the agent waits, a rebalance may clear the queue.
                if queue.empty() or stream.should_stop:
                    break
                event = queue.get_nowait()
                if app.flow_control.is_active() and event.message.generation_id == app.consumer_generation_id:
                    event.message.tracked = True
                    yield event

    async def ack(self, event: Any) -> bool:
        """Mark the event as done."""
        return bool(event.ack())
