"""The recipe of a bundle, as one record, and the recipes that `tagstream model` knows. `steps.make` carries one out."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import NAME, VERSION, Prior
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.calibrate import prior as priors
from tagstream.model_export.calibrate.earned import Evidence
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.data.real import REAL
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import reference
from tagstream.model_export.make.earn import Earning
from tagstream.model_export.make.imported import Imported
from tagstream.model_export.make.multilabel import LabelHeadRecipe
from tagstream.model_export.make.network import Checkpoint, NetworkSource, NewHead, NewNgrams, SameNetwork
from tagstream.model_export.make.quick import Quick, QuickRecipe
from tagstream.model_export.make.shares import KnownStream
from tagstream.model_export.make.strangers import Strangers
from tagstream.model_export.make.training import Training
from tagstream.model_export.onnx import parity
from tagstream.model_export.onnx.restore import layers_in
from tagstream.model_export.train.advisor import AdviceRecipe
from tagstream.model_export.train.distil import StudentRecipe
from tagstream.model_export.train.head import HeadRecipe
from tagstream.model_export.train.tuning import TeacherRecipe
from tagstream.monitoring.vocabulary import few

OWN_VERSION = "1"
CALIBRATED, ADAPTED = "-calibrated", "-adapted"
# The part of `training` in a manifest that says that sources were not levelled; it is left out where they were.
LEVELS_SOURCES = "level_sources"
# Every start of a worker reads them, so they are few where labels are many.
MOST_GOLDEN = 16
# A few hundred rows are read more often than the recipes say: a network that took so few steps has hardly moved.
LEAST_STEPS, MOST_EPOCHS = 400, 20


# Two passes move a network that has learned before; half of the labelled draws go to what is new to it.
FURTHER = StudentRecipe(
    seed=20261130,
    learning_rate=1.5e-4,
    epochs=2,
    source_shares={"madewithml": 0.2, "corpus": 0.13, "plain": 0.13, "lexicon": 0.03, REAL: 0.51},
    unlabelled_share=0.2,
    vector_weight=4.0,
    new_sources=(REAL,),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRecipe:
    """
    The recipe of a bundle.

    Attributes:
        rows: Rows to learn from, to calibrate on and to measure on.
        network: Where the network comes from. With `Earning` everything but the thresholds comes from a bundle, and only `rows` is
            looked at of what follows.
        promise: The promise that the thresholds keep.
        prior: How often labels are expected; None: every label equally often.
        name: The bundle's name.
        version: Its version.
        golden: Texts of which every machine that loads the bundle must see nearly the same probabilities.
        known_words: The words of the texts that the network learned from; those of the training rows unless given.
        level_sources: Every source of calibration rows counts the same for the temperature, however many rows it has.
        windows: The most windows in which a long text is read.
        certified_only: Let people see everything that the calibration rows do not certify.
        second_head: Fit a second head, which finds further labels of a text; None: the bundle has the one that its network has.
        strangers: Fit a gate that knows texts of none of the labels; None: the bundle has the one that its network has.
        limits: The limits of the gates.
    """

    rows: Splits
    network: NetworkSource | Earning
    promise: Promise = field(default_factory=Promise)
    prior: Prior | None = None
    name: str = NAME
    version: str = VERSION
    golden: tuple[str, ...] = reference.GOLDEN_TEXTS
    known_words: tuple[str, ...] | None = None
    # The authored rows are harder and many more: unweighted, a temperature for them would be too modest for plain ones.
    level_sources: bool = True
    windows: int = 1
    certified_only: bool = False
    second_head: LabelHeadRecipe | None = None
    strangers: Strangers | None = None
    limits: parity.GateLimits = field(default_factory=parity.GateLimits)


def shipped(
    rows: Splits,
    promise: Promise,
    *,
    seed: int | None = None,
    checkpoint: Path | None = None,
    multilabel: bool = False,
    strangers: Strangers | None = None,
) -> BundleRecipe:
    """
    The shipped model: a teacher is tuned, and a student of three layers imitates it.

    Args:
        rows: The rows.
        promise: The promise that the thresholds keep.
        seed: The teacher's seed; the student's is the next number. The recipes' own seeds by default.
        checkpoint: Keep the trained network in this file, for `exported`.
        multilabel: Add a second head, which gives a decision its `tags`.
        strangers: The texts that the gate learns from.
    """
    training = Training(checkpoint=checkpoint)
    if seed is not None:
        training = replace(training, teacher=TeacherRecipe(seed=seed), student=StudentRecipe(seed=seed + 1))
    return BundleRecipe(
        rows=rows,
        network=training,
        promise=promise,
        second_head=LabelHeadRecipe() if multilabel else None,
        strangers=strangers,
    )


def exported(checkpoint: Path, rows: Splits, promise: Promise, strangers: Strangers | None = None) -> BundleRecipe:
    """
    The shipped model of a network that was trained before and kept in the file `checkpoint`.

    Args:
        checkpoint: The file of a trained network.
        rows: The rows, in their parts.
        promise: The promise that thresholds are chosen by.
        strangers: The texts that the gate learns from.
    """
    return BundleRecipe(rows=rows, network=Checkpoint(path=checkpoint), promise=promise, strangers=strangers)


def own(
    rows: Splits,
    promise: Promise,
    *,
    name: str,
    quick: bool,
    multilingual: bool = False,
    multilabel: bool = False,
    strangers: Strangers | None = None,
) -> BundleRecipe:
    """
    A model of a user's rows and labels: nothing of it depends on tagstream's own labels or on its corpus.

    Args:
        rows: The rows.
        promise: The promise that the thresholds keep.
        name: The bundle's name.
        quick: Keep the base encoder as it is, and fit a head alone; else it is tuned as the shipped model is.
        multilingual: Its encoder is the one that reads many languages; with `quick` alone.
        multilabel: Add a second head, which learns from the training rows and has its thresholds from the calibration rows.
        strangers: The texts of none of the labels that the gate learns from.
    """
    shares = {source: float(count) for source, count in Counter(row.source for row in rows.train if not row.answered).items()}
    return BundleRecipe(
        rows=rows,
        network=Quick(recipe=QuickRecipe(), multilingual=multilingual) if quick else training_of(rows),
        promise=promise,
        name=name,
        version=OWN_VERSION,
        golden=golden_texts((*rows.train, *rows.calibration)),
        level_sources=False,
        second_head=LabelHeadRecipe(source_shares=shares, class_levelling=0.0) if multilabel else None,
        strangers=strangers,
    )


def imported(
    source: Imported, rows: Splits, promise: Promise, *, labels: Sequence[str], name: str, windows: int = 1
) -> BundleRecipe:
    """
    A classifier that somebody else tuned, with thresholds of rows that it has not seen.

    It keeps the labels that it gives: they are expected as often as the calibration rows have them, and no logit is moved.

    Args:
        source: Where it is.
        rows: Rows to calibrate on and to measure on. Those of `train` are the ones that it has learned from, as far as they are known: their
            words are familiar.
        promise: The promise that the thresholds keep.
        labels: Its labels in the order of its logits.
        name: The bundle's name.
        windows: The most windows in which a long text is read.
    """
    seen = priors.shares_of(np.array([labels.index(row.tag) for row in rows.calibration], dtype=np.int64), len(labels))
    return BundleRecipe(
        rows=rows,
        network=source,
        promise=promise,
        prior=priors.make(labels, learned=seen, expected=seen, source="rows", record={}),
        name=name,
        version=OWN_VERSION,
        golden=golden_texts(rows.calibration),
        level_sources=False,
        windows=windows,
        certified_only=True,
    )


def refitted(
    bundle: Bundle,
    rows: Splits,
    promise: Promise,
    *,
    keep_head: bool = False,
    multilabel: bool = False,
    strangers: Strangers | None = None,
) -> BundleRecipe:
    """
    The shipped model with the encoder of a bundle.

    Args:
        bundle: The bundle.
        rows: The rows, of its labels.
        promise: The promise that the thresholds keep.
        keep_head: Keep its head too, and fit the n-grams alone.
        multilabel: Add a second head.
        strangers: The texts that a new gate learns from; without them the bundle's stays.
    """
    return BundleRecipe(
        rows=rows,
        network=NewNgrams(bundle=bundle) if keep_head else NewHead(bundle=bundle, head=HeadRecipe()),
        promise=promise,
        second_head=LabelHeadRecipe() if multilabel else None,
        strangers=strangers,
    )


def tuned_further(
    bundle: Bundle,
    rows: Splits,
    promise: Promise,
    *,
    checkpoint: Path | None = None,
    multilabel: bool = False,
    strangers: Strangers | None = None,
) -> BundleRecipe:
    """
    The shipped model from the network of a bundle: it learns real titles, and its own vectors hold it to what it knows.

    Args:
        bundle: The bundle.
        rows: The rows, of its labels.
        promise: The promise that the thresholds keep.
        checkpoint: Keep the tuned network in this file, for `exported`.
        multilabel: Add a second head.
        strangers: As of `BundleRecipe`.

    Raises:
        CalibrationError: The rows have labels that the bundle lacks.
    """
    refuse_other_labels(rows.labels, bundle.manifest.labels)
    training = Training(
        start=bundle,
        advice=AdviceRecipe(source_shares={REAL: 1.0}),
        student=replace(FURTHER, layers=tuple(range(layers_in(bundle.model)))),
        checkpoint=checkpoint,
    )
    return BundleRecipe(
        rows=rows,
        network=training,
        promise=promise,
        second_head=LabelHeadRecipe() if multilabel else None,
        strangers=strangers,
    )


def calibrated(
    bundle: Bundle,
    rows: Splits,
    promise: Promise,
    *,
    version: str | None = None,
    prior: Prior | None = None,
    windows: int | None = None,
    strangers: Strangers | None = None,
) -> BundleRecipe:
    """
    A bundle with its network, and temperature, thresholds, reference and figures of the rows of today.

    Args:
        bundle: The bundle. Its second head is kept too, with new thresholds.
        rows: The rows.
        promise: The promise that the thresholds keep.
        version: The new bundle's version; the old one's with `CALIBRATED` unless given.
        prior: How often labels are expected; as the bundle expects them unless given.
        windows: The most windows in which a long text is read; as the bundle reads it unless given.
        strangers: As of `refitted`.

    Raises:
        CalibrationError: The rows have labels that the bundle lacks.
    """
    old = bundle.manifest
    refuse_other_labels(rows.labels, old.labels)
    return BundleRecipe(
        rows=rows,
        network=SameNetwork(bundle=bundle),
        promise=promise,
        prior=prior or old.prior,
        name=old.name,
        version=version or old.version.removesuffix(CALIBRATED) + CALIBRATED,
        golden=tuple(text.text for text in old.golden),
        # Rows that were only given to calibrate do not say which words the network has learned from.
        known_words=None if rows.train else tuple(old.reference.get("known_words", ())),
        # Bundles of a user's rows from before this was recorded are known by the quick way alone.
        level_sources=bool(old.training.get(LEVELS_SOURCES, "quick" not in old.training)),
        windows=windows or old.windows,
        strangers=strangers,
    )


def adapted(bundle: Bundle, rows: Splits, promise: Promise, stream: KnownStream, *, windows: int | None = None) -> BundleRecipe:
    """
    As `calibrated`, for a stream whose labels come as often as `stream` says: its certificate is earned on rows weighted to these shares.

    Args:
        bundle: The bundle whose network stays.
        rows: The rows, in their parts.
        promise: The promise that thresholds are chosen by.
        stream: How often each label comes.
        windows: As `calibrated`.

    Raises:
        CalibrationError: As `calibrated` and `KnownStream.prior`.
        RowsError: As `KnownStream.prior`.
    """
    refuse_other_labels(rows.labels, bundle.manifest.labels)
    prior = stream.prior(bundle, rows)
    version = bundle.manifest.version.removesuffix(ADAPTED) + ADAPTED
    return calibrated(bundle, rows, promise, version=version, prior=prior, windows=windows)


def earned(bundle: Bundle, rows: Splits, evidence: Evidence, precision: float) -> BundleRecipe:
    """
    A bundle with the thresholds that people's answers prove.

    Args:
        bundle: The bundle.
        rows: The rows on which the new thresholds are measured too. The old figures stay where they have other labels.
        evidence: The answers about decisions of its network.
        precision: The share right that the thresholds shall reach.
    """
    return BundleRecipe(rows=rows, network=Earning(bundle=bundle, evidence=evidence, precision=precision))


def unseen(rows: Splits) -> Splits:
    """Rows of a file that the network has not learned from: those that a training would learn from calibrate too."""
    return replace(rows, train=(), calibration=(*rows.train, *rows.calibration))


def refuse_other_labels(found: Sequence[str], labels: Sequence[str]) -> None:
    """
    Refuse to calibrate on rows with labels that a bundle lacks.

    Args:
        found: The labels of the rows.
        labels: The labels of the bundle.

    Raises:
        CalibrationError: The rows have others.
    """
    unknown = [label for label in found if label not in labels]
    if unknown:
        msg = (
            f"the bundle cannot be calibrated on these rows: they have labels that it lacks ({few(unknown)}). Its labels are "
            f"{few(labels)}. Next: give labelled rows that it has not seen, `tagstream model adapt FOLDER OUT --from-labels FILE "
            "--data FILE`, or earn the thresholds from people's answers, `tagstream model calibrate FOLDER --out OUT --reviewed topic`."
        )
        raise CalibrationError(msg)


def training_of(rows: Splits) -> Training:
    """The project's training for other rows: every row counts the same, whatever its source, and few rows are read more often."""
    shares = {source: float(count) for source, count in sorted(Counter(row.source for row in rows.train).items())}
    teacher, student = TeacherRecipe(), StudentRecipe()
    known = len(rows.train)
    size = min(teacher.batch_rows, known)

    def epochs(asked: int, texts: int) -> int:
        return max(asked, min(MOST_EPOCHS, math.ceil(LEAST_STEPS * size / texts)))

    return Training(
        advice=None,
        teacher=replace(
            teacher, source_shares=shares, class_levelling=0.0, batch_rows=size, epochs=epochs(teacher.epochs, known)
        ),
        student=replace(
            student,
            source_shares=shares,
            class_levelling=0.0,
            batch_rows=size,
            epochs=epochs(student.epochs, known + len(rows.unlabelled)),
        ),
    )


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
