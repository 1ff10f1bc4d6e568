"""`tagstream model start` and `grow`: what is refused before anything is made."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle
from tagstream.model_export.data.own.labels import RECORD
from tagstream.model_export.data.reader import RowsError
from tagstream.stream.cli import main
from tagstream.stream.cli.models import needs
from tests.faults.worker.fleet import ROOT

LABELS = ROOT / "examples" / "tickets" / "labels.toml"


def model(*words: object) -> Result:
    """Run a verb of `tagstream model`."""
    return CliRunner().invoke(main.app, ["model", *map(str, words)])


def refused(found: Result) -> str:
    """The message of an error of rows, with which the command ends with 2."""
    assert isinstance(found.exception, RowsError)
    assert found.exception.exit_code == 2
    return str(found.exception)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Two answers with labels of the tickets."""
    lines = [{"id": "1", "title": "refund please", "tag": "billing"}, {"id": "2", "title": "it crashes", "tag": "bug"}]
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def test_a_file_of_labels_that_says_too_little_is_refused(tmp_path: Path) -> None:
    """With the reason and the next step, and nothing is written."""
    (tmp_path / "labels.toml").write_text('[labels.one]\nabout = "A single one."\n', encoding="utf-8")
    found = model("start", tmp_path / "out", "--labels", tmp_path / "labels.toml")
    assert "it has 1, and a model has 2 to 100 labels. Next: write for each label a table" in refused(found)
    assert not (tmp_path / "out").exists()


def test_texts_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """Before any package of the extra is asked for."""
    found = model("start", tmp_path / "out", "--labels", LABELS, "--texts", tmp_path / "none.csv")
    assert "none.csv cannot be read" in refused(found)


def test_the_multilingual_base_needs_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message names the extra, and nothing is written."""
    monkeypatch.setattr(needs, "MULTILINGUAL_PACKAGE", "not_installed_anywhere")
    found = model("start", tmp_path / "out", "--labels", LABELS, "--base", "multilingual")
    assert isinstance(found.exception, needs.ExtraMissingError)
    assert "--base multilingual needs the package" in str(found.exception)
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_was_made_otherwise_does_not_grow(answers: Path, tmp_path: Path) -> None:
    """The shipped one says in no words what its labels mean."""
    found = model("grow", DEFAULT_BUNDLE, tmp_path / "out", "--answers", answers)
    assert "was not begun by `tagstream model start`. Next: " in refused(found)


def test_a_bundle_does_not_grow_onto_itself(answers: Path, tmp_path: Path) -> None:
    """Its labels are read from it."""
    found = model("grow", tmp_path / "one", tmp_path / "one" / ".." / "one", "--answers", answers)
    assert (found.exit_code, "is the bundle itself. Next: name another folder" in found.stderr) == (2, True)


def test_answers_with_a_label_that_the_words_lack_are_refused(tiny_bundle: Bundle, answers: Path, tmp_path: Path) -> None:
    """The message names line and label."""
    words = {RECORD: {"said": {one: {"about": f"about {one}"} for one in ("billing", "access")}, "sha256": {}}}
    begun = bundles.write(
        tmp_path / "begun",
        manifest=msgspec.structs.replace(tiny_bundle.manifest, training=words),
        model=tiny_bundle.model,
        tokenizer=tiny_bundle.tokenizer,
    )
    found = model("grow", begun.path, tmp_path / "out", "--answers", answers)
    assert "answers.jsonl, line 2: " in refused(found)
    assert "does not have the label 'bug'" in refused(found)
