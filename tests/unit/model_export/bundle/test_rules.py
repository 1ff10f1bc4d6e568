"""The keyword rules count whole words, never reach certainty, and have a digest."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.bundle.bundle import DEFAULT_BUNDLE, read
from model_export.bundle.rules import RULES, RulesClassifier
from model_export.data.madewithml import LABELS

CLASSIFIER = RulesClassifier()


@pytest.mark.parametrize(
    ("text", "label", "confidence"),
    [
        ("Segmentation of images", "computer-vision", 0.5),
        ("Sentiment of tweets about images", "natural-language-processing", 0.4286),
        ("Monitoring drift in production", "mlops", 0.5714),
        ("Image of a deployment", "mlops", 0.3333),
        ("Reimagining contexts", "other", 0.25),
        ("", "other", 0.25),
    ],
)
def test_rules_count_whole_words(text: str, label: str, confidence: float) -> None:
    """The label with the most whole words wins, a tie goes to the first in the file, and its share is the confidence."""
    (found,) = CLASSIFIER.classify([text])
    assert (found.label, found.confidence) == (label, confidence)


def test_every_label_has_rules() -> None:
    """Every label has keywords; otherwise the rules could never predict it."""
    assert {found.label for found in CLASSIFIER.classify(["mlops", "nlp", "image", "speech"])} == set(LABELS)


def test_the_labels_are_the_bundles_in_its_order() -> None:
    """Rules and bundle list the labels in one order, so reviewers see the probabilities in the same order."""
    assert CLASSIFIER.labels == LABELS == read(DEFAULT_BUNDLE).manifest.labels


@given(st.lists(st.sampled_from([*RULES.read_text(encoding="utf-8").split('"')[1::2], "maybe"])).map(" ".join))
def test_no_number_of_words_makes_the_rules_certain(text: str) -> None:
    """The confidence stays below 1, and so below the threshold of 1 that is published with it."""
    assert CLASSIFIER.classify([text])[0].confidence < 1


def test_the_digest_is_of_the_file_and_belongs_to_one_version() -> None:
    """A change of the rules needs a new version, since prediction ids contain the digest; both are fixed here."""
    assert hashlib.sha256(RULES.read_bytes()).hexdigest() == CLASSIFIER.digest
    assert (CLASSIFIER.version, CLASSIFIER.digest[:16]) == ("2", "3ab9abcc9698a369")
