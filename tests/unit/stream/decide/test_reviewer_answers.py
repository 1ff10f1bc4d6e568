"""Records of `reviewed` become decisions or dead letters, one each, in order, whatever their bytes."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tagstream.monitoring.vocabulary import Destination, Reason
from tagstream.stream.contract import dead_letter
from tagstream.stream.contract.answers import Answer, AnswerKeys, Said, answer_to, write_answer
from tagstream.stream.contract.event import DEFAULT_LIMITS, Limits, Record
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.contract.published import PublishedDecision, read_decision
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.decide.reviewer_answers import ReviewerAnswers
from tests.fakes import RecordingObserver, deciding, raw
from tests.replacing import replace

NOW = 1_700_000_060.0


def asked(value: bytes = b'{"id":"a","title":"maybe image","rank":1.0}', key: bytes | None = b"k") -> PublishedDecision:
    """The decision of the model that a person is shown."""
    (made,) = Pipeline(decider=deciding(), observer=RecordingObserver()).publications(
        [raw(value, key=key, headers=[("h", b"1")])], clock=lambda: 1_700_000_000.0
    )
    found = read_decision(Record(topic=made.destination.value, key=made.key, value=made.value, headers=made.headers))
    assert isinstance(found, PublishedDecision)
    return found


def reviewed(answer: Answer | None = None, *, value: bytes | None = None, offset: int = 7) -> Record:
    """A record of `reviewed`: an answer to `asked()`, or these bytes."""
    shown = asked()
    answer = answer or answer_to(
        shown, Said(tag="mlops", reviewer="ada", blind=False, asked_by="review", note="a secret"), now_ms=1
    )
    return Record(
        topic="reviewed",
        partition=2,
        offset=offset,
        timestamp_ms=1_700_000_050_000,
        key=b"k",
        value=write_answer(shown.event.fields, answer) if value is None else value,
        headers=(("h", b"1"),),
    )


def test_an_answer_becomes_a_decision_of_a_reviewer() -> None:
    """It goes to `tagged` under the key of the event, with the person's tag, and without the person's name and note."""
    (made,) = ReviewerAnswers().publications([reviewed()], clock=lambda: NOW)
    assert (made.destination, made.key, made.headers) == (Destination.TAGGED, b"k", (("h", b"1"),))
    assert made.records == (("tagged", made.value),)
    value = json.loads(made.value or b"")
    assert (value["id"], value["rank"], value["tag"], value["model_tag"]) == ("a", 1.0, "mlops", "computer-vision")
    assert (value["decider"], value["version"], value["supersedes"]) == ("reviewer", 1, asked().decision.prediction_id)
    assert list(value)[-1] == "tagged_at"
    assert b"ada" not in (made.value or b"")
    assert b"secret" not in (made.value or b"")
    assert (made.observation.created_ms, made.observation.label) == (1_700_000_050_000, None)


def test_an_answer_that_is_delivered_again_repeats_its_bytes() -> None:
    """All but the time of the clock depends on the record alone."""
    first, second = (ReviewerAnswers().publications([reviewed()], clock=lambda at=at: at)[0] for at in (NOW, NOW + 9))
    assert (first.value or b"").rpartition(b',"tagged_at"')[0] == (second.value or b"").rpartition(b',"tagged_at"')[0]
    assert (first.key, first.headers) == (second.key, second.headers)


def test_a_record_that_is_no_answer_is_a_dead_letter_with_its_bytes() -> None:
    """It names the topic `reviewed`, so that a replay sends it back there, and the answers around it go on."""
    good = reviewed()
    value = json.loads(good.value or b"")
    bad = [
        reviewed(value=b"{"),
        reviewed(value=json.dumps(value | {"tag": "cooking"}).encode()),
        reviewed(value=json.dumps(value | {"prediction_id": value["prediction_id"][:-1] + "x"}).encode()),
        reviewed(value=json.dumps(value | {"id": "b", "event_id": "b"}).encode()),
    ]
    found = ReviewerAnswers().publications([good, *bad, good], clock=lambda: NOW)
    assert [one.destination for one in found] == [Destination.TAGGED, *[Destination.DLQ] * 4, Destination.TAGGED]
    for record, one in zip(bad, found[1:-1], strict=True):
        letter = dead_letter.read(Record(topic="content.dlq", key=one.key, value=one.value, headers=one.headers))
        assert letter is not None
        assert (letter.value, letter.key, letter.headers) == (record.value, record.key, record.headers)
        assert (letter.origin_topic, str(letter.origin)) == ("reviewed", "2/7")
    assert [one.observation.rejection for one in found[1:-1]] == [
        Reason.INVALID_JSON,
        Reason.UNKNOWN_LABEL,
        Reason.INVALID_ANSWER,
        Reason.UNKNOWN_DECISION,
    ]


def test_a_decision_that_is_too_large_for_its_topic_is_a_dead_letter() -> None:
    """The broker would refuse it at every delivery."""
    (made,) = ReviewerAnswers(Limits(max_outcome_bytes=300)).publications([reviewed()])
    assert made.observation.rejection is Reason.OUTCOME_TOO_LARGE


def test_labels_that_the_bundle_in_force_does_not_have_are_refused_under_its_digest() -> None:
    """Under another digest they are those of another bundle, whose decisions are answered too."""
    good = reviewed()
    value = json.loads(good.value or b"")
    value["before"]["probabilities"]["pwned"] = 0.0
    foreign = reviewed(value=json.dumps(value | {"tag": "pwned"}).encode())
    answering = ReviewerAnswers(decider=deciding)
    assert [one.observation.rejection for one in answering.publications([good, foreign])] == [None, Reason.UNKNOWN_LABEL]
    another = replace(deciding(), model=ModelRef(name="m", version="2", digest="e" * 64))
    assert ReviewerAnswers(decider=lambda: another).publications([foreign])[0].observation.rejection is None


def test_with_keys_an_unsigned_answer_is_a_dead_letter_and_said() -> None:
    """One line a batch, with the place of the first; a signed one beside it is a decision."""
    keys = AnswerKeys((b"k" * 32,))
    records = [keys.signed(reviewed()), reviewed(offset=8), reviewed(offset=9)]
    with capture_logs() as told:
        found = ReviewerAnswers(keys=keys).publications(records, clock=lambda: NOW)
    assert [one.destination for one in found] == [Destination.TAGGED, Destination.DLQ, Destination.DLQ]
    assert [(one["event"], one["answers"], one["first_offset"]) for one in told] == [("answers_not_signed", 2, 8)]


GOOD = msgspec.json.decode(reviewed().value or b"", type=dict[str, object])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(GOOD)), ANY_JSON, max_size=3), st.sets(st.sampled_from(list(GOOD)), max_size=2))
def test_any_change_of_an_answer_is_an_outcome_and_never_an_exception(changes: dict[str, object], without: set[str]) -> None:
    """A worker that raises for an answer would meet it again after each restart."""
    value = {name: content for name, content in {**GOOD, **changes}.items() if name not in without}
    (made,) = ReviewerAnswers().publications([reviewed(value=json.dumps(value).encode())])
    assert made.destination in {Destination.TAGGED, Destination.DLQ}


@given(st.binary())
def test_any_bytes_are_an_outcome_and_never_an_exception(value: bytes) -> None:
    """Likewise."""
    (made,) = ReviewerAnswers(DEFAULT_LIMITS).publications([reviewed(value=value)])
    assert made.destination is Destination.DLQ
