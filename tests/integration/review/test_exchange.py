"""`tagstream review --export` and `import`, on Apache Kafka."""

import json
from pathlib import Path

import pytest

from tagstream.stream.contract.answers import Answer, AnsweredEvent, answer_id, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka import producer
from tagstream.stream.kafka.reading.backwards import partition_of
from tagstream.stream.settings.settings import Settings
from tests.answering import NOW_MS, SURE, UNSURE, answer, audited, decided, reviewed
from tests.integration.command_line import Command
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


def answers_on(settings: Settings) -> list[Answer]:
    """The answers on the topic, in any order."""
    read_back = [read_answer(record) for record in contents(settings, settings.topics.reviewed)]
    return [found.answer for found in read_back if isinstance(found, AnsweredEvent)]


def test_answers_leave_and_come_back_once(
    tagstream: Command, environ: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    """An export holds every answer; its import brings those that the topic lacks, and is no harm the second time."""
    model = decided(UNSURE)
    first = answer(model, "other")
    write(settings, ("review", model), ("reviewed", reviewed(model, first)))
    out = tmp_path / "answers.jsonl"
    done = tagstream("review", "--export", out, environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    second = answer(model, "mlops", previous=first, now_ms=NOW_MS + 90_000)
    with out.open("ab") as file:
        file.write((reviewed(model, second).value or b"") + b"\n")
    for sent in ("1 answer sent", "0 answers sent"):
        done = tagstream("review", "--import", out, environ=environ)
        assert done.returncode == 0, done.stderr.decode()
        assert sent in done.stderr.decode()
    assert {answer_id(one) for one in answers_on(settings)} == {answer_id(first), answer_id(second)}


@pytest.mark.slow
def test_a_file_with_one_bad_line_sends_nothing(
    tagstream: Command, environ: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    """The line is named, the exit code is that of a broken contract."""
    model = decided(UNSURE)
    file = tmp_path / "answers.jsonl"
    file.write_bytes((reviewed(model, answer(model, "other")).value or b"") + b"\nno answer\n")
    done = tagstream("review", "--import", file, environ=environ)
    assert (done.returncode, answers_on(settings)) == (4, [])
    assert "line 2 is no record of `reviewed`" in done.stderr.decode()


@pytest.mark.slow
def test_label_studio_gets_what_waits_and_its_answers_arrive(
    tagstream: Command, environ: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    """An audit and a review are exported as tasks; the annotated one becomes an answer on the topic."""
    audit = audited(decided(SURE))
    write(settings, ("review", decided(UNSURE)), ("audit", audit))
    out = tmp_path / "tasks.json"
    done = tagstream("review", "--export", out, "--form", "label-studio", "--open", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"<View>")
    tasks = json.loads(out.read_bytes())
    assert {task["data"]["event_id"]: len(task["predictions"]) for task in tasks} == {"e-1": 0, "e-2": 1}
    [task] = [task for task in tasks if task["data"]["event_id"] == "e-1"]
    chosen = {"from_name": "tag", "to_name": "text", "type": "choices", "value": {"choices": ["other"]}}
    task["annotations"] = [{"result": [chosen], "created_at": "2024-01-02T03:04:05Z"}]
    out.write_text(json.dumps(tasks), encoding="utf-8")
    done = tagstream("review", "--import", out, "--form", "label-studio", "--reviewer", "lea", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    [found] = answers_on(settings)
    assert (found.event_id, found.tag, found.reviewer, found.asked_by) == ("e-1", "other", "lea", "import")
