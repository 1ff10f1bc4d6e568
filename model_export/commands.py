"""The commands of `tagstream model` without a command line: typed arguments in, records out, failures as exceptions."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from model_export.bundle import bundle
from model_export.bundle.bundle import Bundle
from model_export.bundle.classifier import OnnxClassifier
from model_export.bundle.invariance import Invariance, ParityError, check_invariance
from model_export.bundle.promise.promise import Promise
from model_export.data import splits as data
from model_export.data.corpus import CORPUS

if TYPE_CHECKING:
    from model_export.compare.measured import Measured
    from model_export.make.assemble import Built, Target
    from model_export.measure.bundle_metrics import BundleMetrics

VERIFY_SEED = 23
# The shipped bundle takes eleven seconds on two busy cores.
VERIFY_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions:
    """
    The options of every command that makes a bundle.

    Attributes:
        folder: Where the bundle goes; it is written once every gate is passed.
        data_folder: The folder with `dataset.csv` and `holdout.csv`; without it the authored corpus alone is used.
        corpus_folder: The folder with the authored corpus.
        answers: A file of rows that people's answers gave; they are learned from too.
        promise: The precision of the thresholds, and of what.
        multilabel: Add the second head, which gives a decision its `tags`; only `train` and `refit` look at it.
    """

    folder: Path
    data_folder: Path | None
    corpus_folder: Path = CORPUS
    answers: Path | None = None
    promise: Promise = field(default_factory=Promise)
    multilabel: bool = False

    def splits(self) -> data.Splits:
        """
        Read and split the rows.

        Raises:
            DataError: A file is missing, differs from its sum, or holds a row that breaks the corpus' rules.
        """
        return data.load(self.data_folder, self.corpus_folder, self.answers)

    def target(self) -> "Target":
        """The name and the promise of the bundle."""
        # This module needs PyTorch, which a worker does not have; `verify` and `inspect` must do without.
        from model_export.make.assemble import Target

        return Target(promise=self.promise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A bundle that passed every check: the folder's, the golden texts, and batch invariance on them."""

    digest: str
    labels: tuple[str, ...]
    golden_texts: int
    invariance: Invariance
    model_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A bundle that was written, its measurements, and the seconds that it took."""

    bundle: Bundle
    metrics: "BundleMetrics"
    seconds: float

    def as_text(self) -> str:
        """The figures as lines of text."""
        manifest = self.bundle.manifest
        lines = [
            f"{manifest.name} {manifest.version}, digest {self.bundle.digest[:12]}, in {self.bundle.path}",
            f"{len(self.bundle.model) / 1e6:.1f} MB, made in {self.seconds / 60:.1f} minutes, temperature {manifest.temperature}",
            manifest.threshold.sentence(),
            *(found.sentence(label) for label, found in manifest.thresholds.items()),
            *(found.as_text(part) for part, found in self.metrics.evaluations.items()),
        ]
        if self.metrics.gate is not None:
            lines.append(self.metrics.gate.as_text())
        if manifest.multilabel is not None:
            from model_export.make import multilabel

            lines.append(multilabel.as_text(manifest.multilabel))
        return "\n".join(lines)


def train(options: BundleOptions, *, checkpoint: Path | None = None, seed: int | None = None) -> Made:
    """
    Train, prove, calibrate and measure a model, and write its bundle.

    Args:
        options: The bundle.
        checkpoint: Keep the trained network in this file, for `export`.
        seed: The teacher's seed; the student's is the next number. The recipes' own seeds by default.

    Raises:
        DataError: The rows cannot be read.
        BaseModelError: The pretrained encoder is missing or differs from its sum.
        ParityError: A gate refuses the trained network, which is kept on disk.
        CalibrationError: The thresholds cannot reach the precision on the calibration rows.
    """
    from model_export.make import build
    from model_export.train.distil import StudentRecipe
    from model_export.train.tuning import Recipe

    splits = options.splits()
    plan = build.TrainingPlan()
    if seed is not None:
        plan = build.TrainingPlan(teacher=Recipe(seed=seed), student=StudentRecipe(seed=seed + 1))

    def make(folder: Path) -> "Built":
        return build.train_bundle(folder, splits=splits, plan=plan, target=options.target(), checkpoint_path=checkpoint)

    return _make(options, make, splits)


def export(options: BundleOptions, *, checkpoint: Path) -> Made:
    """
    Make a bundle of a network that `train` kept in the file `checkpoint`.

    Raises:
        CheckpointError: The file is not a checkpoint.
        DataError, BaseModelError, ParityError, CalibrationError: As `train`.
    """
    from model_export.make import build

    started = time.monotonic()
    built = build.export_bundle(options.folder, checkpoint_path=checkpoint, splits=options.splits(), target=options.target())
    return _made(built, started)


def refit(options: BundleOptions, *, source: Path, keep_head: bool = False) -> Made:
    """
    Keep the encoder of a bundle, and fit its head and its n-grams anew.

    Args:
        options: The new bundle.
        source: The folder of the old bundle.
        keep_head: Keep the head too, and fit the n-grams alone.

    Raises:
        BundleError: The old bundle is refused.
        HeadError: Its head cannot be replaced.
        DataError, ParityError, CalibrationError: As `train`.
    """
    from model_export.make.refit import refit_bundle, teach_ngrams

    kept, splits = bundle.read(source), options.splits()

    def make(folder: Path) -> "Built":
        again = teach_ngrams if keep_head else refit_bundle
        return again(folder, bundle=kept, splits=splits, target=options.target())

    return _make(options, make, splits)


def calibrate(options: BundleOptions, *, source: Path, version: str | None = None) -> Made:
    """
    Keep network and tokenizer of a bundle; fit the temperature, choose the thresholds and measure anew.

    Args:
        options: The new bundle.
        source: The folder of the old bundle.
        version: The new bundle's version; the old one's with `-calibrated` unless given.

    Raises:
        BundleError, DataError, ParityError, CalibrationError: As `refit`.
    """
    from model_export.make.recalibrate import recalibrate_bundle

    started = time.monotonic()
    kept, splits = bundle.read(source), options.splits()
    made = recalibrate_bundle(options.folder, bundle=kept, splits=splits, asked=options.promise, version=version)
    return _made(made, started)


def _make(options: BundleOptions, make: Callable[[Path], "Built"], splits: data.Splits) -> Made:
    """Make a bundle; with `multilabel` it reaches its folder only after the second head has passed its gates too."""
    started = time.monotonic()
    if not options.multilabel:
        return _made(make(options.folder), started)
    from model_export.make.multilabel import add_to

    with tempfile.TemporaryDirectory(prefix="tagstream-single-") as name:
        built = make(Path(name))
        written = add_to(options.folder, bundle=built.bundle, splits=splits)
    return _made(replace(built, bundle=written), started)


def _made(built: "Built", started: float) -> Made:
    return Made(bundle=built.bundle, metrics=built.metrics, seconds=time.monotonic() - started)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A model on disk to measure beside the bundle; without a name it is called by its manifest or its file."""

    path: Path
    name: str | None = None


