"""Arrow tables through the pipeline: the bytes of `classify --json`, and columns that say the same."""

import csv
import io
import json
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.data.reader import AS_THEY_ARE, ROWS_AT_ONCE, Columns, RowsError, rows_of
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.arrow import ANSWER_SCHEMA, Table, events_of, kept_name, output_schema, tag_table
from tagstream.stream.batch.run import decided
from tagstream.stream.decide.pipeline import Pipeline
from tests.fakes import BrokenClassifier, deciding

PIPELINE = Pipeline(decider=deciding(), observer=NullObserver())
CLOCK = b',"tagged_at":'
AT = 1_700_000_000.123
ROWS: list[dict[str, object]] = [
    {"id": "a", "title": "Deployment on Fridays", "description": "why not", "tag": "mlops"},
    {"id": "b", "title": "maybe image", "description": None, "tag": ""},
    {"id": "c", "title": "", "description": "no title", "tag": "other"},
    {"id": "d", "title": 'Übersetzung "translation"\n\x01', "description": "a\tb", "tag": "x"},
]


def batch_of(rows: list[dict[str, object]]) -> pa.RecordBatch:
    """A record batch of these rows."""
    return pa.RecordBatch.from_pylist(rows)


def tag(table: Table, columns: Columns = AS_THEY_ARE, *, pipeline: Pipeline = PIPELINE) -> Table:
    """The table with its answers, at one time."""
    return tag_table(pipeline, table, columns, clock=lambda: AT)


def before_clock(answer: bytes) -> bytes:
    """The decision without its time; a rejection has none."""
    return answer.rpartition(CLOCK)[0] or answer


def test_the_answers_are_the_bytes_of_classify(tmp_path: Path) -> None:
    """The same rows as CSV and as columns get the same object, a rejected one too."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ROWS[0])
    writer.writeheader()
    writer.writerows(ROWS)
    file = tmp_path / "rows.csv"
    file.write_text(text.getvalue(), encoding="utf-8")
    offline = [row.answer for row in decided(PIPELINE, rows_of(str(file)))]

    answered = tag(batch_of(ROWS)).column("answer").to_pylist()

    assert len(offline) == len(ROWS)
    decisions = [place for place, row in enumerate(ROWS) if row["title"]]
    assert [before_clock(answered[at].encode()) for at in decisions] == [before_clock(offline[at]) for at in decisions]
    # A line of a file and a row of a table are counted otherwise; all else is the same.
    assert json.loads(answered[2]) == {**json.loads(offline[2]), "line": 3}


def test_the_columns_say_what_the_answer_says() -> None:
    """Every column of a decision is the field of its JSON object, and a rejected row has the reason alone."""
    tagged, review, rejected, _ = tag(batch_of(ROWS)).to_pylist(maps_as_pydicts="strict")
    for row in (tagged, review):
        answer = json.loads(row["answer"])
        assert row["event_id"] == answer["id"]
        assert row["tagged_at"].isoformat(timespec="milliseconds") == answer["tagged_at"].replace("Z", "+00:00")
        assert {name: value for name, value in row["model"].items() if value is not None} == answer["model"]
        for name in ("destination", "tag", "confidence", "probabilities", "prediction_id", "decider", "threshold", "truncated"):
            assert row[name] == answer[name], name
        for name in ("tags", "reasons", "inclusion_probability", "text_flags"):
            assert row[name] == answer.get(name), name
        assert row["error"] is None
    assert (tagged["destination"], review["destination"]) == ("tagged", "review")
    assert review["reasons"]

    answer = json.loads(rejected["answer"])
    assert rejected["error"] == answer["error"]
    assert (rejected["destination"], answer["row"]) == ("dlq", 2)
    assert all(rejected[name] is None for name in ANSWER_SCHEMA.names if name not in {"destination", "error", "answer"})


def test_the_page_names_every_column() -> None:
    """A reader of a table finds each column of an answer."""
    page = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text(encoding="utf-8")
    table = page.split("| column | holds |")[1].split("\n\n")[0]
    firsts = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert [name for first in firsts for name in re.findall(r"`(\w+)`", first)] == ANSWER_SCHEMA.names


def test_the_input_keeps_its_columns() -> None:
    """Columns come out as they went in; one with a name of the answer's has another name."""
    batch = batch_of([{"title": "image", "year": 2020, "tag": "mine"}, {"title": "x", "year": None, "tag": None}])
    found = tag(batch)
    assert found.schema.equals(output_schema(batch.schema))
    assert found.column("year").equals(batch.column("year"))
    assert found.column("overridden_tag").equals(batch.column("tag"))
    assert found.column("tag").to_pylist() == ["computer-vision", "other"]


