"""The paths of the server over real sockets, also with other connections that stay silent."""

import base64
import contextlib
import hashlib
import http.client
import json
import re
import resource
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from tagstream.monitoring.health import HealthVerdict
from tagstream.monitoring.server import application as without_page
from tagstream.monitoring.server import server
from tagstream.monitoring.server.server import serve
from tests.observations import Stream
from tests.waiting import HANG_SECONDS, until
from tests.worker_page import application

SLOW, FILES = 1_000, 2_500
READY, STALLED = (
    HealthVerdict(ready=True, why="4 partitions"),
    HealthVerdict(ready=False, why="7 events wait and none has moved for 21 s"),
)


class Worker:
    """What stands behind the paths."""

    def __init__(self) -> None:
        """Ready, with one metric."""
        self.registry = CollectorRegistry()
        self.events = Counter("tagstream_test_events", "Events.", registry=self.registry)
        self.verdict = READY


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Worker, int]]:
    """One server for all tests: its end takes half a second."""
    behind = Worker()
    with serve(application(behind.registry, lambda: behind.verdict, names=["worker"]), host="127.0.0.1", port=0) as bound:
        yield behind, bound


@pytest.fixture
def worker(served: tuple[Worker, int]) -> Worker:
    """The worker behind the server, ready."""
    served[0].verdict = READY
    return served[0]


@pytest.fixture
def port(served: tuple[Worker, int]) -> int:
    """The server's port."""
    return served[1]


def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body of one request."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_port_zero_takes_a_free_port(port: int) -> None:
    """Port 0 binds a free port, and the bound port is returned."""
    assert port > 0
    assert get(port, "/healthz") == (200, "alive\n")


def test_metrics_are_those_of_the_registry_at_the_time_of_the_scrape(worker: Worker, port: int) -> None:
    """A scrape returns the current values of the worker's registry alone."""
    worker.events.reset()
    worker.events.inc(3)
    status, body = get(port, "/metrics")
    assert status == 200
    assert "tagstream_test_events_total 3.0" in body
    assert "python_gc" not in body
    worker.events.inc()
    assert "tagstream_test_events_total 4.0" in get(port, "/metrics?name=x")[1] + get(port, "/metrics")[1]


def test_readiness_is_the_verdict_and_says_why(worker: Worker, port: int) -> None:
    """Readiness answers 200 or 503 with the reason; liveness does not depend on it."""
    assert get(port, "/readyz") == (200, f"{READY.why}\n")
    worker.verdict = STALLED
    assert get(port, "/readyz") == (503, f"{STALLED.why}\n")
    assert get(port, "/healthz")[0] == 200


def test_a_process_beside_the_workers_has_metrics_and_probes_and_no_page() -> None:
    """The same three paths, and the same refusal of foreign names; no page."""
    behind = Worker()
    behind.verdict = STALLED
    with serve(without_page.application(behind.registry, lambda: behind.verdict), host="127.0.0.1", port=0) as port:
        assert get(port, "/healthz") == (200, "alive\n")
        assert get(port, "/readyz") == (503, f"{STALLED.why}\n")
        assert "tagstream_test_events_total 0.0" in get(port, "/metrics")[1]
        assert get(port, "/")[0] == 404


@pytest.mark.parametrize("path", ["/metric", "/metrics/", "/favicon.ico", "/..%2fetc", "/%00"])
def test_other_paths_are_not_found_and_name_those_that_are(port: int, path: str) -> None:
    """An unknown path answers 404 and lists the known paths."""
    status, body = get(port, path)
    assert status == 404
    assert all(name in body for name in ("/metrics", "/healthz", "/readyz", "/snapshot.json"))


def test_the_root_says_what_there_is(port: int) -> None:
    """The root lists the paths for clients that are not browsers."""
    status, body = get(port, "/")
    assert status == 200
    assert body.startswith("tagstream worker: /metrics /healthz /readyz /snapshot.json")


