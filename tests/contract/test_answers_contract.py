"""Decisions of real deciders can be answered: whatever a bundle or the rules publish is read back, answered and published again."""

import json
from pathlib import Path

import pytest

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.contract.answers import (
    OFF_SUBJECT,
    AnsweredEvent,
    Said,
    answer_id,
    answer_to,
    read_answer,
    tagged_by_reviewer,
    write_answer,
)
from tagstream.stream.contract.event import ContentEvent, Record
from tagstream.stream.contract.outcome import ReviewerDecision
from tagstream.stream.contract.published import ModelDecision, PublishedDecision, read_decision
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
from tests.fakes import raw

NOW_MS = 1_700_000_000_000
# An ordinary event, one with a hidden character, one with fields of our names, an envelope, and an integer id.
EVENTS = (
    b'{"id":"e-1","title":"Sentiment of image captions","n":1.10}',
    b'{"id":"e-2","title":"Deploy\\u200b a model"}',
    b'{"id":"e-3","title":"Detection","tags":["mine"],"version":"2","reviewer":1,"before":null,"overridden":[]}',
    b'{"specversion":"1.0","id":"c-1","source":"/blog","type":"t","data":{"title":"Feature stores"}}',
    b'{"id":6,"title":"Translation"}',
    b'{"title":"Without an id"}',
)


def settings_of(kind: str, tiny: Path, multilabel: Path) -> Settings:
    """Settings of this kind of decider; a person is asked about no event of a bundle, or about all."""
    folder = multilabel if kind == "multilabel" else tiny
    if kind == "rules":
        return Settings(decider="rules")
    return Settings(bundle=folder, confidence_threshold=1.0 if kind == "unsure" else 0.0)


@pytest.mark.parametrize("kind", ["sure", "unsure", "multilabel", "rules"])
@pytest.mark.parametrize("value", EVENTS, ids=["ordinary", "hidden", "names", "envelope", "integer", "no id"])
def test_a_decision_is_answered_and_published_again(
    kind: str, value: bytes, tiny_bundle_folder: Path, tiny_multilabel: Bundle
) -> None:
    """Every label and `off_subject` can be the answer, and the event stays what the worker had read, field by field."""
    pipeline = pipeline_of(settings_of(kind, tiny_bundle_folder, tiny_multilabel.path))
    (made,) = pipeline.publications([raw(value, headers=(("traceparent", b"1"),))])
    shown = read_decision(Record(key=made.key, value=made.value, headers=made.headers))
    assert isinstance(shown, PublishedDecision), shown
    assert isinstance(shown.decision, ModelDecision)
    event = made.outcome.event  # type: ignore[union-attr]
    assert isinstance(event, ContentEvent)
    assert same_fields(shown.event, event)

    for tag in (*shown.decision.probabilities, OFF_SUBJECT):
        given = answer_to(shown, Said(tag=tag, reviewer="ann", blind=True, asked_by="audit"), now_ms=NOW_MS)
        written = Record(topic="reviewed", key=made.key, value=write_answer(shown.event.fields, given), headers=made.headers)
        answered = read_answer(written)
        assert isinstance(answered, AnsweredEvent), answered
        assert answered.answer == given
        key, published, headers, _ = tagged_by_reviewer(answered, NOW_MS)
        back = read_decision(Record(key=key, value=published, headers=headers))
        assert isinstance(back, PublishedDecision), back
        assert isinstance(back.decision, ReviewerDecision)
        assert same_fields(back.event, event)
        assert (key, headers) == (made.key, made.headers)
        assert (back.decision.tag, back.decision.model_tag) == (tag, shown.decision.tag)
        assert (back.decision.prediction_id, back.decision.supersedes) == (answer_id(given), shown.decision.prediction_id)
        assert ("tags" in json.loads(published)) == (b'"tags"' in value and not shown.decision.tags)


def same_fields(one: ContentEvent, two: ContentEvent) -> bool:
    """Have both events the same id and the same fields, byte for byte?"""
    return one.id == two.id and {name: bytes(raw_) for name, raw_ in one.fields.items()} == {
        name: bytes(raw_) for name, raw_ in two.fields.items()
    }
