"""Every setting of tagstream: its name, type, default, bounds and meaning. `tagstream.stream.settings.loading` fills the values in."""

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.monitoring.drift.thresholds import (
    CHANGE_DELTA,
    LABELS_PSI,
    LEARNING_SECONDS,
    SOURCES_RATIO,
    WORDS_Z,
    DriftPlan,
    Thresholds,
)
from tagstream.monitoring.limits import LEAST_INCLUSION
from tagstream.stream.contract.event import DEFAULT_LIMITS, Limits
from tagstream.stream.contract.field_types import MAX_SOURCE_CHARACTERS
from tagstream.stream.contract.shape import Shape
from tagstream.stream.settings.fields import Contents, Fields
from tagstream.stream.settings.rates import can_be_drawn, rates
from tagstream.stream.settings.rollout import Rollout
from tagstream.stream.settings.schema_registry import SchemaRegistry
from tagstream.stream.settings.security import Security
from tagstream.stream.settings.topics import Topics, require_different
from tagstream.stream.settings.tracing import Tracing

PREFIX = "TAGSTREAM_"
LEAST_WINDOW_EVENTS = 100
LEAST_DEATHS = 2
MAX_PORT = 65535
MOST_URI_CHARACTERS = 256
URI_REFERENCE = re.compile(rf"(?:[\w.~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{{2}}){{1,{MOST_URI_CHARACTERS}}}", re.ASCII)
# The least is enough for a dead letter without its value. The most is below the limit of the worker's producer (stream/worker/faust_app.py).
LEAST_RECORD_BYTES, MOST_RECORD_BYTES = 256 * 1024, 4_000_000


