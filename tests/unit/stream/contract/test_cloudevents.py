"""Outcomes as CloudEvents: what the CloudEvents SDK reads in each, what redelivery changes, and what stays a plain record."""

import json
from collections.abc import Iterable
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from cloudevents.core.exceptions import CloudEventValidationError

from tagstream import Distinct, Record, Tagger
from tagstream.monitoring.vocabulary import Destination, Reason
from tagstream.stream.contract.answers import UNSIGNED, read_answer
from tagstream.stream.contract.event import DEFAULT_LIMITS, Headers, Limits, decode, weight
from tagstream.stream.contract.outcome import Publication, publish_all
from tagstream.stream.contract.published import PublishedDecision, read_decision
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.schema.asyncapi import document
from tagstream.stream.decide.answer import answer_of
from tagstream.stream.decide.pipeline import Draw
from tagstream.stream.decide.reviewer_answers import ReviewerAnswers
from tagstream.stream.settings.settings import Settings
from tests.answering import NOW_MS, PIPELINE, SURE, UNSURE, answer, reviewed
from tests.fakes import raw
from tests.replacing import replace

SOURCE = "/tagging?team=a%20b"
LIMITS = Limits(cloudevents_source=SOURCE)
TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
# A producer's CloudEvent, with names that only a reader who ignores case takes for attributes.
PRODUCERS = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"theirs"),
    ("ce_source", b"/theirs"),
    ("ce_type", b"theirs"),
    ("CE_ID", b"theirs too"),
    ("Ce_Subject", b"theirs"),
    ("Content-Type", b"text/plain"),
    TRACE,
)
NAMES = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"]


def made(value: bytes = SURE, headers: Headers = (), *, now_ms: int = NOW_MS, limits: Limits = LIMITS) -> Publication:
    """The publication of an event."""
    event = raw(value, headers=headers)
    [found] = publish_all([event], PIPELINE.decide([event]), now_ms, limits)
    return found


def by_person(limits: Limits = LIMITS, *, now_ms: int = NOW_MS) -> Publication:
    """The publication of a person's answer on a decision that was a CloudEvent."""
    decision = record(made(UNSURE, limits=limits))
    [found] = ReviewerAnswers(limits).publications([reviewed(decision, answer(decision))], clock=lambda: now_ms / 1000)
    return found


def record(publication: Publication) -> Record:
    """The record that a consumer reads."""
    return Record(
        topic=publication.destination.value, key=publication.key, value=publication.value, headers=publication.headers
    )


def read(publication: Publication, value: bytes | None = None) -> BaseCloudEvent:
    """What the SDK reads; each name is there once, whatever its case."""
    names = [name.lower() for name, _ in publication.headers]
    assert len(names) == len(set(names))
    found = publication.value if value is None else value
    assert found is not None
    return from_kafka_event(KafkaMessage(headers=dict(publication.headers), key=publication.key, value=found))


def body(publication: Publication) -> dict[str, Any]:
    """The value, parsed."""
    found: dict[str, Any] = json.loads(publication.value or b"")
    return found


@pytest.mark.parametrize(
    ("publication", "kind"),
    [
        (made(SURE), "tagged"),
        (made(UNSURE), "review"),
        (made(SURE, PRODUCERS), "tagged"),
        (by_person(), "tagged"),
    ],
    ids=["the model's", "a question", "of a producer's CloudEvent", "a person's"],
)
def test_the_sdk_reads_every_decision(publication: Publication, kind: str) -> None:
    """Id, type, source, time and content type are the decision's own, and the data is the decision itself."""
    found, value = read(publication), body(publication)
    assert publication.destination.value == kind
    assert (found.get_specversion(), found.get_id(), found.get_source()) == ("1.0", value["prediction_id"], SOURCE)
    assert (found.get_type(), found.get_datacontenttype()) == (f"tagstream.{kind}.v1", "application/json")
    assert found.get_subject() is None
    time = found.get_time()
    assert time is not None
    assert round(time.timestamp() * 1000) == NOW_MS
    assert found.get_data() == value
    assert dict(publication.headers)["ce_time"].decode() == value["tagged_at"]


def test_the_producers_other_headers_stay_before_ours() -> None:
    """The trace of a producer goes on, its attributes do not, and the value is the one of a plain record."""
    found = made(SURE, PRODUCERS)
    assert found.headers[0] == TRACE
    assert [name for name, _ in found.headers[1:]] == NAMES
    assert found.value == made(SURE, PRODUCERS, limits=DEFAULT_LIMITS).value


@pytest.mark.parametrize("make", [lambda now: made(SURE, PRODUCERS, now_ms=now), lambda now: by_person(now_ms=now)])
def test_a_redelivered_event_repeats_the_headers_but_for_the_time(make: Any) -> None:
    """Of the headers only `ce_time` differs, and it is `tagged_at` each time; `Distinct` takes the second for a repetition."""
    one, other = make(NOW_MS), make(NOW_MS + 90_000)
    differing = {name for (name, first), (_, second) in zip(one.headers, other.headers, strict=True) if first != second}
    assert differing == {"ce_time"}
    assert (one.key, body(one)["prediction_id"]) == (other.key, body(other)["prediction_id"])
    known = Distinct()
    assert [known.admit(record(one)), known.admit(record(other))] == [True, False]


