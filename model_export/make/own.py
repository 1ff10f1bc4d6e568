"""A bundle of a user's rows and labels: nothing of it depends on tagstream's own labels or on its corpus."""

import contextlib
import hashlib
import math
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model_export.bundle import bundle
from model_export.bundle.manifest import MANIFEST, MODEL, TOKENIZER
from model_export.bundle.promise.promise import Promise
from model_export.data.row import Row
from model_export.data.splits import Splits
from model_export.make import build, quick
from model_export.make.assemble import Built, Target
from model_export.make.build import TrainingPlan
from model_export.train import base_model
from model_export.train.base_model import BaseModel
from model_export.train.distil import StudentRecipe
from model_export.train.tuning import Recipe
from model_export.train.work import Work

VERSION = "1"
# Every start of a worker reads them, so they are few where labels are many.
MOST_GOLDEN = 16
# A few hundred rows are read more often than the recipes say: a network that took so few steps has hardly moved.
LEAST_STEPS, MOST_EPOCHS = 400, 20


def own_bundle(
    folder: Path, *, splits: Splits, promise: Promise, fast: bool, work: Work, base: BaseModel | None = None
) -> Built:
    """
    Train on a user's rows and make a bundle.

    Args:
        folder: Where the bundle goes; its name is the bundle's.
        splits: The rows.
        promise: The promise that the thresholds keep.
        fast: Keep the base encoder as it is, and fit a head alone; else a teacher is tuned, and a student of three layers imitates it.
        work: Keeps the stages, and is told how far they are. Other rows, recipes or code than before start anew.
        base: The pretrained encoder; the project's unless given.

    Raises:
        BaseModelError: The pretrained encoder is missing or differs from its sum.
        ParityError: A gate refuses the network.
        CalibrationError: The promise cannot be kept on the rows.
    """
    target = Target(
        name=folder.name,
        version=VERSION,
        promise=promise,
        golden=golden_texts((*splits.train, *splits.calibration)),
        level_sources=False,
    )
    base = base or base_model.load()
    made = folder.with_name(f".{folder.name}.new")
    if fast:
        recipe = quick.QuickRecipe()
        kept = work.within("quick", splits, recipe)
        built = quick.quick_bundle(made, base=base, splits=splits, target=target, work=kept, recipe=recipe)
    else:
        plan = plan_of(splits)
        kept = work.within("full", splits, plan)
        built = build.train_bundle(made, splits=splits, plan=plan, target=target, base=base, work=kept)
    _put(made, folder)
    if work.folder is not None and kept.folder is not None:
        shutil.rmtree(kept.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            # Other trainings may have kept something there.
            work.folder.rmdir()
    return replace(built, bundle=bundle.read(folder))


def _put(made: Path, folder: Path) -> None:
    """Give a whole bundle its place. A new folder appears at once; in one that is there the manifest comes last."""
    if not folder.exists():
        made.rename(folder)
        return
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in (MODEL, TOKENIZER, MANIFEST):
        (made / name).replace(folder / name)
    made.rmdir()


def plan_of(splits: Splits) -> TrainingPlan:
    """The recipes of the project for other rows: every row counts the same, whatever its source, and few rows are read more often."""
    shares = {source: float(rows) for source, rows in sorted(_by_source(splits.train).items())}
    teacher, student = Recipe(), StudentRecipe()
    rows = len(splits.train)
    size = min(teacher.batch_rows, rows)

    def epochs(asked: int, texts: int) -> int:
        return max(asked, min(MOST_EPOCHS, math.ceil(LEAST_STEPS * size / texts)))

    return TrainingPlan(
        advice=None,
        teacher=replace(
            teacher, source_shares=shares, class_levelling=0.0, batch_rows=size, epochs=epochs(teacher.epochs, rows)
        ),
        student=replace(
            student,
            source_shares=shares,
            class_levelling=0.0,
            batch_rows=size,
            epochs=epochs(student.epochs, rows + len(splits.unlabelled)),
        ),
    )


def _by_source(rows: Sequence[Row]) -> dict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        counts[row.source] += 1
    return counts


def golden_texts(rows: Sequence[Row]) -> tuple[str, ...]:
    """
    Texts of a user's rows that every machine must give nearly the same probabilities: one of each label in turn, by a hash.

    >>> rows = [Row(text=text, tag=text[0], source="own", topic=text) for text in ("a 1", "a 2", "b 1")]
    >>> sorted(golden_texts(rows))
    ['a 1', 'a 2', 'b 1']
    """
    by_label: defaultdict[str, list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: hashlib.sha256(row.text.encode()).digest()):
        by_label[row.tag].append(row.text)
    queues = [by_label[label] for label in sorted(by_label)]
    turns = [queue[turn] for turn in range(MOST_GOLDEN) for queue in queues if turn < len(queue)]
    return tuple(dict.fromkeys(turns))[:MOST_GOLDEN]
