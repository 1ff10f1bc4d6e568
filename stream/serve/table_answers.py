"""
`--table URL`: answers from a table of predictions. The model decides the rows that the table does not answer.

A person's decision on an event comes first, if the event's text is unchanged. A model's decision is found by the text, from any event,
if it was made by the current bundle and thresholds; otherwise the model decides again. So no answer is of a bundle that decides no more. Each
answer says when its decision was made. The table is only read, never written.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from tagstream.stream.contract.event import ContentEvent, Record, decode
from tagstream.stream.contract.outcome import publish_all, timestamp
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.decide.answer import answer_of
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.logs import logger
from tagstream.stream.serve.row_answers import FoundAnswers, nothing
from tagstream.stream.tables.predictions import Predictions
from tagstream.stream.tables.row import hash_of_text
from tagstream.stream.tables.stored_decisions import decided_before

# The pause after a table did not answer. Without a pause, each request would wait for the table.
PAUSE_SECONDS = 10.0
MARK, AGE = "cached", "decided_at"
log = logger("tagstream.serve")


class TableAnswers:
    """Looks up answers in a table. Its methods block, so call them in a thread."""

    def __init__(self, predictions: Predictions, pipeline: Pipeline, *, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Store the parts.

        Args:
            predictions: The table.
            pipeline: Has the current decider and the bounds on an event.
            clock: A monotonic clock, in seconds.
        """
        self._predictions = predictions
        self._pipeline = pipeline
        self._clock = clock
        self._again_at = -PAUSE_SECONDS

    def look(self, records: Sequence[Record]) -> FoundAnswers:
        """Return the table's answers. If the table does not answer, this is logged, and the model decides."""
        if self.is_paused:
            return nothing(records)
        try:
            return FoundAnswers(answers=self._answers(records))
        except DatabaseUnavailableError as error:
            self.pause(str(error))
            return nothing(records)

    @property
    def is_paused(self) -> bool:
        """True while the table must not be asked."""
        return self._clock() < self._again_at

    def pause(self, error: str) -> None:
        """Stop asking the table for `PAUSE_SECONDS`, because of this error."""
        self._again_at = self._clock() + PAUSE_SECONDS
        log.warning("table_does_not_answer", error=error, asked_again_in_seconds=PAUSE_SECONDS)

    def _answers(self, records: Sequence[Record]) -> list[bytes | None]:
        found: list[bytes | None] = [None] * len(records)
        decoded = [decode(record, self._pipeline.limits) for record in records]
        # A JSON object must not have a key twice. So an event that has its own field `cached` goes to the model, and one with `decided_at`
        # if no person decided it.
        events = {
            place: event for place, event in enumerate(decoded) if isinstance(event, ContentEvent) and MARK not in event.fields
        }
        if not events:
            return found
        by_people = self._predictions.by_persons([event.id for event in events.values()])
        # The object is made once per event, even if a request contains the event several times.
        marked = {event_id: _marked(row.line) for event_id, row in by_people.items()}
        for place, event in list(events.items()):
            row = by_people.get(event.id)
            if row is not None and row.text_hash == hash_of_text(event.title, event.description):
                found[place] = marked[event.id]
                del events[place]
        now_ms = int(time.time() * 1000)
        for decider, places in self._by_decider(events):
            stored = decided_before(self._predictions, [events[place] for place in places], decider)
            for place, one in zip(places, stored, strict=True):
                if one is not None and AGE not in events[place].fields:
                    (publication,) = publish_all([events[place].record], [one.outcome], now_ms, self._pipeline.limits)
                    found[place] = _marked(_aged(answer_of(publication, line=place + 1, row=place), one.decided_at))
        return found

    def _by_decider(self, events: Mapping[int, ContentEvent]) -> Iterable[tuple[Decider, list[int]]]:
        """Return each decider with the places of its events. There is one decider, or two if a rollout has a second model."""
        parts: dict[int, tuple[Decider, list[int]]] = {}
        for place, event in events.items():
            decider = self._pipeline.decider_of(event)
            parts.setdefault(id(decider), (decider, []))[1].append(place)
        return parts.values()


def _aged(answer: bytes, decided_at: int) -> bytes:
    """
    Return the answer with the time of its decision, as a person's decision has it. `tagged_at` is the time of the answer.

    >>> _aged(b'{"destination":"tagged"}', 1_700_000_000_123)
    b'{"destination":"tagged","decided_at":"2023-11-14T22:13:20.123Z"}'
    """
    return answer[:-1] + b',"%b":"%b"}' % (AGE.encode(), timestamp(decided_at).encode())


def _marked(answer: bytes) -> bytes:
    """
    Return the answer with the mark that it comes from the table.

    >>> _marked(b'{"destination":"tagged"}')
    b'{"destination":"tagged","cached":true}'
    """
    return answer[:-1] + b',"%b":true}' % MARK.encode()