def test_the_audits_copy_is_the_same_cloudevent() -> None:
    """The copy has id and source of its decision, so a reader of both topics counts one decision."""
    found = Draw(rate=1.0, salt="s").with_copy(made(SURE))
    assert found.audit is not None
    copy = read(found, found.audit)
    assert (copy.get_id(), copy.get_type()) == (read(found).get_id(), "tagstream.tagged.v1")
    assert copy.get_data() == body(found) | {"inclusion_probability": 1.0}


def test_a_dead_letter_is_the_producers_record() -> None:
    """Attributes of the producer stay on it in their own case, and none of ours comes."""
    letter = made(b"not json", PRODUCERS)
    assert letter == made(b"not json", PRODUCERS, limits=DEFAULT_LIMITS)
    assert letter.headers[: len(PRODUCERS)] == PRODUCERS
    assert not {name for name, _ in letter.headers[len(PRODUCERS) :]} & set(NAMES)


def test_without_the_setting_nothing_differs() -> None:
    """The default is a plain record: no attribute, and a producer's `CE_ID` passes as it always did."""
    found = made(SURE, PRODUCERS, limits=Settings().limits)
    assert found.headers == (("CE_ID", b"theirs too"), ("Ce_Subject", b"theirs"), TRACE)
    assert by_person(DEFAULT_LIMITS).headers == ()


def test_readers_read_both_forms_as_one_decision() -> None:
    """The event and decision in a CloudEvent are those of the plain record, also where the outcome is another stream's event."""
    for value in (SURE, UNSURE):
        plain, event = record(made(value, limits=DEFAULT_LIMITS)), record(made(value))
        found, before = read_decision(event), read_decision(plain)
        assert isinstance(found, PublishedDecision)
        assert isinstance(before, PublishedDecision)
        assert (found.decision, found.event.fields, found.door) == (before.decision, before.event.fields, before.door)
        again = decode(event)
        assert not isinstance(again, Refusal)
        assert json.loads(bytes(again.fields["cloudevent"]))["source"] == SOURCE
    given = reviewed(record(made(UNSURE)), answer(record(made(UNSURE))))
    assert not isinstance(read_answer(given, DEFAULT_LIMITS, UNSIGNED), Refusal)


def test_our_headers_count_for_the_size() -> None:
    """A decision that fits only without our headers becomes a dead letter, never a record that the broker refuses."""
    plain = made(SURE, limits=DEFAULT_LIMITS)
    most = weight(plain.key, plain.value, plain.headers)
    assert made(limits=replaced(DEFAULT_LIMITS, max_outcome_bytes=most)).destination is Destination.TAGGED
    refused = made(limits=replaced(LIMITS, max_outcome_bytes=most)).outcome
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.OUTCOME_TOO_LARGE


def test_the_contract_describes_the_headers() -> None:
    """The AsyncAPI document takes the headers of both forms, and refuses a missing attribute, a foreign one, and another topic's type."""
    messages = document()["components"]["messages"]

    def faults(role: str, headers: Iterable[tuple[str, bytes]]) -> list[str]:
        text = {name: value.decode() for name, value in headers}
        return [one.message for one in jsonschema.Draft7Validator(messages[role]["headers"]).iter_errors(text)]

    for value, role in ((SURE, "tagged"), (UNSURE, "review"), (SURE, "audit")):
        ours = made(value, (TRACE,)).headers
        assert faults(role, ours) == faults(role, (TRACE,)) == []
        assert faults(role, ours[:-1])
        assert faults(role, (*ours, ("ce_subject", b"s")))
    assert faults("review", made(SURE).headers)


def test_the_doors_of_programs_give_the_same_headers(tiny_bundle_folder: Path) -> None:
    """`Tagger` gives the stream's records, and the answer object of `classify`, `serve` and `batch` has no header to change."""
    settings = {"cloudevents_source": SOURCE, "audit_rate": 0}
    found = Tagger(tiny_bundle_folder, settings=settings, environment=False).tag("Vision transformers")
    [ours] = found.records
    attributes = dict(ours.headers)
    assert (attributes["ce_source"], attributes["ce_id"]) == (SOURCE.encode(), found.decision.prediction_id.encode())
    assert answer_of(made(), line=1, row=0) == answer_of(made(limits=DEFAULT_LIMITS), line=1, row=0)
    # `batch` compares this text with that of the run which it continues.
    assert str(LIMITS) == str(DEFAULT_LIMITS)


@pytest.mark.parametrize("source", ["/tagstream", "https://example.org/a?b#c", "urn:tagging:1", "a%20b"])
def test_the_setting_takes_uri_references(source: str) -> None:
    """The source of the settings is that of the outcomes."""
    assert Settings.model_validate({"cloudevents_source": source}).limits.cloudevents_source == source


@pytest.mark.parametrize("source", ["", "a b", "caf\u00e9", "a%2", "a\n", "/" * 257])
def test_the_setting_refuses_what_is_no_uri_reference(source: str) -> None:
    """A source that readers of CloudEvents could refuse is refused at the start."""
    with pytest.raises(ValueError, match="must be a URI or a part of one"):
        Settings.model_validate({"cloudevents_source": source})


def test_the_sdk_refuses_a_record_without_a_source() -> None:
    """An attribute that is missing is found: the tests above can fail."""
    found = made()
    with pytest.raises(CloudEventValidationError, match="source"):
        read(replace(found, headers=tuple(one for one in found.headers if one[0] != "ce_source")))
