"""Topics: the messages on missing ones, and a broker that does not create one."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import InvalidReplicationFactorError, KafkaConnectionError, KafkaError, KafkaTimeoutError

from tagstream.stream.kafka import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError, TopicsMissingError, TopicsRefusedError
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings

ABSENT = admin.TopicDescription(partitions=None, operations=None)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            "revew",
            "no topic 'revew', and no topic of the settings has this name; the nearest one is review. Next: correct the name",
        ),
        ("org.contnt", "the nearest one is content (org.content). Next: "),
        ("dql", "the nearest one is dlq (org.content.dlq). Next: "),
        ("zzz", "no topic 'zzz', and no topic of the settings has this name. Next: correct the name, or create that topic; "),
    ],
)
def test_a_missing_topic_of_no_setting_names_the_nearest_one(typed: str, says: str) -> None:
    """The message lists the settings' topics; it does not send to the doctor, which creates only those."""
    settings = load({"TAGSTREAM_TOPICS__CONTENT": "org.content"}, folder=Path("/nonexistent")).settings
    with pytest.raises(TopicsMissingError) as caught:
        admin.require(settings, {typed: typed}, found={typed: ABSENT})
    assert says in str(caught.value)
    assert "the settings have content (org.content), tagged, review, dlq (org.content.dlq), " in str(caught.value)
    assert "doctor" not in str(caught.value)


@pytest.mark.parametrize("typed", ["dlq", "content.dlq"])
def test_a_missing_topic_of_the_settings_sends_to_the_doctor(typed: str) -> None:
    """Whether it was asked for by the setting's key or by its name on the cluster."""
    settings = load({}, folder=Path("/nonexistent")).settings
    with pytest.raises(
        TopicsMissingError, match=r"'content\.dlq' \(topics\.dlq\)\..* Next: `tagstream doctor --create-topics`"
    ):
        admin.require(settings, {typed: "content.dlq"}, found={"content.dlq": ABSENT})


@pytest.mark.parametrize(
    ("error", "code"),
    [(InvalidReplicationFactorError("3 > 1"), 1), (KafkaTimeoutError("silent"), 3), (KafkaConnectionError("gone"), 3)],
)
def test_a_refusal_to_create_is_told_from_silence(monkeypatch: pytest.MonkeyPatch, error: KafkaError, code: int) -> None:
    """A broker that refuses has answered: exit code 1; without an answer it is 3."""

    class Admin:
        """Stands in for kafka-python's admin client."""

        def describe_topics(self) -> list[dict[str, Any]]:
            """There are no topics."""
            return []

        def create_topics(self, *_: object, **__: object) -> None:
            """Fail."""
            raise error

        def close(self) -> None:
            """There is no connection."""

    monkeypatch.setattr(admin, "admitted", lambda _: ({}, 1.0))
    monkeypatch.setattr(admin, "_AdminClient", lambda **_: Admin())
    with pytest.raises(TopicsRefusedError if code == 1 else BrokerUnreachableError, match=r"Next: ") as caught:
        admin.create(load({}, folder=Path("/nonexistent")).settings)
    assert caught.value.exit_code == code


def test_the_broker_compresses_dead_letters_and_no_other_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Kafka client reads gzip; the topics that consumers read in bulk stay as the worker sends them."""
    options: dict[str, Any] = {}

    class Admin:
        """Stands in for kafka-python's admin client."""

        def describe_topics(self) -> list[dict[str, Any]]:
            """There are no topics."""
            return []

        def create_topics(self, topics: dict[str, Any], **_: object) -> None:
            """Note the options."""
            options.update(topics)

        def close(self) -> None:
            """There is no connection."""

    monkeypatch.setattr(admin, "admitted", lambda _: ({}, 1.0))
    monkeypatch.setattr(admin, "_AdminClient", lambda **_: Admin())
    admin.create(load({}, folder=Path("/nonexistent")).settings)
    compressed = {name: made["configs"].get("compression.type") for name, made in options.items()}
    assert {name: how for name, how in compressed.items() if how} == {"content.dlq": "gzip"}
    assert len(compressed) > 3


def test_each_topic_is_made_for_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are kept for ever and each of them, records of the full size fit where they go, and only the ledger is compacted."""
    made: dict[str, dict[str, str]] = {}

    class Admin:
        """Stands in for kafka-python's admin client."""

        def describe_topics(self) -> list[dict[str, Any]]:
            """There are no topics."""
            return []

        def create_topics(self, topics: dict[str, dict[str, Any]], **_: Any) -> None:
            """Keep the options."""
            made.update({name: options["configs"] for name, options in topics.items()})

    @contextlib.contextmanager
    def connected(_: Settings) -> Iterator[Admin]:
        yield Admin()

    monkeypatch.setattr(admin, "admin", connected)
    settings = Settings()
    admin.create(settings)

    assert set(made) == set(settings.topics.model_dump().values())
    compacted = {name for name, configs in made.items() if configs.get("cleanup.policy") == "compact"}
    assert compacted == {settings.topics.replays, settings.topics.references}
    assert {name for name, configs in made.items() if configs.get("retention.ms") == "-1"} == {"reviewed"}
    whole, more = str(settings.max_outcome_bytes), str(settings.max_dead_letter_bytes)
    assert {name: configs["max.message.bytes"] for name, configs in made.items() if "max.message.bytes" in configs} == {
        "tagged": whole,
        "review": whole,
        "content.dlq": more,
        "audit": more,
        "reviewed": more,
    }
