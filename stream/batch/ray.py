"""Tags the rows of a Ray Dataset: actors of one core each, and in each of them the pipeline of all doors."""

import os

import pyarrow as pa

# Ray sends statistics of its use to its makers unless this is set before it starts.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray.data import ActorPoolStrategy, Dataset

from tagstream.model_export.data.reader import AS_THEY_ARE, Columns
from tagstream.stream.batch.arrow import tag_batch
from tagstream.stream.batch.recipe import PipelineRecipe, recipe_of
from tagstream.stream.settings.settings import Settings

__all__ = ["Columns", "tag"]

ROWS_PER_CALL = 1024


def tag(
    dataset: Dataset,
    *,
    actors: int,
    columns: Columns = AS_THEY_ARE,
    settings: Settings | None = None,
    rows_per_call: int = ROWS_PER_CALL,
) -> Dataset:
    """
    A dataset of the same rows with the columns of `tagstream.stream.batch.arrow.ANSWER_SCHEMA`.

    Nothing is decided before the dataset is written or read. An actor that dies is replaced by Ray, and its rows get the same decisions.

    Args:
        dataset: With a column title, and mostly description and id.
        actors: Most processes that decide at once, each on one core. The cluster needs one core more, for reading and writing.
        columns: The names of the dataset for fields of the event.
        settings: By default those of the environment; the bundle, the threshold and the limits of an event are used.
        rows_per_call: Most rows that an actor is given at once.

    Raises:
        SettingsError: A setting cannot be used.
        BundleError: The bundle is refused.
    """
    return dataset.map_batches(
        Tagger,
        batch_format="pyarrow",
        batch_size=rows_per_call,
        # Not a fixed size: with an actor on every core, the tasks that read the input would wait for a core for ever.
        compute=ActorPoolStrategy(min_size=1, max_size=actors),
        # The network runs in one thread.
        num_cpus=1,
        udf_modifying_row_count=False,
        fn_constructor_kwargs={"recipe": recipe_of(settings), "columns": columns},
    )


class Tagger:
    """The work of one actor."""

    def __init__(self, recipe: PipelineRecipe, columns: Columns) -> None:
        """
        Load the model.

        Raises:
            BundleError: The bundle is refused, or is another one than the recipe's.
        """
        self._pipeline = recipe.pipeline()
        self._columns = columns

    def __call__(self, rows: pa.Table) -> pa.Table:
        """
        The table's rows in the same order, with the columns of the answer.

        Raises:
            RowsError: The columns cannot be read as events.
        """
        # A table without a row has no batch, but it has columns.
        batches = rows.to_batches() or [pa.RecordBatch.from_pylist([], schema=rows.schema)]
        return pa.Table.from_batches([tag_batch(self._pipeline, batch, self._columns) for batch in batches])
