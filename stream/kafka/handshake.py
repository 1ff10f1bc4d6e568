"""Why a broker does not let us in: one connection as the settings say, and a sentence for what ended it.

The clients retry until their bound and then say that nobody answered: a wrong password would look like a broker that is down.
"""

import asyncio
import ssl
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

from stream.settings.security import DEFAULT_MECHANISM, client_options
from stream.settings.settings import Settings

ANSWER_SECONDS = 5.0
CLOSE_SECONDS = 0.5
# OpenSSL's X509_V_ERR_*: the certificate is not for this host or address; its time; its issuer.
_WRONG_NAME = {62, 64}
_WRONG_TIME = {9, 10}


def refusal(settings: Settings) -> str | None:
    """
    The sentence, with its next step, if a broker answers and refuses us, and none lets us in; None otherwise.

    Takes at most `ANSWER_SECONDS` a broker, and no more than `startup_timeout_seconds`.

    Raises:
        SecurityError: A file of the settings cannot be used.
    """
    options = client_options(settings)
    del options["bootstrap_servers"]
    # In a thread of its own, since the caller may be a coroutine.
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
            # A broker that misses a user, or a certificate under TLS 1.3, says so at the first request only.
            await connection.send(MetadataRequest([]))
        except OSError:
            # It was never open: nothing would say that it is closed.
            raise
        except BaseException:
            await _closed_well(connection)
            raise
        await _closed_well(connection)


async def _closed_well(connection: AIOKafkaConnection) -> None:
    closed = connection.close()
    if closed is not None:
        await asyncio.wait({closed}, timeout=CLOSE_SECONDS)


async def _sentence(settings: Settings, address: str, error: BaseException) -> str | None:
    # Under TLS 1.3 a client's certificate is refused after the handshake, and the client only says that it was cut off.
    tls = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    if isinstance(tls, ssl.SSLCertVerificationError):
        return _certificate(address, tls)
    if isinstance(tls, ssl.SSLError):
        return await _tls(settings, address, tls)
    # A broker that is down refuses the connection or times out: that is no refusal of ours.
    if isinstance(error, KafkaConnectionError | ConnectionResetError):
        return await _closed(settings, address)
    return _user(settings, address, error)


def _user(settings: Settings, address: str, error: BaseException) -> str | None:
    security = settings.security
    mechanism = security.mechanism or DEFAULT_MECHANISM
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
        return (
            f"{address} refuses user {security.username!r} with {mechanism}: the password is wrong, or there is no such user with "
            f"this mechanism. Next: compare the file that security.password_file names with what the broker was given; "
            f"`kafka-configs.sh --describe --entity-type users` lists SCRAM users."
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"{address} does not offer {mechanism} ({error}). Next: set security.mechanism to one that it does."
    if isinstance(error, IllegalSaslStateError):
        return f"{address} asks for no user. Next: set security.protocol = {'SSL' if security.tls else 'PLAINTEXT'}."
    if security.sasl and isinstance(error, ValueError):
        # What the client raises when the broker's own proof fails: it does not know the password either.
        return f"{address} could not prove that it knows user {security.username!r} ({mechanism}). Next: is it your broker?"
    return None


def _certificate(address: str, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _WRONG_NAME:
        return (
            f"the certificate of {address} is for other names ({error.verify_message}): this may not be your broker. Next: connect "
            f"by a name that the certificate has (subjectAltName), or have one issued for this name."
        )
    if error.verify_code in _WRONG_TIME:
        return (
            f"the certificate of {address} is not valid today ({error.verify_message}). Next: renew it on the broker, and look at "
            f"this machine's clock."
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
            f"{address} does not speak TLS, security.protocol = {settings.security.protocol} needs it: nothing secret was sent. "
            f"Next: use the port of the broker's TLS listener."
        )
    return (
        f"no TLS could be agreed on with {address} ({reason}). Next: the client speaks TLS 1.2 and 1.3; see ssl.enabled.protocols "
        f"and ssl.client.auth of the broker."
    )


def _own_certificate(settings: Settings, address: str, reason: str) -> str:
    given = settings.security.certificate_file
    what = "refuses our certificate" if given else "wants a certificate of ours, and none is set"
    return (
        f"{address} {what} ({reason}). Next: set security.certificate_file and security.key_file to ones whose issuer is in the "
        f"broker's ssl.truststore."
    )


async def _closed(settings: Settings, address: str) -> str | None:
    """It took the connection and closed it without an answer to the first request."""
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
            f"{address} closed the connection at the first request: it wants a user, or a certificate of ours. Next: set "
            f"security.protocol = SASL_SSL with security.username and security.password_file, or security.certificate_file."
        )
    # Nothing more is said: what forwards a port, a container's proxy for one, does the same until its broker is up.
    return None


async def _speaks_tls(address: str) -> bool:
    """Only whether it does: nothing is verified, nothing is sent, nothing is believed."""
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
