"""
Access control: a service with a token refuses each request that lacks it. Without a token, the service relies on the loopback address
or on the operator's proxy.

The check runs before everything else, so that a request without the token costs no memory.
"""

import hmac
from pathlib import Path

from fastapi.datastructures import Headers

from tagstream.stream.serve.faces.problems import refusal
from tagstream.stream.web.guard import HEALTH_PATHS
from tagstream.stream.web.serving import ASGIApp, Receive, Scope, Send

# The orchestrator and Prometheus have no token. These paths show no text of an event.
OPEN_PATHS = HEALTH_PATHS | {"/metrics"}
LEAST_TOKEN_CHARACTERS = 16
UNKNOWN = "This request has no token, or a wrong token. Next: send the header `Authorization: Bearer TOKEN`, with the token of --token-file."


class TokenError(ValueError):
    """The token file cannot be used. The message has the reason and the next step."""

    exit_code = 2


def token_in(path: Path) -> str:
    """
    Return the token in a file, without the white space around it.

    Raises:
        TokenError: The file cannot be read, or its token is too short or has white space inside.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"--token-file {path} cannot be read ({error}). Next: give a file with one line of ASCII, as `openssl rand -hex 32` prints it."
        raise TokenError(msg) from error
    if len(token) < LEAST_TOKEN_CHARACTERS or not token.isprintable() or " " in token:
        msg = f"--token-file {path} has no token of {LEAST_TOKEN_CHARACTERS} characters or more on one line. Next: openssl rand -hex 32 > {path}"
        raise TokenError(msg)
    return token


class Token:
    """ASGI middleware that refuses requests without the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Protect `app` with this token."""
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the application, or answer 401."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and not self._has_token(Headers(scope=scope)):
            headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
            await refusal(401, UNKNOWN, headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _has_token(self, headers: Headers) -> bool:
        given = headers.get("authorization", "").encode("latin-1", "replace")
        return hmac.compare_digest(given, self._wanted)
