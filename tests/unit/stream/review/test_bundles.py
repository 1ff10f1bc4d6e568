"""What is known of bundles: found by digest in two places, asked for once, and never by a name that a decision made up."""

from pathlib import Path

import msgspec
import pytest

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.depot import Depot, DepotError
from tagstream.model_export.bundle.manifest import Manifest
from tagstream.stream.review.bundles import AGAIN_SECONDS, Bundles

UNKNOWN = "0" * 64


class CountingDepot(Depot):
    """A folder of bundles that remembers which it was asked for, and may be away."""

    def __init__(self, folder: Path) -> None:
        """An empty one."""
        super().__init__(str(folder), cache=folder / "cache", cache_bytes=1, seconds=20)
        self.asked: list[str] = []
        self.away = False

    def manifest(self, digest: str) -> Manifest:
        """As of a depot."""
        self.asked.append(digest)
        if self.away:
            msg = "it does not answer"
            raise DepotError(msg)
        return super().manifest(digest)


@pytest.fixture
def depot(tmp_path: Path) -> CountingDepot:
    """Of this test."""
    return CountingDepot(tmp_path / "bundles")


def with_thresholds(tiny: Bundle, folder: Path, confidence: float) -> Bundle:
    """The bundle of another night."""
    threshold = msgspec.structs.replace(tiny.manifest.threshold, confidence=confidence)
    manifest = msgspec.structs.replace(tiny.manifest, threshold=threshold)
    return bundles.write(folder / str(confidence), manifest=manifest, model=tiny.model, tokenizer=tiny.tokenizer)


def test_bundles_of_both_places_have_one_judgement(tiny_bundle: Bundle, depot: CountingDepot, tmp_path: Path) -> None:
    """That of the settings is not asked of the depot; one that was found is not asked for again."""
    night = with_thresholds(tiny_bundle, tmp_path, 0.99)
    depot.write(night.path)
    known = Bundles(tiny_bundle.path, depot)
    for _ in range(2):
        found = known.known([tiny_bundle.digest, night.digest])
        assert {found[one.digest].judgement for one in (tiny_bundle, night)} == {tiny_bundle.manifest.judgement}
    assert depot.asked == [night.digest]


def test_a_bundle_of_labels_in_words_says_how_far_it_is(tiny_bundle: Bundle, depot: CountingDepot, tmp_path: Path) -> None:
    """The console and `tagstream quality` show what answers certify of it; another bundle has no such table."""
    words = {"labels": {"said": {one: {"about": f"about {one}"} for one in tiny_bundle.manifest.labels}, "sha256": {}}}
    begun = msgspec.structs.replace(tiny_bundle.manifest, training=words)
    cold = bundles.write(tmp_path / "cold", manifest=begun, model=tiny_bundle.model, tokenizer=tiny_bundle.tokenizer)
    found = Bundles(cold.path, depot).known([cold.digest])[cold.digest].progress
    assert found is not None
    assert (found.title, [cells[1] for cells in found.rows]) == ("tiny 1: what the answers certify", ["0"] * len(found.rows))
    assert Bundles(tiny_bundle.path, depot).known([tiny_bundle.digest])[tiny_bundle.digest].progress is None


def test_what_was_not_found_is_asked_for_after_a_while(tiny_bundle: Bundle, depot: CountingDepot, tmp_path: Path) -> None:
    """A bundle may come; until then a look costs nothing."""
    now = 0.0
    known = Bundles(tmp_path / "none", depot, clock=lambda: now)
    assert known.known([tiny_bundle.digest]) == known.known([tiny_bundle.digest]) == {}
    assert depot.asked == [tiny_bundle.digest]
    depot.write(tiny_bundle.path)
    now = AGAIN_SECONDS + 1
    assert known.known([tiny_bundle.digest]).keys() == {tiny_bundle.digest}


def test_a_place_that_is_away_is_waited_for_once(depot: CountingDepot, tmp_path: Path) -> None:
    """Thirty bundles of a month do not cost thirty waits."""
    depot.away = True
    known = Bundles(tmp_path / "none", depot)
    assert known.known(f"{number:064}" for number in range(30)) == {}
    assert len(depot.asked) == 1


@pytest.mark.parametrize("forged", ["../../etc", "", "D" * 64, UNKNOWN + "/..", "0" * 65])
def test_what_is_no_digest_is_asked_of_nobody(depot: CountingDepot, tmp_path: Path, forged: str) -> None:
    """A decision says whatever its writer wants."""
    assert Bundles(tmp_path / "none", depot).known([forged]) == {}
    assert depot.asked == []
