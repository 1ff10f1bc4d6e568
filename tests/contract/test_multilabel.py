"""The option `multilabel` of a bundle: a bundle without it is unchanged, and one that contradicts itself is refused."""

from pathlib import Path

import msgspec
import pytest

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import Bundle, BundleError
from tagstream.model_export.bundle.manifest import MANIFEST, render
from tagstream.model_export.bundle.model import OnnxClassifier


def refused(given: Bundle, folder: Path) -> None:
    """Check that the bundle is refused when it is loaded."""
    with pytest.raises(BundleError, match=r"by the manifest it would be .*Next: export it again"):
        OnnxClassifier(bundle.write(folder, manifest=given.manifest, model=given.model, tokenizer=given.tokenizer))


def test_a_bundle_without_the_option_does_not_mention_it(tiny_bundle_folder: Path) -> None:
    """The manifest of a bundle without the option is unchanged to the byte."""
    raw_manifest = (tiny_bundle_folder / MANIFEST).read_bytes()
    assert b"multilabel" not in raw_manifest
    assert render(bundle.read(tiny_bundle_folder).manifest) == raw_manifest


def test_a_network_that_disagrees_with_its_manifest_about_the_option_is_refused(
    tiny_multilabel: Bundle, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """A bundle with the option in only one of network and manifest is refused."""
    silent = msgspec.structs.replace(
        tiny_multilabel, manifest=msgspec.structs.replace(tiny_multilabel.manifest, multilabel=None)
    )
    refused(silent, tmp_path / "manifest is silent")
    refused(msgspec.structs.replace(tiny_multilabel, model=tiny_bundle.model), tmp_path / "network is silent")


def test_a_machine_that_moves_a_label_score_is_refused(tiny_multilabel: Bundle, tmp_path: Path) -> None:
    """The golden texts check the second head as they check the first."""
    option = tiny_multilabel.manifest.multilabel
    assert option is not None
    moved = msgspec.structs.replace(option, golden=tuple(tuple(score / 2 for score in row) for row in option.golden))
    manifest = msgspec.structs.replace(tiny_multilabel.manifest, multilabel=moved)
    made = bundle.write(tmp_path, manifest=manifest, model=tiny_multilabel.model, tokenizer=tiny_multilabel.tokenizer)
    with pytest.raises(BundleError, match="golden text"):
        OnnxClassifier(made)
