"""
`--table URL`: answers from a table of predictions first, and from the model where the table has none.

A person's decision on an event holds before all else, as long as its text is the same. A model's decision is taken by the text,
whichever event had it, if it is of the bundle and thresholds of today; else it is made anew. The table is read, never written.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from tagstream.stream.contract.event import ContentEvent, Record, decode
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.decide.answer import answer_of
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.logs import logger
from tagstream.stream.serve.row_answers import FoundAnswers, nothing
from tagstream.stream.tables.predictions import Predictions
from tagstream.stream.tables.row import hash_of_text
from tagstream.stream.tables.stored_decisions import decided_before

# A table that did not answer is not asked again for so long, or each request would wait for it.
PAUSE_SECONDS = 10.0
MARK = "cached"
log = logger("tagstream.serve")


class TableAnswers:
    """Asks a table. Blocks; call it in a thread."""

    def __init__(self, predictions: Predictions, pipeline: Pipeline, *, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Ask nothing yet.

        Args:
            predictions: The table.
            pipeline: Decides where the table has no decision of its decider.
            clock: Monotonic seconds.
        """
        self._predictions = predictions
        self._pipeline = pipeline
        self._clock = clock
        self._again_at = -PAUSE_SECONDS

    def look(self, records: Sequence[Record]) -> FoundAnswers:
        """The table's answers. A table that does not answer is logged, and costs a decision by the model alone."""
        if self.is_paused:
            return nothing(records)
        try:
            return FoundAnswers(answers=self._answers(records))
        except DatabaseUnavailableError as error:
            self.pause(str(error))
            return nothing(records)

    @property
    def is_paused(self) -> bool:
        """Is the table left alone for now?"""
        return self._clock() < self._again_at

    def pause(self, error: str) -> None:
        """Leave the table alone for a while, because of this."""
        self._again_at = self._clock() + PAUSE_SECONDS
        log.warning("table_does_not_answer", error=error, asked_again_in_seconds=PAUSE_SECONDS)

    def _answers(self, records: Sequence[Record]) -> list[bytes | None]:
        found: list[bytes | None] = [None] * len(records)
        decoded = [decode(record, self._pipeline.limits) for record in records]
        # An object must not name a key twice, so an event with a field of the mark's name is decided.
        events = {
            place: event for place, event in enumerate(decoded) if isinstance(event, ContentEvent) and MARK not in event.fields
        }
        if not events:
            return found
        by_people = self._predictions.by_persons([event.id for event in events.values()])
        # One object for an event, however often a request names it.
        marked = {event_id: _marked(row.line) for event_id, row in by_people.items()}
        for place, event in list(events.items()):
            row = by_people.get(event.id)
            if row is not None and row.text_hash == hash_of_text(event.title, event.description):
                found[place] = marked[event.id]
                del events[place]
        now_ms = int(time.time() * 1000)
        for decider, places in self._by_decider(events):
            outcomes = decided_before(self._predictions, [events[place] for place in places], decider)
            for place, outcome in zip(places, outcomes, strict=True):
                if outcome is not None:
                    (publication,) = publish_all([events[place].record], [outcome], now_ms, self._pipeline.limits)
                    found[place] = _marked(answer_of(publication, line=place + 1, row=place))
        return found

    def _by_decider(self, events: Mapping[int, ContentEvent]) -> Iterable[tuple[Decider, list[int]]]:
        """Each decider with the places of its events; one, unless a rollout has a second model."""
        parts: dict[int, tuple[Decider, list[int]]] = {}
        for place, event in events.items():
            decider = self._pipeline.decider_of(event)
            parts.setdefault(id(decider), (decider, []))[1].append(place)
        return parts.values()


def _marked(answer: bytes) -> bytes:
    """
    The answer, with word that it is from the table.

    >>> _marked(b'{"destination":"tagged"}')
    b'{"destination":"tagged","cached":true}'
    """
    return answer[:-1] + b',"%b":true}' % MARK.encode()
