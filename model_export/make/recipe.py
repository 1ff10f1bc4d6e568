"""The recipe of a bundle, as one record, and the recipes that `tagstream model` knows. `steps.make` carries one out."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import NAME, VERSION, Prior
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.calibrate import prior as priors
from tagstream.model_export.calibrate.certificate import risk_of
from tagstream.model_export.calibrate.earned_thresholds import Evidence
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.promised_thresholds import RISK
from tagstream.model_export.data.own import none_texts
from tagstream.model_export.data.own.first_answers import BY_LOT, FirstAnswers
from tagstream.model_export.data.own.labels import LabelsInWords
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import progress, reference
from tagstream.model_export.make.earn import Earning
from tagstream.model_export.make.imported_classifier import Imported
from tagstream.model_export.make.multilabel import LabelHeadRecipe
from tagstream.model_export.make.network import Checkpoint, NetworkSource, NewHead, NewNgrams, SameNetwork
from tagstream.model_export.make.parent import Predecessor
from tagstream.model_export.make.quick import Quick, QuickRecipe
from tagstream.model_export.make.shares import KnownStream
from tagstream.model_export.make.shipped_training import ShippedTraining
from tagstream.model_export.make.strangers import Strangers, of_own
from tagstream.model_export.make.training import Training
from tagstream.model_export.onnx import parity
from tagstream.model_export.train import base_model
from tagstream.model_export.train.distil import StudentRecipe, spread
from tagstream.model_export.train.head import HeadRecipe
from tagstream.model_export.train.tuning import TeacherRecipe
from tagstream.monitoring.vocabulary import few

OWN_VERSION = "1"
# The weight of a sentence about a label, in answers, when it is used with the first answers: some answers are slips.
WORDS_COUNT = 3.0
CALIBRATED, ADAPTED = "-calibrated", "-adapted"
# An entry of `training` in a manifest: false if the sources were not levelled, and missing if they were.
LEVELS_SOURCES = "level_sources"
# The most golden texts: every start of a worker classifies them, so their number does not grow with the number of labels.
MOST_GOLDEN = 16
# The least number of training steps, and the most epochs to reach it: with few rows, the recipes' epochs would hardly change the network.
LEAST_STEPS, MOST_EPOCHS = 400, 20

Trains = TypeVar("Trains", Training, ShippedTraining)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRecipe:
    """
    The recipe of a bundle.

    Attributes:
        rows: Rows to learn from, to calibrate on and to measure on.
        network: The source of the network. With `Earning`, everything except the thresholds comes from a bundle, and only `rows` is used.
        promise: The promise that the thresholds keep.
        prior: The expected frequencies of the labels; None if every label is expected equally often.
        name: The bundle's name.
        version: The bundle's version.
        golden: Texts for which every machine that loads the bundle must get nearly the same probabilities.
        known_words: The words of the texts that the network learned from; None for the words of the training rows.
        level_sources: Every source of calibration rows has the same weight for the temperature, however many rows it has.
        windows: The most windows in which a long text is read.
        certified_only: Send every decision to people that the calibration rows do not certify.
        look: The number of times that certificates have been made from these answers, with this time; None for rows that certify once.
        proving: The sources of calibration rows on which certificates, figures and limits rest; None for all sources. Without a row of
            these sources, nothing is certified or measured, and low confidence is the only reason to send a text to people.
        seen: Texts of the stream for the drift reference; without them, the rows of `proving` are used.
        record: Further entries of the manifest's `training`.
        second_head: Fit a second head, which finds further labels of a text; None to keep the network's second head, if it has one.
        strangers: Fit a gate that detects texts with none of the labels; None to keep the network's gate, if it has one.
        limits: The limits of the parity gates.
        before: The bundle that this bundle is made from or follows, for the manifest; None if there is none.
    """

    rows: Splits
    network: NetworkSource | Earning
    promise: Promise = field(default_factory=Promise)
    prior: Prior | None = None
    name: str = NAME
    version: str = VERSION
    golden: tuple[str, ...] = reference.GOLDEN_TEXTS
    known_words: tuple[str, ...] | None = None
    # The authored rows are harder than plain rows, and far more. Without weights, the temperature would make plain rows underconfident.
    level_sources: bool = True
    windows: int = 1
    certified_only: bool = False
    look: int | None = None
    proving: frozenset[str] | None = None
    seen: tuple[Row, ...] = ()
    record: Mapping[str, object] = field(default_factory=dict)
    second_head: LabelHeadRecipe | None = None
    strangers: Strangers | None = None
    limits: parity.GateLimits = field(default_factory=parity.GateLimits)
    before: Predecessor | None = None

    @property
    def level(self) -> float:
        """The error level of the certificates."""
        return RISK if self.look is None else risk_of(self.look)

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
    Return the recipe of the shipped model: three layers of the base encoder are tuned.

    Args:
        rows: The rows.
        promise: The promise that the thresholds keep.
        seed: The seed of the training; None for the recipe's.
        layers: The number of layers, from 1 to the base encoder's number; None for three.
        checkpoint: Keep the trained network in this file, for `exported`.
        multilabel: Add a second head, which gives a decision its `tags`.
        strangers: The texts that the gate learns from. The network learns those with none of the labels, too.
    """
    training = ShippedTraining(none=() if strangers is None else strangers.none, checkpoint=checkpoint)
    if seed is not None:
        training = replace(training, student=replace(training.student, seed=seed))
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
    Return the recipe of the shipped model for a network that was trained before and kept in a file.

    Args:
        checkpoint: The file of the trained network.
        rows: The rows, in their parts.
        promise: The promise that the thresholds keep.
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
    Return the recipe of a model for a user's rows and labels. The model does not depend on tagstream's own labels or corpus.

    Args:
        rows: The rows.
        promise: The promise that the thresholds keep.
        name: The bundle's name.
        quick: Keep the base encoder unchanged, and fit only a head; else tune the encoder as for the shipped model.
        layers: The number of layers of the tuned network, as for `shipped`.
        multilingual: Use the encoder that reads many languages; only with `quick`.
        multilabel: Add a second head. It learns from the training rows, and its thresholds are chosen on the calibration rows.
        strangers: Texts with none of the labels, from which the gate learns.
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
    Return the recipe of a first bundle for labels without any row: the head learns from the labels' words, and nothing is published.

    Args:
        words: The words about each label.
        texts: Texts of the stream, for the drift reference and the activation ranges; without them, everyday texts give the ranges.
        promise: The promise that answers shall certify.
        name: The bundle's name.
        multilingual: Use the encoder that reads many languages, here and in the bundles that grow from this one.
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
    Return the recipe of a bundle from labels in words and people's answers.

    The bundle publishes only decisions that are certified by answers about drawn events (the random half).

    Args:
        begun: The bundle whose encoder is used, and whose version is counted up.
        words: The words about each label.
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
        # As for `imported`: the labels are as frequent in the answers about drawn events as in the stream.
        prior=priors.make(labels, learned=shares, expected=shares, source="rows", record={}),
        name=name,
        version=f"{int(before) + 1}" if before.isdecimal() else OWN_VERSION,
        golden=golden_texts(answers.rows),
        level_sources=False,
        certified_only=True,
        look=progress.looks_at(begun.manifest) + 1,
        proving=frozenset({BY_LOT}),
        record=words.as_record(),
        strangers=of_own((*answers.none, *everyday.rows), everyday.digests) if by_lot else None,
        before=Predecessor(bundle=begun),
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
    Return the recipe of a classifier that was trained elsewhere, with thresholds from rows that it has not seen.

    The classifier keeps its decisions: labels are expected as often as the calibration rows have them, so no logit is moved.

    Args:
        source: The place of the classifier.
        rows: Rows to calibrate on and to measure on. `train` has the rows that the classifier has learned from, as far as they are known:
            the words in these rows are familiar.
        promise: The promise that the thresholds keep.
        labels: The classifier's labels in the order of its logits.
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
    Return the recipe of the shipped model with the encoder of a bundle.

    Args:
        bundle: The bundle.
        rows: Rows with the bundle's labels.
        promise: The promise that the thresholds keep.
        keep_head: Keep the bundle's head, too, and fit only the n-grams.
        multilabel: Add a second head.
        strangers: The texts that a new gate learns from; None to keep the bundle's gate.
    """
    return BundleRecipe(
        rows=rows,
        network=NewNgrams(bundle=bundle) if keep_head else NewHead(bundle=bundle, head=HeadRecipe()),
        promise=promise,
        second_head=LabelHeadRecipe() if multilabel else None,
        strangers=strangers,
        before=Predecessor(bundle=bundle),
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
    Return the recipe of a bundle with an old bundle's network, and with temperature, thresholds, reference and figures from new rows.

    Args:
        bundle: The old bundle. Its second head is kept, too, with new thresholds.
        rows: The new rows.
        promise: The promise that the thresholds keep.
        version: The new bundle's version; None for the old version with `CALIBRATED`.
        prior: The expected frequencies of the labels; None for the old bundle's prior.
        windows: The most windows in which a long text is read; None for the old bundle's number.
        strangers: As for `refitted`.

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
        # Without training rows, the words that the network has learned from are known from the old bundle only.
        known_words=None if rows.train else tuple(old.reference.get("known_words", ())),
        level_sources=bool(old.training.get(LEVELS_SOURCES, True)),
        windows=windows or old.windows,
        strangers=strangers,
        before=Predecessor(bundle=bundle),
    )


def adapted(bundle: Bundle, rows: Splits, promise: Promise, stream: KnownStream, *, windows: int | None = None) -> BundleRecipe:
    """
    Return the recipe of `calibrated` for a stream with known shares of labels. The certificate rests on rows weighted to these shares.

    Args:
        bundle: The bundle whose network is kept.
        rows: The rows, in their parts.
        promise: The promise that the thresholds keep.
        stream: The shares of the labels.
        windows: As for `calibrated`.

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
    Return the recipe of a bundle with the thresholds that people's answers prove.

    Args:
        bundle: The bundle.
        rows: Rows on which the new thresholds are measured. If the rows have labels that the bundle lacks, the old figures stay.
        evidence: The answers about decisions of the bundle's network.
        precision: The target precision of the thresholds, over 0 and below 1.
    """
    return BundleRecipe(
        rows=rows,
        network=Earning(bundle=bundle, evidence=evidence, precision=precision),
        before=Predecessor(bundle=bundle),
    )


def unseen(rows: Splits) -> Splits:
    """Return rows that the network has not learned from, with all training rows moved to the calibration rows."""
    return replace(rows, train=(), calibration=(*rows.train, *rows.calibration))


def refuse_other_labels(found: Sequence[str], labels: Sequence[str]) -> None:
    """
    Refuse to calibrate on rows with labels that a bundle lacks.

    Args:
        found: The labels of the rows.
        labels: The labels of the bundle.

    Raises:
        CalibrationError: The rows have labels that the bundle lacks.
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
    Return the version of the shipped model with this number of layers; without a number, `VERSION`.

    >>> version_of(6).removeprefix(VERSION)
    '-6-layers'
    """
    return VERSION if layers is None else f"{VERSION}-{layers}-layers"


def with_layers(training: Trains, layers: int | None) -> Trains:
    """Return the training with a student of this number of layers, of the base encoder's; without a number, return it unchanged."""
    if layers is None:
        return training
    return replace(training, student=replace(training.student, layers=spread(layers, base_model.LAYERS)))


def training_of(rows: Splits) -> Training:
    """Return the project's training for other rows: every row has the same weight, and small sets of rows get more epochs."""
    shares = {source: float(count) for source, count in sorted(Counter(row.source for row in rows.train).items())}
    teacher, student = TeacherRecipe(), StudentRecipe()
    known = len(rows.train)
    size = min(teacher.batch_rows, known)

    def epochs(asked: int, texts: int) -> int:
        return max(asked, min(MOST_EPOCHS, math.ceil(LEAST_STEPS * size / texts)))

    return Training(
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
    Return the golden texts from a user's rows: one text of each label in turn, in the order of a hash.

    Every machine must give these texts nearly the same probabilities.

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
