"""The contract of `reviewed`: what is read and written, what is refused, and the decision on `tagged` that follows."""

import json
import re
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.answers import (
    OFF_SUBJECT,
    Answer,
    AnsweredEvent,
    Before,
    answer_id,
    order,
    read_answer,
    tagged_by_reviewer,
    write_answer,
)
from tagstream.stream.contract.event import CUT_HEADERS, Record
from tagstream.stream.contract.outcome import ReviewerDecision
from tagstream.stream.contract.published import DecidedEvent, ModelDecision, PublishedDecision, read_decision
from tagstream.stream.contract.refusal import Refusal, UnwritableError
from tests.answering import NOW_MS, SURE, UNSURE, answer, audited, decided, published, reviewed, shown
from tests.fakes import LABELS
from tests.replacing import replace

# An event whose fields have names of ours, and a number that no float has.
AWKWARD = b'{"id":"e-3","title":"image","version":"2.0","note":7,"tags":["x"],"tag":"news","overridden":{"a":1},"n":1.1000000000000000000001}'
FIELDS = [
    "event_id",
    "prediction_id",
    "model_tag",
    "tag",
    "reviewer",
    "decided_at",
    "version",
    "note",
    "supersedes",
    "blind",
    "asked_by",
    "before",
]


def read(record: Record) -> AnsweredEvent:
    """The answer in a record that has one."""
    found = read_answer(record)
    assert isinstance(found, AnsweredEvent), found
    return found


def changed(**changes: Any) -> Record:
    """A good record of `reviewed` with other values; a value of `...` takes the field away, `before` is changed field by field."""
    record = reviewed(decided(), answer())
    fields = json.loads(record.value or b"")
    fields["before"] |= changes.pop("before", {})
    fields |= changes
    kept = {name: value for name, value in fields.items() if value is not ...}
    return replace(record, value=json.dumps(kept).encode())


@pytest.mark.parametrize("value", [SURE, UNSURE, AWKWARD], ids=["tagged", "review", "awkward"])
def test_an_answer_is_read_as_it_was_written(value: bytes) -> None:
    """Event and answer come back whole, the event's fields byte for byte, whatever their names."""
    record = decided(value, key=b"\xff", headers=(("traceparent", b"1"),))
    first = answer(record, note="\N{SNOWMAN} sure?")
    second = answer(record, OFF_SUBJECT, previous=first, reviewer="bob")
    for said in (first, second):
        found = read(reviewed(record, said))
        assert found.answer == said
        assert found.event.fields == {
            name: msgspec.Raw(raw) for name, raw in msgspec.json.decode(value, type=dict[str, msgspec.Raw]).items()
        }
    assert (second.version, second.supersedes) == (2, answer_id(first))


def test_a_record_has_the_events_fields_and_then_the_answers() -> None:
    """The names stand in the order of the contract, and those that have no value are absent."""
    record = decided(UNSURE)
    first = answer(record)
    value = reviewed(record, first).value
    assert value is not None
    assert value.startswith(UNSURE[:-1] + b',"event_id"')
    assert [*json.loads(value)][2:] == [name for name in FIELDS if name not in {"note", "supersedes"}]
    corrected = json.loads(reviewed(record, answer(record, note="n", previous=first)).value or b"")
    assert [*corrected][2:] == FIELDS
    assert [*corrected["before"]] == [
        "confidence",
        "probabilities",
        "decider",
        "model",
        "threshold",
        "truncated",
        "destination",
        "reasons",
        "inclusion_probability",
        "tagged_at",
    ]
    assert corrected["before"]["destination"] == "review"


def test_an_answer_carries_each_field_of_the_decision() -> None:
    """`before` and the answer's own fields are the whole decision: the console makes it again of them. A viewer's token is no part of it."""
    of_the_answer = {"tag", "prediction_id", "ask"}
    assert {*Before.__struct_fields__} - {"destination"} == {*ModelDecision.__struct_fields__} - of_the_answer


def test_an_audit_copy_is_of_the_door_tagged() -> None:
    """The answer on a copy says where the event is, and the probability with which it was drawn."""
    before = answer(audited(decided(), 0.02)).before
    assert (before.destination, before.inclusion_probability, before.reasons) == ("tagged", 0.02, ())


def test_an_event_s_field_of_a_name_of_ours_is_kept_aside() -> None:
    """The answer's `version` is the answer's, and the event's is in `overridden`, on `reviewed` as on `tagged`."""
    record = decided(AWKWARD)
    written = reviewed(record, answer(record, "mlops"))
    value = json.loads(written.value or b"")
    assert (value["version"], value["overridden"]) == (1, {"version": "2.0", "note": 7, "tag": "news", "overridden": {"a": 1}})
    _, tagged, _, _ = tagged_by_reviewer(read(written), NOW_MS)
    published = json.loads(tagged)
    assert (published["version"], published["tags"], published["note"]) == (1, ["x"], 7)
    assert published["overridden"] == {"version": "2.0", "tag": "news", "overridden": {"a": 1}}


