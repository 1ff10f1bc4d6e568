"""The records that `tail` shows."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tagstream.stream.cli import main
from tagstream.stream.cli.show.record_filter import RecordFilter, unknown_tag
from tagstream.stream.contract.event import Record
from tagstream.stream.settings.settings import Settings
from tests.conftest import TINY_BUNDLE

DECISION = Record(key=b"k", value=b'{"id":"e-1","tag":"mlops","decider":"model"}')


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (RecordFilter(), True),
        (RecordFilter(tag="mlops"), True),
        (RecordFilter(tag="other"), False),
        (RecordFilter(decider="model", id="e-1"), True),
        (RecordFilter(decider="reviewer"), False),
        (RecordFilter(id="k"), False),
        (RecordFilter(tag="mlops", id="e-2"), False),
    ],
)
def test_a_record_is_taken_if_it_has_all_that_is_asked_for(wanted: RecordFilter, taken: bool) -> None:
    """Tag, decider and id must all fit, and an empty filter takes every record."""
    assert wanted.takes(DECISION) is taken


@pytest.mark.parametrize("value", [None, b"", b"no json", b"[]", b"\xff", b'{"id":null}'])
def test_a_record_without_an_id_is_taken_by_its_key(value: bytes | None) -> None:
    """A dead letter may hold any bytes, and has the key of its event."""
    record = Record(key=b"e-1", value=value)
    assert RecordFilter(id="e-1").takes(record)
    assert not RecordFilter(tag="mlops").takes(record)


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("mlops", None),
        ("mlop", "has no label 'mlop'; the nearest one is mlops. The records are read all the same"),
        ("MLOps", "has no label 'MLOps'; the nearest one is mlops."),
        ("zzz", "has no label 'zzz'; it has computer-vision, mlops, natural-language-processing, other."),
    ],
)
def test_a_tag_that_is_no_label_of_the_bundle_is_said(tag: str, says: str | None) -> None:
    """A misspelt tag finds no record, which would look like a quiet topic."""
    warning = unknown_tag(Settings(bundle=TINY_BUNDLE), tag)
    assert (warning is None) == (says is None)
    assert says is None or says in (warning or "")


def test_a_bundle_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """The tag is not compared, and the warning has the reason."""
    warning = unknown_tag(Settings(bundle=tmp_path), "mlops")
    assert (warning or "").startswith(f"the tag 'mlops' cannot be compared with the labels of the bundle: bundle {tmp_path}")


def test_tail_warns_before_it_asks_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning is on standard error, and the records are read all the same."""
    read: list[object] = []
    monkeypatch.setattr("tagstream.stream.cli.show.records.tail", lambda *_, keep, **__: read.append(keep) or 0)
    done = CliRunner().invoke(main.app, ["tail", "tagged", "--tag", "mlop"])
    assert (done.exit_code, done.stdout, read) == (0, "", [RecordFilter(tag="mlop")])
    assert done.stderr.startswith("tagstream: the bundle ")
    assert "the nearest one is mlops" in done.stderr
    assert CliRunner().invoke(main.app, ["tail", "tagged", "--tag", "mlops"]).stderr == ""
