"""`tagstream model train`: its folders, and training without Made With ML's rows."""

import inspect
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_export import commands
from model_export.bundle import bundle
from model_export.bundle.manifest import PRECISION
from model_export.bundle.promise.promise import Promise
from model_export.bundle.rules import RulesError
from model_export.data import madewithml
from stream.cli import making, model
from stream.cli.models.rules import rules
from stream.settings.settings import Settings
from stream.terminal import console
from tests.foreign import bundles as foreign


def test_the_default_promise_is_that_of_the_default_bundle() -> None:
    """The default of --precision is the precision of the shipped bundle."""
    for verb in (model.train, model.export, model.refit, model.calibrate):
        assert inspect.signature(verb).parameters["precision"].default == PRECISION


def test_without_made_with_ml_training_goes_on_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone with no network trains on the corpus alone; the reason is printed."""
    said: list[str] = []

    def unreachable() -> Path:
        msg = "cannot be fetched"
        raise madewithml.DataError(msg)

    monkeypatch.setattr(madewithml, "download", unreachable)
    monkeypatch.setattr(console, "talk", said.append)
    assert making._data_folder_if_any(Settings()) is None
    assert said == ["cannot be fetched"]


def test_all_puts_teacher_student_and_rivals_beside_the_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One command: the bundle, both networks, and a report on all of them."""
    asked: dict[str, object] = {}

    class Reached(Exception):
        """The measuring began; other tests cover it."""

    class Made:
        def as_text(self) -> str:
            return "made"

    def train(options: commands.BundleOptions, **others: object) -> Made:
        asked.update(others, folder=options.folder)
        return Made()

    def evaluate(folder: Path, **options: object) -> None:
        asked.update(options, measured=folder)
        raise Reached

    monkeypatch.setattr(commands, "train", train)
    monkeypatch.setattr(commands, "evaluate", evaluate)
    with pytest.raises(Reached):
        making.train(
            Settings(),
            folder=tmp_path,
            everything=True,
            checkpoint=None,
            promise=Promise(precision=0.9),
            corpus_only=True,
            multilabel=False,
        )
    assert (asked["folder"], asked["measured"], asked["baselines"]) == (tmp_path / "bundle", tmp_path / "bundle", True)
    assert asked["checkpoint"] == tmp_path / "network.safetensors"
    assert [(named.name, named.path.name) for named in asked["checkpoints"]] == [  # type: ignore[attr-defined]
        ("teacher fp32", "network-teacher.safetensors"),
        ("student fp32", "network.safetensors"),
    ]
    assert [named.path for named in asked["against"]] == [bundle.DEFAULT_BUNDLE]  # type: ignore[attr-defined]


def test_rules_are_drafted_filled_in_and_checked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Without --rules the command prints a file for the bundle's labels; what it prints passes its own check."""
    folder = foreign.write(tmp_path / "bundle").path
    rules(folder)
    file = tmp_path / "rules.toml"
    file.write_text(capfd.readouterr().out)
    rules(folder, file)
    shown = capfd.readouterr()
    assert "for the 7 labels of" in shown.out
    assert "no words, so never guessed but as `otherwise`: access, billing, bug" in shown.err
    with pytest.raises(RulesError, match="which the bundle"):
        rules(file=file, json=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--quick"], "--quick is for a file of your own rows"),
        (["--data", "rows.csv", "--multilabel"], "--multilabel is for the shipped model"),
        (["--data", "rows.csv", "--quick"], "rows.csv cannot be read"),
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
