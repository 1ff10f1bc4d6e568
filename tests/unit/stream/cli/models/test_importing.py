"""`tagstream model import` from the command line: a small ONNX file, from its rows to a bundle that verifies."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import numpy_helper
from typer.testing import CliRunner

from tagstream.model_export.bundle.bundle import read
from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.make import imported_classifier
from tagstream.model_export.onnx import parity
from tagstream.model_export.verify import verify
from tagstream.stream.cli import main
from tests.unit.model_export.onnx.test_classifier_file import LABELS, WORDS, Graph


def import_model(*words: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(main.app, ["model", "import", *map(str, words)])


def rows(path: Path, first: int = 0, many: int = 60, label: str = LABELS[1]) -> Path:
    """A file of rows whose words the network knows."""
    lines = [
        f"{WORDS[1 + number % 2]} {WORDS[3 + number % 2]} {'x' * (number + 1)},{LABELS[0] if number % 2 else label}"
        for number in range(first, first + many)
    ]
    path.write_text("\n".join(["title,tag", *lines]), encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A classifier in ONNX, with its tokenizer and its configuration."""
    (tmp_path / "given").mkdir()
    return Graph().written(tmp_path / "given")


def test_a_file_becomes_a_bundle_that_verifies(model: Path, tmp_path: Path) -> None:
    """It says where the network came from, its form, how right it is beside its own runtime, and what is certified."""
    gold = rows(tmp_path / "gold.csv", 200, 20)
    found = import_model(model, tmp_path / "out", "--calibrate", rows(tmp_path / "rows.csv"), "--gold", gold)
    assert found.exit_code == 0, found.output
    assert f"from {model}, a classifier in ONNX; its network is " in found.output
    assert "60 rows of calibration: right " in found.output
    assert "20 rows of gold: right " in found.output
    assert "whether the model has learned from these rows is not known" in found.output
    assert "verification of the bundle: done" in found.output
    assert "it publishes " in found.output.splitlines()[-2]
    assert found.output.splitlines()[-1].startswith(f"next: tagstream worker --bundle {tmp_path / 'out'}")
    bundle = read(tmp_path / "out")
    assert (bundle.manifest.labels, bundle.manifest.name, bundle.manifest.version) == (LABELS, "out", "1")
    assert verify(bundle.path).labels == LABELS


def test_rows_that_it_has_learned_calibrate_nothing(model: Path, tmp_path: Path) -> None:
    """Repeats of a training row are named and left out, of the gold set too, and the file is in the manifest as learned from."""
    learned = rows(tmp_path / "train.csv", 50, 20)
    calibrate, gold = rows(tmp_path / "rows.csv"), rows(tmp_path / "gold.csv", 60, 40)
    found = import_model(
        model, tmp_path / "out", "--calibrate", calibrate, "--gold", gold, "--trained-on", learned, "--full-precision"
    )
    assert found.exit_code == 0, found.output
    assert "the model has learned from it, or from nearly the same text, so not calibrated on." in found.output
    assert "so not measured on." in found.output
    data = read(tmp_path / "out").manifest.training["data"]
    assert data["rows"]["train"] == 20
    assert data["rows"]["calibration"] <= 50
    assert set(data["sha256"]) == {"rows.csv", "trained-on/train.csv"}


def test_a_bundle_has_the_name_and_the_version_that_are_given(model: Path, tmp_path: Path) -> None:
    """Its decisions carry both; neither is empty or a screen long."""
    words = (model, tmp_path / "out", "--calibrate", rows(tmp_path / "rows.csv"))
    for wrong in ("", "x" * 101, "a\nb"):
        assert import_model(*words, "--version", wrong).exit_code == 2
    found = import_model(*words, "--name", "tickets", "--version", "2026.12")
    assert found.exit_code == 0, found.output
    manifest = read(tmp_path / "out").manifest
    assert (manifest.name, manifest.version) == ("tickets", "2026.12")


