"""
Ray and Spark, the real ones on this machine: the examples give the bytes of `classify`, whatever way the rows went.

`tests/integration/doors` says the same of the other doors, of the same articles.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.model_export.bundle.manifest import MANIFEST
from tagstream.model_export.data.reader import Columns, InputRow
from tagstream.stream.arrow import ANSWER_SCHEMA, events_of, output_schema
from tagstream.stream.batch.run import decided
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
from tests.engines.running import ENGINE_SECONDS, tagged_by_ray, tagged_by_spark
from tests.faults.verdict.matching import CLOCK
from tests.integration.doors.articles import authored, gold

# Against hanging only.
pytestmark = pytest.mark.timeout(2 * ENGINE_SECONDS)
NAMES = Columns(title="headline", id="key")
OPTIONS = ("--title", "headline", "--id", "key")
TITLES = (
    "Translating low-resource languages",
    "Detecting objects in satellite images",
    'Übersetzung "mit Anführung"\n\tund Zeilen',
    "A walk along the river",
    "Serving models with canary deployments 🚀",
    "",
)


@pytest.fixture(scope="module")
def bundle(tiny_bundle_folder: Path) -> Path:
    """The default bundle where it has been built, else the tiny one."""
    return DEFAULT_BUNDLE if (DEFAULT_BUNDLE / MANIFEST).is_file() else tiny_bundle_folder


@pytest.fixture(scope="module")
def articles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A Parquet file of several row groups: numbers as ids, a column of our own name, times, nulls, and rows that are rejected.

    After them come the articles that every door is asked about, with the gold holdout where it can be had.
    """
    holdout = gold()
    rows: list[dict[str, object]] = [
        {
            "key": number,
            "headline": title,
            "description": None if number % 3 else f"described {number}",
            "tag": "of the producer",
            "created": datetime.fromisoformat(f"2020-03-03T13:54:{number:02}"),
            "seen": datetime.fromisoformat(f"2020-03-03T13:54:{number:02}.5+00:00"),
            "share": number / 8,
            "words": title.split(),
        }
        for number, title in enumerate(TITLES * 4)
    ]
    rows += [
        {"key": number, "headline": row["title"], "description": row["description"] or None, "tag": row["tag"]}
        for number, row in enumerate([*authored(), *([] if isinstance(holdout, str) else holdout)], start=len(rows))
    ]
    file = tmp_path_factory.mktemp("articles") / "articles.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=10)
    return file


@pytest.fixture(scope="module")
def expected(articles: Path, bundle: Path) -> list[bytes]:
    """The answers of `classify` for the rows as JSON, without their time; a rejection by its reason, since rows are counted otherwise."""
    (table,) = pq.read_table(articles).combine_chunks().to_batches()
    rows = [InputRow(at, value) for at, value in enumerate(events_of(table, NAMES), start=1)]
    return comparable([found.answer for found in decided(pipeline_of(Settings(bundle=bundle)), rows)])


def comparable(answers: list[bytes]) -> list[bytes]:
    """The answers in an order of their own, since an engine keeps none."""
    return sorted(
        answer.rpartition(CLOCK)[0] or json.dumps(json.loads(answer)["error"], sort_keys=True).encode() for answer in answers
    )


def test_ray_gives_the_bytes_of_classify(articles: Path, bundle: Path, expected: list[bytes], tmp_path: Path) -> None:
    """Every row has its answer once, and the columns are those that are promised."""
    found = tagged_by_ray(articles, tmp_path / "tagged", bundle, "--processes", "1", *OPTIONS)
    assert comparable(found) == expected
    check_columns(articles, tmp_path / "tagged")


def test_spark_gives_the_bytes_of_classify(articles: Path, bundle: Path, expected: list[bytes], tmp_path: Path) -> None:
    """Every row has its answer once, and the columns are those that are promised."""
    found = tagged_by_spark(articles, tmp_path / "tagged", bundle, *OPTIONS)
    assert comparable(found) == expected
    check_columns(articles, tmp_path / "tagged")


def check_columns(articles: Path, tagged: Path) -> None:
    """The folder has the input's columns with their values, and the answer's that say the same as its JSON."""
    given, found = pq.read_table(articles), pq.read_table(tagged)
    assert found.schema.names == output_schema(given.schema, NAMES).names
    assert found.num_rows == given.num_rows
    by_key = {row["key"]: row for row in found.to_pylist(maps_as_pydicts="strict")}
    for row in given.to_pylist():
        one = by_key[row["key"]]
        assert one["overridden_tag"] == row["tag"]
        assert {name: one[name] for name in ("headline", "description", "created", "share", "words")} == {
            name: row[name] for name in ("headline", "description", "created", "share", "words")
        }
        # Spark writes times as INT96, which names no zone; they are UTC all the same.
        assert (one["seen"] and one["seen"].replace(tzinfo=UTC)) == row["seen"]
        answer = json.loads(one["answer"])
        if one["destination"] == "dlq":
            assert one["error"] == answer["error"]
            continue
        for name in ANSWER_SCHEMA.names:
            if name not in {"event_id", "answer", "error", "model", "tagged_at"}:
                assert one[name] == answer.get(name), name
        assert one["event_id"] == str(row["key"]) == answer["id"]
        assert one["model"]["digest"] == answer["model"]["digest"]
        at = one["tagged_at"].replace(tzinfo=UTC)
        assert at.isoformat(timespec="milliseconds").replace("+00:00", "Z") == answer["tagged_at"]
