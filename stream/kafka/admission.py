"""Connections to brokers before any client is made: which address accepts a connection, which broker refuses us, and why.

The clients retry until their time is over, and then report that no broker answered. A wrong password or a port without a listener would
look like a slow broker.
"""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.kafka.errors import BrokerAbsentError, BrokerRefusedError, summary_of
from tagstream.stream.kafka.sessions import LastingConnection
from tagstream.stream.settings.security import DEFAULT_MECHANISM
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.text import counted

# The bound of a plain TCP connection: enough for a way around the world.
CONNECT_SECONDS = 2.0
LATE_SECONDS = 0.2
TLS_SECONDS = 5.0
# OpenSSL's X509_V_ERR_*: the certificate is for another host or address; it is expired or not valid yet.
_WRONG_NAME = {62, 64}
_WRONG_TIME = {9, 10}
ANSWER_SECONDS = 5.0
CLOSE_SECONDS = 0.5
# A command tries an absent broker for `ABSENT_SECONDS`, since the broker may be restarting, and then reports it.
ABSENT_SECONDS, PAUSE_SECONDS = 3.0, 1.0


class Reach(StrEnum):
    """How a plain connection to an address ended."""

    OPEN = "takes connections"
    REFUSED = "refuses connections"
    SILENT = f"did not take a connection within {CONNECT_SECONDS:g} s"
    UNKNOWN = "has a name that cannot be resolved"
    ELSE = "cannot be reached"


# The system itself says at once that nothing listens there. An address that is silent or open may be a broker that starts.
ABSENT = frozenset({Reach.REFUSED, Reach.UNKNOWN, Reach.ELSE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A plain connection to `address` (host:port) and how it ended; `detail` is the system's own message under `Reach.ELSE`."""

    address: str
    reach: Reach
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.address} {self.reach}" if not self.detail else f"{self.address} {self.reach} ({self.detail})"


def connect_to_each(settings: Settings) -> tuple[Attempt, ...]:
    """Try a plain connection to each broker, all at once, within about `CONNECT_SECONDS`, to find out why no broker answers."""
    found: dict[str, Attempt] = {}

    def attempt(address: str) -> None:
        found[address] = _connect(address)

    # Threads and no pool: the end of a pool would wait for a name service that does not answer.
    threads = [threading.Thread(target=attempt, args=(address,), daemon=True) for address in settings.broker_list]
    for thread in threads:
        thread.start()
    # Resolving a name has no timeout of its own: a thread that is late counts as silent.
    deadline = time.monotonic() + CONNECT_SECONDS + LATE_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = {address: Attempt(address=address, reach=Reach.SILENT) for address in settings.broker_list}
    return tuple((late | found).values())


def _connect(address: str) -> Attempt:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS):
            return Attempt(address=address, reach=Reach.OPEN)
    except (socket.gaierror, UnicodeError):
        return Attempt(address=address, reach=Reach.UNKNOWN)
    except ConnectionRefusedError:
        return Attempt(address=address, reach=Reach.REFUSED)
    except TimeoutError:
        return Attempt(address=address, reach=Reach.SILENT)
    except OSError as error:
        return Attempt(address=address, reach=Reach.ELSE, detail=error.strerror or str(error))


def advice(settings: Settings, found: Iterable[Attempt]) -> str:
    """
    The next steps for addresses without an answering broker, each step once.

    >>> advice(Settings(), [Attempt(address="kafka:9092", reach=Reach.UNKNOWN)])
    "correct the name in TAGSTREAM_BROKERS, or this machine's name service"
    >>> advice(Settings(), [Attempt(address="127.0.0.1:9092", reach=Reach.REFUSED)])
    'start the broker, or set TAGSTREAM_BROKERS to its address: it is not set, and nothing listens at the default'
    """
    return "; ".join(dict.fromkeys(_step(settings, one.reach) for one in found))


def _step(settings: Settings, reach: Reach) -> str:
    protocol = settings.security.protocol
    return {
        Reach.OPEN: f"check that it is a Kafka listener for {protocol} (TAGSTREAM_SECURITY__PROTOCOL), and that this machine "
        "reaches what the broker advertises (its advertised.listeners); the broker's log says more",
        Reach.REFUSED: "start the broker, or correct host and port in TAGSTREAM_BROKERS: nothing listens there"
        if "brokers" in settings.model_fields_set
        else "start the broker, or set TAGSTREAM_BROKERS to its address: it is not set, and nothing listens at the default",
        Reach.SILENT: "check that the host is up, and that a firewall or network policy lets this machine through to the port",
        Reach.UNKNOWN: "correct the name in TAGSTREAM_BROKERS, or this machine's name service",
        Reach.ELSE: "correct the address in TAGSTREAM_BROKERS, or this machine's route to it",
    }[reach]


