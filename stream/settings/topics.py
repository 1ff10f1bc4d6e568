"""The `topics.*` settings: the name of each topic."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def _name(value: str) -> str:
    if not TOPIC_NAME.fullmatch(value) or value in {".", ".."}:
        msg = "a topic's name in Kafka has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-', and is not '.' or '..'"
        raise ValueError(msg)
    return value


# The pattern is for the reference of settings. The check has a message in words.
Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{TOPIC_NAME.pattern}$"})]


class SameNameError(ValueError):
    """Two topics have one name: `keys` are the two settings, `name` is their value."""

    def __init__(self, keys: tuple[str, str], name: str) -> None:
        """Keep both, so that the message can name the origins of the settings."""
        super().__init__(f"{' and '.join(keys)} name the same topic, {name!r}")
        self.keys, self.name = keys, name


class Topics(BaseModel):
    """Names of the topics. Unless they are set, `dlq` is `content` with `.dlq` behind it, and `replays` is `dlq` with `.replays`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    content: Name = Field(default="content", description="events that workers read")
    tagged: Name = Field(default="tagged", description="decisions that the model is sure of")
    review: Name = Field(default="review", description="events that a person is asked about")
    dlq: Name = Field(default="", validation_alias=AliasChoices("dlq", "content_dlq"), description="dead letters of `content`")
    replays: Name = Field(default="", description="notes of `dlq replay`: what it has sent again")
    audit: Name = Field(default="audit", description="copies of decisions on `tagged`, drawn for a blind review")
    reviewed: Name = Field(default="reviewed", description="reviewers' answers, which workers publish on `tagged`")
    reports: Name = Field(default="reports", description="readers' complaints, which bring an event before a reviewer")
    outcomes: Name = Field(
        default="outcomes", description="what came of decisions, by which `rollout` compares a canary with its champion"
    )
    shadow: Name = Field(
        default="shadow",
        description="what another bundle would have decided; no decisions",
    )
    drift: Name = Field(default="drift", description="drift findings")
    references: Name = Field(default="references", description="what is ordinary in the stream, kept by workers")

    @model_validator(mode="before")
    @classmethod
    def _derive_dlq_and_replays(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        named = values.get("dlq", values.get("content_dlq"))
        dlq = f"{values.get('content', 'content')}.dlq" if named is None else named
        return {"replays": f"{dlq}.replays", **({"dlq": dlq} if named is None else {}), **values}

    @model_validator(mode="after")
    def _all_different(self) -> "Topics":
        require_different({f"topics.{key}": name for key, name in self.model_dump().items()})
        return self


def require_different(names: Mapping[str, str]) -> None:
    """
    Refuse two topics of one name.

    Args:
        names: The name by its setting.

    Raises:
        SameNameError: Two settings name the same topic.
    """
    keys: dict[str, str] = {}
    for key, name in names.items():
        if name in keys:
            raise SameNameError((keys[name], key), name)
        keys[name] = key
