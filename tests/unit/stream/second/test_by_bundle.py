"""Opinions of a larger bundle, by the classifier of the stream; the keyword classifier of the tests stands for the network."""

from collections.abc import Sequence

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.bundle.model import OodLimits, Prediction
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.contract.second_opinions import SecondBundle, write_opinion
from tagstream.stream.decide.from_settings import load_decider
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.second.adviser import SecondError
from tagstream.stream.second.by_bundle import BundleAdviser
from tests.answering import UNSURE, decided, shown
from tests.fakes import deciding
from tests.replacing import replace

ITEM = shown(decided(UNSURE))
LARGER = ModelRef(name="larger", version="2", digest="a" * 64)
DECIDER = deciding(model=LARGER)


class Raises:
    """A network that fails."""

    labels = DECIDER.labels

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Fail."""
        raise RuntimeError(len(texts))


def adviser(decider: Decider = DECIDER) -> BundleAdviser:
    """The adviser of this bundle."""
    return BundleAdviser(decider, DECIDER.labels, first="d" * 64, clock=lambda: 1_700_000_000.0)


def test_a_bundle_gives_its_label_and_probability() -> None:
    """With its name, and without a field that left."""
    opinion = adviser().ask(ITEM)
    [expected] = DECIDER.classifier.classify([ITEM.event.title])
    assert (opinion.label, opinion.score, opinion.reason) == (expected.label, expected.confidence, None)
    assert opinion.bundle == SecondBundle(name="larger", version="2", digest="a" * 64)
    assert (opinion.sent, opinion.calls, opinion.decided_at) == ((), 0, "2023-11-14T22:13:20.000Z")
    write_opinion(opinion)


@pytest.mark.parametrize(
    ("decider", "value", "reason"),
    [
        (replace(DECIDER, ood=OodLimits(energy=-1e9)), UNSURE, "unsure"),
        (DECIDER, '{"id":"e-4","title":"deploy\u200bment of a model"}'.encode(), "unsure"),
        (replace(DECIDER, classifier=Raises()), UNSURE, "down"),
    ],
)
def test_what_a_bundle_does_not_rely_on_is_a_reason(decider: Decider, value: bytes, reason: str) -> None:
    """A text unlike its own, hidden characters, a network that raises."""
    opinion = adviser(decider).ask(shown(decided(value)))
    assert (opinion.label, opinion.score, opinion.reason) == (None, None, reason)
    write_opinion(opinion)


def test_other_labels_and_the_same_bundle_are_refused() -> None:
    """A second of other labels could not be compared, and one that is the first agrees with itself."""
    with pytest.raises(SecondError, match="other labels than the bundle that decides: cooking"):
        BundleAdviser(DECIDER, [*DECIDER.labels, "cooking"], first="d" * 64)
    with pytest.raises(SecondError, match="agree with itself"):
        BundleAdviser(DECIDER, DECIDER.labels, first="a" * 64)


def test_the_shipped_bundle_can_be_a_second() -> None:
    """Its real network gives the label that the stream would have."""
    decider = load_decider(read(DEFAULT_BUNDLE), threshold=None)
    found = BundleAdviser(decider, decider.labels, first="d" * 64)
    opinion = found.ask(shown(decided(b'{"id":"e-5","title":"maybe a deployment of Kubernetes clusters for model serving"}')))
    assert (opinion.label, opinion.reason) in {("mlops", None), (None, "unsure")}
