"""The `second.*` settings: which second model is asked about items of `review`, what may leave, and what it may cost."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tagstream.stream.settings.schema_registry import is_address, is_loopback

SECONDS_A_MINUTE = 60
ResponseFormat = Literal["json_schema", "json_object", "text"]


class Second(BaseModel):
    """The second model: a bundle, or an endpoint that speaks OpenAI's chat completions. Off unless one of them is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path | None = Field(default=None, description="folder of a larger bundle that gives second opinions")
    endpoint: str | None = Field(
        default=None,
        description="address of OpenAI's chat completions without `/chat/completions`, such as https://HOST/v1; unset: no text leaves",
    )
    model: str = Field(default="", max_length=256, description="model that the endpoint is asked for")
    key_file: Path | None = Field(default=None, description="file with the endpoint's API key alone")
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authorities for the endpoint; the system's unless set"
    )
    insecure_without_tls: bool = Field(
        default=False, description="allow an http address of another machine: texts and key can be read on the network"
    )
    guidelines: Path | None = Field(
        default=None, description="file on what each label means, for the endpoint's prompt; label names alone unless set"
    )
    fields: str = Field(
        default="title,description", description="an event's fields that may be sent to the endpoint, separated by commas"
    )
    precision: float = Field(
        default=0.95, gt=0, lt=1, description="share right of what a second model settles alone, proved by people's answers"
    )
    audit: float = Field(
        default=0.05, ge=0.01, le=1, description="share of what it settles that people see in spite of that, blind; 1: all"
    )
    timeout_seconds: float = Field(
        default=30.0, gt=0, le=300, description="most seconds for an item, waits and retries included"
    )
    attempts: int = Field(default=3, ge=1, le=10, description="most requests for an item")
    concurrency: int = Field(default=4, ge=1, le=64, description="most requests at once")
    requests_a_minute: float = Field(default=60.0, gt=0, le=60_000, description="most requests a minute")
    response_format: ResponseFormat = Field(
        default="json_schema",
        description="how the endpoint is held to the labels: OpenAI's `json_schema`; `json_object` with the schema beside it, as "
        "llama-cpp-python has it; `text`: by the prompt alone",
    )
    answer_tokens: int = Field(default=100, ge=1, le=100_000, description="most tokens of an answer")
    calls_a_day: int = Field(default=1000, ge=0, le=10_000_000, description="most requests of a day (UTC); 0: none")
    cost_a_day: float = Field(
        default=0.0, ge=0, le=1e9, description="most money of a day, in the currency of the prices; 0: only what costs nothing"
    )
    input_price: float = Field(default=0.0, ge=0, le=1e6, description="price of 1,000 tokens that the endpoint reads")
    output_price: float = Field(default=0.0, ge=0, le=1e6, description="price of 1,000 tokens that it writes")

    @property
    def sent_fields(self) -> tuple[str, ...]:
        """The names in `fields`, in their order."""
        return tuple(name.strip() for name in self.fields.split(",") if name.strip())

    @field_validator("endpoint")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "@" in value:
            msg = "a user in an address would be printed; set second.key_file instead"
            raise ValueError(msg)
        if not is_address(value):
            msg = "it must be http:// or https:// with a host, perhaps a port and a path, and nothing after it"
            raise ValueError(msg)
        return value.rstrip("/")

    @model_validator(mode="after")
    def _makes_sense(self) -> "Second":
        for problem in (self._endpoint_problem(), self._turns_problem()):
            if problem:
                raise ValueError(problem)
        return self

    def _endpoint_problem(self) -> str | None:
        if self.endpoint is None:
            return None
        if self.bundle is not None:
            return "second.bundle and second.endpoint are both set, and one of them is asked. Next: remove one."
        if not self.model.strip():
            return "second.endpoint is set without second.model. Next: set second.model to a name that the endpoint knows."
        if not self.sent_fields:
            return "second.fields names no field, so that nothing could be asked. Next: name at least one, such as title."
        address = urlsplit(self.endpoint)
        if address.scheme == "http" and not is_loopback(address) and not self.insecure_without_tls:
            return (
                f"second.endpoint is {self.endpoint}, where texts could be read on the network. Next: use https; if the network itself is "
                f"trusted, set second.insecure_without_tls = true."
            )
        return None

    def _turns_problem(self) -> str | None:
        if self.endpoint is None:
            return None
        seconds = self.concurrency * SECONDS_A_MINUTE / self.requests_a_minute
        if seconds < self.timeout_seconds:
            return None
        return (
            f"{self.concurrency} requests at once wait {seconds:g} s for their turns, and second.timeout_seconds is {self.timeout_seconds:g}. "
            f"Next: raise second.timeout_seconds or second.requests_a_minute, or lower second.concurrency."
        )
