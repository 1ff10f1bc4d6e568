"""`ForeignModel` and `Answers`: decisions of another program pass through the review loop as a worker's do."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream import Answers, Decided, ForeignModel, Record, Rejected, read_answer, read_decision
from tagstream.stream.contract.answers import Said, answer_to, write_answer
from tagstream.stream.contract.published import DecidedEvent

LABELS = ("billing", "login", "other")
NOW = 1_700_000_000.5
EVENT = {"id": "42", "title": "I cannot sign in", "tag": "urgent"}


def foreign(**more: Any) -> ForeignModel:
    """A model of three labels that asks below 0.8, and draws nothing."""
    return ForeignModel(
        "intents", "7", LABELS, **{"thresholds": 0.8, "settings": {"audit_rate": 0}, "clock": lambda: NOW, **more}
    )


def sure(of: str, confidence: float = 0.96) -> dict[str, float]:
    """Probabilities of which this label has most."""
    return {label: confidence if label == of else (1 - confidence) / 2 for label in LABELS}


def record(result: object, topic: str) -> Record:
    """The one record of a decision, which goes to this topic."""
    assert isinstance(result, Decided)
    (found,) = result.records
    assert found.topic == topic
    return found


def test_a_tie_is_a_question_for_a_person() -> None:
    """The order of the labels chooses no tag, also where the probabilities are above the threshold; of several tags none is a rival."""
    model = foreign(thresholds=0.3)
    tie = {"billing": 0.50001, "login": 0.49999, "other": 0.0}
    asked = model.decide(EVENT, tie)
    assert isinstance(asked, Decided)
    value = json.loads(record(asked, "review").value or b"")
    assert (value["reasons"], value["threshold"]) == (["low_confidence"], 1.0001)
    assert record(model.decide(EVENT, tie, tags=("billing", "login")), "tagged")
    assert record(model.decide(EVENT, {"billing": 0.5, "login": 0.4, "other": 0.1}), "tagged")


def test_a_sure_decision_is_one_for_tagged_and_an_unsure_one_for_review() -> None:
    """Both can be read back; the name of the model stands in them, and the event's own field of our name is kept."""
    found = read_decision(record(foreign().decide(EVENT, sure("login")), "tagged"))
    assert isinstance(found, DecidedEvent)
    assert (found.decision.tag, found.decision.decider, found.decision.model.name) == ("login", "model", "intents")
    asked = foreign().decide(EVENT, sure("login", 0.6))
    assert isinstance(asked, Decided)
    assert asked.needs_person
    value = json.loads(record(asked, "review").value or b"")
    assert value["overridden"] == {"tag": "urgent"}
    assert value["reasons"] == ["low_confidence"]


@pytest.mark.parametrize(
    ("event", "more", "reasons"),
    [
        (EVENT, {"strange": True}, ("out_of_distribution",)),
        ({"title": "Zero\u200bwidth"}, {}, ("out_of_distribution",)),
        (EVENT, {}, ()),
    ],
)
def test_a_person_is_asked_about_a_strange_text_whatever_the_confidence(
    event: dict[str, str], more: dict[str, bool], reasons: tuple[str, ...]
) -> None:
    """A text with hidden characters, too."""
    found = foreign().decide(event, sure("login"), **more)  # type: ignore[arg-type]
    assert isinstance(found, Decided)
    assert found.decision.reasons == reasons


def test_a_decision_has_the_same_bytes_each_time_and_another_model_another_id() -> None:
    """The id is made of the event, name, version and labels."""
    first, again = (record(foreign().decide(EVENT, sure("login")), "tagged") for _ in range(2))
    assert first == again
    ids = {
        json.loads(record(model.decide(EVENT, sure("login")), "tagged").value or b"")["prediction_id"]
        for model in (
            foreign(),
            ForeignModel("intents", "8", LABELS, thresholds=0.8, settings={"audit_rate": 0}),
            ForeignModel("other", "7", LABELS, thresholds=0.8, settings={"audit_rate": 0}),
        )
    }
    assert len(ids) == 3


def test_thresholds_are_of_labels() -> None:
    """One of 1.0001 is reached by nothing."""
    model = foreign(thresholds={"billing": 0.5, "login": 1.0001, "other": 0.9})
    assert [model.decide(EVENT, sure(label, 1.0)).needs_person for label in LABELS] == [False, True, False]  # type: ignore[union-attr]


def test_copies_for_audit_are_drawn_as_a_worker_draws_them() -> None:
    """At a rate of 1 each published decision has one; one for a person has none."""
    model = foreign(settings={"audit_rate": 1})
    published, asked = model.decide(EVENT, sure("login")), model.decide(EVENT, sure("login", 0.5))
    assert [one.topic for one in published.records] == ["tagged", "audit"]
    assert [one.topic for one in asked.records] == ["review"]


