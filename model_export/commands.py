"""What `tagstream model` does, without a command line: typed arguments in, records out, failures as exceptions."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_export import bundle, data, suites
from model_export.bundle import Bundle
from model_export.invariance import Invariance, check_invariance
from model_export.prediction import LoadClassifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_export.assemble import Built
    from model_export.evaluate import Evaluation
    from model_export.measure import Measured

VERIFY_SEED = 23
# Measured, never chosen by.
GOLD = ("holdout", "corpus_test")


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
    measured: "Measured"
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
            *(found.render(part) for part, found in self.measured.evaluations.items()),
        ]
        return "\n".join(lines if self.measured.gate is None else [*lines, self.measured.gate.render()])


def train(  # noqa: PLR0913 - the options of one command
    folder: Path,
    *,
    load: LoadClassifier,
    data_folder: Path | None,
    corpus_folder: Path = data.CORPUS,
    name: str = "tagstream-minilm",
    version: str = "2026.11.1",
    target_precision: float = 0.98,
    student: bool = True,
    threads: int = 2,
    checkpoint: Path | None = None,
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
    """
    # torch and transformers come with the extra `export`; verify and inspect must do without.
    from model_export import assemble, build
    from model_export.distil import StudentRecipe

    started = time.monotonic()
    built = build.train_bundle(
        folder,
        splits=data.load(data_folder, corpus_folder),
        load=load,
        plan=build.Plan(student=StudentRecipe() if student else None, threads=threads),
        target=assemble.Target(name=name, version=version, precision=target_precision),
        checkpoint_path=checkpoint,
    )
    return _made(built, started)


def export(  # noqa: PLR0913 - the options of one command
    folder: Path,
    *,
    checkpoint: Path,
    load: LoadClassifier,
    data_folder: Path | None,
    corpus_folder: Path = data.CORPUS,
    name: str = "tagstream-minilm",
    version: str = "2026.11.1",
    target_precision: float = 0.98,
) -> Made:
    """Make a bundle of a checkpoint that `train` kept; arguments as there."""
    from model_export import assemble, build

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
    name: str = "tagstream-minilm",
    version: str = "2026.11.2",
    target_precision: float = 0.98,
) -> Made:
    """Keep the encoder of the bundle in `source`, fit its head anew, and write the result to `folder`; arguments as in `train`."""
    from model_export import assemble
    from model_export.refit import refit_bundle

    started = time.monotonic()
    built = refit_bundle(
        folder,
        bundle=bundle.read(source),
        splits=data.load(data_folder, corpus_folder),
        load=load,
        target=assemble.Target(name=name, version=version, precision=target_precision),
    )
    return _made(built, started)


def calibrate(
    folder: Path,
    *,
    source: Path,
    load: LoadClassifier,
    data_folder: Path | None,
    corpus_folder: Path = data.CORPUS,
    version: str | None = None,
    target_precision: float = 0.98,
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
    from model_export.recalibrate import recalibrate_bundle

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


def _made(built: "Built", started: float) -> Made:
    return Made(bundle=built.bundle, measured=built.measured, seconds=time.monotonic() - started)


def evaluate_bundle(
    folder: Path, *, load: LoadClassifier, data_folder: Path | None, corpus_folder: Path = data.CORPUS
) -> "Measured":
    """
    Measure a bundle on the gold parts, `holdout` if there is a data folder and `corpus_test`, and its gate on these, on the
    calibration rows, and on the rows that are not about machine learning.

    The classifier is the one that production uses, so that these are the figures of the stream.
    """
    # scikit-learn comes with the extra too.
    from model_export.measure import measure

    verified = bundle.read(folder)
    manifest = verified.manifest
    found = measure(
        load(verified),
        data.load(data_folder, corpus_folder),
        thresholds=manifest.asked_below(),
        ood_energy=manifest.reference.get("ood_energy"),
    )
    # Calibration rows chose the thresholds: they measure nothing but the gate's own choice.
    return replace(found, evaluations={part: one for part, one in found.evaluations.items() if part in GOLD})


def compare(
    *, data_folder: Path | None, corpus_folder: Path = data.CORPUS, thresholds: "Mapping[str, float]"
) -> dict[str, "Evaluation"]:
    """
    Measure the simpler rivals on the parts that `evaluate_bundle` measures on; they are trained first, in a minute or two.

    Args:
        data_folder: The folder with `dataset.csv` and `holdout.csv`.
        corpus_folder: The folder with the authored corpus.
        thresholds: The bundle's, for a rival's coverage; a rival's confidence is not calibrated.

    Returns:
        Evaluations by rival and part, as in `"tfidf, holdout"`.
    """
    from model_export import baselines
    from model_export.evaluate import evaluate

    splits = data.load(data_folder, corpus_folder)
    return {
        f"{name}, {part}": evaluate(
            predict([row.text for row in rows]), [row.tag for row in rows], labels=data.LABELS, thresholds=thresholds
        )
        for name, predict in baselines.rivals(splits.train).items()
        for part in GOLD
        if (rows := getattr(splits, part))
    }


def behaviour(folder: Path, *, load: LoadClassifier) -> tuple[suites.GroupReport, ...]:
    """
    Ask a bundle the behaviour suites that come with the project.

    Raises:
        BundleError: The bundle is refused.
        DataError: A suite cannot be read.
    """
    return suites.run(load(bundle.read(folder)))


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
