"""Schemathesis, which others wrote, asks all that the OpenAPI document allows and much that it does not: no server error, nothing undocumented."""

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
import uvicorn

from tagstream.stream.contract.asking import AskKeys
from tagstream.stream.contract.event import Record
from tagstream.stream.serve.feedback import Feedback
from tests.fakes import LABELS
from tests.unit.stream.serve.conftest import served
from tests.waiting import HANG_SECONDS, until

# CPython 3.11 may raise this in a parse behind deep recursion (python/cpython#106905): it strikes Schemathesis, whatever it asks.
BROKEN_PARSER, TRIES = "AST constructor recursion depth mismatch", 3
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method,allow_header_conformance"
LONG_REQUESTS = 10_000


async def replaced_by_the_broker(_records: Sequence[Record]) -> None:
    """Never called."""
    raise AssertionError


@contextlib.contextmanager
def listening() -> Iterator[str]:
    """The service of the unit tests on a port, with a broker that takes all events; yields its address."""
    began, found = threading.Event(), []

    feedback = Feedback(keys=AskKeys((b"k" * 32,)), labels=lambda: LABELS, publish=replaced_by_the_broker)

    async def run() -> None:
        async with served(most_waiting=1024, feedback=feedback) as service:
            server = uvicorn.Server(uvicorn.Config(service.app, port=0, log_config=None, lifespan="off"))
            found.append(server)
            began.set()
            await server.serve()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert began.wait(HANG_SECONDS)
    (server,) = found
    until(lambda: server.started, "the service listens")
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(HANG_SECONDS)


def fuzzed(url: str, folder: Path, *, examples: int, seed: int, phases: str) -> None:
    """Let Schemathesis ask; fails with its report if it found anything."""
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/openapi.json", "--checks", CHECKS]
    options = [
        "--max-examples",
        str(examples),
        "--seed",
        str(seed),
        "--phases",
        phases,
        "--workers",
        "2",
        "--continue-on-failure",
    ]
    more = ["--suppress-health-check", "all", "--no-color", "--request-timeout", str(HANG_SECONDS)]
    for _ in range(TRIES):
        done = subprocess.run([*command, *options, *more], cwd=folder, capture_output=True, text=True, check=False)
        if BROKEN_PARSER not in done.stdout:
            break
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def counted(url: str) -> tuple[int, int]:
    """Requests for decisions so far, and those of them that ended with an error of the server."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    found = [
        (line.split('status="')[1][:3], float(line.split()[-1]))
        for line in lines
        if line.startswith("tagstream_http_requests_total{")
    ]
    return int(sum(count for _, count in found)), int(sum(count for status, count in found if status >= "500"))


def test_no_request_is_an_error_of_the_server(tmp_path: Path) -> None:
    """A small form: some dozens of requests for decisions, the same at every run."""
    with listening() as url:
        fuzzed(url, tmp_path, examples=15, seed=1, phases="examples,fuzzing")
        requests, errors = counted(url)
    assert errors == 0
    assert requests > 30


@pytest.mark.long
def test_ten_thousand_requests_are_no_error_of_the_server(tmp_path: Path) -> None:
    """Seed after seed, until there were so many requests for decisions."""
    seed = 1
    with listening() as url:
        while (found := counted(url))[0] < LONG_REQUESTS:
            seed += 1
            fuzzed(url, tmp_path, examples=400, seed=seed, phases="examples,coverage,fuzzing")
    assert found[1] == 0
