"""Topics that take smaller records than the settings allow: what is done about them, and what is said."""

import pytest
import structlog

from tagstream.stream.kafka import admin
from tagstream.stream.kafka.errors import BrokerSilentError
from tagstream.stream.kafka.sizes import LEAST_BYTES, TopicTakesTooLittleError, fitted, read, shortfalls
from tagstream.stream.settings.settings import Settings

ALL_TAKE_ENOUGH = {"tagged": 2_000_000, "review": 2_000_000, "content.dlq": 4_000_000}


def test_topics_that_take_enough_change_no_setting() -> None:
    """No sentence, and the same limits."""
    found = list(shortfalls(Settings(), ALL_TAKE_ENOUGH))
    assert found == []
    assert fitted(Settings(), found) == Settings()


def test_the_smallest_topic_of_a_setting_counts() -> None:
    """`tagged` and `review` share a setting: an outcome must fit into the one that it goes to."""
    taken = {"tagged": 900_000, "review": 800_000, "content.dlq": 1_048_588}
    found = list(shortfalls(Settings(), taken))
    assert [(one.topic, one.taken, one.known) for one in found] == [
        ("tagged", 900_000, True),
        ("review", 800_000, True),
        ("content.dlq", 1_048_588, True),
    ]
    limits = fitted(Settings(), found).limits
    assert (limits.max_outcome_bytes, limits.max_dead_letter_bytes) == (800_000, 1_048_588)


def test_a_topic_that_may_not_be_read_has_kafkas_default() -> None:
    """A worker without DESCRIBE_CONFIGS assumes the limit that a topic has if nobody set one, and names the right."""
    (one,) = shortfalls(Settings(), {})
    assert (one.topic, one.taken, one.known) == ("content.dlq", 1_048_588, False)
    assert "lacks DESCRIBE_CONFIGS on the topic, grant it" in one.next


def test_a_broker_that_does_not_know_the_question_stops_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tansu closes the connection; the limit is then not known, and the log says so."""

    def silent(settings: Settings, names: list[str]) -> dict[str, int]:
        assert settings.startup_timeout_seconds <= 5
        assert names == ["tagged", "review", "content.dlq"]
        msg = "no Kafka broker answered. Next: doctor"
        raise BrokerSilentError(msg)

    monkeypatch.setattr(admin, "max_message_bytes", silent)
    with structlog.testing.capture_logs() as logs:
        assert read(Settings()) == {}
    assert [(line["event"], line["why"]) for line in logs] == [("topic_sizes_unknown", "no Kafka broker answered.")]


def test_a_topic_that_takes_no_reference_is_refused() -> None:
    """The worker does not start: every large dead letter would end it."""
    found = list(shortfalls(Settings(), {**ALL_TAKE_ENOUGH, "content.dlq": LEAST_BYTES - 1}))
    with pytest.raises(TopicTakesTooLittleError, match=r"Next: set max\.message\.bytes of the topic to 2097152") as caught:
        fitted(Settings(), found)
    assert caught.value.exit_code == 2
