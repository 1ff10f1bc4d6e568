"""Answers through Label Studio's JSON and back, also by Label Studio's own SDK."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tagstream.stream.contract.answers import OFF_SUBJECT, AnsweredEvent, answer_id, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.review.exchange import files, label_studio
from tagstream.stream.review.exchange.files import Form
from tagstream.stream.review.exchange.label_studio import Imported, TaskError, answers_in, read_tasks
from tests.answering import NOW_MS, answer, audited, decided, reviewed, shown
from tests.fakes import LABELS
from tests.lacking import program

UNSURE = decided(
    b'{"id":"e-2","title":"maybe deployment \xe2\x80\x94 \\"quoted\\"","source":"feed","n":1.50}', key=b"\xff\x00key"
)
LATER = "2024-01-02T03:04:05.678901Z"
ROUND_TRIP = Path(__file__).parents[4] / "label_studio" / "round_trip.py"


def answered(record: Record, tag: str, **how: Any) -> AnsweredEvent:
    """The answer on the decision in this record, read back."""
    found = read_answer(reviewed(record, answer(record, tag, **how)))
    assert isinstance(found, AnsweredEvent), found
    return found


def tasks(*made: dict[str, Any]) -> list[dict[str, Any]]:
    """Tasks as a file has them."""
    found: list[dict[str, Any]] = json.loads(json.dumps(made))
    return found


def annotated(task: dict[str, Any], tag: str, *, at: str = LATER, by: Any = 7, note: str | None = None) -> dict[str, Any]:
    """The task as Label Studio exports it after somebody chose this tag."""
    results = [{"from_name": "tag", "to_name": "text", "type": "choices", "value": {"choices": [tag]}}]
    if note is not None:
        results.append({"from_name": "note", "to_name": "text", "type": "textarea", "value": {"text": [note]}})
    made = {"id": 3, "result": results, "was_cancelled": False, "completed_by": by, "created_at": at, "updated_at": at}
    return task | {"id": 1, "annotations": [*task["annotations"], made], "project": 4}


def bring(made: Iterable[dict[str, Any]], *held: AnsweredEvent) -> Imported:
    """Import tasks where these answers are on the topic."""
    return answers_in(read_tasks(json.dumps(list(made)).encode()), newest=files.newest(held), reviewer="import")


def read(value: bytes) -> AnsweredEvent:
    """The answer in a record that was made."""
    found = read_answer(Record(key=None, value=value))
    assert isinstance(found, AnsweredEvent), found
    return found


def test_an_event_that_waits_comes_back_with_its_answer() -> None:
    """Event, key, decision and person are those of the topic and of the annotation; it is version 1."""
    [task] = tasks(label_studio.task_of_decision(shown(UNSURE)))
    [(key, value)] = bring(
        [annotated(task, "computer-vision", by={"id": 7, "email": "lea@example.com"}, note="a camera")]
    ).records
    found = read(value)
    assert key == b"\xff\x00key"
    assert found.event.fields == shown(UNSURE).event.fields
    assert (found.answer.tag, found.answer.note, found.answer.version) == ("computer-vision", "a camera", 1)
    assert (found.answer.reviewer, found.answer.asked_by, found.answer.blind) == ("lea@example.com", "import", False)
    assert found.answer.decided_at == "2024-01-02T03:04:05.678Z"
    assert found.answer.before.inclusion_probability == 1.0


def test_what_was_exported_and_not_touched_brings_nothing() -> None:
    """An answered event comes back with the answer that holds, so a whole project can be imported again and again."""
    held = answered(UNSURE, "computer-vision", note="a camera")
    [task] = tasks(label_studio.task_of_answer(held))
    found = bring([task], held)
    assert (found.records, found.passed_over) == ([], {"with the answer that holds already": 1})


def test_another_choice_corrects_the_answer_that_holds() -> None:
    """The correction supersedes the newest answer on the topic, not the one in the file."""
    first = answered(UNSURE, "computer-vision")
    second = answered(UNSURE, "other", previous=first.answer, now_ms=NOW_MS + 90_000)
    [task] = tasks(label_studio.task_of_answer(first))
    [(_, value)] = bring([annotated(task, OFF_SUBJECT)], first, second).records
    found = read(value).answer
    assert (found.tag, found.version, found.supersedes) == (OFF_SUBJECT, 3, answer_id(second.answer))
    assert found.reviewer == "label-studio:7"


def test_an_annotation_from_before_the_answer_that_holds_does_not_undo_it() -> None:
    """Somebody answered in the console after the annotation was made."""
    [task] = tasks(label_studio.task_of_decision(shown(UNSURE)))
    held = answered(UNSURE, "other")
    found = bring([annotated(task, "computer-vision", at="2020-01-01T00:00:00Z")], held)
    assert (found.records, found.passed_over) == ([], {"older than the answer that holds": 1})


def test_an_audit_stays_blind() -> None:
    """The task of an audit has no prediction, and its answer says that the decision was hidden."""
    [task] = tasks(label_studio.task_of_decision(shown(audited(decided()))))
    assert task["predictions"] == []
    [(_, value)] = bring([annotated(task, "mlops")]).records
    assert (read(value).answer.blind, read(value).answer.before.inclusion_probability) == (True, 0.02)


def test_a_task_without_an_annotation_is_passed_over() -> None:
    """Nobody has answered, or the one who began has cancelled."""
    [task] = tasks(label_studio.task_of_decision(shown(UNSURE)))
    cancelled = annotated(task, "mlops")
    cancelled["annotations"][0]["was_cancelled"] = True
    assert bring([task, cancelled]).passed_over == {"without an annotation": 2}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tagstream": None}, r"task 2: data\.tagstream is not as `tagstream review --export` wrote it"),
        ({"tagstream": {"topic": "review", "key": None, "value": "{}"}}, "task 2: "),
        ({"tagstream": {"topic": "reviewed", "key": None, "value": "{}"}}, "task 2: "),
    ],
)
def test_a_task_of_another_kind_is_refused_with_its_number(change: dict[str, Any], why: str) -> None:
    """The file is from elsewhere, or its data was edited: no answer is guessed."""
    [good] = tasks(label_studio.task_of_decision(shown(UNSURE)))
    bad = annotated(good | {"data": good["data"] | change}, "mlops")
    with pytest.raises(TaskError, match=why):
        bring([annotated(good, "mlops"), bad])


def test_a_choice_that_is_no_label_is_refused() -> None:
    """The project has another configuration than ours."""
    [task] = tasks(label_studio.task_of_decision(shown(UNSURE)))
    with pytest.raises(TaskError, match=r"task 1: .*tag is neither a label"):
        bring([annotated(task, "sports")])


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b"\xff", b"[" * 5000])
def test_bytes_that_are_no_tasks_are_refused(raw: bytes) -> None:
    """Whatever the file holds, the refusal is a sentence."""
    with pytest.raises(TaskError, match="it is no JSON array of Label Studio's tasks"):
        read_tasks(raw)


def test_label_studio_reads_our_file_and_we_read_its_export(tmp_path: Path) -> None:
    """Its own SDK accepts configuration, tasks and suggestions, annotates what waits, and exports; the answers come back."""
    held = answered(UNSURE, "computer-vision", note="a camera")
    waits = shown(audited(decided(b'{"id":"e-7","title":"deployment of a model","description":"More <b>&amp;</b> \xc3\xa9."}')))
    config, project, out = tmp_path / "config.xml", tmp_path / "tasks.json", tmp_path / "export.json"
    config.write_text(label_studio.config(LABELS), encoding="utf-8")
    project.write_bytes(files.content(Form.LABEL_STUDIO, [held], [waits]))
    done = subprocess.run(
        [program("label-studio"), ROUND_TRIP, config, project, out, "other"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [(row["event_id"], row["tag"]) for row in json.loads(done.stdout)] == [("e-2", "computer-vision"), ("e-7", "other")]
    found = answers_in(read_tasks(out.read_bytes()), newest=files.newest([held]), reviewer="import")
    assert found.passed_over == {"with the answer that holds already": 1}
    [(key, value)] = found.records
    assert (key, read(value).event.fields) == (b"e-7", waits.event.fields)
    assert (read(value).answer.tag, read(value).answer.reviewer) == ("other", "lea@example.com")
