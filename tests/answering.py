"""Decisions as they lie on their topics, and answers and reports on them, for the tests of every room."""

import re
from typing import Any

from tagstream.monitoring.observer import NullObserver
from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.answers import Answer, AskedBy, Said, answer_to, write_answer
from tagstream.stream.contract.event import Headers, Record
from tagstream.stream.contract.outcome import ModelRef, publish_all
from tagstream.stream.contract.published import DecidedEvent, PublishedDecision, read_decision
from tagstream.stream.decide.pipeline import Pipeline
from tests.fakes import deciding, raw
from tests.replacing import replace

NOW_MS = 1_700_000_000_000
MODEL = ModelRef(name="tiny", version="1", digest="d" * 64)


def of_epoch(number: int) -> ModelRef:
    """The name of a model in an epoch after the first change; two models take turns."""
    return ModelRef(name="tiny", version="2", digest=("e" if number % 2 else "f") * 64, epoch=str(number), arm="champion")


SURE = b'{"id":"e-1","title":"deployment of a model"}'
UNSURE = b'{"id":"e-2","title":"maybe deployment"}'


# The codes that only a record of `reviewed` can get.
OF_ANSWERS = frozenset({Reason.INVALID_ANSWER, Reason.UNKNOWN_LABEL, Reason.UNKNOWN_DECISION, Reason.UNSIGNED_ANSWER})
PIPELINE = Pipeline(decider=deciding(model=MODEL), observer=NullObserver())


def decided(
    value: bytes = SURE, *, key: bytes | None = None, headers: Headers = (), now_ms: int = NOW_MS, by: ModelRef = MODEL
) -> Record:
    """The record of `tagged` or `review` that a worker makes of an event; the keyword classifier decides, under this name."""
    event = raw(value, key=key, headers=headers)
    pipeline = Pipeline(decider=deciding(model=by), observer=NullObserver())
    [made] = publish_all([event], pipeline.decide([event]), now_ms)
    return Record(topic=made.destination.value, partition=1, offset=5, key=made.key, value=made.value, headers=made.headers)


def audited(tagged: Record, probability: float = 0.02) -> Record:
    """The copy of a tagged decision on `audit`."""
    assert tagged.value is not None
    value = re.sub(rb',"tagged_at":"[^"]*"}$', lambda end: b',"inclusion_probability":%g' % probability + end[0], tagged.value)
    return replace(tagged, topic="audit", value=value)


def published(record: Record) -> PublishedDecision:
    """The decision that the record has, the model's or a reviewer's."""
    found = read_decision(record)
    assert isinstance(found, PublishedDecision), found
    return found


def shown(record: Record) -> DecidedEvent:
    """The model's decision that the record has."""
    found = published(record)
    assert isinstance(found, DecidedEvent), found
    return found


def answer(
    record: Record | None = None,
    tag: str = "computer-vision",
    *,
    now_ms: int = NOW_MS + 60_000,
    previous: Answer | None = None,
    asked_by: AskedBy = "review",
    **said: Any,
) -> Answer:
    """An answer of reviewer `ann` on the decision in this record."""
    words = Said(**{"tag": tag, "reviewer": "ann", "blind": False, "asked_by": asked_by, **said})
    return answer_to(shown(decided() if record is None else record), words, now_ms=now_ms, previous=previous)


def reviewed(record: Record, given: Answer) -> Record:
    """The record of `reviewed` for an answer on the decision in `record`."""
    return Record(
        topic="reviewed",
        partition=2,
        offset=9,
        key=record.key,
        value=write_answer(shown(record).event.fields, given),
        headers=record.headers,
    )
