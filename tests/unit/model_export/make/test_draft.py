"""A bundle reaches its folder whole, or not at all."""

from pathlib import Path

import msgspec
import pytest

from tagstream.model_export.bundle.bundle import Bundle, BundleError, read
from tagstream.model_export.make import card
from tagstream.model_export.make.draft import Draft

FILES = ["README.md", "bundle.cdx.json", "bundle.json", "model.onnx", "tokenizer.json"]


def entries(folder: Path) -> list[str]:
    """The names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder_has_the_bundle_and_nothing_is_beside_it(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """The folder of the folder is made too, and what was written on the way is gone."""
    made = Draft.of(tiny_bundle).put(tmp_path / "bundles" / "new")
    assert made.digest == tiny_bundle.digest
    assert (entries(tmp_path / "bundles"), entries(tmp_path / "bundles" / "new")) == (["new"], FILES)


def test_a_bundle_is_replaced_in_its_folder(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory can be the folder, and a file that is none of the bundle's stays."""
    Draft.of(tiny_bundle).put(tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made = Draft.of(tiny_bundle).saying(version="2").put(Path())
    assert (made.manifest.version, made.digest) == ("2", read(tmp_path).digest)
    assert entries(tmp_path) == sorted([*FILES, "notes.txt"])
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in card.files(made.manifest)} == card.files(
        made.manifest
    )


def test_a_readme_that_is_no_card_stays(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A bundle may be made in a folder that somebody describes; its card is left out there, and its list is not."""
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    Draft.of(tiny_bundle).put(tmp_path)
    assert entries(tmp_path) == FILES
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("there", [True, False])
def test_a_bundle_that_does_not_verify_changes_nothing(tiny_bundle: Bundle, tmp_path: Path, *, there: bool) -> None:
    """A golden text with another probability is found before the old bundle is touched."""
    folder = tmp_path / "bundle"
    if there:
        Draft.of(tiny_bundle).put(folder)
    text = tiny_bundle.manifest.golden[0]
    wrong = msgspec.structs.replace(text, probabilities=tuple(reversed(text.probabilities)))
    draft = Draft.of(tiny_bundle).saying(golden=(wrong, *tiny_bundle.manifest.golden[1:]))
    with pytest.raises(BundleError, match="golden text"):
        draft.put(folder)
    assert entries(tmp_path) == (["bundle"] if there else [])
    if there:
        assert read(folder).digest == tiny_bundle.digest
        assert entries(folder) == FILES


def test_a_folder_that_cannot_be_written_is_a_sentence(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A training of hours does not end with a traceback."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match=r"cannot be written to .*file/bundle .* Next: give a folder"):
        Draft.of(tiny_bundle).put(tmp_path / "file" / "bundle")
