"""Records to facts, and back: what a page may show, and what must come out as it went in."""

import pytest

from stream.contract.answers import answer_id, order, read_answer
from stream.contract.record import Record
from stream.contract.refusal import Refusal
from stream.contract.reports import Report
from stream.review.store.facts import Door
from stream.review.store.standing import Opinion
from stream.review.translation import ASKED_BY, answered, decided, published, reported
from tests.answering import NOW_MS, UNSURE, answer, audited, reviewed, shown
from tests.answering import decided as record_of


def test_a_decision_of_review() -> None:
    """All that a page shows, and what an answer carries."""
    record = record_of(UNSURE)
    change = decided(shown(record))
    assert change is not None
    item = change.item
    assert (change.door, item.event_id, item.title, item.description) == ("review", "e-2", "maybe deployment", None)
    assert (item.key, item.reasons, item.model, item.tagged_ms) == (b"e-2", ("low_confidence",), "tiny 1", NOW_MS)
    assert item.fields == b'{"id":"e-2","title":"maybe deployment"}'
    assert item.inclusion_probability == 1.0
    assert list(item.probabilities) == list(shown(record).decision.probabilities)


def test_an_audit_copy_is_not_counted_again() -> None:
    """Its event is on `tagged`, where it is counted."""
    found = shown(audited(record_of(), 0.25))
    change = decided(found)
    assert change is not None
    assert (change.door, change.item.inclusion_probability, published(found)) == ("audit", 0.25, None)


def test_a_tagged_decision_has_its_place() -> None:
    """A report finds it there."""
    found = published(shown(record_of()))
    assert found is not None
    assert (found.destination, found.partition, found.offset, found.short) == ("tagged", 1, 5, True)


def test_a_reviewers_decision_is_no_decision_of_the_model() -> None:
    """What people said comes by `reviewed`, so on `tagged` it is neither asked about nor counted."""
    value = (record_of().value or b"").replace(b'"decider":"model"', b'"decider":"reviewer"')
    extra = b',"model_tag":"mlops","version":1,"decided_at":"2027-01-01T00:00:00.000Z","supersedes":"%s"}' % (
        b"0" * 8 + b"-0000" * 3 + b"-" + b"0" * 12
    )
    record = record_of()
    found = shown(type(record)(key=record.key, value=value[:-1] + extra, topic="tagged"))
    assert decided(found) is None
    assert published(found) is None


def test_an_answer_carries_its_item() -> None:
    """An item of which the topic has nothing any more is the same as the one that was shown."""
    record = record_of(UNSURE)
    change = decided(shown(record))
    given = answer(record, "mlops", note="why")
    found = read_answer(reviewed(record, given))
    assert not isinstance(found, Refusal)
    fact = answered(found)
    assert change is not None
    assert fact.item == change.item
    assert (fact.given.answer_id, fact.given.note, fact.decided_ms) == (answer_id(given), "why", NOW_MS + 60_000)
    opinion = Opinion(**{name: getattr(fact.given, name, None) for name in Opinion.__dataclass_fields__} | {"decided_ms": 0})
    assert opinion.order == order(given)


def test_a_report() -> None:
    """Its time is that of the topic, and none to come: an event would be asked about again after every answer."""
    report = Report(event_id="a", note="wrong", reported_at="2023-11-14T22:13:20.123Z")
    found = reported(report, Record(key=None, value=b""), NOW_MS + 500)
    assert (found.complaint.event_id, found.complaint.note, found.reported_ms) == ("a", "wrong", NOW_MS + 123)
    assert reported(report, Record(key=None, value=b"", timestamp_ms=NOW_MS + 7), NOW_MS + 500).reported_ms == NOW_MS + 7
    assert reported(report, Record(key=None, value=b""), NOW_MS).reported_ms == NOW_MS


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
    change = decided(shown(record_of(f'{{"id":"a","title":"maybe","language":"de",{fields}}}'.encode())))
    assert change is not None
    assert (change.item.link, change.item.language) == (link, "de")


def test_every_door_of_the_queue_has_a_name_on_the_topic() -> None:
    """A second opinion has that of the first, which the item tells."""
    assert set(Door) - set(ASKED_BY) == {Door.SECOND_OPINION}
