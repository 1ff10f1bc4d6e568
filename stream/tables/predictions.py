"""A table of predictions in SQLite or PostgreSQL. `batch` and `tags` write it by one upsert; `serve` and `lookup` read it.

The table tells which decision of an event holds. Rows may come in any order and any number of times: the table becomes the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Select, and_, inspect, or_, select

from tagstream.stream.database.database import Columns, Database, Purpose, open_database, upsert
from tagstream.stream.tables.row import BY_PERSON, PredictionRow
from tagstream.stream.tables.schema import Tables, check, prepare, standing, tables

PREDICTIONS = "predictions"
TABLE = Purpose(
    noun="table",
    option="--table",
    loss="what was not written is written by the next run",
    # The lock lets one program at a time make the tables.
    lock=7_260_412,
)
# The most names in one query. A statement of SQLite takes 32,766 values.
MOST_NAMED = 10_000


class Predictions:
    """
    A table of predictions. Safe for threads and for several processes.

    Every method raises `DatabaseUnavailableError` when the database does not answer within its bound.
    """

    def __init__(self, database: Database, made: Tables) -> None:
        """Use existing tables; see `open_predictions`."""
        self._database = database
        self._tables = made

    @property
    def name(self) -> str:
        """The URL without its password, `#`, and the table's name."""
        return f"{self._database.name}#{self._tables.predictions.name}"

    def upsert(self, rows: Iterable[PredictionRow], reached: Mapping[tuple[str, int], int] | None = None) -> int:
        """
        Add decisions in one transaction. Of several decisions with one `prediction_id`, the one that was published last stays.

        Args:
            rows: The decisions, in any order. A row that the table already has changes nothing.
            reached: The next offset to read, by topic and partition; only if the table was opened as `followed`.

        Returns:
            The number of rows that are new or were replaced.
        """
        table, rows = self._tables.predictions, list(rows)
        # The rows are sorted: two writers that lock rows in different orders would deadlock.
        found = [asdict(row) for row in sorted(rows, key=lambda row: row.prediction_id)]
        at = [{"topic": topic, "partition": part, "next_offset": offset} for (topic, part), offset in (reached or {}).items()]
        epochs = {row.bundle: row.epoch for row in sorted(rows, key=lambda row: row.epoch) if row.epoch}
        decided = [{"digest": digest, "epoch": epoch} for digest, epoch in sorted(epochs.items())]
        with self._database.writing() as connection:
            changed = upsert(connection, table, found, only_if=_is_later)
            upsert(connection, self._tables.epochs, decided, only_if=lambda new, old: new.epoch > old.epoch)
            upsert(connection, self._tables.positions, sorted(at, key=lambda place: (place["topic"], place["partition"])))
        return changed

    def newest(self, event_id: str) -> PredictionRow | None:
        """Return the decision that holds for an event: a person's last decision, else a model's last decision."""
        table = self._tables.predictions
        order = [column.desc() for column in standing(table)]
        return self._first(select(table).where(table.c.event_id == event_id).order_by(*order).limit(1))

    def of_event(self, event_id: str) -> list[PredictionRow]:
        """Return all decisions on an event. The last one holds."""
        table = self._tables.predictions
        return self._all(select(table).where(table.c.event_id == event_id).order_by(*standing(table)))

    def by_text(self, text_hash: str, model_digest: str) -> PredictionRow | None:
        """Return this model's last decision on any event with this text; see `decided_again`."""
        return self.by_texts([text_hash], model_digest).get(text_hash)

    def by_texts(self, text_hashes: Iterable[str], model_digest: str) -> dict[str, PredictionRow]:
        """Return the rows of `by_text` for several texts. A text without a decision is absent."""
        table = self._tables.predictions
        found: dict[str, PredictionRow] = {}
        with self._database.reading() as connection:
            # One query per text: a text may have been decided a million times, and the index leads to the last decision.
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
        """Return the last decision of a person on each of these events. An event without a person's decision is absent."""
        table = self._tables.predictions
        found: dict[str, PredictionRow] = {}
        for part in _parts(event_ids):
            query = select(table).where(table.c.event_id.in_(part), table.c.decider == BY_PERSON).order_by(*standing(table))
            found |= {row.event_id: row for row in self._all(query)}
        return found

    def known(self, prediction_ids: Iterable[str]) -> set[str]:
        """Return those of the given prediction ids that the table has."""
        return set(self.known_texts(prediction_ids))

    def known_texts(self, prediction_ids: Iterable[str]) -> dict[str, str]:
        """Return the `text_hash` of each given prediction that the table has: an event may keep its id and change its text."""
        table = self._tables.predictions
        found: dict[str, str] = {}
        with self._database.reading() as connection:
            for part in _parts(prediction_ids):
                query = select(table.c.prediction_id, table.c.text_hash).where(table.c.prediction_id.in_(part))
                found |= {row.prediction_id: row.text_hash for row in connection.execute(query)}
        return found

    def epochs(self) -> dict[str, int] | None:
        """
        Return the newest epoch of a decision of each bundle, by the bundle's digest. It is empty before the first change of the model.

        None if an earlier version of tagstream made the table, and no later version has written to it.
        """
        table = self._tables.epochs
        with self._database.reading() as connection:
            if not inspect(connection).has_table(table.name):
                return None
            return dict(connection.execute(select(table.c.digest, table.c.epoch)).tuples().all())

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next offset by topic and partition. A partition that was never read is absent. Only if opened as `followed`."""
        at = self._tables.positions
        with self._database.reading() as connection:
            rows = connection.execute(select(at.c.topic, at.c.partition, at.c.next_offset))
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
    Open the table of predictions at this URL. The table is made if it does not exist.

    Args:
        url: `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST/NAME` or a path, each optionally followed by `#NAME` of the table.
        table: The table's name; None: the name in the URL, or else `predictions`.
        followed: Also keep the next offsets of topics.
        read_only: Make and write nothing; the table must exist.

    Raises:
        DatabaseUrlError: The URL does not have one of these forms.
        DatabaseUnavailableError: The database cannot be reached or opened.
        TableError: A table of this name belongs to another program, or a table to read does not exist.
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
    Split a URL into the database's URL and the table's name. The name is None if the URL has none; it is not checked.

    >>> split("sqlite:///tags.db#mine"), split("postgresql://u@h/d"), split("a#b/c.db")
    (('sqlite:///tags.db', 'mine'), ('postgresql://u@h/d', None), ('a#b/c.db', None))
    """
    address, _, name = url.rpartition("#")
    # A # before one of these characters is part of a path or of a password.
    return (address, name) if address and not {"/", "@"} & set(name) else (url, None)


def _parts(names: Iterable[str]) -> Iterator[list[str]]:
    """Yield each name once, in lists that fit into a statement."""
    found = list(dict.fromkeys(names))
    for at in range(0, len(found), MOST_NAMED):
        yield found[at : at + MOST_NAMED]


def _is_later(new: Columns, old: Columns) -> ColumnElement[bool]:
    """Return the condition that the new row replaces the old row: it was published later (redelivered, or under another threshold)."""
    return or_(new.tagged_at > old.tagged_at, and_(new.tagged_at == old.tagged_at, new.answer > old.answer))
