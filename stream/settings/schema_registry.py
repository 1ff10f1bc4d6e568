"""The `schema_registry.*` settings: the registry with the schemas of producers' values, and the registry's user.

A password is never a setting, only the name of its file.
"""

import ipaddress
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class SchemaRegistry(BaseModel):
    """How schemas are fetched. Without `url` no frame of a Schema Registry is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = Field(
        default=None, description="addresses of one Schema Registry, tried in turn; unset: no frame is read"
    )
    username: str | None = Field(default=None, min_length=1, description="user of the registry (HTTP Basic), or an API key")
    password_file: Path | None = Field(default=None, description="file with the user's password alone")
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities for the registry; the system's unless set",
    )
    timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        description="most seconds to fetch a batch's schemas, retries included; half of inference_timeout_seconds at most",
    )
    cache_schemas: int = Field(default=1000, ge=1, le=100_000, description="schemas kept in memory")
    insecure_password_without_tls: bool = Field(
        default=False, description="allow a user at an http address: the password can be read on the network"
    )

    @property
    def urls(self) -> list[str]:
        """The addresses, without a slash at the end; empty if none is set."""
        return [] if self.url is None else self.url.split(",")

    @field_validator("url")
    @classmethod
    def _addresses(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "@" in value:
            msg = (
                "a user in an address would be printed; set schema_registry.username and schema_registry.password_file instead"
            )
            raise ValueError(msg)
        parts = [part.strip().rstrip("/") for part in value.split(",")]
        for part in parts:
            if not is_address(part):
                msg = f"{part!r} is not http:// or https:// with a host, perhaps a port and a path, and nothing after it"
                raise ValueError(msg)
        return ",".join(parts)

    @model_validator(mode="after")
    def _makes_sense(self) -> "SchemaRegistry":
        for problem in (self._user_problem(), self._tls_problem()):
            if problem:
                raise ValueError(problem)
        return self

    def _user_problem(self) -> str | None:
        given = [
            f"schema_registry.{name}" for name in ("username", "password_file", "ca_file") if getattr(self, name) is not None
        ]
        if given and self.url is None:
            return f"{', '.join(given)} is set without schema_registry.url: it would be ignored. Next: set schema_registry.url, or remove it."
        if (self.username is None) != (self.password_file is None):
            return (
                "schema_registry.username and schema_registry.password_file go together, and one of them is not set. "
                "Next: set both, or neither."
            )
        return None

    def _tls_problem(self) -> str | None:
        open_to_all = [url for url in self.urls if url.startswith("http:") and not is_loopback(urlsplit(url))]
        if self.username is not None and open_to_all and not self.insecure_password_without_tls:
            return (
                f"schema_registry.url names {open_to_all[0]}, where the password could be read on the network. Next: use https; if the "
                f"network itself is trusted, set schema_registry.insecure_password_without_tls = true."
            )
        return None


def is_address(text: str) -> bool:
    """True if a text is an HTTP address: a host, perhaps a port and a path, and nothing after it."""
    try:
        found = urlsplit(text)
        # Reading the port checks it.
        return (
            found.scheme in {"http", "https"}
            and bool(found.hostname)
            and found.port != 0
            and not (found.query or found.fragment)
            # The address goes into a request as it is.
            and text.isascii()
            and text.isprintable()
            and " " not in text
        )
    except ValueError:
        return False


def is_loopback(address: SplitResult) -> bool:
    """True if an address is this machine's own."""
    if address.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.hostname or "").is_loopback
    except ValueError:
        return False
