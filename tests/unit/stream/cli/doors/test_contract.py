"""`tagstream contract` on the command line."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.data.reader import RowsError
from tagstream.stream.cli import main
from tagstream.stream.contract.schema.topics import schemas


def run(*words: str, given: str = "") -> Result:
    """Run `tagstream contract`."""
    return CliRunner().invoke(main.app, ["contract", *words], input=given)


def test_check_of_good_records_ends_with_0() -> None:
    """The data is one object for each row; the sentence is on stderr."""
    done = run("check", "-", "--json", given='{"id": "a", "title": "Hi"}\n{"title": "Hi"}\n')
    assert (done.exit_code, [json.loads(line)["valid"] for line in done.stdout.splitlines()]) == (0, [True, True])
    assert done.stderr == "tagstream: 2 rows: each gets a decision, on tagged or review\n"


def test_check_ends_with_4_if_a_record_would_be_a_dead_letter(tmp_path: Path) -> None:
    """The sentence counts them by code and says what to do; the rows are all judged."""
    file = tmp_path / "events.jsonl"
    file.write_text('{"title": " "}\n{"id": "a", "title": "Hi"}\n{"id": 1.5, "title": "Hi"}\n')
    done = run("check", str(file))
    assert done.exit_code == 4
    assert [line.split("  ")[0].strip() for line in done.stdout.splitlines()] == ["dead letter", "decided", "dead letter"]
    assert "2 of 3 rows would become dead letters (1 missing_title, 1 wrong_type). Next:" in done.stderr


def test_check_takes_the_names_of_columns(tmp_path: Path) -> None:
    """As `classify` and `send`, it reads CSV, with columns of other names."""
    file = tmp_path / "papers.csv"
    file.write_text("Ref,Headline\n6,Feature stores\n")
    done = run("check", str(file), "--title", "Headline", "--id", "Ref", "--json")
    assert (done.exit_code, json.loads(done.stdout)["id"]) == (0, "6")


def test_check_names_repeated_ids() -> None:
    """Two events of one id are a conflict for consumers."""
    done = run("check", "-", given='{"id": 6, "title": "a"}\n{"id": "6", "title": "b"}\n')
    assert done.exit_code == 0
    assert "1 of 2 rows repeats the id of an earlier row (line 2 that of line 1)" in done.stderr


def test_check_reads_the_limits_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that the workers' settings refuse would become a dead letter."""
    monkeypatch.setenv("TAGSTREAM_MAX_EVENT_BYTES", "1000")
    done = run("check", "-", given=json.dumps({"title": "a" * 1000}) + "\n")
    assert (done.exit_code, "1 too_large" in done.stderr) == (4, True)


def test_a_file_that_is_not_there_is_a_fault_of_usage() -> None:
    """The error names the file and ends with code 2."""
    done = run("check", "/no/such.jsonl")
    assert isinstance(done.exception, RowsError)
    assert done.exception.exit_code == 2
    assert "/no/such.jsonl cannot be read" in str(done.exception)


@pytest.mark.parametrize(
    ("topic", "schema"),
    [
        ("content", "content.write"),
        ("tagged", "tagged"),
        ("dlq", "content.dlq.headers"),
        ("content.dlq", "content.dlq.headers"),
    ],
)
def test_show_of_a_topic_prints_its_schema(topic: str, schema: str) -> None:
    """That of `content` is the one to write by."""
    done = run("show", topic)
    assert (done.exit_code, json.loads(done.stdout)) == (0, schemas()[schema])


def test_show_prints_everything() -> None:
    """As JSON Schema every schema by its name, and as AsyncAPI the document of all topics."""
    assert json.loads(run("show", "--format", "jsonschema").stdout) == schemas()
    found = json.loads(run("show").stdout)
    assert found["asyncapi"] == "3.0.0"
    roles = {"content", "tagged", "review", "dlq", "audit", "reviewed", "reports", "outcomes", "shadow", "drift"}
    assert set(found["channels"]) == roles


def test_show_has_the_topics_names_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The document of an installation has its own addresses, and a topic is found by its name there."""
    monkeypatch.setenv("TAGSTREAM_TOPICS__CONTENT", "papers")
    channels = json.loads(run("show", "--format", "asyncapi").stdout)["channels"]
    assert [channels[role]["address"] for role in ("content", "dlq")] == ["papers", "papers.dlq"]
    only = json.loads(run("show", "papers", "--format", "asyncapi").stdout)
    assert list(only["channels"]) == list(only["components"]["messages"]) == ["content"]
    assert set(only["components"]["schemas"]) == {"content.read", "content.write"}


def test_show_refuses_an_unknown_topic() -> None:
    """The error lists the topics, and nothing is printed."""
    done = run("show", "contents")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "the contract has no topic 'contents'. Next: give one of content, tagged" in done.stderr
