"""What `tagstream model` does, without a command line: typed arguments in, records out, failures as exceptions."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_export.bundle import bundle
from model_export.bundle.bundle import Bundle
from model_export.bundle.invariance import Invariance, check_invariance
from model_export.bundle.prediction import LoadClassifier
from model_export.data import splits as data

if TYPE_CHECKING:
    from model_export.compare.measured import Measured
    from model_export.make.assemble import Built
    from model_export.measure.bundle_metrics import BundleMetrics

VERIFY_SEED = 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A bundle that passed every check: the folder's, the golden texts', and batch invariance on them."""

    digest: str
    labels: tuple[str, ...]
    golden_texts: int
    invariance: Invariance
    model_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A bundle that was written, what was measured on it, and how long it took."""

    bundle: Bundle
    metrics: "BundleMetrics"
    seconds: float

    def render(self) -> str:
        """The figures as text."""
        manifest = self.bundle.manifest
        threshold = manifest.threshold
        lines = [
            f"{manifest.name} {manifest.version}, digest {self.bundle.digest[:12]}, in {self.bundle.path}",
            f"{len(self.bundle.model) / 1e6:.1f} MB, made in {self.seconds / 60:.1f} minutes",
            f"temperature {manifest.temperature}",
            f"precision {threshold.precision:.4f} on {threshold.coverage:.1%} of calibration rows from {threshold.confidence} on",
            *(found.sentence(label) for label, found in manifest.thresholds.items()),
            *(found.render(part) for part, found in self.metrics.evaluations.items()),
        ]
        if self.metrics.gate is not None:
            lines.append(self.metrics.gate.render())
        if manifest.multilabel is not None:
            from model_export.make.multilabel import render

            lines.append(render(manifest.multilabel))
        return "\n".join(lines)


def train(  # noqa: PLR0913 - the options of one command
    folder: Path,
    *,
    load: LoadClassifier,
    data_folder: Path | None,
    corpus_folder: Path = data.CORPUS,
    name: str = bundle.NAME,
    version: str = bundle.VERSION,
    target_precision: float = bundle.PRECISION,
    student: bool = True,
    threads: int = 2,
    checkpoint: Path | None = None,
    multilabel: bool = False,
    seed: int | None = None,
) -> Made:
    """
    Train, prove, calibrate and measure a model, and write its bundle to `folder`.

    Args:
        folder: Where the bundle goes; nothing is written there unless every gate is passed.
        load: Makes the classifier that production uses.
        data_folder: The folder with `dataset.csv` and `holdout.csv`; without it the authored corpus alone is used.
        corpus_folder: The folder with the authored corpus.
        name: The bundle's name.
        version: The bundle's version.
        target_precision: The share right, on calibration rows, that the threshold promises.
        student: Distil the tuned network into a shallow one; else the tuned network itself is the model.
        threads: Cores to train on.
        checkpoint: Keep the trained network in this file, for `export`.
        multilabel: Add the second head, that says what else a text is about.
        seed: Draw otherwise: the teacher by this seed, the student by the next. Those of the recipes unless given.
    """
    # torch and transformers come with the extra `export`; verify and inspect must do without.
    from model_export.make import assemble, build
    from model_export.train.distil import StudentRecipe
    from model_export.train.tuning import Recipe

    splits = data.load(data_folder, corpus_folder)
    plan = build.Plan(
        teacher=Recipe() if seed is None else Recipe(seed=seed),
        student=None if not student else StudentRecipe() if seed is None else StudentRecipe(seed=seed + 1),
        threads=threads,
    )

    def make(where: Path) -> "Built":
        return build.train_bundle(
            where,
            splits=splits,
            load=load,
            plan=plan,
            target=assemble.Target(name=name, version=version, precision=target_precision),
            checkpoint_path=checkpoint,
        )

    return _make(folder, make, splits=splits, load=load, multilabel=multilabel)


def export(  # noqa: PLR0913 - the options of one command
    folder: Path,
    *,
    checkpoint: Path,
    load: LoadClassifier,
    data_folder: Path | None,
    corpus_folder: Path = data.CORPUS,
    name: str = bundle.NAME,
    version: str = bundle.VERSION,
    target_precision: float = bundle.PRECISION,
) -> Made:
    """Make a bundle of a checkpoint that `train` kept; arguments as there."""
    from model_export.make import assemble, build

    started = time.monotonic()
    built = build.export_bundle(
        folder,
        checkpoint_path=checkpoint,
        splits=data.load(data_folder, corpus_folder),
        load=load,
        target=assemble.Target(name=name, version=version, precision=target_precision),
    )
    return _made(built, started)


def refit(  # noqa: PLR0913 - the options of one command
    folder: Path,
    *,
    source: Path,
    load: LoadClassifier,
    data_folder: Path | None,
    corpus_folder: Path = data.CORPUS,
    name: str = bundle.NAME,
    version: str = bundle.VERSION,
    target_precision: float = bundle.PRECISION,
    multilabel: bool = False,
    keep_head: bool = False,
) -> Made:
    """
    Keep the encoder of the bundle in `source`, fit its head and its n-grams anew, and write the result to `folder`.

    `keep_head`: the n-grams alone. The other arguments as in `train`.
    """
    from model_export.make import assemble
    from model_export.make.refit import refit_bundle, teach_ngrams

    kept, splits = bundle.read(source), data.load(data_folder, corpus_folder)

    def make(where: Path) -> "Built":
        target = assemble.Target(name=name, version=version, precision=target_precision)
        again = teach_ngrams if keep_head else refit_bundle
        return again(where, bundle=kept, splits=splits, load=load, target=target)

    return _make(folder, make, splits=splits, load=load, multilabel=multilabel)


def calibrate(
    folder: Path,
    *,
    source: Path,
    load: LoadClassifier,
    data_folder: Path | None,
    corpus_folder: Path = data.CORPUS,
    version: str | None = None,
    target_precision: float = bundle.PRECISION,
) -> Made:
    """
    Keep network and tokenizer of the bundle in `source`; do temperature, thresholds, reference and metrics anew.

    Args:
        folder: Where the new bundle goes.
        source: The folder of the old one.
        load: Makes the classifier that production uses.
        data_folder: The folder with `dataset.csv` and `holdout.csv`.
        corpus_folder: The folder with the authored corpus.
        version: The new bundle's version; the old one's with `-calibrated` unless given.
        target_precision: The share right that the thresholds promise.
    """
    from model_export.make.recalibrate import recalibrate_bundle

    started = time.monotonic()
    built = recalibrate_bundle(
        folder,
        bundle=bundle.read(source),
        splits=data.load(data_folder, corpus_folder),
        load=load,
        precision=target_precision,
        version=version,
    )
    return _made(built, started)


def _make(
    folder: Path, make: Callable[[Path], "Built"], *, splits: data.Splits, load: LoadClassifier, multilabel: bool
) -> Made:
    """Make a bundle in `folder`; with the option `multilabel` only once that has passed its gates too."""
    started = time.monotonic()
    if not multilabel:
        return _made(make(folder), started)
    from model_export.make.multilabel import add_to

    with tempfile.TemporaryDirectory(prefix="tagstream-single-") as name:
        built = make(Path(name))
        written = add_to(folder, bundle=built.bundle, splits=splits, load=load)
    return _made(replace(built, bundle=written), started)


def _made(built: "Built", started: float) -> Made:
    return Made(bundle=built.bundle, metrics=built.metrics, seconds=time.monotonic() - started)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A model on disk that is to be put beside the bundle; a bundle without a name is called by its manifest's."""

    path: Path
    name: str | None = None


