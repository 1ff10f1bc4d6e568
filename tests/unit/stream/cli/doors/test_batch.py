"""`tagstream batch` as a command: its arguments, its words and its exit codes."""

import json
import sys
from pathlib import Path
from typing import get_args

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.data.reader import Columns
from tagstream.stream.batch.formats import SUFFIXES, FormatName
from tagstream.stream.batch.order import Order, OrderError
from tagstream.stream.batch.run import ChangedError
from tagstream.stream.cli import main
from tests.unit.stream.cli.command_lines import parse


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with one file of events."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "papers.csv").write_text("id,headline\n1,image segmentation\n2,\n3,a river\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def batch(bundle: Path, *words: str) -> Result:
    """`tagstream batch` with the title named, and these words."""
    return CliRunner().invoke(main.app, ["batch", *words, "--bundle", str(bundle), "--title", "headline"])


@pytest.mark.parametrize("out", ["out.jsonl", "out.csv", "out.parquet", "out/", "sqlite:///tags.db#mine"])
@pytest.mark.parametrize("given", ["in/papers.csv", "in", "in/*.csv"])
def test_each_input_goes_into_each_output(folder: Path, tiny_bundle_folder: Path, given: str, out: str) -> None:
    """The counts are data on stdout, the words for a person are on stderr and name the side file."""
    done = batch(tiny_bundle_folder, given, out, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"rows": 3, "tagged": 1, "review": 1, "rejected": 1, "kept": 0}
    side = Order(source=given, out=out, columns=Columns()).side_file.name
    assert side == f"{out.rstrip('/')}.rejected.jsonl" or "#" in out
    assert f"1 row rejected: {side} has line, reason and bytes of each" in done.stderr
    assert json.loads((folder / side).read_bytes())["line"] == 3


def test_each_form_can_be_asked_for_and_is_on_the_page() -> None:
    """A form that is written has a suffix, is a choice of `--format`, and stands on the page."""
    forms = set(get_args(FormatName))
    for form in forms:
        assert parse(["batch", "in", "out/", "--format", form]) == "tagstream batch"
    assert set(SUFFIXES.values()) == forms
    page = (Path(__file__).parents[5] / "docs" / "batch.md").read_text(encoding="utf-8")
    assert [form for form in forms if f"`.{form}`" not in page] == []


def test_the_same_command_twice_is_done_once(folder: Path, tiny_bundle_folder: Path) -> None:
    """A second run changes nothing and has the same words; with another bundle it is refused by exit code 2."""
    first, second = (batch(tiny_bundle_folder, "in", "out.jsonl") for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stderr == second.stderr
    with_rules = CliRunner().invoke(main.app, ["batch", "in", "out.jsonl", "--title", "headline", "--decider", "rules"])
    assert isinstance(with_rules.exception, ChangedError)
    assert with_rules.exception.exit_code == 2
    assert "was begun with another model" in str(with_rules.exception)
    assert (folder / "out.jsonl").exists()


def test_an_input_without_an_event_fails(folder: Path, tiny_bundle_folder: Path) -> None:
    """Where every row is rejected, something is wrong with the whole file, and a script should notice."""
    (folder / "in" / "papers.csv").write_text("headline\n \n", encoding="utf-8")
    done = batch(tiny_bundle_folder, "in", "out.csv")
    assert done.exit_code == 1
    assert "no row is an event. Next: " in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["in", "out.txt"], "its suffix says otherwise"),
        (["in", "out.csv", "--format", "jsonl"], "its suffix says otherwise"),
        (["in", "in/papers.csv"], "is in the input and is the output"),
        (["in", "in/"], "is in the input and is the output"),
        (["sqlite:///tags.db", "out.csv"], "names no table"),
        (["in", "."], "names no new file or folder"),
        (["in", "", "--fresh"], "names no new file or folder"),
        (["in", "in/papers.csv/.."], "names no new file or folder"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(
    folder: Path, tiny_bundle_folder: Path, words: list[str], said: str
) -> None:
    """No file is written, and the sentence has the next step."""
    done = batch(tiny_bundle_folder, *words)
    assert isinstance(done.exception, OrderError)
    assert said in str(done.exception)
    assert "Next: " in str(done.exception)
    assert [path.name for path in folder.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("words", "needing"),
    [
        (["in", "out.parquet"], "tagstream.stream.batch.parquet"),
        (["in", "sqlite:///tags.db"], "tagstream.stream.tables.predictions"),
    ],
)
def test_a_missing_extra_is_a_sentence(
    folder: Path, tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], needing: str
) -> None:
    """Where a module cannot be loaded without its extra, the command names it; CSV and JSON Lines need none."""
    monkeypatch.setitem(sys.modules, needing, None)
    done = batch(tiny_bundle_folder, *words)
    assert getattr(done.exception, "exit_code", None) == 2
    assert ".[batch]'" in str(done.exception)
    assert batch(tiny_bundle_folder, "in", "out.csv").exit_code == 0
    assert (folder / "out.csv").exists()