def evaluate(
    folder: Path,
    *,
    data_folder: Path | None,
    baselines: bool = False,
    against: Sequence[Named] = (),
    checkpoints: Sequence[Named] = (),
    suite: Path | None = None,
    say: Callable[[str], None],
) -> "Measured":
    """
    Measure a bundle on the gold parts (`holdout` if there is a data folder, and `corpus_test`), the behaviour suites and the clock.

    The gate for foreign texts is also measured on the calibration rows, which chose it, and on rows not about machine learning.

    Args:
        folder: The bundle.
        data_folder: The folder with `dataset.csv` and `holdout.csv`.
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
    # scikit-learn and PyTorch come with the extra `export`.
    from model_export.compare import contestants, measuring
    from model_export.measure import gate

    read = bundle.read(folder)
    say("reading and splitting the rows")
    splits = data.load(data_folder)
    models = [contestants.of_bundle(read, splits.labels)]
    models += [contestants.of_bundle(bundle.read(other.path), splits.labels, other.name) for other in against]
    for path, name in ((given.path, given.name or given.path.stem) for given in checkpoints):
        models.append(contestants.of_checkpoint(name, path, bundle=read, calibration=splits.calibration))
    contestants.distinct(models)
    if baselines:
        say(f"training the simpler rivals on {len(splits.train)} rows")
        models += contestants.of_rivals(splits.train, read)
    return measuring.measure(
        contestants.distinct(models),
        {"holdout": splits.holdout, "corpus_test": splits.corpus_test},
        calibration=splits.calibration,
        foreign=gate.foreign(splits),
        digest=read.digest,
        target_precision=read.manifest.threshold.target_precision,
        trade=read.manifest.trade,
        suite=suite,
        say=say,
    )


def verify(folder: Path, *, seconds: float = VERIFY_SECONDS) -> Verified:
    """
    Check a bundle as the worker does, and that its predictions do not depend on their batch.

    A network may compute for hours, and the runtime cannot be interrupted: it runs in a process of its own, which is ended.

    Raises:
        BundleError: The folder, the network or the golden texts are refused, or the network did not end in time.
        ParityError: A prediction depends on its neighbours.
    """
    spawned = multiprocessing.get_context("spawn")
    receiver, sender = spawned.Pipe(duplex=False)
    child = spawned.Process(target=_verify_apart, args=(folder, sender), daemon=True)
    child.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise _refused(folder, f"its network has not decided on the golden texts within {seconds:g} s")
        found: Verified | Exception = receiver.recv()
    except EOFError:
        child.join()
        raise _refused(folder, f"the process that runs its network ended with code {child.exitcode}") from None
    finally:
        child.kill()
        child.join()
        receiver.close()
    if isinstance(found, Exception):
        raise found
    return found


def _verify_apart(folder: Path, sender: Connection) -> None:
    try:
        sender.send(_verified(folder))
    except (bundle.BundleError, ParityError) as error:
        sender.send(error)


def _verified(folder: Path) -> Verified:
    verified = bundle.read(folder)
    texts = [text.text for text in verified.manifest.golden]
    return Verified(
        digest=verified.digest,
        labels=verified.manifest.labels,
        golden_texts=len(texts),
        invariance=check_invariance(OnnxClassifier(verified), texts, seed=VERIFY_SEED),
        model_bytes=len(verified.model),
    )


def _refused(folder: Path, why: str) -> bundle.BundleError:
    return bundle.BundleError(f"bundle {folder} is refused: {why}. Next: use another bundle, or export this one again.")


def inspect(folder: Path) -> Bundle:
    """
    Read a bundle; its manifest describes it.

    Raises:
        BundleError: The folder is refused.
    """
    return bundle.read(folder)