def test_labels_in_another_order_than_its_scores_are_noticed(model: Path, tmp_path: Path) -> None:
    """The rows to calibrate on say so: with the labels turned round it is much more often right, so nothing is written."""
    graph = onnx.load_model(model)
    held = {tensor.name: tensor for tensor in graph.graph.initializer}
    vectors = numpy_helper.to_array(held["vectors"])
    # It says the first label of the words 1 and 2, the second of 3 and 4.
    told = np.stack([vectors[1] + vectors[2], vectors[3] + vectors[4]], axis=1)
    held["weights"].CopyFrom(numpy_helper.from_array(told, "weights"))
    onnx.save_model(graph, model)
    lines = [f"{' '.join(WORDS[1 + at % 2 * 2 :][:2])} {'x' * (at + 1)},{LABELS[at % 2]}" for at in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["title,tag", *lines]), encoding="utf-8")
    words = (model, tmp_path / "out", "--calibrate", tmp_path / "rows.csv")
    config = model.with_name("config.json")
    config.write_text(json.dumps({"id2label": {"0": LABELS[1], "1": LABELS[0]}}))
    refused = import_model(*words)
    assert refused.exit_code == 1
    assert "0% are right, and 100% with the labels bug, wish. Next: look at a few rows" in f"{refused.exception}"
    assert not (tmp_path / "out").exists()
    config.write_text(json.dumps({"id2label": dict(enumerate(LABELS))}))
    assert import_model(*words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--labels", "a,,b"], "--labels has an empty name"),
        (["--labels", "a,b,c"], "it has 2 logits, and 3 different names for them"),
        (["--labels", "a,b"], "does not have the label 'bug', 'wish'"),
        (["--labels", "wish,bug"], "the same labels in another order: bug, wish"),
        (["--max-length", "4"], "--max-length"),
    ],
)
def test_a_wrong_option_is_refused_with_the_reason(words: list[str], why: str, model: Path, tmp_path: Path) -> None:
    """Nothing is written, and the sentence says what to give."""
    found = import_model(model, tmp_path / "out", "--calibrate", rows(tmp_path / "rows.csv"), *words)
    assert found.exit_code != 0
    assert why in f"{found.output} {found.exception}"
    assert not (tmp_path / "out").exists()


def test_a_file_of_which_no_row_is_left_is_said(model: Path, tmp_path: Path) -> None:
    """Rows that the model has learned from, or that are gold, calibrate nothing: with no other ones nothing is written."""
    same = rows(tmp_path / "rows.csv")
    for option in ("--trained-on", "--gold"):
        found = import_model(model, tmp_path / "out", "--calibrate", same, option, same)
        assert found.exit_code != 0
        assert "is left to calibrate on" in f"{found.output} {found.exception}"
        assert not (tmp_path / "out").exists()


def test_labels_without_a_row_and_gold_rows_that_it_has_learned_are_said(model: Path, tmp_path: Path) -> None:
    """A label that nothing tests is named, and so is a gold set of which nothing is left; few rows certify nothing, so nothing is published."""
    calibrate = tmp_path / "bugs.csv"
    calibrate.write_text("title,tag\ncrash one,bug\nbroken two,bug\ncrash broken three,bug\n", encoding="utf-8")
    learned = rows(tmp_path / "train.csv", 200, 20)
    found = import_model(model, tmp_path / "out", "--calibrate", calibrate, "--gold", learned, "--trained-on", learned)
    assert found.exit_code == 0, found.output
    assert "no row to calibrate on has the label wish" in found.output
    assert "train.csv is left to measure on" in found.output
    assert set(read(tmp_path / "out").manifest.asked_below().values()) == {ALWAYS_ASK}


@pytest.mark.parametrize("where", [".", "model.onnx"])
def test_the_folder_of_the_model_is_no_place_for_the_bundle(where: str, model: Path, tmp_path: Path) -> None:
    """A bundle's files have the names of a model's, and would replace them."""
    before = model.read_bytes()
    found = import_model(model.parent / where, model.parent, "--calibrate", rows(tmp_path / "rows.csv"))
    assert found.exit_code == 2
    assert "holds the model itself" in f"{found.output} {found.exception}"
    assert model.read_bytes() == before


def test_an_eight_bit_form_that_moves_too_many_rows_is_left(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, the network is kept in full precision, and the manifest has the reason."""
    monkeypatch.setattr(parity, "routing_flips", lambda one, other, **_: 0.0 if np.array_equal(one, other) else 0.2)
    monkeypatch.setattr(imported_classifier, "LEAST_AGREEMENT", 0.0)
    found = import_model(model, tmp_path / "out", "--calibrate", rows(tmp_path / "rows.csv"))
    assert found.exit_code == 0, found.output
    source = read(tmp_path / "out").manifest.training["imported"]
    assert source["form"] == "float32"
    assert "in eight bits it sends 20.0% of the rows to another topic than full precision does, more than 5%" in found.output
    assert any("sends 20.0% of the rows" in reason for reason in source["because"])


def test_rows_with_a_label_that_the_model_lacks_are_named(model: Path, tmp_path: Path) -> None:
    """It could only be wrong there."""
    calibrate = rows(tmp_path / "rows.csv", label="praise")
    found = import_model(model, tmp_path / "out", "--calibrate", calibrate)
    assert found.exit_code != 0
    assert f"{model} does not have the label 'praise'" in f"{found.output} {found.exception}"
