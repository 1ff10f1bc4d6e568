"""The arguments that every Kafka client is constructed with: addresses, TLS and a user or a token.

aiokafka and kafka-python name these arguments alike, and the worker makes Faust's credentials of them. A test checks that every client
is constructed with `client_options`. A password comes from its file and is never printed.
"""

import ssl
import stat
from pathlib import Path
from typing import Any

from tagstream.stream.kafka import sessions
from tagstream.stream.logs import without_slow_tasks
from tagstream.stream.settings.secret_files import check_file, secret_in, unusable, verifying_context
from tagstream.stream.settings.security import DEFAULT_MECHANISM, Security
from tagstream.stream.settings.settings import Settings


class _Password(str):
    """A password that hides itself in a repr: kafka-python's admin client logs its arguments at debug level."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def client_options(settings: Settings) -> dict[str, Any]:
    """
    Keyword arguments with the brokers' addresses, protocol and credentials, for every client of aiokafka and kafka-python.

    The files are read at each call, so that a client made after a rotation uses the new secret.

    Raises:
        SecurityError: A file is missing or unreadable, others may write to it, or its content has the wrong form.
    """
    security = settings.security
    without_slow_tasks()
    options: dict[str, Any] = {"bootstrap_servers": settings.broker_list, "security_protocol": security.protocol}
    if security.tls:
        options["ssl_context"] = tls_context(security)
    if security.sasl:
        sessions.install()
    if security.by_token:
        from tagstream.stream.kafka.tokens import tokens_of

        if security.client_secret_file is not None:
            secret_in(security.client_secret_file, "security.client_secret_file")
        if security.token_ca_file is not None:
            check_file(security.token_ca_file, "security.token_ca_file")
        options["sasl_mechanism"] = security.mechanism
        options["sasl_oauth_token_provider"] = sessions.TokenProvider(tokens_of(security))
    elif security.sasl:
        assert security.password_file is not None, "the settings refuse a user without a password file"
        options["sasl_mechanism"] = security.mechanism or DEFAULT_MECHANISM
        options["sasl_plain_username"] = security.username
        options["sasl_plain_password"] = _Password(secret_in(security.password_file, "security.password_file"))
    return options


def tls_context(security: Security) -> ssl.SSLContext:
    """
    A context for TLS 1.2 or newer that verifies the broker's certificate and host name, with our own certificate if one is set.

    Raises:
        SecurityError: A file cannot be used.
    """
    context = verifying_context(security.ca_file, "security.ca_file")
    if security.certificate_file is not None:
        _load_own_certificate(context, security, security.certificate_file)
    return context


def _load_own_certificate(context: ssl.SSLContext, security: Security, certificate: Path) -> None:
    name = "security.certificate_file"
    check_file(certificate, name, secret=security.key_file is None)
    if security.key_file is not None:
        check_file(security.key_file, "security.key_file", secret=True)
    password = "" if security.key_password_file is None else secret_in(security.key_password_file, "security.key_password_file")
    try:
        # Without a password OpenSSL would ask for one on the terminal, and a worker would wait for ever.
        context.load_cert_chain(certificate, security.key_file, password=password)
    except (ssl.SSLError, OSError, ValueError) as error:
        problem = "certificate and key are not a pair in PEM, or the key's password is missing or wrong"
        advice = "compare `openssl x509 -noout -pubkey` with `openssl pkey -pubout`; set security.key_password_file for an encrypted key"
        raise unusable(name, certificate, problem, advice) from error


def warnings(security: Security) -> list[str]:
    """
    One sentence for each setting that works and could be safer.

    A secret that every user of the machine may read is only a warning: Kubernetes mounts a Secret with this mode by default.
    """
    found = []
    if security.protocol == "SASL_PLAINTEXT":
        found.append("user, password (with PLAIN), token and events can be read on the network (insecure_password_without_tls)")
    own = "certificate_file" if security.key_file is None else "key_file"
    for name in ("password_file", "client_secret_file", own, "key_password_file", "answer_keys_file", "ask_keys_file"):
        path: Path | None = getattr(security, name)
        try:
            mode = path.stat().st_mode if path is not None else 0
        except OSError:
            continue
        if mode & stat.S_IROTH:
            found.append(f"every user of this machine may read security.{name} (mode {stat.S_IMODE(mode):04o})")
    return found
