"""The answer object: one outcome as a JSON object for a program that asks without Kafka.

`classify --json`, `serve` and `batch` give the same object, so their answers can be compared byte by byte. Before `tagged_at`, its bytes are
the bytes that the stream publishes. As columns of a file or a table, an answer has the names below.
"""

from typing import Literal

import msgspec

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.outcome import ModelRef, Publication
from tagstream.stream.contract.refusal import Refusal

# An input's column with a name of ours is kept under its name after this prefix.
OVERRIDDEN = "overridden_"
# The fields of `model` that become columns: one bundle in one epoch decides all rows, so epoch and arm are in the answer object alone.
MODEL_PARTS = tuple(name for name in ModelRef.__struct_fields__ if name not in {"epoch", "arm"})


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why an event is rejected: step, code and the fault, none of which has text of the event."""

    stage: str
    code: str
    message: str


class RejectedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The answer object of a rejected event: its place, and why."""

    destination: Literal["dlq"] = Destination.DLQ.value
    line: int
    row: int
    error: Rejection


def answer_of(publication: Publication, *, line: int, row: int) -> bytes:
    """
    The JSON object of an outcome, without a line end.

    A decision is the published value with `destination` after it. The object of a rejected event has the event's place and none of its
    text.

    Args:
        publication: The pipeline's outcome.
        line: The line of the input, from 1, as an editor counts.
        row: The answer's place among the answers, from 0.
    """
    outcome, value = publication.outcome, publication.value or b""
    if isinstance(outcome, Refusal):
        error = Rejection(**error_of(outcome))
        return msgspec.json.encode(RejectedEvent(line=line, row=row, error=error))
    return value[:-1] + b',"destination":"%b"}' % publication.destination.value.encode()


def error_of(refusal: Refusal) -> dict[str, str]:
    """Stage, code and message under the names of an answer."""
    return {"stage": refusal.stage.value, "code": refusal.reason.value, "message": refusal.message}
