"""`tagstream send` without a broker: it looks before it sends."""

import contextlib
import io
import os
import threading
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.data.reader import RowsError
from tagstream.stream.batch import row_survey
from tagstream.stream.batch.sending import ContractError
from tagstream.stream.cli import main


class Sent:
    """A fake sender: flushed events are confirmed."""

    def __init__(self) -> None:
        """No event has been sent."""
        self.keys: list[bytes | None] = []
        self.values: list[bytes] = []
        self.acknowledged = 0

    def send(self, _: str, *, key: bytes | None, value: bytes) -> None:
        """Take it."""
        self.keys.append(key)
        self.values.append(value)

    def flush(self) -> None:
        """Confirm every event."""
        self.acknowledged = len(self.values)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """A broker that takes everything."""
    taken = Sent()
    monkeypatch.setattr("tagstream.stream.batch.sending.require", lambda *_, **__: None)
    monkeypatch.setattr("tagstream.stream.kafka.producer.sender", lambda _: contextlib.nullcontext(taken))
    return taken


def send(*words: object, given: bytes = b"") -> Result:
    """`tagstream send` with these words."""
    return CliRunner().invoke(main.app, ["send", *map(str, words)], input=given)


def written(folder: Path, content: bytes, name: str = "a.jsonl") -> Path:
    """A file with this content."""
    path = folder / name
    path.write_bytes(content)
    return path


def test_a_file_with_rows_that_are_no_events_is_not_sent(tmp_path: Path, sent: Sent) -> None:
    """It ends with code 4, shows the first such rows with line and code, counts all, and sends no row."""
    path = written(tmp_path, b'{"title":"a"}\n\n{"title":7}\n' + b"{\n" * 9)
    done = send(path)
    assert isinstance(done.exception, ContractError)
    assert done.exception.exit_code == 4
    said = str(done.exception)
    assert f"{path}: 10 of 11 rows are no events, and nothing was sent:\n  line 3: wrong_type (title is " in said
    assert (
        "  and 5 more; of all: 9 invalid_json, 1 wrong_type\nNext: correct them, or send the file as it is with --as-is" in said
    )
    assert sent.values == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"Attention is all you need\nA second line\n", "Expected are JSON Lines, an object with a `title`"),
        (b'[\n  {"title": "a"},\n  {"title": "b"}\n]\n', "a JSON array"),
        (b'[{"title":"a"}]', "a JSON array"),
    ],
)
def test_a_file_of_another_form_is_told_what_is_expected(tmp_path: Path, sent: Sent, content: bytes, says: str) -> None:
    """Plain lines and a JSON array are refused with a sentence on the form."""
    done = send(written(tmp_path, content, "a.json"))
    assert isinstance(done.exception, ContractError)
    assert says in str(done.exception)
    assert sent.values == []


def test_as_is_sends_every_row_and_says_which_are_no_events(tmp_path: Path, sent: Sent) -> None:
    """The bytes are sent untouched, and a warning names the rows."""
    done = send(written(tmp_path, b'{"title":"a"}\nno json\n'), "--as-is")
    assert done.exit_code == 0
    assert sent.values == [b'{"title":"a"}', b"no json"]
    assert "warning: 1 of 2 rows is no event; sent all the same:\n  line 2: invalid_json" in done.stderr


def test_standard_input_stops_at_the_first_row_that_is_no_event(sent: Sent) -> None:
    """It cannot be read twice: the rows above are sent and counted, and the line says where to go on."""
    done = send("-", given=b'{"title":"a"}\n{"title":"b"}\n{"title":7}\n{"title":"c"}\n')
    assert isinstance(done.exception, ContractError)
    assert str(done.exception).startswith(
        "standard input, line 3: wrong_type (title is a JSON number, a string is expected): it is no event. "
        "The 2 events above it are in content, confirmed by the broker. Next: correct it and send the rest from that line on"
    )
    assert sent.values == [b'{"title":"a"}', b'{"title":"b"}']


def test_standard_input_as_is_is_sent_whole(sent: Sent) -> None:
    """The warnings come at the end."""
    done = send("-", "--as-is", given=b'no json\n{"title":"b"}\n{"title":"b"}\n')
    assert done.exit_code == 0
    assert len(sent.values) == 3
    assert "1 of 3 rows is no event; sent all the same" in done.stderr
    assert "1 of 3 rows repeats the id of an earlier row (line 3 that of line 2)" in done.stderr


def test_a_pipe_is_read_once(tmp_path: Path, sent: Sent) -> None:
    """A second reading of `<(...)` would hang, so its rows are looked at as they come."""
    path = tmp_path / "63"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b'{"title":"a"}\n',))
    writer.start()
    done = send(path)
    writer.join()
    assert done.exit_code == 0
    assert sent.values == [b'{"title":"a"}']


