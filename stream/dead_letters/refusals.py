"""Reasons not to replay a dead letter: a closed list, and those that the dead letter itself gives. Pure."""

from enum import StrEnum

from stream.contract.dead_letter import DeadLetter
from stream.contract.events import decode
from stream.contract.record import Record
from stream.contract.refusal import Refusal


class NotReplayed(StrEnum):
    """Why a dead letter is not replayed."""

    NOT_OURS = "not_a_dead_letter"
    INCOMPLETE = "incomplete"
    TOO_OFTEN = "too_often"
    NULL_HEADER = "null_header"
    TOO_LARGE = "too_large"
    UNKNOWN = "unknown"
    ELSEWHERE = "elsewhere"


def not_replayed(letter: DeadLetter, *, most_replays: int) -> tuple[NotReplayed, str] | None:
    """The reason in the dead letter itself for which it is not replayed, with a sentence; None if there is none."""
    if letter.dropped:
        parts = " and ".join(letter.dropped)
        return (
            NotReplayed.INCOMPLETE,
            f"{parts} did not fit into the topic and could not be kept; the producer must send it again",
        )
    if letter.replays >= most_replays:
        return NotReplayed.TOO_OFTEN, f"it was replayed {letter.replays} times already, and the limit is {most_replays}"
    nulls = [name for name, content in letter.headers if content is None]
    if nulls:
        return (
            NotReplayed.NULL_HEADER,
            f"{len(nulls)} of its headers have no value, which kafka-python cannot send; its producer can",
        )
    return None


def still_refused(letter: DeadLetter) -> bool:
    """
    Whether the fault is in the event's own bytes: this version, at its default limits, refuses them for the same reason.

    Bytes in the frame of a Schema Registry need its schemas, so nothing is said of them, nor of answers, which are no events.
    """
    if letter.value is None or letter.value.startswith(b"\0"):
        return False
    found = decode(Record(key=letter.key, value=letter.value, headers=letter.headers))
    return isinstance(found, Refusal) and found.reason.value == letter.code
