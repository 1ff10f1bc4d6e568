"""Rows to learn from, and the default bundle with a second head from `model train --from --multilabel`."""

import pytest

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle
from tagstream.model_export.data import corpus, splits
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import multilabel
from tagstream.model_export.make.draft import Draft
from tests.replacing import replace

# Rows of one label beside all that have two: enough to learn something within seconds.
SINGLE_ROWS = 300


@pytest.fixture(scope="session")
def small_splits() -> Splits:
    """A part of the corpus that trains within seconds: all rows with two labels, and some with one."""

    def some(rows: list[Row], part: str) -> tuple[Row, ...]:
        of_part = [row for row in rows if row.tag != corpus.NOT_ML and splits.part_of_topic(row.topic) == part]
        single = [row for row in of_part if not row.tags]
        return tuple([row for row in of_part if row.tags] + single[:: max(1, len(single) // SINGLE_ROWS)])

    rows = corpus.read_corpus(corpus.CORPUS)
    return Splits(
        train=some(rows, "train"),
        calibration=some(rows, "calibration"),
        holdout=(),
        corpus_test=some(rows, "corpus_test"),
        unlabelled=(),
        near_duplicates_removed=0,
    )


@pytest.fixture(scope="session")
def default_multilabel(small_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The default bundle with a second head, as `tagstream model train --from BUNDLE --multilabel` adds it."""
    draft = Draft.of(bundle.read(DEFAULT_BUNDLE))
    rows = replace(small_splits, calibration=small_splits.calibration[:100])
    second = multilabel.fitted(draft, rows, multilabel.LabelHeadRecipe())
    return multilabel.promised(draft, second, rows).put(tmp_path_factory.mktemp("default-multilabel"))
