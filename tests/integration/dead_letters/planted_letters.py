"""Dead letters on the topics of a test, and a worker that can make more."""

from collections import Counter
from pathlib import Path

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.event import Headers, Record
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.kafka import producer
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.fleet import Fleet

HOSTILE = '{"title": "\x1b[31mred \u202egnp.exe\u2066 \x07"'.encode() + b"\xff\x00"
# Unusual records: no key, an empty key, repeated headers, and headers with our names.
EVENTS: tuple[tuple[bytes | None, bytes | None, Headers], ...] = (
    (b"k", b"not json", (("traceparent", b"00-1"), ("x", b"1"), ("x", b"2"))),
    (None, b"no key", ()),
    (b"", b"", (("empty", b""),)),
    (b"\xff\x00", HOSTILE, (("x-dlq-code", b"the producer's"), ("__streams.errors.exception", b"its own"))),
    (b"gone", None, ()),
    (None, None, (("both", b"none"),)),
    (b"k", b"not json", (("traceparent", b"00-2"),)),
)


def lay(
    settings: Settings, events: tuple[tuple[bytes | None, bytes | None, Headers], ...] = EVENTS, *, topic: str | None = None
) -> None:
    """Write dead letters of records of `content`, or of `topic`, that were never sent, as the worker does; the third has another code."""
    topic = topic or settings.topics.content
    origins = [
        Record(topic=topic, partition=number % 6, offset=number, timestamp_ms=1, key=key, value=value, headers=headers)
        for number, (key, value, headers) in enumerate(events)
    ]
    refusals = [
        Refusal(
            stage=Stage.VALIDATE if number == 2 else Stage.DECODE,
            reason=Reason.MISSING_TITLE if number == 2 else Reason.INVALID_JSON,
            message="a sentence",
        )
        for number in range(len(events))
    ]
    records = [
        Record(topic=settings.topics.dlq, key=one.key, value=one.value, headers=one.headers, partition=number % 6)
        for number, one in enumerate(publish_all(origins, refusals, 0))
    ]
    with producer.verbatim_sender(settings, idempotent=True) as sender:
        assert sender.deliver(records) == [None] * len(records)


def contents(settings: Settings, topic: str) -> list[Record]:
    """All records of a topic."""
    with log_of(settings, topic) as log:
        return list(log.read())


def events_of(records: list[Record]) -> Counter[tuple[bytes | None, bytes | None, Headers]]:
    """The replayed events without their two marks."""
    return Counter((record.key, record.value, record.headers[:-2]) for record in records)


def marks_of(records: list[Record]) -> list[tuple[str, str]]:
    """Count and origin of each replay."""
    return [tuple(content.decode() for _, content in record.headers[-2:]) for record in records]  # type: ignore[misc]


def start_worker(environ: dict[str, str], processes: Processes, folder: Path) -> None:
    """Start a worker with the stub model."""
    Fleet(processes=processes, module="tests.faults.worker", environ=environ, seconds_per_batch=0.0, folder=folder).add(1)
