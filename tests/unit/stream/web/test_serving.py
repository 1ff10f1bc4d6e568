"""The server: its socket, its end by a signal, and its end by what is watched."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from tagstream.monitoring.server.server import _listening
from tagstream.stream.web import connection, serving
from tagstream.stream.web.connection import Bounded, Connections
from tagstream.stream.web.serving import ListenError, listen, serve, url
from tests.waiting import HANG_SECONDS, until


async def app(scope: dict[str, object], _receive: object, send: object) -> None:
    """Answers everything with two bytes."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


@pytest.mark.parametrize("listening", [listen, _listening], ids=["serve and the console", "the metrics of a worker"])
def test_no_answer_waits_for_the_clients_acknowledgement(listening: Callable[[str, int], socket.socket]) -> None:
    """Nagle's algorithm is off on the connections of every listening socket, as asyncio takes them."""

    async def switched_off() -> bool:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listening("127.0.0.1", 0) as bound:
            async with await asyncio.start_server(connected, sock=bound):
                _, client = await asyncio.open_connection(*bound.getsockname())
                nodelay = await asyncio.wait_for(found, HANG_SECONDS)
                client.close()
                await client.wait_closed()
                return bool(nodelay)

    assert asyncio.run(switched_off())


def test_a_taken_port_is_said_with_a_next_step() -> None:
    """The error names the address, and a way out."""
    with listen("127.0.0.1", 0) as first, pytest.raises(ListenError, match=r"cannot listen on .* Next: give another --port"):
        listen("127.0.0.1", first.getsockname()[1])


def test_an_address_of_another_machine_is_refused() -> None:
    """It is no address of this machine."""
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0)


def test_the_address_that_is_said_can_be_opened_here() -> None:
    """A browser on the same machine cannot open 0.0.0.0."""
    with listen("0.0.0.0", 0) as everywhere:  # noqa: S104 - closed at once
        assert url(everywhere) == f"http://127.0.0.1:{everywhere.getsockname()[1]}/"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    """`serve` returns, so that store and brokers are closed after it; the signal does not end the process."""
    answers: list[str] = []
    with listen("127.0.0.1", 0) as listening:

        def look() -> None:
            answers.append(until(lambda: httpx.get(url(listening)).text, "the server answers"))
            os.kill(os.getpid(), number)

        client = threading.Thread(target=look)
        client.start()
        serve(app, listening, lambda: None)
        client.join()
    assert answers == ["ok"]


def test_what_is_watched_ends_it() -> None:
    """When the follower has ended, no page may be served from a store that nobody fills."""

    def ended() -> None:
        msg = "the follower has ended"
        raise RuntimeError(msg)

    with listen("127.0.0.1", 0) as listening, pytest.raises(RuntimeError, match="the follower has ended"):
        serve(app, listening, ended)


