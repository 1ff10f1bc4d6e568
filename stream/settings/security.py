"""How every client of ours reaches the brokers: TLS, a user, and a password that comes from a file alone.

Owns the `security.*` settings and the one function, `client_options`, that turns them into a client's keyword arguments: aiokafka
and kafka-python give these the same names, and `faust_app.py` makes Faust's credentials of them. A test holds that no client is
constructed without it. Never prints a secret: a password is no setting, only the name of its file is.
"""

import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from stream.settings.settings import Settings

DEFAULT_MECHANISM = "SCRAM-SHA-512"
MAX_PASSWORD_BYTES = 4096
# What `config show` and errors print of these only when it is the name of a file that is there: a password that was put in its
# place by mistake must not be shown to whoever looks.
FILES_OF_SECRETS = frozenset({"security.password_file", "security.key_password_file"})

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class SecurityError(Exception):
    """A file of the security settings cannot be used: the message says which, why, and what to do."""

    exit_code = 2


class _Password(str):
    """Hidden where a client prints its arguments, as kafka-python's admin client does at debug level."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Security(BaseModel):
    """How the brokers are reached. Certificates and host names are always verified: there is no switch for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"] = Field(
        default="PLAINTEXT", description="SSL: TLS; SASL_SSL: TLS and a user; PLAINTEXT: neither"
    )
    mechanism: Mechanism | None = Field(
        default=None, description=f"SASL mechanism of the user; {DEFAULT_MECHANISM} unless given"
    )
    username: str | None = Field(default=None, min_length=1, description="SASL user")
    password_file: Path | None = Field(default=None, description="file with the user's password, nothing else in it")
    ca_file: Path | None = Field(default=None, description="PEM of the authorities that are trusted; else the system's")
    certificate_file: Path | None = Field(default=None, description="PEM of the client's own certificate (mTLS)")
    key_file: Path | None = Field(default=None, description="PEM of its private key; else in certificate_file")
    key_password_file: Path | None = Field(default=None, description="file with the password of that key")
    insecure_password_without_tls: bool = Field(
        default=False, description="allow SASL_PLAINTEXT, which shows user and events to whoever is on the way"
    )

    @property
    def tls(self) -> bool:
        """Is the connection encrypted?"""
        return self.protocol in {"SSL", "SASL_SSL"}

    @property
    def sasl(self) -> bool:
        """Does a user sign in?"""
        return self.protocol in {"SASL_SSL", "SASL_PLAINTEXT"}

    @model_validator(mode="after")
    def _makes_sense(self) -> "Security":
        for problem in (self._user_problem(), self._tls_problem()):
            if problem:
                raise ValueError(problem)
        return self

    def _user_problem(self) -> str | None:
        given = [name for name in ("username", "password_file", "mechanism") if getattr(self, name) is not None]
        listed = ", ".join(f"security.{name}" for name in given)
        if given and not self.sasl:
            return (
                f"{listed} with security.protocol = {self.protocol}, under which no user signs in: it would be left out in silence. "
                f"Next: set security.protocol = SASL_SSL, or remove {listed}."
            )
        missing = [name for name in ("username", "password_file") if getattr(self, name) is None]
        if self.sasl and missing:
            return (
                f"security.protocol = {self.protocol} needs a user, and {' and '.join(f'security.{name}' for name in missing)} "
                f"is not set. Next: set it, or security.protocol = SSL where certificates alone decide."
            )
        if self.protocol == "SASL_PLAINTEXT" and not self.insecure_password_without_tls:
            return (
                "security.protocol = SASL_PLAINTEXT sends user and events readable over the network. Next: set "
                "security.protocol = SASL_SSL; where the network itself is trusted, security.insecure_password_without_tls = true."
            )
        if self.insecure_password_without_tls and self.protocol != "SASL_PLAINTEXT":
            return (
                f"security.insecure_password_without_tls with security.protocol = {self.protocol} allows what is not done. "
                "Next: remove it."
            )
        return None

    def _tls_problem(self) -> str | None:
        given = [
            name for name in ("ca_file", "certificate_file", "key_file", "key_password_file") if getattr(self, name) is not None
        ]
        listed = ", ".join(f"security.{name}" for name in given)
        if given and not self.tls:
            return (
                f"{listed} with security.protocol = {self.protocol}, which uses no TLS. "
                f"Next: set security.protocol = SSL or SASL_SSL, or remove {listed}."
            )
        if self.key_file is not None and self.certificate_file is None:
            return "security.key_file without security.certificate_file: a key proves nothing without its certificate. Next: set both."
        if self.key_password_file is not None and self.certificate_file is None:
            return "security.key_password_file without a key. Next: set security.certificate_file and security.key_file, or remove it."
        return None


