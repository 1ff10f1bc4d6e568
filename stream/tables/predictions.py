"""A table of predictions in SQLite or PostgreSQL: `batch`, `serve` and `tags` write it by one upsert, and it says which decision of an event holds.

Rows may come in any order and any number of times: the table is the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Select, and_, or_, select

from tagstream.stream.database.database import Columns, Database, Purpose, open_database, upsert
from tagstream.stream.tables.row import BY_PERSON, PredictionRow
from tagstream.stream.tables.schema import Tables, check, prepare, standing, tables

PREDICTIONS = "predictions"
TABLE = Purpose(
    noun="table",
    option="--table",
    loss="what was not written is written by the next run",
    # One program at a time makes the tables.
    lock=7_260_412,
)
# A statement of SQLite takes 32,766 values.
MOST_NAMED = 10_000


class Predictions:
    """
    A table of predictions. Safe for threads and for several processes.

    Every method raises `DatabaseUnavailableError` when the database does not answer within its bound.
    """

    def __init__(self, database: Database, made: Tables) -> None:
        """Use tables that are there; see `open_predictions`."""
        self._database = database
        self._tables = made

    @property
    def name(self) -> str:
        """The URL without its password, and the table's name."""
        return f"{self._database.name}#{self._tables.predictions.name}"

    def upsert(self, rows: Iterable[PredictionRow], reached: Mapping[tuple[str, int], int] | None = None) -> int:
        """
        Add decisions in one transaction. Of several with one `prediction_id` the one that was published last stays.

        Args:
            rows: In any order; one that is there already changes nothing.
            reached: Where topics are read on, the next offset by topic and partition; only if the table was opened as `followed`.

        Returns:
            How many rows are new or were replaced.
        """
        table = self._tables.predictions
        # Two writers that lock rows in different orders would wait for each other.
        found = [asdict(row) for row in sorted(rows, key=lambda row: row.prediction_id)]
        at = [{"topic": topic, "partition": part, "next_offset": offset} for (topic, part), offset in (reached or {}).items()]
        with self._database.writing() as connection:
            changed = upsert(connection, table, found, only_if=_is_later)
            upsert(connection, self._tables.positions, sorted(at, key=lambda place: (place["topic"], place["partition"])))
        return changed

    def newest(self, event_id: str) -> PredictionRow | None:
        """The decision on an event that holds: the last of a person, else the last of a model."""
        table = self._tables.predictions
        order = [column.desc() for column in standing(table)]
        return self._first(select(table).where(table.c.event_id == event_id).order_by(*order).limit(1))

    def of_event(self, event_id: str) -> list[PredictionRow]:
        """All decisions on an event; the last one holds."""
        table = self._tables.predictions
        return self._all(select(table).where(table.c.event_id == event_id).order_by(*standing(table)))

    def by_text(self, text_hash: str, model_digest: str) -> PredictionRow | None:
        """The last decision of this model on an event with this text, whichever the event; see `decided_again`."""
        return self.by_texts([text_hash], model_digest).get(text_hash)

    def by_texts(self, text_hashes: Iterable[str], model_digest: str) -> dict[str, PredictionRow]:
        """As `by_text`, for several; a text without a decision is absent."""
        table = self._tables.predictions
        found: dict[str, PredictionRow] = {}
        with self._database.reading() as connection:
            # One by one: a text may have been decided a million times, and the index leads to the last of them.
            for text_hash in dict.fromkeys(text_hashes):
                query = (
                    select(table)
                    .where(table.c.text_hash == text_hash, table.c.model_digest == model_digest, table.c.decider != BY_PERSON)
                    .order_by(table.c.tagged_at.desc(), table.c.prediction_id.desc())
                    .limit(1)
                )
                if (row := connection.execute(query).mappings().first()) is not None:
                    found[text_hash] = PredictionRow(**row)
        return found

    def by_persons(self, event_ids: Iterable[str]) -> dict[str, PredictionRow]:
        """The last decision of a person on each of these events; an event on which no person decided is absent."""
        table = self._tables.predictions
        found: dict[str, PredictionRow] = {}
        for part in _parts(event_ids):
            query = select(table).where(table.c.event_id.in_(part), table.c.decider == BY_PERSON).order_by(*standing(table))
            found |= {row.event_id: row for row in self._all(query)}
        return found

    def known(self, prediction_ids: Iterable[str]) -> set[str]:
        """Those of these decisions that are in the table."""
        return set(self.known_texts(prediction_ids))

    def known_texts(self, prediction_ids: Iterable[str]) -> dict[str, str]:
        """The `text_hash` of those of these decisions that are in the table: an event may keep its id and change its text."""
        table = self._tables.predictions
        found: dict[str, str] = {}
        with self._database.reading() as connection:
            for part in _parts(prediction_ids):
                query = select(table.c.prediction_id, table.c.text_hash).where(table.c.prediction_id.in_(part))
                found |= dict(connection.execute(query).tuples().all())
        return found

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset by topic and partition; a partition that was never read has none. Only if opened as `followed`."""
        at = self._tables.positions
        with self._database.reading() as connection:
            rows = connection.execute(select(at.c.topic, at.c.partition, at.c.next_offset)).tuples()
            return {(topic, partition): offset for topic, partition, offset in rows}

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _first(self, query: Select[Any]) -> PredictionRow | None:
        return next(iter(self._all(query)), None)

    def _all(self, query: Select[Any]) -> list[PredictionRow]:
        with self._database.reading() as connection:
            return [PredictionRow(**row) for row in connection.execute(query).mappings()]


def open_predictions(url: str, *, table: str | None = None, followed: bool = False, read_only: bool = False) -> Predictions:
    """
    The table of predictions at this URL; it is made if it is not there.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST/NAME` or a path, and perhaps `#NAME` of the table behind it.
        table: Its name, `predictions` unless this or the URL says another one.
        followed: Also keep where topics are read on.
        read_only: Make and write nothing; the table must be there.

    Raises:
        DatabaseUrlError: The URL is of another kind.
        DatabaseUnavailableError: The database cannot be had.
        TableError: A table of this name is another program's, or there is none to read.
    """
    address, named = split(url)
    made = tables(table or named or PREDICTIONS)
    database = open_database(address, TABLE, read_only=read_only)
    try:
        if read_only:
            with database.reading() as connection:
                check(connection, made.predictions)
        else:
            with database.alone() as connection:
                prepare(connection, made, followed=followed)
    except BaseException:
        database.close()
        raise
    return Predictions(database, made)


def split(url: str) -> tuple[str, str | None]:
    """
    The URL of the database, and the name of the table behind it, which need not be a good one.

    >>> split("sqlite:///tags.db#mine"), split("postgresql://u@h/d"), split("a#b/c.db")
    (('sqlite:///tags.db', 'mine'), ('postgresql://u@h/d', None), ('a#b/c.db', None))
    """
    address, _, name = url.rpartition("#")
    # Before one of these a # is a part of a path, or of a password.
    return (address, name) if address and not {"/", "@"} & set(name) else (url, None)


def _parts(names: Iterable[str]) -> Iterator[list[str]]:
    """Each name once, as many at a time as a statement takes."""
    found = list(dict.fromkeys(names))
    for at in range(0, len(found), MOST_NAMED):
        yield found[at : at + MOST_NAMED]


def _is_later(new: Columns, old: Columns) -> ColumnElement[bool]:
    """A redelivered event gets the same decision, published later, or anew under another threshold."""
    return or_(new.tagged_at > old.tagged_at, and_(new.tagged_at == old.tagged_at, new.answer > old.answer))
