"""The recipe of a bundle, as one record, and the recipes that `tagstream model` knows. `steps.make` carries one out."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import NAME, VERSION, Prior
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.calibrate import prior as priors
from tagstream.model_export.calibrate.earned_thresholds import Evidence
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.data.own import none_texts
from tagstream.model_export.data.own.first_answers import BY_LOT, FirstAnswers
from tagstream.model_export.data.own.labels import LabelsInWords
from tagstream.model_export.data.real import REAL
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import reference
from tagstream.model_export.make.earn import Earning
from tagstream.model_export.make.imported_classifier import Imported
from tagstream.model_export.make.multilabel import LabelHeadRecipe
from tagstream.model_export.make.network import Checkpoint, NetworkSource, NewHead, NewNgrams, SameNetwork
from tagstream.model_export.make.quick import Quick, QuickRecipe
from tagstream.model_export.make.shares import KnownStream
from tagstream.model_export.make.strangers import Strangers, of_own
from tagstream.model_export.make.training import Training
from tagstream.model_export.onnx import parity
from tagstream.model_export.onnx.restore import layers_in
from tagstream.model_export.train import base_model
from tagstream.model_export.train.advisor import AdviceRecipe
from tagstream.model_export.train.distil import StudentRecipe, spread
from tagstream.model_export.train.head import HeadRecipe
from tagstream.model_export.train.tuning import TeacherRecipe
from tagstream.monitoring.vocabulary import few

OWN_VERSION = "1"
# Beside the first answers, some of which are slips, a sentence about a label counts as so many of them.
WORDS_COUNT = 3.0
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
# The base encoder's layers have learned nothing yet.
DEEPER = replace(FURTHER, epochs=3)


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
        proving: The sources of calibration rows that certificates, figures and limits rest on; None: all of them. Where no row has one of
            them, nothing is certified or measured, and the confidence alone sends texts to people.
        seen: Texts of the stream, which the drift reference is of; the rows that prove unless given.
        record: Further entries of the manifest's `training`.
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
    proving: frozenset[str] | None = None
    seen: tuple[Row, ...] = ()
    record: Mapping[str, object] = field(default_factory=dict)
    second_head: LabelHeadRecipe | None = None
    strangers: Strangers | None = None
    limits: parity.GateLimits = field(default_factory=parity.GateLimits)

    def proves(self, row: Row) -> bool:
        """Whether certificates may rest on a calibration row."""
        return self.proving is None or row.source in self.proving


def shipped(
    rows: Splits,
    promise: Promise,
    *,
    seed: int | None = None,
    layers: int | None = None,
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
        layers: Of the student, 1 to those of the base encoder; three unless given.
        checkpoint: Keep the trained network in this file, for `exported`.
        multilabel: Add a second head, which gives a decision its `tags`.
        strangers: The texts that the gate learns from.
    """
    training = Training(checkpoint=checkpoint)
    if seed is not None:
        training = replace(training, teacher=TeacherRecipe(seed=seed), student=StudentRecipe(seed=seed + 1))
    return BundleRecipe(
        rows=rows,
        network=with_layers(training, layers),
        promise=promise,
        version=version_of(layers),
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


def own(  # noqa: PLR0913 - every choice by its name
    rows: Splits,
    promise: Promise,
    *,
    name: str,
    quick: bool,
    layers: int | None = None,
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
        layers: Of the tuned network, as of `shipped`.
        multilingual: Its encoder is the one that reads many languages; with `quick` alone.
        multilabel: Add a second head, which learns from the training rows and has its thresholds from the calibration rows.
        strangers: The texts of none of the labels that the gate learns from.
    """
    shares = {source: float(count) for source, count in Counter(row.source for row in rows.train if not row.answered).items()}
    return BundleRecipe(
        rows=rows,
        network=Quick(recipe=QuickRecipe(), multilingual=multilingual) if quick else with_layers(training_of(rows), layers),
        promise=promise,
        name=name,
        version=OWN_VERSION,
        golden=golden_texts((*rows.train, *rows.calibration)),
        level_sources=False,
        second_head=LabelHeadRecipe(source_shares=shares, class_levelling=0.0) if multilabel else None,
        strangers=strangers,
    )


def started(
    words: LabelsInWords, texts: Sequence[Row], promise: Promise, *, name: str, multilingual: bool = False
) -> BundleRecipe:
    """
    A first bundle of labels of which no row is known: a head of their words, which are judged by each other. It publishes nothing.

    Args:
        words: What is said of each label.
        texts: Texts of the stream, for the drift reference; everyday texts stand for them where the encoder is rounded.
        promise: The promise that answers shall certify.
        name: The bundle's name.
        multilingual: Its encoder is the one that reads many languages, and so are those of the bundles that grow from it.
    """
    own = words.rows()
    rows = tuple(said.row for said in own.rows)
    return BundleRecipe(
        rows=_learned(rows, own.digests),
        network=Quick(
            recipe=QuickRecipe(), multilingual=multilingual, texts=tuple(texts) or none_texts.gather(None, (), rows).rows
        ),
        promise=promise,
        name=name,
        version=OWN_VERSION,
        golden=golden_texts(rows),
        known_words=(),
        level_sources=False,
        certified_only=True,
        proving=frozenset(),
        seen=tuple(texts),
        record=words.as_record(),
    )


def grown(begun: Bundle, words: LabelsInWords, answers: FirstAnswers, promise: Promise, *, name: str) -> BundleRecipe:
    """
    A bundle of labels in words and of people's answers. Only what answers by lot certify is published.

    Args:
        begun: The bundle whose encoder is taken, and whose version is counted up.
        words: What is said of each label.
        answers: The answers.
        promise: The promise that the thresholds keep.
        name: The bundle's name.
    """
    said = tuple(own.row for own in words.rows().rows)
    labels = tuple(sorted(words.labels))
    by_lot = [row for row in answers.rows if row.source == BY_LOT]
    shares = priors.shares_of(np.array([labels.index(row.tag) for row in by_lot or said], dtype=np.int64), len(labels))
    everyday = none_texts.gather(None, (), (*answers.rows, *answers.none))
    before = begun.manifest.version
    return BundleRecipe(
        rows=_learned(answers.rows, words.digests | answers.digests),
        network=Quick(recipe=QuickRecipe(), always=said, counts=WORDS_COUNT, encoder=begun),
        promise=promise,
        # As of `imported`: the answers by lot have the labels as often as the stream.
        prior=priors.make(labels, learned=shares, expected=shares, source="rows", record={}),
        name=name,
        version=f"{int(before) + 1}" if before.isdecimal() else OWN_VERSION,
        golden=golden_texts(answers.rows),
        level_sources=False,
        certified_only=True,
        proving=frozenset({BY_LOT}),
        record=words.as_record(),
        strangers=of_own((*answers.none, *everyday.rows), everyday.digests) if by_lot else None,
    )


def _learned(rows: tuple[Row, ...], digests: dict[str, str]) -> Splits:
    return Splits(
        train=rows,
        calibration=(),
        holdout=(),
        corpus_test=(),
        unlabelled=(),
        near_duplicates_removed=0,
        digests=digests,
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
    layers: int | None = None,
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
        layers: Of the tuned network, as of `shipped`; as many as the bundle's unless given. Where the bundle has fewer, it begins as the
            base encoder's.
        checkpoint: Keep the tuned network in this file, for `exported`.
        multilabel: Add a second head.
        strangers: As of `BundleRecipe`.

    Raises:
        CalibrationError: The rows have labels that the bundle lacks.
    """
    refuse_other_labels(rows.labels, bundle.manifest.labels)
    has = layers_in(bundle.model)
    wanted = has if layers is None else layers
    student = (
        replace(FURTHER, layers=spread(wanted, has))
        if wanted <= has
        else replace(DEEPER, layers=spread(wanted, base_model.LAYERS))
    )
    training = Training(start=bundle, advice=AdviceRecipe(source_shares={REAL: 1.0}), student=student, checkpoint=checkpoint)
    return BundleRecipe(
        rows=rows,
        network=training,
        promise=promise,
        version=version_of(layers),
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
        level_sources=bool(old.training.get(LEVELS_SOURCES, True)),
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


def version_of(layers: int | None) -> str:
    """
    The version of the shipped model with so many layers; its own unless they are given.

    >>> version_of(6).removeprefix(VERSION)
    '-6-layers'
    """
    return VERSION if layers is None else f"{VERSION}-{layers}-layers"


def with_layers(training: Training, layers: int | None) -> Training:
    """The same with a student of so many layers of the base encoder, which the teacher has; its own unless they are given."""
    if layers is None or training.student is None:
        return training
    return replace(training, student=replace(training.student, layers=spread(layers, base_model.LAYERS)))


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
