"""The command line without a broker: refusals before a broker is asked, and notes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, BundleError
from tagstream.model_export.bundle.bundle import read as read_bundle
from tagstream.model_export.data import madewithml
from tagstream.model_export.data.reader import RowsError
from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.cli import main
from tagstream.stream.cli.models import needs
from tagstream.stream.cli.show.settings import print_settings
from tagstream.stream.cli.version import version
from tagstream.stream.dead_letters import replay
from tagstream.stream.dead_letters.replay import ReplayReport
from tagstream.stream.dead_letters.selection import DeadLetterArgumentError, check_filters
from tagstream.stream.deliver.fatal import EXIT_BROKEN
from tagstream.stream.settings.loading import SettingsError, known_keys, load
from tagstream.stream.settings.settings import Settings
from tests.conftest import TINY_BUNDLE
from tests.waiting import HANG_SECONDS


def run(*words: object, given: bytes | str = b"") -> Result:
    """Run a command, and return its output and exit code."""
    return CliRunner().invoke(main.app, [str(word) for word in words], input=given)


def classify(*words: object, given: bytes | str = b"") -> Result:
    """`tagstream classify` with the tiny bundle."""
    return run("classify", *words, "--bundle", TINY_BUNDLE, given=given)


def test_help_says_what_a_worker_ends_with() -> None:
    """`--help` lists the exit codes of a worker, 70 for a restart among them."""
    said = " ".join(run("--help").output.split())
    assert "3 broker unreachable, 4 contract violated. A worker's: 0 stopped, 1 bundle refused, circuit breaker opened" in said
    assert f"{EXIT_BROKEN} it gave up" in said
    assert BundleError.exit_code == 1


def test_help_imports_typer_and_little_else() -> None:
    """It answers before tables, numbers, clients or the verbs of `model` are imported."""
    program = (
        "import sys; from tagstream.stream.cli import main; sys.argv = ['tagstream', '--help']\n"
        "try: main.main()\n"
        "except SystemExit: print(*sorted(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_SECONDS, check=True)
    imported = said.stdout.splitlines()[-1].split()
    assert "typer" in imported
    heavy = {"rich", "numpy", "msgspec", "pydantic", "asyncio", "kafka", "aiokafka", "faust", "onnxruntime", "structlog"}
    assert heavy.isdisjoint(imported)
    assert [name for name in imported if name.startswith("tagstream.stream.cli.models")] == []


@pytest.mark.parametrize("verb", ["", "model", "dlq", "config", "contract"])
def test_help_says_the_whole_sentence_of_each_verb(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No summary is cut at 80 columns, and the verbs of tagstream itself stand in groups."""
    monkeypatch.setenv("COLUMNS", "80")
    said = run(*verb.split(), "--help").output
    assert "..." not in said.split("Commands")[-1].split("Look at it first")[-1]
    assert max(map(len, said.splitlines())) <= 80
    assert ("Commands:" in said) is bool(verb)


@pytest.mark.parametrize(
    "words",
    [
        ("demo", "--seconds"),
        ("demo", "--rate"),
        ("send", "x.csv", "--rate"),
        ("send", "--samples", "--drift-after"),
        ("tail", "tagged", "--idle"),
        ("top", "--every"),
        ("model", "train", "--precision"),
    ],
)
@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_number_without_an_end_is_no_number(words: tuple[str, ...], number: str) -> None:
    """`nan` and `inf` are refused: `min` and `max` let `nan` through, and a demo of `inf` seconds would not stop."""
    done = run(*words, number)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Invalid value for '{words[-1]}'" in done.stderr


def test_the_seconds_of_the_demo_are_refused_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """DEMO_SECONDS, which `make demo` uses, is checked as the option is."""
    monkeypatch.setenv("DEMO_SECONDS", "inf")
    done = run("demo")
    assert done.exit_code == 2
    assert "inf is no finite number. Next: give one, or leave the option out." in done.stderr


