"""The topics that a worker can do without: when it uses them, and what it says where it does not."""

import pytest
import structlog

from tagstream.stream.decide.from_settings import UnknownLabelError
from tagstream.stream.kafka.admin import TopicDescription
from tagstream.stream.kafka.errors import NotAuthorizedError, TopicsMissingError
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.topics import draw_for, takes_answers
from tests.fakes import deciding

THERE = TopicDescription(partitions=6, operations=None)
ABSENT = TopicDescription(partitions=None, operations=None)
CLOSED = TopicDescription(partitions=6, operations=frozenset({"DESCRIBE"}))
UNSEEN = TopicDescription(partitions=None, operations=frozenset())


def seen(topic: TopicDescription) -> dict[str, TopicDescription]:
    """Both topics like this."""
    return {"audit": topic, "reviewed": topic}


def test_copies_are_drawn_by_default_where_the_topic_is() -> None:
    """Two of a hundred, as large as the topic takes."""
    with structlog.testing.capture_logs() as logs:
        draw = draw_for(Settings(), deciding(), seen(THERE), {"audit": 2_000_000})
    assert draw is not None
    assert (draw.rate, draw.most_bytes, logs) == (0.02, 2_000_000, [])


def test_a_topic_that_takes_less_than_a_decision_is_told_once() -> None:
    """The decisions between the two sizes are the only ones that are never audited."""
    with structlog.testing.capture_logs() as logs:
        draw = draw_for(Settings(), deciding(), seen(THERE), {"audit": 1_000})
    assert draw is not None
    assert draw.most_bytes == 1_000
    assert [(line["event"], line["topic"]) for line in logs] == [("topic_takes_less", "audit")]


@pytest.mark.parametrize("topic", [ABSENT, CLOSED, UNSEEN], ids=["absent", "not writable", "not visible"])
def test_a_worker_without_the_topic_says_so_and_works(topic: TopicDescription) -> None:
    """Audits and answers are off, each with the reason and the next step."""
    with structlog.testing.capture_logs() as logs:
        assert draw_for(Settings(), deciding(), seen(topic), {}) is None
        assert not takes_answers(Settings(), seen(topic))
    assert [line["event"] for line in logs] == ["audits_off", "answers_off"]
    assert all(line["why"] and line["next"] for line in logs)


@pytest.mark.parametrize(("topic", "error"), [(ABSENT, TopicsMissingError), (CLOSED, NotAuthorizedError)])
@pytest.mark.parametrize("asked_for", [{"audit_rate": 0.1}, {"audit_rates": "mlops=0.1"}])
def test_rates_that_were_set_need_the_topic(
    topic: TopicDescription, error: type[Exception], asked_for: dict[str, object]
) -> None:
    """Whoever asked for audits learns at the start that there are none."""
    with pytest.raises(error, match="Next"):
        draw_for(Settings.model_validate(asked_for), deciding(), seen(topic), {})


def test_no_copy_is_drawn_at_rates_of_zero_or_from_guesses_of_the_rules() -> None:
    """Both are silent: that was asked for."""
    with structlog.testing.capture_logs() as logs:
        assert draw_for(Settings(audit_rate=0), deciding(), seen(ABSENT), {}) is None
        assert draw_for(Settings(), deciding(kind="rules"), seen(THERE), {}) is None
    assert logs == []


def test_a_rate_of_an_unknown_label_is_refused_at_the_start() -> None:
    """The labels are those of the bundle."""
    with pytest.raises(UnknownLabelError):
        draw_for(Settings(audit_rates="cooking=1"), deciding(), seen(THERE), {})


def test_answers_are_taken_where_their_topic_can_be_read() -> None:
    """Without a word."""
    with structlog.testing.capture_logs() as logs:
        assert takes_answers(Settings(), seen(THERE))
        assert takes_answers(Settings(), seen(TopicDescription(partitions=1, operations=frozenset({"READ"}))))
    assert logs == []


def test_answers_that_cannot_be_delivered_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """With exactly once the answers need transactional ids of their own, and a user may have no right to them."""

    async def denied(_: Settings, topic: str) -> str:
        return f"no right to the ids of {topic}"

    monkeypatch.setattr("tagstream.stream.kafka.probes.transactions_denied", denied)
    with structlog.testing.capture_logs() as logs:
        assert not takes_answers(Settings(delivery="exactly_once"), seen(THERE))
    assert [line["why"] for line in logs] == ["no right to the ids of reviewed"]
