"""The connections of a server, within bounds: what a client may send, how long that may take, and what it may leave unread.

The work for one read is bounded too, so that requests for health are answered between two reads of any other connection.
"""

import asyncio
import sys
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

# The first line and the headers of a request, from the connection or from their first byte on.
HEAD_SECONDS = 10.0
MOST_HEAD_BYTES = 16 * 1024
# Of a connection at once. asyncio's own 256 KiB can be 43,000 chunks of one byte, or a head that is parsed whole before it is refused.
READ_BYTES = 16 * 1024
# A chunk costs the same whatever its size. A body may have so many, and one more for so many bytes of content.
FREE_CHUNKS = 1024
BYTES_A_CHUNK = 64
# The line before a chunk has its size, and perhaps an extension. h11's time for a line that is none grows with the square of its length.
MOST_LINE_BYTES = 1024
# A client that takes nothing of its answer for so long has gone.
WRITE_SECONDS = 30.0
# Answers that their clients have not taken, over all connections.
MOST_UNREAD_BYTES = 64 * 1024 * 1024
REFUSALS = {
    400: "This is no request of HTTP/1.1, so nothing was changed. Next: correct it.",
    413: f"The body comes in chunks too small for its size, so nothing was changed. Next: send it with Content-Length, or in chunks of {BYTES_A_CHUNK} bytes and more.",
    431: f"The first line and the headers have more than {MOST_HEAD_BYTES} bytes, so nothing was changed. Next: send fewer.",
    501: "The body has an encoding that is not known here, so nothing was changed. Next: send it with Content-Length.",
}
_HeadEvent = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class Connections(ServerState):
    """
    All connections of a server. One without a request under way makes room for a new one, so that clients that say nothing keep nobody out.

    Attributes:
        most: The most at once.
        spare: Those without a request under way; the one that has been so for the longest time is the first.
        unread: Those whose client has not taken all of an answer; the one that began to wait first is the first.
    """

    def __init__(self, most: int) -> None:
        """At most so many at once."""
        super().__init__()
        self.most = most
        self.spare: dict[Bounded, None] = {}
        self.unread: dict[Bounded, None] = {}

    def opened(self, one: "Bounded") -> None:
        """Take a new connection among those without a request; if there are too many, the first of these is closed."""
        self.spare[one] = None
        if len(self.connections) > self.most:
            next(iter(self.spare)).drop()

    def waits(self, one: "Bounded") -> None:
        """Bytes of an answer wait for this client; if there are too many bytes over all, those that wait longest are given up."""
        self.unread[one] = None
        while len(self.unread) > 1 and sum(each.unread_bytes for each in self.unread) > MOST_UNREAD_BYTES:
            next(iter(self.unread)).drop()

    def forget(self, one: "Bounded") -> None:
        """A connection has ended."""
        self.connections.discard(one)
        self.spare.pop(one, None)
        self.unread.pop(one, None)


class _Reader(h11.Connection):
    """
    h11's reader, and stricter.

    A head that can be read in two ways lets a second request through a proxy inside the first. A body in chunks of one byte costs six
    times its length, and a parser's call for each.
    """

    _chunks = _content = 0
    # A chunk's line may be the next thing to come.
    _line = False

    def next_event(self) -> _HeadEvent:
        """
        As h11 has it.

        Raises:
            h11.RemoteProtocolError: It is no request; a head is too large or says in two ways where its body ends; a chunk's line is too
                long, or there are too many chunks.
        """
        if self.their_state is h11.IDLE:
            return self._head()
        if self._line and self.their_state is h11.SEND_BODY and self._line_bytes() > MOST_LINE_BYTES:
            raise h11.RemoteProtocolError(REFUSALS[400])
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._line = event.chunk_end
            self._chunks += event.chunk_end
            self._content += len(event.data)
            if self._chunks > FREE_CHUNKS + self._content // BYTES_A_CHUNK:
                raise h11.RemoteProtocolError(REFUSALS[413], error_status_hint=413)
        return event

    def _head(self) -> _HeadEvent:
        before = len(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Request):
            # h11 bounds a head that is not whole yet, not one that comes at once.
            if before - len(self.trailing_data[0]) > MOST_HEAD_BYTES:
                raise h11.RemoteProtocolError(REFUSALS[431], error_status_hint=431)
            names = {name for name, _ in event.headers}
            self._line = b"transfer-encoding" in names
            if self._line and (b"content-length" in names or event.http_version < b"1.1"):
                raise h11.RemoteProtocolError(REFUSALS[400])
            self._chunks = self._content = 0
        return event

    def _line_bytes(self) -> int:
        """The bytes up to the next end of a line, behind the end of the chunk before."""
        waiting = self.trailing_data[0]
        end = waiting.find(b"\r\n", 2)
        return len(waiting) if end < 0 else end


class Bounded(H11Protocol, asyncio.BufferedProtocol):
    """One connection. uvicorn bounds the pause between two requests; this bounds heads, the time for them, reads, and answers that are not taken."""

    _head: asyncio.TimerHandle | None = None
    _write: asyncio.TimerHandle | None = None

    def __init__(
        self,
        config: Config,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Arguments are those of uvicorn's protocol; its state counts the connections."""
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _Reader(h11.SERVER, MOST_HEAD_BYTES)
        self._all = server_state

    @property
    def unread_bytes(self) -> int:
        """The bytes that wait for the client in this process."""
        return self.transport.get_write_buffer_size()

    def drop(self) -> None:
        """End the connection at once."""
        self._all.forget(self)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        # `pause_writing` comes for every byte that the client does not take, so that all of them can be counted.
        transport.set_write_buffer_limits(high=0)
        self._head = self.loop.call_later(HEAD_SECONDS, transport.abort)
        self._all.opened(self)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's name
        """Where the next read goes."""
        self._read = bytearray(READ_BYTES)
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        """A read is there."""
        self.data_received(bytes(memoryview(self._read)[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Take bytes. The time of a head begins with its first byte."""
        super().data_received(data)
        if not self.flow.write_paused and (self.cycle is None or self.cycle.response_complete):
            self._head = self._head or self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def handle_events(self) -> None:
        """Go on with what has come, unless the client leaves an answer unread: then no further one is made for it."""
        if self.flow.write_paused:
            self.flow.pause_reading()
            return
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._all.spare.pop(self, None)
            self._disarm()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._all.spare[self] = None
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with the bytes, and close the connection; in the middle of an answer, close it."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.abort()
            return
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        sentence = REFUSALS.get(status, msg).encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(sentence))),
            ("Connection", "close"),
        ]
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=sentence), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def pause_writing(self) -> None:
        """The client does not take what is written."""
        super().pause_writing()
        self._look_at_reader()
        self._all.waits(self)

    def resume_writing(self) -> None:
        """The client has taken all: go on with what it has sent meanwhile."""
        super().resume_writing()
        self._all.unread.pop(self, None)
        if self._write is not None:
            self._write.cancel()
            self._write = None
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.handle_events()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._disarm()
        if self._write is not None:
            self._write.cancel()
        self._all.forget(self)
        super().connection_lost(exc)

    def _look_at_reader(self, before: int | None = None) -> None:
        """Look again after `WRITE_SECONDS`, as long as the client has taken something of what `before` waited for it."""
        left = self.unread_bytes
        if before is not None and left >= before:
            self.transport.abort()
        else:
            self._write = self.loop.call_later(WRITE_SECONDS, self._look_at_reader, left)

    def _disarm(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