def test_many_rows_keep_their_order_and_their_number() -> None:
    """
    A table that is decided in parts is one table, rows in order, with one time; a rejected row knows its place.

    The same holds for one that lies in memory in several pieces, one of them empty.
    """
    rows = [{"id": str(number), "title": "image" if number % 3 else ""} for number in range(2 * ROWS_AT_ONCE + 1)]
    batch = batch_of(rows)
    found = tag(batch)
    pieces = pa.Table.from_batches([batch.slice(0, 3), batch.slice(3, 0), batch.slice(3)])
    assert tag(pieces).combine_chunks() == pa.Table.from_batches([found]).combine_chunks()
    answers = [json.loads(answer) for answer in found.column("answer").to_pylist()]
    assert [answer["id"] for answer in answers if "id" in answer] == [row["id"] for row in rows if row["title"]]
    assert [answer["row"] for answer in answers if "row" in answer] == [at for at, row in enumerate(rows) if not row["title"]]
    assert len({answer["tagged_at"] for answer in answers if "tagged_at" in answer}) == 1


SCHEMA = batch_of(ROWS).schema


@pytest.mark.parametrize("empty", [batch_of(ROWS).slice(0, 0), SCHEMA.empty_table(), pa.Table.from_batches([], SCHEMA)])
def test_no_rows_are_no_answers(empty: Table) -> None:
    """An empty table comes back empty, with all columns: an engine takes those of the whole from a part that may be empty."""
    found = tag(empty)
    assert type(found) is type(empty)
    assert found.num_rows == 0
    assert found.schema.equals(output_schema(empty.schema))


@pytest.mark.parametrize("wrong", [ROWS, {"title": ["x"]}, None])
def test_what_is_no_table_is_refused(wrong: object) -> None:
    """An engine can hand over other forms of its rows."""
    with pytest.raises(TypeError, match="Table or RecordBatch, and this is"):
        tag(wrong)


def test_columns_of_other_names_are_the_events_fields() -> None:
    """`Columns` names the title; the answer has it under the event's name, and the column keeps its own."""
    columns = Columns(title="headline", id="key")
    found = tag(batch_of([{"key": 6, "headline": "image"}]), columns)
    answer = json.loads(found.column("answer")[0].as_py())
    assert (answer["id"], answer["title"]) == ("6", "image")
    assert found.column("headline").to_pylist() == ["image"]
    assert found.column("event_id").to_pylist() == ["6"]


def test_a_parquet_file_gives_what_its_rows_give(tmp_path: Path) -> None:
    """Dictionary, large and plain strings are the same text after a file, and the output can be written and read."""
    plain = batch_of(ROWS)
    expected = [before_clock(answer.encode()) for answer in tag(plain).column("answer").to_pylist()]
    for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()):
        title = plain.column("title").cast(kind)
        table = pa.table({**{name: plain.column(name) for name in plain.schema.names}, "title": title})
        if kind != pa.string_view():
            pq.write_table(table, tmp_path / "in.parquet")
            table = pq.read_table(tmp_path / "in.parquet")
        (batch,) = table.combine_chunks().to_batches()
        found = tag(batch)
        assert [before_clock(answer.encode()) for answer in found.column("answer").to_pylist()] == expected
    written = pa.Table.from_batches([tag(plain)])
    pq.write_table(written, tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").equals(written)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (datetime(2020, 3, 3, 13, 54, 31, tzinfo=UTC).replace(tzinfo=None), pa.timestamp("s"), '"2020-03-03T13:54:31"'),
        (1_583_243_671_000_000_001, pa.timestamp("ns", "UTC"), '"2020-03-03T13:54:31.000000001Z"'),
        (1_583_243_671_250_000, pa.timestamp("us"), '"2020-03-03T13:54:31.250000"'),
        (1_583_243_670_000_000, pa.timestamp("us", "UTC"), '"2020-03-03T13:54:30Z"'),
        (1_583_243_670_100_000_000, pa.timestamp("ns", "Asia/Tokyo"), '"2020-03-03T13:54:30.100000Z"'),
        (datetime(2020, 3, 3, 13, 54, 31, 5, tzinfo=UTC), pa.timestamp("us", "+00:00"), '"2020-03-03T13:54:31.000005Z"'),
        (date(2020, 3, 3), pa.date32(), '"2020-03-03"'),
        (time(1, 2, 3), pa.time32("s"), '"01:02:03"'),
        (timedelta(seconds=90), pa.duration("s"), "90"),
        (Decimal("6.10"), pa.decimal128(5, 2), "6.10"),
        (2**63 - 1, pa.int64(), "9223372036854775807"),
        (float("inf"), pa.float64(), "null"),
        (True, pa.bool_(), "true"),
        (b"\xff\x00", pa.binary(), '"/wA="'),
        ([1, None], pa.list_(pa.int8()), "[1,null]"),
        ({"a": "b"}, pa.struct([("a", pa.string())]), '{"a":"b"}'),
        ([("k", 1.5)], pa.map_(pa.string(), pa.float64()), '{"k":1.5}'),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_every_type_has_its_form_in_json(value: object, kind: pa.DataType, expected: str) -> None:
    """What a column of another type than text becomes, to the byte."""
    batch = pa.RecordBatch.from_arrays([pa.array(["Hi"]), pa.array([value], kind)], names=["title", "x"])
    assert list(events_of(batch)) == [f'{{"title":"Hi","x":{expected}}}'.encode()]


@given(
    st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2200, 1, 1)),  # noqa: DTZ001 - with and without a zone
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.sampled_from([None, "UTC", "Asia/Kolkata", "America/New_York"]),
)
def test_a_time_has_the_text_that_a_database_gives_it(at: datetime, unit: str, zone: str | None) -> None:
    """A column of times in any unit has the text of the same time as Python's, which the rows of a table are written from."""
    column = pa.array([at], pa.timestamp("us")).cast(pa.timestamp(unit), safe=False)
    if zone is not None:
        column = column.cast(pa.timestamp(unit, zone))
    batch = pa.RecordBatch.from_arrays([pa.array(["Hi"]), column], names=["title", "at"])
    (event,) = events_of(batch)
    (same,) = column.cast(pa.timestamp("us", zone and "UTC")).to_pylist()
    assert event == b'{"title":"Hi","at":%b}' % msgspec.json.encode(same)


