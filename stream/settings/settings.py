"""Every knob, its name, its default and where its value came from. The only reader of the environment and of `tagstream.toml`.

Flags win over the environment (`TAGSTREAM_*`, nested with `__`), over `tagstream.toml`, over the defaults here. A key that is
not known is an error that names the nearest known one: a misspelt setting must not be silently the default.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from model_export.bundle.bundle import DEFAULT_BUNDLE
from monitoring.drift.thresholds import CHANGE_DELTA, LABELS_PSI, SOURCES_RATIO, WORDS_Z
from monitoring.observer import MAX_SOURCE_CHARACTERS
from stream.contract.events import DEFAULT_LIMITS, Limits
from stream.settings.security import FILES_OF_SECRETS, Security

PREFIX = "TAGSTREAM_"
CONFIG_FILE = "tagstream.toml"
LEAST_WINDOW_EVENTS = 100
MAX_PORT = 65535
TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
# A dead letter without its value must fit, and every record below the producer's own limit (stream/worker/faust_app.py).
LEAST_RECORD_BYTES, MOST_RECORD_BYTES = 256 * 1024, 4_000_000
# Variables with our prefix that are not settings of the program: they choose where settings are read from.
CONTROL_VARIABLES = frozenset({"TAGSTREAM_CONFIG"})


class SettingsError(Exception):
    """A setting is unknown or has a value that cannot be used: the message says which, why, where from, what next."""

    exit_code = 2


class Topics(BaseModel):
    """Names of the topics. `dlq` follows `content`, and `replays` follows `dlq`, unless they are named."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    content: str = "content"
    tagged: str = "tagged"
    review: str = "review"
    dlq: str = Field(default="", validation_alias=AliasChoices("dlq", "content_dlq"))
    replays: str = ""
    reviewed: str = "reviewed"
    reports: str = "reports"
    shadow: str = "shadow"
    drift: str = "drift"

    @model_validator(mode="before")
    @classmethod
    def _dead_letters_follow_content(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        named = values.get("dlq", values.get("content_dlq"))
        dlq = f"{values.get('content', 'content')}.dlq" if named is None else named
        return {"replays": f"{dlq}.replays", **({"dlq": dlq} if named is None else {}), **values}

    @field_validator("*")
    @classmethod
    def _is_a_name_of_kafkas(cls, value: str) -> str:
        if not TOPIC_NAME.fullmatch(value) or value in {".", ".."}:
            msg = "Kafka takes 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-' for a topic, and neither '.' nor '..' alone"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _all_different(self) -> "Topics":
        names = list(self.model_dump().values())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"two topics have the same name {twice[0]!r}"
            raise ValueError(msg)
        return self


class Settings(BaseSettings):
    """What the commands run with. Times are seconds, sizes are in the unit that the name says."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        allow_inf_nan=False,
        frozen=True,
        nested_model_default_partial_update=True,
    )

    brokers: str = Field(default="127.0.0.1:9092", description="Kafka brokers, host:port, comma-separated")
    security: Security = Field(default_factory=Security, description="how the brokers are reached")
    group: str = Field(default="tagstream", min_length=1, description="consumer group of the workers")
    group_instance_id: str | None = Field(
        default=None, min_length=1, description="a name of this worker's own: back within the session it keeps its partitions"
    )
    topics: Topics = Field(default_factory=lambda: Topics.model_validate({}), description="names of the topics")
    bundle: Path = Field(default=DEFAULT_BUNDLE, description="folder of the model bundle")
    decider: Literal["model", "rules"] = Field(
        default="model",
        description="rules: no model is loaded, keyword rules guess a tag and every event goes to review, whatever the threshold",
    )
    data: Path | None = Field(default=None, description="folder with dataset.csv and holdout.csv; else they are downloaded")
    confidence_threshold: float | None = Field(
        default=None, ge=0, le=1, description="below it a person is asked, whatever the tag; else the bundle's own, by tag"
    )
    known_sources: str = Field(
        default="", description="producers that are expected, by their source, comma-separated; empty: whoever names itself"
    )
    metrics_host: str = Field(default="127.0.0.1", description="address of /metrics, /healthz, /readyz")
    metrics_port: int = Field(default=9108, ge=0, le=MAX_PORT, description="their port; 0 takes a free one and logs it")
    batch_max_events: int = Field(default=64, ge=1, le=4096, description="most events in one call of the model")
    model_attempts: int = Field(
        default=2, ge=1, le=10, description="an event for which the model raises so often is a dead letter"
    )
    crash_deaths: int = Field(
        default=3, ge=0, le=100, description="an event with which so many workers died is a dead letter, 2 or more; 0: no guard"
    )
    state_folder: Path = Field(
        default=Path("~/.local/state/tagstream"), description="folder that survives a worker, for the guard against crash loops"
    )
    breaker_window_events: int = Field(default=1000, ge=100, le=100_000, description="events that the circuit breaker looks at")
    breaker_dead_letter_ratio: float = Field(
        default=1.0, ge=0, le=1, description="a worker stops when more of them are dead letters; 1: never"
    )
    breaker_model_failure_ratio: float = Field(
        default=0.5, ge=0, le=1, description="a worker stops when the model failed on more of them; 1: never"
    )
    inference_threads: int = Field(
        default_factory=lambda: min(2, os.cpu_count() or 1), ge=1, le=64, description="batches in the model at once"
    )
    max_event_bytes: int = Field(default=900_000, ge=1, description="larger events are dead letters")
    max_outcome_bytes: int = Field(
        default=DEFAULT_LIMITS.max_outcome_bytes,
        ge=LEAST_RECORD_BYTES,
        le=MOST_RECORD_BYTES,
        description="larger outcomes are dead letters; no more than max.message.bytes of tagged and review",
    )
    max_dead_letter_bytes: int = Field(
        default=DEFAULT_LIMITS.max_dead_letter_bytes,
        ge=LEAST_RECORD_BYTES,
        le=MOST_RECORD_BYTES,
        description="larger dead letters lose their value; no more than max.message.bytes of the dead letters' topic",
    )
    stream_buffer_events: int = Field(default=4096, ge=1, description="events that Faust buffers for the agent")
    commit_interval_seconds: float = Field(
        default=0.25, gt=0, description="how often offsets are committed: what a killed worker did since then is done again"
    )
    session_timeout_seconds: float = Field(default=10.0, ge=6, description="a silent worker loses its partitions after this")
    startup_timeout_seconds: float = Field(default=30.0, gt=0, description="most time to find brokers and topics")
    produce_timeout_seconds: float = Field(default=30.0, gt=0, description="most time for the broker to take a batch")
    inference_timeout_seconds: float = Field(default=60.0, gt=0, description="most time of the model for a batch")
    shutdown_timeout_seconds: float = Field(default=10.0, gt=0, description="most time from SIGTERM to the end")
    stall_timeout_seconds: float = Field(default=20.0, gt=0, description="/readyz fails after so long without progress")
    drift_window_events: int = Field(
        default=1000, ge=0, le=20_000, description="decisions in a window that is compared for drift, 100 or more; 0: no drift"
    )
    drift_reference: Path | None = Field(
        default=None, description="file of `tagstream drift reference`; else a worker learns from its first windows"
    )
    drift_reference_windows: int = Field(default=5, ge=1, le=1000, description="windows that a worker learns from without it")
    drift_change_delta: float = Field(default=CHANGE_DELTA, gt=0, lt=1, description="ADWIN's delta: smaller, fewer alarms")
    drift_words_z: float = Field(default=WORDS_Z, gt=0, description="z of a word from where on a window is a finding")
    drift_labels_psi: float = Field(default=LABELS_PSI, gt=0, description="stability index of the labels, likewise")
    drift_sources_ratio: float = Field(
        default=SOURCES_RATIO, gt=0, le=1, description="share of events from producers not seen before, likewise"
    )
    delivery: Literal["at_least_once", "exactly_once"] = Field(
        default="at_least_once", description="exactly_once: a transaction a batch and partition; see docs/exactly-once.md"
    )
    idempotent_producer: Literal["auto", "on", "off"] = Field(
        default="auto", description="auto: on where the broker can (Tansu cannot)"
    )
    topic_partitions: int = Field(default=6, ge=1, description="partitions of topics that doctor --create-topics makes")
    topic_replication: int = Field(default=1, ge=1, description="their replication factor")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level that is logged")
    log_format: Literal["auto", "json", "console"] = Field(default="auto", description="auto: console on a terminal, else JSON")

    @field_validator("brokers")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if "@" in value:
            msg = (
                "a user in the address is not used and would be printed; security.username and security.password_file name one"
            )
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
    def _no_switch(cls, value: Any) -> Any:
        # A truth value would pass for the number 1.
        if isinstance(value, bool):
            msg = "true and false are for a switch, and this is none"
            raise ValueError(msg)  # noqa: TRY004 - pydantic turns it into the refusal of this setting
        return value

    @field_validator("bundle", "data", "state_folder", "drift_reference", mode="before")
    @classmethod
    def _names_a_place(cls, value: Any) -> Any:
        # A path of nothing would be the working directory, whatever lies there.
        if value == "":
            msg = "it is empty, and names no file or folder"
            raise ValueError(msg)
        return value

    @field_validator("crash_deaths")
    @classmethod
    def _off_or_not_at_once(cls, value: int) -> int:
        if value == 1:
            msg = "one death may be anybody's fault; 0 switches the guard off"
            raise ValueError(msg)
        return value

    @field_validator("drift_window_events")
    @classmethod
    def _off_or_large_enough(cls, value: int) -> int:
        if 0 < value < LEAST_WINDOW_EVENTS:
            msg = f"a window of less than {LEAST_WINDOW_EVENTS} events drifts by chance; 0 switches drift off"
            raise ValueError(msg)
        return value

    @property
    def known_source_names(self) -> frozenset[str]:
        """The producers that are expected; none named means that any is."""
        return frozenset(name for part in self.known_sources.split(",") if (name := part.strip()[:MAX_SOURCE_CHARACTERS]))

    @property
    def limits(self) -> Limits:
        """Bounds on one event and on what becomes of it."""
        return Limits(
            max_bytes=self.max_event_bytes,
            max_outcome_bytes=self.max_outcome_bytes,
            max_dead_letter_bytes=self.max_dead_letter_bytes,
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
        """Only what `load` gives: nothing is read behind its back."""
        return (init_settings,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings, and for every key that is not a default where it came from."""

    settings: Settings
    origins: dict[str, str]


class _Environment(EnvSettingsSource):
    """pydantic-settings' own reading of an environment, from a mapping that is handed over."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}


def load(environ: Mapping[str, str], flags: Mapping[str, Any] | None = None, folder: Path | None = None) -> Loaded:
    """
    Read the settings.

    Args:
        environ: The environment.
        flags: Values of command-line flags by setting name; `None` values were not given.
        folder: Where `tagstream.toml` may lie; the working directory unless given. `TAGSTREAM_CONFIG` names another file.

    Raises:
        SettingsError: An unknown key, a value that cannot be used, or an unreadable file.

    >>> load({"TAGSTREAM_GROUP": "night"}, folder=Path("/nonexistent")).settings.group
    'night'
    """
    _refuse_unknown_variables(environ)
    path, table = _file(environ, folder or Path.cwd())
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    variables = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name not in CONTROL_VARIABLES}
    origins = {
        **dict.fromkeys(_keys(table), _of_file(path)),
        **{name.removeprefix(PREFIX).lower().replace("__", "."): f"environment {name}" for name in variables},
        **dict.fromkeys(_keys(given), "flag"),
    }
    origins = {key.replace("topics.content_dlq", "topics.dlq"): origin for key, origin in origins.items()}
    try:
        merged = _merged(*(_with_one_name(source) for source in (table, _Environment(variables)(), given)))
        return Loaded(settings=Settings.model_validate(merged), origins=origins)
    except ValidationError as error:
        raise SettingsError(_explain(error, origins)) from error


def known_keys() -> list[str]:
    """Every setting, dotted, in the order of declaration."""
    return list(_model_keys(Settings))


def _model_keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}.{key}" for key in _model_keys(field.annotation))
        else:
            yield name


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = {PREFIX + key.upper().replace(".", "__") for key in (*known_keys(), "topics.content_dlq")}
    known |= CONTROL_VARIABLES
    for name in environ:
        if name.startswith(PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name.upper(), sorted(known), n=1, cutoff=0)[0]
            msg = (
                f"{name} is not a setting of tagstream. The nearest one is {nearest}. "
                f"Next: correct or unset it; `tagstream config show` lists all."
            )
            raise SettingsError(msg)


def _file(environ: Mapping[str, str], folder: Path) -> tuple[Path, dict[str, Any]]:
    named = environ.get("TAGSTREAM_CONFIG")
    path = Path(named) if named else folder / CONFIG_FILE
    if not named and not path.is_file():
        return path, {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: correct TAGSTREAM_CONFIG or the file's permissions."
        raise SettingsError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is not TOML: {error}. Next: correct that line."
        raise SettingsError(msg) from error
    _refuse_unknown_keys(path, table)
    return path, table


def _refuse_unknown_keys(path: Path, table: Mapping[str, Any]) -> None:
    """Before the sources are merged: pydantic-settings takes a key of another case for ours, past all that wins over the file."""
    known = {*known_keys(), "topics.content_dlq"}
    tables = {key.partition(".")[0] for key in known if "." in key}
    for key in _keys(table):
        if key in known | tables:
            continue
        first, _, rest = key.partition(".")
        # A table with the name of the program, as files of several programs have, and keys of ours in it.
        nearest = rest if rest in known else difflib.get_close_matches(key.lower(), sorted(known), n=1, cutoff=0)[0]
        step = (
            f"write it above every table, without [{first}]"
            if rest == nearest and "." not in rest
            else "correct or remove it; `tagstream config show` lists all"
        )
        msg = f"{key} ({_of_file(path)}) is not a setting of tagstream. The nearest one is {nearest}. Next: {step}."
        raise SettingsError(msg)


def _of_file(path: Path) -> str:
    return f"{path.name} ({path})"


def _keys(table: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in table.items():
        # A dot within a name is none between two.
        key = above + (f'"{name}"' if "." in name else name)
        if isinstance(value, Mapping) and value:
            yield from _keys(value, f"{key}.")
        else:
            yield key


def _merged(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """Later tables win, key by key within nested tables."""
    result: dict[str, Any] = {}
    for table in tables:
        for name, value in table.items():
            below = result.get(name)
            result[name] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def _with_one_name(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The dead-letter topic under its first name, so that sources are compared key by key."""
    topics = table.get("topics")
    if not isinstance(topics, Mapping) or "content_dlq" not in topics or "dlq" in topics:
        return table
    return {**table, "topics": {"dlq" if name == "content_dlq" else name: value for name, value in topics.items()}}


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0)[0]
        return (
            f"{key} ({origins.get(key, 'unknown origin')}) is not a setting of tagstream. The nearest one is {nearest}. "
            f"Next: correct or remove it; `tagstream config show` lists all."
        )
    what = problem["msg"].removeprefix("Value error, ")
    if " Next: " in what:
        return f"these settings do not go together: {what}"
    return (
        f"setting {key}{_shown(key, problem['input'])} ({origins.get(key, 'default')}) cannot be used: {what}. "
        f"Next: correct it; `tagstream config show` says what every setting means."
    )


def _shown(key: str, value: Any) -> str:
    """A refused value for its error; nothing where it may hold a password."""
    secret = key in FILES_OF_SECRETS or (key == "brokers" and "@" in str(value))
    return " (its value is not shown)" if secret else f" = {value!r}"
