"""Answers the rows of a request: asks the table first, then the model, then publishes to the broker."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from tagstream.monitoring.metrics.http import HttpMetrics
from tagstream.stream.contract.event import Headers, Record
from tagstream.stream.decide.answer import answer_of
from tagstream.stream.serve.errors import RequestError
from tagstream.stream.serve.micro_batches import MicroBatches
from tagstream.stream.serve.publishing import Publishing

REJECTED = b'{"destination":"dlq"'
TABLE_THREADS = 2
# The longest wait of a request for the table. After it the model decides, and the deadline of the decision begins.
TABLE_SECONDS = 2.0
# The maximum size of a request's answer objects.
MOST_ANSWER_BYTES = 12 * 1024 * 1024
# An answer object is the event's fields and the decision. DECISION_BYTES bounds the part that is neither field nor label.
# BESIDE_LABEL_BYTES bounds the bytes beside each label. With several tags, each label appears twice.
DECISION_BYTES = 1024
BESIDE_LABEL_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAnswers:
    """
    The table's answers to the rows of a request.

    Attributes:
        answers: The answer object of each row; None for a row that is not in the table.
        failed: True if the table did not answer. Then all answers are None.
    """

    answers: list[bytes | None]
    failed: bool = False


class AnswerTable(Protocol):
    """A table that is asked before the model (`tagstream.stream.serve.table_answers.TableAnswers`). Thread-safe."""

    @property
    def is_paused(self) -> bool:
        """True while the table must not be asked."""
        ...

    def look(self, records: Sequence[Record]) -> FoundAnswers:
        """Return the table's answers. Blocks."""
        ...

    def pause(self, error: str) -> None:
        """Stop asking the table for a while, because of this error."""
        ...


def nothing(records: Sequence[Record]) -> FoundAnswers:
    """Return the result of a table that does not answer: None for each row."""
    return FoundAnswers(answers=[None] * len(records), failed=True)


class RowAnswers:
    """Answers the rows of all requests of the process."""

    def __init__(
        self,
        deciding: MicroBatches,
        publishing: Publishing,
        metrics: HttpMetrics,
        cached: AnswerTable | None = None,
        *,
        labels: Sequence[str],
        table_seconds: float = TABLE_SECONDS,
    ) -> None:
        """
        Store the parts.

        Args:
            deciding: The queue before the model.
            publishing: The queue before the broker.
            metrics: Counts rows.
            cached: The table that is asked first; None for no table.
            labels: The labels of the model; each answer contains all of them.
            table_seconds: The longest wait of a request for the table.
        """
        self._deciding = deciding
        self._publishing = publishing
        self._metrics = metrics
        self._cached = cached
        self._table_seconds = table_seconds
        self._row_bytes = DECISION_BYTES + sum(2 * len(label.encode()) + BESIDE_LABEL_BYTES for label in labels)
        self._stuck: set[Future[FoundAnswers]] = set()
        self._threads = None if cached is None else ThreadPoolExecutor(TABLE_THREADS, thread_name_prefix="table")

    @property
    def broken(self) -> BaseException | None:
        """The error for which the process must end; None if there is no such error."""
        return self._deciding.broken or self._publishing.broken

    async def answers(self, values: Sequence[bytes], *, publish: bool = False, headers: Headers = ()) -> list[bytes]:
        """
        Return the answer object of each row, as `tagstream classify --json` prints it.

        Args:
            values: The bytes of each event.
            publish: True to send the events that are not rejected to `content`, and to wait for the broker's confirmation.
            headers: The headers of the records to send.

        Raises:
            RequestError: The answers could be too large, the queue is full, the deadline has passed, or the broker does not confirm.
        """
        # The decision is made on a record without headers, because the headers of the published record are not part of the event.
        records = [Record(key=None, value=value) for value in values]
        known = await self._known(records)
        self._check_size(values, known)
        places = [place for place, answer in enumerate(known) if answer is None]
        publications = await self._deciding.decided([records[place] for place in places])
        made = {
            place: answer_of(publication, line=place + 1, row=place)
            for place, publication in zip(places, publications, strict=True)
        }
        answers = [made[place] if answer is None else answer for place, answer in enumerate(known)]
        self._metrics.answered([publication.destination for publication in publications])
        if not publish:
            return answers
        good = [place for place, answer in enumerate(answers) if not answer.startswith(REJECTED)]
        await self._publishing.publish([Record(key=None, value=values[place], headers=headers) for place in good])
        return answers

    def _check_size(self, values: Sequence[bytes], known: Sequence[bytes | None]) -> None:
        """Refuse a request whose answers could be too large, before the model decides."""
        most = sum(
            len(value) + self._row_bytes if answer is None else len(answer) for value, answer in zip(values, known, strict=True)
        )
        if most > MOST_ANSWER_BYTES:
            sentence = f"The answers could have {most} bytes, and at most {MOST_ANSWER_BYTES} are allowed. Next: send several requests, or use tagstream batch."
            raise RequestError(413, sentence)

    async def _known(self, records: Sequence[Record]) -> list[bytes | None]:
        if self._cached is None or self._threads is None:
            return [None] * len(records)
        found = await self._looked(self._cached, self._threads, records)
        self._metrics.looked(found=sum(answer is not None for answer in found.answers), of=len(records), failed=found.failed)
        return found.answers

    async def _looked(self, cached: AnswerTable, threads: ThreadPoolExecutor, records: Sequence[Record]) -> FoundAnswers:
        # A connection to a vanished host holds its thread until the connection times out. Other requests do not wait for that thread.
        self._stuck = {job for job in self._stuck if not job.done()}
        if self._stuck or cached.is_paused:
            return nothing(records)
        job = threads.submit(cached.look, records)
        try:
            async with asyncio.timeout(self._table_seconds):
                return await asyncio.wrap_future(job)
        except TimeoutError:
            # A job that has not begun is cancelled. Its delay does not mean that the table is slow.
            if not job.cancel() and not job.done():
                self._stuck.add(job)
                cached.pause(f"no answer within {self._table_seconds:g} s")
            return nothing(records)

    def close(self) -> None:
        """Stop the threads that ask the table."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
