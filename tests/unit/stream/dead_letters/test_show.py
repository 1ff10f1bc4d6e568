"""Dead letters on the terminal: text of an event is always escaped, and a list has none of it."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.dead_letter import Place, read
from tagstream.stream.contract.event import DEFAULT_LIMITS, Headers, Record
from tagstream.stream.dead_letters import show
from tagstream.stream.dead_letters.replay import NotReplayed, ReplayReport
from tagstream.stream.dead_letters.selection import DeadLetterArgumentError, FoundRecord
from tagstream.stream.terminal import console
from tests.unit.stream.contract.test_dead_letter import event, letter, lying

PLANTED = "zq7planted"


def found(record: Record) -> FoundRecord:
    """The record as `choose` finds it."""
    place = Place(partition=record.partition, offset=record.offset)
    return FoundRecord(place=place, letter=read(record), record=record, why="it is none of ours")


def printed(one: FoundRecord) -> str:
    """The output of `dlq show` for people."""
    with console.out.capture() as captured:
        show.print_letter(one, raw=False, as_json=False)
    return captured.get()


@given(st.text(max_size=60), st.text(max_size=30), st.booleans())
def test_shown_text_cannot_move_the_cursor_or_turn_the_line(text: str, name: str, ours: bool) -> None:
    """Key, value, and names and values of headers are escaped, of dead letters and of other records."""
    data = text.encode("utf-8", errors="surrogatepass")
    headers: Headers = ((name.encode("utf-8", errors="replace").decode(), data), ("__streams.errors.message", data))
    record = lying(event(data, data, headers))
    if not ours:
        record = Record(topic="content.dlq", key=data, value=data, headers=headers, partition=0, offset=0)
    shown = printed(found(record))
    assert all(character.isprintable() for character in shown.replace("\n", ""))


def test_a_list_has_no_text_of_the_event(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Lines, JSON and counts are free of it."""
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


def test_columns_stay_apart_however_long_a_topics_name_is() -> None:
    """The place that a dead letter came from does not run into its code."""
    topic = "articles.of-the-whole-house.content"
    with console.out.capture() as captured:
        show.print_list([found(lying(event(b"k", b"v"), topic=topic))], as_json=False)
    assert f"{topic} 2/77 " in captured.get()


@pytest.mark.parametrize("dry_run", [False, True])
def test_dead_letters_that_came_back_are_counted_apart(dry_run: bool) -> None:
    """The count in the event's headers tells; a dead letter that is sent again by its place has not come back."""
    report = ReplayReport(target="content")
    for headers in ((), (("x-dlq-replay-count", b"1"),), (("x-dlq-replay-count", b"2"),)):
        report.count(letter(headers=headers), DEFAULT_LIMITS)
    with console.err.capture() as captured:
        show.print_report(report, dry_run=dry_run, as_json=False)
        show.print_report(ReplayReport(target="content", sent=3), dry_run=dry_run, as_json=False)
    first, second = captured.get().replace("\n", " ").split("3 dead letters ")[1:]
    assert "to content; 2 of them came back from an earlier replay" in first
    assert "came back" not in second


def test_dead_letters_whose_own_bytes_are_at_fault_are_named_before_they_come_again() -> None:
    """This version refuses them for the same reason; of others, framed or corrected by the version, nothing is said."""
    report = ReplayReport(target="content")
    for value in (b"{}", b'{"description":"x"}', b'{"title":"now it is read"}', b"\0\0\0\0\1{}"):
        report.count(letter(value=value), DEFAULT_LIMITS)
    with console.err.capture() as captured:
        show.print_report(report, dry_run=True, as_json=False)
    said = " ".join(captured.get().split())
    assert "4 dead letters would be replayed" in said
    assert (
        "2 of them become the same dead letter again, since their own bytes are at fault, or the pointers of fields.* and contents (2 missing_title)"
        in said
    )


def test_events_are_exported_as_lines_to_correct(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """JSON is one line with its values byte for byte, broken JSON keeps its text, and what is left out is counted."""
    values = (b'{ "name": "Caf\\u00e9",\n  "n": 1.50 }', b'{"title": "a\nb', b"\xff\xfe", b" ", None)
    letters = [found(lying(event(value=value))) for value in values]
    with console.err.capture() as captured:
        show.print_events([*letters, found(lying(event(), topic="reviewed"))], content="content")
    assert capsysbinary.readouterr().out == b'{"name":"Caf\\u00e9","n":1.50}\n{"title": "a b\n'
    said = " ".join(captured.get().split())
    assert "2 events written; left out: 1 no text" in said
    assert "2 without a value" in said
    assert "1 of the topic reviewed" in said


@pytest.mark.parametrize("milliseconds", [-1, 0, 10**18])
def test_an_invalid_time_is_shown_as_its_number(milliseconds: int) -> None:
    """Any writer may set the time of a record."""
    record = Record(topic="d", key=b"k", value=b"v", partition=0, offset=0, timestamp_ms=milliseconds)
    assert "written" in printed(found(record))


def test_the_exact_bytes_are_written_and_nothing_else(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """With --raw the output is the value and no other byte; a tombstone has no value, which is an error."""
    show.print_letter(found(lying(event(value=b"\xff\x1b[2J"))), raw=True, as_json=False)
    assert capsysbinary.readouterr().out == b"\xff\x1b[2J"
    with pytest.raises(DeadLetterArgumentError, match="it is a tombstone"):
        show.print_letter(found(lying(event(value=None))), raw=True, as_json=False)


def test_the_report_of_a_replay_is_an_object_in_json(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """It has the fields of the report; a dry run prints none, since its records are the data."""
    report = ReplayReport(
        target="content", sent=3, already=2, refused=Counter({NotReplayed.TOO_LARGE: 1, NotReplayed.NOT_OURS: 4})
    )
    show.print_report(report, dry_run=True, as_json=True)
    show.print_report(report, dry_run=False, as_json=False)
    assert capsysbinary.readouterr().out == b""
    show.print_report(report, dry_run=False, as_json=True)
    assert json.loads(capsysbinary.readouterr().out) == {
        "target": "content",
        "sent": 3,
        "returned": 0,
        "hopeless": {},
        "already": 2,
        "refused": {NotReplayed.NOT_OURS.value: 4, NotReplayed.TOO_LARGE.value: 1},
    }
