"""The verbs that take answers from files: what is refused before anything is read, and what a calibration says."""

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.data import splits
from tagstream.model_export.data.splits import Splits
from tagstream.stream.cli import main
from tagstream.stream.contract.answers import AnsweredEvent, read_answer
from tagstream.stream.review.exchange import files
from tagstream.stream.review.exchange.files import Form
from tagstream.stream.review.exchange.lines import ExchangeError, MissingFileError
from tests.answering import UNSURE, answer, decided, reviewed

NO_ROWS = Splits(train=(), calibration=(), holdout=(), corpus_test=(), unlabelled=(), near_duplicates_removed=0)


def run(*words: object) -> Result:
    """The result of `tagstream` with these words."""
    return CliRunner().invoke(main.app, [str(word) for word in words])


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """A file with one answer about a decision of another network than the shipped one."""
    record = decided(UNSURE)
    found = read_answer(reviewed(record, answer(record)))
    assert isinstance(found, AnsweredEvent)
    files.write(tmp_path / "answers.jsonl", files.content(Form.LINES, [found]))
    return tmp_path / "answers.jsonl"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--export", "f", "--form", "rows", "--open"), "--form rows has no place for an event without an answer"),
        (("--export", "f", "--reviewer", "ada"), "leave --reviewer out"),
        (("--export", "f", "--port", "0"), "--port: only for the console"),
        (("--export", "f", "--import", "f"), "give one of the two"),
        (("--import", "f", "--form", "rows"), "leave out --open and --form rows"),
        (("--form", "rows"), "--form: only for answers in a file"),
    ],
)
def test_what_the_file_of_answers_has_no_place_for_is_refused(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row without an answer would be learned from; an option of the console would be passed over in silence. Nothing is written."""
    monkeypatch.chdir(tmp_path)
    done = run("review", *words, "--brokers", "127.0.0.1:1")
    assert done.exit_code == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_on_rows_has_no_json(tmp_path: Path) -> None:
    """The option belongs to what answers earn."""
    done = run("model", "calibrate", DEFAULT_BUNDLE, "--out", tmp_path, "--json")
    assert done.exit_code == 2
    assert "Next: give --reviewed, or leave --json out." in done.stderr


def test_answers_about_another_network_earn_nothing_and_it_says_so(
    answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason stands before the refusal, and no bundle is written."""
    monkeypatch.setattr(splits, "load", lambda *_, **__: NO_ROWS)
    done = run("model", "calibrate", DEFAULT_BUNDLE, "--out", tmp_path / "new", "--reviewed", answers)
    assert isinstance(done.exception, CalibrationError)
    assert "0 answers prove no other threshold" in str(done.exception)
    present = read(DEFAULT_BUNDLE).manifest.threshold.confidence
    assert f"all labels: there are no answers about it, it stays at {present}" in str(done.exception)
    assert "left out: answers on 1 event that another network decided" in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_no_answers_is_refused(answers: Path, tmp_path: Path) -> None:
    """A missing file is wrong usage; a wrong line is a broken contract, named by its number."""
    done = run("model", "calibrate", DEFAULT_BUNDLE, "--out", tmp_path / "new", "--reviewed", tmp_path / "none")
    assert isinstance(done.exception, MissingFileError)
    answers.write_bytes(answers.read_bytes() + b"{}\n")
    done = run("model", "calibrate", DEFAULT_BUNDLE, "--out", tmp_path / "new", "--reviewed", answers)
    assert isinstance(done.exception, ExchangeError)
    assert "answers.jsonl, line 2 is no record of `reviewed`" in str(done.exception)
