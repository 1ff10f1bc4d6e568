"""Records to facts, and back: what a page may show, and what must come out as it went in."""

import pytest

from tagstream.stream.contract.answers import read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.reports import Report
from tagstream.stream.review.store.records import ASKED_BY, Door, link_of, text_of, timed
from tests.answering import NOW_MS, UNSURE, answer, reviewed, shown
from tests.answering import decided as record_of


def test_an_answer_carries_its_decision() -> None:
    """A decision of which its topic has nothing any more is the same as the one that was shown, and its event too."""
    record = record_of(UNSURE)
    given = answer(record, "mlops", note="why")
    found = read_answer(reviewed(record, given))
    assert not isinstance(found, Refusal)
    was = shown(record)
    assert (found.shown.decision, found.shown.door) == (was.decision, was.door)
    assert (found.shown.event.fields, found.shown.event.record.key) == (was.event.fields, was.event.record.key)


def test_a_report() -> None:
    """Its time is that of the topic, and none to come: an event would be asked about again after every answer."""
    report = Report(event_id="a", note="wrong", reported_at="2023-11-14T22:13:20.123Z")
    found = timed(report, Record(key=None, value=b""), NOW_MS + 500)
    assert (found.report.event_id, found.report.note, found.reported_ms) == ("a", "wrong", NOW_MS + 123)
    assert timed(report, Record(key=None, value=b"", timestamp_ms=NOW_MS + 7), NOW_MS + 500).reported_ms == NOW_MS + 7
    assert timed(report, Record(key=None, value=b""), NOW_MS).reported_ms == NOW_MS


@pytest.mark.parametrize(
    ("fields", "link"),
    [
        ('"url":"https://x.y/z"', "https://x.y/z"),
        ('"link":"HTTP://x.y"', "HTTP://x.y"),
        ('"url":"javascript:alert(1)","link":"https://x.y"', "https://x.y"),
        ('"url":" https://x.y"', None),
        ('"url":7', None),
        ('"url":["https://x.y"]', None),
        ('"other":1', None),
    ],
)
def test_only_a_web_address_is_a_link(fields: str, link: str | None) -> None:
    """A producer must not be able to have a reviewer run a script."""
    event = shown(record_of(f'{{"id":"a","title":"maybe","language":"de",{fields}}}'.encode())).event
    assert (link_of(event.fields), text_of(event.fields, "language")) == (link, "de")


def test_every_door_of_the_queue_has_a_name_on_the_topic() -> None:
    """A second opinion has that of the first, which the item tells."""
    assert set(Door) - set(ASKED_BY) == {Door.SECOND_OPINION}
