"""The rows of a request to its answers: the table first, then the model, then the broker. Both faces of the service call this."""

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
# The most that a request waits for the table. The model decides then, and its deadline begins.
TABLE_SECONDS = 2.0
# The answer objects of one request. As tensors they can be three times as much.
MOST_ANSWER_BYTES = 12 * 1024 * 1024
# An answer object is the event's fields and the decision. So much of that at most is neither field nor label, and so much is beside each
# label, which stands there twice if there are several tags.
DECISION_BYTES = 1024
BESIDE_LABEL_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAnswers:
    """
    The table's answers to the rows of a request.

    Attributes:
        answers: The answer object of each row; None where the table has none.
        failed: The table did not answer, so that it has none for any row.
    """

    answers: list[bytes | None]
    failed: bool = False


class AnswerTable(Protocol):
    """A table that is asked before the model (`tagstream.stream.serve.table_answers.TableAnswers`). Safe for threads."""

    @property
    def is_paused(self) -> bool:
        """Is the table left alone for now?"""
        ...

    def look(self, records: Sequence[Record]) -> FoundAnswers:
        """The table's answers. Blocks."""
        ...

    def pause(self, error: str) -> None:
        """Leave the table alone for a while, because of this."""
        ...


def nothing(records: Sequence[Record]) -> FoundAnswers:
    """The result for these rows of a table that does not answer."""
    return FoundAnswers(answers=[None] * len(records), failed=True)


class RowAnswers:
    """One for the process."""

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
        Join the parts.

        Args:
            deciding: The queue before the model.
            publishing: The queue before the broker.
            metrics: Counts rows.
            cached: Asks a table first; None for no table.
            labels: Of the model, all of which are in each answer.
            table_seconds: The most that a request waits for it.
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
        """Why the process must end; None while all is well."""
        return self._deciding.broken or self._publishing.broken

    async def answers(self, values: Sequence[bytes], *, publish: bool = False, headers: Headers = ()) -> list[bytes]:
        """
        The answer object of each row, as `tagstream classify --json` prints it.

        Args:
            values: The bytes of an event each.
            publish: Send the events that are not rejected to `content`, and wait for the broker's word.
            headers: Of the records to send.

        Raises:
            RequestError: There are none: they could be too large, the queue is full, the deadline is over, or the broker does not confirm.
        """
        # A record without headers gets its decision: a header of the published one is no part of the event.
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
        """Refuse before the model decides: what cannot be sent must not be made."""
        most = sum(
            len(value) + self._row_bytes if answer is None else len(answer) for value, answer in zip(values, known, strict=True)
        )
        if most > MOST_ANSWER_BYTES:
            sentence = f"The answers could have {most} bytes, {MOST_ANSWER_BYTES} are the most. Next: send several requests, or use tagstream batch."
            raise RequestError(413, sentence)

    async def _known(self, records: Sequence[Record]) -> list[bytes | None]:
        if self._cached is None or self._threads is None:
            return [None] * len(records)
        found = await self._looked(self._cached, self._threads, records)
        self._metrics.looked(found=sum(answer is not None for answer in found.answers), of=len(records), failed=found.failed)
        return found.answers

    async def _looked(self, cached: AnswerTable, threads: ThreadPoolExecutor, records: Sequence[Record]) -> FoundAnswers:
        # A connection to a host that has vanished holds its thread until the connection's own bounds end it; nobody waits behind it.
        self._stuck = {job for job in self._stuck if not job.done()}
        if self._stuck or cached.is_paused:
            return nothing(records)
        job = threads.submit(cached.look, records)
        try:
            async with asyncio.timeout(self._table_seconds):
                return await asyncio.wrap_future(job)
        except TimeoutError:
            # A job that has not begun can be cancelled, and says nothing of the table.
            if not job.cancel() and not job.done():
                self._stuck.add(job)
                cached.pause(f"no answer within {self._table_seconds:g} s")
            return nothing(records)

    def close(self) -> None:
        """End the threads that ask the table."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
