"""Tags the rows of a Spark DataFrame: `mapInArrow`, and in each Python process of an executor the pipeline of all doors."""

from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructField, StructType

from tagstream.model_export.data.reader import AS_THEY_ARE, Columns
from tagstream.stream.batch.arrow import ANSWER_SCHEMA, kept_name, output_schema, tag_batch
from tagstream.stream.batch.recipe import PipelineRecipe, recipe_of
from tagstream.stream.settings.settings import Settings

__all__ = ["Columns", "tag"]


def tag(frame: DataFrame, *, columns: Columns = AS_THEY_ARE, settings: Settings | None = None) -> DataFrame:
    """
    A frame of the same rows with the columns of `tagstream.stream.batch.arrow.ANSWER_SCHEMA`.

    Nothing is decided before the frame is written or read. A task that Spark repeats gives the same decisions. One Python process runs
    for each task, and each keeps its model for the tasks after it.

    Args:
        frame: With a column title, and mostly description and id.
        columns: The names of the frame for fields of the event.
        settings: By default those of the environment; the bundle, the threshold and the limits of an event are used.

    Raises:
        RowsError: The columns cannot be read as events.
        SettingsError: A setting cannot be used.
        BundleError: The bundle is refused.
    """
    return frame.mapInArrow(partial(_tagged, recipe=recipe_of(settings), columns=columns), schema_of(frame, columns))


def schema_of(frame: DataFrame, columns: Columns = AS_THEY_ARE) -> StructType:
    """
    The columns of `tag`'s frame: those of the given one, then the answer's.

    Raises:
        RowsError: The columns cannot be read as events.
    """
    output_schema(to_arrow_schema(frame.schema), columns)
    kept = [StructField(kept_name(field.name), field.dataType, field.nullable, field.metadata) for field in frame.schema]
    return StructType([*kept, *from_arrow_schema(ANSWER_SCHEMA)])


def _tagged(batches: Iterable[pa.RecordBatch], *, recipe: PipelineRecipe, columns: Columns) -> Iterator[pa.RecordBatch]:
    pipeline = recipe.pipeline()
    for batch in batches:
        yield tag_batch(pipeline, batch, columns)
