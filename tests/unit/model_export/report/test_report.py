"""The report: it has the record's figures, it needs no other file, and names cannot become markup."""

import importlib.util
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tagstream.model_export.compare import evaluation_record, requirements
from tagstream.model_export.report import plots, report, terminal
from tagstream.stream.cli.main import app
from tagstream.stream.cli.models import needs
from tagstream.stream.cli.models.evaluate import path_and_name
from tests.evaluations import NASTY, TRADE, evaluation, of_many_labels
from tests.replacing import replace

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """The elements, ids, addresses and text of a page; elements must close in order."""

    def __init__(self, page: str) -> None:
        """Read it."""
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.kinds: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        given = dict(attrs)
        self.kinds.add(tag)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.addresses += [given[name] or "" for name in ("href", "src", "xlink:href") if name in given]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open and close the element at once, as in SVG."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the last opened element closes."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.text += data


@pytest.fixture(scope="module")
def found() -> evaluation_record.Measured:
    """A bundle beside a worse model and one whose name is markup."""
    return evaluation()


@pytest.fixture(scope="module")
def judged(found: evaluation_record.Measured) -> requirements.Judged:
    """A requirement that it misses, and one that holds."""
    return requirements.judge(found, [requirements.parse(each, beside=False) for each in ("f1=0.99", "accuracy=0.1")], bars=0)


