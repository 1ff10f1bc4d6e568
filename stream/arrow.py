"""
Conversion of Arrow tables: rows to events, and decisions to columns. `Tagger.tag_table` and the Parquet files of `batch` share this module.

A row becomes an event: a JSON object whose fields are the table's columns, in their order. So a row and an event of the stream with the
same content get byte-identical decisions. A null becomes an absent field, because a table cannot distinguish null from absent.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from typing import Any, TypeVar, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import inspect

from tagstream.model_export.data.reader import AS_THEY_ARE, ROWS_AT_ONCE, Columns, RowsError
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Decision, ModelRef, Publication
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.answer import MODEL_PARTS, OVERRIDDEN, answer_of, error_of
from tagstream.stream.decide.pipeline import Pipeline

Table = TypeVar("Table", pa.Table, pa.RecordBatch)

# Encodes decimals in the same way as the rows of a database are encoded.
ENCODER = msgspec.json.Encoder(decimal_format="number")
# The fields that the event decoder reads as text.
TEXT_FIELDS = ("title", "description", "id")


_PLAIN: dict[type[inspect.Type], pa.DataType] = {
    inspect.StrType: pa.string(),
    inspect.LiteralType: pa.string(),
    inspect.FloatType: pa.float64(),
    inspect.BoolType: pa.bool_(),
}


def _type_of(kind: inspect.Type) -> pa.DataType:
    """Return the column type for the type of a decision's field."""
    match kind:
        case inspect.StrType() | inspect.LiteralType() | inspect.FloatType() | inspect.BoolType():
            return _PLAIN[type(kind)]
        case inspect.VarTupleType(item_type=item):
            return pa.list_(_type_of(item))
        case inspect.DictType(key_type=key, value_type=value):
            return pa.map_(_type_of(key), _type_of(value))
        case inspect.StructType(cls=cls, fields=fields) if cls is ModelRef:
            return pa.struct([pa.field(one.name, _type_of(one.type)) for one in fields if one.name in MODEL_PARTS])
        case inspect.UnionType(types=types):
            (one,) = (each for each in types if not isinstance(each, inspect.NoneType))
            return _type_of(one)
        case _:
            msg = f"a decision has a field of {kind}, for which there is no column"
            raise TypeError(msg)


def _cell_of(value: object) -> object:
    """Return the value of a decision's field in the form that Arrow accepts. An empty list becomes None."""
    match value:
        case ModelRef():
            return {name: getattr(value, name) for name in MODEL_PARTS}
        case dict():
            return list(value.items())
        case tuple():
            return list(value) or None
        case _:
            return value


# One row per answer. `answer` is the line of `classify --json`. A rejected row has `destination` dlq, `error` and `answer`; its other
# columns are null.
_DECISION = inspect.type_info(Decision)
ANSWER_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("destination", pa.string()),
        *(pa.field(one.name, _type_of(one.type)) for one in cast("inspect.StructType", _DECISION).fields),
        pa.field("tagged_at", pa.timestamp("us", tz="UTC")),
        pa.field("error", pa.struct([pa.field(name, pa.string()) for name in ("stage", "code", "message")])),
        pa.field("answer", pa.string()),
    ]
)


