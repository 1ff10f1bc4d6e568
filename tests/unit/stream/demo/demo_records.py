"""Samples and outcomes of the demo, and consoles that keep their output."""

import io

import msgspec
from rich.console import Console

from tagstream.monitoring.drift.findings import Finding, Model, Span, Word
from tagstream.monitoring.vocabulary import DriftKind
from tagstream.stream.contract.event import Record
from tagstream.stream.demo import samples
from tagstream.stream.demo.account import Account, Landing, Reached
from tagstream.stream.demo.samples import SampleRecord
from tagstream.stream.settings.topics import Topics

TOPICS = Topics.model_validate({})
LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
EVENT = SampleRecord(key="sample-1", value=b'{"id":"sample-1","title":"A title"}', title="A title")
MALFORMED = SampleRecord(key="malformed-1", value=b"[]", title="array", code=samples.Reason.NOT_AN_OBJECT)


def decided(key: str, *, topic: str = "tagged", tag: str = "mlops", decider: str = "model", at_ms: int = 1_020) -> Record:
    """A decision as the worker publishes it, as far as the demo reads it."""
    value = {
        "tag": tag,
        "confidence": 0.9,
        "decider": decider,
        "prediction_id": f"p-{key}",
        "probabilities": dict.fromkeys(LABELS, 0.25),
        "title": "A title",
    }
    return Record(topic=topic, key=key.encode(), value=msgspec.json.encode(value), timestamp_ms=at_ms)


def dead(key: str, value: bytes | None, code: str | None = "not_an_object", *, at_ms: int = 1_020) -> Record:
    """A dead letter as the worker publishes it."""
    headers = () if code is None else (("x-dlq-code", b"an older one"), ("x-dlq-code", code.encode()))
    return Record(topic="content.dlq", key=key.encode(), value=value, headers=headers, timestamp_ms=at_ms)


def account(*records: Record, sent: tuple[SampleRecord, ...] = (EVENT, MALFORMED)) -> Account:
    """An account after these samples were sent at 1000 ms and these records came."""
    made = Account(TOPICS)
    for sample in sent:
        made.sent(sample, 1_000)
    for record in records:
        made.came(record)
    return made


BALANCED = (decided("sample-1"), dead("malformed-1", b"[]"))


def outcomes(*records: Record) -> list[Landing]:
    """The outcomes that these records are in an account that has their samples."""
    made = account()
    return [found for record in records if isinstance(found := made.came(record), Landing)]


def titled(title: str) -> Landing:
    """A decision on an event with this title."""
    found = account(sent=(SampleRecord(key="k", value=b"", title=title),)).came(decided("k", tag=LABELS[0]))
    assert isinstance(found, Landing)
    return found


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
