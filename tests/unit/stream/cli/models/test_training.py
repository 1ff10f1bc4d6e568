"""`tagstream model train --data FILE`: its folder and its columns, before anything is learned."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import VERSION
from tagstream.model_export.bundle.model import Prediction, predict
from tagstream.model_export.data import splits
from tagstream.model_export.data.own import row_list
from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.own.row_list import ListedRow
from tagstream.model_export.make import steps
from tagstream.model_export.make.quick import Quick
from tagstream.model_export.make.recipe import BundleRecipe
from tagstream.model_export.make.shipped_training import ShippedTraining
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.cli import main
from tagstream.stream.cli.models import needs
from tagstream.stream.cli.models import train as training
from tagstream.stream.cli.models.train import FURTHER, OWN, SHIPPED, TrainOptions
from tagstream.stream.contract.answers import OFF_SUBJECT, AnsweredEvent, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.review.exchange import files
from tagstream.stream.review.exchange.files import Form
from tests.answering import NOW_MS, answer, reviewed
from tests.fakes import deciding, raw
from tests.faults.worker.fleet import ROOT

LABELS = ("access", "billing")
TICKETS = ROOT / "examples" / "tickets"
OF_TICKETS = ("access", "billing", "bug", "data", "feature-request", "how-to", "integration")


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
def recipes() -> list[BundleRecipe]:
    """The recipes that a training was started with."""
    return []


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, recipes: list[BundleRecipe]) -> list[Path]:
    """The folders that a training was started for; nothing is trained."""
    found: list[Path] = []

    def make(folder: Path, of: BundleRecipe, *_: object) -> None:
        found.append(folder)
        recipes.append(of)
        raise ReachedError

    monkeypatch.setattr(steps, "make", make)
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
    monkeypatch.setattr(needs, "require_export", lambda **_: None)
    monkeypatch.setattr(training, "_make_shipped", lambda _, folder, *__: asked.append(folder))
    result = train(Path("distilbert-base-uncased"), *words)
    if words:
        assert (result.exit_code, asked) == (0, [Path("distilbert-base-uncased")])
    else:
        assert (result.exit_code, asked) == (2, [])
        assert "would train the shipped model again" in result.stderr
        assert "Next: give labelled rows of your own, --data FILE" in result.stderr


@pytest.mark.parametrize(("words", "named", "said"), [((), True, False), ((), False, True), (("--corpus-only",), True, False)])
def test_the_shipped_model_learns_real_titles_where_the_setting_names_them(
    words: tuple[str, ...],
    named: bool,
    said: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`--corpus-only` learns none; a training without them says so."""
    monkeypatch.setenv("TAGSTREAM_DATA", str(tmp_path))
    monkeypatch.setenv("TAGSTREAM_REAL", str(tmp_path)) if named else monkeypatch.delenv("TAGSTREAM_REAL", raising=False)
    monkeypatch.setattr(needs, "require_export", lambda **_: None)
    asked: list[Path | None] = []

    def load(*_: object, real_folder: Path | None, **__: object) -> None:
        asked.append(real_folder)
        raise ReachedError

    monkeypatch.setattr(splits, "load", load)
    result = train(tmp_path / "out", *words)
    assert isinstance(result.exception, ReachedError), result.exception
    assert asked == [tmp_path if named and not words else None]
    assert ("training without real titles" in result.stderr) == said


def test_the_multilingual_base_is_for_the_quick_way(tmp_path: Path, trained: list[Path]) -> None:
    """Without `--quick` the command ends before the rows are read, and says what to add."""
    result = train(tmp_path / "out", "--data", rows(tmp_path / "rows.csv", "title,tag"), "--base", "multilingual")
    assert (result.exit_code, "Next: add --quick." in result.stderr, trained) == (2, True, [])