def tag_table(pipeline: Pipeline, table: Table, columns: Columns, *, clock: Callable[[], float]) -> Table:
    """
    Decide every row of a table or record batch.

    Args:
        pipeline: A pipeline from `pipeline_of`, for fields with the contract's names.
        table: Has the column title, and usually description and id. Other columns become further fields of the event.
        columns: The table's column names for the fields of an event.
        clock: Returns Unix seconds.

    Returns:
        The same rows in the same order: the columns of the table, then the columns of `ANSWER_SCHEMA`; see `output_schema`. The answer
        of a rejected row contains the row's number.

    Raises:
        TypeError: `table` is neither a table nor a record batch.
        RowsError: The columns cannot be read as events. No row is decided.
        Exception: The machine is broken; see `Pipeline.decide`.
    """
    if not isinstance(table, pa.Table | pa.RecordBatch):
        msg = f"tag_table takes a pyarrow Table or RecordBatch, and this is {type(table).__name__}"
        raise TypeError(msg)
    schema = output_schema(table.schema, columns)
    # All rows get the same time.
    now = clock()
    parts: list[pa.RecordBatch] = []
    # An empty table also has one part, which gives the columns.
    for start in range(0, max(1, table.num_rows), ROWS_AT_ONCE):
        events = [Record(key=None, value=value) for value in events_of(table.slice(start, ROWS_AT_ONCE), columns)]
        publications = enumerate(pipeline.publications(events, clock=lambda: now), start=start)
        parts.append(answers(answer_row(one, line=row + 1, row=row, at=now) for row, one in publications))
    # A table keeps the parts as chunks, because one array of text holds at most 2 GiB.
    ours: Any = pa.Table.from_batches(parts) if isinstance(table, pa.Table) else pa.concat_batches(parts)
    return type(table).from_arrays([*table.columns, *ours.columns], schema=schema)


def output_schema(schema: pa.Schema, columns: Columns = AS_THEY_ARE) -> pa.Schema:
    """
    Return the schema of `tag_table`'s result for a table of this schema.

    An input column that has the name of an answer column is kept under the prefix `overridden_`. Names are compared without case, as in
    SQL.

    Raises:
        RowsError: The columns cannot be read as events.

    >>> output_schema(pa.schema([("title", pa.string()), ("Tag", pa.string())])).names[:4]
    ['title', 'overridden_Tag', 'event_id', 'destination']
    """
    _names(schema, columns)
    kept = [field.with_name(kept_name(field.name)) for field in schema]
    names = [field.name.lower() for field in kept]
    for field in kept:
        if names.count(field.name.lower()) > 1:
            msg = f"the table would have two columns {field.name!r} in the output. Next: rename or drop one of them."
            raise RowsError(msg)
    # The metadata of the input schema is dropped: it refers to columns by their old names, for example pandas' index.
    return pa.schema([*kept, *ANSWER_SCHEMA])


def kept_name(name: str) -> str:
    """
    Return the output's name of an input column.

    >>> kept_name("year"), kept_name("tag")
    ('year', 'overridden_tag')
    """
    return f"{OVERRIDDEN}{name}" if name.lower() in ANSWER_SCHEMA.names else name


def events_of(batch: pa.Table | pa.RecordBatch, columns: Columns = AS_THEY_ARE) -> Iterator[bytes]:
    """
    Yield the rows of a table or record batch as event values, in order.

    Text, integers, booleans, lists, structs and maps become the same types of JSON. A float without a JSON form (NaN or an infinity)
    becomes null. Dates and times become text by RFC 3339, in UTC if they have a time zone. Decimals become numbers with all their digits,
    bytes become base64, and a duration becomes the integer that the column stores.

    Raises:
        RowsError: A column is missing, appears twice, or has a type without a JSON form.

    >>> list(events_of(pa.RecordBatch.from_pydict({"title": ["Hi", None], "id": [6, None], "n": [0.5, float("nan")]})))
    [b'{"title":"Hi","id":6,"n":0.5}', b'{"n":null}']
    """
    names = _names(batch.schema, columns)
    cells = [_cells(column, name) for column, name in zip(batch.columns, batch.schema.names, strict=True)]
    for row in range(batch.num_rows):
        yield msgspec.json.encode(
            {name: column[row] for name, column in zip(names, cells, strict=True) if column[row] is not None}
        )


def answers(rows: Iterable[dict[str, object]]) -> pa.RecordBatch:
    """Return rows of `answer_row` as a record batch of `ANSWER_SCHEMA`."""
    return pa.RecordBatch.from_pylist(list(rows), schema=ANSWER_SCHEMA)


