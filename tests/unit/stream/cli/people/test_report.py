"""`tagstream report` without a broker: what is sent, and what is refused before anything is sent."""

import contextlib

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.stream.cli import main
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.reports import Report, read_report


class Sent:
    """A fake sender."""

    def __init__(self) -> None:
        """No report has been sent."""
        self.records: list[Record] = []

    def send(self, topic: str, *, key: bytes | None, value: bytes) -> None:
        """Take it."""
        self.records.append(Record(topic=topic, key=key, value=value))

    def flush(self) -> None:
        """Confirm it."""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """A broker that takes everything."""
    taken = Sent()
    monkeypatch.setattr("tagstream.stream.kafka.admin.require", lambda *_, **__: None)
    monkeypatch.setattr("tagstream.stream.kafka.producer.sender", lambda _: contextlib.nullcontext(taken))
    return taken


def report(*words: str) -> Result:
    """`tagstream report` with these words."""
    return CliRunner().invoke(main.app, ["report", *words])


def test_a_report_goes_to_its_topic_under_the_events_id(sent: Sent) -> None:
    """All that was said is in the record, and a person learns what follows."""
    done = report("e-1", "--tag", "mlops", "--note", "about servers", "--reporter", "bo")
    assert done.exit_code == 0, done.output
    (record,) = sent.records
    assert (record.topic, record.key) == ("reports", b"e-1")
    found = read_report(record)
    assert isinstance(found, Report)
    assert (found.event_id, found.suggested_tag, found.note, found.reporter) == ("e-1", "mlops", "about servers", "bo")
    assert "the report on e-1 is in reports, confirmed by the broker" in done.output


def test_a_tag_that_no_bundle_has_is_sent_with_a_warning(sent: Sent) -> None:
    """The bundle that decided may be another one; a reviewer's own word needs no warning."""
    done = report("e-1", "--tag", "mlopss")
    assert done.exit_code == 0, done.output
    assert "has no label 'mlopss'; the nearest one is mlops. The report is sent all the same" in done.output
    assert "label" not in report("e-1", "--tag", "off_subject").output
    assert len(sent.records) == 2


@pytest.mark.parametrize("words", [("e" * 257,), (" ",), ("e-1", "--note", "n" * 2001), ("e-1", "--reporter", "\ud83d"), ("",)])
def test_what_is_no_report_is_refused_before_it_is_sent(sent: Sent, words: tuple[str, ...]) -> None:
    """A usage error says why, and nothing is sent."""
    done = report(*words)
    assert done.exit_code == 2
    assert "Next: " in done.output
    assert sent.records == []
