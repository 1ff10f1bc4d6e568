"""The simpler rivals: rules that can be followed by hand, and TF-IDF that learns what it was shown."""

import pytest

from model_export import baselines
from model_export.data import LABELS, Row


@pytest.mark.parametrize(
    ("text", "label", "confidence"),
    [
        ("Segmentation of images", "computer-vision", 1.0),
        ("Sentiment of tweets about images", "natural-language-processing", 0.6667),
        ("Monitoring drift in production", "mlops", 1.0),
        ("Reimagining contexts", "other", 1.0),
        ("", "other", 1.0),
    ],
)
def test_rules_count_whole_words(text: str, label: str, confidence: float) -> None:
    """The label with most words wins, its share is the confidence; part of a word is no word."""
    (found,) = baselines.rules()([text])
    assert (found.label, found.confidence) == (label, confidence)


def test_every_label_has_rules() -> None:
    """One that had none would never be said of a text with words in it."""
    assert {baselines.rules()([word])[0].label for word in ("mlops", "nlp", "image", "speech")} == set(LABELS)


def test_tfidf_learns_what_it_was_shown() -> None:
    """Words that stood under one label only decide for it, and the shares are a distribution."""
    train = [
        Row(text=f"{word} number {n}", tag=tag, source="corpus", topic=f"{word}{n}")
        for word, tag in (("cats", "computer-vision"), ("verbs", "natural-language-processing"))
        for n in range(20)
    ]
    train += [
        Row(text=f"{tag} {n} {n}", tag=tag, source="corpus", topic=f"{tag}{n}") for tag in ("mlops", "other") for n in range(9)
    ]
    found = baselines.tfidf(train)(["about cats", "about verbs"])
    assert [prediction.label for prediction in found] == ["computer-vision", "natural-language-processing"]
    assert sum(found[0].probabilities.values()) == pytest.approx(1.0, abs=1e-3)
