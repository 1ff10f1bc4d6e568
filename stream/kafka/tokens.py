"""Access tokens for OAUTHBEARER: they come from a program or from a token endpoint, and are kept until shortly before they end.

A token is a secret. No error and no log line quotes a token, or any other output of the program or the endpoint. Only an endpoint's error
names of RFC 6749 are repeated.
"""

import asyncio
import base64
import contextlib
import functools
import json
import math
import os
import re
import shlex
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode

from tagstream.stream.http_request import OK, REDIRECTS, Bounds, HttpAnswer, ask
from tagstream.stream.kafka.errors import TokenError, summary_of
from tagstream.stream.logs import logger
from tagstream.stream.settings.secret_files import SecurityError, secret_in, verifying_context
from tagstream.stream.settings.security import Security

# A broker reads at most 512 KiB before a client has signed in.
MOST_BYTES = 256 * 1024
# The share of a token's life after which another one is fetched. The source may be away for the rest, and no session is shorter.
REFRESHED_AT = 0.5
# A token with less than this left is not sent: its session would end before the first request.
LEAST_SECONDS = 0.5
# The life of a token, if neither the token nor its source states one.
UNTOLD_SECONDS = 60.0
# The longest wait for the next token while the current token is alive: a slow source does not hold up a connection.
PATIENT_SECONDS = 0.5
# The pause before the source is asked again after a failure, however many connections want a token.
PAUSE_SECONDS = 1.0
# The least time between two replacements of a token that a broker has refused.
REPLACED_SECONDS = 5.0
# The wait for the end of a program that was killed.
END_SECONDS = 5.0
# RFC 6750, `b64token`.
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# RFC 6749, 5.2.
ERROR_NAMES = (
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
)
REFUSED = frozenset({400, 401, 403})
BY_HAND = "run it by hand as this user, its output is never shown here"
log = logger("tagstream.tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """
    An access token.

    Attributes:
        text: The token as it is sent.
        seconds: The token's life from now on; None if it is not known.
        claims: The claims of a JWT, not verified; empty for a token of another kind.
    """

    text: str = field(repr=False)
    seconds: float | None
    claims: Mapping[str, Any] = field(repr=False)


class Tokens:
    """
    The token of this process, from one source. A thread fetches one token at a time, and all connections share the token.

    While the source fails or does not answer, the current token is used to its end.
    """

    def __init__(self, fetch: Callable[[], Token], monotonic: Callable[[], float] = time.monotonic) -> None:
        """
        The first `current` fetches the first token.

        Args:
            fetch: Gets a token from its source; raises TokenError.
            monotonic: The clock, in seconds.
        """
        self._fetch = fetch
        self._monotonic = monotonic
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="token")
        self._fetcher = ThreadPoolExecutor(1, thread_name_prefix="token-source")
        # The token that is being fetched, with the time of the request.
        self._coming: tuple[float, Future[Token]] | None = None
        self._text = ""
        self._came = self._ends = self._next_fetch = -math.inf
        self._failure = ""

    def current(self) -> str:
        """
        A token that has not ended.

        Raises:
            TokenError: There is no token, and the source gives none.
        """
        return self._thread.submit(self._current).result()

    async def soon(self) -> str:
        """`current`, without blocking the event loop."""
        return await asyncio.wrap_future(self._thread.submit(self._current))

    def refused(self, text: str) -> None:
        """A broker has refused this token: replace it before its end."""
        self._thread.submit(self._replace, text)

    def _replace(self, text: str) -> None:
        if text == self._text:
            self._next_fetch = min(self._next_fetch, self._came + REPLACED_SECONDS)

    def _current(self) -> str:
        self._renew()
        if not self._lives:
            # The new token was requested long ago and has ended, too.
            self._renew()
        if not self._lives:
            raise TokenError(
                self._failure or "the token ended before it could be sent. Next: let its source give it a longer life."
            )
        return self._text

    @property
    def _lives(self) -> bool:
        return self._monotonic() < self._ends - LEAST_SECONDS

    def _renew(self) -> None:
        """Ask the source if it is time, and take its answer. Without a live token, wait for the answer; the source bounds this wait."""
        asks = self._coming is None and self._monotonic() >= self._next_fetch
        if asks:
            self._coming = self._monotonic(), self._fetcher.submit(self._fetch)
        if self._coming is None:
            return
        asked, coming = self._coming
        if self._lives:
            # The caller that has asked the source waits a moment, and later callers do not wait.
            wait([coming], timeout=PATIENT_SECONDS if asks else 0)
            if not coming.done():
                return
        self._coming = None
        self._take(asked, coming)

    def _take(self, asked: float, coming: "Future[Token]") -> None:
        try:
            token = coming.result()
        except TokenError as error:
            # Without a token, the caller gets the error.
            if self._text and not self._failure:
                left = max(0.0, self._ends - self._monotonic())
                log.warning("token_not_refreshed", why=str(error), seconds_left=round(left, 1))
            self._failure, self._next_fetch = str(error), self._monotonic() + PAUSE_SECONDS
            return
        if self._text and self._failure:
            log.info("token_refreshed_again")
        self._failure = ""
        seconds = UNTOLD_SECONDS if token.seconds is None else token.seconds
        # The life counts from the request, so that a slow answer does not prolong it.
        self._text, self._came, self._ends = token.text, asked, asked + seconds
        self._next_fetch = asked + seconds * REFRESHED_AT


@functools.lru_cache(maxsize=16)
def tokens_of(security: Security) -> Tokens:
    """The tokens of these settings; the same for all clients of the process."""
    return Tokens(lambda: fetched(security))


def fetched(security: Security) -> Token:
    """
    A new token from the source that the settings name.

    Raises:
        TokenError: The source does not answer in time, refuses the request, or gives no live token; the message has the next step.
    """
    until = time.monotonic() + security.token_timeout_seconds
    if security.token_command is not None:
        return _printed(security, security.token_command)
    try:
        return _of_endpoint(security, until)
    except SecurityError as error:
        # The file was readable when the client was made.
        raise TokenError(str(error)) from error


def _printed(security: Security, command: str) -> Token:
    words, seconds = shlex.split(command), security.token_timeout_seconds
    try:
        output, code = asyncio.run(_output(words, seconds))
    except TimeoutError as error:
        msg = (
            f"security.token_command ({words[0]}) did not end within {seconds:g} s, and was ended. Next: {BY_HAND}; a program that needs "
            f"longer needs a larger security.token_timeout_seconds."
        )
        raise TokenError(msg) from error
    except OSError as error:
        msg = (
            f"security.token_command cannot be started ({words[0]}: {error.strerror}). Next: give the program's whole path, without variables, "
            f"and let this user run it; a script begins with #! and its interpreter."
        )
        raise TokenError(msg) from error
    if code != 0:
        msg = (
            f"security.token_command ({words[0]}) ended with exit code {code}. Next: {BY_HAND}; it runs without a shell, to which alone a "
            f"pipe or a variable means anything."
        )
        raise TokenError(msg)
    token = _token_in(output)
    if token is None:
        size = f"more than {MOST_BYTES // 1024} KiB" if len(output) > MOST_BYTES else f"{len(output)} bytes"
        msg = (
            f"security.token_command ({words[0]}) printed {size} that are no token. Next: {BY_HAND}; it must print the token "
            f"alone, or a JSON object with access_token and expires_in."
        )
        raise TokenError(msg)
    return _alive(token, f"security.token_command ({words[0]})")


async def _output(words: list[str], seconds: float) -> tuple[bytes, int | None]:
    """
    A program's output, up to a little over `MOST_BYTES`, and its exit code.

    Raises:
        OSError: The program cannot be started.
        TimeoutError: The program did not end in time, and was killed with its process group.
    """
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *words, stdin=nowhere, stdout=asyncio.subprocess.PIPE, stderr=nowhere, process_group=0
    )
    assert process.stdout is not None, "a pipe was asked for"
    output = b""
    try:
        async with asyncio.timeout(seconds):
            while len(output) <= MOST_BYTES and (part := await process.stdout.read(MOST_BYTES)):
                output += part
            if len(output) <= MOST_BYTES:
                await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
    return output, 0 if len(output) > MOST_BYTES else process.returncode


def _of_endpoint(security: Security, until: float) -> Token:
    url, client, secret_file = security.token_url, security.client_id, security.client_secret_file
    assert url is not None, "the settings refuse OAUTHBEARER without a source of tokens"
    assert client is not None, "the settings refuse an endpoint without a client"
    assert secret_file is not None, "the settings refuse a client without a secret"
    secret = secret_in(secret_file, "security.client_secret_file")
    user = base64.b64encode(f"{quote(client, safe='')}:{quote(secret, safe='')}".encode()).decode("ascii")
    form = {"grant_type": "client_credentials", **({"scope": security.token_scope} if security.token_scope else {})}
    headers = {
        "Authorization": f"Basic {user}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        "User-Agent": "tagstream",
    }
    tls = verifying_context(security.token_ca_file, "security.token_ca_file") if url.startswith("https:") else None
    bounds = Bounds(seconds=security.token_timeout_seconds, until=until, most_bytes=MOST_BYTES)
    try:
        answer = ask(url, headers, bounds, tls=tls, body=urlencode(form).encode("ascii"))
    # A host name that cannot be encoded raises UnicodeError and not OSError.
    except (OSError, HTTPException, UnicodeError) as error:
        late = isinstance(error, TimeoutError)
        # For an answer that is not HTTP, Python's message quotes the answer.
        quotes = not isinstance(error, OSError | UnicodeError)
        why = type(error).__name__ if quotes else summary_of(error)
        msg = (
            f"the token endpoint {url} gives no answer{f' within {security.token_timeout_seconds:g} s' if late else ''} ({why}). "
            f"Next: see that it runs and that security.token_url is its address; security.token_ca_file names its authority"
            f"{', and security.token_timeout_seconds says how long it may take' if late else ''}."
        )
        raise TokenError(msg) from (None if quotes else error)
    if answer.status != OK:
        raise TokenError(_refusal(security, answer))
    token = _token_in(answer.body) if answer.body.lstrip().startswith(b"{") else None
    if token is None:
        msg = (
            f"the token endpoint {url} answers, and not with a token. Next: check security.token_url, its path too: an OpenID provider "
            f"names its token_endpoint under /.well-known/openid-configuration."
        )
        raise TokenError(msg)
    return _alive(token, f"the token endpoint {url}")


def _refusal(security: Security, answer: HttpAnswer) -> str:
    url, status = security.token_url, answer.status
    if answer.is_passing:
        return f"the token endpoint {url} answers with status {status}. Next: see its log, and try again; a worker asks again by itself."
    if status in REDIRECTS:
        return (
            f"the token endpoint {url} redirects (status {status}), which is not followed, so that no secret goes to "
            f"another host. Next: set security.token_url to the endpoint's own address."
        )
    if status in REFUSED:
        given = _object_in(answer.body).get("error")
        name = f", {given}" if given in ERROR_NAMES else ""
        step = (
            "check security.token_scope"
            if given == "invalid_scope"
            else "check security.client_id and the content of security.client_secret_file, and that this client may use the grant "
            "client_credentials"
        )
        return f"the token endpoint {url} refuses client {security.client_id!r} (status {status}{name}). Next: {step}."
    return f"the token endpoint {url} answers with status {status}. Next: check security.token_url, its path too."


def _alive(token: Token, source: str) -> Token:
    if token.seconds is not None and token.seconds <= LEAST_SECONDS:
        ended = f"ended {-token.seconds:.0f} s ago" if token.seconds < 0 else "ends at once"
        msg = (
            f"{source} gave a token that {ended}. Next: compare this machine's clock with its source's, and see that the source gives no "
            f"token that it has kept too long."
        )
        raise TokenError(msg)
    return token


def _token_in(output: bytes) -> Token | None:
    """The token in `output`, which is a token alone or a token endpoint's answer; None if it is neither."""
    if len(output) > MOST_BYTES:
        return None
    text: object = output.strip().decode("ascii", "replace")
    answer: Mapping[str, Any] = {}
    if isinstance(text, str) and text.startswith("{"):
        answer = _object_in(output)
        text = answer.get("access_token")
    if not isinstance(text, str) or not TOKEN.fullmatch(text):
        return None
    claims = _claims(text)
    # `expires_in` counts from the endpoint's answer, so this machine's clock does not matter; the claim `exp` is a time of day.
    seconds = _number(answer.get("expires_in"))
    ends = _number(claims.get("exp"))
    if seconds is None and ends is not None:
        seconds = ends - time.time()
    return Token(text=text, seconds=seconds, claims=claims)


def _claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, which only the broker verifies; empty for a token of another kind."""
    _, _, rest = token.partition(".")
    claims, dot, _ = rest.partition(".")
    if not dot:
        return {}
    try:
        return _object_in(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    except ValueError:
        return {}


def _object_in(text: bytes) -> dict[str, Any]:
    """The JSON object in `text`; empty if the text is not a JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> float | None:
    """A finite number. Some endpoints give it as a string, which is read, too. None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