def test_a_demo_says_that_the_brokers_of_the_settings_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Brokers of the environment or of the file are named with their origin; those of --on-broker are used."""
    ran: list[tuple[bool, str]] = []

    def demo(*, on_broker: bool, settings: Settings, **_: object) -> int:
        ran.append((on_broker, settings.brokers))
        return 0

    monkeypatch.setattr("tagstream.stream.demo.run.demo", demo)
    monkeypatch.chdir(tmp_path)
    assert run("demo").stderr == ""
    (tmp_path / "tagstream.toml").write_text('brokers = "file:1"\n')
    assert "brokers = file:1 (tagstream.toml (" in run("demo").stderr
    monkeypatch.setenv("TAGSTREAM_BROKERS", "prod:1")
    told = run("demo").stderr
    assert told.startswith("tagstream: brokers = prod:1 (environment TAGSTREAM_BROKERS) is not used: ")
    assert told.endswith("`tagstream demo --on-broker prod:1`\n")
    assert run("demo", "--on-broker", "lab:1").stderr == ""
    assert ran[-2:] == [(False, "prod:1"), (True, "lab:1")]


@pytest.mark.parametrize("json_lines", [True, False])
def test_an_input_without_a_row_is_said(tmp_path: Path, json_lines: bool) -> None:
    """An empty input is no failure, and a note says that it is empty."""
    path = tmp_path / ("a.jsonl" if json_lines else "a.csv")
    path.write_bytes(b"\n \n" if json_lines else b"title\n")
    of_file, of_input = classify(path), classify("-", "--json")
    assert (of_file.exit_code, of_input.exit_code) == (0, 0)
    assert of_file.stdout == of_input.stdout == ""
    assert of_file.stderr == f"tagstream: {path} has no row: nothing is classified\n"
    assert of_input.stderr == "tagstream: standard input has no row: nothing is classified\n"


@pytest.mark.parametrize("given", [b"hello world\n", b'"hello"\n', b"\xff\xfe\n"])
def test_lines_that_are_no_json_lines_are_told_what_is_expected(given: bytes) -> None:
    """The error for a piped plain text names both forms of rows, and the form for a text."""
    done = classify("-", given=given)
    assert done.exit_code == 1
    assert "JSON Lines, an object with a `title` in each line, or CSV whose first line names a column `title`" in done.stderr
    assert "tagstream classify 'TEXT'" in done.stderr


@pytest.mark.parametrize(
    ("given", "line", "number"),
    [
        (b'{"title":"a"}\n\n\n\n{"title":7}\n', 5, 1),
        (b'\n{"title":"a"}\n \r\n{"title":"b"}\n[]', 5, 2),
        (b'title,id\na,1\n\n"",2\n', 4, 1),
        (b'title,id\n"a\n\nb",1\n"","\n"\n', 5, 1),
    ],
)
def test_a_row_that_is_refused_is_found_by_its_line(given: bytes, line: int, number: int) -> None:
    """The sentences name the line of a refused row; its JSON object has that line and the place among the objects."""
    spoken, written = classify("-", given=given), classify("-", "--json", given=given)
    assert spoken.exit_code == written.exit_code == 1
    assert f"rejected  line {line}  " in spoken.stdout
    (refused,) = (found for found in map(json.loads, written.stdout.splitlines()) if found["destination"] == "dlq")
    assert refused.keys() == {"destination", "line", "row", "error"}
    assert (refused["line"], refused["row"]) == (line, number)
    assert json.loads(written.stdout.splitlines()[number]) == refused
    assert "1 of" in spoken.stderr
    assert " rejected. The output has the line and the reason of each." in spoken.stderr


def test_a_json_array_is_told_how_to_become_json_lines() -> None:
    """Lines of a pretty-printed array are no objects, and the error names the command that makes JSON Lines of the array."""
    done = classify("-", given=b'[\n  {"title": "a"},\n  {"title": "b"}\n]\n')
    assert done.exit_code == 1
    assert "3 of 4 rows are rejected" in done.stderr
    assert "The input begins with `[`, as a JSON array does: `jq -c '.[]' FILE`" in done.stderr
    assert "A plain text" not in done.stderr


def test_rows_that_are_objects_need_no_word_on_the_form() -> None:
    """A file whose rows are objects gets no hint on the form of rows."""
    assert "JSON Lines" not in classify("-", given=b'{"title":"a"}\n{"title":7}\n').stderr


def test_a_text_that_is_refused_has_no_row() -> None:
    """The error for a text names no row."""
    done = classify(" ")
    assert done.exit_code == 1
    assert done.stdout.startswith("rejected  missing_title: ")
    assert "row" not in done.stderr


def test_what_looks_like_a_file_is_not_a_text_in_silence() -> None:
    """A text that looks like a path is classified, with a note that no such file exists."""
    meant, text = classify("papers.parquet", "--json"), classify("A/B tests of models", "--json")
    assert (meant.exit_code, text.exit_code) == (0, 0)
    assert json.loads(meant.stdout)["title"] == "papers.parquet"
    assert meant.stderr == "tagstream: papers.parquet is taken for a text, since there is no such file\n"
    assert text.stderr == ""


def test_a_folder_and_a_file_of_another_kind_are_no_texts(tmp_path: Path) -> None:
    """A folder is refused, and the error for a file of another kind names the expected forms."""
    folder = classify(tmp_path)
    assert isinstance(folder.exception, RowsError)
    assert (folder.exception.exit_code, folder.stdout) == (2, "")
    assert ".csv, .json, .jsonl, .ndjson" in str(folder.exception)
    (tmp_path / "papers.parquet").write_bytes(b"PAR1")
    done = classify(tmp_path / "papers.parquet")
    assert done.exit_code == 1
    assert "Expected are JSON Lines" in done.stderr


def test_rows_above_one_that_cannot_be_read_are_printed(tmp_path: Path) -> None:
    """Rows before an unreadable one are classified as if the file ended there."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"title\na\nb\nc,d\n")
    done = classify(path, "--json")
    assert [json.loads(line)["title"] for line in done.stdout.splitlines()] == ["a", "b"]
    assert isinstance(done.exception, RowsError)
    assert "line 4: more fields" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("worker", "--group", ""), "Invalid value for '--group': it is empty. Next: give a name, or leave it out."),
        (("worker", "--bundle", ""), "Invalid value for '--bundle': it is empty. Next: give a name, or leave it out."),
        (("classify", "a", "--bundle", ""), "Invalid value for '--bundle': it is empty."),
        (("tail", "tagged", "--tag", ""), "Invalid value for '--tag': it is empty."),
        (("send", ""), "Invalid value for 'FILE|-': it is empty."),
        (("drift", "--from", "", "--out", "FILE"), "Invalid value for '--from': it is empty."),
        (("tail", ""), "Invalid value for 'topic': it is empty."),
        (("model", "inspect", ""), "Invalid value for 'FOLDER': it is empty. Next: give a name, or leave it out."),
        (("model", "verify", ""), "Invalid value for 'FOLDER': it is empty."),
        (("model", "evaluate", ""), "Invalid value for 'FOLDER': it is empty."),
        (("model", "evaluate", "--against", ""), "Invalid value for '--against': it is empty."),
        (("model", "evaluate", "--not-worse-than", ""), "Invalid value for '--not-worse-than': it is empty."),
        (("model", "evaluate", "--at-least", ""), "Invalid value for '--at-least': it is empty."),
        (("model", "calibrate", "--out", ""), "Invalid value for '--out': it is empty."),
        (("drift", "--from", "-", "--out", ""), "Invalid value for '--out': it is empty."),
    ],
)
def test_an_empty_name_is_refused(words: tuple[str, ...], says: str) -> None:
    """An empty bundle would be the working directory: `--bundle "$BUNDLE"` with an unset variable."""
    done = run(*words)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(("name", "says"), [("GROUP", "it is empty: "), ("BUNDLE", "it is empty, and names no file or folder")])
