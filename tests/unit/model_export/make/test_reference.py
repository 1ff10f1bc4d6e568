"""The reference of ordinary traffic: figures that can be counted by hand, with the edges of the live histograms."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.bundle.manifest import Reference
from tagstream.model_export.bundle.model import Prediction
from tagstream.model_export.make import reference
from tagstream.monitoring.signals import DISTRIBUTIONS

LABELS = ("one", "two", "three")


def predicted(
    label: str = "one", confidence: float = 0.9, *, energy: float = -1.0, tokens: int = 5, unfamiliar: float = 0.0
) -> Prediction:
    """A prediction of `label`."""
    rest = (1 - confidence) / 2
    return Prediction(
        label=label,
        confidence=confidence,
        probabilities={name: confidence if name == label else rest for name in LABELS},
        energy=energy,
        tokens=tokens,
        truncated=tokens > 100,
        unfamiliar=unfamiliar,
    )


def described(predictions: list[Prediction], texts: list[str] | None = None, flags: list[bool] | None = None) -> dict[str, Any]:
    """The reference of rows that differ in the given fields alone."""
    return reference.describe(
        predictions, LABELS, texts=texts or ["some text here"] * len(predictions), described=flags or [True] * len(predictions)
    )


def test_labels_and_confidences_are_counted() -> None:
    """Shares of labels, those that never came included, and of confidences at most each edge."""
    found = described([predicted("one", 0.4), predicted("two", 0.9)])
    assert found["rows"] == 2
    assert found["label_ratio"] == {"one": 0.5, "two": 0.5, "three": 0.0}
    cdf = found["confidence_cdf"]
    assert (cdf["0.3"], cdf["0.4"], cdf["0.9"], cdf["1.0"]) == (0.0, 0.5, 1.0, 1.0)


def test_every_distribution_has_the_edges_of_the_live_histogram() -> None:
    """Reference and live histogram have the same edges, or they could not be compared."""
    found = described([predicted()])
    for signal, counted in DISTRIBUTIONS.items():
        assert list(found[signal.cdf]) == [str(edge) for edge in counted.edges]


def test_tokens_are_counted_as_read_and_by_the_word() -> None:
    """Special tokens count as tokens of a text, but not in tokens per word."""
    found = described([predicted(tokens=5), predicted(tokens=101)], ["three words here", "two words"])
    assert (found["tokens_cdf"]["4.0"], found["tokens_cdf"]["8.0"], found["tokens_cdf"]["128.0"]) == (0.0, 0.5, 1.0)
    assert (found["tokens_per_word_cdf"]["1.0"], found["tokens_per_word_cdf"]["8.0"]) == (0.5, 0.5)
    assert found["truncated_ratio"] == 0.5


@given(st.lists(st.integers(-80_000, 20_000).map(lambda parts: parts / 10_000), min_size=1, max_size=300))
def test_hardly_any_ordinary_text_is_out_of_distribution(energies: list[float]) -> None:
    """`ood_energy` is the 0.995 quantile, and `ood_ratio` is what a decider would say of the very same rows."""
    found = described([predicted(energy=energy) for energy in energies])
    assert found["ood_energy"] == found["energy_quantiles"]["0.995"] == round(float(np.quantile(energies, 0.995)), 4)
    assert found["ood_ratio"] == pytest.approx(
        sum(energy > found["ood_energy"] for energy in energies) / len(energies), abs=1e-6
    )
    assert found["ood_ratio"] * len(energies) <= 0.005 * len(energies) + 1


@given(st.lists(st.integers(0, 10_000).map(lambda parts: parts / 10_000), min_size=1, max_size=300))
def test_hardly_any_ordinary_text_is_strange_by_its_words(shares: list[float]) -> None:
    """`ood_unfamiliar` is the 0.995 quantile too; texts above either limit make up `ood_ratio`."""
    rows = [predicted(unfamiliar=share) for share in shares]
    found = reference.describe(rows, LABELS, texts=["a"] * len(rows), described=[True] * len(rows), known_words=["a"])
    assert found["ood_unfamiliar"] == round(float(np.quantile(shares, 0.995)), 4)
    assert found["ood_ratio"] == pytest.approx(sum(share > found["ood_unfamiliar"] for share in shares) / len(rows), abs=1e-6)


def test_without_known_words_there_is_no_limit_on_unfamiliar_ones() -> None:
    """A bundle made without training texts says nothing about words."""
    assert not described([predicted(unfamiliar=0.5)]).keys() & {"known_words", "ood_unfamiliar"}


def test_titles_alone_are_counted() -> None:
    """Of four rows one has no description."""
    assert described([predicted()] * 4, flags=[True, False, True, True])["without_description_ratio"] == 0.25


def test_words_are_those_of_two_rows_or_more() -> None:
    """A row counts once however often it says a word, and a word of one row is nobody's business."""
    found = described([predicted()] * 3, ["Graphs, graphs GRAPHS", "graphs of secret", "a graph of B2"])
    assert found["words"] == {"graphs": 2, "of": 2}


def test_the_reference_has_the_shape_that_a_bundle_must_have() -> None:
    """The figures written here are those that `bundle.read` accepts, one by one."""
    rows, known = [predicted()] * 2, ["some", "text"]
    limits = reference.limits_of(rows, known_words=known, strangeness=1.5)
    found = reference.describe(rows, LABELS, texts=["some text"] * 2, described=[True, False], limits=limits, known_words=known)
    assert found["ood_strangeness"] == 1.5
    shape = msgspec.convert(found, type=Reference)
    assert all(getattr(shape, name) is not None for name in Reference.__struct_fields__)


def test_a_reference_of_nothing_is_an_error() -> None:
    """An empty reference would make every stream look changed."""
    with pytest.raises(ValueError, match="needs predictions"):
        described([])


@pytest.mark.parametrize(("texts", "flags"), [(["one"], [True, True]), (["one", "two"], [True])])
def test_a_text_too_few_is_an_error(texts: list[str], flags: list[bool]) -> None:
    """Half a reference is none."""
    with pytest.raises(ValueError, match="one text a prediction"):
        described([predicted()] * 2, texts, flags)