class Settings(BaseSettings):
    """The settings of all commands. A name ends with its unit: `_seconds`, `_events`, `_bytes`, `_ratio`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        allow_inf_nan=False,
        frozen=True,
        nested_model_default_partial_update=True,
    )

    brokers: str = Field(default="127.0.0.1:9092", description="addresses of Kafka brokers; one that answers is enough")
    security: Security = Field(default_factory=Security, description="how clients connect to the brokers")
    group: str = Field(default="tagstream", min_length=1, description="consumer group of the workers")
    group_instance_id: str | None = Field(
        default=None,
        min_length=1,
        description="fixed name of this worker in the group; a restart within the session keeps its partitions",
    )
    topics: Topics = Field(default_factory=lambda: Topics.model_validate({}), description="names of the topics")
    fields: Fields = Field(default_factory=Fields, description="where an event has its fields")
    contents: Contents = Field(
        default_factory=dict,
        description="further topics of events beside `topics.content`, each with where its events have their fields",
    )
    tracing: Tracing = Field(default_factory=Tracing, description="traces by OpenTelemetry")
    schema_registry: SchemaRegistry = Field(default_factory=SchemaRegistry, description="where producers' schemas are read")
    rollout: Rollout = Field(
        default_factory=Rollout, validate_default=True, description="how the model of a running stream is changed"
    )
    bundle: Path = Field(default=DEFAULT_BUNDLE, description="folder of the model bundle")
    decider: Literal["model", "rules"] = Field(
        default="model",
        description="rules: keyword rules guess a tag, no model is loaded, and every event goes to review",
    )
    rules: Path | None = Field(default=None, description="file of the keyword rules; those for the shipped labels unless set")
    data: Path | None = Field(default=None, description="folder with dataset.csv and holdout.csv; downloaded unless set")
    real: Path | None = Field(
        default=None,
        description="folder with titles.csv.gz, the texts of the labels in model_export/corpus/real",
    )
    confidence_threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="least confidence of a tag that needs no review; the bundle's own unless set",
    )
    audit_rate: float = Field(
        default=0.02,
        ge=0,
        le=1,
        json_schema_extra={"not": {"exclusiveMinimum": 0, "exclusiveMaximum": LEAST_INCLUSION}},
        description="share of the tagged decisions that is copied to the topic audit; 0: none",
    )
    audit_rates: str = Field(
        default="",
        description="the same by predicted label, as mlops=0.1,other=0.05; other labels have audit_rate",
    )
    audit_salt: str = Field(
        default="tagstream", description="hashed with an event's id to draw it; the same for all workers of a group"
    )
    ask_rate: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the tagged decisions with a token by which viewers of web pages answer (docs/viewers.md); 0: none",
    )
    known_sources: str = Field(default="", description="expected values of `source`, separated by commas; empty: all")
    metrics_host: str = Field(default="127.0.0.1", description="address that /metrics, /healthz and /readyz listen on")
    metrics_port: int = Field(default=9108, ge=0, le=MAX_PORT, description="its port; 0 takes a free one and logs it")
    metrics_names: str = Field(
        default="",
        description="further host names of the same server, separated by commas",
    )
    batch_max_events: int = Field(default=64, ge=1, le=4096, description="most events in one call of the model")
    repeats_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=0,
        description="memory for predictions of recent texts, so that a repeated one costs no call of the model; 0: none",
    )
    model_attempts: int = Field(
        default=2, ge=1, le=10, description="failures of the model after which an event becomes a dead letter"
    )
    crash_deaths: int = Field(
        default=3,
        ge=0,
        le=100,
        description="deaths, of a worker and then of trials, after which an event becomes a dead letter; 0: no crash guard",
        json_schema_extra={"not": {"exclusiveMinimum": 0, "exclusiveMaximum": LEAST_DEATHS}},
    )
    state_folder: Path = Field(
        default=Path("~/.local/state/tagstream"),
        description="folder of crash guard and circuit breaker; it must survive the worker",
    )
    breaker_window_events: int = Field(
        default=1000, ge=100, le=100_000, description="latest events in the circuit breaker's window"
    )
    breaker_dead_letter_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of dead letters in it above which a worker stops; 1: never",
    )
    breaker_model_failure_ratio: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of events in it on which the model failed, above which a worker stops; 1: never",
    )
    inference_threads: int = Field(
        default_factory=lambda: min(2, os.cpu_count() or 1), ge=1, le=64, description="batches that run in the model at once"
    )
    max_event_bytes: int = Field(default=900_000, ge=1, description="a larger event becomes a dead letter (bytes)")
    max_outcome_bytes: int = Field(
        default=DEFAULT_LIMITS.max_outcome_bytes,
        ge=LEAST_RECORD_BYTES,
        le=MOST_RECORD_BYTES,
        description="a larger outcome becomes a dead letter (bytes); at most max.message.bytes of tagged and review",
    )
    max_dead_letter_bytes: int = Field(
        default=DEFAULT_LIMITS.max_dead_letter_bytes,
        ge=LEAST_RECORD_BYTES,
        le=MOST_RECORD_BYTES,
        description="a larger dead letter loses its value (bytes); at most max.message.bytes of the dlq topic",
    )
    stream_buffer_events: int = Field(default=4096, ge=1, description="events that Faust buffers; 32 MiB at most")
    commit_interval_seconds: float = Field(
        default=0.25,
        gt=0,
        description="seconds between commits; a killed worker's events since then are decided again",
    )
    session_timeout_seconds: float = Field(
        default=10.0, ge=6, description="seconds without a heartbeat after which a worker loses its partitions"
    )
    startup_timeout_seconds: float = Field(default=30.0, gt=0, description="most seconds to find brokers and topics")
    produce_timeout_seconds: float = Field(
        default=30.0, gt=0, description="most seconds that outcomes wait for the broker's confirmation"
    )
    inference_timeout_seconds: float = Field(default=60.0, gt=0, description="most seconds that a batch may take in the model")
    shutdown_timeout_seconds: float = Field(default=10.0, gt=0, description="most seconds from SIGTERM to the exit")
    stall_timeout_seconds: float = Field(default=20.0, gt=0, description="seconds without progress after which /readyz fails")
    drift_window_events: int = Field(
        default=1000,
        ge=0,
        le=20_000,
        description="decisions in a window that is compared for drift; 0: no drift",
        json_schema_extra={"not": {"exclusiveMinimum": 0, "exclusiveMaximum": LEAST_WINDOW_EVENTS}},
    )
    drift_reference: Path | None = Field(
        default=None, description="file made by `tagstream drift --from`; unset: the group learns from its first windows"
    )
    drift_reference_windows: int = Field(
        default=5, ge=1, le=1000, description="first windows of the group that are its reference, without drift_reference"
    )
    drift_learning_seconds: float = Field(
        default=LEARNING_SECONDS,
        ge=0,
        description="least seconds over which the first windows are spread; until then nothing is compared",
    )
    drift_change_delta: float = Field(
        default=CHANGE_DELTA, gt=0, lt=1, description="delta of ADWIN: the smaller, the fewer false alarms"
    )
    drift_words_z: float = Field(default=WORDS_Z, gt=0, description="z score of a word from which a window is a finding")
    drift_labels_psi: float = Field(
        default=LABELS_PSI, gt=0, description="population stability index of the labels from which a window is a finding"
    )
    drift_sources_ratio: float = Field(
        default=SOURCES_RATIO, gt=0, le=1, description="share of events of new sources from which a window is a finding"
    )
    delivery: Literal["at_least_once", "exactly_once"] = Field(
        default="at_least_once",
        description="exactly_once: one transaction for each batch and partition (docs/exactly-once.md)",
    )
    cloudevents_source: str | None = Field(
        default=None,
        description="`source` of outcomes, which are then CloudEvents in binary mode; the same for all workers; unset: plain records",
    )
    idempotent_producer: Literal["auto", "on", "off"] = Field(
        default="auto", description="auto: on where the broker supports it (Tansu does not)"
    )
    topic_partitions: int = Field(default=6, ge=1, description="partitions of topics that `doctor --create-topics` makes")
    topic_replication: int = Field(
        default=1, ge=1, description="replicas of topics that `doctor --create-topics` and the first `rollout promote` make"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="lowest level that is logged")
    log_format: Literal["auto", "json", "console"] = Field(default="auto", description="auto: console on a terminal, else JSON")

    @field_validator("rollout")
    @classmethod
    def _of_the_group(cls, value: Rollout, info: ValidationInfo) -> Rollout:
        return value.of_group(info.data.get("group", ""))

    @field_validator("brokers")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if "@" in value:
            msg = "a user in an address would be printed and is not used; set security.username and security.password_file instead"
            raise ValueError(msg)
        parts = [part.strip() for part in value.split(",")]
        for part in parts:
            host, _, port = part.rpartition(":")
            if not host or "/" in host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= MAX_PORT:
                msg = f"{part!r} is not host:port"
                raise ValueError(msg)
        return ",".join(parts)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any) -> Any:
        # Python takes True for the number 1.
        if isinstance(value, bool):
            msg = "it is true or false, and this setting is not a switch"
            raise ValueError(msg)  # noqa: TRY004 - pydantic turns it into the refusal of this setting
        return value

    @field_validator("bundle", "data", "real", "state_folder", "drift_reference", mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        # Path("") is the working directory.
        if value == "":
            msg = "it is empty, and names no file or folder"
            raise ValueError(msg)
        return value

    @field_validator("group", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if value == "":
            msg = "it is empty: a consumer group needs a name, and workers of one name share the partitions"
            raise ValueError(msg)
        return value

    @field_validator("cloudevents_source")
    @classmethod
    def _uri_reference(cls, value: str | None) -> str | None:
        if value is not None and not URI_REFERENCE.fullmatch(value):
            msg = f"it must be a URI or a part of one, such as /tagstream, of 1 to {MOST_URI_CHARACTERS} characters (RFC 3986)"
            raise ValueError(msg)
        return value

    @field_validator("crash_deaths")
    @classmethod
    def _zero_or_two_deaths(cls, value: int) -> int:
        if 0 < value < LEAST_DEATHS:
            msg = f"a single death may have another cause than the event; use {LEAST_DEATHS} or more, or 0 for no guard"
            raise ValueError(msg)
        return value

    @field_validator("drift_window_events")
    @classmethod
    def _zero_or_large_enough(cls, value: int) -> int:
        if 0 < value < LEAST_WINDOW_EVENTS:
            msg = f"a window of fewer than {LEAST_WINDOW_EVENTS} events drifts by chance; 0 switches drift off"
            raise ValueError(msg)
        return value

    @field_validator("audit_rate")
    @classmethod
    def _can_be_drawn(cls, value: float) -> float:
        if not can_be_drawn(value):
            msg = f"use 0, which draws nothing, or {LEAST_INCLUSION:g} and more"
            raise ValueError(msg)
        return value

    @field_validator("audit_rates")
    @classmethod
    def _rates_by_label(cls, value: str) -> str:
        rates(value)
        return value

    @property
    def audit_rate_by_label(self) -> dict[str, float]:
        """The rates of `audit_rates`, 0 to 1, by label."""
        return rates(self.audit_rates)

    @property
    def known_source_names(self) -> frozenset[str]:
        """The expected sources; an empty set means that every source is expected."""
        return frozenset(name for part in self.known_sources.split(",") if (name := part.strip()[:MAX_SOURCE_CHARACTERS]))

    @property
    def metrics_name_list(self) -> list[str]:
        """The further names of the metrics server."""
        return [name for part in self.metrics_names.split(",") if (name := part.strip())]

    @property
    def limits(self) -> Limits:
        """The bounds on an event and on its outcome, and the places of the event's fields."""
        return Limits(
            shape=self.fields.shape,
            shapes=self.shapes,
            cloudevents_source=self.cloudevents_source,
            max_bytes=self.max_event_bytes,
            max_outcome_bytes=self.max_outcome_bytes,
            max_dead_letter_bytes=self.max_dead_letter_bytes,
        )

    @property
    def with_columns(self) -> "Settings":
        """These settings for rows, whose columns have the contract's names, whatever the shape of the topic's events."""
        return self.model_copy(update={"fields": Fields()})

    @property
    def content_topics(self) -> tuple[str, ...]:
        """The topics of events, `topics.content` first."""
        return self.topics.content, *self.contents

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of events by topic; empty if there is only one topic of events."""
        further = {name: fields.shape for name, fields in self.contents.items()}
        return {self.topics.content: self.fields.shape, **further} if further else {}

    @property
    def topic_names(self) -> dict[str, str]:
        """The name of every topic by its setting without `topics.`. A further topic of events has the setting `contents.NAME`."""
        names: dict[str, str] = self.topics.model_dump()
        return names | {f"contents.{name}": name for name in self.contents}

    def of_content(self, topic: str) -> "Settings":
        """
        The settings of one topic of events: `topics.content` and `fields.*` name this topic, and no other topic is read.

        Args:
            topic: One of `content_topics`. For any other name `topics.content` and `fields.*` stay as they are.
        """
        if topic not in self.contents:
            return self.model_copy(update={"contents": {}})
        topics = self.topics.model_copy(update={"content": topic})
        return self.model_copy(update={"topics": topics, "fields": self.contents[topic], "contents": {}})

    @property
    def each_content(self) -> "tuple[Settings, ...]":
        """`of_content` of each topic of events."""
        return tuple(map(self.of_content, self.content_topics))

    @model_validator(mode="after")
    def _all_topics_different(self) -> "Settings":
        require_different(
            {f"topics.{key}": name for key, name in self.topics.model_dump().items()}
            | {f"contents.{name}": name for name in self.contents}
        )
        return self

    @model_validator(mode="after")
    def _tokens_can_be_signed(self) -> "Settings":
        if self.ask_rate > 0 and self.security.ask_keys_file is None:
            msg = (
                f"ask_rate = {self.ask_rate:g} puts signed tokens on decisions, and security.ask_keys_file is not set. Next: write a key, "
                "as `openssl rand -hex 32` makes it, into a file and name the file, or set ask_rate = 0."
            )
            raise ValueError(msg)
        return self

    @property
    def drift_plan(self) -> DriftPlan:
        """Sizes and thresholds of the watch for drift."""
        return DriftPlan(
            window_events=self.drift_window_events,
            reference_windows=self.drift_reference_windows,
            learning_seconds=self.drift_learning_seconds,
            change_delta=self.drift_change_delta,
            thresholds=Thresholds(words=self.drift_words_z, labels=self.drift_labels_psi, sources=self.drift_sources_ratio),
        )

    @property
    def broker_list(self) -> list[str]:
        """The brokers, one host:port each."""
        return self.brokers.split(",")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values only from the constructor: the process's environment is not read here. Arguments as for pydantic's method."""
        return (init_settings,)
