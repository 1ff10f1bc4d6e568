"""The `security.*` settings: protocol, user or token, and certificate for the brokers, with checks of their combinations.

A password is never a setting, only the name of its file. `tagstream.stream.kafka.credentials` reads the files, and
`tagstream.stream.kafka.tokens` gets tokens.
"""

import shlex
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tagstream.stream.settings.schema_registry import is_address, is_loopback

DEFAULT_MECHANISM, BY_TOKEN = "SCRAM-SHA-512", "OAUTHBEARER"
# Settings whose value `config show` and errors print only if there is such a file: a password set here by mistake is not shown.
FILES_OF_SECRETS = frozenset(
    {
        "security.password_file",
        "security.client_secret_file",
        "security.key_password_file",
        "security.answer_keys_file",
        "security.ask_keys_file",
        "schema_registry.password_file",
    }
)
# The setting of a command, whose arguments may be secret.
COMMAND = "security.token_command"

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


class Security(BaseModel):
    """How clients connect to the brokers. Certificates and host names are always verified: there is no switch for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"] = Field(
        default="PLAINTEXT", description="SSL: TLS; SASL_SSL: TLS and a user; PLAINTEXT: neither"
    )
    mechanism: Mechanism | None = Field(default=None, description=f"SASL mechanism of the user; {DEFAULT_MECHANISM} unless set")
    username: str | None = Field(
        default=None,
        min_length=1,
        description="SASL user; with OAUTHBEARER the token owner's name, for messages alone",
    )
    password_file: Path | None = Field(default=None, description="file with the user's password alone")
    token_command: str | None = Field(
        default=None,
        min_length=1,
        description="OAUTHBEARER: program and arguments, run without a shell, that prints a token or a token endpoint's answer",
    )
    token_url: str | None = Field(
        default=None, description="OAUTHBEARER: token endpoint of an OpenID provider (client_credentials)"
    )
    client_id: str | None = Field(default=None, min_length=1, description="our client at token_url")
    client_secret_file: Path | None = Field(default=None, description="file with this client's secret alone")
    token_scope: str | None = Field(default=None, min_length=1, description="scope asked for at token_url; none unless set")
    token_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities for token_url; the system's unless set",
    )
    token_timeout_seconds: float = Field(default=10.0, gt=0, le=60, description="most seconds for a token")
    ca_file: Path | None = Field(default=None, description="PEM file of the trusted authorities; the system's unless set")
    certificate_file: Path | None = Field(default=None, description="PEM file of the client's own certificate (mTLS)")
    key_file: Path | None = Field(
        default=None, description="PEM file of the certificate's private key; certificate_file has it unless set"
    )
    key_password_file: Path | None = Field(default=None, description="file with the private key's password")
    answer_keys_file: Path | None = Field(
        default=None,
        description="file of the keys that sign reviewers' answers, one a line: the first signs, all are accepted; "
        "unset: any writer of the topic reviewed can answer",
    )
    ask_keys_file: Path | None = Field(
        default=None,
        description="file of the keys that sign viewers' tokens, one a line, as answer_keys_file; the same for workers and serve",
    )
    insecure_password_without_tls: bool = Field(
        default=False, description="allow SASL_PLAINTEXT: user, token and events can be read on the network"
    )

    @property
    def tls(self) -> bool:
        """True if the connection is encrypted."""
        return self.protocol in {"SSL", "SASL_SSL"}

    @property
    def sasl(self) -> bool:
        """True if a user signs in."""
        return self.protocol in {"SASL_SSL", "SASL_PLAINTEXT"}

    @property
    def by_token(self) -> bool:
        """True if the client signs in by a token, and not by a user with a password."""
        return self.mechanism == BY_TOKEN

    @field_validator("token_command")
    @classmethod
    def _words(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            words = shlex.split(value)
        except ValueError:
            words = []
        if not words or "\0" in value:
            msg = "it is not a program with arguments as a shell would read them: a quotation mark is not closed, it is empty, or it has a NUL"
            raise ValueError(msg)
        return value

    @field_validator("token_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "@" in value:
            msg = "a user in an address would be printed; set security.client_id and security.client_secret_file instead"
            raise ValueError(msg)
        if not is_address(value):
            msg = "it is not https:// with a host, perhaps a port and a path, and nothing after it"
            raise ValueError(msg)
        if value.startswith("http:") and not is_loopback(urlsplit(value)):
            msg = "the client's secret and the token could be read on the network; give an https address"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _makes_sense(self) -> "Security":
        for problem in (self._token_problem(), self._user_problem(), self._tls_problem()):
            if problem:
                raise ValueError(problem)
        return self

    def _listed(self, *names: str) -> str:
        """The settings among `names` that are set, for a message; empty if no setting is set."""
        return ", ".join(f"security.{name}" for name in names if getattr(self, name) is not None)

    def _token_problem(self) -> str | None:
        """Why the settings of a token do not go together."""
        at_endpoint = ("client_id", "client_secret_file", "token_scope", "token_ca_file")
        listed = self._listed("token_command", "token_url", *at_endpoint)
        if self.by_token:
            return self._source_problem(self._listed(*at_endpoint))
        if listed:
            return (
                f"{listed} is set with security.mechanism = {self.mechanism or DEFAULT_MECHANISM}, which takes no token: it would be "
                f"ignored. Next: set security.mechanism = {BY_TOKEN}, or remove {listed}."
            )
        return None

    def _source_problem(self, at_endpoint: str) -> str | None:
        """Why the source of tokens does not fit, for a client that signs in by a token. `at_endpoint` lists an endpoint's set settings."""
        if self.password_file is not None:
            return f"security.password_file has no effect with security.mechanism = {BY_TOKEN}. Next: remove it."
        if (self.token_command is None) == (self.token_url is None):
            return (
                f"security.mechanism = {BY_TOKEN} needs one source of tokens, security.token_command or security.token_url, and "
                f"{'neither' if self.token_url is None else 'both'} is set. Next: set one of them."
            )
        missing = [f"security.{name}" for name in ("client_id", "client_secret_file") if getattr(self, name) is None]
        if self.token_url is not None and missing:
            return f"security.token_url is asked with a client's id and secret, and {' and '.join(missing)} is not set. Next: set it."
        if self.token_command is not None and at_endpoint:
            return f"{at_endpoint} belongs to security.token_url, which is not set: it would be ignored. Next: remove it."
        return None

    def _user_problem(self) -> str | None:
        listed = self._listed("username", "password_file", "mechanism")
        if listed and not self.sasl:
            return (
                f"{listed} is set with security.protocol = {self.protocol}, under which no user signs in: it would be ignored. "
                f"Next: set security.protocol = SASL_SSL, or remove {listed}."
            )
        missing = [name for name in ("username", "password_file") if getattr(self, name) is None]
        if self.sasl and missing and not self.by_token:
            return (
                f"security.protocol = {self.protocol} needs a user, and {' and '.join(f'security.{name}' for name in missing)} "
                f"is not set. Next: set it, or security.protocol = SSL if a certificate alone identifies this client."
            )
        if self.protocol == "SASL_PLAINTEXT" and not self.insecure_password_without_tls:
            return (
                "security.protocol = SASL_PLAINTEXT sends user, token and events unencrypted. Next: set security.protocol = SASL_SSL; "
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
    The name of a file for people. A file of secrets is named only if it exists: otherwise the name may be the secret itself.

    >>> shown_path("security.password_file", Path("hunter2"))
    '(not shown: there is no such file)'
    """
    if key not in FILES_OF_SECRETS or path.exists():
        return str(path)
    return "(not shown: there is no such file)"


def shown_command(command: str) -> str:
    """
    The program of a command for people, without the arguments: an argument may be a secret.

    >>> shown_command("/usr/bin/get-token --secret hunter2"), shown_command("get-token")
    ('/usr/bin/get-token (its arguments are not shown)', 'get-token')
    """
    program, *arguments = shlex.split(command)
    return f"{program} (its arguments are not shown)" if arguments else program
