"""`tagstream lookup --table` and `tagstream tags`: what a table says of an event, and what stops both with a sentence."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.stream.cli import main
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.tables.predictions import open_predictions
from tagstream.stream.tables.schema import TableError
from tests.answering import NOW_MS, of_epoch
from tests.replacing import replace
from tests.unit.stream.tables.table_rows import corrected, model, row


def tagstream(*words: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(main.app, list(words))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A table with an event that a person decided and corrected, and the model decided anew."""
    found = f"sqlite:///{tmp_path}/tags.db"
    with open_predictions(found) as predictions:
        predictions.upsert([row(record) for record in [model(at_ms=NOW_MS + 9_000_000), *corrected("e-1", ["other", "mlops"])]])
    return found


def test_the_decision_that_holds_is_the_last_line(url: str) -> None:
    """Each decision of the event, then the one that holds."""
    done = tagstream("lookup", "e-1", "--table", url)
    assert done.exit_code == 0, done.output
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["review", "mlops"],
        ["tagged", "other"],
        ["tagged", "mlops"],
        ["holds", "mlops"],
    ]
    assert "by a reviewer, version 2" in done.stdout.splitlines()[-1]


def test_as_json_it_is_one_object(url: str) -> None:
    """For a program: the decision that holds, and all of them in their order."""
    found = json.loads(tagstream("lookup", "e-1", "--table", url, "--json").stdout)
    assert (found["event_id"], found["holds"]) == ("e-1", found["decisions"][-1])
    assert [one.get("version") for one in found["decisions"]] == [None, 1, 2]
    assert (found["holds"]["door"], found["holds"]["decider"]) == ("tagged", "reviewer")


def test_a_decision_of_a_bundle_that_decides_no_more_is_stale(url: str) -> None:
    """As the view has it, in words and as JSON; a person's decision never is."""
    event = "e-5"
    with open_predictions(url) as predictions:
        predictions.upsert([row(model(event, by=of_epoch(1)))])
        before = json.loads(tagstream("lookup", event, "--table", url, "--json").stdout)["holds"]
        predictions.upsert([row(model("e-6", by=of_epoch(2)))])
    assert (before["stale"], before["epoch"], before["decided_at"]) == (False, 1, timestamp(NOW_MS))
    after = json.loads(tagstream("lookup", event, "--table", url, "--json").stdout)
    assert after["holds"] == after["decisions"][-1] == before | {"stale": True}
    assert tagstream("lookup", event, "--table", url).stdout.splitlines()[-1].split() == [
        "stale",
        "other",
        "bundles",
        "decide",
        "since",
        "epoch",
        "2",
    ]
    assert "stale" not in tagstream("lookup", "e-6", "--table", url).stdout
    decisions = json.loads(tagstream("lookup", "e-1", "--table", url, "--json").stdout)["decisions"]
    assert [(one["stale"], one["epoch"]) for one in decisions] == [(True, 0), (False, 0), (False, 0)]


def test_an_event_that_the_table_does_not_have_is_told(url: str) -> None:
    """Exit code 1, a sentence, and `holds` is null."""
    done = tagstream("lookup", "e-2", "--table", url, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"event_id": "e-2", "holds": None, "decisions": []}
    assert "has no decision on the event 'e-2'. Next:" in done.stderr


def test_options_of_the_topics_do_not_go_with_a_table(url: str) -> None:
    """The person may have meant the one or the other."""
    done = tagstream("lookup", "e-1", "--table", url, "--key", "k")
    assert done.exit_code == 2
    assert "leave out --key and --brokers, or --table" in done.stderr


def test_a_lookup_makes_no_table(tmp_path: Path) -> None:
    """A path that is wrong stays without a file."""
    done = tagstream("lookup", "e-1", "--table", f"sqlite:///{tmp_path}/gone.db")
    assert "no file that is there" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_is_no_decision_is_told(url: str) -> None:
    """Another program has changed it."""
    with open_predictions(url) as predictions:
        predictions.upsert([replace(row(model("e-3")), answer="{]")])
    done = tagstream("lookup", "e-3", "--table", url)
    assert isinstance(done.exception, TableError)
    assert "holds no decision" in str(done.exception)


def test_tags_says_which_brokers_do_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start it does not try for ever; the table is there and empty."""
    monkeypatch.setenv("TAGSTREAM_STARTUP_TIMEOUT_SECONDS", "0.1")
    done = tagstream("tags", "--table", f"sqlite:///{tmp_path}/tags.db", "--brokers", "127.0.0.1:1")
    assert getattr(done.exception, "exit_code", None) == 3
    assert "127.0.0.1:1" in str(done.exception)
    with open_predictions(f"sqlite:///{tmp_path}/tags.db") as predictions:
        assert predictions.newest("e-1") is None
