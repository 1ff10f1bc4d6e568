"""The `rollout.*` settings: the topics by which the model of a running stream is changed, and where bundles are found."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

from tagstream.stream.settings.topics import TOPIC_NAME

# The pattern is for the reference of settings; the validator below checks it.
_Name = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^({TOPIC_NAME.pattern})?$"})]
SCHEMES = ("s3", "gs", "az")
# A group may have any name, and a topic may not. The record that starts a rollout has the group's whole name, so no other group follows it.
_FOREIGN = re.compile(r"[^a-zA-Z0-9._-]")
MOST_OF_GROUP = 200


class Rollout(BaseModel):
    """How the model of a running stream is changed; without its topic a worker decides by the setting `bundle` until it ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: _Name = Field(
        default="",
        description="topic that says from which offset on which model decides",
    )
    workers_topic: _Name = Field(
        default="",
        description="topic in which workers say which model they have, and are ready for",
    )
    bundles: str = Field(
        default="",
        description="folder, or s3://BUCKET/PREFIX (gs://, az://), of bundles by their digest; needed to change the model",
    )
    bundle_keys: Path | None = Field(
        default=None,
        description="file with a public key, or folder of such files, one of which must have signed a bundle; unset: not asked for",
    )
    cache: Path = Field(
        default=Path("~/.cache/tagstream/bundles"), description="folder of the bundles that a worker has fetched"
    )
    cache_bytes: int = Field(
        default=2 * 1024**3, ge=64 * 1024**2, description="most bytes in it; the longest unused bundles go"
    )
    fetch_seconds: float = Field(
        default=60.0,
        gt=0,
        description="most seconds to fetch one file of a bundle; a change waits for all workers that long and two minutes",
    )
    hold_seconds: float = Field(
        default=30.0, gt=0, description="most seconds that a worker holds events between two epochs; then it ends with 70"
    )

    @field_validator("topic", "workers_topic")
    @classmethod
    def _is_valid_in_kafka(cls, value: str) -> str:
        if value and (not TOPIC_NAME.fullmatch(value) or value in {".", ".."}):
            msg = (
                "a topic's name in Kafka has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-', and is not '.' or '..'"
            )
            raise ValueError(msg)
        return value

    def of_group(self, group: str) -> "Rollout":
        """
        These settings with the names of the topics, which are made from the group's name unless they are set.

        >>> Rollout().of_group("tagstream").workers_topic, Rollout(topic="changes").of_group("g").workers_topic
        ('tagstream.rollout.workers', 'changes.workers')
        """
        topic = self.topic or f"{_FOREIGN.sub('-', group)[:MOST_OF_GROUP]}.rollout"
        return self.model_copy(update={"topic": topic, "workers_topic": self.workers_topic or f"{topic}.workers"})

    @field_validator("bundles")
    @classmethod
    def _is_a_place(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if separator and (scheme not in SCHEMES or not rest):
            msg = f"it is a folder, or an address that begins with {', '.join(f'{one}://' for one in SCHEMES)}"
            raise ValueError(msg)
        return value