def test_what_is_no_event_is_a_dead_letter() -> None:
    """With the place where it was read."""
    found = foreign().decide(Record(key=b"k", value=b"{", topic="mine", partition=1, offset=7), sure("login"))
    assert isinstance(found, Rejected)
    assert found.code == "invalid_json"
    assert found.records[0].value == b"{"


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        ({"billing": 1.0}, "missing"),
        ({**sure("login"), "rest": 0.0}, "unknown"),
        ({**sure("login"), "other": float("nan")}, "not between 0 and 1"),
        ({**sure("login"), "other": 1.5}, "not between 0 and 1"),
    ],
)
def test_probabilities_that_are_none_are_refused(probabilities: dict[str, float], words: str) -> None:
    """Nothing is published that a reader would refuse."""
    with pytest.raises(ValueError, match=words):
        foreign().decide(EVENT, probabilities)


def test_a_sum_that_misses_one_in_its_last_digits_is_a_probability() -> None:
    """Floats of 32 bits do."""
    found = foreign().decide(EVENT, {"billing": 0.0, "login": 1.0000001, "other": -1e-9})
    assert isinstance(found, Decided)
    assert found.decision.probabilities == {"billing": 0.0, "login": 1.0, "other": 0.0}


@pytest.mark.parametrize("labels", ["ab", {"a", "b"}, [1, 2]])
def test_labels_are_texts_in_an_order(labels: Any) -> None:
    """The digest is made of them, and a set has another order in each process."""
    with pytest.raises(TypeError, match="labels are texts in an order"):
        ForeignModel("intents", "7", labels, thresholds=0.8)


def test_labels_of_numpy_are_texts() -> None:
    """As a classifier of scikit-learn has them in `classes_`."""
    ours, numpys = (ForeignModel("intents", "7", labels, thresholds=0.8) for labels in (list(LABELS), np.array(LABELS)))
    assert ours.model == numpys.model


def test_several_tags_have_the_most_probable_one_among_them() -> None:
    """In the order of the labels."""
    found = foreign().decide(EVENT, sure("login"), tags=["other", "login"])
    assert isinstance(found, Decided)
    assert found.decision.tags == ("login", "other")
    with pytest.raises(ValueError, match="most probable"):
        foreign().decide(EVENT, sure("login"), tags=["other"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": ""}, "1 to 256 characters"),
        ({"labels": ["one"]}, "2 to 1,000"),
        ({"labels": ["one", "one"]}, "different names"),
        ({"labels": ["one", "off_subject"]}, "off_subject"),
        ({"thresholds": 1.5}, "0 to 1"),
        ({"thresholds": {"billing": 0.5}}, "one for each label"),
    ],
)
def test_a_model_that_cannot_be_named_is_refused(changed: dict[str, Any], words: str) -> None:
    """With the rule that it breaks."""
    arguments = {"name": "intents", "version": "7", "labels": LABELS, "thresholds": 0.8, **changed}
    with pytest.raises(ValueError, match=words):
        ForeignModel(**arguments)


@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), st.text(min_size=1, max_size=40))
def test_whatever_is_published_can_be_read_back(shares: list[float], title: str) -> None:
    """Any probabilities, any title: a decision is read with its tag, or there is a dead letter."""
    found = foreign().decide({"title": title}, dict(zip(LABELS, shares, strict=True)))
    if isinstance(found, Decided):
        read = read_decision(found.records[0])
        assert isinstance(read, DecidedEvent)
        assert read.decision.tag == found.tag
        assert read.decision.confidence == found.confidence


def test_an_answer_on_such_a_decision_becomes_the_same_decision_of_a_person_each_time() -> None:
    """With the label of the foreign model; what is no answer is a dead letter."""
    shown = read_decision(record(foreign().decide(EVENT, sure("login", 0.6)), "review"))
    assert isinstance(shown, DecidedEvent)
    said = Said(tag="billing", reviewer="ann", blind=False, asked_by="review")
    value = write_answer(shown.event.fields, answer_to(shown, said, now_ms=int(NOW * 1000)))
    answered = Record(key=b"42", value=value, topic="reviewed", partition=0, offset=1)
    assert not isinstance(read_answer(answered), Rejected)
    answers = Answers(clock=lambda: NOW)
    first, again, none = answers.decide([answered, answered, Record(key=None, value=b"{}", topic="reviewed")])
    assert first == again
    decision = json.loads(record(first, "tagged").value or b"")
    assert (decision["tag"], decision["decider"], decision["supersedes"]) == (
        "billing",
        "reviewer",
        shown.decision.prediction_id,
    )
    assert isinstance(none, Rejected)
