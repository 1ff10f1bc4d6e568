"""A bundle may read a long text in several windows: their mean decides, whatever else is in the batch."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.limits import MOST_WINDOWS
from tagstream.model_export.bundle.manifest import parse, render
from tagstream.model_export.bundle.model import Logits, OnnxClassifier

WORDS = ("images", "translation", "deploying", "games", "attention", "walk", "river", "pixels", "notes", "graph")


def reading(bundle: Bundle, windows: int, folder: Path) -> OnnxClassifier:
    """The bundle with so many windows."""
    manifest = msgspec.structs.replace(bundle.manifest, windows=windows)
    made = bundles.write(folder / f"of-{windows}", manifest=manifest, model=bundle.model, tokenizer=bundle.tokenizer)
    return OnnxClassifier(made)


@pytest.fixture(scope="module")
def readers(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[int, OnnxClassifier]:
    """The tiny bundle by its number of windows."""
    folder = tmp_path_factory.mktemp("windows")
    return {windows: reading(tiny_bundle, windows, folder) for windows in (1, 2, 3)}


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=400).map(" ".join)


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(texts, min_size=1, max_size=6), windows=st.sampled_from([2, 3]))
def test_the_mean_of_the_windows_decides_alone_or_in_a_batch(
    readers: dict[int, OnnxClassifier], batch: list[str], windows: int
) -> None:
    """The logits are those of the windows, each asked alone; a text that fits into one is decided as without windows."""
    classifier, plain = readers[windows], readers[1]
    together = classifier.classify(batch)
    assert together == [classifier.classify([text])[0] for text in batch]
    for text, found in zip(batch, together, strict=True):
        encoding = classifier._tokenizer.encode(text)
        parts = [encoding, *encoding.overflowing][:windows]
        logits: list[Logits] = []
        classifier.classify([text], logits=logits)
        alone = np.array([plain._session.run(["logits"], plain._inputs([part.ids]))[0][0] for part in parts], dtype=np.float64)
        assert logits[0].tolist() == alone.mean(axis=0).astype(np.float32).tolist()
        assert found.tokens == sum(len(part.ids) for part in parts)
        assert found.truncated == (len(encoding.overflowing) >= len(parts))
        if not encoding.overflowing:
            assert found == plain.classify([text])[0]


def test_what_stands_behind_the_beginning_counts(readers: dict[int, OnnxClassifier], tiny_bundle: Bundle) -> None:
    """Of a text whose second half is about something else, one window sees nothing and two do; neither has read it whole."""
    half = " ".join(["images"] * tiny_bundle.manifest.max_length)
    text = f"{half} {' '.join(['translation'] * 4 * tiny_bundle.manifest.max_length)}"
    one, two = (readers[windows].classify([text])[0] for windows in (1, 2))
    assert one.probabilities == readers[1].classify([half])[0].probabilities
    assert two.probabilities != one.probabilities
    assert one.truncated
    assert two.truncated


def test_windows_are_in_the_manifest_where_there_are_several(tiny_bundle: Bundle) -> None:
    """A bundle without them keeps its bytes; with them it is another judgement; too many are refused."""
    assert b"windows" not in render(tiny_bundle.manifest)
    several = msgspec.structs.replace(tiny_bundle.manifest, windows=4)
    assert parse(render(several)).windows == 4
    assert several.judgement != tiny_bundle.manifest.judgement
    for windows in (0, MOST_WINDOWS + 1):
        with pytest.raises(ValueError, match=f"windows must be 1 to {MOST_WINDOWS}"):
            parse(render(msgspec.structs.replace(tiny_bundle.manifest, windows=windows)))
