"""The output contract: keys, bytes, headers, and the same decision for the same event."""

import hashlib
import json
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder

from tagstream.monitoring.observer import NullObserver, Observation
from tagstream.monitoring.signals import Signals
from tagstream.monitoring.vocabulary import Destination, Reason, ReviewReason
from tagstream.stream.contract.dead_letter import MAX_MESSAGE_CHARACTERS
from tagstream.stream.contract.event import DEFAULT_LIMITS, ContentEvent, Limits, Record, decode, weight
from tagstream.stream.contract.outcome import (
    CONTRACT_VERSION,
    DECISION_FIELDS,
    PREDICTION_NAMESPACE,
    ModelRef,
    NeedsReview,
    Publication,
    Tagged,
    prediction_id,
    publish_all,
    timestamp,
    value_without_clock,
)
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.pipeline import Pipeline
from tests.fakes import LABELS, deciding, raw
from tests.replacing import replace

NOW_MS = 1_700_000_000_123
SURE = b'{"id":"e-1","title":"deployment of a model"}'
UNSURE = b'{"id":"e-2","title":"maybe deployment"}'
# Properties use these, because Hypothesis does not let them share fixtures.
PIPELINE = Pipeline(decider=deciding(), observer=NullObserver())
# The rows of the contract's table, repeated here on purpose.
TAGGED_FIELDS = [
    "tag",
    "confidence",
    "probabilities",
    "prediction_id",
    "decider",
    "model",
    "threshold",
    "truncated",
    "tagged_at",
]
DLQ_HEADERS = [
    "__streams.errors.exception",
    "__streams.errors.message",
    "__streams.errors.topic",
    "__streams.errors.partition",
    "__streams.errors.offset",
    "x-dlq-stage",
    "x-dlq-code",
    "x-dlq-attempts",
]


def published(pipeline: Pipeline, event: Record, now_ms: int = NOW_MS) -> Publication:
    """The publication of one record."""
    (publication,) = publish_all([event], pipeline.decide([event]), now_ms)
    return publication


def body(publication: Publication) -> dict[str, Any]:
    """A publication's value, parsed."""
    assert publication.value is not None
    found: dict[str, Any] = json.loads(publication.value)
    return found


def test_a_tagged_value_is_the_input_and_the_decision_in_the_contracts_order(pipeline: Pipeline, model: ModelRef) -> None:
    """A tagged value has exactly the contract's fields, with a probability for every label."""
    found = body(published(pipeline, raw(SURE)))
    assert list(found) == ["id", "title", *TAGGED_FIELDS]
    assert found["tag"] == "mlops"
    assert tuple(found["probabilities"]) == LABELS
    assert found["confidence"] == max(found["probabilities"].values()) == found["probabilities"]["mlops"]
    assert found["model"] == {"name": model.name, "version": model.version, "digest": model.digest}
    assert (found["decider"], found["threshold"], found["truncated"]) == ("model", 0.7, False)
    assert found["tagged_at"] == "2023-11-14T22:13:20.123Z"


def test_a_review_value_says_why_a_person_is_asked(pipeline: Pipeline) -> None:
    """A review value has the fields of `tagged`, the reasons and the probability of having been chosen."""
    publication = published(pipeline, raw(UNSURE))
    found = body(publication)
    assert publication.destination is Destination.REVIEW
    assert list(found) == ["id", "title", *TAGGED_FIELDS[:-1], "reasons", "inclusion_probability", "tagged_at"]
    assert (found["reasons"], found["inclusion_probability"]) == (["low_confidence"], 1.0)
    assert found["confidence"] < found["threshold"]


@pytest.mark.parametrize(("key", "expected"), [(b"\xffk", b"\xffk"), (b"", b""), (None, b"e-1")])
def test_the_key_is_the_producers_or_else_the_events_id(pipeline: Pipeline, key: bytes | None, expected: bytes) -> None:
    """The key of an outcome is the producer's bytes, even empty ones, and the event's id where there was no key."""
    assert published(pipeline, raw(SURE, key=key)).key == expected


@given(st.integers(0, 4_000_000_000_000), st.integers(0, 4_000_000_000_000), st.sampled_from([SURE, UNSURE, b'{"title":"a"}']))
def test_a_redelivered_event_repeats_the_bytes_of_its_decision(first_ms: int, second_ms: int, value: bytes) -> None:
    """A redelivered event repeats its decision to the byte, except for `tagged_at`, which comes last."""
    one = published(PIPELINE, raw(value, offset=1), first_ms).value
    two = published(PIPELINE, Record(topic="t", partition=0, offset=2, timestamp_ms=5, key=None, value=value), second_ms).value
    assert one is not None
    assert two is not None
    head, mark, tail = one.rpartition(b',"tagged_at"')
    assert mark
    assert two.rpartition(b',"tagged_at"')[0] == head
    assert tail == b':"%b"}' % timestamp(first_ms).encode()


