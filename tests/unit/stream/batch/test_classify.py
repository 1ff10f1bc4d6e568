"""`tagstream classify` without its command line: one JSON object a row, with the stream's outcome."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from model_export.bundle.bundle import BundleError
from monitoring.observer import NullObserver
from stream.batch.classify import ROWS_AT_ONCE, classify
from stream.batch.rows.row import Row, RowsError
from stream.contract.publication import publish_all
from stream.contract.refusal import Refusal
from stream.decide.from_settings import pipeline_of
from stream.decide.pipeline import Pipeline
from stream.settings.settings import Settings
from tests.fakes import deciding, raw

VALUES = [b'{"id":"a","title":"deployment"}', b'{"id":"b","title":"maybe image","tag":"x"}', b"{", b'{"title":"c"}']
ROWS = [Row(number, value) for number, value in enumerate(VALUES, start=1)]
# Properties use this, because Hypothesis does not let them share fixtures.
PIPELINE = Pipeline(decider=deciding(), observer=NullObserver())


def test_every_row_has_its_line_in_the_inputs_order(pipeline: Pipeline) -> None:
    """Every row has the fields of `tagged` and its destination, and a bad row has its reason."""
    found = [json.loads(row.line) for row in classify(pipeline, ROWS)]
    assert [line["destination"] for line in found] == ["tagged", "review", "dlq", "tagged"]
    assert [line.get("id") for line in found[:2]] == ["a", "b"]
    assert found[1]["overridden"] == {"tag": "x"}
    assert (found[2]["line"], found[2]["row"]) == (3, 2)
    assert (found[2]["error"]["stage"], found[2]["error"]["code"]) == ("decode", "invalid_json")


def test_a_line_is_the_published_value_and_its_destination(pipeline: Pipeline) -> None:
    """A row's object has the bytes that the stream would publish, except for the clock, and the destination."""
    for row in classify(pipeline, ROWS):
        if isinstance(row.outcome, Refusal):
            continue
        (publication,) = publish_all([row.outcome.event.record], [row.outcome], 0)
        assert publication.value is not None
        decision = publication.value.rpartition(b',"tagged_at"')[0]
        assert row.line.startswith(decision + b',"tagged_at":"')
        assert row.line.endswith(b'","destination":"%b"}' % publication.destination.value.encode())


@hypothesis_settings(max_examples=20)
@given(st.integers(0, 3 * ROWS_AT_ONCE))
def test_no_row_is_lost_between_chunks(count: int) -> None:
    """Any number of rows is numbered without gaps, and each row keeps its own event."""
    found = list(classify(PIPELINE, (Row(number, b'{"id":"%d","title":"a"}' % number) for number in range(count))))
    assert [json.loads(row.line)["id"] for row in found] == [str(number) for number in range(count)]


def test_rows_are_read_as_they_are_needed(pipeline: Pipeline) -> None:
    """The first results of an endless input come at once."""

    def endless() -> Iterator[Row]:
        while True:
            yield ROWS[0]

    lines = classify(pipeline, endless())
    assert json.loads(next(lines).line)["tag"] == "mlops"


@pytest.mark.parametrize("good", [0, 3, ROWS_AT_ONCE, ROWS_AT_ONCE + 1])
def test_rows_above_one_that_cannot_be_read_are_classified(good: int) -> None:
    """Every row before an unreadable one is classified, and then the error is raised."""
    message = "line 7: more fields"

    def values() -> Iterator[Row]:
        yield from [Row(1, VALUES[0])] * good
        raise RowsError(message)

    found = classify(PIPELINE, values())
    assert [json.loads(next(found).line)["id"] for _ in range(good)] == ["a"] * good
    with pytest.raises(RowsError, match=message):
        next(found)


def test_a_line_holds_no_text_of_a_refused_row(pipeline: Pipeline) -> None:
    """The object of a refused row has the row's number and none of its text."""
    (row,) = classify(pipeline, [Row(1, b'{"title":["zq7-planted-K"]}')])
    assert b"zq7-planted-K" not in row.line


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
