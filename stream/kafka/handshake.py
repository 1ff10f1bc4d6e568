"""Does a broker accept us? One connection with the settings' credentials, and a sentence that explains a refusal.

The clients retry until their time is over and then report that no broker answered, so that a wrong password would look like a
broker that is down. Every client is made after this check.
"""

import asyncio
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from stream.kafka.credentials import client_options
from stream.kafka.errors import BrokerRefusedError
from stream.settings.security import DEFAULT_MECHANISM
from stream.settings.settings import Settings

ANSWER_SECONDS = 5.0
CLOSE_SECONDS = 0.5
# OpenSSL's X509_V_ERR_*: the certificate is for another host or address; it is expired or not valid yet.
_WRONG_NAME = {62, 64}
_WRONG_TIME = {9, 10}


def admitted(settings: Settings) -> tuple[dict[str, Any], float]:
    """
    Options for a client, and the seconds that are left of `startup_timeout_seconds`, once no broker refuses us.

    A broker that does not answer is no refusal: the client waits for it during the seconds that are left.

    Raises:
        BrokerRefusedError: A broker answered and refused us; the message says why.
        SecurityError: A file of the settings cannot be used.
    """
    started = time.monotonic()
    refused = refusal(settings)
    if refused is not None:
        raise BrokerRefusedError(refused)
    return client_options(settings), max(1.0, settings.startup_timeout_seconds - (time.monotonic() - started))


def refusal(settings: Settings) -> str | None:
    """
    Why we are refused, with the next step, if a broker refuses us and no other accepts us; None otherwise.

    Takes at most `ANSWER_SECONDS` for each broker, and at most `startup_timeout_seconds`.

    Raises:
        SecurityError: A file of the settings cannot be used.
    """
    options = client_options(settings)
    del options["bootstrap_servers"]
    # `asyncio.run` needs a thread without an event loop, and the caller may be a coroutine.
    with ThreadPoolExecutor(1, thread_name_prefix="handshake") as executor:
        return executor.submit(asyncio.run, _refusal(settings, options)).result()


async def _refusal(settings: Settings, options: dict[str, Any]) -> str | None:
    found = None
    try:
        async with asyncio.timeout(settings.startup_timeout_seconds):
            for address in settings.broker_list:
                try:
                    await _enter(address, options)
                except (KafkaError, OSError, TimeoutError, ValueError) as error:
                    found = found or await _sentence(settings, address, error)
                else:
                    return None
    except TimeoutError:
        return found
    return found


async def _enter(address: str, options: dict[str, Any]) -> None:
    host, _, port = address.rpartition(":")
    connection = AIOKafkaConnection(
        host.strip("[]"), int(port), client_id="tagstream-handshake", request_timeout_ms=int(ANSWER_SECONDS * 1000), **options
    )
    async with asyncio.timeout(ANSWER_SECONDS):
        try:
            await connection.connect()
            # A broker that requires a user, or a client certificate under TLS 1.3, refuses only the first request.
            await connection.send(MetadataRequest([]))
        except OSError:
            # The connection was never open, so that waiting for its end would not end.
            raise
        except BaseException:
            await _close(connection)
            raise
        await _close(connection)


async def _close(connection: AIOKafkaConnection) -> None:
    closed = connection.close()
    if closed is not None:
        await asyncio.wait({closed}, timeout=CLOSE_SECONDS)


async def _sentence(settings: Settings, address: str, error: BaseException) -> str | None:
    # Under TLS 1.3 a client's certificate is refused after the handshake: aiokafka reports a lost connection, TLS is its cause.
    tls = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    if isinstance(tls, ssl.SSLCertVerificationError):
        return _certificate(address, tls)
    if isinstance(tls, ssl.SSLError):
        return await _tls(settings, address, tls)
    # A broker that is down refuses the connection or times out: it has not refused our credentials.
    if isinstance(error, KafkaConnectionError | ConnectionResetError):
        return await _closed_early(settings, address)
    return _user(settings, address, error)


def _user(settings: Settings, address: str, error: BaseException) -> str | None:
    security = settings.security
    mechanism = security.mechanism or DEFAULT_MECHANISM
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
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
        # SCRAM proves to the client, too, that the broker knows the password; aiokafka raises this if the proof is wrong.
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
    # No refusal: a port forwarder, such as a container's proxy, closes connections like this until its broker is up.
    return None


async def _speaks_tls(address: str) -> bool:
    """Try a TLS handshake without verification, and send nothing over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
