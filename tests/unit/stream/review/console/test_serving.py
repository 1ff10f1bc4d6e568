"""The server: its socket, its end by a signal, and its end by what is watched."""

import os
import signal
import threading

import httpx
import pytest

from stream.review.console.serving import AddressError, listen, serve, url
from tests.waiting import until


async def app(scope: dict[str, object], _receive: object, send: object) -> None:
    """Answers everything with two bytes."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


def test_a_taken_port_is_said_with_a_next_step() -> None:
    """The error names the address, and a way out."""
    with listen("127.0.0.1", 0) as first, pytest.raises(AddressError, match=r"cannot listen on .* Next: give another --port"):
        listen("127.0.0.1", first.getsockname()[1])


def test_an_address_of_another_machine_is_refused() -> None:
    """It is no address of this machine."""
    with pytest.raises(AddressError, match=r"cannot listen on 192\.0\.2\.1"):
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
