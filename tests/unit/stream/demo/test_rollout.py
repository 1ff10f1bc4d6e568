"""The bundles of the demo's rollout, and the events that its reviewer can answer."""

import itertools
from pathlib import Path

import pytest

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.data.reader import RowsError
from tagstream.stream.demo import samples
from tagstream.stream.demo.rollout import cast, exchanged
from tagstream.stream.demo.run import answerable
from tagstream.stream.settings.settings import Settings
from tests.data.make_tiny_bundle import LABELS

TEXTS = ("Detecting objects in images", "Translating text", "Serving a model in production", "A walk along the river")


@pytest.mark.parametrize("pair", list(itertools.combinations(LABELS, 2)), ids=" and ".join)
def test_a_bundle_with_two_names_exchanged_decides_alike_but_for_them(
    tiny_bundle: Bundle, tmp_path: Path, pair: tuple[str, str]
) -> None:
    """It passes every check of a bundle; each probability is the one that the label of the other name had."""
    other = bundles.read(exchanged(tiny_bundle, tmp_path / "other", pair, "old"))
    assert other.digest != tiny_bundle.digest
    assert other.manifest.version == f"{tiny_bundle.manifest.version}-old"
    names = dict(zip(pair, reversed(pair), strict=True))
    for before, after in zip(OnnxClassifier(tiny_bundle).classify(TEXTS), OnnxClassifier(other).classify(TEXTS), strict=True):
        assert after.label == names.get(before.label, before.label)
        assert after.probabilities == {names.get(label, label): found for label, found in before.probabilities.items()}


def test_the_two_worse_bundles_of_the_story_are_two(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    """Old, new and worse have digests of their own, and the new one is that of the settings."""
    made = cast(Settings(bundle=tiny_bundle_folder), tmp_path)
    assert made.new == tiny_bundle_folder
    assert len({bundles.read(path).digest for path in (made.old, made.new, made.worse)}) == 3


def test_all_events_of_a_rollout_can_be_answered() -> None:
    """Of the samples those that the corpus labels stay; a file without labels is refused with the next step."""
    events, labels = answerable(samples.load_events(), samples.known_labels())
    assert len(events) > 1_000
    assert all(" ".join(event["title"].split()) in labels for event in events)
    with pytest.raises(RowsError, match="column `tag`"):
        answerable([{"id": "1", "title": "A title"}], {})
