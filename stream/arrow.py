"""
Arrow tables through the pipeline: rows to events, and decisions to columns. `Tagger.tag_table` and the Parquet files of `batch` share them.

A row is an event: a JSON object with the fields that its columns hold, in their order. So the same content has the same bytes of
decision here as in the stream and in `classify`. A null is no field, since a table cannot say whether a field was null or absent.
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

# As of a database's rows.
ENCODER = msgspec.json.Encoder(decimal_format="number")
# The fields in which the decoder expects text.
TEXT_FIELDS = ("title", "description", "id")


_PLAIN: dict[type[inspect.Type], pa.DataType] = {
    inspect.StrType: pa.string(),
    inspect.LiteralType: pa.string(),
    inspect.FloatType: pa.float64(),
    inspect.BoolType: pa.bool_(),
}


def _type_of(kind: inspect.Type) -> pa.DataType:
    """The column of a decision's field."""
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
    """A decision's field as Arrow takes it; None for an empty list."""
    match value:
        case ModelRef():
            return {name: getattr(value, name) for name in MODEL_PARTS}
        case dict():
            return list(value.items())
        case tuple():
            return list(value) or None
        case _:
            return value


# One row an answer. A rejected row has `destination` dlq, `error` and `answer`, and nulls else; `answer` is the line of `classify --json`.
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
    Decide every row of a table or of a record batch.

    Args:
        pipeline: As of `pipeline_of`, for fields with the contract's names.
        table: Columns title, and mostly description and id; the others are the event's further fields.
        columns: The names of the table for fields of the event.
        clock: Gives Unix seconds.

    Returns:
        The same number of rows in the same order: the columns of the table, then those of `ANSWER_SCHEMA`; see `output_schema`. The answer
        of a rejected row has its place in the table.

    Raises:
        TypeError: It is neither a table nor a record batch.
        RowsError: The columns cannot be read as events; no row is decided.
        Exception: The machine is broken; see `Pipeline.decide`.
    """
    if not isinstance(table, pa.Table | pa.RecordBatch):
        msg = f"tag_table takes a pyarrow Table or RecordBatch, and this is {type(table).__name__}"
        raise TypeError(msg)
    schema = output_schema(table.schema, columns)
    # One time for the whole table.
    now = clock()
    parts: list[pa.RecordBatch] = []
    # An empty table has one part too, for its columns.
    for start in range(0, max(1, table.num_rows), ROWS_AT_ONCE):
        events = [Record(key=None, value=value) for value in events_of(table.slice(start, ROWS_AT_ONCE), columns)]
        publications = enumerate(pipeline.publications(events, clock=lambda: now), start=start)
        parts.append(answers(answer_row(one, line=row + 1, row=row, at=now) for row, one in publications))
    # A table keeps the parts apart: one column of text holds 2 GiB at most.
    ours: Any = pa.Table.from_batches(parts) if isinstance(table, pa.Table) else pa.concat_batches(parts)
    return type(table).from_arrays([*table.columns, *ours.columns], schema=schema)


def output_schema(schema: pa.Schema, columns: Columns = AS_THEY_ARE) -> pa.Schema:
    """
    The columns that `tag_table` gives for a table of this schema.

    A column whose name is one of the answer's is kept as `overridden_` and its name; upper and lower case count as the same, as they do
    in SQL.

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
    # The schema's own metadata (pandas' index, for one) describes columns by their old names.
    return pa.schema([*kept, *ANSWER_SCHEMA])


def kept_name(name: str) -> str:
    """
    The name under which a column of the input is found in the output.

    >>> kept_name("year"), kept_name("tag")
    ('year', 'overridden_tag')
    """
    return f"{OVERRIDDEN}{name}" if name.lower() in ANSWER_SCHEMA.names else name


def events_of(batch: pa.Table | pa.RecordBatch, columns: Columns = AS_THEY_ARE) -> Iterator[bytes]:
    """
    The rows of a table or of a record batch as event values, in order.

    Text, whole numbers, truth values, lists, structs and maps are JSON's own; a float that JSON has no form for (NaN, an infinity) is
    null. Dates and times are text by RFC 3339, in UTC if they have a zone. Decimals are numbers with their digits, bytes are base64, and
    a duration is the number that the column holds.

    Raises:
        RowsError: A column is missing or there twice, or has a type that has no form in JSON.

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
    """Rows of `answer_row` as columns of `ANSWER_SCHEMA`."""
    return pa.RecordBatch.from_pylist(list(rows), schema=ANSWER_SCHEMA)


def answer_row(publication: Publication, *, line: int, row: int, at: float) -> dict[str, object]:
    """
    An outcome by the names of `ANSWER_SCHEMA`.

    Args:
        publication: The outcome as the pipeline gives it.
        line: As of `answer_of`.
        row: As of `answer_of`.
        at: Unix seconds, published as `tagged_at`.
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
        # Milliseconds, as they are published.
        "tagged_at": int(at * 1000) * 1000,
    }


def _cells(column: pa.Array, name: str) -> list[msgspec.Raw | None]:
    """The column's values as JSON, dates and times as text: Python's own hold neither nanoseconds nor far years."""
    try:
        if pa.types.is_duration(column.type):
            column = column.cast(pa.int64())
        elif pa.types.is_temporal(column.type):
            if getattr(column.type, "tz", None) is not None:
                # The same moment, and no rules of time zones, which change and are not everywhere the same.
                column = column.cast(pa.timestamp(column.type.unit, "UTC"))
            column = _rfc3339(column.cast(pa.string()))
        values = column.to_pylist(maps_as_pydicts="strict")
        return [None if value is None else msgspec.Raw(ENCODER.encode(value)) for value in values]
    except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError) as error:
        msg = f"column {name!r} ({column.type}) has no form in JSON: {error}. Next: drop it, or cast it to text."
        raise RowsError(msg) from error


def _rfc3339(times: pa.Array) -> pa.Array:
    """
    Arrow's text of times as RFC 3339, with microseconds or no fraction: engines keep the same time in other units, and its text must be
    the same, also where it comes from a database.

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
    """The event's field of each column, in order."""
    shown = ", ".join(schema.names) or "none"
    for field in fields(columns):
        named = getattr(columns, field.name) or ("title" if field.name == "title" else None)
        if named is not None and named not in schema.names:
            msg = f"the table has no column {named!r} (columns: {shown}). Next: say which column has the event's {field.name}."
            raise RowsError(msg)
    names = columns.header("the table", schema.names)
    for field, name in zip(schema, names, strict=True):
        # As base64, bytes would be tagged as if they were words.
        if name in TEXT_FIELDS and _holds_bytes(field.type):
            msg = f"column {field.name!r} holds bytes ({field.type}), and text is expected. Next: cast it to string."
            raise RowsError(msg)
        # Python has no such time, and what Arrow gives instead depends on whether pandas is installed.
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
