"""The bound on the answers of a request."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.answer import answer_of
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.serve import row_answers
from tagstream.stream.serve.row_answers import BESIDE_LABEL_BYTES, DECISION_BYTES
from tests.fakes import LABELS, deciding
from tests.unit.stream.serve.conftest import ask

PLAIN = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
FIELDS = st.dictionaries(PLAIN | st.sampled_from(["id", "tag", "model", "destination"]), PLAIN | st.integers(), max_size=8)


@given(FIELDS, PLAIN, st.booleans())
def test_no_answer_is_larger_than_its_event_and_the_labels_allow(fields: dict[str, object], title: str, escaped: bool) -> None:
    """Whatever the event has, its answer is bounded before it is made."""
    event = json.dumps(fields | {"title": title}, ensure_ascii=escaped).encode()
    (publication,) = Pipeline(decider=deciding(), observer=NullObserver()).publications([Record(key=None, value=event)])
    most = len(event) + DECISION_BYTES + sum(2 * len(label) + BESIDE_LABEL_BYTES for label in LABELS)
    assert len(answer_of(publication, line=1, row=0)) <= most


def test_answers_that_could_be_too_large_are_refused_before_the_model_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """413, with the next step; fewer events are answered."""
    monkeypatch.setattr(row_answers, "MOST_ANSWER_BYTES", 4_000)

    def undecided(_: object) -> list[object]:
        raise AssertionError

    found = ask("POST", "/classify", {"decide": undecided}, json=[{"title": "An image"}] * 4)
    assert found.status_code == 413
    assert "Next: send several requests" in found.text
    assert ask("POST", "/classify", json=[{"title": "An image"}]).status_code == 200
