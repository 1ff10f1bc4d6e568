"""The table of predictions, its view of the decisions that hold, and its table of next offsets, all named after the user's table name."""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Select,
    Table,
    and_,
    func,
    inspect,
    select,
)

from tagstream.stream.database.database import bytewise, replace_view
from tagstream.stream.tables.row import BY_PERSON, DIGEST_CHARACTERS

NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,49}$")
WORD = bytewise()
STALE = "stale"


class TableError(ValueError):
    """The table cannot be used: the message names the table, the reason and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """
    The tables and the view of one name.

    Attributes:
        predictions: The table with a row for each decision.
        newest: The name of the view with the decision that holds for each event.
        epochs: The table with the newest epoch of a decision of each bundle, by the bundle's digest. It is empty before the first change of the
            model.
        positions: The table with the next offset of each partition; made only if a program follows topics.
    """

    predictions: Table
    newest: str
    epochs: Table
    positions: Table


def tables(name: str) -> Tables:
    """
    Return the tables with this name.

    Raises:
        TableError: The name cannot be the name of a table.
    """
    if not NAME.match(name):
        msg = f"{name!r} cannot be the name of a table. Next: take letters, digits and _, at most 50, and no digit first."
        raise TableError(msg)
    metadata = MetaData()
    predictions = Table(
        name,
        metadata,
        Column("prediction_id", WORD, primary_key=True),
        Column("event_id", WORD, nullable=False),
        Column("text_hash", WORD, nullable=False),
        Column("model_digest", WORD, nullable=False),
        Column("destination", WORD, nullable=False),
        Column("tag", WORD, nullable=False),
        Column("confidence", Float(53), nullable=False),
        Column("decider", WORD, nullable=False),
        Column("version", Integer, nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("decided_at", BigInteger, nullable=False),
        Column("tagged_at", BigInteger, nullable=False),
        Column("answer", WORD, nullable=False),
        Index(f"{name}_event", "event_id"),
        Index(f"{name}_text", "text_hash", "model_digest", "tagged_at"),
    )
    epochs = Table(
        f"{name}_epochs",
        metadata,
        Column("digest", WORD, primary_key=True),
        Column("epoch", BigInteger, nullable=False),
    )
    positions = Table(
        f"{name}_positions",
        metadata,
        Column("topic", WORD, primary_key=True),
        Column("partition", Integer, primary_key=True),
        Column("next_offset", BigInteger, nullable=False),
    )
    return Tables(predictions=predictions, newest=f"{name}_newest", epochs=epochs, positions=positions)


def prepare(connection: Connection, made: Tables, *, followed: bool) -> None:
    """
    Make the tables and the view that do not exist.

    Args:
        connection: A connection in a transaction that holds the lock for making tables.
        made: The tables.
        followed: Also make `positions`.

    Raises:
        TableError: Another table has one of the names.
    """
    needed = [made.predictions, made.epochs, *([made.positions] if followed else [])]
    made.predictions.metadata.create_all(connection, tables=needed)
    for table in needed:
        check(connection, table)
    found = inspect(connection)
    if found.has_table(made.newest) and made.newest not in found.get_view_names():
        msg = f"{made.newest} is a table here, and the view of the newest decisions needs that name. Next: give another name."
        raise TableError(msg)
    is_new = made.newest not in found.get_view_names()
    # An earlier version made the view without this column.
    if is_new or STALE not in {column["name"] for column in found.get_columns(made.newest)}:
        query = _newest(made).compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        replace_view(connection, made.newest, str(query))


def check(connection: Connection, table: Table) -> None:
    """
    Require that the table of this name has the columns and the key of tagstream's table.

    Raises:
        TableError: There is no such table, or it has other columns or another key.
    """
    found = inspect(connection)
    if not found.has_table(table.name):
        msg = f"there is no table {table.name}. Next: fill it, by `tagstream tags` or `tagstream batch`, or give another name."
        raise TableError(msg)
    columns = {str(column["name"]) for column in found.get_columns(table.name)}
    ours = {column.name for column in table.columns}
    key = found.get_pk_constraint(table.name)["constrained_columns"]
    if columns == ours and set(key) == {column.name for column in table.primary_key}:
        return
    differ = "; ".join(
        [
            *([f"it lacks {', '.join(sorted(ours - columns))}"] if ours - columns else []),
            *([f"it has {', '.join(sorted(columns - ours))} beside them"] if columns - ours else []),
            *([f"its key is {', '.join(key) or 'none'}"] if columns == ours else []),
        ]
    )
    msg = f"the table {table.name} does not have the columns that tagstream writes ({differ}). Next: give another name behind the URL: URL#NAME."
    raise TableError(msg)


def standing(table: Table) -> tuple[Column[int], Column[int], Column[int], Column[str]]:
    """Return the columns of `PredictionRow.standing`."""
    return table.c.version, table.c.epoch, table.c.decided_at, table.c.prediction_id


def _newest(made: Tables) -> Select[Any]:
    table, epochs = made.predictions, made.epochs
    order = [column.desc() for column in standing(table)]
    place = func.row_number().over(partition_by=table.c.event_id, order_by=order).label("place")
    ranked = select(*table.c, place).subquery("ranked")
    columns = [ranked.c[column.name] for column in table.columns]
    # As `PredictionRow.is_stale`. A bundle that is not in the table has decided in no epoch.
    its = select(epochs.c.epoch).where(epochs.c.digest == func.substr(ranked.c.model_digest, 1, DIGEST_CHARACTERS))
    newest = select(func.max(epochs.c.epoch))
    its_epoch, newest_epoch = (func.coalesce(one.scalar_subquery(), 0) for one in (its, newest))
    stale = and_(ranked.c.decider != BY_PERSON, its_epoch < newest_epoch).label(STALE)
    return select(*columns, stale).where(ranked.c.place == 1)
