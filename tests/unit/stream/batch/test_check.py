"""`contract check` says of each row what the pipeline then does."""

import json
from typing import Any

import msgspec
import pytest

from tagstream.model_export.data.reader import InputRow
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.batch.row_survey import Checked, RowSurvey, check
from tagstream.stream.contract.event import DEFAULT_LIMITS, Limits, Record
from tagstream.stream.decide.answer import answer_of
from tests.answering import PIPELINE
from tests.hostile.corpus import corpus

LIMITS = Limits(max_bytes=2_000)


def checked(*values: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Checked]:
    """What becomes of these values, rows of lines 1 and on."""
    return list(check([InputRow(line, value) for line, value in enumerate(values, start=1)], RowSurvey(limits)))


def said(value: bytes) -> dict[str, Any]:
    """The JSON object on one row."""
    [one] = checked(value)
    found: dict[str, Any] = json.loads(one.line)
    return found


def test_the_check_agrees_with_the_pipeline() -> None:
    """Of hostile values, the check foresees the dead letter with its place, stage, code and message, and every decision."""
    values = [record.value for _, record in corpus(2_000) if record.value is not None]
    answers = [
        answer_of(publication, line=number + 1, row=number)
        for number, publication in enumerate(PIPELINE.publications([Record(key=None, value=value) for value in values]))
    ]
    destinations = {True: 0, False: 0}
    for found, answer in zip(checked(*values), answers, strict=True):
        line = json.loads(found.line)
        destinations[line["valid"]] += 1
        if line["valid"]:
            assert b'"destination":"dlq"' not in answer[-40:]
        else:
            assert json.loads(answer) == {
                "destination": Destination.DLQ,
                **{name: line[name] for name in ("line", "row", "error")},
            }
    assert min(destinations.values()) > 100, destinations


def test_the_limits_are_those_of_the_settings() -> None:
    """A value above `max_event_bytes` would become a dead letter."""
    value = msgspec.json.encode({"title": "a", "description": "x" * LIMITS.max_bytes})
    assert [json.loads(one.line)["valid"] for limits in (DEFAULT_LIMITS, LIMITS) for one in checked(value, limits=limits)] == [
        True,
        False,
    ]


def test_it_says_which_fields_move_and_which_pass_on() -> None:
    """A field with a name of ours moves into `overridden`, and any other passes on."""
    assert said(b'{"id": 6, "title": "a", "tag": "news", "views": 1, "source": "b"}') == {
        "line": 1,
        "row": 0,
        "valid": True,
        "id": "6",
        "id_is_made": False,
        "overridden": ["tag"],
        "passed_on": ["views"],
    }


@pytest.mark.parametrize(
    ("value", "made"),
    [
        (b'{"title": "a"}', True),
        (b'{"id": null, "title": "a"}', True),
        (b'{"id": "sha256-x", "title": "a"}', False),
        (b'{"specversion": "1.0", "id": "1", "source": "/b", "type": "t", "data": {"title": "a"}}', False),
    ],
)
def test_it_says_whether_an_id_is_made(value: bytes, made: bool) -> None:
    """Without an id in the event or its envelope, one is made of the bytes."""
    assert said(value)["id_is_made"] is made


def test_people_see_a_line_a_row() -> None:
    """The line has the place, and the id or the code with its reason; names of fields never act on the terminal."""
    shown = [one.shown.plain for one in checked(b'{"id":"e","title":"a","tag":1,"\\u001b[31m":2}', b'{"title":""}')]
    assert shown[0].split() == ["decided", "line", "1", "id", "e;", "into", "overridden:", "tag;", "passed", "on:", "\\x1b[31m"]
    assert (
        shown[1]
        == "dead letter  line 2  missing_title (validate): title is blank; the first text of fields.text that is not blank can be the title"
    )
