"""The `security.*` settings: protocol, user and certificate for the brokers, and which combinations make no sense.

A password is never a setting, only the name of its file is. `stream.kafka.credentials` reads the files.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_MECHANISM = "SCRAM-SHA-512"
# `config show` and errors print the value of these only if there is such a file: a password set here by mistake is not shown.
FILES_OF_SECRETS = frozenset(
    {"security.password_file", "security.key_password_file", "security.answer_keys_file", "schema_registry.password_file"}
)

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class Security(BaseModel):
    """How clients connect to the brokers. Certificates and host names are always verified: there is no switch for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"] = Field(
        default="PLAINTEXT", description="SSL: TLS; SASL_SSL: TLS and a user; PLAINTEXT: neither"
    )
    mechanism: Mechanism | None = Field(default=None, description=f"SASL mechanism of the user; {DEFAULT_MECHANISM} unless set")
    username: str | None = Field(default=None, min_length=1, description="SASL user")
    password_file: Path | None = Field(default=None, description="file that holds the user's password and nothing else")
    ca_file: Path | None = Field(default=None, description="PEM file of the trusted authorities; the system's unless set")
    certificate_file: Path | None = Field(default=None, description="PEM file of the client's own certificate (mTLS)")
    key_file: Path | None = Field(
        default=None, description="PEM file of the certificate's private key; certificate_file has it unless set"
    )
    key_password_file: Path | None = Field(default=None, description="file that holds the password of the private key")
    answer_keys_file: Path | None = Field(
        default=None,
        description="file of the keys by which reviewers' answers are signed, one a line: the first signs, all are accepted; "
        "unset: whoever may write the topic reviewed can answer",
    )
    insecure_password_without_tls: bool = Field(
        default=False, description="allow SASL_PLAINTEXT, under which user and events can be read on the network"
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

    def _listed(self, *names: str) -> str:
        """Those of the settings `names` that are set, for a message; empty if none is."""
        return ", ".join(f"security.{name}" for name in names if getattr(self, name) is not None)

    def _user_problem(self) -> str | None:
        listed = self._listed("username", "password_file", "mechanism")
        if listed and not self.sasl:
            return (
                f"{listed} is set with security.protocol = {self.protocol}, under which no user signs in: it would be ignored. "
                f"Next: set security.protocol = SASL_SSL, or remove {listed}."
            )
        missing = [name for name in ("username", "password_file") if getattr(self, name) is None]
        if self.sasl and missing:
            return (
                f"security.protocol = {self.protocol} needs a user, and {' and '.join(f'security.{name}' for name in missing)} "
                f"is not set. Next: set it, or security.protocol = SSL if a certificate alone identifies this client."
            )
        if self.protocol == "SASL_PLAINTEXT" and not self.insecure_password_without_tls:
            return (
                "security.protocol = SASL_PLAINTEXT sends user and events unencrypted. Next: set security.protocol = SASL_SSL; "
                "if the network itself is trusted, set security.insecure_password_without_tls = true."
            )
        if self.insecure_password_without_tls and self.protocol != "SASL_PLAINTEXT":
            return f"security.insecure_password_without_tls has no effect with security.protocol = {self.protocol}. Next: remove it."
        return None

    def _tls_problem(self) -> str | None:
        listed = self._listed("ca_file", "certificate_file", "key_file", "key_password_file")
        if listed and not self.tls:
            return (
                f"{listed} is set with security.protocol = {self.protocol}, which uses no TLS. "
                f"Next: set security.protocol = SSL or SASL_SSL, or remove {listed}."
            )
        if self.key_file is not None and self.certificate_file is None:
            return "security.key_file is set without security.certificate_file: a key needs its certificate. Next: set both."
        if self.key_password_file is not None and self.certificate_file is None:
            return (
                "security.key_password_file is set without a key. Next: set security.certificate_file and security.key_file, or "
                "remove it."
            )
        return None


def shown_path(key: str, path: Path) -> str:
    """
    The name of a file for people. A file of secrets is named only if it exists: else the name may be the secret itself.

    >>> shown_path("security.password_file", Path("hunter2"))
    '(not shown: there is no such file)'
    """
    if key not in FILES_OF_SECRETS or path.exists():
        return str(path)
    return "(not shown: there is no such file)"