def test_the_prediction_id_is_made_of_event_bundle_and_contract() -> None:
    """The prediction id is a version 5 UUID, and its value is fixed here because consumers deduplicate by it."""
    known = prediction_id("e-1", "0" * 64)
    assert known == prediction_id("e-1", "0" * 64)
    assert uuid.UUID(known).version == 5
    assert known == str(uuid.uuid5(uuid.UUID("6d0f7c3e-5b0a-5d57-9c53-4a7c1c0f5a1e"), f"1:{'0' * 64}:e-1"))
    assert len({known, prediction_id("e-1", "1" * 64), prediction_id("e-2", "0" * 64)}) == 3


def test_another_arithmetic_gives_another_id_and_is_named() -> None:
    """The id stays while a processor computes as the bundle's maker; where it does not, the id and the model's record say so."""
    usual = ModelRef(name="m", version="1", digest="d" * 64)
    other = msgspec.structs.replace(usual, arithmetic="5a5a5a5a5a5a")
    assert prediction_id("e-1", usual.identity) == prediction_id("e-1", usual.digest)
    assert prediction_id("e-1", other.identity) != prediction_id("e-1", usual.identity)
    assert msgspec.json.decode(msgspec.json.encode(usual)) == {"name": "m", "version": "1", "digest": "d" * 64}
    assert msgspec.json.decode(msgspec.json.encode(other))["arithmetic"] == "5a5a5a5a5a5a"


@given(st.sets(st.sampled_from(sorted(DECISION_FIELDS)), min_size=1))
def test_input_fields_under_the_decisions_names_are_kept_under_overridden(names: set[str]) -> None:
    """An input field that has a name of ours, such as the holdout's `tag`, is kept under `overridden`."""
    value = b'{"id":"a","title":"deployment",' + b",".join(b'"%b":1.10' % name.encode() for name in sorted(names)) + b"}"
    event = decode(raw(value))
    assert isinstance(event, ContentEvent)
    outcome = decided(event)
    written = value_without_clock(outcome)
    overridden = msgspec.json.decode(
        msgspec.json.decode(written, type=dict[str, msgspec.Raw])["overridden"], type=dict[str, msgspec.Raw]
    )
    assert {name: bytes(kept) for name, kept in overridden.items()} == dict.fromkeys(names, b"1.10")
    assert json.loads(written, object_pairs_hook=unique)["tag"] == outcome.decision.tag


def decided(event: ContentEvent) -> Tagged | NeedsReview:
    """Some decision on this event."""
    (outcome,) = PIPELINE.decide([event.record])
    assert isinstance(outcome, Tagged | NeedsReview)
    return outcome


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different."""
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


@pytest.mark.parametrize(
    "extra", [b'"overridden":{"tag":1}', b'"overridden":1,"tag":"x"', b'"destination":"moon"', b'"cloudevent":0']
)
def test_a_value_never_names_a_field_twice(pipeline: Pipeline, extra: bytes) -> None:
    """A value names no field twice, even where the input provokes a collision."""
    value = published(pipeline, raw(b'{"id":"a","title":"deployment",%b}' % extra)).value
    assert value is not None
    found = json.loads(value, object_pairs_hook=unique)
    sent = json.loads(b"{%b}" % extra)
    assert {name: found["overridden"][name] if name in DECISION_FIELDS else found[name] for name in sent} == sent


def test_unknown_fields_reach_the_topic_byte_for_byte(pipeline: Pipeline) -> None:
    """Large integers, trailing zeros, escapes and inner white space are published in the producer's order."""
    unknown = b'"n":12345678901234567890123,"p":1.10,"e":"\\u00e9\\/","o":{ "b" : [1,  2] },"u":"\xf0\x9f\x98\x80"'
    value = published(pipeline, raw(b'{"id":"a",%b,"title":"deployment"}' % unknown)).value
    assert value is not None
    assert value.startswith(b'{"id":"a",%b,"title":"deployment",' % unknown)


def test_headers_go_on_except_those_that_would_call_the_outcome_the_producers_cloudevent(pipeline: Pipeline) -> None:
    """Headers are passed on, without a value or twice too, except the attributes of a CloudEvent."""
    kept = (("traceparent", b"00-1"), ("x", b"1"), ("x", b"2"))
    envelope = (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"i"),
        ("ce_source", b"s"),
        ("ce_type", b"t"),
        ("Content-Type", b"application/json"),
    )
    assert published(pipeline, raw(SURE, headers=kept + envelope)).headers == kept