def test_the_multilingual_base_asks_for_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed, the error names it."""
    monkeypatch.setattr(needs, "MULTILINGUAL_PACKAGE", "not_installed_anywhere")
    result = train(tmp_path / "out", "--data", rows(tmp_path / "rows.csv", "title,tag"), "--base", "multilingual", "--quick")
    assert getattr(result.exception, "exit_code", None) == 2
    assert "'.[multilingual]'" in str(result.exception)


@pytest.mark.parametrize(("base", "warned"), [((), True), (("--base", "english"), True), (("--base", "multilingual"), False)])
def test_rows_in_german_are_named_where_the_encoder_does_not_know_it(
    base: tuple[str, ...], warned: bool, tmp_path: Path, trained: list[Path], recipes: list[BundleRecipe]
) -> None:
    """With the English base a warning names them and the option; the multilingual base reads them, and is what the recipe asks for."""
    german = "Die Rechnung wurde zweimal abgebucht und niemand antwortet"
    data = rows(tmp_path / "rows.csv", "title,tag", words=german)
    result = train(tmp_path / "out", "--data", data, "--quick", *base)
    assert (len(trained), isinstance(result.exception, ReachedError)) == (1, True)
    assert ("probably not English" in result.stderr, "`--base multilingual --quick`" in result.stderr) == (warned, warned)
    network = recipes[0].network
    assert isinstance(network, Quick)
    assert network.multilingual is not warned


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
        looked = CliRunner().invoke(main.app, ["model", "train", "--dry-run", "--data", str(data), "--gold", str(gold), *words])
        assert looked.exit_code == 0, looked.exception
    assert len(trained) == 2


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("words", [("--quick",), ("--tags", "all"), ("--quick", "--tags", "all")])
def test_a_second_head_is_fitted_to_rows_of_several_labels(
    words: tuple[str, ...], tmp_path: Path, recipes: list[BundleRecipe]
) -> None:
    """The recipe has the head, and its rows the labels of the column."""
    name = "all" if "--tags" in words else "tags"
    data = rows(tmp_path / "rows.csv", f"title,tag,{name}", ",access;billing", words="both")
    lines = data.read_text(encoding="utf-8").splitlines()
    plain = [line.replace("both", "one").replace("access;billing", "") for line in lines[1:]]
    data.write_text("\n".join([*lines, *plain]), encoding="utf-8")
    result = train(tmp_path / "out", "--data", data, "--multilabel", *words)
    assert isinstance(result.exception, ReachedError), result.exception
    [of] = recipes
    assert of.second_head is not None
    for part in (of.rows.train, of.rows.calibration):
        assert {frozenset(row.tags) for row in part} == {frozenset(), frozenset(LABELS)}


@pytest.mark.parametrize(
    ("words", "header", "said"),
    [
        (("--multilabel",), "title,tag", "has no column 'tags'"),
        (("--multilabel",), "title,tag,tags", "0 rows of several labels to learn from"),
        (("--tags", "all"), "title,tag,all", "--tags names the column of all labels of a text, which --multilabel learns from"),
    ],
)
def test_a_second_head_without_such_rows_is_refused(
    words: tuple[str, ...], header: str, said: str, tmp_path: Path, trained: list[Path]
) -> None:
    """Before anything is learned, with what is needed."""
    data = rows(tmp_path / "rows.csv", header, "," if header.count(",") > 1 else "")
    result = train(tmp_path / "out", "--data", data, "--quick", *words)
    assert said in f"{result.exception} {result.stderr}"
    assert ((getattr(result.exception, "exit_code", None) or result.exit_code), trained) == (2, [])


class UnsureOfTickets:
    """Implements `Classifier`: it knows the labels of the tickets, and asks people about every one."""

    labels = OF_TICKETS

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """The same for each text."""
        logits = [0.0] * len(OF_TICKETS)
        return [predict(logits, labels=OF_TICKETS, temperature=1.0, tokens=3, truncated=False) for _ in texts]


def export(path: Path) -> Path:
    """The file that `review --export FILE --form rows` writes of the tickets' stream: a label each in turn, and events of none."""
    events = [raw(line) for line in (TICKETS / "events.jsonl").read_bytes().splitlines()]
    pipeline = Pipeline(decider=deciding(UnsureOfTickets()), observer=NullObserver())
    answered = []
    for place, made in enumerate(publish_all(events, pipeline.decide(events), NOW_MS)):
        asked = Record(topic="review", key=made.key, value=made.value)
        said = read_answer(reviewed(asked, answer(asked, (*OF_TICKETS, OFF_SUBJECT)[place % 8])))
        assert isinstance(said, AnsweredEvent), said
        answered.append(said)
    files.write(path, files.content(Form.ROWS, answered))
    return path


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("quick", [True, False])
def test_answers_join_a_training_with_the_labels_of_its_rows(quick: bool, tmp_path: Path, recipes: list[BundleRecipe]) -> None:
    """Exported and given to the training, they are rows to learn from; an event of none of the labels makes no new one."""
    words = ("--data", TICKETS / "rows.csv", "--gold", TICKETS / "gold.csv", *(["--quick"] if quick else []))
    result = train(tmp_path / "out", *words, "--answers", export(tmp_path / "answers.jsonl"))
    assert isinstance(result.exception, ReachedError), result.exception
    [of] = recipes
    assert of.rows.labels == OF_TICKETS
    learned = [row for row in of.rows.train if row.answered]
    assert f"answers.jsonl: {len(learned)} answers learned from" in result.stderr
    assert "left out, of none of the labels: lines 8, 16, 24, 32, 40, 48 and 56" in result.stderr
    assert len(learned) > 40
    assert not any(row.answered for row in (*of.rows.calibration, *of.rows.holdout))


