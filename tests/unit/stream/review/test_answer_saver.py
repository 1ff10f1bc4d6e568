"""Saving: nothing is said to be saved before all replicas have it, and nothing typed is lost where they have not."""

import pytest

from tagstream.stream.contract.answers import OFF_SUBJECT, Answer, answer_id, read_answer
from tagstream.stream.contract.event import Headers, Record
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.reports import Report, read_report
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.kafka.errors import BrokerSilentError
from tagstream.stream.kafka.producer import TooLateError, UndeliveredError
from tagstream.stream.review.answer_saver import AnswerSaver, Saved, Unsaved
from tagstream.stream.review.store.queue import OF_A_CALLER, SAVING_MS
from tagstream.stream.review.store.records import AskedDecision, Claim, Lapsed, TooMany
from tagstream.stream.review.store.store import Store
from tests.answering import audited, shown
from tests.answering import decided as record_of
from tests.replacing import replace
from tests.unit.stream.review.conftest import Brokers
from tests.unit.stream.review.store.making import Clock, claimed

TRACE = (("traceparent", b"00-1"),)


def ask(
    store: Store, event_id: str = "a", title: str = "maybe deployment", *, headers: Headers = TRACE, **event: str
) -> Record:
    """Put an event into the queue as the follower does; the record of `review`."""
    rest = "".join(f',"{name}":"{text}"' for name, text in event.items())
    value = f'{{"id":"{event_id}","title":"{title}"{rest},"big":1e400000}}'.replace("1e400000", "12345678901234567890").encode()
    record = replace(record_of(value, key=b"k"), headers=headers)
    store.writer.fill([AskedDecision(item=shown(record))], {})
    return record


def said(record: Record) -> Answer:
    """What the record of `reviewed` says."""
    found = read_answer(record)
    assert not isinstance(found, Refusal), found
    return found.answer


def test_an_answer_is_sent_then_marked(store: Store, saving: AnswerSaver, brokers: Brokers) -> None:
    """The record is complete in itself, with the key and the headers of the decision and the event's own bytes."""
    ask(store, link="https://example.com/a")
    claim = claimed(store)
    saved = saving.save("a", claim.token, "computer-vision", note="the picture says so")
    assert isinstance(saved, Saved)
    [record] = brokers.records
    assert (record.topic, record.key, record.headers) == ("reviewed", b"k", TRACE)
    assert b'"big":12345678901234567890' in (record.value or b"")
    answer = said(record)
    assert (answer.tag, answer.reviewer, answer.version, answer.asked_by) == ("computer-vision", "ann", 1, "review")
    assert (answer.blind, answer.note, answer.supersedes) == (False, "the picture says so", None)
    assert answer.before.reasons == ("low_confidence",)
    assert store.queue.claim("ann") is None
    assert [given.answer_id for given in store.queue.own("ann")] == [answer_id(saved.answer)]


def test_an_answer_on_a_cloudevent_is_none(store: Store, saving: AnswerSaver, brokers: Brokers) -> None:
    """The attributes of the decision stay behind: they would call the answer the decision."""
    attributes = (("ce_specversion", b"1.0"), ("ce_id", b"i"), ("content-type", b"application/json"))
    ask(store, headers=(*TRACE, *attributes))
    assert isinstance(saving.save("a", claimed(store).token, "other"), Saved)
    assert [record.headers for record in brokers.records] == [TRACE]


def test_a_correction_names_the_answer_that_it_replaces(
    store: Store, saving: AnswerSaver, brokers: Brokers, clock: Clock
) -> None:
    """Undo, then answer anew: version 2, and the order says that it holds."""
    ask(store)
    first = saving.save("a", claimed(store).token, "other")
    clock.pass_ms(1)
    undone = store.queue.reopen("a", "ann")
    assert isinstance(first, Saved)
    assert isinstance(undone, Claim)
    second = saving.save("a", undone.token, OFF_SUBJECT)
    assert isinstance(second, Saved)
    answer = said(brokers.records[-1])
    assert (answer.version, answer.supersedes, answer.asked_by) == (2, answer_id(first.answer), "correction")
    assert [given.tag for given in store.queue.own("ann")] == [OFF_SUBJECT]