def test_the_decision_on_tagged_is_complete_and_names_no_person() -> None:
    """A reviewer's decision has the fields of every decision, the model's own tag, and neither name nor note."""
    record = decided(UNSURE, key=b"k", headers=(("traceparent", b"1"), ("ce_id", b"2"), ("content-type", b"x")))
    first = answer(record, "other", reviewer="ann lee", note="private")
    key, value, headers, _ = tagged_by_reviewer(read(reviewed(record, first)), NOW_MS)
    assert (key, headers) == (b"k", (("traceparent", b"1"),))
    assert value.startswith(UNSURE[:-1] + b',"tag":"other"')
    assert value.endswith(b',"tagged_at":"2023-11-14T22:13:20.000Z"}')
    assert b"ann lee" not in value
    assert b"private" not in value
    fields, model = json.loads(value), shown(record).decision
    assert fields["confidence"] == model.probabilities["other"]
    assert (fields["decider"], fields["model_tag"], fields["version"]) == ("reviewer", "mlops", 1)
    assert (fields["prediction_id"], fields["supersedes"]) == (answer_id(first), model.prediction_id)
    assert fields["probabilities"] == model.probabilities

    second = answer(record, OFF_SUBJECT, previous=first)
    _, value, _, _ = tagged_by_reviewer(read(reviewed(record, second)), NOW_MS)
    fields = json.loads(value)
    assert (fields["tag"], fields["confidence"], fields["version"]) == (OFF_SUBJECT, 0.0, 2)
    assert fields["supersedes"] == answer_id(first)


@pytest.mark.parametrize("value", [SURE, UNSURE, AWKWARD])
def test_the_decision_on_tagged_is_read_back(value: bytes) -> None:
    """A consumer's reader finds the reviewer's decision and the event as it came."""
    record = decided(value)
    key, tagged, headers, _ = tagged_by_reviewer(read(reviewed(record, answer(record))), NOW_MS)
    found = published(Record(topic="tagged", key=key, value=tagged, headers=headers))
    assert isinstance(found.decision, ReviewerDecision)
    assert found.door == "tagged"
    assert found.event.fields == shown(record).event.fields
    # The type that an answer is given to: a correction is given on the model's decision.
    assert not isinstance(found, DecidedEvent)


@given(st.integers(0, 4_000_000_000_000), st.integers(0, 4_000_000_000_000))
def test_a_redelivered_answer_repeats_the_bytes_of_its_decision(first_ms: int, second_ms: int) -> None:
    """Only `tagged_at` differs between two publications of one answer, wherever it was read."""
    record = decided(UNSURE)
    written = reviewed(record, answer(record))
    one = tagged_by_reviewer(read(written), first_ms)
    two = tagged_by_reviewer(read(replace(written, partition=7, offset=1, timestamp_ms=NOW_MS + 70_000)), second_ms)
    assert one[0] == two[0]
    assert one[1].rpartition(b',"tagged_at"')[0] == two[1].rpartition(b',"tagged_at"')[0]


def test_an_answer_has_an_id_of_its_own() -> None:
    """The id is fixed here, since corrections and consumers go by it; each part of the answer is part of it."""
    said = answer()
    assert answer_id(said) == "84e1e862-6c1f-5c89-9c30-7b851bf683bc"
    assert uuid.UUID(answer_id(said)).version == 5
    others = [
        {"event_id": "e-9"},
        {"prediction_id": str(uuid.uuid4())},
        {"tag": "mlops"},
        {"reviewer": "bob"},
        {"decided_at": "2024-01-01T00:00:00.000Z"},
        {"version": 2},
        {"note": "n"},
    ]
    ids = {answer_id(msgspec.structs.replace(said, **other)) for other in others}
    assert len(ids | {answer_id(said)}) == len(others) + 1


ANSWERS = st.builds(
    lambda version, second, tag, reviewer: msgspec.structs.replace(
        answer(tag=tag, now_ms=NOW_MS + second * 1000, reviewer=reviewer),
        version=version,
        supersedes=None if version == 1 else str(uuid.UUID(int=version)),
    ),
    st.integers(1, 3),
    st.integers(0, 2),
    st.sampled_from(LABELS),
    st.sampled_from(["ann", "bob"]),
)