@pytest.mark.usefixtures("trained")
def test_an_export_alone_has_the_labels_of_its_model(tmp_path: Path, recipes: list[BundleRecipe]) -> None:
    """As rows of one's own, too, it has no label but those."""
    result = train(tmp_path / "out", "--data", export(tmp_path / "rows.jsonl"), "--quick")
    assert isinstance(result.exception, ReachedError), result.exception
    assert recipes[0].rows.labels == OF_TICKETS
    assert "7 rows that a person found to have none of the labels" in result.stderr


def test_every_option_is_of_one_training_or_of_both() -> None:
    """A new option says which training it is of; the others are the places, the promise and the bundle's name."""
    hints = get_type_hints(TrainOptions, include_extras=True)
    marks = {name: {OWN, SHIPPED, FURTHER} & set(getattr(hint, "__metadata__", ())) for name, hint in hints.items()}
    assert {name for name, found in marks.items() if not found} == {
        "folder",
        "data",
        "begun",
        "promise",
        "answers",
        "multilabel",
        "layers",
        "named",
        "work",
    }
    assert {len(found) for found in marks.values()} == {0, 1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seed", "0"), "--seed is for the shipped model"),
        (("--all", "--checkpoint", "network"), "--all, --checkpoint is for the shipped model"),
        (("--corpus-only", "--quick"), "--corpus-only is for the shipped model"),
    ],
)
def test_options_of_the_shipped_model_are_refused_beside_a_file(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """All of them are named, also a seed of 0, before the file is looked at."""
    result = train(tmp_path / "out", "--data", tmp_path / "none.csv", *words)
    assert (result.exit_code, said in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--layers", "0"), "a network of 0 layers cannot be cut from the base encoder"),
        (("--layers", "7"), "has 6. Next: give 1 to 6."),
        (("--layers", "6", "--quick"), "--quick keeps all layers of the base encoder"),
    ],
)
def test_layers_that_no_training_can_give_are_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Before the file is looked at, with what can be asked for."""
    result = train(tmp_path / "out", "--data", tmp_path / "none.csv", *words)
    assert (result.exit_code, said in " ".join(result.stderr.replace("│", " ").split())) == (2, True)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("words", [("--all", "--corpus-only"), ("--corpus-only",)])
def test_the_shipped_model_is_trained_with_the_layers_that_were_asked_for(
    words: tuple[str, ...], tmp_path: Path, recipes: list[BundleRecipe]
) -> None:
    """The layers are an even spread of the base encoder's, and the version says that it is not the shipped model."""
    for layers in ((), ("--layers", "2"), ("--layers", "6", "--seed", "3")):
        result = train(tmp_path / "out", *words, *layers)
        assert isinstance(result.exception, ReachedError), result.exception
    students = [of.network.student for of in recipes if isinstance(of.network, ShippedTraining)]
    assert [student.layers for student in students] == [(0, 2, 5), (0, 5), (0, 1, 2, 3, 4, 5)]
    assert [of.version for of in recipes] == [VERSION, f"{VERSION}-2-layers", f"{VERSION}-6-layers"]


