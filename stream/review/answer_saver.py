"""Saves a person's answer: produces it, waits for all replicas, marks the item in the store, and then reports "saved".

No answer is lost if the console dies in between: the follower of another console, or of the restarted one, reads the record and marks
the item.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from tagstream.stream.contract.answers import (
    OFF_SUBJECT,
    UNSIGNED,
    Answer,
    AnsweredEvent,
    AnswerKeys,
    Said,
    answer_to,
    write_answer,
)
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import forwarded
from tagstream.stream.contract.refusal import Refusal, UnwritableError
from tagstream.stream.contract.reports import report_of, write_report
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.producer import RecordTooLargeError, TooLateError, UndeliveredError
from tagstream.stream.logs import logger
from tagstream.stream.review.store.queue import MOST_TWIN_BYTES, MOST_TWINS, nearly_equal
from tagstream.stream.review.store.records import Claim, Lapsed, TooMany, unix_ms
from tagstream.stream.review.store.store import Store
from tagstream.stream.settings.topics import Topics

# Answers are sent one at a time. An answer that was not handed to the producer within this time is given up. After the hand-over the
# confirmation takes 20 s at most. The item is withheld from all reviewers for longer than both times together (`SAVING_MS`).
TURN_SECONDS = 30.0
NOT_WRITTEN = "The brokers took no record ({why}), so nothing was written. Next: send the same answer again when they are back; what you typed is kept."
NOT_KNOWN = (
    "The brokers did not confirm the record in time ({why}), so it is not known whether they have it. Next: go on with the next item; "
    "this one comes back within a minute if the answer did not arrive."
)
NOT_TAKEN = "This answer cannot be written: {why}. Next: shorten the note; if that does not help, skip the item and report this sentence."

log = logger("tagstream.review")


class AnswerSender(Protocol):
    """Sends records; `VerbatimSender` implements it."""

    def deliver(self, records: Sequence[Record], *, until: float) -> list[UndeliveredError | None]:
        """Return None for each record that all replicas have, else the error. After `until` (`time.monotonic`) no record is handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """
    All replicas have the answers.

    Attributes:
        answer: The answer on the item that was shown.
        also: The answers on the item's near-duplicates.
    """

    answer: Answer
    also: tuple[Answer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsaved:
    """
    The record was not written, or the brokers did not confirm it in time. The page keeps the typed text.

    Attributes:
        message: A sentence for the reviewer, with the next step.
        arrived: False if nothing was written, so that the same answer can be sent again. None if that is not known; the item returns
            to the queue if the answer did not arrive.
    """

    message: str
    arrived: bool | None


class _Written(NamedTuple):
    """An answer that is being saved: the claim on its item, and its record. `write_answer` has read the record as every worker will."""

    claim: Claim
    answer: Answer
    record: Record


class AnswerSaver:
    """Saves answers and reports. Several threads may call its methods. Each method returns within a minute."""

    def __init__(
        self,
        store: Store,
        sender: AnswerSender,
        topics: Topics,
        *,
        keys: AnswerKeys = UNSIGNED,
        clock: Callable[[], int] = unix_ms,
    ) -> None:
        """
        Join the parts.

        Args:
            store: Has the leases, and the marks of saved answers.
            sender: Sends records and waits for all replicas.
            topics: The names of the topics.
            keys: The first key signs the answers. Without keys the answers are not signed.
            clock: Returns Unix milliseconds, for `decided_at` and `reported_at`.
        """
        self._store = store
        self._sender = sender
        self._topics = topics
        self._keys = keys
        self._clock = clock
        self._turn = threading.Lock()

    def save(
        self, event_id: str, token: str, tag: str, *, note: str | None = None, also: Sequence[str] = ()
    ) -> Saved | Lapsed | Unsaved:
        """
        Save the answer of the reviewer whose claim has this token.

        Args:
            event_id: The event id of the claim.
            token: The token of the claim.
            tag: A label of the decision's `probabilities`, or `OFF_SUBJECT`.
            note: The reviewer's note, if any.
            also: Ids of near-duplicates (`Queue.duplicates`) that get the same answer. Events that were taken meanwhile, or that exceed
                the bounds of `Queue.duplicates`, are left out.

        Raises:
            ValueError: The tag is not a label of the decision. The message is a sentence.
            DatabaseUnavailableError: The store does not answer; nothing was written.
        """
        until = time.monotonic() + TURN_SECONDS
        claim = self._store.queue.hold_for_saving(event_id, token)
        if isinstance(claim, Lapsed):
            return claim
        try:
            _check(tag, claim.item.decision.probabilities)
            written = [self._write(claim, tag, note)]
        except UnwritableError as error:
            self._store.queue.not_saved(claim)
            return Unsaved(message=NOT_TAKEN.format(why=error), arrived=False)
        except ValueError:
            self._store.queue.not_saved(claim)
            raise
        for other in self._others(claim, also):
            try:
                written.append(self._write(other, tag, note))
            except UnwritableError:
                # The event is so large that the note does not fit into its record: a person answers this event by itself.
                self._release(other)
        return self._outcome(written, self._deliver([one.record for one in written], until))

    def report(
        self, caller: str, event_id: str, *, tag: str | None = None, note: str | None = None, reporter: str | None = None
    ) -> TooMany | Unsaved | None:
        """
        Send a reader's report to the topic `reports`. Return None when all replicas have the report.

        Args:
            caller: The sender whose reports are counted: an address, or the name of a site.
            event_id: The id of the event. Whether there is such an event is not checked here.
            tag: The label that the reader suggests.
            note: The reader's words.
            reporter: The reader's name, if it is given.

        Raises:
            ValueError: A field is too long, or the id is blank; the message is a sentence.
            DatabaseUnavailableError: The store does not answer; nothing was written.
        """
        given = {"event_id": event_id, "suggested_tag": tag, "note": note, "reporter": reporter}
        report = report_of({name: text for name, text in given.items() if text is not None}, self._clock())
        if isinstance(report, Refusal):
            raise ValueError(report.message)  # noqa: TRY004 - the type is right, the value is not
        refused = self._store.queue.admit_report(caller, event_id)
        if refused is not None:
            return refused
        record = Record(topic=self._topics.reports, key=event_id.encode(), value=write_report(report))
        [error] = self._deliver([record], time.monotonic() + TURN_SECONDS)
        return None if error is None else _unsaved(error)

    def _others(self, claim: Claim, also: Sequence[str]) -> list[Claim]:
        """Hold the near-duplicates that are still free. Texts and sizes are checked again, because the page's list is not trusted."""
        others, left = [], MOST_TWIN_BYTES
        for event_id in [one for one in dict.fromkeys(also) if one != claim.item.event.id][:MOST_TWINS]:
            one = self._store.queue.take_for_saving(event_id, claim.reviewer)
            if one is None:
                continue
            size = len(msgspec.json.encode(one.item.event.fields))
            if size <= left and nearly_equal(claim.item, one.item):
                others.append(one)
                left -= size
            else:
                self._release(one)
        return others

    def _release(self, claim: Claim) -> None:
        self._store.queue.release(claim.item.event.id, claim.token)

    def _write(self, claim: Claim, tag: str, note: str | None) -> _Written:
        """
        Return the answer and its record.

        Raises:
            UnwritableError: A reader would refuse the answer. The message gives the reason.
        """
        event = claim.item.event
        said = Said(tag=tag, reviewer=claim.reviewer, blind=claim.door.blind, asked_by=claim.asked_by, note=note)
        first = answer_to(claim.item, said, now_ms=self._clock())
        answer = msgspec.structs.replace(first, version=claim.version, supersedes=claim.supersedes)
        value = write_answer(event.fields, answer)
        # An answer is no CloudEvent, though the decision may be one.
        record = Record(topic=self._topics.reviewed, key=event.record.key, value=value, headers=forwarded(event.record.headers))
        return _Written(claim, answer, self._keys.signed(record))

    def _deliver(self, records: Sequence[Record], until: float) -> list[UndeliveredError | None]:
        if not self._turn.acquire(timeout=max(0.0, until - time.monotonic())):
            return [TooLateError("another answer is waiting for the brokers")] * len(records)
        try:
            return self._sender.deliver(records, until=until)
        except BrokerUnreachableError as error:
            log.warning("brokers_unreachable", error=str(error))
            return [TooLateError("no broker answers")] * len(records)
        finally:
            self._turn.release()

    def _outcome(self, written: Sequence[_Written], results: Sequence[UndeliveredError | None]) -> Saved | Unsaved:
        saved = []
        for (claim, answer, _), error in zip(written, results, strict=True):
            if error is None:
                saved.append(AnsweredEvent(event=claim.item.event, answer=answer))
            elif not isinstance(error, TooLateError | RecordTooLargeError):
                continue
            elif claim is written[0].claim:
                self._store.queue.not_saved(claim)
            else:
                self._release(claim)
        try:
            # All replicas have these answers: their items are no longer open.
            self._store.writer.fill(saved, {})
        except DatabaseUnavailableError as error:
            # The brokers have the answers, and the follower marks them when the store is back.
            log.warning("answers_not_marked", answers=len(saved), error=str(error))
        first = results[0]
        if first is not None:
            return _unsaved(first)
        return Saved(answer=saved[0].answer, also=tuple(one.answer for one in saved[1:]))


def _check(tag: str, labels: Collection[str]) -> None:
    if tag != OFF_SUBJECT and tag not in labels:
        msg = f"this is no label of the decision. Next: choose one of {', '.join(labels)}, or {OFF_SUBJECT}"
        raise ValueError(msg)


def _unsaved(error: UndeliveredError) -> Unsaved:
    if isinstance(error, TooLateError | RecordTooLargeError):
        return Unsaved(message=NOT_WRITTEN.format(why=error), arrived=False)
    return Unsaved(message=NOT_KNOWN.format(why=error), arrived=None)