def answer_row(publication: Publication, *, line: int, row: int, at: float) -> dict[str, object]:
    """
    Return the row of an outcome, by the column names of `ANSWER_SCHEMA`.

    Args:
        publication: The pipeline's result for the event.
        line: The line number; see `answer_of`.
        row: The row number; see `answer_of`.
        at: The time of the decision in Unix seconds, published as `tagged_at`.
    """
    outcome = publication.outcome
    shared: dict[str, object] = {
        "destination": publication.destination.value,
        "answer": answer_of(publication, line=line, row=row).decode(),
    }
    if isinstance(outcome, Refusal):
        return {**shared, "error": error_of(outcome)}
    return {
        **shared,
        "event_id": outcome.event.id,
        **{name: _cell_of(getattr(outcome.decision, name)) for name in Decision.__struct_fields__},
        # Microseconds, cut to the milliseconds that the topics have.
        "tagged_at": int(at * 1000) * 1000,
    }


def _cells(column: pa.Array, name: str) -> list[msgspec.Raw | None]:
    """Return the column's values as JSON. Arrow writes dates and times as text, because Python's types lack nanoseconds and far years."""
    try:
        if pa.types.is_duration(column.type):
            column = column.cast(pa.int64())
        elif pa.types.is_temporal(column.type):
            if getattr(column.type, "tz", None) is not None:
                # UTC is the same moment, and does not depend on the machine's time zone database.
                column = column.cast(pa.timestamp(column.type.unit, "UTC"))
            column = _rfc3339(column.cast(pa.string()))
        values = column.to_pylist(maps_as_pydicts="strict")
        return [None if value is None else msgspec.Raw(ENCODER.encode(value)) for value in values]
    except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError) as error:
        msg = f"column {name!r} ({column.type}) has no form in JSON: {error}. Next: drop it, or cast it to text."
        raise RowsError(msg) from error


def _rfc3339(times: pa.Array) -> pa.Array:
    """
    Return Arrow's text of times as RFC 3339, with microseconds or without a fraction.

    Engines and databases store the same time in different units. The text of the time must not depend on the unit.

    >>> _rfc3339(pa.array(["2020-03-03 13:54:31.250", "2020-03-03 13:54:31.000Z"])).to_pylist()
    ['2020-03-03T13:54:31.250000', '2020-03-03T13:54:31Z']
    """
    padding = [(rf"\.([0-9]{{{digits}}})(Z|$)", rf".\1{'0' * (6 - digits)}\2") for digits in range(1, 6)]
    for pattern, written in (
        (r"^(\S+) ", r"\1T"),
        (r"(\.[0-9]*[1-9])0+(Z|$)", r"\1\2"),
        (r"\.0+(Z|$)", r"\1"),
        *padding,
    ):
        times = pc.replace_substring_regex(times, pattern, written)
    return times


def _names(schema: pa.Schema, columns: Columns) -> list[str]:
    """Return the event's field name for each column, in order."""
    shown = ", ".join(schema.names) or "none"
    for field in fields(columns):
        named = getattr(columns, field.name) or ("title" if field.name == "title" else None)
        if named is not None and named not in schema.names:
            msg = f"the table has no column {named!r} (columns: {shown}). Next: say which column has the event's {field.name}."
            raise RowsError(msg)
    names = columns.header("the table", schema.names)
    for field, name in zip(schema, names, strict=True):
        # Bytes would become base64, and the model would read the base64 as words.
        if name in TEXT_FIELDS and _holds_bytes(field.type):
            msg = f"column {field.name!r} holds bytes ({field.type}), and text is expected. Next: cast it to string."
            raise RowsError(msg)
        # Python has no time with nanoseconds. Arrow's replacement depends on whether pandas is installed.
        if any(pa.types.is_temporal(kind) and getattr(kind, "unit", "") == "ns" for kind in _nested(field.type)):
            msg = f"column {field.name!r} ({field.type}) has nanoseconds within a list, struct or map. Next: cast them to microseconds."
            raise RowsError(msg)
    return names


def _nested(kind: pa.DataType) -> Iterator[pa.DataType]:
    for number in range(kind.num_fields):
        yield kind.field(number).type
        yield from _nested(kind.field(number).type)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(check(kind) for check in checks)