def ask(port: int, path: str, accept: str) -> tuple[dict[str, str], str]:
    """Headers, by lower-cased name, and body of one request that accepts this."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)) as connection:
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        assert response.status == 200
        return {name.lower(): value for name, value in response.getheaders()}, response.read().decode()


def test_the_root_is_a_page_for_browsers(port: int) -> None:
    """The root is a self-contained page for browsers."""
    headers, body = ask(port, "/", "text/html,application/xhtml+xml,*/*;q=0.8")
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["vary"] == "Accept"
    assert headers["x-content-type-options"] == "nosniff"
    assert body.startswith("<!doctype html>")
    assert "/*style*/" not in body
    assert "/*script*/" not in body
    assert ask(port, "/", "*/*")[1].startswith("tagstream worker")


def test_the_page_allows_its_own_style_and_script_and_nothing_else(port: int) -> None:
    """The content security policy allows only the style and script of the page."""
    headers, body = ask(port, "/", "text/html")
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    for name, element in (("style-src", "style"), ("script-src", "script")):
        (inside,) = re.findall(rf"<{element}>(.*?)</{element}>", body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy[name] == f"'sha256-{digest}'"
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]


def test_the_page_asks_nobody_else(port: int) -> None:
    """The page loads no resource from another origin."""
    _, body = ask(port, "/", "text/html")
    assert set(re.findall(r"https?://[^\s\"')]+", body)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\s(?:src|style|on\w+)=", body)


def test_the_snapshot_is_figures_alarms_and_readiness(worker: Worker, port: int) -> None:
    """The snapshot has the figures, alarms and readiness of the worker."""
    headers, body = ask(port, "/snapshot.json", "*/*")
    found = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert (found["ready"], found["why"], found["alarms"]) == (True, READY.why, [])
    assert found["figures"]["workers"] == 1
    worker.verdict = STALLED
    found = json.loads(ask(port, "/snapshot.json", "*/*")[1])
    assert (found["ready"], found["why"]) == (False, STALLED.why)
    assert [alarm["name"] for alarm in found["alarms"]] == ["Stalled"]


def test_whoever_scrapes_keeps_the_last_minutes_for_the_page() -> None:
    """Scrapes fill the history, so the page shows a flow at its first look."""
    stream = Stream()
    with serve(application(stream.registry, lambda: READY, now=lambda: stream.now), host="127.0.0.1", port=0) as port:
        for _ in range(3):
            stream.run(15, rate=4)
            get(port, "/metrics")
        stream.run(10, rate=4)
        flow = json.loads(get(port, "/snapshot.json")[1])["figures"]["flow"]
    assert flow["received"] == pytest.approx(4)
    assert flow["p99_seconds"] > flow["p50_seconds"] > 0


@pytest.mark.usefixtures("worker")
def test_a_client_that_says_nothing_does_not_block_others(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe is answered while eleven connections that sent no whole request are still open."""
    monkeypatch.setattr(server, "SECONDS_PER_REQUEST", HANG_SECONDS)
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS))
        half = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS))
        half.sendall(b"GET /read")
        assert get(port, "/readyz")[0] == 200
        half.setblocking(False)
        with pytest.raises(BlockingIOError):
            half.recv(1)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for both ends of a thousand connections in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        if hard < FILES:
            pytest.skip(f"this user may open {hard} files")
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_slow_clients_keep_no_probe_out(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sends a byte and keeps its connection: probes are answered, and the server has the thread that it had."""
    monkeypatch.setattr(server, "SECONDS_PER_REQUEST", HANG_SECONDS)
    before = set(threading.enumerate())
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(SLOW)]
        for _ in range(2):
            for client in slow:
                # The server has given up the oldest.
                with contextlib.suppress(ConnectionError):
                    client.send(b"G")
            assert get(port, "/healthz") == (200, "alive\n")
        # A thread that an earlier test left may end meanwhile, so the new ones are counted.
        assert set(threading.enumerate()) <= before
        assert len(still_open(slow)) == server.MOST_CONNECTIONS - 1


def still_open(clients: Sequence[socket.socket]) -> list[socket.socket]:
    """Those whose connection the server has not closed."""

    def is_open(client: socket.socket) -> bool:
        client.setblocking(False)
        try:
            return client.recv(1) != b""
        except BlockingIOError:
            return True
        except ConnectionError:
            return False

    return [client for client in clients if is_open(client)]


@pytest.mark.parametrize("sends", [b"", b"G"], ids=["nothing", "a byte at a time"])
def test_a_client_has_a_bounded_time_for_its_whole_request(
    sends: bytes, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """After its time the connection is closed, however often it sent a byte; that is no error of ours."""
    monkeypatch.setattr(server, "SECONDS_PER_REQUEST", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=0.02) as slow:

        def is_closed() -> bool:
            try:
                slow.sendall(sends)
                return slow.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        until(is_closed, "the server closes the connection")
    assert get(port, "/healthz")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_client_that_does_not_read_its_answer_is_dropped(worker: Worker, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a request includes that of its answer."""
    monkeypatch.setattr(server, "SECONDS_PER_REQUEST", 0.5)
    large = Gauge("tagstream_test_large", "Large.", ["name"], registry=worker.registry)
    for number in range(500):
        large.labels(name=f"{number}" * 10_000).set(1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            until(lambda: not is_established(port, client.getsockname()[1]), "the server closes its end")
    finally:
        worker.registry.unregister(large)
    assert get(port, "/healthz")[0] == 200


def is_established(port: int, peer: int) -> bool:
    """Whether the system has a connection in use between these ports on loopback, the server's end."""
    ends = (f"0100007F:{port:04X}", f"0100007F:{peer:04X}")
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
    return any((row[1], row[2], row[3]) == (*ends, "01") for row in rows)


def test_requests_leave_no_trace_in_the_output(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Requests are not logged."""
    get(port, "/metrics")
    get(port, "/nothing")
    assert capfd.readouterr() == ("", "")


def test_a_request_that_is_too_large_is_refused(port: int) -> None:
    """A head of more than 16 KiB is answered with 431."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as client:
        client.sendall(b"GET / HTTP/1.0\r\nX: " + b"a" * (server.MOST_REQUEST_BYTES - 18))
        assert client.recv(1 << 16).startswith(b"HTTP/1.0 431 ")


HOSTS = [
    "127.0.0.1:9108",
    "10.1.2.3",
    "[::1]:9108",
    "[fe80::1]",
    "localhost",
    "LOCALHOST:1",
    "localhost.",
    "worker:9108",
    socket.gethostname(),
]
OTHER_HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "worker.evil.example:9108",
    "localhost.evil.example",
    "evil@worker",
    "",
    "worker, evil.example",
]


@pytest.mark.parametrize(("host", "status"), [*((host, 200) for host in HOSTS), *((host, 421) for host in OTHER_HOSTS)])
@pytest.mark.usefixtures("worker")
def test_a_name_that_was_not_given_is_not_answered(host: str, status: int, port: int) -> None:
    """Addresses, localhost, this machine's name and names from the settings are answered, and no name that a web page may have bound."""
    for path in ("/", "/metrics", "/healthz", "/readyz", "/snapshot.json"):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)) as connection:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            assert response.status == status
            assert (b"TAGSTREAM_METRICS_NAMES" in response.read()) == (status == 421)