def evaluate(  # noqa: PLR0913 - the options of one command
    folder: Path,
    *,
    load: LoadClassifier,
    data_folder: Path | None,
    corpus_folder: Path = data.CORPUS,
    baselines: bool = False,
    against: Sequence[Named] = (),
    checkpoints: Sequence[Named] = (),
    say: Callable[[str], None],
) -> "Measured":
    """
    Measure a bundle on the gold parts (`holdout` if there is a data folder, and `corpus_test`), the behaviour suites and the clock.

    The classifier is the one that production uses, so that these are the figures of the stream. Its gate is measured on the calibration
    rows too, which chose it, and on the rows that are not about machine learning.

    Args:
        folder: The bundle.
        load: Makes the classifier that production uses.
        data_folder: The folder with `dataset.csv` and `holdout.csv`.
        corpus_folder: The folder with the authored corpus.
        baselines: Train the simpler rivals, in a minute or two, and measure them too.
        against: Other bundles to measure on the same rows.
        checkpoints: Networks in full precision, as `train` keeps them, to measure on the same rows.
        say: Told what is being done.

    Raises:
        BundleError: A bundle is refused, or has other labels than the rows.
        CheckpointError: A file is no checkpoint, or none that the bundle's tokenizer can read for.
        DataError: The data or a suite cannot be read, or two models have the same name.
    """
    # scikit-learn and torch come with the extra.
    from model_export.compare import contestants, measured
    from model_export.measure import gate

    read = bundle.read(folder)
    splits = data.load(data_folder, corpus_folder)
    models = [contestants.of_bundle(read, load)]
    models += [contestants.of_bundle(bundle.read(other.path), load, other.name) for other in against]
    for given in checkpoints:
        name = given.name or given.path.stem
        models.append(contestants.of_checkpoint(name, given.path, bundle=read, calibration=splits.calibration))
    contestants.distinct(models)
    if baselines:
        say(f"training the simpler rivals on {len(splits.train)} rows")
        models += contestants.of_rivals(splits.train, read)
    return measured.measure(
        contestants.distinct(models),
        {"holdout": splits.holdout, "corpus_test": splits.corpus_test},
        calibration=splits.calibration,
        foreign=gate.foreign(splits),
        digest=read.digest,
        target_precision=read.manifest.threshold.target_precision,
        say=say,
    )


def verify(folder: Path, *, load: LoadClassifier) -> Verified:
    """
    Check a bundle as the worker would, and that its predictions do not depend on their batch.

    Raises:
        BundleError: The folder, the network or the golden texts are refused.
        ParityError: A prediction depends on its neighbours.
    """
    verified = bundle.read(folder)
    classifier = load(verified)
    texts = [text.text for text in verified.manifest.golden]
    return Verified(
        digest=verified.digest,
        labels=verified.manifest.labels,
        golden_texts=len(texts),
        invariance=check_invariance(classifier, texts, seed=VERIFY_SEED),
        model_bytes=len(verified.model),
    )


def inspect(folder: Path) -> Bundle:
    """
    Read a bundle and return it: its manifest says everything else.

    Raises:
        BundleError: The folder is refused.
    """
    return bundle.read(folder)
