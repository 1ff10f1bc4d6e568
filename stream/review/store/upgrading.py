"""Takes a store of an older version on: topics may have forgotten what it knows, or will before a person has answered.

What changed much is told again, fact by fact; else tables get their new columns.
"""

from dataclasses import replace

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    TableClause,
    bindparam,
    column,
    delete,
    func,
    inspect,
    literal_column,
    select,
    table,
    text,
    update,
)

from tagstream.stream.contract.answers import read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.database.database import Database, insert_new
from tagstream.stream.logs import logger
from tagstream.stream.review.store.filling import ITEM, Filling
from tagstream.stream.review.store.queue import LEASE, item_of
from tagstream.stream.review.store.records import AskedDecision, Fact
from tagstream.stream.review.store.sampling import bundle_rows, deciding
from tagstream.stream.review.store.schema import answers, bundles, items, positions, prints, samples, terms, totals

# The version whose facts are told again, and that which knows neither epochs nor arms; one that is older yet is emptied.
OLDER, WITHOUT_ARMS = "2", "3"
_OLD_ITEMS = table("review_items_older", *(column(name) for name in (*ITEM, "version", *LEASE)))
_OLD_ANSWERS = table("review_answers_older", *(column(name) for name in ("answer_id", "key", "value")))
# What older totals lack: their decisions have a bundle's name alone.
_NEW_IN_TOTALS = {"bundle": "0", "epoch": "0", "arm": "''"}
_OLD_TOTALS = table("review_totals_older", *(column(one.name) for one in totals.columns if one.name not in _NEW_IN_TOTALS))
# Facts of one transaction.
AT_ONCE = 200
# Items that are looked at together.
LOOKED_AT = 5000

log = logger("tagstream.review")


def set_aside(connection: Connection) -> None:
    """
    Make room for today's tables: the rows that must be told again wait in tables of another name.

    Topics are read anew from their beginnings, since a fact that is told twice changes nothing.
    """
    for now, older in ((items, _OLD_ITEMS), (answers, _OLD_ANSWERS)):
        _rename(connection, now, older)
    for forgotten in (prints, terms):
        forgotten.drop(connection)
    connection.execute(delete(positions))
    _widen_totals(connection)


def name_arms(connection: Connection) -> None:
    """Give a store of the version `WITHOUT_ARMS` the epoch, the arm and the bundle's digest of each decision that it still has."""
    for name, kind in (("epoch", "BIGINT NOT NULL DEFAULT 0"), ("arm", "VARCHAR NOT NULL DEFAULT ''")):
        connection.execute(text(f'ALTER TABLE "{samples.name}" ADD COLUMN {name} {kind}'))
    bundles.create(connection)
    _widen_totals(connection)
    naming = update(samples).where(samples.c.event_id == bindparam("of"))
    seen = select(items.c.event_id, items.c.before).where(items.c.seen).order_by(items.c.event_id).limit(LOOKED_AT)
    last = ""
    while rows := connection.execute(seen.where(items.c.event_id > last)).all():
        models = {row.event_id: msgspec.json.decode(row.before, type=_Kept).model for row in rows}
        insert_new(connection, bundles, bundle_rows(models.values()))
        changed = [{"of": event_id, **deciding(model)} for event_id, model in models.items() if model.epoch_number]
        if changed:
            connection.execute(naming, changed)
        last = rows[-1].event_id


class _Kept(msgspec.Struct):
    """Of the `before` of an item."""

    model: ModelRef


def _rename(connection: Connection, now: Table, older: TableClause) -> None:
    looking = inspect(connection)
    for index in looking.get_indexes(now.name):
        connection.execute(text(f'DROP INDEX "{index["name"]}"'))
    key = looking.get_pk_constraint(now.name)["name"]
    connection.execute(text(f'ALTER TABLE "{now.name}" RENAME TO "{older.name}"'))
    if key:
        connection.execute(text(f'ALTER TABLE "{older.name}" RENAME CONSTRAINT "{key}" TO "{older.name}_key"'))


def _widen_totals(connection: Connection) -> None:
    _rename(connection, totals, _OLD_TOTALS)
    totals.create(connection)
    kept = [one.name for one in _OLD_TOTALS.c]
    new: list[ColumnElement[object]] = [literal_column(value) for value in _NEW_IN_TOTALS.values()]
    connection.execute(totals.insert().from_select([*kept, *_NEW_IN_TOTALS], select(*_OLD_TOTALS.c, *new)))
    connection.execute(text(f'DROP TABLE "{_OLD_TOTALS.name}"'))


def tell_again(database: Database, filling: Filling) -> None:
    """
    Fill the store with what was set aside, some rows in each transaction, so that a start that was cut off goes on.

    Answers come first, so that no event is shown as open that has one.

    Args:
        database: Of the store.
        filling: Of this database.

    Raises:
        DatabaseUnavailableError: The database does not answer.
    """
    with database.reading() as connection:
        if not inspect(connection).has_table(_OLD_ITEMS.name):
            return
        counts = {
            t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in (_OLD_ANSWERS, _OLD_ITEMS)
        }
    log.info("store_is_upgraded", answers=counts[_OLD_ANSWERS.name], items=counts[_OLD_ITEMS.name])
    left = True
    while left:
        with database.alone() as connection:
            # Another console may have ended it.
            if not inspect(connection).has_table(_OLD_ITEMS.name):
                return
            left = _answers(connection, filling) or _items(connection, filling)
            if not left:
                for name in (_OLD_ITEMS.name, _OLD_ANSWERS.name):
                    connection.execute(text(f'DROP TABLE "{name}"'))
    log.info("store_upgraded", answers=counts[_OLD_ANSWERS.name], items=counts[_OLD_ITEMS.name])


def _answers(connection: Connection, filling: Filling) -> bool:
    """Tell some answers; False if none is left."""
    rows = connection.execute(select(_OLD_ANSWERS).order_by(_OLD_ANSWERS.c.answer_id).limit(AT_ONCE)).all()
    facts: list[Fact] = []
    for row in rows:
        found = read_answer(Record(key=row.key, value=row.value))
        if isinstance(found, Refusal):
            log.warning("record_left_out", answer=row.answer_id, why=found.message)
        else:
            facts.append(found)
    filling.add(connection, facts)
    connection.execute(delete(_OLD_ANSWERS).where(_OLD_ANSWERS.c.answer_id.in_([row.answer_id for row in rows])))
    return bool(rows)


def _items(connection: Connection, filling: Filling) -> bool:
    """Tell some decisions, and who holds their items; False if none is left."""
    rows = connection.execute(select(_OLD_ITEMS).order_by(_OLD_ITEMS.c.event_id).limit(AT_ONCE)).all()
    ids = [row.event_id for row in rows]
    known = set(
        connection.execute(select(answers.c.event_id, answers.c.prediction_id).where(answers.c.event_id.in_(ids))).tuples()
    )
    facts: list[Fact] = []
    for row in rows:
        # Only an answer may have told of such a decision, and anyone may write one; where a topic has it, it is read again.
        if (row.event_id, row.prediction_id) in known:
            continue
        item = item_of(row)
        facts.append(AskedDecision(item=item))
        if row.in_review and row.in_audit:
            facts.append(AskedDecision(item=replace(item, door="audit")))
    filling.add(connection, facts)
    for row in rows:
        if row.holder is not None:
            lease = {name: getattr(row, name) for name in LEASE}
            connection.execute(update(items).where(items.c.event_id == row.event_id).values(lease))
    connection.execute(delete(_OLD_ITEMS).where(_OLD_ITEMS.c.event_id.in_(ids)))
    return bool(rows)
