"""Measure a bundle on rows that are not its training rows: the gold parts of the shipped rows, or a user's own rows."""

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
    """A model on disk to compare with the bundle. If the name is None, the name comes from the manifest or the file."""

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
    Measure a bundle on the gold parts (`corpus_test`, and `holdout` if there is a data folder), on the behaviour suites, and its speed.

    The gate for foreign texts is also measured on the calibration rows, which set its limits, and on rows that are not about machine
    learning.

    Args:
        folder: The bundle.
        folders: The folders of the rows. The holdout is in Made With ML's folder. The rivals are trained on the rows of all folders.
        baselines: Also train and measure the simpler rivals. The training takes a minute or two.
        against: Other bundles to measure on the same rows.
        checkpoints: Full-precision networks, as `train` writes them, to measure on the same rows.
        suite: A user's file of behaviour cases, which replaces the project's suites.
        say: Called with a sentence before each long step.

    Raises:
        BundleError: A bundle is refused, or its labels differ from the labels of the rows.
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
    Measure a bundle on a user's rows. The slices are the kinds of text, the sources and the further columns of the rows.

    Args:
        folder: The bundle.
        gold: The rows. They must not be training rows of the bundle.
        against: Other bundles to measure on the same rows.
        suite: A user's file of behaviour cases.
        say: Called with a sentence before each long step.

    Raises:
        BundleError: A bundle is refused, or the labels of two bundles differ.
        RowsError: A row has no text, the bundle lacks the label of a row, or a bundle was trained on this file.
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
