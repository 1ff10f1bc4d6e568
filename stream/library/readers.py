"""Readers of the topics, for any bytes: what tagstream, or a program with its library, has written comes back with types."""

from tagstream.stream.contract import answers, dead_letter, published
from tagstream.stream.contract.answers import AnsweredEvent
from tagstream.stream.contract.dead_letter import DeadLetter
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import PublishedDecision
from tagstream.stream.contract.refusal import Refusal


def read_decision(record: Record) -> PublishedDecision | Refusal:
    """
    The decision in a record of `tagged`, `review` or `audit`, or why there is none. It never raises.

    >>> from tagstream import Record, read_decision
    >>> read_decision(Record(key=None, value=b"{")).reason
    <Reason.INVALID_JSON: 'invalid_json'>
    """
    return published.read_decision(record)


def read_answer(record: Record) -> AnsweredEvent | Refusal:
    """
    The answer of a person in a record of `reviewed`, or why there is none. It never raises, and asks for no signature (`Answers` does).

    >>> from tagstream import Record, read_answer
    >>> read_answer(Record(key=None, value=b"{")).reason
    <Reason.INVALID_JSON: 'invalid_json'>
    """
    return answers.read_answer(record)


def read_dead_letter(record: Record) -> DeadLetter | None:
    """
    The dead letter in a record of `content.dlq`, with the producer's bytes as they were; None if no program of tagstream wrote it.

    >>> from tagstream import Record, read_dead_letter
    >>> read_dead_letter(Record(key=None, value=b"{}")) is None
    True
    """
    return dead_letter.read(record)
