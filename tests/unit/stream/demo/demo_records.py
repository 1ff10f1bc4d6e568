"""Samples and outcomes of the demo, and consoles that keep their output."""

import io

import msgspec
from rich.console import Console

from monitoring.drift.findings import Finding, Model, Span, Word
from monitoring.vocabulary import Destination, DriftKind
from stream.contract.record import Record
from stream.demo import samples
from stream.demo.ledger import Landing, Ledger
from stream.demo.people.answers import AnswerTotals, Reached
from stream.demo.samples import Sample

DOORS = {"tagged": Destination.TAGGED, "review": Destination.REVIEW, "content.dlq": Destination.DLQ}
LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
EVENT = Sample(key="sample-1", value=b'{"id":"sample-1","title":"A title"}', title="A title")
MALFORMED = Sample(key="malformed-1", value=b"[]", title="array", code=samples.Reason.NOT_AN_OBJECT)


def decided(key: str, *, topic: str = "tagged", tag: str = "mlops", decider: str = "model", at_ms: int = 1_020) -> Record:
    """A decision as the worker publishes it, as far as the demo reads it."""
    value = {
        "tag": tag,
        "confidence": 0.9,
        "decider": decider,
        "probabilities": dict.fromkeys(LABELS, 0.25),
        "title": "A title",
    }
    return Record(topic=topic, key=key.encode(), value=msgspec.json.encode(value), timestamp_ms=at_ms)


def dead(key: str, value: bytes | None, code: str | None = "not_an_object", *, at_ms: int = 1_020) -> Record:
    """A dead letter as the worker publishes it."""
    headers = () if code is None else (("x-dlq-code", b"an older one"), ("x-dlq-code", code.encode()))
    return Record(topic="content.dlq", key=key.encode(), value=value, headers=headers, timestamp_ms=at_ms)


def account(*records: Record, sent: tuple[Sample, ...] = (EVENT, MALFORMED)) -> Ledger:
    """A ledger after these samples were sent at 1000 ms and these records came."""
    ledger = Ledger(DOORS)
    for sample in sent:
        ledger.sent(sample, 1_000)
    for record in records:
        ledger.received(record)
    return ledger


BALANCED = (decided("sample-1"), dead("malformed-1", b"[]"))


def landings(*records: Record) -> list[Landing]:
    """The landings of these records in a ledger that has their samples."""
    ledger = account()
    return [landing for record in records if (landing := ledger.received(record)) is not None]


def titled(title: str) -> Landing:
    """A decision on an event with this title."""
    ledger = Ledger(DOORS)
    ledger.sent(Sample(key="k", value=b"", title=title), 1_000)
    landing = ledger.received(decided("k", tag=LABELS[0]))
    assert landing is not None
    return landing


def found_words(word: str) -> Finding:
    """A worker has found that this word moved."""
    return Finding(
        kind=DriftKind.WORDS,
        at="2026-11-24T21:03:12.000Z",
        worker="w-1",
        window=Span(events=300, start="2026-11-24T21:03:00.000Z", end="2026-11-24T21:03:12.000Z"),
        reference_digest="",
        model=Model(name="m", version="1", digest="d"),
        words=(Word(word=word, z=9.0, share=0.16, reference_share=0.001),),
    )


NO_ANSWERS = AnswerTotals(given=0, reached=0, agreed=0, p50_ms=None)
ANSWERS = AnswerTotals(given=12, reached=12, agreed=9, p50_ms=31)


def answered(title: str, *, tag: str = LABELS[0], model_tag: str = LABELS[1]) -> Reached:
    """An answer that is on `tagged`."""
    return Reached(
        event_id="sample-1", title=title, tag=tag, model_tag=model_tag, reviewer="ann", timestamp_ms=1_050, latency_ms=30
    )


def terminal() -> Console:
    """A console on a terminal of 80 by 24, without colours."""
    return Console(file=Terminal(), width=80, height=24, color_system=None, _environ={"TERM": "xterm"})


class Terminal(io.StringIO):
    """A text stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Always."""
        return True


def output(console: Console) -> str:
    """The text printed on a console."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
