"""`tagstream report`, `lookup` and the replay of answers, on Apache Kafka."""

import pytest

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract import dead_letter
from tagstream.stream.contract.answers import AnsweredEvent, answer_id, read_answer, tagged_by_reviewer
from tagstream.stream.contract.event import DEFAULT_LIMITS, Record
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.reports import Report, read_report
from tagstream.stream.kafka import producer
from tagstream.stream.kafka.reading.backwards import partition_of
from tagstream.stream.settings.settings import Settings
from tests.answering import NOW_MS, UNSURE, answer, decided, reviewed
from tests.integration.command_line import Command, lines
from tests.integration.dead_letters.planted_letters import contents
from tests.replacing import replace

pytestmark = pytest.mark.broker


def write(settings: Settings, *records: tuple[str, Record]) -> None:
    """Write records to the topics with these roles, each to the partition of its key."""
    names: dict[str, str] = settings.topics.model_dump()
    placed = [
        replace(record, topic=names[role], partition=partition_of(record.key or b"", settings.topic_partitions))
        for role, record in records
    ]
    with producer.verbatim_sender(settings, idempotent=True) as sender:
        assert sender.deliver(placed) == [None] * len(placed)


def test_a_report_is_on_its_topic_when_the_command_ends(
    tagstream: Command, environ: dict[str, str], settings: Settings
) -> None:
    """The record says what the reader said, under the key of the event."""
    done = tagstream("report", "e-1", "--tag", "mlops", "--note", "servers", "--reporter", "bo", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    (record,) = contents(settings, settings.topics.reports)
    found = read_report(record)
    assert isinstance(found, Report)
    assert (record.key, found.suggested_tag, found.note, found.reporter) == (b"e-1", "mlops", "servers", "bo")


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(None, id="own key", marks=pytest.mark.slow),
        pytest.param(b"a producer's key", id="producer's key"),
    ],
)
def test_a_lookup_finds_every_record_of_an_event(
    tagstream: Command, environ: dict[str, str], settings: Settings, key: bytes | None
) -> None:
    """Decision, answer and what follows from it are found, whichever partition they are in; another event is not."""
    model = decided(UNSURE, key=key)
    given = answer(model, "other", note="servers")
    answered = read_answer(reviewed(model, given))
    assert isinstance(answered, AnsweredEvent)
    made = tagged_by_reviewer(answered, NOW_MS)
    follows = Record(key=made[0], value=made[1], headers=made[2])
    others = [("tagged", decided(b'{"id":"o-%d","title":"deployment of e-2"}' % number)) for number in range(20)]
    write(settings, *others, ("review", model), ("reviewed", reviewed(model, given)))

    waiting = tagstream("lookup", "e-2", "--json", environ=environ)
    assert waiting.returncode == 0, waiting.stderr.decode()
    (found,) = lines(waiting.stdout)
    assert found["holds"]["tag"] == "mlops"  # type: ignore[index]
    assert found["pending"] == answer_id(given)

    write(settings, ("tagged", follows))
    done = tagstream("lookup", "e-2", "--json", environ=environ)
    (found,) = lines(done.stdout)
    assert (found["holds"]["tag"], found["holds"]["decider"]) == ("other", "reviewer")  # type: ignore[index]
    assert (len(found["decisions"]), len(found["answers"]), found["pending"]) == (2, 1, None)  # type: ignore[arg-type]
    assert found["not_read_whole"] == []
    assert (b"all partitions are read" in done.stderr) == (
        key is not None and partition_of(key, settings.topic_partitions) != partition_of(b"e-2", settings.topic_partitions)
    )

    unknown = tagstream("lookup", "e-404", environ=environ)
    assert unknown.returncode == 1
    assert b"no record of the event 'e-404' was found. Next: " in unknown.stderr


@pytest.mark.slow
def test_a_dead_letter_of_an_answer_goes_back_to_its_topic(
    tagstream: Command, environ: dict[str, str], settings: Settings
) -> None:
    """One command sends events to `content` and answers to `reviewed`, each once; `--to` still names one topic for all."""
    model = decided(UNSURE)
    refusal = Refusal(stage=Stage.VALIDATE, reason=Reason.UNKNOWN_LABEL, message="a sentence")

    def dead(origin: str, record: Record) -> tuple[str, Record]:
        key, value, headers = dead_letter.write(replace(record, topic=origin), refusal, DEFAULT_LIMITS)
        return "dlq", Record(key=key, value=value, headers=headers)

    said = reviewed(model, answer(model))
    write(settings, dead(settings.topics.content, Record(key=b"e-2", value=UNSURE)), dead(settings.topics.reviewed, said))
    assert tagstream("dlq", "replay", "--dry-run", environ=environ).returncode == 0
    assert contents(settings, settings.topics.reviewed) == []
    for _ in range(2):
        done = tagstream("dlq", "replay", environ=environ)
        assert done.returncode == 0, done.stderr.decode()
    assert [record.value for record in contents(settings, settings.topics.content)] == [UNSURE]
    (back,) = contents(settings, settings.topics.reviewed)
    assert (back.key, back.value) == (said.key, said.value)
    assert isinstance(read_answer(back), AnsweredEvent)
