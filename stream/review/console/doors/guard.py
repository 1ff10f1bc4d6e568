"""
The door of the console: a middleware that looks at a request before the application does.

It refuses a name that is not this server's (DNS rebinding), a form that another site sent (CSRF), and a body that is too large or
that does not arrive. It adds to each answer the headers that keep a browser from running or embedding what is not ours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from fastapi.datastructures import Headers
from fastapi.responses import PlainTextResponse

from monitoring.server.hosts import Hosts

# The names of ASGI.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0
SAFE_METHODS = frozenset({"GET", "HEAD"})
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = tuple(
    (name.lower().encode(), value.encode())
    for name, value in {
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        # A page shows the state of its moment, so that the button Back asks again. An answer may say otherwise of itself.
        "Cache-Control": "no-store",
    }.items()
)
OTHER_HOST = (
    "This console does not answer to the name in the request's Host header. Next: use an IP address or localhost, or start it with "
    "--name and that name."
)
OTHER_SITE = (
    "This request came from another site, or its browser does not say from where, so nothing was changed. "
    "Next: open the console's own page and send it from there."
)
TOO_LARGE = f"The request has more than {MAX_BODY_BYTES} bytes, so nothing was changed. Next: shorten the note."
TOO_SLOW = f"The request did not arrive within {BODY_SECONDS:g} s, so nothing was changed. Next: send it again."


class TooLargeError(Exception):
    """More bytes came than `MAX_BODY_BYTES`."""


class Guard:
    """
    The middleware. A refused request never reaches the application.

    Bodies are read here, whole and within bounds, and then handed on.
    """

    def __init__(self, app: ASGIApp, *, names: Iterable[str] = (), cross_site: Iterable[str] = ()) -> None:
        """`names` are those that a request may name as `Host`; `cross_site` are the paths that other sites may post to."""
        self._app = app
        self._hosts = Hosts(names)
        self._cross_site = frozenset(cross_site)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = _with_headers(send)
        headers = Headers(scope=scope)
        if not self._hosts.know(headers.get("host")):
            await PlainTextResponse(OTHER_HOST, 421)(scope, receive, guarded)
        elif not (scope["method"] in SAFE_METHODS or scope["path"] in self._cross_site or _same_site(headers)):
            await PlainTextResponse(OTHER_SITE, 403)(scope, receive, guarded)
        else:
            await self._with_body(scope, receive, guarded)

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(receive)
        except TooLargeError:
            await PlainTextResponse(TOO_LARGE, 413, {"Connection": "close"})(scope, receive, send)
        except TimeoutError:
            await PlainTextResponse(TOO_SLOW, 408, {"Connection": "close"})(scope, receive, send)
        else:
            await self._app(scope, _replayed(body, receive), send)


def _same_site(headers: Headers) -> bool:
    """
    Was this sent by a page of this server?

    Every browser of today sends `Sec-Fetch-Site`, and says `none` for what its user typed. An older one sends `Origin` with a form; behind a
    proxy that ends TLS its scheme is not ours, so that hosts are compared. A request with neither is refused.
    """
    fetched = headers.get("sec-fetch-site")
    if fetched is not None:
        return fetched in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""


async def _body(receive: Receive) -> bytes:
    found = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(found)
        found += message.get("body", b"")
        if len(found) > MAX_BODY_BYTES:
            raise TooLargeError
        if not message.get("more_body", False):
            return bytes(found)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, then what the server says: that the client has gone."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            known = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *((name, value) for name, value in HEADERS if name not in known)]
        await send(message)

    return sent