def test_an_observation_describes_the_published_outcome(pipeline: Pipeline) -> None:
    """An observation has the figures of the published outcome."""
    event = raw(UNSURE)
    publication = published(pipeline, event)
    found = body(publication)
    assert publication.observation == Observation(
        destination=Destination.REVIEW,
        created_ms=event.timestamp_ms,
        label=found["tag"],
        confidence=found["confidence"],
        truncated=found["truncated"],
        review_reasons=(ReviewReason.LOW_CONFIDENCE,),
        signals=Signals(
            event_id="e-2",
            energy=-1.5366,
            tokens=2,
            tokens_per_word=0.0,
            words=("maybe", "deployment"),
            described=False,
            source=None,
            out_of_distribution=False,
        ),
    )


# --- dead letters ------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1).filter(lambda value: not value.lstrip().startswith(b"{")), st.one_of(st.none(), st.binary()))
def test_a_dead_letter_is_the_record_untouched_with_where_and_why_after_its_own_headers(
    value: bytes, key: bytes | None
) -> None:
    """A dead letter has the original key, bytes and headers, followed by exactly the contract's headers in UTF-8."""
    own = (("x", b"1"), ("x-dlq-code", b"old"), ("ce_id", b"\xff"))
    event = raw(value, key=key, headers=own, offset=42)
    outcome = decode(event)
    assert isinstance(outcome, Refusal)
    (publication,) = publish_all([event], [outcome], NOW_MS)
    assert (publication.destination, publication.key, publication.value) == (Destination.DLQ, key, value)
    assert publication.headers[: len(own)] == own
    added = publication.headers[len(own) :]
    assert [name for name, _ in added] == DLQ_HEADERS
    said = {name: text.decode() for name, text in added}
    assert said["__streams.errors.exception"] == f"tagstream.{outcome.reason.name}"
    assert said["__streams.errors.message"] == outcome.message
    assert (said["__streams.errors.topic"], said["__streams.errors.partition"], said["__streams.errors.offset"]) == (
        "content",
        "3",
        "42",
    )
    assert (said["x-dlq-stage"], said["x-dlq-code"], said["x-dlq-attempts"]) == (outcome.stage.value, outcome.reason.value, "1")
    assert publication.observation == Observation(
        destination=Destination.DLQ, created_ms=event.timestamp_ms, rejection=outcome.reason
    )


@pytest.mark.parametrize("key", [None, b"", b"k"])
def test_a_tombstone_is_sent_with_a_key_because_the_client_needs_one(pipeline: Pipeline, key: bytes | None) -> None:
    """A tombstone without a key is published with an empty key, and a header says that it had none."""
    publication = published(pipeline, raw(None, key=key))
    assert (publication.key, publication.value) == (key or b"", None)
    marks = [text for name, text in publication.headers if name == "x-dlq-null-key"]
    assert marks == ([b"true"] if key is None else [])
    assert dict(publication.headers)["x-dlq-code"] == Reason.TOMBSTONE.value.encode()


def test_a_long_message_is_cut(pipeline: Pipeline) -> None:
    """A long message is cut, because headers count against the size of a record."""
    (refusal,) = pipeline.decide([raw(b"")])
    assert isinstance(refusal, Refusal)
    (publication,) = publish_all([raw(b"")], [replace(refusal, message="m" * 9_999)], NOW_MS)
    assert len(dict(publication.headers)["__streams.errors.message"]) == MAX_MESSAGE_CHARACTERS


def test_no_outcome_shows_event_text_in_its_repr(pipeline: Pipeline) -> None:
    """The repr of outcomes and publications holds no event text, since it may appear in a traceback."""
    planted = "zq7-planted-K"
    values = [f'{{"id":"a","title":"{word} {planted}","x":"{planted}"}}'.encode() for word in ("deployment", "maybe image")]
    records = [raw(value, key=planted.encode(), headers=[("h", planted.encode())]) for value in values]
    outcomes = pipeline.decide(records)
    assert planted not in repr(outcomes) + repr(publish_all(records, outcomes, NOW_MS))


