"""Records of a topic on the terminal: all that are wanted, what the others were, and conflicts."""

from collections.abc import Iterator
from typing import Any

import pytest

from tagstream.stream.cli.show import records
from tagstream.stream.cli.show.record_filter import RecordFilter
from tagstream.stream.cli.show.records import print_record, tail
from tagstream.stream.contract.answers import AnsweredEvent, read_answer, tagged_by_reviewer
from tagstream.stream.contract.dead_letter import Place
from tagstream.stream.contract.distinct import ConflictError
from tagstream.stream.contract.event import Record
from tagstream.stream.dead_letters.selection import place
from tagstream.stream.settings.settings import Settings
from tests.answering import NOW_MS, UNSURE, answer, decided, reviewed


def decision(number: int, *, offset: int, tag: str = "mlops") -> Record:
    """A decision on the event of this number."""
    value = b'{"id":"%d","tag":"%s","prediction_id":"p-%d","tagged_at":"%d"}' % (number, tag.encode(), number, offset)
    return Record(topic="tagged", partition=0, offset=offset, key=b"k", value=value)


def tailed(monkeypatch: pytest.MonkeyPatch, *found: Record, **options: Any) -> int:
    """`tail` over a topic that holds these records and gets no more; it ends after a short idle time unless told otherwise."""

    def read(*_: object, **__: object) -> Iterator[list[Record]]:
        yield list(found)
        while True:
            yield []

    monkeypatch.setattr(records, "require", lambda *_, **__: None)
    monkeypatch.setattr(records, "read", read)
    given = {"as_json": True, "from_beginning": True, "max_records": None, "idle_seconds": 0.01, **options}
    return tail(Settings(), "tagged", **given)


def test_a_tail_of_distinct_outcomes_goes_on_after_a_conflict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each conflict is a line with both places, the records behind it are read, and the end counts all and has exit code 4."""
    found = [
        decision(1, offset=0),
        decision(1, offset=1, tag="other"),
        decision(2, offset=2),
        decision(1, offset=3),
        decision(2, offset=4, tag="other"),
    ]
    with pytest.raises(ConflictError, match=r"^2 conflicts: .*Next: ") as caught:
        tailed(monkeypatch, *found, distinct=True)
    assert caught.value.exit_code == 4
    shown, said = capsys.readouterr()
    assert [f'"offset":{offset},' in shown for offset in range(5)] == [True, False, True, False, False]
    assert "conflict: tagged 0/0 and 0/1 are of one id and differ in more than the time\n" in said
    assert "conflict: tagged 0/2 and 0/4 are of one id and differ in more than the time\n" in said
    assert "2 distinct outcomes, 1 duplicate dropped, 2 conflicts, 0 records not written by tagstream\n" in said


def test_the_lines_on_conflicts_are_bounded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A topic with thousands of conflicts shows the first ones and the number of all."""
    found = [decision(1, offset=offset, tag=f"t{offset}") for offset in range(1, 1001)]
    with pytest.raises(ConflictError, match=r"^999 conflicts"):
        tailed(monkeypatch, *found, distinct=True)
    assert capsys.readouterr().err.count("conflict: ") == records.CONFLICTS_SHOWN


def test_one_distinct_outcome_is_said_in_the_singular(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers and nouns agree."""
    assert tailed(monkeypatch, decision(1, offset=0), distinct=True) == 1
    assert "1 distinct outcome, 0 duplicates dropped, 0 conflicts, 0 records not written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": RecordFilter(tag="computer-vision")}, "0 of 2 records matched\n"),
        ({"keep": RecordFilter(id="1")}, "1 of 2 records matched\n"),
        ({"keep": RecordFilter(decider="rules"), "distinct": True}, "0 of 2 records matched\n"),
        ({"keep": RecordFilter(id="1"), "max_records": 1}, "1 of 1 record matched\n"),
        ({}, ""),
    ],
)
def test_a_tail_that_ends_by_itself_says_how_many_records_matched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: dict[str, Any], says: str
) -> None:
    """A filter that takes no record is told from an empty topic."""
    tailed(monkeypatch, decision(1, offset=0), decision(2, offset=1), **options)
    said = capsys.readouterr().err
    assert says in said
    assert ("matched" in said) == bool(says)


def test_an_empty_topic_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a filter a tail that ends without a record is not silent."""
    assert tailed(monkeypatch) == 0
    assert "0 records came\n" in capsys.readouterr().err


@pytest.mark.parametrize("from_beginning", [True, False])
def test_a_tail_without_an_end_says_that_it_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, from_beginning: bool
) -> None:
    """Once, behind the records that were there; who sees nothing learns how to see what is there."""

    def read(*_: object, **__: object) -> Iterator[list[Record]]:
        yield from ([decision(1, offset=0)] if from_beginning else [], [], [])
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "require", lambda *_, **__: None)
    monkeypatch.setattr(records, "read", read)
    tail(Settings(), "tagged", as_json=True, from_beginning=from_beginning, max_records=None, idle_seconds=None)
    said = capsys.readouterr().err
    assert said.count("waiting for new records of tagged; Ctrl-C ends") == 1
    assert ("--from-beginning shows those that are there" in said) is not from_beginning


def test_the_place_that_tail_prints_is_the_one_that_dlq_show_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """The second word of the line can be pasted behind `tagstream dlq show`."""
    print_record(Record(topic="content.dlq", partition=2, offset=40, key=None, value=b"no json"), as_json=False)
    topic, shown, *_ = capsys.readouterr().out.split()
    assert topic == "content.dlq"
    assert place(shown) == Place(partition=2, offset=40)


def test_a_line_says_who_decided(capfd: pytest.CaptureFixture[str]) -> None:
    """An answer and the decision that follows from it name the tag, the version, and what the model had said."""
    model = decided(UNSURE)
    written = reviewed(model, answer(model, "other", reviewer="ann\x1b[2J"))
    answered = read_answer(written)
    assert isinstance(answered, AnsweredEvent)
    key, value, _, _ = tagged_by_reviewer(answered, NOW_MS)
    print_record(written, as_json=False)
    print_record(Record(topic="tagged", key=key, value=value), as_json=False)
    said, follows = (" ".join(line.split()) for line in capfd.readouterr().out.splitlines())
    assert said.startswith("reviewed 2/9 other maybe deployment [ann")
    assert said.endswith(", version 1; the model said mlops]")
    assert "\x1b" not in said
    assert follows.endswith("other maybe deployment [a reviewer, version 1; the model said mlops]")