def test_an_audit_is_blind(store: Store, saving: AnswerSaver, brokers: Brokers) -> None:
    """The record says that the prediction was hidden, and with which probability the event was drawn."""
    store.writer.fill([AskedDecision(item=shown(audited(record_of(), 0.02)))], {})
    saving.save("e-1", claimed(store).token, "mlops")
    answer = said(brokers.records[0])
    assert (answer.blind, answer.asked_by, answer.before.inclusion_probability) == (True, "audit", 0.02)
    assert answer.before.destination == "tagged"


def test_a_second_opinion_is_blind_and_has_the_door_of_the_first(store: Store, saving: AnswerSaver, brokers: Brokers) -> None:
    """An audit answer that contradicts the model is asked of another person, who sees neither."""
    store.writer.fill([AskedDecision(item=shown(audited(record_of())))], {})
    first = claimed(store)
    contradiction = next(label for label in first.item.decision.probabilities if label != first.item.decision.tag)
    saving.save("e-1", first.token, contradiction)
    assert store.queue.claim("ann") is None
    second = claimed(store, "bob")
    assert (second.door.blind, second.before) == (True, None)
    saving.save("e-1", second.token, first.item.decision.tag)
    answer = said(brokers.records[-1])
    assert (answer.blind, answer.asked_by, answer.version, answer.reviewer) == (True, "audit", 2, "bob")
    assert store.queue.figures().length == 0


def test_a_wrong_tag_leaves_the_item_with_its_holder(store: Store, saving: AnswerSaver, brokers: Brokers) -> None:
    """A label of another bundle is refused before anything is written, and the next answer is taken at once."""
    ask(store)
    claim = claimed(store)
    with pytest.raises(ValueError, match="no label of the decision"):
        saving.save("a", claim.token, "sports")
    assert brokers.records == []
    assert isinstance(saving.save("a", claim.token, "other"), Saved)


def test_a_note_that_is_too_long_is_told(store: Store, saving: AnswerSaver, brokers: Brokers) -> None:
    """The item stays, so that the note can be made shorter."""
    ask(store)
    claim = claimed(store)
    refused = saving.save("a", claim.token, "other", note="x" * 3000)
    assert isinstance(refused, Unsaved)
    assert refused.arrived is False
    assert brokers.records == []
    assert isinstance(saving.save("a", claim.token, "other"), Saved)


def test_a_lapsed_token_saves_nothing(store: Store, saving: AnswerSaver, brokers: Brokers) -> None:
    """The page gets the refusal with its sentence."""
    ask(store)
    claim = claimed(store)
    store.queue.release("a", claim.token)
    assert isinstance(saving.save("a", claim.token, "other"), Lapsed)
    assert brokers.records == []


def test_brokers_that_are_away_wrote_nothing(store: Store, saving: AnswerSaver, brokers: Brokers) -> None:
    """The same answer can be sent again at once, by the same page."""
    ask(store)
    claim = claimed(store)
    brokers.raised = BrokerSilentError("no broker")
    unsaved = saving.save("a", claim.token, "other")
    assert isinstance(unsaved, Unsaved)
    assert unsaved.arrived is False
    brokers.raised, brokers.results = None, [TooLateError("late")]
    assert isinstance(saving.save("a", claim.token, "other"), Unsaved)
    brokers.results = []
    assert isinstance(saving.save("a", claim.token, "other"), Saved)


