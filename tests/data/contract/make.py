"""
Freezes the contract of this version: its schemas, and records of every topic with what a reader makes of each.

A frozen folder is never made again: it is how old producers, consumers and topics speak. A release that has changed the
contract freezes the next one, and `test_versions.py` reads all of them:

    python tests/data/contract/make.py v2
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tagstream.stream.contract import dead_letter
from tagstream.stream.contract.answers import AnsweredEvent, answer_id, read_answer, tagged_by_reviewer
from tagstream.stream.contract.consumer_outcomes import ConsumerOutcome, read_outcome, write_outcome
from tagstream.stream.contract.event import ContentEvent, Headers, Record, decode
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import read_decision
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.reports import Report, read_report, report_of, write_report
from tagstream.stream.contract.schema.pages import pages
from tests.answering import NOW_MS, PIPELINE, answer, audited, decided, reviewed
from tests.fakes import raw

HERE = Path(__file__).parent
EVENTS: tuple[tuple[bytes | None, bytes | None, Headers], ...] = (
    (
        b"author-1",
        b'{"id":"e-1","title":"deployment of a model","views":1.10,"source":"blog"}',
        (("traceparent", b"00-4b-00-01"),),
    ),
    (None, b'{"title":"maybe deployment","description":null,"created_on":"2026-11-26"}', ()),
    (None, b'{"id":6,"title":"image of a cat","tag":"news","reasons":[],"overridden":1}', ()),
    (b"\xff", '{"id":"e-4","title":"deploy\u200bment","tags":["mine"]}'.encode(), ()),
    (
        None,
        b'{"specversion":"1.0","id":"17","source":"/blog","type":"post.published","data":{"title":"translation of letters"}}',
        (("content-type", b"application/cloudevents+json"),),
    ),
    (None, b'{"title":"translation"}', (("ce_specversion", b"1.0"), ("ce_id", b"18"), ("ce_source", b"/b"), ("ce_type", b"t"))),
    (b"k", b'{"title":" "}', (("mine", b"1"),)),
    (None, b"\xff\x00", ()),
    (None, b'{"id":17.5,"title":"a"}', ()),
    (b"gone", None, ()),
)


def records() -> Iterator[tuple[str, Record]]:
    """Records of every topic, with the topic's role."""
    for number, (key, value, headers) in enumerate(EVENTS):
        event = raw(value, offset=number, key=key, headers=headers)
        yield "content", event
        [made] = PIPELINE.publications([event], clock=lambda: NOW_MS / 1000)
        yield made.destination.value, Record(key=made.key, value=made.value, headers=made.headers)
    shown = decided()
    first = answer(shown, note="Look at the pictures.")
    yield "audit", audited(shown)
    for given in (first, answer(shown, tag="off_subject", previous=first, now_ms=NOW_MS + 90_000)):
        record = reviewed(shown, given)
        yield "reviewed", record
        found = read_answer(record)
        assert isinstance(found, AnsweredEvent)
        key, value, headers, _ = tagged_by_reviewer(found, NOW_MS)
        yield "tagged", Record(key=key, value=value, headers=headers)
    report = report_of({"event_id": "e-1", "suggested_tag": "mlops", "note": "About servers.", "reporter": "bo"}, NOW_MS)
    assert isinstance(report, Report)
    yield "reports", Record(key=b"e-1", value=write_report(report))
    outcome = ConsumerOutcome(event_id="e-1", name="clicks", value=1.5, at=timestamp(NOW_MS))
    yield "outcomes", Record(key=b"e-1", value=write_outcome(outcome))


def of_event(event: ContentEvent) -> dict[str, Any]:
    """The reading of an event."""
    fields = {name: bytes(field).decode() for name, field in event.fields.items()}
    return {"id": event.id, "title": event.title, "description": event.description, "source": event.source, "fields": fields}


def of_content(record: Record) -> Any:
    """The event, or why there is none; and the outcome by a fixed classifier, but for the clock."""
    found = decode(record)
    if isinstance(found, Refusal):
        return {"stage": found.stage.value, "code": found.reason.value}
    [made] = PIPELINE.publications([record], clock=lambda: NOW_MS / 1000)
    outcome = {**json.loads(made.value or b""), "tagged_at": None}
    return {"event": of_event(found), "destination": made.destination.value, "key": text(made.key), "outcome": outcome}


def of_decision(record: Record) -> Any:
    """The decision, its event, its door, and its place among the decisions on the event."""
    found = read_decision(record)
    assert not isinstance(found, Refusal), found
    made = found.decision
    decision = {"tag": made.tag, "confidence": made.confidence, "probabilities": made.probabilities, "decider": made.decider}
    # The epoch is not in the frozen versions: their decisions have none.
    version, epoch, *rest = found.standing
    assert epoch == 0, found
    return {"event": of_event(found.event), "door": found.door, "standing": [version, *rest], "decision": decision}


def of_dead_letter(record: Record) -> Any:
    """Why and where, and the producer's own bytes."""
    found = dead_letter.read(record)
    assert found is not None
    place = [found.origin_topic, str(found.origin), found.attempts]
    return {"code": found.code, "stage": found.stage, "place": place, "key": text(found.key), "value": text(found.value)}


def of_answer(record: Record) -> Any:
    """The answer and its event."""
    found = read_answer(record)
    assert isinstance(found, AnsweredEvent), found
    said = found.answer
    return {
        "event": of_event(found.event),
        "id": answer_id(said),
        "tag": said.tag,
        "by": said.reviewer,
        "version": said.version,
    }


def of_report(record: Record) -> Any:
    """The complaint."""
    found = read_report(record)
    assert isinstance(found, Report), found
    return {"event_id": found.event_id, "tag": found.suggested_tag, "by": found.reporter, "note": found.note}


def of_outcome(record: Record) -> Any:
    """What was measured."""
    found = read_outcome(record)
    assert isinstance(found, ConsumerOutcome), found
    return {"event_id": found.event_id, "name": found.name, "value": found.value, "at": found.at}


READERS: dict[str, Callable[[Record], Any]] = {
    "content": of_content,
    "tagged": of_decision,
    "review": of_decision,
    "audit": of_decision,
    "dlq": of_dead_letter,
    "reviewed": of_answer,
    "reports": of_report,
    "outcomes": of_outcome,
}


def text(content: bytes | None) -> str | None:
    """Bytes as JSON holds them: each byte as the character of its number."""
    return None if content is None else content.decode("latin-1")


def main(version: str) -> None:
    """Freeze."""
    folder = HERE / version
    folder.mkdir()
    schemas = {name: page for name, page in pages().items() if name != "asyncapi.json"}
    for name, page in schemas.items():
        (folder / name).write_text(page, encoding="utf-8")
    with (folder / "records.jsonl").open("w", encoding="utf-8") as lines:
        for role, record in records():
            headers = [[name, text(content)] for name, content in record.headers]
            line = {"topic": role, "key": text(record.key), "value": text(record.value), "headers": headers}
            lines.write(json.dumps(line | {"offset": record.offset, "read": READERS[role](record)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
