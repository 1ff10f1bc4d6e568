"""`tagstream model train --dry-run`: the report on stdout, the refusal on stderr with its exit code, and nothing written."""

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.data.own import row_list
from tagstream.model_export.data.own.read import read_own
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


def bundle_of(folder: Path, of: Bundle, rows: Path, *, listed: bool) -> Path:
    """A bundle that names these rows as its own, with or without the list of the rows beside it."""
    own = read_own(rows)
    data = {"sha256": own.digests, "listed": row_list.digest(row_list.of(own))}
    manifest = msgspec.structs.replace(of.manifest, training={"data": data})
    bundle.write(folder, manifest=manifest, model=of.model, tokenizer=of.tokenizer)
    if listed:
        row_list.write(folder, row_list.of(own))
    return folder


def test_rows_are_compared_with_those_of_an_older_bundle(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Without the older file: what came, went or changed its label, each with its place; nothing is refused or written."""
    path = written(tmp_path, "the same text,a", "it goes,b")
    old = bundle_of(tmp_path / "old", tiny_bundle, path, listed=True)
    path = written(tmp_path, "the same text,b", "it comes,a")
    before = sorted(tmp_path.iterdir())
    code, out, _ = look(path, "--against", old)
    assert code == 0
    name = f"{tiny_bundle.manifest.name} {tiny_bundle.manifest.version}"
    labels = ", ".join(sorted(tiny_bundle.manifest.labels))
    assert f"against: {path} against {name} in {old}: of the texts, 1 came, 1 went, 1 changed their label, 60 stayed." in out
    assert f"New labels: a, b. Labels that went: {labels}." in out
    assert "            rows.csv:63: a: it comes\n" in out
    assert "            rows.csv:63: b\n" in out
    assert "            rows.csv:62: b, was a: the same text\n" in out
    assert sorted(tmp_path.iterdir()) == before
    found = {
        each["kind"]: each
        for line in look(path, "--against", old, "--json")[1].splitlines()
        if "kind" in (each := json.loads(line))
    }
    assert {kind: found[kind]["lines"] for kind in ("came", "went", "relabelled")} == {
        "came": [63],
        "went": [],
        "relabelled": [62],
    }


def test_answers_of_people_are_compared_as_the_labels_that_they_give(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """An answer changes the label of a row, and an answer about another text is a text that came, in its own file."""
    path = written(tmp_path, "the same text,a")
    old = bundle_of(tmp_path / "old", tiny_bundle, path, listed=True)
    answers = tmp_path / "answers.jsonl"
    said = [{"id": "1", "title": "the same text", "tag": "b"}, {"id": "2", "title": "a further one", "tag": "a"}]
    answers.write_text("\n".join(map(json.dumps, said)), encoding="utf-8")
    _, out, _ = look(path, "--answers", answers, "--against", old)
    assert "1 came, 0 went, 1 changed their label, 60 stayed" in out
    assert "answers/answers.jsonl:2: a: a further one\n" in out
    assert "rows.csv:62: b, was a: the same text\n" in out


def test_without_the_list_it_says_what_the_files_say(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A bundle that came from elsewhere has no list beside it: the same file is known by its sum, another one is named."""
    path = written(tmp_path)
    old = bundle_of(tmp_path / "old", tiny_bundle, path, listed=False)
    assert f"in {old}: the files are the same." in look(path, "--against", old)[1]
    path = written(tmp_path, "one more,a")
    _, out, _ = look(path, "--against", old)
    assert "which rows moved is not known, since no list of its rows (*.rows.jsonl) is beside it." in out
    assert "Other files than it has learned from: rows.csv. Next: " in out
    assert "came" not in out
    code, _, error = look(path, "--against", tmp_path / "nowhere")
    assert (code, "there is no such folder" in error) == (1, True)