def test_a_record_that_may_have_arrived_is_not_sent_again(
    store: Store, saving: AnswerSaver, brokers: Brokers, clock: Clock
) -> None:
    """The item is shown to nobody until the topic has told, or the time of the send is over."""
    ask(store)
    claim = claimed(store)
    brokers.results = [UndeliveredError("KafkaTimeoutError")]
    unsaved = saving.save("a", claim.token, "other")
    assert isinstance(unsaved, Unsaved)
    assert unsaved.arrived is None
    assert store.queue.claim("ann") is None
    again = saving.save("a", claim.token, "other")
    assert isinstance(again, Lapsed)
    assert again.reason == "saving"
    clock.pass_ms(SAVING_MS)
    assert claimed(store).token == claim.token


def test_near_duplicates_get_the_same_answer(store: Store, saving: AnswerSaver, brokers: Brokers) -> None:
    """One decision settles them; an event with another text is left out, whatever the page sends."""
    text = {"description": "a note about rolling out the same thing again and again to all of the users"}
    for event_id in ("a", "b", "c"):
        ask(store, event_id, **text)
    ask(store, "other text", "maybe deployment of something else entirely, which nobody has seen before today")
    claim = claimed(store)
    offered = [item.event_id for item in store.queue.duplicates(claim.item.event.id)]
    assert sorted([claim.item.event.id, *offered]) == ["a", "b", "c"]
    taken = claimed(store, "bob")
    left = [event_id for event_id in offered if event_id != taken.item.event.id]
    saved = saving.save(claim.item.event.id, claim.token, "other", also=[*offered, "other text", "unknown"])
    assert isinstance(saved, Saved)
    assert [given.event_id for given in saved.also] == left
    assert sorted(said(record).event_id for record in brokers.records) == sorted([claim.item.event.id, *left])
    assert isinstance(store.queue.renew(taken.item.event.id, taken.token), Claim)
    assert claimed(store, "cid").item.event.id == "other text"


def test_a_store_that_fails_after_the_brokers_word_loses_nothing(
    store: Store, saving: AnswerSaver, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is saved, because the topic has it; the item is not shown again meanwhile."""
    ask(store)
    claim = claimed(store)
    with monkeypatch.context() as broken:

        def fail(*_: object) -> None:
            msg = "the disk is full"
            raise DatabaseUnavailableError(msg)

        broken.setattr(store.writer, "fill", fail)
        assert isinstance(saving.save("a", claim.token, "other"), Saved)
    assert len(brokers.records) == 1
    assert store.queue.claim("ann") is None


def test_a_report_is_sent(saving: AnswerSaver, brokers: Brokers) -> None:
    """The key is the event's id; what was not given is absent."""
    assert saving.report("10.0.0.1", "a", tag="other", note="wrong") is None
    [record] = brokers.records
    assert (record.topic, record.key) == ("reports", b"a")
    found = read_report(record)
    assert isinstance(found, Report)
    assert (found.event_id, found.suggested_tag, found.note, found.reporter) == ("a", "other", "wrong", None)


def test_a_flood_of_reports_is_refused(saving: AnswerSaver, brokers: Brokers) -> None:
    """One caller fills no queue; the refusal says when to come again."""
    for number in range(OF_A_CALLER):
        assert saving.report("10.0.0.1", str(number)) is None
    refused = saving.report("10.0.0.1", "one more")
    assert isinstance(refused, TooMany)
    assert 0 < refused.retry_after_seconds <= 3600
    assert saving.report("10.0.0.2", "one more") is None
    assert len(brokers.records) == OF_A_CALLER + 1


@pytest.mark.parametrize(
    "given", [{"event_id": " "}, {"event_id": "a", "note": "x" * 3000}, {"event_id": "a", "tag": "\ud800"}]
)
def test_a_report_that_no_one_could_read_is_refused(saving: AnswerSaver, brokers: Brokers, given: dict[str, str]) -> None:
    """It is a sentence for the reader, and nothing is sent or counted."""
    with pytest.raises(ValueError, match=r"\w+ "):
        saving.report("10.0.0.1", **given)
    assert brokers.records == []
