"""The answer object of one outcome."""

import json

from tagstream.stream.decide.answer import answer_of
from tagstream.stream.decide.pipeline import Pipeline
from tests.fakes import raw


def test_a_decision_is_the_published_value_with_its_destination(pipeline: Pipeline) -> None:
    """The bytes of the stream's record come first, and only `destination` follows."""
    (publication,) = pipeline.publications([raw(b'{"id":"a","title":"deployment"}')])
    assert publication.value is not None
    assert answer_of(publication, line=1, row=0) == publication.value[:-1] + b',"destination":"tagged"}'


def test_a_rejection_has_its_place_and_none_of_its_text(pipeline: Pipeline) -> None:
    """A rejected event is named by line and row, with stage, code and message."""
    (publication,) = pipeline.publications([raw(b'{"title":["zq7-planted-K"]}')])
    found = answer_of(publication, line=7, row=5)
    assert b"zq7-planted-K" not in found
    answer = json.loads(found)
    assert {name: answer[name] for name in ("destination", "line", "row")} == {"destination": "dlq", "line": 7, "row": 5}
    assert answer["error"].keys() == {"stage", "code", "message"}
