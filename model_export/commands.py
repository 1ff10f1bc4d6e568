"""What `tagstream model` does, without a command line: typed arguments in, records out, failures as exceptions."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_export import bundle, data, suites
from model_export.bundle import Bundle
from model_export.invariance import Invariance, check_invariance
from model_export.prediction import LoadClassifier

if TYPE_CHECKING:
    from model_export.assemble import Built
    from model_export.evaluate import Evaluation

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
    evaluations: dict[str, "Evaluation"]
    seconds: float

    def render(self) -> str:
        """The figures as text."""
        manifest = self.bundle.manifest
        threshold = manifest.threshold
        lines = [
            f"{manifest.name} {manifest.version}, digest {self.bundle.digest[:12]}, in {self.bundle.path}",
            f"{len(self.bundle.model) / 1e6:.1f} MB, made in {self.seconds / 60:.1f} minutes",
            f"temperature {manifest.temperature}, threshold {threshold.confidence}: {threshold.coverage:.1%} of calibration rows",
            f"precision there {threshold.precision:.4f}, at least {threshold.precision_lower_bound:.4f} at {threshold.bound_level:.0%}",
        ]
        lines += [found.render(part) for part, found in self.evaluations.items()]
        if manifest.multilabel is not None:
            from model_export.multilabel import render

            lines.append(render(manifest.multilabel))
        return "\n".join(lines)


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
    multilabel: bool = False,
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
    """
    # torch and transformers come with the extra `export`; verify and inspect must do without.
    from model_export import assemble, build
    from model_export.distil import StudentRecipe

    splits = data.load(data_folder, corpus_folder)

    def make(where: Path) -> "Built":
        return build.train_bundle(
            where,
            splits=splits,
            load=load,
            plan=build.Plan(student=StudentRecipe() if student else None, threads=threads),
            target=assemble.Target(name=name, version=version, precision=target_precision),
            checkpoint_path=checkpoint,
        )

    return _made(folder, make, splits=splits, load=load, multilabel=multilabel)


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
    return Made(bundle=built.bundle, evaluations=built.evaluations, seconds=time.monotonic() - started)


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
    multilabel: bool = False,
) -> Made:
    """Keep the encoder of the bundle in `source`, fit its head anew, and write the result to `folder`; arguments as in `train`."""
    from model_export import assemble
    from model_export.refit import refit_bundle

    kept, splits = bundle.read(source), data.load(data_folder, corpus_folder)

    def make(where: Path) -> "Built":
        target = assemble.Target(name=name, version=version, precision=target_precision)
        return refit_bundle(where, bundle=kept, splits=splits, load=load, target=target)

    return _made(folder, make, splits=splits, load=load, multilabel=multilabel)


def _made(
    folder: Path, make: Callable[[Path], "Built"], *, splits: data.Splits, load: LoadClassifier, multilabel: bool
) -> Made:
    """Make a bundle in `folder`; with the option `multilabel` only once that has passed its gates too."""
    started = time.monotonic()
    if not multilabel:
        built = make(folder)
        return Made(bundle=built.bundle, evaluations=built.evaluations, seconds=time.monotonic() - started)
    from model_export.multilabel import add_to

    with tempfile.TemporaryDirectory(prefix="tagstream-single-") as name:
        built = make(Path(name))
        written = add_to(folder, bundle=built.bundle, splits=splits, load=load)
    return Made(bundle=written, evaluations=built.evaluations, seconds=time.monotonic() - started)


def evaluate_bundle(
    folder: Path, *, load: LoadClassifier, data_folder: Path | None, corpus_folder: Path = data.CORPUS
) -> dict[str, "Evaluation"]:
    """
    Measure a bundle on the gold parts: `holdout` if there is a data folder, and `corpus_test`.

    The classifier is the one that production uses, so that these are the figures of the stream.
    """
    # scikit-learn comes with the extra too.
    from model_export.evaluate import evaluate

    verified = bundle.read(folder)
    classifier = load(verified)
    splits = data.load(data_folder, corpus_folder)
    parts = {"holdout": splits.holdout, "corpus_test": splits.corpus_test}
    return {
        part: evaluate(
            classifier.classify([row.text for row in rows]),
            [row.tag for row in rows],
            labels=classifier.labels,
            threshold=verified.manifest.threshold.confidence,
        )
        for part, rows in parts.items()
        if rows
    }


def compare(*, data_folder: Path | None, corpus_folder: Path = data.CORPUS, threshold: float) -> dict[str, "Evaluation"]:
    """
    Measure the simpler rivals on the parts that `evaluate_bundle` measures on; they are trained first, in a minute or two.

    Args:
        data_folder: The folder with `dataset.csv` and `holdout.csv`.
        corpus_folder: The folder with the authored corpus.
        threshold: The bundle's, for a rival's coverage; a rival's confidence is not calibrated.

    Returns:
        Evaluations by rival and part, as in `"tfidf, holdout"`.
    """
    from model_export import baselines
    from model_export.evaluate import evaluate

    splits = data.load(data_folder, corpus_folder)
    parts = {"holdout": splits.holdout, "corpus_test": splits.corpus_test}
    return {
        f"{name}, {part}": evaluate(
            predict([row.text for row in rows]), [row.tag for row in rows], labels=data.LABELS, threshold=threshold
        )
        for name, predict in baselines.rivals(splits.train).items()
        for part, rows in parts.items()
        if rows
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
