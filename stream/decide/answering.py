"""Reviewers' answers to decisions: records of `reviewed` in, one publication each, in their order. Neither Kafka nor Faust, and no model.

A decision is a pure function of its record, so an answer that is delivered again gives the same bytes, and answers on one event may be
published in any order: their versions say which of them holds. A record that is no answer becomes a dead letter.
"""

import time
from collections.abc import Callable, Sequence

from monitoring.observer import Observation
from monitoring.vocabulary import Destination, Reason, Stage
from stream.contract.answers import AnsweredEvent, answer_id, read_answer, tagged_by_reviewer
from stream.contract.decisions import Decision, Tagged
from stream.contract.limits import DEFAULT_LIMITS, Limits
from stream.contract.publication import Publication, rejected
from stream.contract.record import Record, weight
from stream.contract.refusal import Refusal


class Answering:
    """Makes the decisions of reviewers' answers, for one topic after the other or for several threads at once."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        """`limits` are the bounds on a record that is read, and on one that is published."""
        self._limits = limits

    def publications(self, records: Sequence[Record], *, clock: Callable[[], float] = time.time) -> list[Publication]:
        """
        The records that must reach the broker for these, in order; never raises, whatever their bytes.

        Args:
            records: As they were read from `reviewed`.
            clock: Gives Unix seconds.
        """
        now_ms = int(clock() * 1000)
        return [self._publication(record, read_answer(record, self._limits), now_ms) for record in records]

    def _publication(self, record: Record, found: AnsweredEvent | Refusal, now_ms: int) -> Publication:
        if isinstance(found, Refusal):
            return rejected(record, found, self._limits)
        key, value, headers = tagged_by_reviewer(found, now_ms)
        bytes_together = weight(key, value, headers)
        if bytes_together > self._limits.max_outcome_bytes:
            message = f"event and decision weigh {bytes_together} bytes together, the limit is {self._limits.max_outcome_bytes}"
            too_large = Refusal(stage=Stage.PRODUCE, reason=Reason.OUTCOME_TOO_LARGE, message=message)
            return rejected(record, too_large, self._limits)
        return Publication(
            destination=Destination.TAGGED,
            key=key,
            value=value,
            headers=headers,
            observation=Observation(destination=Destination.TAGGED, created_ms=record.timestamp_ms),
            outcome=Tagged(event=found.event, decision=_decision(found)),
        )


def _decision(found: AnsweredEvent) -> Decision:
    answer, before = found.answer, found.answer.before
    return Decision(
        tag=answer.tag,
        confidence=before.probabilities.get(answer.tag, 0.0),
        probabilities=before.probabilities,
        prediction_id=answer_id(answer),
        decider="reviewer",
        model=before.model,
        threshold=before.threshold,
        truncated=before.truncated,
    )
