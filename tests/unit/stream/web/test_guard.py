"""The guard before an application: programs and browsers, bodies, and the memory for all of them."""

import asyncio
from typing import Any

import httpx
import pytest

from tagstream.stream.web.guard import RequestGuard, RequestRules
from tagstream.stream.web.serving import Message, Receive, Scope, Send
from tests.waiting import HANG_SECONDS

LARGEST, HELD = 1000, 1500


class Echo:
    """Answers with the body, when it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.began: asyncio.Queue[None] = asyncio.Queue()
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request and its answer."""
        assert scope["type"] == "http"
        self.asked += 1
        self.began.put_nowait(None)
        body = (await receive())["body"]
        await self.may.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


def guarded(app: Echo, **rules: Any) -> httpx.AsyncClient:
    """A client of an application behind its guard."""
    made = RequestRules(
        **{"max_body_bytes": LARGEST, "max_held_bytes": HELD, "max_requests": 2, "shorten": "send less", "programs": True}
        | rules
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(RequestGuard(app, made)), base_url="http://127.0.0.1")


def ask(headers: dict[str, str], **rules: Any) -> int:
    """The status of a small POST."""

    async def run() -> int:
        app = Echo()
        app.may.set()
        async with guarded(app, **rules) as client:
            return (await client.post("/", content=b"x", headers=headers)).status_code

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
def test_programs_are_taken_and_pages_of_other_sites_are_not(headers: dict[str, str], status: int) -> None:
    """A browser says that it is one; a page of another site must not use this server through it."""
    assert ask(headers) == status
    assert ask(headers, programs=False) == (403 if not headers else status)


def test_any_name_is_answered_where_a_token_guards() -> None:
    """A page whose name was pointed to this address has no token."""
    assert ask({"Host": "evil.example"}) == 421
    assert ask({"Host": "evil.example"}, names=None) == 200


def test_a_body_has_a_bound_and_so_have_all_together() -> None:
    """The second body does not fit while the first is held; when the first has its answer, there is room again."""

    async def run() -> None:
        app = Echo()
        async with guarded(app) as client:
            assert (await client.post("/", content=b"x" * (LARGEST + 1))).status_code == 413
            first = asyncio.create_task(client.post("/", content=b"a" * LARGEST))
            await app.began.get()
            full = await client.post("/", content=b"b" * LARGEST)
            assert (full.status_code, full.headers["retry-after"]) == (503, "1")
            app.may.set()
            assert (await first).content == b"a" * LARGEST
            assert (await client.post("/", content=b"b" * LARGEST)).content == b"b" * LARGEST
            assert app.asked == 2

    asyncio.run(run())


def test_health_is_answered_beside_as_many_requests_as_may_be() -> None:
    """A third request is refused, with word when to come again; health is not counted."""

    async def run() -> None:
        app = Echo()
        async with guarded(app) as client:
            first = [asyncio.create_task(client.post("/", content=b"a")) for _ in range(2)]
            for _ in first:
                await app.began.get()
            third = await client.post("/", content=b"a")
            assert (third.status_code, third.headers["retry-after"]) == (503, "1")
            health = asyncio.create_task(client.get("/healthz"))
            await app.began.get()
            app.may.set()
            assert {one.status_code for one in await asyncio.gather(*first, health)} == {200}
            assert (await client.post("/", content=b"a")).status_code == 200

    asyncio.run(asyncio.wait_for(run(), HANG_SECONDS))


def test_half_a_body_is_no_request() -> None:
    """A client that goes away in the middle has asked nothing, and its bytes are held no more."""

    async def run() -> None:
        app, sent = Echo(), []
        app.may.set()
        guard = RequestGuard(
            app,
            RequestRules(max_requests=2, max_body_bytes=LARGEST, max_held_bytes=LARGEST, shorten="send less", programs=True),
        )
        scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"127.0.0.1")]}
        half: list[Message] = [{"type": "http.request", "body": b"x" * LARGEST, "more_body": True}, {"type": "http.disconnect"}]
        whole: list[Message] = [{"type": "http.request", "body": b"y" * LARGEST, "more_body": False}]

        async def send(message: Message) -> None:
            sent.append(message)

        for messages in (half, whole):
            given = iter(messages)

            async def receive(given: Any = given) -> Message:
                return next(given)

            await guard(scope, receive, send)
        assert app.asked == 1
        assert sent[-1]["body"] == b"y" * LARGEST

    asyncio.run(run())
