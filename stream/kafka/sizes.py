"""The largest records that the topics of the outcomes take, and settings that keep to them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tagstream.stream.kafka import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

# Kafka's default `max.message.bytes`, also assumed for a topic whose limit the brokers do not tell.
KAFKA_DEFAULT_BYTES = 1_048_588
# More than a dead letter without its value takes: place, reason, SHA-256, and 256 bytes each of value, key and headers.
LEAST_BYTES = 8 * 1024
ANSWER_SECONDS = 5.0
log = logger("tagstream.app")


class TopicTakesTooLittleError(Exception):
    """The topic of dead letters is too small for a dead letter without its value: the message names its limit and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """
    A topic that takes smaller records than a setting allows.

    Attributes:
        topic: The topic's name.
        setting: The setting's key.
        allowed: The setting's value, bytes.
        taken: The topic's `max.message.bytes`, or Kafka's default if `known` is false.
        known: True if the brokers told `taken`. They tell it to users who may DESCRIBE_CONFIGS on the topic.
    """

    topic: str
    setting: str
    allowed: int
    taken: int
    known: bool

    @property
    def why(self) -> str:
        """A sentence with both sizes."""
        if self.known:
            return f"{self.topic} takes records of {self.taken} bytes, {self.setting} is {self.allowed}"
        return f"the brokers do not say how large a record {self.topic} takes; Kafka's default of {self.taken} bytes is assumed"

    @property
    def consequence(self) -> str:
        """The fate of records between the two sizes, in a sentence."""
        if self.setting == "max_dead_letter_bytes":
            return (
                "larger dead letters are kept as a reference: place, reason, SHA-256, length and first bytes, without the value"
            )
        return "larger outcomes become dead letters, outcome_too_large"

    @property
    def next(self) -> str:
        """The remedies."""
        if self.known:
            return f"set max.message.bytes of the topic to {self.allowed}, or TAGSTREAM_{self.setting.upper()}={self.taken}"
        return "if the user lacks DESCRIBE_CONFIGS on the topic, grant it: tagstream doctor --acls USER --role worker"


def shortfalls(settings: Settings, taken: Mapping[str, int]) -> Iterator[Shortfall]:
    """The topics that accept smaller records than the settings allow, by `taken`: `max.message.bytes` by name, if it is known."""
    for key, setting in (("tagged", "max_outcome_bytes"), ("review", "max_outcome_bytes"), ("dlq", "max_dead_letter_bytes")):
        topic, allowed = getattr(settings.topics, key), getattr(settings, setting)
        limit = taken.get(topic, KAFKA_DEFAULT_BYTES)
        if limit < allowed:
            yield Shortfall(topic=topic, setting=setting, allowed=allowed, taken=limit, known=topic in taken)


def read(settings: Settings, topics: Sequence[str] = ()) -> dict[str, int]:
    """
    `max.message.bytes` by topic name, of these topics or the topics of outcomes.

    A topic is left out if the brokers do not tell its limit. If they do not answer within `ANSWER_SECONDS`, all topics are left out.
    """
    names = topics or [settings.topics.tagged, settings.topics.review, settings.topics.dlq]
    quick = settings.model_copy(update={"startup_timeout_seconds": min(ANSWER_SECONDS, settings.startup_timeout_seconds)})
    try:
        return admin.max_message_bytes(quick, names)
    except BrokerUnreachableError as error:
        log.warning("topic_sizes_unknown", why=str(error).partition(" Next: ")[0])
        return {}


def fitted(settings: Settings, found: list[Shortfall]) -> Settings:
    """
    The settings, with limits lowered to the topics' limits.

    Raises:
        TopicTakesTooLittleError: The topic of dead letters is too small for a dead letter without its value.
    """
    lowered: dict[str, int] = {}
    for one in found:
        if one.setting == "max_dead_letter_bytes" and one.taken < LEAST_BYTES:
            msg = (
                f"the topic {one.topic} takes records of {one.taken} bytes: not even a reference to a dead letter fits, which may need "
                f"{LEAST_BYTES}. Next: set max.message.bytes of the topic to {one.allowed}."
            )
            raise TopicTakesTooLittleError(msg)
        lowered[one.setting] = min(one.taken, lowered.get(one.setting, one.taken))
    return settings.model_copy(update=lowered)
