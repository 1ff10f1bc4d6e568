"""Sessions of the Kafka clients: how a token signs in, and how an open connection signs in again before its session ends (KIP-368).

A broker bounds a session by the token's life and by its `connections.max.reauth.ms`, and tells the bound when a client signs in. After the
bound it closes the connection at the next request that is not a sign-in. kafka-python signs in again in time. aiokafka does not, so each of
its connections is a `LastingConnection` here. Users with a password sign in again too.

A request after the end of a session is not carried out. So if signing in again fails, the connection is closed and made anew, as after any
other loss, and nothing is lost or done twice.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

import aiokafka.conn
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import AIOKafkaConnection, CloseReason, OAuthAuthenticator
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import SaslAuthenticateRequest, SaslHandShakeRequest
from kafka.net.sasl.oauth import AbstractTokenProvider as BlockingTokenProvider

from tagstream.stream.kafka.errors import summary_of
from tagstream.stream.logs import logger

if TYPE_CHECKING:
    from tagstream.stream.kafka.tokens import Tokens

# A connection signs in again after a random share of its session, as in Java's client, so that not all sign in at the same time.
EARLIEST, LATEST = 0.85, 0.95
# A broker refuses a second sign-in within a second.
LEAST_SECONDS = 1.1
SIGNING_IN = (SaslHandShakeRequest, SaslAuthenticateRequest)
# What ends a refused OAUTHBEARER exchange (RFC 7628, 3.2.3).
ACKNOWLEDGED = b"\x01"
log = logger("tagstream.sessions")


class TokenProvider(AbstractTokenProvider, BlockingTokenProvider):  # type: ignore[misc]
    """Gives both clients their tokens: kafka-python, which waits for a token, and aiokafka's `LastingConnection`, which does not block."""

    def __init__(self, tokens: "Tokens") -> None:
        """`tokens` has one source."""
        self.tokens = tokens

    def token(self) -> str:
        """
        A token that has not ended; kafka-python asks for it.

        Raises:
            TokenError: The source gives no token.
        """
        return self.tokens.current()


class _Bearer(OAuthAuthenticator):  # type: ignore[misc]
    """aiokafka's exchange, which also reads a broker's refusal: aiokafka takes it for an acceptance, and is cut off at its next request."""

    def __init__(self, tokens: "Tokens") -> None:
        super().__init__(sasl_oauth_token_provider=self)
        self._tokens = tokens
        self._sent = ""

    async def token(self) -> str:
        """The token, which aiokafka asks its provider for."""
        self._sent = await self._tokens.soon()
        return self._sent

    def extensions(self) -> dict[str, str]:
        """No extensions; aiokafka asks its provider for them."""
        return {}

    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        if self._sent and payload:
            self._tokens.refused(self._sent)
            self._sent = ""
            return ACKNOWLEDGED, True
        answer: tuple[bytes, bool] | None = await super().step(payload)
        return answer


class LastingConnection(AIOKafkaConnection):  # type: ignore[misc]
    """
    aiokafka's connection, which signs in again before the first request towards the end of its session.

    This follows Java's client. After the session's end a broker accepts only a sign-in. While a client signs in, the broker accepts no other
    request. So the connection first waits for the answers to the requests that it has sent, and holds new requests back. Each wait has the
    bound of a request.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._session_seconds = 0.0
        # The time, by the loop's clock, from which a request first makes the connection sign in again.
        self._due = math.inf
        self._signing_in: asyncio.Task[None] | None = None
        super().__init__(*args, **options)

    def send(self, request: Any, *rest: Any, **named: Any) -> Awaitable[Any]:
        """Send a request at once, or after the connection has signed in again; await the answer."""
        if isinstance(request, SaslAuthenticateRequest):
            return self._with_session(super().send(request, *rest, **named))
        if not isinstance(request, SaslHandShakeRequest):
            if self._signing_in is None and self._loop.time() >= self._due and self.connected():
                self._signing_in = self._loop.create_task(self._sign_in_again([future for *_, future in self._requests]))
            if self._signing_in is not None:
                return self._sent_after(self._signing_in, request, *rest, **named)
        answer: Awaitable[Any] = super().send(request, *rest, **named)
        return answer

    def authenticator_oauth(self) -> _Bearer:
        """The exchange of OAUTHBEARER."""
        return _Bearer(self._sasl_oauth_token_provider.tokens)

    async def _do_sasl_handshake(self) -> None:
        began = self._loop.time()
        await super()._do_sasl_handshake()
        share = random.SystemRandom().uniform(EARLIEST, LATEST)
        self._due = began + max(LEAST_SECONDS, share * self._session_seconds) if self._session_seconds > 0 else math.inf

    async def _with_session(self, answer: Awaitable[Any]) -> Any:
        found = await answer
        # Brokers before Kafka 2.2 know no sessions.
        self._session_seconds = getattr(found, "session_lifetime_ms", 0) / 1000
        return found

    async def _sign_in_again(self, unanswered: Sequence["asyncio.Future[Any]"]) -> None:
        try:
            if unanswered:
                await asyncio.wait(unanswered)
            if self.connected():
                await self._do_sasl_handshake()
        except (KafkaError, OSError, TimeoutError, ValueError) as error:
            log.warning(
                "not_signed_in_again",
                broker=f"{self._host}:{self._port}",
                why=summary_of(error),
                consequence="the connection is closed and made anew",
            )
            self.close(CloseReason.AUTH_FAILURE, error)
        finally:
            self._signing_in = None

    async def _sent_after(self, signing_in: "asyncio.Task[None]", request: Any, *rest: Any, **named: Any) -> Any:
        await asyncio.wait([signing_in])
        return await super().send(request, *rest, **named)


def install() -> None:
    """Let every client of aiokafka use `LastingConnection`."""
    aiokafka.conn.AIOKafkaConnection = LastingConnection
