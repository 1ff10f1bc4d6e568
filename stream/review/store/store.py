"""The queue of the review console: items, leases, answers and reports. It can be deleted at any time, since the topics fill it again."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, select, text

from stream.database.database import Database
from stream.review.store import allowing, figures, leasing, reading, sampling
from stream.review.store.changes import Answered, Change
from stream.review.store.counting import forget_place, unmatched
from stream.review.store.database.database import open_store_database
from stream.review.store.database.tables import positions
from stream.review.store.facts import Claim, Complaint, Given, Item, Lapsed, Neighbour, Pace, Queue, TooMany, Twin
from stream.review.store.figures import Total
from stream.review.store.filling import fill
from stream.review.store.likeness import digest
from stream.review.store.pruning import prune
from stream.review.store.sampling import Drawn

SECOND_OPINION_RATE = 0.05
# Figures of the queue that took longer than this are used again, so many times as long.
LONG_SECONDS, REST = 0.1, 20


def unix_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Store:
    """
    Everything that the console asks of the queue. All methods may be called from several threads and several processes.

    Times come from the store's clock. Every method raises `DatabaseUnavailableError` when the database does not answer within its bound.
    """

    def __init__(self, database: Database, clock: Callable[[], int], second_opinion_rate: float) -> None:
        """Use a database; see `open_store`."""
        self._database = database
        self._clock = clock
        self._second_opinion_rate = second_opinion_rate
        self._counting = threading.Lock()
        self._queue: Queue | None = None
        self._queue_until = 0.0

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self._database.name

    # The queue.

    def claim(self, reviewer: str) -> Claim | None:
        """
        The item that this reviewer holds already, else the first of the queue that nobody holds and that the reviewer did not skip.

        None when there is nothing to do.
        """
        with self._database.writing() as connection:
            self._one_at_a_time(connection, reviewer)
            return leasing.claim(connection, reviewer, self._clock())

    def renew(self, event_id: str, token: str) -> Claim | Lapsed:
        """The claim of this token with a new `until_ms`. A lapsed one is renewed too, as long as nobody has taken the item."""
        with self._database.writing() as connection:
            return leasing.renew(connection, event_id, token, self._clock())

    def skip(self, event_id: str, token: str) -> None:
        """Give the item back; this reviewer is not given it again for an hour. A token that lapsed changes nothing."""
        with self._database.writing() as connection:
            leasing.give_back(connection, event_id, token, self._clock(), skipped=True)

    def release(self, event_id: str, token: str) -> None:
        """Give the item back to the queue. A token that lapsed changes nothing."""
        with self._database.writing() as connection:
            leasing.give_back(connection, event_id, token, self._clock(), skipped=False)

    def reopen(self, event_id: str, reviewer: str) -> Claim | Lapsed:
        """Hold an item for a correction: "undo, then answer anew". The answer that stands is valid until the new one is saved."""
        with self._database.writing() as connection:
            return leasing.reopen(connection, event_id, reviewer, self._clock())

    # What is known.

    def item(self, event_id: str) -> Item | None:
        """The item of an event, held or not."""
        with self._database.reading() as connection:
            return reading.item(connection, event_id)

    def own(self, reviewer: str, limit: int = 20) -> Sequence[Given]:
        """The newest answers of a reviewer that stand, the newest first: what can be undone."""
        with self._database.reading() as connection:
            return reading.own_answers(connection, reviewer, limit)

    def answers(self, event_id: str) -> Sequence[Given]:
        """All answers on an event, in their order; the last one stands."""
        with self._database.reading() as connection:
            return reading.answers_on(connection, event_id)

    def all_answers(self, since_ms: int = 0) -> Sequence[Given]:
        """Every answer that was decided at or after a moment, in the order of time: versions that were superseded too."""
        with self._database.reading() as connection:
            return reading.answers_since(connection, since_ms)

    def reports(self, event_id: str) -> Sequence[Complaint]:
        """The newest reports on an event, the newest first."""
        with self._database.reading() as connection:
            return reading.reports_on(connection, event_id)

    def neighbours(self, event_id: str, limit: int = 3) -> Sequence[Neighbour]:
        """Decided events whose text is like the item's, the most alike first."""
        with self._database.reading() as connection:
            return reading.neighbours(connection, event_id, limit)

    def duplicates(self, event_id: str) -> Sequence[Twin]:
        """Open items of the door `review` with nearly the same text that nobody holds: one answer can settle them too."""
        with self._database.reading() as connection:
            return reading.duplicates(connection, event_id, leasing.free(self._clock()))

    def queue(self) -> Queue:
        """Figures of the whole queue. Those of a large store, which take long to count, are used again for a few seconds."""
        with self._counting:
            began = time.monotonic()
            if self._queue is not None and began < self._queue_until:
                return self._queue
            with self._database.reading() as connection:
                self._queue = figures.queue(connection, self._clock())
            took = time.monotonic() - began
            self._queue_until = time.monotonic() + took * REST if took > LONG_SECONDS else 0.0
            return self._queue

    def pace(self, reviewer: str) -> Pace:
        """Figures of one reviewer."""
        with self._database.reading() as connection:
            return figures.pace(connection, reviewer, self._clock())

    def drawn(self, since_ms: int, until_ms: int) -> Drawn:
        """What people were to be asked about in a span, answered or not; decisions that are alike are one row."""
        with self._database.reading() as connection:
            return sampling.drawn(connection, since_ms, until_ms)

    def totals(self, since_ms: int, until_ms: int) -> Iterator[Total]:
        """The published decisions by hour and slice, of the hours that begin in a span; they are taken one after another."""
        with self._database.reading() as connection:
            yield from figures.totals_between(connection, since_ms, until_ms)

    # Saving.

    def admit_report(self, caller: str, event_id: str) -> TooMany | None:
        """Count a report of this caller (an address or a name) on this event; a refusal if there were too many within the hour."""
        with self._database.alone() as connection:
            return allowing.admit_report(connection, caller, event_id, self._clock())

    def hold_for_saving(self, event_id: str, token: str) -> Claim | Lapsed:
        """Keep the item from everybody while its answer is under way, a minute at most. `mark`, `not_saved` or that minute ends it."""
        with self._database.writing() as connection:
            return leasing.hold_for_saving(connection, event_id, token, self._clock())

    def take_for_saving(self, event_id: str, reviewer: str) -> Claim | None:
        """Likewise for a near-duplicate that nobody holds; None if it was taken or answered meanwhile."""
        with self._database.writing() as connection:
            return leasing.take_for_saving(connection, event_id, reviewer, self._clock())

    def not_saved(self, claim: Claim, *, release: bool = False) -> None:
        """The answer was not written: its holder may answer again, or the item goes back to the queue."""
        with self._database.writing() as connection:
            if release:
                leasing.give_back(connection, claim.item.event_id, claim.token, self._clock(), skipped=False)
            else:
                leasing.not_saved(connection, claim.item.event_id, claim.token)

    def mark(self, answered: Sequence[Answered]) -> None:
        """All replicas have these answers: their items are no longer open."""
        self.fill(answered, {})

    # Filling.

    def fill(self, changes: Sequence[Change], reached: Mapping[tuple[str, int], int]) -> None:
        """
        Add what was read from topics, and where they are read on, in one transaction.

        Args:
            changes: In any order; one that is known already changes nothing.
            reached: The next offset by topic and partition.
        """
        with self._database.alone() as connection:
            fill(connection, changes, reached, self._second_opinion_rate)

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset by topic and partition; a partition that was never read has none."""
        with self._database.reading() as connection:
            rows = connection.execute(select(positions.c.topic, positions.c.partition, positions.c.next_offset)).tuples()
            return {(topic, partition): offset for topic, partition, offset in rows}

    def unmatched(self, limit: int = 100) -> list[tuple[str, int, int]]:
        """Events that were reported, have no item, and lie on the topic `tagged`: id, partition and offset of the decision."""
        with self._database.reading() as connection:
            return unmatched(connection, limit)

    def forget_place(self, event_id: str) -> None:
        """The decision that `unmatched` told of is not there any more."""
        with self._database.alone() as connection:
            forget_place(connection, event_id)

    def prune(self, keep_ms: int) -> int:
        """Forget decisions that are older; answers and reports stay. How many items went."""
        with self._database.alone() as connection:
            return prune(connection, keep_ms, self._clock())

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _one_at_a_time(self, connection: Connection, reviewer: str) -> None:
        """Two windows of one reviewer must not be given two items; SQLite has one writer at a time anyway."""
        if self._database.is_postgres:
            connection.execute(text("SELECT pg_advisory_xact_lock(:whose)"), {"whose": digest(reviewer)})


def open_store(url: str, *, clock: Callable[[], int] = unix_ms, second_opinion_rate: float = SECOND_OPINION_RATE) -> Store:
    """
    The store at this URL; it is made if it is not there, and made anew if another version of tagstream made it.

    Args:
        url: `sqlite:///FILE` or a path for one console, `postgresql://USER:PASSWORD@HOST/NAME` for several.
        clock: Unix milliseconds.
        second_opinion_rate: The part of the answers on which a second person is asked, 0 to 1.

    Raises:
        DatabaseUrlError: The URL is of another kind.
        DatabaseUnavailableError: The database cannot be had.
    """
    return Store(open_store_database(url), clock, second_opinion_rate)