@given(st.lists(ANSWERS, min_size=1, max_size=6), st.randoms())
def test_two_consoles_agree_on_the_answer_that_holds(answers: list[Answer], shuffle: Any) -> None:
    """The greatest by order is the same in every order of arrival; the version comes first, then the time."""
    holds = max(answers, key=order)
    arrived = list(answers)
    shuffle.shuffle(arrived)
    assert max(arrived, key=order) == holds
    assert all((said.version, said.decided_at) <= (holds.version, holds.decided_at) for said in answers)


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"tag": "sports"}, Reason.UNKNOWN_LABEL, "tag is neither"),
        ({"model_tag": "sports"}, Reason.UNKNOWN_LABEL, "model_tag is no label"),
        ({"before": {"probabilities": {"mlops": 1.0, OFF_SUBJECT: 0.0}}}, Reason.UNKNOWN_LABEL, "only a person"),
        ({"prediction_id": str(uuid.uuid4())}, Reason.UNKNOWN_DECISION, "does not follow"),
        ({"id": "e-9", "event_id": "e-9"}, Reason.UNKNOWN_DECISION, "does not follow"),
        ({"before": {"model": {"name": "m", "version": "1", "digest": "0"}}}, Reason.UNKNOWN_DECISION, "does not follow"),
        ({"event_id": "e-9"}, Reason.INVALID_ANSWER, "event_id is not the id"),
        ({"event_id": 1}, Reason.INVALID_ANSWER, r"Expected `str`, got `int` - at `\$.event_id`"),
        ({"tag": ...}, Reason.INVALID_ANSWER, "missing required field `tag`"),
        ({"reviewer": ...}, Reason.INVALID_ANSWER, "missing required field `reviewer`"),
        ({"reviewer": "  "}, Reason.INVALID_ANSWER, "reviewer"),
        ({"reviewer": "r" * 257}, Reason.INVALID_ANSWER, "length <= 256"),
        ({"note": "n" * 2001}, Reason.INVALID_ANSWER, "length <= 2000"),
        ({"version": 0}, Reason.INVALID_ANSWER, ">= 1"),
        ({"version": 10**30}, Reason.INVALID_ANSWER, "version"),
        ({"version": True}, Reason.INVALID_ANSWER, "version"),
        ({"version": 10_001, "supersedes": str(uuid.uuid4())}, Reason.INVALID_ANSWER, "more answers on one event than"),
        ({"before": {"probabilities": dict.fromkeys(map(str, range(1001)), 0.0)}}, Reason.INVALID_ANSWER, "has 1001 parts"),
        ({"before": {"tags": ["x"] * 1001}}, Reason.INVALID_ANSWER, "tags has 1001 parts"),
        ({"before": {"reasons": ["x"] * 33}}, Reason.INVALID_ANSWER, "reasons has 33 parts"),
        ({"before": {"reasons": ["x" * 257]}}, Reason.INVALID_ANSWER, "more than 256 characters"),
        ({"before": {"probabilities": {"x" * 257: 1.0}}}, Reason.INVALID_ANSWER, "more than 256 characters"),
        ({"before": {"model": {"name": "m" * 257, "version": "1", "digest": "d"}}}, Reason.INVALID_ANSWER, "more than 256"),
        ({"version": 2}, Reason.INVALID_ANSWER, "supersedes"),
        ({"supersedes": str(uuid.uuid4())}, Reason.INVALID_ANSWER, "version 1 supersedes no answer"),
        ({"version": 2, "supersedes": "the first"}, Reason.INVALID_ANSWER, "supersedes"),
        ({"decided_at": "2023-02-31T00:00:00.000Z"}, Reason.INVALID_ANSWER, "decided_at is no time"),
        ({"decided_at": "2023-02-01T00:00:00Z"}, Reason.INVALID_ANSWER, "decided_at"),
        ({"decided_at": "2023-02-01T00:00:00.000+01:00"}, Reason.INVALID_ANSWER, "decided_at"),
        ({"blind": "no"}, Reason.INVALID_ANSWER, "blind"),
        ({"asked_by": "their own words"}, Reason.INVALID_ANSWER, r"Invalid enum value - at `\$.asked_by`"),
        ({"before": {"decider": "reviewer"}}, Reason.INVALID_ANSWER, "decider"),
        ({"before": {"probabilities": {}}}, Reason.INVALID_ANSWER, "probabilities"),
        ({"before": {"confidence": 1.5}}, Reason.INVALID_ANSWER, "confidence"),
        ({"before": {"inclusion_probability": 0}}, Reason.INVALID_ANSWER, "inclusion_probability"),
        ({"before": {"destination": "audit"}}, Reason.INVALID_ANSWER, "destination"),
        ({"title": ...}, Reason.MISSING_TITLE, "title is missing"),
        ({"id": ...}, Reason.INVALID_ID, "id is missing"),
        ({"id": 1.5}, Reason.WRONG_TYPE, "id is a JSON number"),
        ({"overridden": []}, Reason.WRONG_TYPE, "overridden"),
        ({"overridden": {"title": "another"}}, Reason.DUPLICATE_KEY, "overridden"),
    ],
)
def test_a_bad_answer_is_refused_with_its_fault(changes: dict[str, Any], reason: Reason, message: str) -> None:
    """Each fault has a code of the closed list and a sentence, and the sentence quotes nothing that was sent."""
    found = read_answer(changed(**changes))
    assert isinstance(found, Refusal)
    assert found.reason is reason
    assert re.search(message, found.message), found.message
    assert "their own words" not in found.message


