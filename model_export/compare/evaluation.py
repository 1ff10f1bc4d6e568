"""Measure a bundle on rows that it has not learned from: the gold parts of the shipped rows, or a user's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagstream.model_export.bundle import bundle
from tagstream.model_export.compare import contestants, measurement
from tagstream.model_export.compare.evaluation_record import Measured
from tagstream.model_export.data import splits
from tagstream.model_export.data.own.rows import OwnRows, refuse_learned, refuse_unusable
from tagstream.model_export.data.splits import Folders
from tagstream.model_export.measure import gate, slices

GOLD = "gold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A model on disk to measure beside the bundle; without a name it is called by its manifest or its file."""

    path: Path
    name: str | None = None


def evaluate(
    folder: Path,
    *,
    folders: Folders,
    baselines: bool = False,
    against: Sequence[Named] = (),
    checkpoints: Sequence[Named] = (),
    suite: Path | None = None,
    say: Callable[[str], None],
) -> Measured:
    """
    Measure a bundle on the gold parts (`holdout` if there is a data folder, and `corpus_test`), the behaviour suites and the clock.

    The gate for foreign texts is also measured on the calibration rows, which chose it, and on rows not about machine learning.

    Args:
        folder: The bundle.
        folders: Where rows are: the gold parts are of Made With ML's, and the rivals learn all of them.
        baselines: Train the simpler rivals, in a minute or two, and measure them too.
        against: Other bundles to measure on the same rows.
        checkpoints: Networks in full precision, as `train` keeps them, to measure on the same rows.
        suite: A file of behaviour cases of one's own, in place of the project's suites.
        say: Called with a sentence before each long step.

    Raises:
        BundleError: A bundle is refused, or has other labels than the rows.
        CheckpointError: A file is not a checkpoint, or its network does not fit the bundle's tokenizer.
        DataError: The data or a suite cannot be read, or two models have the same name.
    """
    read = bundle.read(folder)
    say("reading and splitting the rows")
    rows = splits.load(folders.data, real_folder=folders.real)
    models = [contestants.of_bundle(read, rows.labels)]
    models += [contestants.of_bundle(bundle.read(other.path), rows.labels, other.name) for other in against]
    for path, name in ((given.path, given.name or given.path.stem) for given in checkpoints):
        models.append(contestants.of_checkpoint(name, path, bundle=read, calibration=rows.calibration))
    contestants.distinct(models)
    if baselines:
        say(f"training the simpler rivals on {len(rows.train)} rows")
        models += contestants.of_rivals(rows.train, read)
    return measurement.measure(
        contestants.distinct(models),
        {"holdout": rows.holdout, "corpus_test": rows.corpus_test},
        calibration=rows.calibration,
        foreign=gate.foreign(rows),
        digest=read.digest,
        target_precision=read.manifest.threshold.target_precision,
        trade=read.manifest.trade,
        suite=suite,
        say=say,
    )


def evaluate_own(
    folder: Path,
    gold: OwnRows,
    *,
    against: Sequence[Named] = (),
    suite: Path | None = None,
    say: Callable[[str], None],
) -> Measured:
    """
    Measure a bundle on rows of the user's; their kinds of text, their sources and their further columns are the slices.

    Args:
        folder: The bundle.
        gold: The rows, which the bundle has not learned from.
        against: Other bundles to measure on the same rows.
        suite: A file of behaviour cases of one's own.
        say: Called with a sentence before each long step.

    Raises:
        BundleError: A bundle is refused, or another bundle has other labels.
        RowsError: A row has no text, or a label that the bundle does not have; or a bundle has learned from this file.
        DataError: Two bundles have the same name, or the suite cannot be read.
    """
    read = bundle.read(folder)
    refuse_unusable(gold, read.manifest.labels, str(folder))
    others = [(bundle.read(other.path), other.name) for other in against]
    for each in (read, *(other for other, _ in others)):
        refuse_learned(gold, each.manifest, str(each.path))
    models = [contestants.of_bundle(read, read.manifest.labels)]
    models += [contestants.of_bundle(other, read.manifest.labels, name) for other, name in others]
    rows = [own.row for own in gold.rows]
    return measurement.measure(
        contestants.distinct(models),
        {GOLD: rows},
        digest=read.digest,
        target_precision=read.manifest.threshold.target_precision,
        trade=read.manifest.trade,
        suite=suite,
        kinds=slices.of_own(rows),
        say=say,
    )
