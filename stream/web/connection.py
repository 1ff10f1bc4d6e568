"""The connections of a server. Bounds limit what a client may send, how long it may take to send, and what it may leave unread.

The work for one read is bounded too, so that health requests are answered between two reads of another connection.
"""

import asyncio
import sys
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

# The time for the first line and the headers of a request, from the start of the connection or from the request's first byte.
HEAD_SECONDS = 10.0
MOST_HEAD_BYTES = 16 * 1024
# The most bytes of one read. asyncio's own 256 KiB can be 43,000 chunks of one byte, or a head that is parsed whole before it is refused.
READ_BYTES = 16 * 1024
# A chunk costs the same whatever its size. A body may have `FREE_CHUNKS` chunks, and one more for every `BYTES_A_CHUNK` bytes of content.
FREE_CHUNKS = 1024
BYTES_A_CHUNK = 64
# The line before a chunk has its size, and perhaps an extension. h11's time for an invalid line grows with the square of the line's length.
MOST_LINE_BYTES = 1024
# A client that takes nothing of its answer for this time counts as gone.
WRITE_SECONDS = 30.0
# The most bytes of answers that clients have not taken, over all connections.
MOST_UNREAD_BYTES = 64 * 1024 * 1024
REFUSALS = {
    400: "This is not an HTTP/1.1 request, so nothing was changed. Next: correct it.",
    413: f"The body comes in chunks too small for its size, so nothing was changed. Next: send it with Content-Length, or in chunks of {BYTES_A_CHUNK} bytes and more.",
    431: f"The first line and the headers have more than {MOST_HEAD_BYTES} bytes, so nothing was changed. Next: send fewer.",
    501: "The body has an encoding that this server does not know, so nothing was changed. Next: send it with Content-Length.",
}
_HeadEvent = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class Connections(ServerState):
    """
    All connections of a server.

    If there are too many, the connection that has been idle for longest is closed, so that silent clients do not keep other clients out.

    Attributes:
        most: The most connections at once.
        spare: The connections without a request under way. The connection that has been idle for longest comes first.
        unread: The connections whose client has not taken all of an answer. The connection that has waited for longest comes first.
    """

    def __init__(self, most: int) -> None:
        """Allow at most `most` connections at once."""
        super().__init__()
        self.most = most
        self.spare: dict[Bounded, None] = {}
        self.unread: dict[Bounded, None] = {}

    def opened(self, one: "Bounded") -> None:
        """Add a new connection to the idle ones. If there are too many connections, the first idle one is closed."""
        self.spare[one] = None
        if len(self.connections) > self.most:
            next(iter(self.spare)).drop()

    def waits(self, one: "Bounded") -> None:
        """Note that bytes of an answer wait for this client. While too many bytes wait in all, drop the connection that waits longest."""
        self.unread[one] = None
        while len(self.unread) > 1 and sum(each.unread_bytes for each in self.unread) > MOST_UNREAD_BYTES:
            next(iter(self.unread)).drop()

    def forget(self, one: "Bounded") -> None:
        """Remove a connection that has ended."""
        self.connections.discard(one)
        self.spare.pop(one, None)
        self.unread.pop(one, None)


class _Reader(h11.Connection):
    """
    h11's reader, with stricter checks.

    A head that can be read in two ways could smuggle a second request through a proxy, inside the first request. A body in chunks of one
    byte takes six times its length, and one parser call for each chunk.
    """

    _chunks = _content = 0
    # True if the next bytes may be the line before a chunk.
    _line = False

    def next_event(self) -> _HeadEvent:
        """
        Return the next event, as in h11.

        Raises:
            h11.RemoteProtocolError: The bytes are not a request. Or the head is too large, or it states the end of the body in two ways.
                Or a chunk's line is too long, or there are too many chunks.
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
            # h11 bounds only an incomplete head, and not a head that comes in one read.
            if before - len(self.trailing_data[0]) > MOST_HEAD_BYTES:
                raise h11.RemoteProtocolError(REFUSALS[431], error_status_hint=431)
            names = {name for name, _ in event.headers}
            self._line = b"transfer-encoding" in names
            if self._line and (b"content-length" in names or event.http_version < b"1.1"):
                raise h11.RemoteProtocolError(REFUSALS[400])
            self._chunks = self._content = 0
        return event

    def _line_bytes(self) -> int:
        """Return the length of the line before the next chunk, as far as it has come, with the end of the chunk before it."""
        waiting = self.trailing_data[0]
        end = waiting.find(b"\r\n", 2)
        return len(waiting) if end < 0 else end


class Bounded(H11Protocol, asyncio.BufferedProtocol):
    """
    One connection.

    uvicorn bounds the pause between two requests. This class bounds heads, the time for a head, reads, and answers that are not taken.
    """

    _head: asyncio.TimerHandle | None = None
    _write: asyncio.TimerHandle | None = None

    def __init__(
        self,
        config: Config,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take the arguments of uvicorn's protocol. `server_state` counts the connections."""
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _Reader(h11.SERVER, MOST_HEAD_BYTES)
        self._all = server_state

    @property
    def unread_bytes(self) -> int:
        """The number of bytes that wait in this process for the client."""
        return self.transport.get_write_buffer_size()

    def drop(self) -> None:
        """End the connection at once."""
        self._all.forget(self)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a head."""
        super().connection_made(transport)
        # asyncio then calls `pause_writing` as soon as one byte is not taken, so that all waiting bytes can be counted.
        transport.set_write_buffer_limits(high=0)
        self._head = self.loop.call_later(HEAD_SECONDS, transport.abort)
        self._all.opened(self)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's name
        """Return the buffer for the next read."""
        self._read = bytearray(READ_BYTES)
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes of a read."""
        self.data_received(bytes(memoryview(self._read)[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Take bytes. The time for a head starts with the head's first byte."""
        super().data_received(data)
        if not self.flow.write_paused and (self.cycle is None or self.cycle.response_complete):
            self._head = self._head or self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def handle_events(self) -> None:
        """Handle the bytes that have come. While the client leaves an answer unread, no further request is handled."""
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
        """Answer with the fault of the bytes, and close the connection. In the middle of an answer, only close the connection."""
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
        """Note that the client does not take the answer, and start to watch it."""
        super().pause_writing()
        self._look_at_reader()
        self._all.waits(self)

    def resume_writing(self) -> None:
        """Handle the bytes that came meanwhile, now that the client has taken the whole answer."""
        super().resume_writing()
        self._all.unread.pop(self, None)
        if self._write is not None:
            self._write.cancel()
            self._write = None
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.handle_events()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers and forget the connection, which has ended."""
        self._disarm()
        if self._write is not None:
            self._write.cancel()
        self._all.forget(self)
        super().connection_lost(exc)

    def _look_at_reader(self, before: int | None = None) -> None:
        """
        Abort the connection if the client has taken nothing since the last look, else look again after `WRITE_SECONDS`.

        `before` is the number of bytes that waited at the last look; None at the first look.
        """
        left = self.unread_bytes
        if before is not None and left >= before:
            self.transport.abort()
        else:
            self._write = self.loop.call_later(WRITE_SECONDS, self._look_at_reader, left)

    def _disarm(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