@given(st.text(max_size=60), st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_prediction_id_is_the_uuid5_of_the_contract(event_id: str, digest: str) -> None:
    """The id is the UUID that any library computes from namespace, contract version, digest and event id."""
    expected = uuid.uuid5(PREDICTION_NAMESPACE, f"{CONTRACT_VERSION}:{digest}:{event_id}")
    assert prediction_id(event_id, digest) == str(expected)


# --- records that a topic would refuse ------------------------------------------------------------------------------------

FLOOD = tuple((chr(97 + number % 26), b"") for number in range(60_000))


def test_an_outcome_that_its_topic_would_refuse_is_a_dead_letter_with_the_original_bytes(pipeline: Pipeline) -> None:
    """A valid event with a flood of tiny headers, whose outcome would be too large, becomes a dead letter."""
    value = b'{"id":"a","title":"deployment","x":"' + b"y" * 890_000 + b'"}'
    event = raw(value, key=b"k", headers=FLOOD)
    (outcome,) = pipeline.decide([event])
    assert isinstance(outcome, Tagged)
    (publication,) = publish_all([event], [outcome], NOW_MS)
    assert (publication.destination, publication.key, publication.value) == (Destination.DLQ, b"k", value)
    assert publication.headers[: len(FLOOD)] == FLOOD
    said = dict(publication.headers[len(FLOOD) :])
    assert (said["x-dlq-code"], said["x-dlq-stage"]) == (b"outcome_too_large", b"produce")
    assert publication.observation.rejection is Reason.OUTCOME_TOO_LARGE
    assert isinstance(publication.outcome, Refusal)
    assert weight(publication.key, publication.value, publication.headers) <= DEFAULT_LIMITS.max_dead_letter_bytes


@given(st.integers(-3, 3))
def test_the_limit_of_an_outcome_is_exact(beyond: int) -> None:
    """An outcome of exactly the limit is tagged, and one byte more is not."""
    event = raw(b'{"id":"a","title":"deployment"}', key=b"k")
    heavy = published(PIPELINE, event)
    limits = Limits(max_outcome_bytes=weight(heavy.key, heavy.value, heavy.headers) - beyond)
    (publication,) = publish_all([event], PIPELINE.decide([event]), NOW_MS, limits)
    assert (publication.destination is Destination.DLQ) == (beyond > 0)


@given(
    st.one_of(st.none(), st.binary(max_size=300)),
    st.one_of(st.none(), st.binary(max_size=300)),
    st.lists(st.tuples(st.text(max_size=20), st.one_of(st.none(), st.binary(max_size=300))), max_size=20),
)
def test_a_record_never_weighs_more_than_it_is_said_to(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, Any]]
) -> None:
    """The batch that a Kafka client writes for a record is at most as long as we compute."""
    batch = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=False, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=0
    )
    batch.append(0, timestamp=NOW_MS, key=key, value=value, headers=headers)
    assert len(batch.build()) <= weight(key, value, tuple(headers))


@pytest.mark.parametrize(
    ("event", "kept", "dropped"),
    [
        (raw(b"{" + b"x" * 3_000_000, key=b"k", headers=[("h", b"1")]), (b"k", 1), b"value"),
        (raw(b"{" + b"x" * 10, key=b"k" * 3_000_000, headers=[("h", b"1")]), (b"", 1), b"value,key"),
        (raw(b"{" + b"x" * 10, key=None, headers=[("h", b"1" * 3_000_000)]), (b"", 0), b"value,headers"),
        (raw(None, key=None, headers=[("h", b"1" * 3_000_000)]), (b"", 0), b"value,headers"),
    ],
)
def test_a_dead_letter_that_its_topic_would_refuse_is_published_as_a_description(
    event: Record, kept: tuple[bytes, int], dropped: bytes
) -> None:
    """An oversize dead letter has origin, reason, length and SHA-256, small keys and headers, and names the omissions."""
    outcome = decode(event)
    assert isinstance(outcome, Refusal)
    (publication,) = publish_all([event], [outcome], NOW_MS)
    assert weight(publication.key, publication.value, publication.headers) < 256 * 1024
    assert (publication.key, publication.value) == (kept[0], None)
    said = dict(publication.headers)
    assert [name for name, _ in publication.headers][kept[1] : kept[1] + len(DLQ_HEADERS)] == DLQ_HEADERS
    assert said["x-dlq-length"] == b"%d" % len(event.value or b"")
    assert said["x-dlq-sha256"] == hashlib.sha256(event.value or b"").hexdigest().encode()
    assert said["x-dlq-dropped"] == dropped
    assert ("x-dlq-null-key" in said) == (event.key is None)


@pytest.mark.parametrize(
    ("said", "attempts"),
    [
        ([], b"1"),
        ([b"2"], b"3"),
        ([b"2", b"1"], b"2"),
        ([b"many"], b"1"),
        ([b"-4"], b"1"),
        ([b"\xd9\xa3"], b"1"),
        ([b"9" * 40], b"1"),
    ],
)
def test_attempts_follow_the_replays(pipeline: Pipeline, said: list[bytes], attempts: bytes) -> None:
    """A replayed event that fails again counts its attempts, and a malformed count of a producer is ignored."""
    headers = [("x-dlq-replay-count", content) for content in said]
    assert dict(published(pipeline, raw(b"", headers=headers)).headers)["x-dlq-attempts"] == attempts
