"""Make, measure and inspect bundles for `tagstream model`: check the extras, find the data, print the figures."""

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from model_export import commands, extras
from model_export.bundle.bundle import DEFAULT_BUNDLE
from model_export.bundle.promise.promise import Promise
from model_export.commands import BundleOptions
from model_export.data import madewithml
from model_export.data.own.columns import OwnColumns
from monitoring.vocabulary import few
from stream import logs
from stream.cli.show.bundle import print_bundle
from stream.settings.settings import Settings
from stream.terminal import console

if TYPE_CHECKING:
    from model_export.compare.measured import Measured

SHIPPED = "shipped"


class ExtraMissingError(Exception):
    """The command needs packages that a worker does not: the message says how to get them."""

    exit_code = 2


class OtherLabelsError(Exception):
    """The bundle's labels are not those of the shipped rows: the message names both and the next step."""

    exit_code = 2


def train(
    settings: Settings,
    *,
    folder: Path,
    everything: bool,
    checkpoint: Path | None,
    promise: Promise,
    corpus_only: bool,
    multilabel: bool,
    seed: int | None = None,
    answers: Path | None = None,
) -> None:
    """
    Train a model, write its bundle, and print its figures.

    With `everything` the folder gets `bundle/`, the networks in full precision, and `report/`, which compares the new
    bundle with its teacher and student, the simpler rivals and the shipped bundle on the same rows.

    Raises:
        ExtraMissingError: PyTorch, scikit-learn or, for the report, matplotlib is not installed.
        DataError: The settings name a folder whose data cannot be read.
    """
    require_export()
    if everything:
        _require_plots()
        checkpoint = checkpoint or folder / "network.safetensors"
    logs.configure(level="info", form="console")
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)
    rows = None if corpus_only else _data_folder_if_any(settings)
    if rows is None:
        console.talk(
            "training on the authored corpus alone, without Made With ML's rows; there will be no figures on the holdout"
        )
    made = commands.train(
        BundleOptions(
            folder=folder / "bundle" if everything else folder,
            data_folder=rows,
            answers=answers,
            promise=promise,
            multilabel=multilabel,
        ),
        checkpoint=checkpoint,
        seed=seed,
    )
    console.show(made.as_text())
    if everything and checkpoint is not None:
        _report_on_all(folder, data_folder=rows, checkpoint=checkpoint)


def _report_on_all(folder: Path, *, data_folder: Path | None, checkpoint: Path) -> None:
    """Compare the new bundle with its networks, the rivals and the shipped bundle, and write the report."""
    from model_export.compare import reproduction
    from model_export.make.build import teacher_path
    from model_export.report.report import write
    from model_export.report.terminal import as_text

    measured = commands.evaluate(
        folder / "bundle",
        data_folder=data_folder,
        baselines=True,
        against=[commands.Named(name=SHIPPED, path=DEFAULT_BUNDLE)],
        checkpoints=[
            commands.Named(name="teacher fp32", path=teacher_path(checkpoint)),
            commands.Named(name="student fp32", path=checkpoint),
        ],
        say=console.talk,
    )
    console.show(as_text(measured))
    for path in write(measured, folder / "report"):
        console.talk(f"wrote {path}")
    if data_folder is not None:
        ours, shipped = commands.inspect(folder / "bundle"), commands.inspect(DEFAULT_BUNDLE)
        console.show(
            f"is it the shipped model again? {reproduction.same_file(ours.model, shipped.model, shipped.manifest.labels)}"
        )
        console.show("\n".join(f"  {part}" for part in reproduction.reproduced(measured, SHIPPED)))


def export(settings: Settings, *, checkpoint: Path, folder: Path, promise: Promise) -> None:
    """Make a bundle of a checkpoint, and print its figures."""
    require_export()
    logs.configure(level="info", form="console")
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)
    made = commands.export(
        BundleOptions(folder=folder, data_folder=data_folder(settings), promise=promise), checkpoint=checkpoint
    )
    console.show(made.as_text())


def refit(
    settings: Settings,
    *,
    folder: Path,
    promise: Promise,
    multilabel: bool,
    keep_head: bool,
    answers: Path | None = None,
) -> None:
    """Fit head and n-grams anew on the encoder of the settings' bundle, and print the figures of the new bundle."""
    require_export()
    logs.configure(level="info", form="console")
    made = commands.refit(
        BundleOptions(
            folder=folder,
            data_folder=data_folder(settings),
            answers=answers,
            promise=promise,
            multilabel=multilabel,
        ),
        source=settings.bundle,
        keep_head=keep_head,
    )
    console.show(made.as_text())


def calibrate(settings: Settings, *, folder: Path, promise: Promise, version: str | None = None) -> None:
    """Calibrate the settings' bundle anew, and print the figures of the new bundle; other labels than the shipped are refused."""
    require_export()
    from model_export.make.recalibrate import refuse_other_labels

    # Before the rows, which may have to be downloaded.
    refuse_other_labels(madewithml.LABELS, commands.inspect(settings.bundle).manifest.labels)
    logs.configure(level="info", form="console")
    made = commands.calibrate(
        BundleOptions(folder=folder, data_folder=data_folder(settings), promise=promise),
        source=settings.bundle,
        version=version,
    )
    console.show(made.as_text())