def talked(bytes_sent: bytes) -> bytes:
    """The answers of the server to these bytes, until it closes the connection."""
    found = bytearray()
    with listen("127.0.0.1", 0) as listening:

        def talk() -> None:
            with socket.create_connection(listening.getsockname()[:2], timeout=HANG_SECONDS) as client:
                client.sendall(bytes_sent)
                # A connection may be closed by a reset.
                with contextlib.suppress(ConnectionResetError):
                    while part := client.recv(65_536):
                        found.extend(part)
            os.kill(os.getpid(), signal.SIGTERM)

        client = threading.Thread(target=talk)
        client.start()
        serve(app, listening, lambda: None)
        client.join()
    return bytes(found)


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"", 0),
        (b"GET / HTT", 0),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", 0),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTT", 1),
    ],
    ids=["nothing", "half a line", "half a header", "a request and half another one"],
)
def test_a_connection_without_a_whole_head_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes, answers: int) -> None:
    """Clients that say nothing, or never finish, would otherwise hold all connections for ever."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    # The pause after a request, which a half request behind it does not end.
    monkeypatch.setattr(serving, "IDLE_SECONDS", 1)
    assert talked(sent).count(b"200 OK") == answers


def test_a_connection_is_read_in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two of them other connections have their turn."""
    sizes: list[int] = []
    taken = Bounded.data_received

    def seen(protocol: Bounded, data: bytes) -> None:
        sizes.append(len(data))
        taken(protocol, data)

    monkeypatch.setattr(Bounded, "data_received", seen)
    body = b"x" * 200_000
    assert b"200 OK" in talked(
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    assert max(sizes) <= connection.READ_BYTES


def test_the_parts_beside_it_outlive_its_requests() -> None:
    """The service that works on requests begins before the first and ends after the last, and hears of the stop before it ends."""
    steps: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        steps.append("begun")
        yield
        steps.append("ended")

    with listen("127.0.0.1", 0) as listening:

        def look() -> None:
            steps.append(until(lambda: httpx.get(url(listening)).text, "the server answers"))
            os.kill(os.getpid(), signal.SIGTERM)

        client = threading.Thread(target=look)
        client.start()
        serve(app, listening, lambda: None, lifespan=lifespan, stopping=lambda: steps.append("stopping"))
        client.join()
    assert steps == ["begun", "ok", "stopping", "ended"]


class Loop(asyncio.SelectorEventLoop):
    """A loop that only notes what is to happen later."""

    def __init__(self) -> None:
        super().__init__()
        self.later: list[Callable[[], object]] = []

    def call_later(self, _: float, callback: Callable[..., object], *args: Any, **__: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        """Note it."""
        self.later.append(lambda: callback(*args))
        return asyncio.TimerHandle(0, callback, args, self)


class Slow(asyncio.Transport):
    """A connection of which so many bytes wait for the client."""

    waits = 100
    aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Ignore the limits."""

    def get_write_buffer_size(self) -> int:
        """The bytes."""
        return self.waits

    def is_closing(self) -> bool:
        """Not by itself."""
        return False

    def pause_reading(self) -> None:
        """A test hands over what is read."""

    def resume_reading(self) -> None:
        """The same."""

    def abort(self) -> None:
        """Note it."""
        self.aborted = True


def test_a_slow_reader_is_cut_only_when_it_takes_nothing() -> None:
    """As long as less waits at each look, the answer goes on."""
    loop, transport = Loop(), Slow()
    config = uvicorn.Config(app, log_config=None)
    config.load()
    protocol = Bounded(config, Connections(1), {}, _loop=loop)
    protocol.connection_made(transport)
    loop.later.clear()
    protocol.pause_writing()
    for waits in (90, 1):
        transport.waits = waits
        loop.later.pop()()
        assert not transport.aborted
    loop.later.pop()()
    loop.close()
    assert transport.aborted
    assert not loop.later


class Client:
    """A connection of a server with room for two; the server's application never answers."""

    def __init__(self, connections: Connections, loop: asyncio.AbstractEventLoop) -> None:
        config = uvicorn.Config(app, log_config=None)
        config.load()
        self.transport = Slow()
        self.protocol = Bounded(config, connections, {}, _loop=loop)
        self.protocol.connection_made(self.transport)


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that is closed at the end, with the requests that began on it."""
    made = Loop()
    yield made
    begun = asyncio.all_tasks(made)
    for task in begun:
        task.cancel()
    if begun:
        made.run_until_complete(asyncio.wait(begun))
    made.close()


def test_the_connection_that_was_silent_longest_makes_room(loop: Loop) -> None:
    """One with a request under way stays, also where it is the oldest."""
    connections = Connections(2)
    busy, silent = Client(connections, loop), Client(connections, loop)
    busy.protocol.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    third = Client(connections, loop)
    assert [one.transport.aborted for one in (busy, silent, third)] == [False, True, False]


def test_the_answer_that_waits_longest_is_given_up(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many bytes wait over all connections; one that alone is too large is still sent."""
    monkeypatch.setattr(connection, "MOST_UNREAD_BYTES", 150)
    connections = Connections(9)
    first, second = Client(connections, loop), Client(connections, loop)
    first.transport.waits = 1000
    first.protocol.pause_writing()
    assert not first.transport.aborted
    second.protocol.pause_writing()
    assert (first.transport.aborted, second.transport.aborted) == (True, False)
    second.protocol.resume_writing()
    assert not connections.unread


def test_no_further_request_is_read_of_a_client_that_takes_no_answer(loop: Loop) -> None:
    """It is read when the client has taken all."""
    connections = Connections(9)
    client = Client(connections, loop)
    client.protocol.pause_writing()
    client.protocol.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert not connections.tasks
    client.protocol.resume_writing()
    assert len(connections.tasks) == 1