def test_repeated_ids_are_a_warning(tmp_path: Path, sent: Sent) -> None:
    """The rows are sent: only their producer can say whether it is a mistake."""
    done = send(written(tmp_path, b"id,title\n1,a\n2,b\n1,c\n", "a.csv"))
    assert done.exit_code == 0
    assert "warning: 1 of 3 rows repeats the id of an earlier row (line 4 that of line 2)" in done.stderr
    assert len(sent.values) == 3


def test_columns_and_a_key_field(tmp_path: Path, sent: Sent) -> None:
    """Columns become the event's fields; the key's field may be named as in the file or as in the event."""
    path = written(tmp_path, b"Ref,Title,Body\n7,a,b\n", "a.csv")
    for key_field in ("Ref", "id"):
        done = send(path, "--title", "Title", "--description", "Body", "--id", "Ref", "--key-field", key_field)
        assert done.exit_code == 0, done.output
    assert sent.keys == [b"7", b"7"]
    assert set(sent.values) == {b'{"id":"7","title":"a","description":"b"}'}


def test_a_row_without_its_key_is_refused(tmp_path: Path, sent: Sent) -> None:
    """It counts among the rows that are no events; with --as-is it is sent without a key."""
    path = written(tmp_path, b'{"title":"a","user":"u"}\n{"title":"b"}\n')
    done = send(path, "--key-field", "user")
    assert isinstance(done.exception, ContractError)
    assert "line 2: no_key (the field 'user' holds no text and no number to be the key)" in str(done.exception)
    assert sent.values == []
    assert send(path, "--key-field", "user", "--as-is").exit_code == 0
    assert sent.keys == [b"u", None]


def test_a_file_is_not_sent_in_part(tmp_path: Path, sent: Sent) -> None:
    """A row that cannot be read is found before anything is sent."""
    done = send(written(tmp_path, b"title\na\nb,c\n", "a.csv"))
    assert isinstance(done.exception, RowsError)
    assert "line 3: more fields" in str(done.exception)
    assert sent.values == []


@pytest.mark.parametrize(("good", "words"), [(1, "1 event above it is"), (3, "3 events above it are")])
def test_standard_input_that_is_sent_in_part_says_so(sent: Sent, good: int, words: str) -> None:
    """Events before an unreadable row are confirmed and counted, with a warning that a second run repeats them."""
    done = send("-", given=b"title\n" + b"a%d\n" * good % tuple(range(good)) + b"b,c\n")
    assert isinstance(done.exception, RowsError)
    assert f"line {good + 2}: more fields" in str(done.exception)
    assert f"The {words} in content, confirmed by the broker: a run of the whole file sends" in str(done.exception)
    assert len(sent.values) == sent.acknowledged == good


@pytest.mark.parametrize("content", [None, b"id\n1\n", b'{"title":7}\n'])
def test_a_file_is_looked_at_before_the_brokers(tmp_path: Path, content: bytes | None) -> None:
    """A file that cannot be sent is an error before a broker is waited for."""
    path = tmp_path / "none.csv" if content is None else written(tmp_path, content, "a.csv" if b"id" in content else "a.jsonl")
    done = send(path, "--brokers", "127.0.0.1:1")
    assert isinstance(done.exception, RowsError | ContractError), done.exception


@pytest.mark.parametrize(
    "words",
    [[], ["a.csv", "--samples"], ["a.csv", "--drift", "language"], ["--samples", "--as-is"], ["--samples", "--title", "T"]],
)
def test_options_that_do_not_go_together_are_refused(words: list[str]) -> None:
    """Options for a file are refused with --samples, and the other way round."""
    done = send(*words)
    assert done.exit_code == 2
    assert "Next: give one of the two." in done.stderr


@pytest.mark.parametrize("option", ["--topic", "--key-field"])
def test_an_empty_name_is_refused(option: str) -> None:
    """An empty --topic would be the topic of the settings."""
    done = send("a.csv", option, "")
    assert done.exit_code == 2
    assert "it is empty. Next: give a name, or leave it out." in done.stderr


def test_the_memory_for_a_large_input_is_bounded(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long input neither rows nor faults nor ids are kept."""
    monkeypatch.setattr(row_survey, "REMEMBER", 10)
    seen: list[row_survey.RowSurvey] = []
    monkeypatch.setattr(
        "tagstream.stream.batch.sending.RowSurvey", lambda *given: seen.append(row_survey.RowSurvey(*given)) or seen[-1]
    )
    lines = io.BytesIO()
    for number in range(500):
        lines.write(b'{"id":"%d","title":"a"}\nx\n' % number)
    assert send("-", "--as-is", given=lines.getvalue()).exit_code == 0
    (found,) = seen
    assert (found.rows, found.codes.total(), len(found.faults), len(found._lines)) == (1000, 500, row_survey.SHOWN, 10)
    assert sent.acknowledged == 1000
