"""`tagstream classify` without its command line: a text is told from a file, and each row has one JSON object with the stream's outcome."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tagstream.model_export.bundle.bundle import BundleError
from tagstream.model_export.data.reader import ROWS_AT_ONCE, InputRow, RowsError
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.batch.classify import is_file, looks_like_a_path, of_text
from tagstream.stream.batch.run import Rejected, decided
from tagstream.stream.contract.event import ContentEvent, decode
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.settings.settings import Settings
from tests.fakes import deciding, raw

VALUES = [b'{"id":"a","title":"deployment"}', b'{"id":"b","title":"maybe image","tag":"x"}', b"{", b'{"title":"c"}']
ROWS = [InputRow(number, value) for number, value in enumerate(VALUES, start=1)]
# Properties use this, because Hypothesis does not let them share fixtures.
PIPELINE = Pipeline(decider=deciding(), observer=NullObserver())


def test_every_row_has_its_line_in_the_inputs_order(pipeline: Pipeline) -> None:
    """Every row has the fields of `tagged` and its destination, and a bad row has its reason."""
    found = [json.loads(row.answer) for row in decided(pipeline, ROWS)]
    assert [line["destination"] for line in found] == ["tagged", "review", "dlq", "tagged"]
    assert [line.get("id") for line in found[:2]] == ["a", "b"]
    assert found[1]["overridden"] == {"tag": "x"}
    assert (found[2]["line"], found[2]["row"]) == (3, 2)
    assert (found[2]["error"]["stage"], found[2]["error"]["code"]) == ("decode", "invalid_json")


def test_a_line_is_the_published_value_and_its_destination(pipeline: Pipeline) -> None:
    """A row's object has the bytes that the stream would publish, except for the clock, and the destination."""
    for row in decided(pipeline, ROWS):
        if isinstance(row, Rejected):
            continue
        (publication,) = publish_all([row.outcome.event.record], [row.outcome], 0)
        assert publication.value is not None
        decision = publication.value.rpartition(b',"tagged_at"')[0]
        assert row.answer.startswith(decision + b',"tagged_at":"')
        assert row.answer.endswith(b'","destination":"%b"}' % publication.destination.value.encode())


@hypothesis_settings(max_examples=20)
@given(st.integers(0, 3 * ROWS_AT_ONCE))
def test_no_row_is_lost_between_chunks(count: int) -> None:
    """Any number of rows is numbered without gaps, and each row keeps its own event."""
    found = list(decided(PIPELINE, (InputRow(number, b'{"id":"%d","title":"a"}' % number) for number in range(count))))
    assert [json.loads(row.answer)["id"] for row in found] == [str(number) for number in range(count)]


def test_rows_are_read_as_they_are_needed(pipeline: Pipeline) -> None:
    """The first results of an endless input come at once."""

    def endless() -> Iterator[InputRow]:
        while True:
            yield ROWS[0]

    lines = decided(pipeline, endless())
    assert json.loads(next(lines).answer)["tag"] == "mlops"


@pytest.mark.parametrize("good", [0, 3, ROWS_AT_ONCE, ROWS_AT_ONCE + 1])
def test_rows_above_one_that_cannot_be_read_are_classified(good: int) -> None:
    """Every row before an unreadable one is classified, and then the error is raised."""
    message = "line 7: more fields"

    def values() -> Iterator[InputRow]:
        yield from [InputRow(1, VALUES[0])] * good
        raise RowsError(message)

    found = decided(PIPELINE, values())
    assert [json.loads(next(found).answer)["id"] for _ in range(good)] == ["a"] * good
    with pytest.raises(RowsError, match=message):
        next(found)


def test_a_line_holds_no_text_of_a_refused_row(pipeline: Pipeline) -> None:
    """The object of a refused row has the row's number and none of its text."""
    (row,) = decided(pipeline, [InputRow(1, b'{"title":["zq7-planted-K"]}')])
    assert b"zq7-planted-K" not in row.answer


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """A folder without a bundle is refused with the reason before any input is read."""
    with pytest.raises(BundleError, match="cannot be read"):
        pipeline_of(Settings(bundle=tmp_path))


def test_the_settings_reach_the_pipeline(tiny_bundle_folder: Path) -> None:
    """Bundle, threshold and size limit come from the settings."""
    event = raw(b'{"title":"image segmentation"}')
    sure, unsure, small = (
        pipeline_of(Settings(bundle=tiny_bundle_folder, **knobs)).decide([event])[0]
        for knobs in ({"confidence_threshold": 0.0}, {"confidence_threshold": 1.0}, {"max_event_bytes": 5})
    )
    assert [type(outcome).__name__ for outcome in (sure, unsure, small)] == ["Tagged", "NeedsReview", "Refusal"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("-", True), ("x.csv", True), ("x.JSONL", True), ("A title", False), ("", False), ("a\0b", False), ("t" * 5_000, False)],
)
def test_a_file_is_told_from_a_text(given: str, expected: bool) -> None:
    """An argument is a file if it has a file's suffix or if the file exists."""
    assert is_file(given) is expected


@pytest.mark.parametrize("name", ["content", "papers.TXT", "content.v2"])
def test_an_existing_file_needs_no_suffix(tmp_path: Path, name: str) -> None:
    """An argument that names an existing file is that file, and its first line tells the form."""
    path = tmp_path / name
    path.touch()
    assert is_file(str(path))


def test_a_pipe_is_a_file(tmp_path: Path) -> None:
    """The path that a shell makes of `<(...)` has no suffix, and is read."""
    os.mkfifo(tmp_path / "63")
    assert is_file(str(tmp_path / "63"))


def test_a_folder_is_refused_with_a_way_to_classify_its_name(tmp_path: Path) -> None:
    """The error of a folder says how to classify a text of the same name."""
    with pytest.raises(RowsError, match=r"is a folder\. Next: .* tagstream classify -"):
        is_file(str(tmp_path))


def test_a_text_with_a_slash_is_a_path_only_where_its_folder_exists(tmp_path: Path) -> None:
    """An argument of several words with a slash is a text unless its folder exists."""
    path = str(tmp_path / "no such file").removeprefix("/")
    assert looks_like_a_path(f"/{path}")
    assert not looks_like_a_path(path)
    with contextlib.chdir("/"):
        assert looks_like_a_path(path)


@pytest.mark.parametrize("text", ["a/" + "b" * 5_000 + " c", "a\0/b c"])
def test_a_text_that_no_path_can_have_is_a_text(text: str) -> None:
    """A text that is too long for a path, or has a NUL, is classified as text."""
    assert not looks_like_a_path(text)
    assert not is_file(text)


@given(st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text))
def test_a_text_becomes_an_event_with_that_title(text: str) -> None:
    """Every text of the command line becomes the title, unchanged."""
    event = decode(raw(of_text(text)))
    assert isinstance(event, ContentEvent)
    assert event.title == text
