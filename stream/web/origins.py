"""The sites whose pages may post to one path of a server (CORS)."""

from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from fastapi.datastructures import Headers
from fastapi.responses import Response

from tagstream.stream.web.serving import ASGIApp, Message, Receive, Scope, Send

A_DAY_SECONDS = 86_400


class OriginError(ValueError):
    """A value of an option is not an origin."""

    exit_code = 2


def checked_origin(given: str, option: str) -> str:
    """
    Return an origin in the form that browsers send.

    Args:
        given: The value.
        option: The option's name, for the message.

    Raises:
        OriginError: The value is not an origin. The message gives an example.

    >>> checked_origin("https://News.example/", "--report-origin")
    'https://news.example'
    """
    parts = _parts(given)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"} or parts.query:
        msg = f"{option} {given!r} is not an origin. Next: give scheme and host, such as https://news.example."
        raise OriginError(msg)
    return f"{parts.scheme}://{parts.netloc.lower()}"


class Origins:
    """The origins that an operator names; a page of the server itself is always allowed, and so is a program, which sends no origin."""

    def __init__(self, named: Iterable[str]) -> None:
        """Allow the pages of these origins, as `checked_origin` returns them."""
        self._named = frozenset(named)

    def allow(self, origin: str | None, host: str | None) -> bool:
        """True if a request with these headers may be taken."""
        return origin is None or origin in self._named or host_of(origin) == (host or "").lower() != ""

    def shared(self, app: ASGIApp, path: str) -> ASGIApp:
        """Let a browser show each answer to a post at this path to the page that asked, also a refusal by a middleware of `app`."""

        async def sharing(scope: Scope, receive: Receive, send: Send) -> None:
            headers = Headers(scope=scope) if scope["type"] == "http" and scope["path"] == path else Headers()
            origin = headers.get("origin")
            if origin is None or scope["method"] != "POST" or not self.allow(origin, headers.get("host")):
                await app(scope, receive, send)
                return
            more = [(name.lower().encode(), value.encode()) for name, value in _readable_by(origin).items()]

            async def sent(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], *more]
                await send(message)

            await app(scope, receive, sent)

        return sharing

    def preflight(self, origin: str) -> Response | None:
        """Return the answer to a browser's question whether a page of this origin may post JSON; None if it may not."""
        if origin not in self._named:
            return None
        allowed = {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "content-type",
            "Access-Control-Max-Age": str(A_DAY_SECONDS),
        }
        return Response(status_code=204, headers=_readable_by(origin) | allowed)


def _readable_by(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def host_of(origin: str) -> str:
    """
    Return host and port of an origin in lower case; empty if the text is no address.

    >>> host_of("https://News.example:8443"), host_of("null"), host_of("http://[")
    ('news.example:8443', '', '')
    """
    return _parts(origin).netloc.lower()


def _parts(origin: str) -> SplitResult:
    """The parts of an origin; all empty if the text is no address."""
    try:
        return urlsplit(origin)
    except ValueError:
        return urlsplit("")
