"""Measure a bundle on a user's own gold rows."""

from collections.abc import Callable, Sequence
from pathlib import Path

from model_export.bundle import bundle
from model_export.compare import contestants, measuring
from model_export.compare.measured import Measured
from model_export.data.own.rows import OwnRows, refuse_learned, refuse_unusable
from model_export.measure import slices

GOLD = "gold"


def evaluate_own(
    folder: Path,
    gold: OwnRows,
    *,
    against: Sequence[tuple[Path, str | None]] = (),
    suite: Path | None = None,
    say: Callable[[str], None],
) -> Measured:
    """
    Measure a bundle on rows of the user's; their kinds of text, their sources and their further columns are the slices.

    Args:
        folder: The bundle.
        gold: The rows, which the bundle has not learned from.
        against: Folders of other bundles to measure on the same rows, and their names in tables; the manifest's by default.
        suite: A file of behaviour cases of one's own.
        say: Called with a sentence before each long step.

    Raises:
        BundleError: A bundle is refused, or another bundle has other labels.
        OwnDataError: A row has no text, or a label that the bundle does not have; or a bundle has learned from this file.
        DataError: Two bundles have the same name, or the suite cannot be read.
    """
    read = bundle.read(folder)
    refuse_unusable(gold, read.manifest.labels, str(folder))
    others = [(bundle.read(path), name) for path, name in against]
    for each in (read, *(other for other, _ in others)):
        refuse_learned(gold, each.manifest, str(each.path))
    models = [contestants.of_bundle(read, read.manifest.labels)]
    models += [contestants.of_bundle(other, read.manifest.labels, name) for other, name in others]
    rows = [own.row for own in gold.rows]
    return measuring.measure(
        contestants.distinct(models),
        {GOLD: rows},
        digest=read.digest,
        target_precision=read.manifest.threshold.target_precision,
        trade=read.manifest.trade,
        suite=suite,
        kinds=slices.of_own(rows),
        say=say,
    )
