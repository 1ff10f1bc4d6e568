"""`tagstream serve` and the review console against clients that mean harm, by HTTP and topics alone."""

import contextlib
import json
import re
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tagstream.stream.broker.processes import Processes
from tests.integration.running import peak_bytes
from tests.reading import records_in
from tests.serving.running import Service, service
from tests.waiting import HANG_SECONDS, until

MIB = 1024 * 1024
# A service with so many files takes 144 connections.
FILES, MANY = 400, 200
EVENT = b'{"title": "Deploying models"}'
CONSOLE = re.compile(r"the console: (http://\S+?)/?\s")
Console = Callable[..., str]


def address(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = httpx.URL(url)
    assert parts.port is not None
    return parts.host, parts.port


@contextlib.contextmanager
def opened(url: str, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that have sent the same bytes, and then say nothing."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            clients.append(stack.enter_context(socket.create_connection(address(url), timeout=HANG_SECONDS)))
            clients[-1].sendall(sent)
        yield clients


def status(url: str, sent: bytes) -> int:
    """The status that is answered to these bytes; 0 where the connection ends without one."""
    with opened(url, 1, sent) as (client,):
        try:
            return int([*client.recv(64).split(b" "), b"0"][1])
        except ConnectionResetError:
            return 0


def health(url: str) -> set[int]:
    """The statuses of what an orchestrator asks, as it asks it: each on a connection of its own, and again after a failure."""
    return {probed(f"{url}{path}") for path in ("/healthz", "/readyz") for _ in range(3)}


def probed(url: str, failures: int = 3) -> int:
    """The status that a probe gets before so many failures in a row; on a busy machine its connection may be taken for a silent one."""
    for _ in range(failures - 1):
        try:
            return httpx.get(url, timeout=HANG_SECONDS).status_code
        except httpx.ReadError:
            continue
    return httpx.get(url, timeout=HANG_SECONDS).status_code


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without a broker."""
    with service(tmp_path_factory.mktemp("serve")) as running:
        yield running


@pytest.fixture
def console(environ: dict[str, str], processes: Processes, tmp_path: Path) -> Console:
    """Starts a console of the test's topics; returns its address."""

    def start(*options: str) -> str:
        argv = [
            sys.executable,
            "-m",
            "tagstream.stream.cli.main",
            "review",
            "--port",
            "0",
            "--store",
            f"sqlite:///{tmp_path}/store.db",
        ]
        process = processes.start([*argv, *options], env=environ, log_file=tmp_path / "console.log")
        found = until(lambda: CONSOLE.search(process.output()), "the console says its address", process=process)
        assert found is not None
        url = found[1]
        until(lambda: httpx.get(f"{url}/readyz").status_code == 200, "the console is ready", process=process)
        return url

    return start


def test_answers_that_nobody_takes_do_not_fill_the_memory(tmp_path: Path) -> None:
    """80 clients ask for an answer of 3.5 MB each and read none; others are still answered."""
    rows = 4
    # Each character is two in JSON.
    body = json.dumps([{"title": "Deploying models", "description": '"' * 440_000}] * rows).encode()
    path = "/classify"
    asked = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
    with service(tmp_path) as running, contextlib.ExitStack() as stack:
        assert len(httpx.post(f"{running.url}{path}", content=body, timeout=HANG_SECONDS).content) > 3_500_000
        before = peak_bytes(running.process)
        for _ in range(80):
            client = stack.enter_context(socket.create_connection(address(running.url), timeout=HANG_SECONDS))
            client.sendall(asked)
            # It has begun to come.
            assert select.select([client], [], [], HANG_SECONDS)[0]
        assert httpx.post(f"{running.url}{path}", content=body, timeout=HANG_SECONDS).status_code == 200
        assert peak_bytes(running.process) - before < 180 * MIB


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{",
        b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a body", "half a body for health"],
)
def test_the_health_of_serve_is_answered_behind_slow_clients(tmp_path: Path, sent: bytes) -> None:
    """More of them than there may be connections: a liveness probe must not restart a healthy process."""
    with service(tmp_path, files=FILES) as running, opened(running.url, MANY, sent):
        assert health(running.url) == {200}


def test_decisions_are_given_behind_slow_heads(tmp_path: Path) -> None:
    """A client that says nothing makes room for one that asks."""
    with service(tmp_path, files=FILES) as running, opened(running.url, MANY, b"POST /cl"):
        assert httpx.post(f"{running.url}/classify", content=EVENT, timeout=HANG_SECONDS).status_code == 200


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.parametrize(
    "sent",
    [b"GET / HTT", b"POST /answer HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: none\r\nContent-Length: 99\r\n\r\n{"],
    ids=["heads", "bodies"],
)
def test_the_health_of_the_console_is_answered_behind_slow_clients(console: Console, sent: bytes) -> None:
    """150 of them."""
    url = console()
    with opened(url, 150, sent):
        assert health(url) == {200}


def framed(*headers: bytes, path: bytes = b"/classify") -> bytes:
    """A request with these headers, and a body that is an event in one chunk."""
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        path,
        b"".join(b"%b\r\n" % header for header in headers),
        len(EVENT),
        EVENT,
    )


CHUNKED, LENGTH = b"Transfer-Encoding: chunked", b"Content-Length: 4"


@pytest.mark.parametrize("headers", [(CHUNKED, LENGTH), (LENGTH, CHUNKED)])
def test_a_body_with_two_ends_is_refused(serving: Service, headers: Sequence[bytes]) -> None:
    """A proxy that reads the other one would take the rest for a request of its own."""
    assert status(serving.url, framed(CHUNKED)) == 200
    assert status(serving.url, framed(*headers)) == 400
    assert status(serving.url, framed(*headers, path=b"/healthz")) == 400


@pytest.mark.parametrize("padding", [b"X-Long: %b", b"X-Long:%b"], ids=["a value", "spaces"])
def test_a_head_has_a_bound_also_where_it_comes_at_once(serving: Service, padding: bytes) -> None:
    """16 KiB, whichever way it is filled; a larger one may be closed before its client has read why."""
    filled = b"x" if b": " in padding else b" "
    for size, expected in ((15_000, {200}), (20_000, {0, 400, 431})):
        assert status(serving.url, framed(CHUNKED, padding % (filled * size))) in expected


def chunked(*parts: bytes) -> bytes:
    """A request for decisions whose body comes in these chunks."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"POST /classify HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n%b0\r\n\r\n" % (CHUNKED, framed)


def test_a_body_in_chunks_of_one_byte_is_refused(serving: Service) -> None:
    """Each costs as much as a large one: four connections would keep requests for health waiting for seconds."""
    assert status(serving.url, chunked(*[b"x"] * 1_100)) == 413
    with opened(serving.url, 4, chunked(*[b"x"] * 100_000)):
        assert health(serving.url) == {200}


def test_a_body_may_come_row_by_row(serving: Service) -> None:
    """As many small chunks as a request may have rows, and chunks of any number that are not small."""
    rows = [b'{"title": "Deploying model %d"},' % number for number in range(1_000)]
    assert status(serving.url, chunked(b"[", *rows, b'{"title": "The last"}]')) == 200
    assert status(serving.url, chunked(b'{"title": "', *[b"Deploying models in parts. " * 3] * 8_000, b'"}')) == 200


@pytest.mark.parametrize("filled", [b"x", b" "], ids=["an extension", "spaces"])
def test_the_line_before_a_chunk_has_a_bound(serving: Service, filled: bytes) -> None:
    """A line of 250 kB that is none would keep the server busy for a minute."""
    for size, expected in ((500, 200), (5_000, 400)):
        line = b"%x;%b" % (len(EVENT), filled * size)
        sent = b"%b%b\r\n%b\r\n0\r\n\r\n" % (chunked()[: -len(b"0\r\n\r\n")], line, EVENT)
        assert status(serving.url, sent) == expected


def test_more_rows_than_may_be_are_refused_before_they_are_made(tmp_path: Path) -> None:
    """Two million rows have room in four megabytes; each would be an object of a hundred bytes."""
    with service(tmp_path) as running:
        url = f"{running.url}/classify"
        assert httpx.post(url, content=b"[%b]" % (b" " * 4_000_000), timeout=HANG_SECONDS).status_code == 200
        before = peak_bytes(running.process)
        assert httpx.post(url, content=b"[%b1]" % (b"1," * 2_000_000), timeout=HANG_SECONDS).status_code == 413
        assert peak_bytes(running.process) - before < 40 * MIB


@pytest.mark.slow
@pytest.mark.broker
def test_two_names_of_a_proxy_are_none(console: Console) -> None:
    """In one header or in two: one of them may be the client's own."""
    url = console("--proxy-header", "X-Forwarded-User", "--trusted-proxy", "127.0.0.1")

    def seen(*names: str) -> int:
        return httpx.get(f"{url}/", headers=[("X-Forwarded-User", name) for name in names]).status_code

    assert seen("ada") == 200
    assert [seen("root, ada"), seen("root,ada"), seen("root", "ada"), seen()] == [401] * 4


@pytest.mark.broker
def test_a_service_that_is_killed_while_it_publishes_loses_no_confirmed_event(environ: dict[str, str], tmp_path: Path) -> None:
    """Every event that was answered is on `content`, byte by byte; the rest is sent again, and gets the same decision."""
    events = [b'{"id": "e-%d", "title": "Deploying model %d"}' % (number, number) for number in range(120)]
    answers: dict[bytes, bytes] = {}
    with (
        service(tmp_path, **environ) as running,
        httpx.Client(timeout=HANG_SECONDS) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        enough = threading.Event()

        def ask(event: bytes) -> None:
            with contextlib.suppress(httpx.TransportError):
                answers[event] = published(client, running, event)
                if len(answers) >= len(events) // 4:
                    enough.set()

        asked = [threads.submit(ask, event) for event in events]
        assert enough.wait(HANG_SECONDS)
        running.process.kill()
        running.ended()
        for one in asked:
            one.result()
    confirmed = dict(answers)
    assert set(confirmed) <= (found := set(on_content(environ))) <= set(events)
    assert len(confirmed) < len(events)
    with service(tmp_path, **environ) as running, httpx.Client(timeout=HANG_SECONDS) as client:
        for event in [*(event for event in events if event not in confirmed), *list(confirmed)[:10]]:
            answers[event] = published(client, running, event)
    assert set(on_content(environ)) == set(events) >= found
    assert all(answers[event] == confirmed[event] for event in list(confirmed)[:10])


def published(client: httpx.Client, running: Service, event: bytes) -> bytes:
    """The decision on an event that the broker has, up to the clock."""
    found = client.post(f"{running.url}/classify?publish=true", content=event)
    assert (found.status_code, found.headers["tagstream-published"]) == (200, "1"), found.text
    assert json.loads(found.content)["id"] == json.loads(event)["id"]
    return found.content.partition(b',"tagged_at"')[0]


def on_content(environ: dict[str, str]) -> list[bytes]:
    """The values on the topic of events now."""
    return [one.value for one in records_in(environ["TAGSTREAM_BROKERS"], environ["TAGSTREAM_TOPICS__CONTENT"])]
