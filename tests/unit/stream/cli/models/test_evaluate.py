"""`tagstream model evaluate --data FILE`: a bundle on rows of the user's own, and what is refused."""

import hashlib
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from model_export.bundle import bundle as bundles
from model_export.data import madewithml
from stream.cli import main, making
from tests.conftest import TINY_BUNDLE
from tests.foreign import bundles as tickets

ROWS = """n,headline,topic,channel,region
1,Object detection in images,computer-vision,web,EU
2,Monitoring drift in production pipelines,mlops,mail,US
3,Sentiment of texts,natural-language-processing,web,EU
4,Translation of languages,other,web,
"""
COLUMNS = ("--title", "headline", "--tag", "topic", "--source", "channel", "--id", "n")


def evaluate(*words: object) -> Result:
    """Run the command on the tiny bundle."""
    return CliRunner().invoke(main.app, ["model", "evaluate", str(TINY_BUNDLE), *map(str, words)])


def test_a_bundle_is_measured_on_a_file_of_rows(tmp_path: Path) -> None:
    """The columns are named by option; sources and the column asked for are slices; the suite is the user's."""
    (tmp_path / "gold.csv").write_text(ROWS, encoding="utf-8")
    suite = tmp_path / "suite.jsonl"
    suite.write_text('{"title": "images", "tag": "computer-vision"}', encoding="utf-8")
    result = evaluate("--data", tmp_path / "gold.csv", *COLUMNS, "--slice", "region", "--suite", suite, "--json")
    records = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    (evaluation,) = [record for record in records if record["record"] == "evaluation"]
    assert (evaluation["part"], evaluation["rows"], evaluation["accuracy"]) == ("gold", 4, 0.75)
    found = {(record["group"], record["name"]): record["right"] for record in records if record["record"] == "slice"}
    assert {key: right for key, right in found.items() if key[0] in {"source", "region"}} == {
        ("source", "mail"): 1,
        ("source", "web"): 2,
        ("region", "EU"): 2,
        ("region", "US"): 1,
        ("region", "(empty)"): 0,
    }
    assert [record["cases"] for record in records if record["record"] == "behaviour"] == [1]


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        ("5,Refund,billing,web,EU\n", COLUMNS, "line 6: {bundle} does not have the label 'billing'"),
        ("5,,other,web,EU\n", COLUMNS, "line 6: no text. Next: "),
        ("", (), "has no column 'title' (columns: n, headline, topic, channel, region). Next: name the column: --title NAME."),
        ("", (*COLUMNS, "--slice", "country"), "has no column 'country'"),
    ],
    ids=["label", "text", "title", "slice"],
)
def test_rows_that_cannot_be_measured_on_are_said(lines: str, options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """A sentence with the line, and code 2."""
    path = tmp_path / "gold.csv"
    path.write_text(ROWS + lines, encoding="utf-8")
    result = evaluate("--data", path, *options)
    assert said.format(bundle=TINY_BUNDLE) in str(result.exception)
    assert getattr(result.exception, "exit_code", None) == 2


def test_the_file_that_a_bundle_has_learned_from_measures_nothing(tmp_path: Path) -> None:
    """Neither this bundle nor the one beside it: its figures would be too good."""
    path = tmp_path / "gold.csv"
    path.write_text(ROWS, encoding="utf-8")
    tiny = bundles.read(TINY_BUNDLE)
    training = {"data": {"sha256": {"rows.csv": hashlib.sha256(path.read_bytes()).hexdigest()}}}
    learned = bundles.write(
        tmp_path / "learned",
        manifest=msgspec.structs.replace(tiny.manifest, name="learned", training=training),
        model=tiny.model,
        tokenizer=tiny.tokenizer,
    )
    result = evaluate("--data", path, *COLUMNS, "--against", learned.path)
    assert f"{path} is a file that {learned.path} has learned from" in str(result.exception)
    assert getattr(result.exception, "exit_code", None) == 2


def test_a_bundle_with_other_labels_is_not_measured_on_the_shipped_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --data nothing is downloaded for it; the labels of both and the next step are said."""
    monkeypatch.setattr(madewithml, "download", lambda *_: pytest.fail("the rows were looked for"))
    folder = tickets.write(tmp_path / "tickets").path
    result = CliRunner().invoke(main.app, ["model", "evaluate", str(folder)])
    assert isinstance(result.exception, making.OtherLabelsError)
    assert result.exception.exit_code == 2
    assert "has the labels access, billing, bug" in str(result.exception)
    assert "Next: give labelled rows of its own labels, --data FILE." in str(result.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data", "gold.csv", "--baselines"), "--baselines and --checkpoint need rows to learn from"),
        (("--tag", "topic"), "the options of columns are about a file of rows. Next: give --data FILE"),
    ],
)
def test_options_that_do_not_fit_the_rows_are_refused(words: tuple[str, ...], said: str) -> None:
    """Nothing that was asked for is left out in silence."""
    result = evaluate(*words)
    assert (result.exit_code, said in result.stderr) == (2, True)
