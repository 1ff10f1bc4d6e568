"""Files of answers: lines that are read back as they were, and rows that a training reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from tagstream.model_export.data import splits
from tagstream.model_export.data.answers import read_answers
from tagstream.model_export.data.corpus import NOT_ML, PLAIN
from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.own.split import Why, divide
from tagstream.stream.contract.answers import OFF_SUBJECT, AnsweredEvent, answer_id, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.review.exchange import files
from tagstream.stream.review.exchange.files import Form
from tagstream.stream.review.exchange.lines import ExchangeError, MissingFileError, answers_in_file
from tests.answering import NOW_MS, answer, decided, reviewed, shown

SPREAD = decided(b'{"id":"e-3",\r\n "title":"maybe deployment",\n "more":{"a":\n1}}')
DESCRIBED = decided(b'{"id":"e-4","title":"Serving language models","description":"Batches of requests on one card."}')


def answered(record: Record, tag: str = "mlops", **how: Any) -> AnsweredEvent:
    """The answer on the decision in this record, read back."""
    found = read_answer(reviewed(record, answer(record, tag, **how)))
    assert isinstance(found, AnsweredEvent), found
    return found


def test_lines_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    """Every answer once, the first one first, one a line whatever line ends are inside; its id stays."""
    first = answered(SPREAD)
    second = answered(SPREAD, "other", previous=first.answer, now_ms=NOW_MS + 90_000)
    path = tmp_path / "answers.jsonl"
    files.write(path, files.content(Form.LINES, [second, first, second]))
    assert len(path.read_bytes().splitlines()) == 2
    found = answers_in_file(path)
    assert [answer_id(one.answer) for one in found] == [answer_id(first.answer), answer_id(second.answer)]
    assert [one.event.id for one in found] == ["e-3", "e-3"]
    assert json.loads(bytes(found[0].event.fields["more"])) == {"a": 1}


def test_a_line_that_is_no_answer_is_named(tmp_path: Path) -> None:
    """File, line, reason and next step, and nothing of the file counts."""
    path = tmp_path / "answers.jsonl"
    path.write_bytes(files.content(Form.LINES, [answered(SPREAD)]) + b'\n{"id":"x"}\n')
    with pytest.raises(ExchangeError, match=r"answers\.jsonl, line 3 is no record of `reviewed`: .* Next: "):
        answers_in_file(path)


def test_files_that_cannot_be_read_or_written_are_said(tmp_path: Path) -> None:
    """A sentence with the path, and the exit code of a wrong argument."""
    with pytest.raises(MissingFileError, match="No such file"):
        answers_in_file(tmp_path / "absent")
    with pytest.raises(MissingFileError, match="cannot be written: No such file"):
        files.write(tmp_path / "no" / "file", b"")
    assert MissingFileError.exit_code == 2


def test_rows_of_any_labels_have_no_label_that_the_model_lacks(tmp_path: Path) -> None:
    """The file as rows of a user's own: the labels of the decisions and no other one, and the event of none of them is left out."""
    people = [
        answered(SPREAD, OFF_SUBJECT),
        answered(DESCRIBED, "mlops"),
        answered(decided(b'{"id":"e-5","title":"A game"}'), "other"),
    ]
    path = tmp_path / "rows.jsonl"
    files.write(path, files.content(Form.ROWS, people))
    rows = read_own(path)
    assert rows.labels == ("mlops", "other")
    assert set(rows.labels) <= set(people[0].answer.before.probabilities)
    assert [own.id for own in divide(rows).left_out[Why.OFF_SUBJECT]] == ["e-3"]


def test_rows_are_learned_from_and_never_measured_on(tmp_path: Path) -> None:
    """The newest answer of each event becomes a row of training; a text about none of the labels is unlabelled."""
    first = answered(DESCRIBED, "mlops")
    second = answered(DESCRIBED, "natural-language-processing", previous=first.answer, now_ms=NOW_MS + 90_000)
    path = tmp_path / "rows.jsonl"
    files.write(path, files.content(Form.ROWS, [second, first, answered(SPREAD, OFF_SUBJECT)]))
    rows = {row.topic: row for row in read_answers(path)}
    assert {topic: row.tag for topic, row in rows.items()} == {
        "answer:e-4": "natural-language-processing",
        "answer:e-3": NOT_ML,
    }
    assert (rows["answer:e-4"].source, rows["answer:e-4"].described, rows["answer:e-3"].described) == (PLAIN, True, False)
    found = splits.split(authored=[], given=[], holdout=[], digests={}, plain=list(rows.values()))
    assert [row.topic for row in found.train] == ["answer:e-4"]
    assert {row.topic for row in found.unlabelled} == {"answer:e-3", "answer:e-4"}
    assert (found.calibration, found.corpus_test, found.holdout) == ((), (), ())


@pytest.mark.parametrize(
    "line", ["{}", '{"id":"a","title":"b","tag":"sports"}', '{"id":"a","title":" ","tag":"mlops"}', "[", ""]
)
def test_rows_that_are_none_are_refused(tmp_path: Path, line: str) -> None:
    """The message names file and line, or says that there are no rows."""
    path = tmp_path / "rows.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl(:1 is no row| holds no answers)"):
        read_answers(path)


def test_what_waits_is_what_nobody_has_answered() -> None:
    """Each event once, however often its decision lies on the topic."""
    waiting = files.waiting([shown(SPREAD), shown(DESCRIBED), shown(DESCRIBED)], [answered(SPREAD)])
    assert [one.event.id for one in waiting] == ["e-4"]