def test_an_empty_name_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    """The variable is named, with the reason and the next step."""
    monkeypatch.setenv(f"TAGSTREAM_{name}", "")
    done = run("worker")
    assert isinstance(done.exception, SettingsError)
    assert f"setting {name.lower()} = '' (environment TAGSTREAM_{name}) cannot be used: {says}" in str(done.exception)
    assert "Next: " in str(done.exception)


def test_columns_of_a_file_are_named_for_classify_as_for_send(tmp_path: Path) -> None:
    """A table of papers with names of its own is classified as it is."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"Ref,Title,Body\n7,a,b\n")
    done = classify(path, "--json", "--title", "Title", "--description", "Body", "--id", "Ref")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["id"], found["title"], found["description"]) == ("7", "a", "b")


@pytest.mark.parametrize("verb", ["list", "replay"])
@pytest.mark.parametrize(
    ("option", "given", "says"),
    [
        ("--code", "mising_title", "'mising_title' is not a code of a dead letter; the nearest one is missing_title."),
        ("--code", "zzz", "'zzz' is not a code of a dead letter. Next: write one of unreadable_batch, tombstone, empty, "),
        ("--stage", "foo", "'foo' is not a stage of a dead letter. Next: write one of decode, validate, infer, produce."),
    ],
)
def test_a_filter_that_no_dead_letter_has_is_a_mistake(verb: str, option: str, given: str, says: str) -> None:
    """An unknown code or stage is refused: an empty list would look like good news."""
    done = run("dlq", verb, option, given, "--brokers", "127.0.0.1:1")
    assert isinstance(done.exception, DeadLetterArgumentError)
    assert done.exception.exit_code == 2
    assert says in str(done.exception)
    assert "tagstream dlq list --count" in str(done.exception)


def test_every_code_and_stage_that_is_written_can_be_asked_for() -> None:
    """Each code and stage that the stream writes is accepted as a filter."""
    check_filters(code=None, stage=None)
    for code in Reason:
        check_filters(code=code.value, stage=None)
    for stage in Stage:
        check_filters(code=None, stage=stage.value)


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "NOWHERE"),
        ("evaluate", TINY_BUNDLE, "--against", "other=NOWHERE"),
        ("calibrate", "NOWHERE", "--out", "OUT"),
        ("train", "OUT", "--from", "NOWHERE"),
    ],
)
def test_a_bundle_that_is_not_there_is_said_before_data_is_fetched(
    words: tuple[object, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A mistyped bundle folder is refused before data is downloaded."""

    def download() -> Path:
        msg = "cannot be fetched"
        raise madewithml.DataError(msg)

    monkeypatch.setattr(madewithml, "download", download)
    monkeypatch.setattr(needs, "require_export", lambda **_: None)
    done = run("model", *(str(word).replace("NOWHERE", str(tmp_path / "none")).replace("OUT", str(tmp_path)) for word in words))
    assert isinstance(done.exception, BundleError)
    assert f"bundle {tmp_path / 'none'} is refused" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--checkpoint", "kept"), "--from is for the encoder of another bundle"),
        (("--layers", "6"), "leave out --layers"),
        (("--work", "kept"), "leave out --work"),
    ],
)
def test_a_kept_encoder_is_not_trained(words: tuple[str, ...], said: str) -> None:
    """Options of a training are refused before any work."""
    done = run("model", "train", "out", "--from", TINY_BUNDLE, *words)
    assert (done.exit_code, said in done.stderr) == (2, True)