def evaluate(
    settings: Settings,
    *,
    baselines: bool,
    against: Sequence[str],
    checkpoints: Sequence[str],
    suite: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """
    Measure a bundle and its rivals on rows of the shipped labels that it never saw; with `report`, write pages about it too.

    Raises:
        OtherLabelsError: The bundle has other labels; nothing is downloaded.
    """
    _refuse_other_labels(settings.bundle)
    require_export()
    if report is not None:
        _require_plots()
    measured = commands.evaluate(
        settings.bundle,
        data_folder=data_folder(settings),
        baselines=baselines,
        against=[named(given) for given in against],
        checkpoints=[named(given) for given in checkpoints],
        suite=suite,
        say=console.talk,
    )
    _show(measured, report=report, as_json=as_json)


def _refuse_other_labels(folder: Path) -> None:
    labels = commands.inspect(folder).manifest.labels
    if set(labels) != set(madewithml.LABELS):
        msg = (
            f"{folder} has the labels {few(labels)}, and without --data FILE it would be measured on Made With ML's rows, which have "
            f"{few(madewithml.LABELS)}. Next: give labelled rows of its own labels, --data FILE."
        )
        raise OtherLabelsError(msg)


def evaluate_own(
    settings: Settings,
    *,
    data: Path,
    columns: OwnColumns,
    against: Sequence[str],
    suite: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Measure a bundle, and others beside it, on a file of the user's rows; with `report`, write pages about it too."""
    require_export()
    if report is not None:
        _require_plots()
    from model_export.compare.own import evaluate_own as measure
    from model_export.data.own.read import read_own

    others = [named(given) for given in against]
    measured = measure(
        settings.bundle,
        read_own(data, columns),
        against=[(other.path, other.name) for other in others],
        suite=suite,
        say=console.talk,
    )
    _show(measured, report=report, as_json=as_json)


def _show(measured: "Measured", *, report: Path | None, as_json: bool) -> None:
    if as_json:
        for record in measured.records():
            console.show_json(record)
    else:
        from model_export.report.terminal import as_text

        console.show(as_text(measured))
    if report is not None:
        from model_export.report.report import write

        for path in write(measured, report):
            console.talk(f"wrote {path}")


def named(given: str) -> commands.Named:
    """
    Read `NAME=PATH` or a path alone. A path that exists is taken whole, even with an equals sign in it.

    >>> named("teacher fp32=models/teacher.safetensors").name
    'teacher fp32'
    >>> named("models/teacher.safetensors").name is None
    True
    """
    name, equals, path = given.partition("=")
    if not equals or not name or Path(given).exists():
        return commands.Named(path=Path(given))
    return commands.Named(path=Path(path), name=name)


def verify(settings: Settings, *, as_json: bool) -> None:
    """Run every check of a bundle, and print the result; the exceptions are those of `commands.verify`."""
    verified = commands.verify(settings.bundle)
    if as_json:
        console.show_json(verified)
        return
    console.show(f"{settings.bundle}: verified, digest {verified.digest}")
    console.show(
        f"{verified.model_bytes / 1e6:.1f} MB, labels {few(verified.labels)}; {verified.golden_texts} golden texts agree; "
        "no prediction depends on its batch"
    )


def inspect(settings: Settings, *, as_json: bool, events_a_day: int = 10_000) -> None:
    """Print a bundle: a short text, or the whole manifest as JSON."""
    bundle = commands.inspect(settings.bundle)
    if not as_json:
        print_bundle(bundle, events_a_day)
        return
    console.show_json({"digest": bundle.digest, **msgspec.to_builtins(bundle.manifest)})
    for label, threshold in bundle.manifest.thresholds.items():
        console.talk(threshold.sentence(label))


def data_folder(settings: Settings) -> Path:
    """The folder with Made With ML's files: that of the settings, else a checked download that is kept."""
    return settings.data if settings.data is not None else madewithml.download()


def _data_folder_if_any(settings: Settings) -> Path | None:
    """As `data_folder`; None where no folder is given and the download fails, which is printed."""
    try:
        return data_folder(settings)
    except madewithml.DataError as error:
        if settings.data is not None:
            raise
        console.talk(str(error))
        return None


def require_export() -> None:
    """Raise `ExtraMissingError` unless PyTorch and scikit-learn are there."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("sklearn") is None:
        msg = f"this command needs PyTorch and scikit-learn, which a worker does not. Next: {extras.install('export')}."
        raise ExtraMissingError(msg)


def _require_plots() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        msg = f"a report needs matplotlib for its plots. Next: {extras.install('export')}, or leave out --report."
        raise ExtraMissingError(msg)
