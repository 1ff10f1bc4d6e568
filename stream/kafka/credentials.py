"""The arguments that every Kafka client is constructed with: addresses, TLS and a user.

aiokafka and kafka-python name these arguments alike, and the worker makes Faust's credentials of them. A test holds that no
client is constructed without `client_options`. A password comes from its file and is never printed.
"""

import ssl
import stat
from pathlib import Path
from typing import Any

from stream.settings.security import DEFAULT_MECHANISM, Security, shown_path
from stream.settings.settings import Settings

MAX_PASSWORD_BYTES = 4096


class SecurityError(Exception):
    """A file of the security settings cannot be used: the message says which, why, and the next step."""

    exit_code = 2


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
    options: dict[str, Any] = {"bootstrap_servers": settings.broker_list, "security_protocol": security.protocol}
    if security.tls:
        options["ssl_context"] = tls_context(security)
    if security.sasl:
        assert security.password_file is not None, "the settings refuse a user without a password file"
        options["sasl_mechanism"] = security.mechanism or DEFAULT_MECHANISM
        options["sasl_plain_username"] = security.username
        options["sasl_plain_password"] = _Password(_secret(security.password_file, "password_file"))
    return options


def tls_context(security: Security) -> ssl.SSLContext:
    """
    A context for TLS 1.2 or newer that verifies the broker's certificate and host name, with our own certificate if one is set.

    Raises:
        SecurityError: A file cannot be used.
    """
    name = "ca_file"
    if security.ca_file is not None:
        _check(security.ca_file, name)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=security.ca_file)
    except (ssl.SSLError, OSError) as error:
        problem = "it holds no certificate in PEM"
        raise _unusable(name, security.ca_file, problem, "give the authority's certificate, as PEM") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if security.certificate_file is not None:
        _load_own_certificate(context, security, security.certificate_file)
    return context


def _load_own_certificate(context: ssl.SSLContext, security: Security, certificate: Path) -> None:
    name = "certificate_file"
    _check(certificate, name, secret=security.key_file is None)
    if security.key_file is not None:
        _check(security.key_file, "key_file", secret=True)
    password = "" if security.key_password_file is None else _secret(security.key_password_file, "key_password_file")
    try:
        # Without a password OpenSSL would ask for one on the terminal, and a worker would wait for ever.
        context.load_cert_chain(certificate, security.key_file, password=password)
    except (ssl.SSLError, OSError, ValueError) as error:
        problem = "certificate and key are not a pair in PEM, or the key's password is missing or wrong"
        advice = "compare `openssl x509 -noout -pubkey` with `openssl pkey -pubout`; set security.key_password_file for an encrypted key"
        raise _unusable(name, certificate, problem, advice) from error


def warnings(security: Security) -> list[str]:
    """
    One sentence for each setting that works and could be safer.

    A secret that every user of the machine may read is a warning and no error: Kubernetes mounts a Secret so by default.
    """
    found = []
    if security.protocol == "SASL_PLAINTEXT":
        found.append("user, password (with PLAIN) and events can be read on the network (insecure_password_without_tls)")
    own = "certificate_file" if security.key_file is None else "key_file"
    for name in ("password_file", own, "key_password_file"):
        path: Path | None = getattr(security, name)
        try:
            mode = path.stat().st_mode if path is not None else 0
        except OSError:
            continue
        if mode & stat.S_IROTH:
            found.append(f"every user of this machine may read security.{name} (mode {stat.S_IMODE(mode):04o})")
    return found


def _secret(path: Path, name: str) -> str:
    _check(path, name, secret=True)
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        raise _unusable(name, path, f"it cannot be read: {error.strerror}", "let the worker's user read it") from error
    except UnicodeDecodeError:
        # Not `from error`: that exception holds the bytes.
        raise _unusable(name, path, "it is not UTF-8", "write the password alone into it, as text") from None
    # Editors and `echo` end a file with a newline that is not part of the password.
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(content) > MAX_PASSWORD_BYTES or not text.isprintable():
        problem = "it must hold one line, the password, and nothing else"
        raise _unusable(name, path, problem, "write the password alone into it (`printf %s`)")
    return text


def _check(path: Path, name: str, *, secret: bool = False) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unusable(name, path, error.strerror or "it does not exist", "correct the setting, or mount the file") from error
    if not stat.S_ISREG(mode):
        raise _unusable(name, path, "it is not a file", "name the file itself, not its folder")
    strangers = stat.S_IWOTH | (stat.S_IWGRP if secret else 0)
    if mode & strangers:
        problem = f"others may write to it (mode {stat.S_IMODE(mode):04o}), and could replace its content by their own"
        raise _unusable(name, path, problem, f"chmod {'0600' if secret else '0644'}")


def _unusable(name: str, path: Path | None, problem: str, advice: str) -> SecurityError:
    key = f"security.{name}"
    shown = "" if path is None else f" ({shown_path(key, path)})"
    return SecurityError(
        f"{key}{shown} cannot be used: {problem}. Next: {advice}; `tagstream config show --sources` says where it was set."
    )
