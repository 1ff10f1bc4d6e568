"""The shipped bundle on texts unlike its training texts: languages that it cannot read, and code."""

import json

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, MANIFEST
from tagstream.model_export.bundle.model import limits_in
from tagstream.model_export.bundle.text import known_words, unfamiliar_share
from tagstream.model_export.data.corpus import CORPUS, NOT_ML, read_corpus
from tagstream.model_export.data.splits import part_of_topic
from tagstream.model_export.measure.foreign import read_foreign
from tagstream.monitoring.vocabulary import ReviewReason
from tagstream.stream.contract.outcome import NeedsReview, Outcome, Tagged
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.demo.shifts import LANGUAGES
from tagstream.stream.settings.settings import Settings
from tests.fakes import raw

OTHER_LANGUAGES = ("latin-script", "other-scripts", "ml-in-another-language")
REFERENCE = json.loads((DEFAULT_BUNDLE / MANIFEST).read_bytes())["reference"]
KNOWN = frozenset(REFERENCE["known_words"])


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """The pipeline of a worker without settings."""
    return pipeline_of(Settings())


def decide(pipeline: Pipeline, texts: list[str]) -> list[Outcome]:
    """The outcome of each text as a title."""
    return pipeline.decide([raw(json.dumps({"id": str(n), "title": text}).encode()) for n, text in enumerate(texts)])


@pytest.mark.parametrize("kind", OTHER_LANGUAGES)
def test_a_text_in_another_language_goes_to_a_person(pipeline: Pipeline, kind: str) -> None:
    """The network is sure of some of these texts; each goes to review as out of distribution, about machine learning or not."""
    texts = [one.text for one in read_foreign() if (one.kind, one.half) == (kind, "measured")]
    assert len(texts) > 30
    for text, outcome in zip(texts, decide(pipeline, texts), strict=True):
        assert isinstance(outcome, NeedsReview), text
        assert ReviewReason.OUT_OF_DISTRIBUTION in outcome.decision.reasons, text


def test_a_drift_of_language_is_not_published(pipeline: Pipeline) -> None:
    """The demo's texts in other languages, a French museum notice among them, all go to people."""
    texts = [row.text for row in read_corpus(CORPUS) if row.tag == NOT_ML and row.topic in LANGUAGES]
    assert len(texts) > 50
    assert [text for text, found in zip(texts, decide(pipeline, texts), strict=True) if isinstance(found, Tagged)] == []


def test_code_is_hardly_ever_published(pipeline: Pipeline) -> None:
    """At most four of 32 pieces of code are tagged; with the energy alone it was twelve."""
    texts = [one.text for one in read_foreign() if (one.kind, one.half) == ("code", "measured")]
    assert sum(isinstance(outcome, Tagged) for outcome in decide(pipeline, texts)) <= 4


def test_an_unusual_text_is_unusual_in_any_batch(pipeline: Pipeline) -> None:
    """A text gets the same decision alone and in a batch, so a redelivered event repeats its own."""
    texts = [one.text for one in read_foreign()][::10]
    together = decide(pipeline, texts)
    for number, text in enumerate(texts):
        alone = pipeline.decide([raw(json.dumps({"id": str(number), "title": text}).encode())])[0]
        assert alone == together[number]


def test_the_limit_costs_at_most_one_ordinary_text_in_a_hundred() -> None:
    """Of the corpus rows of topics that no bundle has learned from, at most 1 % have too many unfamiliar words."""
    rows = [row for row in read_corpus(CORPUS) if row.tag != NOT_ML and part_of_topic(row.topic) == "corpus_test"]
    limit = limits_in(REFERENCE).unfamiliar
    assert limit is not None
    assert sum(unfamiliar_share(row.text, KNOWN) > limit for row in rows) <= len(rows) / 100


def test_the_known_words_are_those_of_the_training_texts() -> None:
    """The list is cut as events are: nearly all words of the corpus are in it, and real titles add no more than as many again."""
    rows = [row for row in read_corpus(CORPUS) if row.tag != NOT_ML and part_of_topic(row.topic) == "train"]
    learned = set(known_words(row.text for row in rows))
    assert len(learned - KNOWN) <= len(learned) / 100
    assert len(KNOWN & learned) >= 0.5 * len(KNOWN)
