"""The `tracing.*` settings: where spans are sent, and how many traces a door begins by itself."""

from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

# The path of an OTLP/HTTP receiver if the address names no path.
TRACES_PATH = "/v1/traces"


class Tracing(BaseModel):
    """Traces by OpenTelemetry; off unless `endpoint` is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str | None = Field(
        default=None, description="address of an OTLP/HTTP receiver such as http://127.0.0.1:4318; unset: no spans"
    )
    sample_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of batches, and of requests without a trace, that begin a trace; events follow their producer",
    )

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            # Raises if the port is not a number, or too large.
            port = parts.port
        except ValueError as error:
            msg = f"it is no address: {error}"
            raise ValueError(msg) from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or parts.query or parts.fragment:
            msg = "it must be http://HOST:PORT or https://HOST:PORT, perhaps with a path"
            raise ValueError(msg)
        if "@" in parts.netloc:
            msg = "a user in an address would be printed; the variable OTEL_EXPORTER_OTLP_HEADERS holds a receiver's token"
            raise ValueError(msg)
        return value

    @field_validator("sample_ratio", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any) -> Any:
        # Python takes True for the number 1.
        if isinstance(value, bool):
            msg = "it is true or false, and this setting is not a switch"
            raise ValueError(msg)  # noqa: TRY004 - pydantic turns it into the refusal of this setting
        return value

    @property
    def url(self) -> str:
        """
        The address to which spans are posted; empty if tracing is off.

        >>> Tracing(endpoint="http://127.0.0.1:4318").url, Tracing(endpoint="https://collector/otlp/v1/traces").url
        ('http://127.0.0.1:4318/v1/traces', 'https://collector/otlp/v1/traces')
        """
        if self.endpoint is None:
            return ""
        return self.endpoint if urlsplit(self.endpoint).path.strip("/") else self.endpoint.rstrip("/") + TRACES_PATH
