"""Turns reviewers' answers into decisions: records of `reviewed` in, one publication each, in order. Without Kafka, Faust or a model.

A decision is a pure function of its record, so an answer that is delivered again gives the same bytes. Answers on one event may be published
in any order: their versions decide which answer holds. A record that is not an answer becomes a dead letter.
"""

import time
from collections.abc import Callable, Sequence

from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import Destination, Reason, Stage
from tagstream.stream.contract.answers import UNSIGNED, AnsweredEvent, AnswerKeys, read_answer, tagged_by_reviewer
from tagstream.stream.contract.event import DEFAULT_LIMITS, Limits, Record, weight
from tagstream.stream.contract.outcome import Publication, Tagged, rejected
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.logs import logger

log = logger("tagstream.app")


class ReviewerAnswers:
    """Turns reviewers' answers into decisions. Several threads may use it at once."""

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        *,
        keys: AnswerKeys = UNSIGNED,
        decider: Callable[[], Decider | None] = lambda: None,
    ) -> None:
        """
        Keep the arguments.

        Args:
            limits: Bounds on the records that are read, and on the records that are published.
            keys: The keys of which one must have signed an answer; without a key every answer counts.
            decider: Gives the decider in force; None if there is none. A decision in its name must have exactly its labels.
        """
        self._limits = limits
        self._keys = keys
        self._decider = decider

    def publications(self, records: Sequence[Record], *, clock: Callable[[], float] = time.time) -> list[Publication]:
        """
        One publication for each record, in order. Never raises, whatever the records' bytes.

        Args:
            records: The records as they were read from `reviewed`.
            clock: Gives Unix seconds.
        """
        now_ms = int(clock() * 1000)
        made = [self._publication(record, self._read(record), now_ms) for record in records]
        unsigned = [
            record for record, one in zip(records, made, strict=True) if one.observation.rejection is Reason.UNSIGNED_ANSWER
        ]
        if unsigned:
            log.warning(
                "answers_not_signed",
                answers=len(unsigned),
                topic=unsigned[0].topic,
                partition=unsigned[0].partition,
                first_offset=unsigned[0].offset,
                consequence="none of them becomes a decision; they are dead letters",
                next="docs/runbooks/UnsignedAnswers.md",
            )
        return made

    def _read(self, record: Record) -> AnsweredEvent | Refusal:
        found = read_answer(record, self._limits, self._keys)
        if isinstance(found, Refusal):
            return found
        decider, before = self._decider(), found.answer.before
        # The labels of another model are not known here. People also answer its decisions, long after it was replaced.
        if (
            decider is not None
            and before.model.digest == decider.model.digest
            and before.probabilities.keys() != set(decider.labels)
        ):
            message = "before.probabilities has other labels than the model that before.model names"
            return Refusal(stage=Stage.VALIDATE, reason=Reason.UNKNOWN_LABEL, message=message)
        return found

    def _publication(self, record: Record, found: AnsweredEvent | Refusal, now_ms: int) -> Publication:
        if isinstance(found, Refusal):
            return rejected(record, found, self._limits)
        key, value, headers, decision = tagged_by_reviewer(found, now_ms, self._limits)
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
            outcome=Tagged(event=found.event, decision=decision),
        )
