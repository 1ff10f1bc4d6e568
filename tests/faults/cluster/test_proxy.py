"""Each weather of the proxy is observed from both of its sides, so that a fault run knows that its faults happen."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.faults.cluster.proxy import LOOPBACK, Network, Weather
from tests.waiting import HANG_SECONDS

# A connection without a byte for this time counts as silent.
PATIENCE_SECONDS = 0.6


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that echoes."""
    with socket.create_server((LOOPBACK, 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def answer(connection: socket.socket) -> None:
    """Echo until the other side goes."""
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(1024):
            connection.sendall(data)


@contextlib.contextmanager
def link(echo: int) -> Iterator[tuple[Network, socket.socket]]:
    """A network in front of the echo, and a connection through it."""
    with (
        Network([echo]) as network,
        socket.create_connection((LOOPBACK, network.ports[0]), timeout=HANG_SECONDS) as connection,
    ):
        yield network, connection


def test_fair_weather_passes_both_ways(echo: int) -> None:
    """In fair weather the proxy passes all bytes in both directions."""
    with link(echo) as (_, connection):
        connection.sendall(b"hello")

        assert connection.recv(10) == b"hello"


@pytest.mark.parametrize("weather", [Weather.SILENT, Weather.DEAF])
def test_silence_keeps_the_connection_and_comes_late(echo: int, weather: Weather) -> None:
    """A silent connection stays open without a byte, and afterwards all bytes arrive."""
    with link(echo) as (network, connection):
        network.turn(weather)
        connection.sendall(b"hello")
        connection.settimeout(PATIENCE_SECONDS)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        connection.settimeout(HANG_SECONDS)
        network.turn(Weather.FAIR)

        assert connection.recv(10) == b"hello"


@pytest.mark.parametrize("weather", [Weather.SLOW, Weather.NARROW])
def test_a_slow_network_delivers_all_bytes(echo: int, weather: Weather) -> None:
    """Bytes that come late or a few at a time are complete."""
    with link(echo) as (network, connection):
        network.turn(weather)
        connection.sendall(b"hello")

        assert connection.recv(10) == b"hello"


def test_a_reset_closes_connections_and_accepts_new_ones(echo: int) -> None:
    """A reset ends open connections, and a client that connects again is served."""
    with link(echo) as (network, connection):
        connection.sendall(b"hello")
        connection.recv(10)
        network.reset()

        assert is_over(connection)
        assert network.cut_connections == 1
        with socket.create_connection((LOOPBACK, network.ports[0]), timeout=HANG_SECONDS) as other:
            other.sendall(b"again")
            assert other.recv(10) == b"again"


def test_a_cut_refuses_new_connections(echo: int) -> None:
    """During a cut a new connection ends at once."""
    with link(echo) as (network, connection):
        connection.sendall(b"hello")
        connection.recv(10)
        network.turn(Weather.CUT)

        assert is_over(connection)
        with socket.create_connection((LOOPBACK, network.ports[0]), timeout=HANG_SECONDS) as other:
            assert is_over(other)


def is_over(connection: socket.socket) -> bool:
    """Whether the other side has closed the connection."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
