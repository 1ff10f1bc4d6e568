"""
A middleware that checks each request before the application gets it.

It refuses a `Host` that is not a name of this server (DNS rebinding), a request that another site sent (CSRF), and a body that is too large
or does not arrive in time. It adds security headers to each answer, so that a browser does not run or embed content of other sites.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fastapi.datastructures import Headers
from fastapi.responses import PlainTextResponse, Response

from tagstream.monitoring.server.hosts import Hosts
from tagstream.stream.web.origins import host_of
from tagstream.stream.web.serving import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS = 10.0
RETRY_SECONDS = 1
SAFE_METHODS = frozenset({"GET", "HEAD"})
# The paths of an orchestrator's health requests. These requests are answered whatever else is under way.
HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
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
        # A page shows the state at one moment, so the button Back must load it again. An answer may set another value.
        "Cache-Control": "no-store",
    }.items()
)
OTHER_HOST = (
    "This server does not answer to the name in the request's Host header. Next: use an IP address or localhost, or start it with "
    "--host-name and that name."
)
OTHER_SITE = (
    "This request came from another site, or its browser does not say from where, so nothing was changed. "
    "Next: open this server's own page and send it from there."
)
TOO_MANY = "This server takes no more requests at the moment, so nothing was changed. Next: send it again later."
TOO_SLOW = f"The request did not arrive within {BODY_SECONDS:g} s, so nothing was changed. Next: send it again."


def plain(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """
    Return a refusal as plain text.

    Args:
        status: The HTTP status.
        sentence: The reason and the next step.
        headers: More headers of the answer.
    """
    return PlainTextResponse(sentence, status, headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRules:
    """
    The bounds of one server.

    Attributes:
        names: Names that a request may have as `Host`, beside localhost and addresses. None allows any name, for servers with tokens.
        cross_site: The paths that pages of other sites may post to.
        programs: True if requests without a browser's origin headers are taken. If false, only safe methods may lack these headers.
        max_requests: The most requests under way at once, health requests aside.
        max_body_bytes: The largest body in bytes.
        max_held_bytes: The most bytes of bodies at once, over all requests that are under way.
        shorten: The next step for a request that is too large.
        refusal: Makes the answer from a status, a sentence and headers.
    """

    names: Iterable[str] | None = ()
    cross_site: Iterable[str] = ()
    programs: bool = False
    max_requests: int
    max_body_bytes: int
    max_held_bytes: int
    shorten: str
    refusal: Callable[[int, str, dict[str, str]], Response] = plain


class BodyTooLargeError(Exception):
    """A body has more than `max_body_bytes` bytes."""


class GoneError(Exception):
    """The client disconnected before its whole body had come."""


class FullError(Exception):
    """The requests that are under way hold `max_held_bytes` already."""


class RequestGuard:
    """
    The middleware. A refused request never reaches the application.

    The guard reads each body whole, within bounds, and then passes the request on.
    """

    def __init__(self, app: ASGIApp, rules: RequestRules) -> None:
        """Guard `app` with these rules."""
        self._app = app
        self._rules = rules
        self._hosts = None if rules.names is None else Hosts(rules.names)
        self._cross_site = frozenset(rules.cross_site)
        self._held_bytes = 0
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = _with_headers(send)
        headers = Headers(scope=scope)
        if self._hosts is not None and not self._hosts.know(headers.get("host")):
            await self._rules.refusal(421, OTHER_HOST, {})(scope, receive, guarded)
        elif not (scope["path"] in self._cross_site or self._is_ours(headers, safe=scope["method"] in SAFE_METHODS)):
            await self._rules.refusal(403, OTHER_SITE, {})(scope, receive, guarded)
        elif scope["path"] in HEALTH_PATHS:
            # Its body is not read, because a slow body would delay the answer.
            await self._app(scope, receive, guarded)
        elif self._under_way >= self._rules.max_requests:
            await self._rules.refusal(503, TOO_MANY, {"Connection": "close", "Retry-After": str(RETRY_SECONDS)})(
                scope, receive, guarded
            )
        else:
            self._under_way += 1
            try:
                await self._with_body(scope, receive, guarded)
            finally:
                self._under_way -= 1

    def _is_ours(self, headers: Headers, *, safe: bool) -> bool:
        by_program = headers.get("sec-fetch-site") is None and headers.get("origin") is None
        if by_program:
            return safe or self._rules.programs
        return _same_site(headers) or (safe and _is_followed_link(headers))

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        close = {"Connection": "close"}
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await self._read(receive, body)
        except BodyTooLargeError:
            sentence = f"The request has more than {self._rules.max_body_bytes} bytes, so nothing was changed. Next: {self._rules.shorten}."
            await self._rules.refusal(413, sentence, close)(scope, receive, send)
        except FullError:
            sentence = (
                "The requests under way use all memory for request bodies, so nothing was changed. Next: send it again later."
            )
            await self._rules.refusal(503, sentence, close | {"Retry-After": str(RETRY_SECONDS)})(scope, receive, send)
        except TimeoutError:
            await self._rules.refusal(408, TOO_SLOW, close)(scope, receive, send)
        except GoneError:
            return
        else:
            await self._app(scope, _replayed(bytes(body), receive), send)
        finally:
            self._held_bytes -= len(body)

    async def _read(self, receive: Receive, body: bytearray) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise GoneError
            part = message.get("body", b"")
            body += part
            self._held_bytes += len(part)
            if len(body) > self._rules.max_body_bytes:
                raise BodyTooLargeError
            if self._held_bytes > self._rules.max_held_bytes:
                raise FullError
            more = message.get("more_body", False)


def _same_site(headers: Headers) -> bool:
    """
    Return True if a page of this server sent the request.

    Current browsers send `Sec-Fetch-Site`, with `none` for an address that the user typed. An older browser sends `Origin` with a form.
    Only the host of `Origin` is compared, because the scheme differs behind a proxy that ends TLS. A request with neither header is
    refused.
    """
    fetched = headers.get("sec-fetch-site")
    if fetched is not None:
        return fetched in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is not None and host_of(origin) == headers.get("host", "").lower() != ""


def _is_followed_link(headers: Headers) -> bool:
    """
    Return True if a person followed a link to this page. A browser's headers tell a followed link from a picture, a frame or a script.

    Loading a page may take an item for its reviewer, so another site must not load it without the reviewer's action.
    """
    return headers.get("sec-fetch-mode", "navigate") == "navigate" and headers.get("sec-fetch-dest", "document") == "document"


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, and after it the server's messages, such as a disconnect."""
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