@pytest.fixture(scope="module")
def folder(found: evaluation_record.Measured, judged: requirements.Judged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report."""
    place = tmp_path_factory.mktemp("report") / "of" / "today"
    written = report.write(found, place, judged)
    assert [path.name for path in written] == ["report.html", "report.md", "evaluation.jsonl"]
    return place


def test_page_is_well_formed_and_asks_nobody(folder: Path) -> None:
    """Every element closes, ids are unique, every address is within the page, and there is no script."""
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.addresses
    assert all(address.startswith("#") and address[1:] in page.ids for address in page.addresses)
    assert page.kinds.isdisjoint({"script", "link", "img", "iframe", "object", "form"})
    assert "url(http" not in (folder / "report.html").read_text(encoding="utf-8")


def test_page_says_what_the_record_says(folder: Path, found: evaluation_record.Measured) -> None:
    """The page has the figures of all models and the verdict on each."""
    text = Page((folder / "report.html").read_text(encoding="utf-8")).text
    for model in found.models:
        figures = model.parts["corpus_test"].evaluation
        assert f"{figures.weighted_f1:.3f} [{figures.weighted_f1_interval[0]:.3f}" in text
    assert "on 7 authored rows that are not about machine learning" in text
    assert all(f"{each.published_precision:.3f}" in text for each in found.bundle.parts["corpus_test"].evaluation.classes)
    assert f"better than {found.others[0].name}" in report.summary(found)
    assert report.summary(found) in text
    assert found.digest in text
    figure = found.bundle.parts["corpus_test"].evaluation.weighted_f1
    assert re.search(rf"1 of 2 hold.*f1>=0\.99: it is {figure}\s*missed", text, re.DOTALL)


def test_the_report_has_the_comparison_with_another_bundle(folder: Path, found: evaluation_record.Measured) -> None:
    """Beside a bundle, and not beside the rival: the sentences and tables of the terminal, in the page and in the Markdown, and the record."""
    versus = found.others[1].parts["corpus_test"].versus
    assert versus is not None
    assert versus.comparison is not None
    (told,) = terminal.of_evaluation(found)
    text = Page((folder / "report.html").read_text(encoding="utf-8")).text
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert all(sentence in text for sentence in told.sentences)
    assert f"Of {versus.comparison.discordant} discordant {versus.comparison.discordant} have an answer" in markdown
    assert {"Tags: old in rows, new in columns", "Slices: text"} <= {table.title for table in told.tables}
    assert all(table.title in text and f"**{table.title}**" in markdown for table in told.tables)
    records = [json.loads(line) for line in (folder / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()]
    (record,) = [each for each in records if each["record"] == "comparison"]
    assert (record["model"], record["moved"]) == (NASTY, versus.comparison.moved)


def test_names_are_names_and_nothing_else(folder: Path) -> None:
    """A bundle may be called anything: in the page, the pictures and the Markdown it stays text."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert NASTY in Page(page).text
    rows = [line for line in (folder / "report.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert any(r"\<b\>$x\_1$\|" in row for row in rows)


def test_markdown_tables_have_as_many_cells_in_every_row(folder: Path) -> None:
    """All rows of a Markdown table have the same number of cells, and every picture is a file beside it."""
    text = (folder / "report.md").read_text(encoding="utf-8")
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 7
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table}) == 1
    pictures = re.findall(r"\]\(([^)]+\.svg)\)", text)
    assert len(pictures) == 6
    assert all((folder / name).is_file() for name in pictures)


def test_pictures_are_files_of_their_own_that_follow_light_and_dark(folder: Path) -> None:
    """Each picture is well-formed, has a description and text as text, and uses no colour outside the two modes."""
    for path in folder.glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        root = ET.fromstring(text)  # noqa: S314 - written just now
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert "prefers-color-scheme:dark" in text
        drawn = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
        assert re.findall(r"(?:fill|stroke): (#\w+)", drawn) == []
        assert "<text" in drawn


def test_the_price_of_a_promise_is_drawn_where_the_rows_certify_one(found: evaluation_record.Measured, folder: Path) -> None:
    """The picture shows what people would see; a bundle whose rows certify nothing has none."""
    assert "90.0% costs 25%; 95.0% costs 50%. The filled dot" in plots.draw(found)["trade"].sentence
    assert "99.0%" not in plots.draw(found)["trade"].sentence
    assert "The price of a promise" in (folder / "report.md").read_text(encoding="utf-8")
    bare = replace(found, trade=TRADE[2:])
    assert "trade" not in plots.draw(bare)
    assert "The price of a promise" not in report.as_markdown(bare, plots.draw(bare))


def test_the_same_record_gives_the_same_bytes(found: evaluation_record.Measured) -> None:
    """The same record gives the same pictures, to the byte."""
    assert plots.draw(found) == plots.draw(found)


def test_record_lies_beside_the_report(folder: Path, found: evaluation_record.Measured, judged: requirements.Judged) -> None:
    """The record is one JSON object a line, as `--json` prints it."""
    lines = [json.loads(line) for line in (folder / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == [json.loads(msgspec.json.encode(each)) for each in (*found.records(), *judged.records())]


def test_a_report_on_many_foreign_labels_names_the_mistakes() -> None:
    """The picture has bars in the place of 77 times 77 cells, and nothing is said of suites and rows that were not asked."""
    found = of_many_labels(77)
    pictures = plots.draw(found)
    said = pictures["confusion-gold"].sentence
    assert said.startswith(
        "Mistakes on the gold set: the 15 most frequent of 77 pairs of a label and the label given, 15 of 77 rows"
    )
    assert "queue 000, given as queue 001" in pictures["confusion-gold"].svg
    text = report.as_markdown(found, pictures)
    assert "Gold set: 385 rows; labelled rows of your own." in text
    assert "0 of 0" not in text
    assert "machine learning" not in text


def test_bundle_alone_has_a_report_without_rivals() -> None:
    """A bundle that is measured alone gets no section and no sentence about other models."""
    alone = evaluation(others=False)
    pictures = plots.draw(alone)
    assert "Beside its rivals" in report.as_page(evaluation(), plots.draw(evaluation()))
    assert "Beside its rivals" not in report.as_page(alone, pictures)
    assert "Beside its rivals" not in report.as_markdown(alone, pictures)
    assert "told apart" not in report.summary(alone)


@pytest.mark.parametrize(
    ("missing", "folder_given", "sentence"),
    [("torch", False, "needs PyTorch"), ("sklearn", False, "needs PyTorch"), ("matplotlib", True, "needs matplotlib")],
)
def test_missing_extras_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str, folder_given: bool, sentence: str
) -> None:
    """A missing package is named with its installation, before the measurement begins."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else real(name, *rest))
    options = ["--report", str(tmp_path)] if folder_given else []
    result = CliRunner().invoke(app, ["model", "evaluate", *options])
    assert isinstance(result.exception, needs.ExtraMissingError)
    assert re.search(rf"{sentence}.*-m pip install -e '\.\[export\]'", str(result.exception))


def test_the_command_prints_lines_of_json_and_writes_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    """Standard output has JSON lines alone, the second bundle has its given name, and the report is written."""
    monkeypatch.setattr(needs, "data_folder", lambda _: None)
    options = ["--against", f"twin={tiny_bundle_folder}", "--report", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(app, ["model", "evaluate", str(tiny_bundle_folder), *options])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["model"] for line in lines if line["record"] == "speed"][1:] == ["twin"]
    assert (tmp_path / "out" / "evaluation.jsonl").read_text(encoding="utf-8") == result.stdout
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("given", "name", "path"),
    [("teacher fp32=a/b.safetensors", "teacher fp32", "a/b.safetensors"), ("a/b", None, "a/b"), ("=a", None, "=a")],
)
def test_a_model_on_the_command_line_may_have_a_name(given: str, name: str | None, path: str) -> None:
    """A model is given as NAME=PATH or as a path."""
    assert path_and_name(given) == (Path(path), name)


def test_a_path_with_an_equals_sign_that_exists_is_a_path(tmp_path: Path) -> None:
    """An existing path with an equals sign is not split into name and path."""
    odd = tmp_path / "run=3"
    odd.mkdir()
    assert path_and_name(str(odd)) == (odd, None)
