"""Explains a connection that a broker refused: TLS, certificates, users. A sentence with the next step, or None if it was no refusal."""

import asyncio
import ssl

from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from stream.settings.security import DEFAULT_MECHANISM
from stream.settings.settings import Settings

TLS_SECONDS = 5.0
# OpenSSL's X509_V_ERR_*: the certificate is for another host or address; it is expired or not valid yet.
_WRONG_NAME = {62, 64}
_WRONG_TIME = {9, 10}


async def sentence(settings: Settings, address: str, error: BaseException) -> str | None:
    """
    Why a broker refuses us, with the next step; None if the error is no refusal.

    Args:
        settings: Protocol, user and certificates of the connection that failed.
        address: The broker, as host:port.
        error: Raised while connecting, or by the first request.
    """
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
        async with asyncio.timeout(TLS_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