@pytest.mark.parametrize("words", [("--group", "person", "--strict"), ("--allow", "repeated", "--base-corpus")])
def test_options_of_a_file_are_refused_without_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A column's name is one of them."""
    result = train(tmp_path / "out", *words)
    named = ", ".join(word for word in words if word.startswith("--"))
    assert (result.exit_code, f"{named} is for a file of your own rows" in result.stderr) == (2, True)


@pytest.mark.usefixtures("trained")
def test_the_limit_may_lose_what_the_user_says(tmp_path: Path, recipes: list[BundleRecipe]) -> None:
    """`--lose` is the share, 1 % unless given; labels are left out for the quick way alone, whose encoder has seen none of them."""
    file = rows(tmp_path / "rows.csv", "title,tag")
    for words in (("--quick",), ("--quick", "--lose", "0.02"), ("--lose", "0.05")):
        train(tmp_path / "out", "--data", file, *words)
    gates = [of.strangers for of in recipes]
    assert [(gate.most_lost, gate.neighbours) for gate in gates] == [(0.01, True), (0.02, True), (0.05, False)]
    refused = train(tmp_path / "out", "--data", file, "--quick", "--lose", "2")
    assert (refused.exit_code, len(recipes)) == (2, 3)


@pytest.mark.usefixtures("trained")
def test_a_gate_learns_from_the_texts_of_none_of_the_labels(tmp_path: Path, recipes: list[BundleRecipe]) -> None:
    """Those of --none and the rows that a person called off_subject; without any it is said that tagstream's own stand for them."""
    file = rows(tmp_path / "rows.csv", "title,tag")
    train(tmp_path / "generic", "--data", file, "--quick")
    assert len(recipes[0].strangers.none) > 400
    with file.open("a", encoding="utf-8") as more:
        more.write(f"\nLost cat,{OFF_SUBJECT}\n")
    none = tmp_path / "none.csv"
    none.write_text("title\nFlat to let\n", encoding="utf-8")
    train(tmp_path / "given", "--data", file, "--quick", "--none", none)
    assert [row.text for row in recipes[1].strangers.none] == ["Flat to let", "Lost cat"]
    assert recipes[1].strangers.by_label


def test_the_names_of_rows_and_parent_are_in_the_recipe(
    tmp_path: Path, tiny_bundle: Bundle, recipes: list[BundleRecipe], trained: list[Path]
) -> None:
    """With the sum of the list of the rows; a training that did not end leaves no list."""
    data = rows(tmp_path / "rows.csv", "title,label")
    done = train(tmp_path / "new", "--data", data, "--quick", "--data-version", "2026-12", "--against", tiny_bundle.path)
    assert isinstance(done.exception, ReachedError)
    (recipe,) = recipes
    listed = row_list.of(read_own(data))
    assert (recipe.rows.version, recipe.rows.listed) == ("2026-12", row_list.digest(listed))
    assert recipe.before is not None
    assert (recipe.before.bundle.digest, recipe.before.moves) == (tiny_bundle.digest, None)
    assert trained == [tmp_path / "new"]
    assert not (tmp_path / "new.rows.jsonl").exists()


def test_a_finished_training_leaves_the_list_of_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the bundle's folder, where the next training finds it."""

    class Done:
        """A bundle that was made."""

        def as_text(self) -> str:
            """Its figures."""
            return "made"

    monkeypatch.setattr(steps, "make", lambda *_: Done())
    data = rows(tmp_path / "rows.csv", "title,label")
    assert train(tmp_path / "new", "--data", data, "--quick").exit_code == 0
    kept = msgspec.json.Decoder(ListedRow).decode_lines((tmp_path / "new.rows.jsonl").read_bytes())
    assert tuple(kept) == row_list.of(read_own(data))
    (tmp_path / "again.rows.jsonl").mkdir()
    done = train(tmp_path / "again", "--data", data, "--quick")
    assert (done.exit_code, done.stdout) == (1, "made\n")
    assert "the bundle is made, but not the list of its rows beside it, " in done.stderr
    assert "Is a directory. Next: " in done.stderr