def test_an_answer_with_as_many_labels_as_a_bundle_has_is_read() -> None:
    """The bound is that of the bundle, names and all."""
    names = [f"{number:0256}" for number in range(1000)]
    record = changed(before={"probabilities": dict.fromkeys(names, 0.001)}, model_tag=names[0], tag=names[999])
    assert read(record).answer.tag == names[999]


def test_an_answer_from_the_future_is_refused_and_the_last_version_can_be_corrected() -> None:
    """Else no correction would hold: at the highest version the later time does."""
    ahead = reviewed(decided(), answer(now_ms=NOW_MS + 3_600_001))
    for at, refused in ((NOW_MS, True), (NOW_MS + 1, False), (0, False)):
        assert isinstance(read_answer(replace(ahead, timestamp_ms=at)), Refusal) is refused
    last = read(changed(version=10_000, supersedes=str(uuid.uuid4()))).answer
    correction = answer(previous=last, now_ms=NOW_MS + 70_000)
    assert (correction.version, order(correction) > order(last)) == (10_000, True)
    assert read(reviewed(decided(), correction)).answer == correction


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record(key=None, value=None), Reason.TOMBSTONE),
        (Record(key=None, value=b""), Reason.EMPTY),
        (Record(key=None, value=b"\xff"), Reason.INVALID_UTF8),
        (Record(key=None, value=b"{"), Reason.INVALID_JSON),
        (Record(key=None, value=b"[]"), Reason.NOT_AN_OBJECT),
        (Record(key=None, value=b'{"a":1,"a":2}'), Reason.DUPLICATE_KEY),
        (Record(key=None, value=b'{"a":' + b"[" * 33 + b"]" * 33 + b"}"), Reason.TOO_DEEP),
        (Record(key=None, value=b" " * (2 * 1024 * 1024 + 1)), Reason.TOO_LARGE),
        (Record(key=None, value=b"{}", headers=((CUT_HEADERS[0], b"9"),)), Reason.TOO_LARGE),
        (changed(note="\0"), Reason.NUL_CHARACTER),
        (changed(note="\ud83d"), Reason.LONE_SURROGATE),
    ],
)
def test_bytes_that_are_no_answer_are_refused(record: Record, reason: Reason) -> None:
    """Malformed bytes get the codes that they have on `content`."""
    found = read_answer(record)
    assert isinstance(found, Refusal)
    assert found.reason is reason


@given(st.binary() | st.text().map(str.encode))
def test_reading_is_total(value: bytes) -> None:
    """Any bytes are refused, and nothing is raised."""
    assert isinstance(read_answer(Record(key=None, value=value)), Refusal)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*FIELDS, "id", "title", "overridden", "x"]), JSON, max_size=4))
def test_reading_is_total_over_changed_answers(changes: dict[str, Any]) -> None:
    """A good answer with other values in some fields is an answer or refused, the same each time."""
    before = changes.pop("before", {})
    record = changed(**changes, before=before if isinstance(before, dict) else {})
    found = read_answer(record)
    assert found == read_answer(record)
    if isinstance(found, AnsweredEvent):
        assert read(replace(record, value=write_answer(found.event.fields, found.answer))).answer == found.answer


@pytest.mark.parametrize(
    "said",
    [
        {"tag": "sports"},
        {"tag": ""},
        {"reviewer": ""},
        {"note": "\0"},
        {"note": "n" * 2001},
        {"asked_by": "friend"},
        {"blind": None},
    ],
)
def test_an_answer_that_would_be_refused_is_not_written(said: dict[str, Any]) -> None:
    """The writer holds what the reader checks, so that no console fills the dead letters."""
    record = decided()
    with pytest.raises(UnwritableError) as caught:
        write_answer(shown(record).event.fields, answer(record, **said))
    assert caught.value.refusal.message == str(caught.value)
    assert isinstance(read_decision(record), PublishedDecision)
