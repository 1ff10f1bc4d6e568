"""Arrow record batches through the pipeline: one function for Parquet files, Ray, Spark, and whoever else has columns.

A row is an event: a JSON object with the fields that its columns hold, in their order. So the same content has the same bytes of
decision here as in the stream and in `classify`. A null is no field, since a table cannot say whether a field was null or absent.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from stream.batch.rows.columns import Columns
from stream.batch.rows.row import RowsError
from stream.contract.decisions import NeedsReview
from stream.contract.publication import Publication
from stream.contract.record import Record
from stream.contract.refusal import Refusal
from stream.decide.answer import answer_of
from stream.decide.pipeline import Pipeline

# So many rows are decided at once, whatever the size of a record batch: this bounds the memory beside the columns themselves.
ROWS_AT_ONCE = 256
AS_THEY_ARE = Columns()
# As of a database's rows.
ENCODER = msgspec.json.Encoder(decimal_format="number")
OVERRIDDEN = "overridden_"
# The fields in which the decoder expects text.
TEXT_FIELDS = ("title", "description", "id")

# One row an answer. A rejected row has `destination` dlq, `error` and `answer`, and nulls else; `answer` is the line of `classify --json`.
ANSWER_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("destination", pa.string()),
        pa.field("tag", pa.string()),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("confidence", pa.float64()),
        pa.field("probabilities", pa.map_(pa.string(), pa.float64())),
        pa.field("prediction_id", pa.string()),
        pa.field("decider", pa.string()),
        pa.field(
            "model",
            pa.struct([pa.field(name, pa.string()) for name in ("name", "version", "digest", "arithmetic")]),
        ),
        pa.field("threshold", pa.float64()),
        pa.field("truncated", pa.bool_()),
        pa.field("reasons", pa.list_(pa.string())),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("text_flags", pa.list_(pa.string())),
        pa.field("tagged_at", pa.timestamp("us", tz="UTC")),
        pa.field("error", pa.struct([pa.field(name, pa.string()) for name in ("stage", "code", "message")])),
        pa.field("answer", pa.string()),
    ]
)


def tag_batch(
    pipeline: Pipeline,
    batch: pa.RecordBatch,
    columns: Columns = AS_THEY_ARE,
    *,
    first_row: int = 0,
    clock: Callable[[], float] = time.time,
) -> pa.RecordBatch:
    """
    Decide every row of a record batch.

    Args:
        pipeline: As of `pipeline_of`.
        batch: Columns title, and mostly description and id; the others are the event's further fields.
        columns: The names of the batch for fields of the event.
        first_row: The place of the batch's first row among all rows, from 0; a rejected row's answer has it.
        clock: Gives Unix seconds.

    Returns:
        The same number of rows in the same order: the columns of the batch, then those of `ANSWER_SCHEMA`; see `output_schema`.

    Raises:
        RowsError: The columns cannot be read as events; no row is decided.
        Exception: The machine is broken; see `Pipeline.decide`.
    """
    schema = output_schema(batch.schema, columns)
    # One time for the whole batch.
    now = clock()
    parts = []
    # An empty batch has one part too, for its columns.
    for start in range(0, max(1, batch.num_rows), ROWS_AT_ONCE):
        records = [Record(key=None, value=value) for value in events_of(batch.slice(start, ROWS_AT_ONCE), columns)]
        publications = pipeline.publications(records, clock=lambda: now)
        parts.append(answers(publications, first_row=first_row + start, tagged_at=now))
    return pa.RecordBatch.from_arrays([*batch.columns, *pa.concat_batches(parts).columns], schema=schema)


def output_schema(schema: pa.Schema, columns: Columns = AS_THEY_ARE) -> pa.Schema:
    """
    The columns that `tag_batch` gives for a batch of this schema.

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


def events_of(batch: pa.RecordBatch, columns: Columns = AS_THEY_ARE) -> Iterator[bytes]:
    """
    The rows of a record batch as event values, in order.

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


def answers(publications: Sequence[Publication], *, first_row: int, tagged_at: float) -> pa.RecordBatch:
    """
    Outcomes as columns of `ANSWER_SCHEMA`.

    Args:
        publications: The outcomes.
        first_row: The place of the first one among all rows, from 0.
        tagged_at: Unix seconds, those of the publications.
    """
    at = int(tagged_at * 1000) * 1000
    rows = [_answer(publication, row, at) for row, publication in enumerate(publications, start=first_row)]
    return pa.RecordBatch.from_pylist(rows, schema=ANSWER_SCHEMA)


def _answer(publication: Publication, row: int, tagged_at: int) -> dict[str, object]:
    outcome = publication.outcome
    found: dict[str, object] = {
        "destination": publication.destination.value,
        "answer": answer_of(publication, line=row + 1, row=row).decode(),
    }
    if isinstance(outcome, Refusal):
        error = {"stage": outcome.stage.value, "code": outcome.reason.value, "message": outcome.message}
        return {**found, "error": error}
    decision = outcome.decision
    found |= {
        "event_id": outcome.event.id,
        "tag": decision.tag,
        "tags": list(decision.tags) or None,
        "confidence": decision.confidence,
        "probabilities": list(decision.probabilities.items()),
        "prediction_id": decision.prediction_id,
        "decider": decision.decider,
        "model": {name: getattr(decision.model, name) for name in decision.model.__struct_fields__},
        "threshold": decision.threshold,
        "truncated": decision.truncated,
        "tagged_at": tagged_at,
    }
    if isinstance(outcome, NeedsReview):
        found["reasons"] = [reason.value for reason in outcome.reasons]
        found["inclusion_probability"] = outcome.inclusion_probability
        found["text_flags"] = [flag.value for flag in outcome.text_flags] or None
    return found


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
        wanted = getattr(columns, field.name) or ("title" if field.name == "title" else None)
        if wanted is not None and wanted not in schema.names:
            msg = f"the table has no column {wanted!r} (columns: {shown}). Next: say which column has the event's {field.name}."
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
