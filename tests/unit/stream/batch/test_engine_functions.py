"""The functions that Ray and Spark call, without the engines: `tests/engines` has these."""

import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from tagstream.model_export.data.reader import AS_THEY_ARE
from tagstream.stream.batch.arrow import ANSWER_SCHEMA, output_schema
from tagstream.stream.batch.ray import Tagger
from tagstream.stream.batch.recipe import PipelineRecipe, recipe_of
from tagstream.stream.batch.spark import _tagged
from tagstream.stream.settings.settings import Settings

SCHEMA = pa.schema([("id", pa.string()), ("title", pa.string())])


@pytest.fixture(scope="module")
def recipe(tiny_bundle_folder: Path) -> PipelineRecipe:
    """For the tiny bundle."""
    return recipe_of(Settings(bundle=tiny_bundle_folder))


def rows(*ids: str) -> pa.Table:
    """A table of these rows."""
    return pa.Table.from_pylist([{"id": one, "title": f"about {one}"} for one in ids], schema=SCHEMA)


def test_an_actor_keeps_the_order_of_a_table_in_pieces(recipe: PipelineRecipe) -> None:
    """A table that lies in memory in several pieces comes back as one, rows in order."""
    table = pa.concat_tables([rows("a", "b"), rows("c"), rows(), rows("d")])
    assert Tagger(recipe, AS_THEY_ARE)(table)["event_id"].to_pylist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("table", [rows(), SCHEMA.empty_table(), pa.Table.from_batches([], SCHEMA)])
def test_a_part_without_rows_has_the_columns(recipe: PipelineRecipe, table: pa.Table) -> None:
    """An engine takes the columns of the whole from a part that may be empty."""
    found = Tagger(recipe, AS_THEY_ARE)(table)
    assert (found.num_rows, found.schema) == (0, output_schema(SCHEMA))


def test_a_task_of_spark_answers_batch_by_batch(recipe: PipelineRecipe) -> None:
    """A task reads its next batch only after it has answered the one before, so that it holds one."""
    taken = []

    def batches() -> object:
        for one in ("a", "b"):
            taken.append(one)
            yield from rows(one).to_batches()

    found = _tagged(batches(), recipe=recipe, columns=AS_THEY_ARE)
    assert (next(found)["event_id"].to_pylist(), taken) == (["a"], ["a"])
    assert [batch["event_id"].to_pylist() for batch in found] == [["b"]]
    assert list(_tagged(iter([]), recipe=recipe, columns=AS_THEY_ARE)) == []


def test_the_schema_that_spark_is_promised_is_the_one_it_gets() -> None:
    """Spark is told the columns beforehand: each type has one of Spark's, and comes back from it as it was."""
    promised = to_arrow_schema(from_arrow_schema(ANSWER_SCHEMA), timezone="UTC")
    assert promised.names == ANSWER_SCHEMA.names
    for name in promised.names:
        assert promised.field(name).type == ANSWER_SCHEMA.field(name).type, name


def test_what_an_actor_is_made_of_can_be_sent(recipe: PipelineRecipe) -> None:
    """Recipe and columns go to other processes."""
    assert pickle.loads(pickle.dumps((recipe, AS_THEY_ARE))) == (recipe, AS_THEY_ARE)  # noqa: S301 - our own bytes
