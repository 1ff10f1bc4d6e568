"""The console's application in this process, over a real store."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tagstream.stream.review.console.access import Access, Remembered
from tagstream.stream.review.console.app import application
from tagstream.stream.review.console.guidelines import NONE, Guidelines
from tagstream.stream.review.console.pages import ReviewConsole
from tests.console.real_console import ReviewDesk

ADDRESS = "http://127.0.0.1:8090"
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ReviewDesk]:
    """An empty queue."""
    made = ReviewDesk(tmp_path)
    yield made
    made.close()


class Client:
    """A browser that follows no redirect; its requests carry the headers of a form of the console's own page."""

    def __init__(self, app: Any, peer: str) -> None:
        transport = httpx.ASGITransport(app, client=(peer, 50_000))
        self._client = httpx.AsyncClient(transport=transport, base_url=ADDRESS, headers=SAME_SITE)
        self.headers = self._client.headers
        self.cookies = self._client.cookies

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request and its answer."""
        return asyncio.run(self._client.request(method, path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Ask for a page."""
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        """Send a form."""
        return self.request("POST", path, **more)


def client_of(
    queue: ReviewDesk,
    access: Access | None = None,
    *,
    peer: str = "127.0.0.1",
    origins: tuple[str, ...] = (),
    trouble: str | None = None,
    guidelines: Guidelines = NONE,
) -> Client:
    """A client at an address, of a console that is ready or has a trouble."""
    console = ReviewConsole(
        store=queue.store,
        saving=queue.saving,
        access=access or Remembered(name="ada"),
        measuring=queue.measuring,
        now_ms=queue.clock,
        filled=lambda: trouble is None,
        not_ready=lambda: trouble,
        guidelines=guidelines,
    )
    return Client(application(console, names=["review.example"], origins=origins), peer)


@pytest.fixture
def client(queue: ReviewDesk) -> Client:
    """A browser on this machine."""
    return client_of(queue)
