"""The texts that a bundle should not decide alone: what the file holds, and where texts are counted to go."""

from collections import Counter
from pathlib import Path

import pytest

from tagstream.model_export.bundle.model import NO_LIMITS, OodLimits, Prediction
from tagstream.model_export.data.corpus import CORPUS, read_corpus
from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.measure.foreign import Fate, fate, read_foreign

KINDS = {"latin-script", "other-scripts", "ml-in-another-language", "code", "news", "shopping"}


def predicted(confidence: float, unfamiliar: float) -> Prediction:
    """A prediction of `a`."""
    return Prediction(
        label="a", confidence=confidence, probabilities={}, energy=-3.0, tokens=5, truncated=False, unfamiliar=unfamiliar
    )


def test_each_kind_has_texts_to_choose_with_and_to_measure_on() -> None:
    """At least 60 texts a kind, half of them never used to choose a rule, and none twice."""
    texts = read_foreign()
    counts = Counter((one.kind, one.half) for one in texts)
    assert {kind for kind, _ in counts} == KINDS
    assert all(counts[kind, "chosen"] + counts[kind, "measured"] >= 60 and counts[kind, "measured"] >= 30 for kind in KINDS)
    assert len({one.text for one in texts}) == len(texts)


def test_no_text_was_learned_from() -> None:
    """No text of the file is in the corpus, so no network was trained on it."""
    assert not {one.text for one in read_foreign()} & {row.text for row in read_corpus(CORPUS)}


def test_a_text_goes_to_a_person_if_it_is_strange_or_unsure() -> None:
    """Of four texts one is sure and ordinary; without limits the strange and sure one is published too."""
    texts = [predicted(0.9, 0.0), predicted(0.9, 0.6), predicted(0.7, 0.6), predicted(0.7, 0.0)]
    assert fate(texts, thresholds={"a": 0.8}, limits=OodLimits(unfamiliar=0.4)) == Fate(texts=4, strange=2, published=1)
    assert fate(texts, thresholds={"a": 0.8}, limits=NO_LIMITS) == Fate(texts=4, strange=0, published=2)


def test_a_line_that_is_no_text_is_named(tmp_path: Path) -> None:
    """An unknown half names the line."""
    file = tmp_path / "foreign.jsonl"
    file.write_text('{"title": "Gratin", "kind": "news", "group": "french", "half": "third"}\n')
    with pytest.raises(DataError, match=r"foreign\.jsonl:1 .*half"):
        read_foreign(file)