def client_options(settings: "Settings") -> dict[str, Any]:
    """
    The keyword arguments that say where the brokers are and how they are reached, for every client of aiokafka and kafka-python.

    Reads the files anew at each call: a client that is made after a rotation uses the new secret.

    Raises:
        SecurityError: A file is missing, unreadable, open to strangers, or not what it should be.
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
    TLS 1.2 or newer, the broker's certificate and host name verified, with our own certificate where one is set.

    Raises:
        SecurityError: A file cannot be used.
    """
    if security.ca_file is not None:
        _checked(security.ca_file, "ca_file")
    key = "ca_file"
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=security.ca_file)
    except (ssl.SSLError, OSError) as error:
        problem = "it holds no certificate in PEM"
        raise _unusable(key, security.ca_file, problem, "give the authority's certificate, as PEM") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if security.certificate_file is None:
        return context
    key = "certificate_file"
    _checked(security.certificate_file, "certificate_file", secret=security.key_file is None)
    if security.key_file is not None:
        _checked(security.key_file, "key_file", secret=True)
    password = "" if security.key_password_file is None else _secret(security.key_password_file, "key_password_file")
    try:
        # A password is always given: without one OpenSSL would ask the terminal for it, and a worker would wait for ever.
        context.load_cert_chain(security.certificate_file, security.key_file, password=password)
    except (ssl.SSLError, OSError, ValueError) as error:
        problem = "certificate and key are not a pair in PEM, or the key's password is missing or wrong"
        advice = "compare `openssl x509 -noout -pubkey` with `openssl pkey -pubout`; set security.key_password_file for an encrypted key"
        raise _unusable(key, security.certificate_file, problem, advice) from error
    return context


def warnings(security: Security) -> list[str]:
    """
    What works and could be safer, a sentence each.

    Files that everybody may read are warned of and not refused: that is how Kubernetes mounts a Secret unless it is told.
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
    _checked(path, name, secret=True)
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


def _checked(path: Path, name: str, *, secret: bool = False) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unusable(name, path, error.strerror or "it is not there", "correct the setting, or mount the file") from error
    if not stat.S_ISREG(mode):
        raise _unusable(name, path, "it is not a file", "name the file itself, not its folder")
    strangers = stat.S_IWOTH | (stat.S_IWGRP if secret else 0)
    if mode & strangers:
        problem = f"others may write to it (mode {stat.S_IMODE(mode):04o}), and could put their own in its place"
        raise _unusable(name, path, problem, f"chmod {'0600' if secret else '0644'}")


def _unusable(name: str, path: Path | None, problem: str, advice: str) -> SecurityError:
    key = f"security.{name}"
    shown = "" if path is None else f" ({shown_path(key, path)})"
    return SecurityError(
        f"{key}{shown} cannot be used: {problem}. Next: {advice}; `tagstream config show --sources` says who set it."
    )


def shown_path(key: str, path: Path) -> str:
    """
    The name of a file for people; of a file of secrets only if there is such a file, as it may be the secret itself.

    >>> shown_path("security.password_file", Path("hunter2"))
    '(not shown: there is no such file)'
    """
    if key not in FILES_OF_SECRETS or path.exists():
        return str(path)
    return "(not shown: there is no such file)"
