"""Every setting as people read it: subject, name, variable, meaning, range and default. `config show` and docs/settings.md print these."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tagstream.monitoring.drift.thresholds import setting_of
from tagstream.monitoring.vocabulary import DriftScore
from tagstream.stream.settings.fields import Fields
from tagstream.stream.settings.loading import known_keys
from tagstream.stream.settings.settings import PREFIX, Settings

# The subjects in their order, each with its settings. The name of a table (`topics`) stands for all settings in the table.
SUBJECTS: dict[str, tuple[str, ...]] = {
    "Brokers and group": ("brokers", "group", "group_instance_id", "session_timeout_seconds"),
    "Events": ("fields", "contents"),
    "Topics": ("topics", "topic_partitions", "topic_replication"),
    "Security": ("security",),
    "Schema registry": ("schema_registry",),
    "Decisions": ("decider", "bundle", "rules", "confidence_threshold", "data", "real"),
    "Changing the model": ("rollout",),
    "Audits": ("audit_rate", "audit_rates", "audit_salt", "ask_rate"),
    "Delivery": (
        "delivery",
        "idempotent_producer",
        "cloudevents_source",
        "batch_max_events",
        "repeats_bytes",
        "inference_threads",
        "stream_buffer_events",
        "commit_interval_seconds",
    ),
    "Time limits": (
        "startup_timeout_seconds",
        "inference_timeout_seconds",
        "produce_timeout_seconds",
        "shutdown_timeout_seconds",
        "stall_timeout_seconds",
    ),
    "Size limits": ("max_event_bytes", "max_outcome_bytes", "max_dead_letter_bytes"),
    "Events that break the model": (
        "model_attempts",
        "crash_deaths",
        "state_folder",
        "breaker_window_events",
        "breaker_model_failure_ratio",
        "breaker_dead_letter_ratio",
    ),
    "Drift": (
        "drift_window_events",
        "drift_learning_seconds",
        "drift_reference",
        "drift_reference_windows",
        "drift_change_delta",
        *map(setting_of, DriftScore),
        "known_sources",
    ),
    "Metrics and logs": ("metrics_host", "metrics_port", "metrics_names", "log_level", "log_format"),
    "Tracing": ("tracing",),
}
# Ranges that a validator checks and JSON Schema cannot express.
RANGES = {
    "brokers": "HOST:PORT, comma-separated",
    "metrics_host": "an address of this machine",
    "tracing.endpoint": "http:// or https://, HOST:PORT, perhaps a path",
    "security.token_url": "https://, HOST:PORT, perhaps a path; http:// on loopback",
    "schema_registry.url": "http:// or https://, HOST:PORT, perhaps a path; comma-separated",
    "cloudevents_source": "a URI, or a part of one such as /tagstream",
    "audit_rates": "LABEL=SHARE, comma-separated",
    "contents": "topics with their fields: a table each, in the environment a JSON object",
    **dict.fromkeys((f"fields.{name}" for name in Fields.model_fields), "a JSON pointer, or a list of them"),
}
# The keywords of JSON Schema that bound a value.
BOUNDS = ("type", "format", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "not")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    One setting.

    Attributes:
        key: The setting's dotted name, as in `tagstream.toml`.
        subject: The setting's heading.
        meaning: The setting's description.
        allowed: The allowed values, as a JSON Schema.
        range: The allowed values in words; empty if any text is allowed.
    """

    key: str
    subject: str
    meaning: str
    allowed: Mapping[str, Any]
    range: str

    @property
    def variable(self) -> str:
        """
        The environment variable of the setting.

        >>> next(entry.variable for entry in entries() if entry.key == "topics.dlq")
        'TAGSTREAM_TOPICS__DLQ'
        """
        return PREFIX + self.key.upper().replace(".", "__")

    def value_in(self, settings: Settings) -> Any:
        """
        The setting's value in `settings`.

        >>> next(entry.value_in(Settings()) for entry in entries() if entry.key == "topics.dlq")
        'content.dlq'
        """
        value: Any = settings
        for part in self.key.split("."):
            value = getattr(value, part)
        return value


def entries() -> list[Entry]:
    """All settings, grouped by subject."""
    schema = Settings.model_json_schema(by_alias=False)
    keys = known_keys()
    found = []
    for subject, names in SUBJECTS.items():
        for key in (key for name in names for key in keys if key == name or key.startswith(f"{name}.")):
            described = _schema_of(schema, key)
            allowed = _allowed(described)
            in_range = RANGES.get(key, in_words(allowed))
            found.append(Entry(key=key, subject=subject, meaning=described["description"], allowed=allowed, range=in_range))
    return found


def _schema_of(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table, _, name = key.rpartition(".")
    properties = schema["$defs"][table.title().replace("_", "")]["properties"] if table else schema["properties"]
    found: Mapping[str, Any] = properties[name]
    return found


def _allowed(described: Mapping[str, Any]) -> dict[str, Any]:
    """The bounds in a setting's schema. For a setting that may be unset, the bounds of its value."""
    set_to = next((option for option in described.get("anyOf", ()) if option.get("type") != "null"), described)
    return {name: set_to[name] for name in BOUNDS if name in set_to}


def in_words(allowed: Mapping[str, Any]) -> str:
    """
    The range of a JSON Schema in words; empty if the schema allows any text.

    >>> in_words({"type": "integer", "minimum": 1, "maximum": 4096}), in_words({"type": "number", "exclusiveMinimum": 0})
    ('1 to 4096', 'above 0')
    >>> in_words({"type": "integer", "minimum": 0, "maximum": 9, "not": {"exclusiveMinimum": 0, "exclusiveMaximum": 2}})
    '0, or 2 to 9'
    """
    if "enum" in allowed:
        return ", ".join(allowed["enum"])
    if allowed.get("type") == "boolean":
        return "true, false"
    if "pattern" in allowed:
        return "a topic's name"
    if "minLength" in allowed:
        return "not empty"
    if "not" in allowed:
        gap = allowed["not"]
        return f"{gap['exclusiveMinimum']}, or {gap['exclusiveMaximum']} to {allowed['maximum']}"
    return _interval(allowed)


def _interval(allowed: Mapping[str, Any]) -> str:
    least, most = allowed.get("minimum"), allowed.get("maximum")
    if least is not None and most is not None:
        return f"{least} to {most}"
    if least is not None:
        return f"{least} or more"
    above, below = allowed.get("exclusiveMinimum"), allowed.get("exclusiveMaximum")
    limits = {"above": above, "at most": most, "below": below}
    return ", ".join(f"{word} {limit}" for word, limit in limits.items() if limit is not None)
