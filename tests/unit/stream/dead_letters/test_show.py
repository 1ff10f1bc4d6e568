"""Dead letters on the terminal: nothing of an event reaches it raw, and a list has none of it at all."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.contract.dead_letter import Place, read
from stream.contract.record import Headers, Record
from stream.dead_letters import show
from stream.dead_letters.choose import Found
from stream.dead_letters.refusals import NotReplayed
from stream.dead_letters.replay import Report
from stream.dead_letters.selection import UsageError
from stream.terminal import console
from tests.unit.stream.contract.test_dead_letter import event, letter, lying

PLANTED = "zq7planted"


def found(record: Record) -> Found:
    """What the topic's reader says of a record."""
    place = Place(partition=record.partition, offset=record.offset)
    return Found(place=place, letter=read(record), record=record, why="it is none of ours")


def printed(what: Found) -> str:
    """`show`, for people."""
    with console.out.capture() as captured:
        show.print_letter(what, raw=False, as_json=False)
    return captured.get()


@given(st.text(max_size=60), st.text(max_size=30), st.booleans())
def test_nothing_that_is_shown_moves_the_cursor_or_turns_the_line(text: str, name: str, ours: bool) -> None:
    """Key, value, header names and values, of a dead letter and of whatever else lies on the topic."""
    data = text.encode("utf-8", errors="surrogatepass")
    headers: Headers = ((name.encode("utf-8", errors="replace").decode(), data), ("__streams.errors.message", data))
    record = lying(event(data, data, headers))
    if not ours:
        record = Record(topic="content.dlq", key=data, value=data, headers=headers, partition=0, offset=0)
    shown = printed(found(record))
    assert all(character.isprintable() for character in shown.replace("\n", ""))


def test_a_list_has_no_word_of_the_event(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Not in lines, not in JSON, not in counts."""
    data = PLANTED.encode()
    letters = [found(lying(event(data, data, ((PLANTED, data),))))]
    with console.out.capture() as captured:
        show.print_list(letters, as_json=False)
        show.print_counts(letters, as_json=False)
    show.print_list(letters, as_json=True)
    show.print_counts(letters, as_json=True)
    written = capsysbinary.readouterr().out.decode()
    assert PLANTED not in captured.get() + written
    assert "missing_title" in captured.get()
    assert [json.loads(line)["code"] for line in written.splitlines()] == ["missing_title", "missing_title"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_came_back_from_an_earlier_replay_is_told_apart(dry_run: bool) -> None:
    """By the count among the event's own headers: a dead letter that is sent once more by name has not come back."""
    report = Report(target="content")
    for headers in ((), (("x-dlq-replay-count", b"1"),), (("x-dlq-replay-count", b"2"),)):
        report.count(letter(headers=headers))
    with console.err.capture() as captured:
        show.print_report(report, dry_run=dry_run, as_json=False)
        show.print_report(Report(target="content", sent=3), dry_run=dry_run, as_json=False)
    first, second = captured.get().replace("\n", " ").split("3 dead letters ")[1:]
    assert "to content; 2 of them came back from an earlier replay" in first
    assert "came back" not in second


@pytest.mark.parametrize("milliseconds", [-1, 0, 10**18])
def test_a_time_that_is_none_is_shown_as_its_number(milliseconds: int) -> None:
    """A record's time is whatever its writer said."""
    record = Record(topic="d", key=b"k", value=b"v", partition=0, offset=0, timestamp_ms=milliseconds)
    assert "written" in printed(found(record))


def test_the_exact_bytes_are_written_and_nothing_else(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """--raw is for files and other programs; of a tombstone there are none."""
    show.print_letter(found(lying(event(value=b"\xff\x1b[2J"))), raw=True, as_json=False)
    assert capsysbinary.readouterr().out == b"\xff\x1b[2J"
    with pytest.raises(UsageError, match="it is a tombstone"):
        show.print_letter(found(lying(event(value=None))), raw=True, as_json=False)


def test_what_a_replay_did_is_an_object_for_a_program(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """With the report's own names; the records of a dry run are the data, so that it gives no such object."""
    report = Report(target="content", sent=3, already=2, refused=Counter({NotReplayed.TOO_LARGE: 1, NotReplayed.NOT_OURS: 4}))
    show.print_report(report, dry_run=True, as_json=True)
    show.print_report(report, dry_run=False, as_json=False)
    assert capsysbinary.readouterr().out == b""
    show.print_report(report, dry_run=False, as_json=True)
    assert json.loads(capsysbinary.readouterr().out) == {
        "target": "content",
        "sent": 3,
        "returned": 0,
        "already": 2,
        "refused": {NotReplayed.NOT_OURS.value: 4, NotReplayed.TOO_LARGE.value: 1},
    }