async def refusal_sentence(settings: Settings, address: str, error: BaseException) -> str | None:
    """
    Why a broker refuses us, with the next step; None if the error does not mean a refusal.

    Args:
        settings: Protocol, user and certificates of the connection that failed.
        address: The broker, as host:port.
        error: The exception of the connection, or of the first request.
    """
    # Under TLS 1.3 a client's certificate is refused after the handshake: aiokafka reports a lost connection, caused by the TLS error.
    tls = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    if isinstance(tls, ssl.SSLCertVerificationError):
        return _certificate(address, tls)
    if isinstance(tls, ssl.SSLError):
        return await _tls(settings, address, tls)
    # A broker that is down refuses the connection or times out, which says nothing about our credentials.
    if isinstance(error, KafkaConnectionError | ConnectionResetError):
        return await _closed_early(settings, address)
    return _user(settings, address, error)


def _user(settings: Settings, address: str, error: BaseException) -> str | None:
    security = settings.security
    mechanism = security.mechanism or DEFAULT_MECHANISM
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
        if security.by_token:
            return (
                f"{address} refuses our token ({summary_of(error)}): it is over, or of another issuer, audience or signature than the "
                f"listener takes. Next: `tagstream doctor` shows its claims; compare them with sasl.oauthbearer.* of the broker, whose log "
                f"says more, and the clocks of both."
            )
        return (
            f"{address} refuses user {security.username!r} with {mechanism}: the password is wrong, or there is no such user with "
            f"this mechanism. Next: compare the content of security.password_file with the password that the broker knows; "
            f"`kafka-configs.sh --describe --entity-type users` lists SCRAM users."
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"{address} does not offer {mechanism} ({error}). Next: set security.mechanism to one that it offers."
    if isinstance(error, IllegalSaslStateError):
        return f"{address} asks for no user. Next: set security.protocol = {'SSL' if security.tls else 'PLAINTEXT'}."
    if security.sasl and isinstance(error, ValueError):
        # SCRAM also proves to the client that the broker knows the password. aiokafka raises ValueError if this proof is wrong.
        return (
            f"{address} could not prove that it knows user {security.username!r} ({mechanism}). Next: check that TAGSTREAM_BROKERS "
            f"names your broker."
        )
    return None


def _certificate(address: str, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _WRONG_NAME:
        return (
            f"the certificate of {address} is for other names ({error.verify_message}): this may not be your broker. Next: connect "
            f"by a name that the certificate has (subjectAltName), or have one issued for this name."
        )
    if error.verify_code in _WRONG_TIME:
        return (
            f"the certificate of {address} is not valid today ({error.verify_message}). Next: check this machine's clock, and "
            f"renew the broker's certificate."
        )
    return (
        f"the certificate of {address} is not trusted ({error.verify_message}). Next: set security.ca_file to the PEM of the "
        f"authority that issued it."
    )


async def _tls(settings: Settings, address: str, error: ssl.SSLError) -> str:
    reason = error.reason or str(error)
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        return _own_certificate(settings, address, reason)
    if not await _speaks_tls(address):
        return (
            f"{address} does not speak TLS, and security.protocol = {settings.security.protocol} needs it; no secret was sent. "
            f"Next: use the port of the broker's TLS listener."
        )
    return (
        f"{address} and this client could not agree on TLS ({reason}). Next: the client speaks TLS 1.2 and 1.3; check "
        f"ssl.enabled.protocols and ssl.client.auth of the broker."
    )


def _own_certificate(settings: Settings, address: str, reason: str) -> str:
    given = settings.security.certificate_file
    problem = "refuses our certificate" if given else "requires a client certificate, and none is set"
    return (
        f"{address} {problem} ({reason}). Next: set security.certificate_file and security.key_file to a certificate whose issuer "
        f"is in the broker's ssl.truststore."
    )


async def _closed_early(settings: Settings, address: str) -> str | None:
    """Explain a broker that accepts a connection and closes it without an answer to the first request."""
    security = settings.security
    if not security.tls and await _speaks_tls(address):
        return (
            f"{address} speaks TLS, and security.protocol = {security.protocol} does not. Next: set security.protocol = SSL or "
            f"SASL_SSL, and security.ca_file."
        )
    if security.tls and not security.sasl:
        if security.certificate_file is not None:
            return _own_certificate(settings, address, "it closed the connection at the first request")
        return (
            f"{address} closed the connection at the first request: it requires a user or a client certificate. Next: set "
            f"security.protocol = SASL_SSL with security.username and security.password_file, or security.certificate_file."
        )
    # This is not a refusal: a port forwarder, such as a container's proxy, closes connections like this until its broker is up.
    return None


async def _speaks_tls(address: str) -> bool:
    """Try a TLS handshake without verification, and send nothing over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(TLS_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


def admitted(settings: Settings) -> tuple[dict[str, Any], float]:
    """
    Options for a client, and the seconds left of `startup_timeout_seconds`, once a broker accepts us or may be starting.

    One broker that accepts us is enough. A broker that accepts the connection and does not answer may be starting: the client waits for it
    during the seconds that are left.

    Raises:
        BrokerAbsentError: No address has taken a connection for `ABSENT_SECONDS`; the message says why, for each.
        BrokerRefusedError: A broker answered and refused us; the message says why.
        TokenError: There is no token to sign in with; the message says why.
        SecurityError: A file of the settings cannot be used.
    """
    started = time.monotonic()
    _enter_within(settings, min(ABSENT_SECONDS, settings.startup_timeout_seconds))
    return client_options(settings), max(1.0, settings.startup_timeout_seconds - (time.monotonic() - started))


def await_listener(settings: Settings, *, say: Callable[[str], None]) -> None:
    """
    Wait for a broker that is not there yet: a worker and its broker are often started together.

    Args:
        settings: Brokers, and the bound `startup_timeout_seconds`.
        say: Called once, before the wait, with a text of how each connection ended.

    Raises:
        BrokerAbsentError: No address has taken a connection within the bound.
        BrokerRefusedError: A broker answered and refused us; the message says why.
        TokenError: There is no token to sign in with; the message says why.
        SecurityError: A file of the settings cannot be used.
    """
    _enter_within(settings, settings.startup_timeout_seconds, say)


def _enter_within(settings: Settings, seconds: float, say: Callable[[str], None] = lambda _: None) -> None:
    """Try all brokers until one accepts us or may still answer. Raises the errors of `await_listener`."""
    started, tries = time.monotonic(), 0
    while True:
        tries += 1
        accepted, refused = _knock(settings)
        if accepted:
            return
        if refused is not None:
            raise BrokerRefusedError(refused)
        found = connect_to_each(settings)
        if any(one.reach not in ABSENT for one in found):
            return
        if time.monotonic() - started + PAUSE_SECONDS > seconds:
            raise _absent(settings, found, tries, seconds)
        if tries == 1:
            say("; ".join(map(str, found)))
        time.sleep(PAUSE_SECONDS)


def _absent(settings: Settings, found: tuple[Attempt, ...], tries: int, seconds: float) -> BrokerAbsentError:
    ended, times = "; ".join(map(str, found)), counted(tries, "attempt")
    return BrokerAbsentError(
        f"no Kafka broker answered at {settings.brokers} within {seconds:g} s: {ended} ({times}). Next: {advice(settings, found)}."
    )


def _knock(settings: Settings) -> tuple[bool, str | None]:
    """
    Connect to all brokers at once. Takes at most twice `ANSWER_SECONDS`, after the seconds for a token.

    Returns:
        True if a broker accepts us; and if no broker does, why a broker refuses us, or None if none refuses.

    Raises:
        TokenError: There is no token to sign in with.
    """
    options = client_options(settings)
    if settings.security.by_token:
        from tagstream.stream.kafka.tokens import tokens_of

        tokens_of(settings.security).current()
    del options["bootstrap_servers"]
    # `asyncio.run` needs a thread without an event loop, and the caller may be a coroutine.
    with ThreadPoolExecutor(1, thread_name_prefix="handshake") as executor:
        return executor.submit(asyncio.run, _first(settings, options)).result()


async def _first(settings: Settings, options: dict[str, Any]) -> tuple[bool, str | None]:
    """The first acceptance; else the first refusal in the order of the settings."""
    answers = [asyncio.create_task(_answer(settings, address, options)) for address in settings.broker_list]
    try:
        async with asyncio.timeout(settings.startup_timeout_seconds):
            for answer in asyncio.as_completed(answers):
                accepted, _ = await answer
                if accepted:
                    return True, None
    except TimeoutError:
        pass
    finally:
        for task in answers:
            task.cancel()
        await asyncio.wait(answers)
    refusals = [task.result()[1] for task in answers if not task.cancelled()]
    return False, next((refusal for refusal in refusals if refusal is not None), None)


async def _answer(settings: Settings, address: str, options: dict[str, Any]) -> tuple[bool, str | None]:
    try:
        await _enter(address, options)
    except (KafkaError, OSError, TimeoutError, ValueError) as error:
        return False, await refusal_sentence(settings, address, error)
    return True, None


async def _enter(address: str, options: dict[str, Any]) -> None:
    host, _, port = address.rpartition(":")
    connection = LastingConnection(
        host.strip("[]"), int(port), client_id="tagstream-handshake", request_timeout_ms=int(ANSWER_SECONDS * 1000), **options
    )
    async with asyncio.timeout(ANSWER_SECONDS):
        try:
            await connection.connect()
            # A broker that requires a user, or a client certificate under TLS 1.3, refuses only the first request.
            await connection.send(MetadataRequest([]))
        except OSError:
            # The connection was never open, so a wait for its end would never return.
            raise
        except BaseException:
            await _close(connection)
            raise
        await _close(connection)


async def _close(connection: LastingConnection) -> None:
    closed = connection.close()
    if closed is not None:
        await asyncio.wait({closed}, timeout=CLOSE_SECONDS)
