"""Rows are looked at before they are sent: with the worker's decoder, all counted, in bounded memory."""

import pytest

from tagstream.model_export.data.reader import InputRow
from tagstream.stream.batch import row_survey
from tagstream.stream.batch.row_survey import BadRow, RowSurvey
from tagstream.stream.contract.event import DEFAULT_LIMITS


def looked(*values: bytes, key_field: str | None = None) -> RowSurvey:
    """A look at rows, one a line."""
    found = RowSurvey(DEFAULT_LIMITS, key_field)
    for line, value in enumerate(values, start=1):
        found.at(InputRow(line, value))
    return found


def test_rows_that_would_be_dead_letters_are_found_with_the_workers_codes() -> None:
    """Line, code and message of each, the same as the worker would write; good rows are no fault."""
    found = looked(b'{"title":"a"}', b'{"title":7}', b'{"title":" "}', b"{", b"[]")
    assert [(fault.line, fault.code) for fault in found.faults] == [
        (2, "wrong_type"),
        (3, "missing_title"),
        (4, "invalid_json"),
        (5, "not_an_object"),
    ]
    assert found.faults[0] == BadRow(line=2, code="wrong_type", message="title is a JSON number, a string is expected")
    assert (found.rows, found.codes.total()) == (5, 4)


def test_all_faults_are_counted_and_the_first_are_listed() -> None:
    """A file of another kind has as many faults as lines, and the message stays short."""
    found = looked(*[b"{"] * 90, *[b'{"title":1}'] * 10)
    assert len(found.faults) == row_survey.SHOWN
    assert found.listed.splitlines()[-1] == "  and 95 more; of all: 90 invalid_json, 10 wrong_type"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((b"A plain line", b"another"), "Expected are JSON Lines, an object with a `title` in each line, or CSV"),
        ((b"[", b'{"title":"a"},', b"]"), "begins with `[`, as a JSON array does: `jq -c '.[]' FILE`"),
        ((b'[{"title":"a"}]',), "begins with `[`, as a JSON array does"),
        ((b'{"title":7}',), ""),
    ],
)
def test_an_input_of_another_form_gets_the_expected_form_in_its_error(values: tuple[bytes, ...], says: str) -> None:
    """Plain lines and a JSON array have a sentence each; objects need none."""
    form = looked(*values).form
    assert says in form
    assert bool(says) == bool(form)


def test_rows_that_repeat_an_id_are_named_with_the_earlier_line() -> None:
    """Rows without an id repeat one if their bytes are the same, since the id is made from these."""
    found = looked(b'{"id":"1","title":"a"}', b'{"title":"b"}', b'{"id":"1","title":"c"}', b'{"title":"b"}', b'{"title":"d"}')
    assert found.repeats == [(3, 1), (4, 2)]
    assert found.repetition is not None
    assert found.repetition.startswith(
        "warning: 2 of 5 rows repeat the id of an earlier row (line 3 that of line 1, line 4 that of line 2)"
    )
    assert looked(b'{"id":"1","title":"a"}').repetition is None


def test_the_memory_for_ids_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids further back than `REMEMBER` are forgotten, and no more than that are held."""
    monkeypatch.setattr(row_survey, "REMEMBER", 3)
    found = looked(*(b'{"id":"%d","title":"a"}' % number for number in (1, 2, 3, 3, 4, 1)))
    assert found.repeats == [(4, 3)]
    assert len(found._lines) == 3


def test_a_row_without_its_key_is_a_fault() -> None:
    """With a field for the key, a row that has no text or number there would lose its order among the others."""
    found = looked(
        b'{"title":"a","user":"u"}', b'{"title":"a"}', b'{"title":"a","user":null}', b'{"title":"a","user":7}', key_field="user"
    )
    assert [(fault.line, fault.code) for fault in found.faults] == [(2, "no_key"), (3, "no_key")]


def test_the_key_is_part_of_the_record_that_is_looked_at() -> None:
    """Without an id, the id is made from key and value: other keys, other events."""
    found = RowSurvey(DEFAULT_LIMITS, "title")
    record, fault = found.at(InputRow(1, b'{"title":"a"}'))
    assert (record.key, fault) == (b"a", None)
