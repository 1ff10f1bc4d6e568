"""`tagstream model evaluate --data FILE`: a bundle on rows of the user's own, and what is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.compare.requirements import RequirementError
from tagstream.model_export.data import madewithml
from tagstream.stream.cli import main
from tagstream.stream.cli.models.evaluate import OtherLabelsError
from tagstream.stream.demo.rollout import exchanged
from tests.conftest import TINY_BUNDLE
from tests.foreign import bundles as tickets

ROWS = """n,headline,topic,channel,region
1,Object detection in images,computer-vision,web,EU
2,Monitoring drift in production pipelines,mlops,mail,US
3,Sentiment of texts,natural-language-processing,web,EU
4,Translation of languages,other,web,
"""
COLUMNS = ("--title", "headline", "--tag", "topic", "--source", "channel", "--id", "n")


def evaluate(*words: object, bundle: Path = TINY_BUNDLE) -> Result:
    """Run the command on a bundle, the tiny one unless told otherwise."""
    return CliRunner().invoke(main.app, ["model", "evaluate", str(bundle), *map(str, words)])


def records_of(result: Result) -> list[dict[str, Any]]:
    """The objects that it printed."""
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def test_a_bundle_is_measured_on_a_file_of_rows(tmp_path: Path) -> None:
    """The columns are named by option; sources and the column asked for are slices; the suite is the user's."""
    (tmp_path / "gold.csv").write_text(ROWS, encoding="utf-8")
    suite = tmp_path / "suite.jsonl"
    suite.write_text('{"title": "images", "tag": "computer-vision"}', encoding="utf-8")
    result = evaluate("--data", tmp_path / "gold.csv", *COLUMNS, "--slice", "region", "--suite", suite, "--json")
    records = records_of(result)
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
    assert isinstance(result.exception, OtherLabelsError)
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
    """No option that was asked for is left out in silence."""
    result = evaluate(*words)
    assert (result.exit_code, said in result.stderr) == (2, True)


def test_a_bundle_that_misses_a_requirement_ends_with_1(tmp_path: Path) -> None:
    """Each requirement with the figure that was found, as text, as JSON and in the report; the sentence names those that are missed."""
    path = tmp_path / "gold.csv"
    path.write_text(ROWS, encoding="utf-8")
    asked = ("--data", path, *COLUMNS, "--at-least", "accuracy=0.75", "--at-least", "f1=0.93")
    shown = evaluate(*asked)
    assert shown.exit_code == 1
    assert "required of tiny 1, judged on gold: 4 rows" in shown.stdout
    assert "  holds   accuracy>=0.75: it is 0.75\n" in shown.stdout
    assert "tiny 1 misses 1 of 2 requirements, judged on gold, 4 rows: f1>=0.93: it is 0.666667. Next: " in shown.stderr
    told = evaluate(*asked, "--json", "--report", tmp_path / "report")
    assert told.exit_code == 1
    found = [record for record in records_of(told) if record["record"] == "requirement"]
    assert [(each["requirement"], each["wanted"], each["found"], each["held"]) for each in found] == [
        ("accuracy>=0.75", 0.75, 0.75, True),
        ("f1>=0.93", 0.93, 0.666667, False),
    ]
    assert {(each["model"], each["part"], each["rows"], each["against"]) for each in found} == {("tiny 1", "gold", 4, None)}
    kept = (tmp_path / "report" / "evaluation.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in kept[-2:]] == found
    assert "1 of 2 hold" in (tmp_path / "report" / "report.md").read_text("utf-8")


@pytest.mark.parametrize(("lost", "code"), [(5, 0), (6, 1)], ids=["chance", "loss"])
def test_a_worse_bundle_is_refused_and_chance_refuses_none(lost: int, code: int, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Five rows that the old bundle alone has right may be chance, six may not; the other requirement holds of both."""
    path = tmp_path / "gold.csv"
    images = (f"i{number},Object detection in images {number},computer-vision,web,EU\n" for number in range(lost))
    others = (f"o{number},Sentiment of texts {number},natural-language-processing,web,EU\n" for number in range(20))
    path.write_text(ROWS.splitlines()[0] + "\n" + "".join((*images, *others)), encoding="utf-8")
    worse = exchanged(tiny_bundle, tmp_path / "new", ("computer-vision", "mlops"), "new")
    asked = ("--data", path, *COLUMNS, "--not-worse-than", f"main={TINY_BUNDLE}", "--at-least", "accuracy=0.7", "--json")
    result = evaluate(*asked, bundle=worse)
    assert result.exit_code == code, result.stderr
    condition, verdict = [record for record in records_of(result) if record["record"] == "requirement"]
    assert (condition["requirement"], condition["held"]) == ("accuracy>=0.7", True)
    assert (verdict["requirement"], verdict["against"], verdict["held"]) == ("not-worse", "main", code == 0)
    said = f"not-worse (main): it is worse, 0 rows right in this one alone, {lost} in the other alone"
    assert (said in result.stderr) == (code == 1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [("f2=0.9", "there is no figure 'f2'"), ("f1_difference_low=0", "there is no other bundle"), ("f1=93", "between 0 and 1")],
)
def test_a_requirement_that_cannot_be_judged_is_told_before_anything_is_measured(asked: str, said: str) -> None:
    """Code 2, with the names of the figures and an example; the rows are not even looked for."""
    result = evaluate("--data", "nowhere.csv", "--at-least", asked)
    assert isinstance(result.exception, RequirementError)
    assert result.exception.exit_code == 2
    assert said in str(result.exception)
    assert "as in --at-least f1=0.93. The figures are f1, " in str(result.exception)
