"""A correct run in small, in which the tests of the verdict plant breaches."""

import json
from collections.abc import Iterator
from typing import Any

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.loading import load
from tests.faults.inputs import Input, Planted
from tests.faults.verdict.evidence import Evidence, Sample
from tests.faults.verdict.offline import offline
from tests.faults.worker.fleet import ROOT
from tests.faults.worker.stub import MODEL, stub_decider
from tests.replacing import replace

PARTITIONS = 2
BAD_OFFSET = 3
SETTINGS = load({}, folder=ROOT).settings
OFFLINE = offline(SETTINGS)
# A unix time of the worker's clock, in seconds.
NOW = 1_800_000_000.0


def good_run() -> Evidence:
    """Eight inputs in two partitions, two of them malformed, each with its outcome; four samples, all in order."""
    inputs: list[Input] = []
    outcomes: dict[Destination, list[Record]] = {destination: [] for destination in Destination}
    events = _tagged_events()
    for number in range(8):
        partition, offset = number % PARTITIONS, number // PARTITIONS
        planted = _malformed(number) if offset == BAD_OFFSET else next(events)
        one = Input(planted=planted, partition=partition, offset=offset)
        inputs.append(one)
        add(outcomes, published(one))
    return Evidence(
        inputs=inputs,
        outcomes=outcomes,
        samples=[
            sample(0.0, 0, 0, 0),
            sample(1.0, 1, 2, 0),
            sample(2.0, 3, 6, 0),
            sample(3.0, 4, 6, 2),
        ],
        ends={0: 4, 1: 4},
        idle_bound_seconds=5.0,
    )


def published(one: Input, model: Any = MODEL, **record: Any) -> Publication:
    """The outcome of an input by a stub; `record` are further parts of its record."""
    planted = one.planted
    event = Record(
        topic=SETTINGS.topics.content,
        partition=one.partition,
        offset=one.offset,
        key=planted.key,
        value=planted.value,
        headers=planted.headers,
        **record,
    )
    pipeline = pipeline_of(SETTINGS, decider=stub_decider(model))
    return pipeline.publications([event], clock=lambda: NOW)[0]


def add(outcomes: dict[Destination, list[Record]], publication: Publication) -> None:
    """Append an outcome to the one partition of its topic."""
    written = outcomes[publication.destination]
    written.append(
        Record(
            topic=publication.destination.value,
            key=publication.key,
            value=publication.value,
            headers=publication.headers,
            partition=0,
            offset=len(written),
        )
    )


def _tagged_events() -> Iterator[Planted]:
    """Events without end that the stub is sure of, each with fields and headers of its own."""
    number = 0
    for title in (f"Title {word}" for word in range(1000)):
        event_id = f"event-{number}"
        planted = Planted(
            event_id=event_id,
            key=b"event",
            value=json.dumps({"id": event_id, "title": title, "description": "About it.", "extra": number}).encode(),
            headers=(("traceparent", b"00-%d" % number), ("tenant", b"one"), ("tenant", b"two")),
        )
        if published(Input(planted=planted, partition=0, offset=0)).destination is Destination.TAGGED:
            number += 1
            yield planted


def _malformed(number: int) -> Planted:
    return Planted(event_id=None, key=b"k", value=b"{%d" % number, headers=(("x-dlq-code", b"mine"),))


def sample(at_seconds: float, committed: int, tagged: int, dead: int) -> Sample:
    """A sample with the same commit in both partitions."""
    return Sample(
        at_seconds=at_seconds,
        committed={0: committed, 1: committed},
        written={(Destination.TAGGED, 0): tagged, (Destination.REVIEW, 0): 0, (Destination.DLQ, 0): dead},
    )


def with_fields(record: Record, **fields: object) -> Record:
    """The outcome with some of its fields changed, where they stand; None removes one."""
    value = {**json.loads(record.value or b"{}"), **fields}
    kept = {name: content for name, content in value.items() if content is not None}
    return replace(record, value=json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode())


def changed(run: Evidence, destination: Destination, number: int, record: Record) -> Evidence:
    """The run with another record in the place of one outcome."""
    written = list(run.outcomes[destination])
    written[number] = record
    return replace(run, outcomes={**run.outcomes, destination: written})
