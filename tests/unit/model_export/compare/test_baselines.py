"""The simpler rivals: TF-IDF learns the labels of its training rows. The rules have a file of their own."""

import pytest

from tagstream.model_export.compare import baselines
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.data.row import Row


def test_tfidf_learns_what_it_was_shown() -> None:
    """Words that occur under one label decide for it, and the probabilities add up to one."""
    train = [
        Row(text=f"{word} number {n}", tag=tag, source="corpus", topic=f"{word}{n}")
        for word, tag in (("cats", "computer-vision"), ("verbs", "natural-language-processing"))
        for n in range(20)
    ]
    train += [
        Row(text=f"{tag} {n} {n}", tag=tag, source="corpus", topic=f"{tag}{n}") for tag in ("mlops", "other") for n in range(9)
    ]
    found = baselines.tfidf(train, LABELS)(["about cats", "about verbs"])
    assert [prediction.label for prediction in found] == ["computer-vision", "natural-language-processing"]
    assert sum(found[0].probabilities.values()) == pytest.approx(1.0, abs=1e-3)
