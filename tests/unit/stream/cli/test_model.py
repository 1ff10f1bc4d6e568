"""`tagstream model`: the folders of a training, training without Made With ML's rows, and rules."""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.invariance import ParityError
from tagstream.model_export.bundle.manifest import PRECISION
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.bundle.rules import RulesError
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.compare import evaluation
from tagstream.model_export.data import madewithml
from tagstream.model_export.make import steps
from tagstream.model_export.make.recipe import BundleRecipe
from tagstream.model_export.make.shipped_training import ShippedTraining
from tagstream.stream.cli import model
from tagstream.stream.cli.models import needs, remake, train
from tagstream.stream.cli.models.bundle_verbs import inspect as inspect_bundle
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console
from tests.foreign import bundles as foreign


def test_the_default_promise_is_that_of_the_default_bundle() -> None:
    """The default of --precision is the precision of the shipped bundle."""
    for verb in (train.train, remake.export, remake.calibrate):
        assert inspect.signature(verb).parameters["precision"].default == PRECISION


def test_without_made_with_ml_training_goes_on_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone with no network trains on the corpus alone; the reason is printed."""
    said: list[str] = []

    def unreachable() -> Path:
        msg = "cannot be fetched"
        raise madewithml.DataError(msg)

    monkeypatch.setattr(madewithml, "download", unreachable)
    monkeypatch.setattr(console, "talk", said.append)
    assert needs.data_folder_if_any(Settings()) is None
    assert said == ["cannot be fetched"]


def test_all_puts_network_and_rivals_beside_the_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One command: the bundle, its network, and a report on all of them."""
    asked: dict[str, Any] = {}

    class ReachedError(Exception):
        """The measuring began; other tests cover it."""

    def make(folder: Path, of: BundleRecipe, _: object) -> SimpleNamespace:
        assert isinstance(of.network, ShippedTraining)
        asked.update(folder=folder, checkpoint=of.network.checkpoint, promise=of.promise)
        return SimpleNamespace(as_text=lambda: "made")

    def evaluate(folder: Path, **options: object) -> None:
        asked.update(options, measured=folder)
        raise ReachedError

    monkeypatch.setattr(steps, "make", make)
    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    result = CliRunner().invoke(model.app, ["train", str(tmp_path), "--all", "--corpus-only", "--precision", "0.9"])
    assert isinstance(result.exception, ReachedError), result.output
    assert (asked["folder"], asked["measured"], asked["baselines"]) == (tmp_path / "bundle", tmp_path / "bundle", True)
    assert (asked["checkpoint"], asked["promise"]) == (tmp_path / "network.safetensors", Promise(precision=0.9))
    assert [(named.name, named.path.name) for named in asked["checkpoints"]] == [
        ("network fp32", "network.safetensors"),
    ]
    assert [named.path for named in asked["against"]] == [bundle.DEFAULT_BUNDLE]


@pytest.mark.parametrize("why", [ParityError("another network."), CalibrationError("no promise.")])
@pytest.mark.parametrize("refused", [True, False])
def test_the_network_of_a_refused_bundle_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: Exception, *, refused: bool
) -> None:
    """Training took an hour: the message says where the network is, and a bundle that is made leaves no network behind."""

    def make(_: Path, of: BundleRecipe, __: object) -> SimpleNamespace:
        assert isinstance(of.network, ShippedTraining)
        kept = of.network.checkpoint
        assert kept is not None
        kept.write_bytes(b"a network")
        if refused:
            raise why
        return SimpleNamespace(as_text=lambda: "made")

    monkeypatch.setattr(steps, "make", make)
    result = CliRunner().invoke(model.app, ["train", str(tmp_path / "bundle"), "--corpus-only"])
    kept = [path.name for path in sorted(tmp_path.iterdir())]
    if refused:
        assert type(result.exception) is type(why)
        assert f"The trained network is in {tmp_path / 'bundle-refused.safetensors'}, for `tagstream model export`." in str(
            result.exception
        )
        assert kept == ["bundle-refused.safetensors"]
    else:
        assert (result.exit_code, kept) == (0, [])


def test_rules_are_drafted_filled_in_and_checked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With --draft-rules `inspect` prints a file for the bundle's labels; what it prints passes its own check."""
    folder = foreign.write(tmp_path / "bundle").path
    inspect_bundle(folder, draft_rules=True)
    file = tmp_path / "rules.toml"
    file.write_text(capfd.readouterr().out)
    inspect_bundle(folder, file=file)
    shown = capfd.readouterr()
    assert "for the 7 labels of" in shown.out
    assert "no words, so never guessed but as `otherwise`: access, billing, bug" in shown.err
    with pytest.raises(RulesError, match="which the bundle"):
        inspect_bundle(file=file, json=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--quick"], "--quick is for a file of your own rows"),
        (["--data", "rows.csv", "--corpus-only"], "--corpus-only is for the shipped model"),
        (["--data", "rows.csv", "--quick"], "rows.csv cannot be read"),
        (["--keep-head"], "--keep-head is for the encoder of another bundle"),
        (["--from", "bundle", "--data", "rows.csv"], "so --data FILE does not go with it"),
        (["--from", "bundle", "--corpus-only"], "so --corpus-only does not go with it"),
    ],
)
def test_options_of_the_other_training_and_absent_rows_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    """The sentence names the option or the file, the exit code is 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(model.app, ["train", "out", *arguments])
    assert getattr(result.exception, "exit_code", result.exit_code) == 2
    assert said in f"{result.output} {result.exception}"
    assert list(tmp_path.iterdir()) == []