def test_a_request_without_a_host_is_answered(port: int) -> None:
    """A client of HTTP 1.0 need not send one, and a browser always does."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert client.recv(1 << 16).startswith(b"HTTP/1.0 200 ")


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"A" * 70_000 + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_a_request_that_is_no_http_leaves_the_server_alive(port: int, sent: bytes) -> None:
    """The server survives requests that are not HTTP."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as client, contextlib.suppress(ConnectionError):
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        client.recv(100)
    assert get(port, "/healthz")[0] == 200


def test_an_application_that_fails_is_answered_and_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A failure is an answer with 500 and one line of the log; standard error, which may have no reader, gets nothing."""

    def fails(*_: object) -> list[bytes]:
        msg = "no figures"
        raise RuntimeError(msg)

    with serve(fails, host="127.0.0.1", port=0) as port:
        assert get(port, "/metrics")[0] == 500
    (record,) = caplog.records
    assert "RuntimeError: no figures" in record.getMessage()
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_an_error(port: int) -> None:
    """A port in use is an error."""
    with (
        pytest.raises(OSError, match="in use"),
        serve(application(CollectorRegistry(), lambda: READY), host="127.0.0.1", port=port),
    ):
        pass


def test_the_server_ends_with_its_context() -> None:
    """After the context the port is free and the thread has ended."""
    before = set(threading.enumerate())
    with serve(application(CollectorRegistry(), lambda: READY), host="127.0.0.1", port=0) as port:
        assert get(port, "/healthz")[0] == 200
        (thread,) = (thread for thread in set(threading.enumerate()) - before if thread.name == "metrics")
    with pytest.raises(ConnectionError):
        get(port, "/healthz")
    thread.join(timeout=HANG_SECONDS)
    assert not thread.is_alive()


@pytest.mark.parametrize("host", ["::", "::1"])
def test_an_address_of_ipv6_is_served(host: str) -> None:
    """IPv6 addresses are served."""
    try:
        with contextlib.closing(socket.socket(socket.AF_INET6)) as tried:
            tried.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with (
        serve(application(CollectorRegistry(), lambda: READY), host=host, port=0) as port,
        contextlib.closing(http.client.HTTPConnection("::1", port, timeout=HANG_SECONDS)) as connection,
    ):
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
