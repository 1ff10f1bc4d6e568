"""Readers of records: they return the records of tagstream's topics as typed objects. They accept any bytes."""

from tagstream.stream.contract import answers, dead_letter, published
from tagstream.stream.contract.answers import AnsweredEvent
from tagstream.stream.contract.dead_letter import DeadLetter
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import PublishedDecision
from tagstream.stream.contract.refusal import Refusal


def read_decision(record: Record) -> PublishedDecision | Refusal:
    """
    Return the decision in a record of `tagged`, `review` or `audit`, or a refusal with the reason. Never raises.

    >>> from tagstream import Record, read_decision
    >>> read_decision(Record(key=None, value=b"{")).reason
    <Reason.INVALID_JSON: 'invalid_json'>
    """
    return published.read_decision(record)


def read_answer(record: Record) -> AnsweredEvent | Refusal:
    """
    Return the person's answer in a record of `reviewed`, or a refusal with the reason. Never raises.

    The signature of the answer is not checked; `Answers` checks it.

    >>> from tagstream import Record, read_answer
    >>> read_answer(Record(key=None, value=b"{")).reason
    <Reason.INVALID_JSON: 'invalid_json'>
    """
    return answers.read_answer(record)


def read_dead_letter(record: Record) -> DeadLetter | None:
    """
    Return the dead letter in a record of `content.dlq`, with the producer's original bytes; None if tagstream did not write the record.

    >>> from tagstream import Record, read_dead_letter
    >>> read_dead_letter(Record(key=None, value=b"{}")) is None
    True
    """
    return dead_letter.read(record)
