"""The contract of `reports`: what a person may give, what is written, and what is read from the topic."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.refusal import Refusal, UnwritableError
from tagstream.stream.contract.reports import Report, read_report, report_of, write_report

NOW_MS = 1_700_000_000_123
WHOLE = {"event_id": "e-1", "reporter": "bo", "suggested_tag": "mlops", "note": "\N{SNOWMAN}"}


def record(value: bytes | None) -> Record:
    """A record of `reports`."""
    return Record(topic="reports", key=b"e-1", value=value)


@pytest.mark.parametrize("given_", [WHOLE, {"event_id": "e-1"}])
def test_a_report_is_read_as_it_was_written(given_: dict[str, str]) -> None:
    """A person's report is on the topic, with the time, in the contract's order."""
    report = report_of(given_, NOW_MS)
    assert isinstance(report, Report)
    value = write_report(report)
    assert json.loads(value) == given_ | {"reported_at": "2023-11-14T22:13:20.123Z"}
    assert [*json.loads(value)] == [*given_, "reported_at"]
    assert read_report(record(value)) == report


def test_an_empty_field_of_a_form_is_absent() -> None:
    """A form sends every field; those left empty say nothing."""
    assert report_of({"event_id": "e-1", "reporter": "", "suggested_tag": " ", "note": ""}, NOW_MS) == Report(
        event_id="e-1", reported_at="2023-11-14T22:13:20.123Z"
    )


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        ({}, Reason.WRONG_TYPE),
        ([], Reason.WRONG_TYPE),
        (None, Reason.WRONG_TYPE),
        ({"event_id": 1}, Reason.WRONG_TYPE),
        ({"event_id": " "}, Reason.WRONG_TYPE),
        ({"event_id": "e" * 257}, Reason.WRONG_TYPE),
        ({"event_id": "e", "note": "n" * 2001}, Reason.WRONG_TYPE),
        ({"event_id": "e", "tag": "mlops"}, Reason.WRONG_TYPE),
        ({"event_id": "e", "reported_at": "2023-11-14T22:13:20.123Z"}, Reason.WRONG_TYPE),
        ({"event_id": "e", "note": "\0"}, Reason.NUL_CHARACTER),
        ({"event_id": "e", "note": "\ud83d"}, Reason.LONE_SURROGATE),
    ],
)
def test_what_is_no_report_is_refused(given_: Any, reason: Reason) -> None:
    """A field too many, too long or of another type is refused with a sentence, and so is a time of the reporter's own."""
    found = report_of(given_, NOW_MS)
    assert isinstance(found, Refusal)
    assert found.reason is reason
    assert len(found.message) > 10


def test_a_field_of_another_version_is_ignored_on_the_topic() -> None:
    """A newer program may write more; a record without an event or with a wrong time is refused."""
    good = {"event_id": "e-1", "reported_at": "2023-11-14T22:13:20.123Z"}
    assert isinstance(read_report(record(json.dumps(good | {"mood": 1}).encode())), Report)
    assert isinstance(read_report(record(json.dumps(good | {"mood": "x" * 65_536}).encode())), Refusal)
    for bad in ({"event_id": "  "}, {"reported_at": "2023-02-31T00:00:00.000Z"}, {"reported_at": "now"}, {"note": 1}):
        assert isinstance(read_report(record(json.dumps(good | bad).encode())), Refusal)


@pytest.mark.parametrize("changes", [{"event_id": ""}, {"note": "\0"}, {"reported_at": "now"}, {"suggested_tag": "t" * 257}])
def test_a_report_that_would_be_refused_is_not_written(changes: dict[str, str]) -> None:
    """The writer holds what the reader checks."""
    report = Report(event_id="e-1", reported_at="2023-11-14T22:13:20.123Z")
    with pytest.raises(UnwritableError):
        write_report(msgspec.structs.replace(report, **changes))


@given(st.none() | st.binary() | st.text().map(str.encode))
def test_reading_is_total(value: bytes | None) -> None:
    """Any bytes are refused, and nothing is raised."""
    assert isinstance(read_report(record(value)), Refusal)


@given(st.dictionaries(st.sampled_from([*WHOLE, "x"]), st.text() | st.integers() | st.none(), max_size=5))
def test_a_report_of_anything_is_a_report_or_a_refusal(given_: dict[str, Any]) -> None:
    """No error is raised, and a report that is taken can be written and read."""
    report = report_of(given_, NOW_MS)
    if isinstance(report, Report):
        assert read_report(record(write_report(report))) == report