@pytest.mark.parametrize("other", [("--json",), ("--rules", "x")])
def test_a_draft_of_rules_is_printed_alone(other: tuple[str, ...]) -> None:
    """Another form, or a file of rules beside it, is refused."""
    assert run("model", "inspect", "--draft-rules", *other).exit_code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "one of them"),
        (("--learn", "--confirm"), "one of them"),
        (("--learn", "--out", "x"), "--out: only for a reference of a file"),
        (("--from", "-"), "name it by --out FILE"),
    ],
)
def test_drift_takes_one_way_to_say_what_is_ordinary(words: tuple[str, ...], said: str) -> None:
    """None, two, and options of another one are refused before a broker is asked."""
    done = run("drift", *words, "--brokers", "127.0.0.1:1")
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_bytes_are_not_shown_as_json() -> None:
    """--raw and --json together are refused."""
    done = run("dlq", "show", "0/1", "--raw", "--json", "--brokers", "127.0.0.1:1")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Next: give one of --raw and --json." in done.stderr


@pytest.mark.parametrize(
    ("words", "said"), [(("--events", "--json"), "leave out --count and --json"), (("--topic", "x"), "give --events")]
)
def test_events_of_dead_letters_are_written_alone(words: tuple[str, ...], said: str) -> None:
    """`dlq list` refuses a form of the list beside --events, and a topic of events without it, before a broker is asked."""
    done = run("dlq", "list", *words, "--brokers", "127.0.0.1:1")
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_replay_gives_a_program_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dlq replay --json` prints its report on standard output."""
    monkeypatch.setattr(replay, "replay", lambda *_: [ReplayReport(target="content", sent=2)])
    done = run("dlq", "replay", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (
        0,
        {"target": "content", "sent": 2, "returned": 0, "hopeless": {}, "already": 0, "refused": {}},
    )


def test_the_version_is_a_line() -> None:
    """`--version` prints name and version on one line."""
    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"tagstream {version()}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("train", "OUT", "--corpus-only"),
        ("train", "OUT", "--all"),
        ("export", "network", "OUT"),
        ("train", "OUT", "--from", str(DEFAULT_BUNDLE)),
        ("calibrate", "--out", "OUT"),
    ],
)
@pytest.mark.parametrize("broken", [True, False])
def test_a_bundle_that_is_to_be_replaced_is_named_before_the_work(
    words: tuple[str, ...], broken: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every verb that writes a bundle names the one that it will replace, before minutes of work."""
    ran = []

    def begin(**_: object) -> NoReturn:
        ran.append(words[0])
        raise typer.Exit

    monkeypatch.setattr(needs, "require_export", begin)
    there = tmp_path / "bundle" if "--all" in words else tmp_path
    # In a folder without a bundle no note is printed.
    given = [word.replace("OUT", str(tmp_path)) for word in words]
    assert run("model", *given).stderr == ""
    shutil.copytree(TINY_BUNDLE, there, dirs_exist_ok=True)
    if broken:
        (there / "tokenizer.json").write_text("{}")
    done = run("model", *given)
    assert (done.exit_code, ran) == (0, [words[0]] * 2)
    bundle = read_bundle(TINY_BUNDLE)
    whole = f"the bundle {bundle.manifest.name} {bundle.manifest.version}, digest {bundle.digest[:12]}"
    what = "a bundle that does not verify" if broken else whole
    assert done.stderr.startswith(f"tagstream: {there} holds {what}: it is replaced when the new one is done; ")


@pytest.mark.parametrize("sources", [True, False])
def test_settings_that_a_program_reads_are_a_line_each(sources: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal each setting is one line, however long its value is, below a comment that names its subject."""
    brokers = ",".join(f"kafka-{number}.example.com:9092" for number in range(9))
    loaded = load({"TAGSTREAM_BROKERS": brokers, "TAGSTREAM_GROUP": "[bold]\x1b[1m"}, folder=Path("/nonexistent"))
    print_settings(loaded, sources=sources, as_json=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("# ")]
    assert sorted(line.partition(" = ")[0] for line in lines) == sorted(known_keys())
    origin = "  (environment TAGSTREAM_BROKERS)" if sources else ""
    assert lines[0].startswith(f"brokers = {brokers}{origin}  # ")
    assert any(line.startswith("group = [bold]\\x1b[1m  ") for line in lines)
    (port,) = [line for line in lines if line.startswith("metrics_port = ")]
    assert ("(default)" in port) == sources


def test_settings_on_a_terminal_are_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal the settings of each subject are a table with a heading."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_settings(load({}, folder=Path("/nonexistent")), sources=False, as_json=False)
    shown = capsys.readouterr().out
    assert all(column in shown.splitlines()[1] for column in ("setting", "value", "meaning and range"))
    assert " = " not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--against", "recorded", "--with-text"), "--against, --with-text: only for a comparison over the past. Next:"),
        (("--rows", "rows.jsonl", "--sample", "1"), "--rows: only for a comparison over the past. Next:"),
        (
            ("--since", "beginning", "--ask", "0", "--max", "3", "--metrics-port", "0", "--from-beginning"),
            "--ask, --from-beginning, --max, --metrics-port: only for a follower beside the running stream",
        ),
        (("--until", "0:10", "--ask", "0.5"), "--ask: only for a follower beside the running stream"),
    ],
)
def test_the_past_and_the_running_stream_have_options_of_their_own(words: tuple[str, ...], said: str) -> None:
    """`rollout shadow` refuses an option of the one in the other by its name, before a bundle is read or a broker asked."""
    done = run("rollout", "shadow", "no-such-bundle", *words)
    assert (done.exit_code, said in done.output, "Next: " in done.output) == (2, True, True), done.output
