"""A trained network becomes a bundle: export, quantise, prove, calibrate, measure, write. Any step can refuse."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
from tokenizers import Tokenizer

from model_export.bundle import bundle, invariance, strangeness
from model_export.bundle.bundle import Bundle
from model_export.bundle.classifier import OnnxClassifier
from model_export.bundle.manifest import FORMAT, NAME, VERSION, GoldenText, Manifest, Prior, Threshold
from model_export.bundle.prediction import Classifier, score
from model_export.bundle.promise.promise import Promise
from model_export.calibrate.temperature import Floats
from model_export.data.row import Row
from model_export.data.splits import Splits
from model_export.make import promise, reference
from model_export.make.evidence import Evidence
from model_export.make.files import own_rows, two_files
from model_export.measure import bundle_metrics
from model_export.onnx import ngrams, parity
from model_export.train import batches
from model_export.train.checkpoint import Trained
from model_export.train.lessons import examples
from model_export.train.network import TagNetwork

# The part of `training` in a manifest that says that sources were not levelled; it is left out where they were.
LEVELS_SOURCES = "level_sources"
PARITY_ROWS = 256
INVARIANCE_SEED = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    The name of a bundle, its promise, and the limits of its gates.

    It expects every label equally often (`balanced`), or as often as the training rows have it; or by `prior`, if that is given.

    Attributes:
        golden: Texts of which every machine that loads the bundle must see nearly the same probabilities.
        known_words: The words of the texts that the network learned from; those of the training rows unless given.
        level_sources: Every source of calibration rows counts the same for the temperature, however many rows it has.
    """

    name: str = NAME
    version: str = VERSION
    promise: Promise = field(default_factory=Promise)
    balanced: bool = True
    prior: Prior | None = None
    max_length: int = batches.MAX_LENGTH
    limits: parity.Limits = field(default_factory=parity.Limits)
    golden: tuple[str, ...] = reference.GOLDEN_TEXTS
    # The authored rows are harder and many more: unweighted, a temperature for them would be too modest for plain ones.
    level_sources: bool = True
    known_words: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A bundle that was written, and its measurements."""

    bundle: Bundle
    metrics: bundle_metrics.BundleMetrics


def assemble(
    folder: Path,
    *,
    network: TagNetwork,
    trained: Trained,
    tokenizer: bytes,
    splits: Splits,
    target: Target,
) -> Built:
    """
    Make a bundle and write it to `folder`.

    Args:
        folder: Where the bundle goes; it is written once every gate is passed.
        network: The trained network.
        trained: Its labels and the record of its training.
        tokenizer: The tokenizer file of its base.
        splits: Training rows to measure activations on, calibration rows, and gold.
        target: The bundle's name, promise and limits.

    Raises:
        ParityError: The exported network is not the trained one, or depends on its batch.
        CalibrationError: The promise cannot be kept on the calibration rows.
        ExportError: The graph is not one that a bundle may hold.
        BundleError: The result does not verify.
    """
    own = batches.load_tokenizer(tokenizer, target.max_length)
    networks = two_files(network, own_rows(splits.train, own), trained.labels)
    train, calibration = (examples(own, rows, trained.labels) for rows in (splits.train, splits.calibration))
    learned = ngrams.learn(networks.quantised, train=train, calibration=calibration, vocabulary=own.get_vocab_size())
    plain, quantised = (ngrams.add(model, learned, trained.labels) for model in (networks.plain, networks.quantised))
    compared = Compared(
        logits=(before := parity.run(plain, calibration.rows), after := parity.run(quantised, calibration.rows)),
        # The n-grams are the same whole numbers in both files: only the network can differ.
        export=networks.check(calibration.rows, target.limits),
        quantisation=parity.check_quantised(before, after, target.limits),
    )
    return finish(
        folder,
        model=quantised,
        compared=compared,
        trained=msgspec.structs.replace(trained, record=ngrams.recorded(trained.record, learned)),
        tokenizer=own,
        splits=splits,
        target=target,
    )


def finish(
    folder: Path,
    *,
    model: bytes,
    compared: "Compared",
    trained: Trained,
    tokenizer: Tokenizer,
    splits: Splits,
    target: Target,
) -> Built:
    """
    Calibrate, measure and write a network that exists as a file.

    Args:
        folder: Where the bundle goes.
        model: The file.
        compared: Its distance from the trained network, on the first calibration rows.
        trained: Its labels and the record of its training.
        tokenizer: Its tokenizer, which truncates.
        splits: Calibration rows, and gold.
        target: The bundle's name, promise and limits.
    """
    evidence = compared.evidence
    if evidence is None:
        logits = parity.run(model, batches.encode(tokenizer, [row.text for row in splits.calibration]))
    else:
        logits = evidence.logits
    prior = target.prior or promise.prior_of(splits.train, trained.labels, balanced=target.balanced)
    temperature = promise.temperature(logits, splits.calibration, trained.labels, prior, level=target.level_sources)
    own = target.known_words
    known_words = list(own) if own is not None else strangeness.known_words(row.text for row in splits.train)
    draft = _draft(model, tokenizer.to_str().encode(), trained, target, temperature, prior, known_words)
    with tempfile.TemporaryDirectory(prefix="tagstream-bundle-") as name:
        classifier = OnnxClassifier(draft.write(Path(name)))
    if evidence is None:
        predictions = classifier.classify([row.text for row in splits.calibration])
    else:
        predictions = evidence.predictions(trained.labels, temperature, draft.manifest.offsets())
    promised = promise.keep(draft.manifest, predictions, splits.calibration, target.promise)
    described = reference.describe(
        predictions,
        trained.labels,
        texts=[row.text for row in splits.calibration],
        described=[row.described for row in splits.calibration],
        known_words=known_words,
    )
    metrics = bundle_metrics.measure(
        classifier,
        splits,
        calibration=predictions,
        thresholds=promised.asked_below(),
        limits=strangeness.limits_in(described),
    )
    if not target.level_sources:
        promised = msgspec.structs.replace(promised, training={**promised.training, LEVELS_SOURCES: False})
    manifest = msgspec.structs.replace(
        promised,
        golden=_golden(classifier, target.golden),
        arithmetic=classifier.arithmetic,
        reference=described,
        metrics=metrics.as_json(),
        parity=_prove(compared, classifier, splits.calibration, promised, target),
    )
    written = replace(draft, manifest=manifest).write(folder)
    OnnxClassifier(written)
    return Built(bundle=written, metrics=metrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """The contents of a bundle folder."""

    manifest: Manifest
    model: bytes
    tokenizer: bytes

    def write(self, folder: Path) -> Bundle:
        return bundle.write(folder, manifest=self.manifest, model=self.model, tokenizer=self.tokenizer)


def _draft(
    model: bytes,
    tokenizer: bytes,
    trained: Trained,
    target: Target,
    temperature: float,
    prior: Prior,
    known_words: Sequence[str],
) -> _Draft:
    """A bundle that can be loaded, with an empty threshold and without measurements."""
    rows = batches.encode(batches.load_tokenizer(tokenizer, target.max_length), target.golden)
    offsets = tuple(prior.offsets[label] for label in trained.labels)
    golden = tuple(
        GoldenText(text=text, probabilities=score(values.tolist(), temperature, offsets))
        for text, values in zip(target.golden, parity.run(model, rows), strict=True)
    )
    nothing = Threshold(
        confidence=0.0,
        target_precision=0.0,
        precision=0.0,
        precision_lower_bound=0.0,
        bound_level=0.0,
        coverage=0.0,
        rows=0,
    )
    manifest = Manifest(
        format=FORMAT,
        name=target.name,
        version=target.version,
        labels=trained.labels,
        max_length=target.max_length,
        temperature=temperature,
        threshold=nothing,
        golden=golden,
        reference={"known_words": list(known_words)},
        metrics={},
        parity={},
        training=trained.record,
        files={},
        prior=prior,
    )
    return _Draft(manifest=manifest, model=model, tokenizer=tokenizer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """
    The distances between a trained network, its float32 file and its int8 file, and what is known of the calibration rows.

    Attributes:
        logits: Of the float32 and of the int8 file for the same rows, each [rows, labels]; None where only the int8
            file is left, so that the effect of rounding at another threshold cannot be measured.
        export: The trained network against the float32 file.
        quantisation: The float32 file against the int8 file.
        evidence: What networks say of the calibration rows that have not seen their labels, where this one has; None: it has not.
    """

    logits: tuple[Floats, Floats] | None
    export: parity.Difference
    quantisation: parity.Difference
    evidence: Evidence | None = None


def _prove(
    compared: Compared,
    classifier: Classifier,
    rows: Sequence[Row],
    manifest: Manifest,
    target: Target,
) -> dict[str, object]:
    texts = [row.text for row in rows[:PARITY_ROWS]]
    flips: dict[str, object] = {}
    if compared.logits is not None:
        below = list(manifest.asked_below().values())
        # The offsets come after the division by the temperature.
        moved = np.array(manifest.offsets()) * manifest.temperature
        before, after = (logits + moved for logits in compared.logits)
        share = parity.routing_flips(before, after, temperature=manifest.temperature, thresholds=below)
        flips["routing_flips"] = parity.check_flips(share, target.limits)
    return parity.as_record(
        export=compared.export,
        quantised=compared.quantisation,
        batch_invariance=invariance.check_invariance(classifier, texts, seed=INVARIANCE_SEED),
        **flips,
    )


def _golden(classifier: Classifier, texts: Sequence[str]) -> tuple[GoldenText, ...]:
    found = classifier.classify(texts)
    return tuple(
        GoldenText(text=text, probabilities=tuple(prediction.probabilities.values()))
        for text, prediction in zip(texts, found, strict=True)
    )
