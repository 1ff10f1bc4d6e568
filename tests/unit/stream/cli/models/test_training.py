"""`tagstream model train --data FILE`: its folder and its columns, before anything is learned."""

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from model_export.make import own
from stream.cli import main, making

LABELS = ("access", "billing")


class ReachedError(Exception):
    """The training would begin; other tests cover it."""


def train(*words: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(main.app, ["model", "train", *map(str, words)])


def rows(path: Path, header: str, more: str = "", words: str = "row") -> Path:
    """A file of rows of two labels."""
    lines = [
        f"{words} {number} w{number}x{number * 7},{label}{more.format(number=number)}"
        for number in range(80)
        for label in LABELS
    ]
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that a training was started for; nothing is trained."""
    found: list[Path] = []

    def own_bundle(folder: Path, **_: object) -> None:
        found.append(folder)
        raise ReachedError

    monkeypatch.setattr(own, "own_bundle", own_bundle)
    return found


@pytest.mark.parametrize("out", ["taken", "taken/bundle"])
def test_what_is_no_folder_is_refused_before_the_rows_are_read(out: str, tmp_path: Path) -> None:
    """Not after minutes: the rows are not even there."""
    (tmp_path / "taken").write_text("kept", encoding="utf-8")
    result = train(tmp_path / out, "--data", tmp_path / "none.csv", "--quick")
    assert (result.exit_code, f"{tmp_path / 'taken'} is no folder" in result.stderr) == (2, True)
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize("words", [(), ("--seed", "1"), ("--corpus-only",)])
def test_a_name_alone_does_not_train_the_shipped_model(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """`model train distilbert-base-uncased` looks like the choice of an encoder; options of the shipped model say what is meant."""
    monkeypatch.delenv("TAGSTREAM_DATA", raising=False)
    asked: list[Path] = []
    monkeypatch.setattr(making, "train", lambda _, folder, **__: asked.append(folder))
    result = train(Path("distilbert-base-uncased"), *words)
    if words:
        assert (result.exit_code, asked) == (0, [Path("distilbert-base-uncased")])
    else:
        assert (result.exit_code, asked) == (2, [])
        assert "would train the shipped model again" in result.stderr
        assert "Next: give labelled rows of your own, --data FILE" in result.stderr


def test_the_working_directory_has_a_name(tmp_path: Path, trained: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """`model train .` makes a bundle of that folder's name."""
    monkeypatch.chdir(tmp_path)
    result = train(".", "--data", rows(tmp_path / "rows.csv", "title,tag"), "--quick")
    assert isinstance(result.exception, ReachedError)
    assert trained == [tmp_path.resolve()]


def test_a_gold_file_needs_neither_parts_nor_groups_nor_sources(tmp_path: Path, trained: list[Path]) -> None:
    """The options name columns of the rows to learn from; the gold file may lack them."""
    data = rows(tmp_path / "rows.csv", "title,tag,part,person,channel", ",train,p{number},web")
    gold = rows(tmp_path / "gold.csv", "title,tag", words="other text")
    named = ("--split", "part", "--source", "channel")
    for words in (named, (*named, "--group", "person")):
        result = train(tmp_path / "out", "--data", data, "--gold", gold, "--quick", *words)
        assert isinstance(result.exception, ReachedError), result.exception
        looked = CliRunner().invoke(main.app, ["model", "look", str(data), "--gold", str(gold), *words])
        assert looked.exit_code == 0, looked.exception
    assert len(trained) == 2
