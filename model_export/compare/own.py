"""Measure a bundle on a user's own gold rows."""

from collections.abc import Callable, Sequence
from pathlib import Path

from model_export.bundle import bundle
from model_export.compare import contestants, measuring
from model_export.compare.measured import Measured
from model_export.data.own.rows import OwnDataError, OwnRows
from model_export.measure import slices
from monitoring.vocabulary import few

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
        OwnDataError: A row has no text, or a label that the bundle does not have.
        DataError: Two bundles have the same name, or the suite cannot be read.
    """
    read = bundle.read(folder)
    _refuse_unusable(gold, read.manifest.labels, str(folder))
    models = [contestants.of_bundle(read, read.manifest.labels)]
    models += [contestants.of_bundle(bundle.read(path), read.manifest.labels, name) for path, name in against]
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


def _refuse_unusable(gold: OwnRows, labels: Sequence[str], folder: str) -> None:
    empty = [own for own in gold.rows if not own.row.text.strip()]
    if empty:
        msg = f"{gold.at(empty)}: no text. Next: fill it in, or delete the row."
        raise OwnDataError(msg)
    unknown = [own for own in gold.rows if own.row.tag not in labels]
    if unknown:
        names = ", ".join(sorted({repr(own.row.tag) for own in unknown}))
        msg = (
            f"{gold.at(unknown)}: {folder} does not have the label {names}, so that it can only be wrong there. Its labels are "
            f"{few(labels)}. Next: correct the label, or delete the row."
        )
        raise OwnDataError(msg)