def test_a_time_that_python_cannot_hold_loses_no_row() -> None:
    """The year 9999 is Python's last; a table of a foreign program may have later ones by mistake."""
    far = pa.array([2_534_023_008_000], pa.int64()).cast(pa.timestamp("s"))
    (event,) = events_of(pa.RecordBatch.from_arrays([pa.array(["Hi"]), far], names=["title", "at"]))
    assert json.loads(event)["title"] == "Hi"


@pytest.mark.parametrize(
    ("schema", "columns", "said"),
    [
        ({"headline": pa.string()}, Columns(), "no column 'title' (columns: headline)"),
        ({"title": pa.string()}, Columns(id="key"), "no column 'key' (columns: title)"),
        ({"title": pa.binary()}, Columns(), "'title' holds bytes"),
        ({"t": pa.dictionary(pa.int8(), pa.binary())}, Columns(title="t"), "'t' holds bytes"),
        ({"title": pa.string(), "headline": pa.string()}, Columns(title="headline"), "'title' is there twice"),
        ({"title": pa.string(), "tag": pa.string(), "overridden_tag": pa.string()}, Columns(), "two columns 'overridden_tag'"),
        ({"title": pa.string(), "a": pa.string(), "A": pa.string()}, Columns(), "two columns 'a'"),
    ],
)
def test_columns_that_are_no_events_are_refused(schema: dict[str, pa.DataType], columns: Columns, said: str) -> None:
    """The error names the column and the next step, before a row is decided, also for a batch without rows."""
    with pytest.raises(RowsError) as refused:
        tag(pa.RecordBatch.from_pylist([], schema=pa.schema(schema.items())), columns)
    assert said in str(refused.value)
    assert "Next: " in str(refused.value)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("ns"))),
        pa.array([[1]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("us", "Nowhere/None"))),
        pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64())),
    ],
    ids=["nanoseconds in a list", "unknown time zone", "a key twice"],
)
def test_a_column_without_a_form_in_json_is_refused(column: pa.Array) -> None:
    """The error names the column and the next step; nothing is silently left out or rounded."""
    batch = pa.RecordBatch.from_arrays([pa.array(["Hi"]), column], names=["title", "seen"])
    with pytest.raises(RowsError, match=r"'seen'.* Next: "):
        list(events_of(batch))


def test_a_broken_machine_is_an_exception() -> None:
    """No row is given a made-up answer where the model does not work."""
    broken = Pipeline(decider=deciding(BrokenClassifier()), observer=NullObserver())
    with pytest.raises(MemoryError):
        tag(batch_of(ROWS), pipeline=broken)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["title", "id", "tag", "Überschrift"]), st.text(max_size=20) | st.none()), max_size=8
    )
)
def test_any_text_is_one_answer_a_row(rows: list[dict[str, str | None]]) -> None:
    """Whatever the cells hold, each row has one answer, which is JSON, and the input's columns are kept."""
    schema = pa.schema([(name, pa.string()) for name in ("title", "id", "tag", "Überschrift")])
    batch = pa.RecordBatch.from_pylist(rows, schema=schema)
    found = tag(batch)
    assert found.num_rows == len(rows)
    assert [found.column(kept_name(name)).to_pylist() for name in schema.names] == [
        batch.column(name).to_pylist() for name in schema.names
    ]
    for answer in found.column("answer").to_pylist():
        assert json.loads(answer)["destination"] in {"tagged", "review", "dlq"}
