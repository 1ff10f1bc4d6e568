"""The outcomes that the demo reads: one `Arrival` for each record of `tagged`, `review` and the dead letters."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from monitoring.vocabulary import Destination
from stream.contract.record import Record

CODE_HEADER = "x-dlq-code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """
    One outcome of an event. A door is one of the three topics by which an event leaves the stream.

    Attributes:
        key: The record's key, by which its sample is found.
        door: Its topic.
        timestamp_ms: When the worker wrote it, Unix milliseconds.
        value: A dead letter's bytes; None for a decision.
        code: A dead letter's code, else None.
        tag: The decision's tag, None for a dead letter.
        confidence: The decision's confidence, 0 to 1; None for a dead letter.
        labels: All labels in the bundle's order; empty for a dead letter.
        by_model: False for a reviewer's decision, which enters `tagged` after the model's own and is no second outcome.
    """

    key: str
    door: Destination
    timestamp_ms: int
    value: bytes | None = field(default=None, repr=False)
    code: str | None = None
    tag: str | None = None
    confidence: float | None = None
    labels: tuple[str, ...] = ()
    by_model: bool = True


class _Decision(msgspec.Struct, frozen=True):
    tag: str
    confidence: float
    decider: str
    probabilities: dict[str, float]


def key_of(record: Record) -> str:
    """The key as text, with escapes for bytes that are not UTF-8."""
    return (record.key or b"").decode("utf-8", errors="backslashreplace")


def arrival(record: Record, doors: Mapping[str, Destination]) -> Arrival:
    """
    Read one outcome.

    Args:
        record: A record of one of the topics in `doors`.
        doors: The door of each topic.

    Raises:
        msgspec.DecodeError: The worker published a value that is not a decision: a bug in the worker.
    """
    door = doors[record.topic]
    key = key_of(record)
    if door is Destination.DLQ:
        codes = [value for name, value in record.headers if name == CODE_HEADER]
        code = codes[-1].decode("utf-8", errors="backslashreplace") if codes else None
        return Arrival(key=key, door=door, timestamp_ms=record.timestamp_ms, value=record.value, code=code)
    decision = msgspec.json.decode(record.value or b"", type=_Decision)
    return Arrival(
        key=key,
        door=door,
        timestamp_ms=record.timestamp_ms,
        tag=decision.tag,
        confidence=decision.confidence,
        labels=tuple(decision.probabilities),
        by_model=decision.decider != "reviewer",
    )
