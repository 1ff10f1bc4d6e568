"""Makes a bundle from a recipe, step by step: network, gate, temperature, thresholds, limits, figures, proofs. Any step can refuse."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np

from tagstream.model_export.bundle import invariance
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import FORMAT, GoldenText, Manifest, Prior, Threshold
from tagstream.model_export.bundle.model import NO_LIMITS, Classifier, Prediction, score
from tagstream.model_export.bundle.text import known_words as known_words_of
from tagstream.model_export.calibrate import prior as priors
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.joint import DecidedRows
from tagstream.model_export.calibrate.priced_promise import PricedPromise
from tagstream.model_export.calibrate.prices import PricedRows, measured, measures
from tagstream.model_export.calibrate.promised_thresholds import by_costs, promised
from tagstream.model_export.calibrate.temperature import Floats, Ints, fit_temperature, level_sources
from tagstream.model_export.data.row import Row
from tagstream.model_export.make import multilabel, parent, priced_words, progress, reference, strangers
from tagstream.model_export.make.draft import Draft, Finished
from tagstream.model_export.make.earn import Earning, Gain
from tagstream.model_export.make.network import INVARIANCE_SEED, PARITY_ROWS, Network
from tagstream.model_export.make.recipe import LEVELS_SOURCES, BundleRecipe
from tagstream.model_export.make.shares import prior_of
from tagstream.model_export.make.strangers import StrangersGate
from tagstream.model_export.measure import bundle_metrics
from tagstream.model_export.measure.bundle_metrics import BundleMetrics
from tagstream.model_export.onnx import parity
from tagstream.model_export.train import batches
from tagstream.model_export.train.work import NO_WORK, Work

# The threshold of a bundle that is loaded only to classify the rows.
NO_THRESHOLD = Threshold(
    confidence=0.0,
    target_precision=0.0,
    precision=0.0,
    precision_lower_bound=0.0,
    bound_level=0.0,
    coverage=0.0,
    rows=0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """
    A bundle that was written.

    Attributes:
        bundle: The bundle.
        metrics: The bundle's measurements on the rows; None if it was not measured.
        gain: The reviews that the thresholds save; None unless they were earned from answers.
        seconds: The time that it took to make the bundle.
    """

    bundle: Bundle
    metrics: BundleMetrics | None
    gain: Gain | None
    seconds: float

    def as_text(self) -> str:
        """Return the figures as lines of text."""
        manifest = self.bundle.manifest
        lines = [f"{manifest.name} {manifest.version}, digest {self.bundle.digest[:12]}, in {self.bundle.path}"]
        if self.gain is not None:
            return "\n".join([*lines, *self.gain.lines()])
        lines += [
            f"{len(self.bundle.model) / 1e6:.1f} MB, made in {self.seconds / 60:.1f} minutes, temperature {manifest.temperature}",
            manifest.threshold.sentence(),
            *(found.sentence(label) for label, found in manifest.thresholds.items()),
        ]
        if self.metrics is not None:
            lines += [found.as_text(part) for part, found in self.metrics.evaluations.items()]
            lines += [] if self.metrics.gate is None else [self.metrics.gate.as_text()]
        lines += [] if manifest.priced is None else priced_words.lines(manifest.priced)
        lines += strangers.as_text(manifest.training)
        if manifest.multilabel is not None:
            lines.append(multilabel.as_text(manifest.multilabel))
        return "\n".join(lines)


def make(folder: Path, recipe: BundleRecipe, work: Work = NO_WORK) -> Made:
    """
    Make a bundle, and write it to `folder` once all gates have passed.

    Args:
        folder: The folder of the bundle.
        recipe: The bundle's rows, network and promise.
        work: Keeps finished stages, and is told their progress. With other rows, another recipe or other code, the stages start anew.

    Raises:
        BaseModelError: The pretrained encoder is missing or differs from its checksum.
        ParityError: The file differs too much from the trained network, or a prediction depends on its batch.
        CalibrationError: The promise cannot be kept on the calibration rows, or the answers do not prove anything new.
        CostsError: A label, or a label with a truth, has no price.
        HeadError: The head of a kept network is not one that `quantize` writes.
        ExportError: A bundle may not hold the graph.
        BundleError: The bundle does not verify.
    """
    started = time.monotonic()
    stages = work.within(recipe.network, recipe.rows)
    if isinstance(recipe.promise, PricedPromise):
        # A price that is missing is told before the network is trained.
        recipe.promise.costs.of_mistakes(recipe.rows.labels)
    gain: Gain | None = None
    if isinstance(recipe.network, Earning):
        finished, gain = recipe.network.finished(recipe.rows)
    else:
        network = recipe.network.network(recipe.rows, recipe.limits, stages)
        gate = None if recipe.strangers is None else strangers.fitted(network, recipe.strangers)
        network = network if gate is None else gate.network
        with work.told("thresholds, figures and proofs"):
            finished = with_second_head(calibrated(network, recipe, gate), network, recipe)
    with work.told("verification of the bundle"):
        draft = finished.draft
        bundle = draft.saying(training=parent.recorded(draft.named(), recipe.before)).put(folder)
    work.forget(stages)
    return Made(bundle=bundle, metrics=finished.metrics, gain=gain, seconds=time.monotonic() - started)


def calibrated(network: Network, recipe: BundleRecipe, gate: StrangersGate | None = None) -> Finished:
    """
    Calibrate and measure a network that exists as a file, and add its proofs.

    Args:
        network: The network.
        recipe: The recipe of the bundle.
        gate: The new gate in the network's file. Without a new gate (None), an older gate in the file keeps its limit.

    Raises:
        ParityError, CalibrationError: As `make`.
    """
    rows, labels, unseen = network.rows, network.trained.labels, network.out_of_fold
    texts = [row.text for row in rows.calibration]
    logits = (
        parity.means(network.model, batches.windows(network.tokenizer, texts, recipe.windows))
        if unseen is None
        else unseen.logits
    )
    prior = recipe.prior or prior_of(rows, labels, balanced=True)
    temperature = fitted_temperature(logits, rows.calibration, labels, prior, level=recipe.level_sources)
    own = recipe.known_words
    known_words = list(own) if own is not None else known_words_of(row.text for row in rows.train)
    draft = first_draft(network, recipe, temperature=temperature, prior=prior, known_words=known_words)
    classifier = draft.loaded()
    predictions = (
        classifier.classify(texts) if unseen is None else unseen.predictions(labels, temperature, draft.manifest.offsets())
    )
    if gate is not None:
        predictions = gate.judged(rows.calibration, predictions)
    answered, proof = rows.calibration, [recipe.proves(row) for row in rows.calibration]
    rows, predictions = replace(rows, calibration=tuple(compress(answered, proof))), list(compress(predictions, proof))
    # Without proving rows, a review budget would publish decisions that no row proves.
    asked = recipe.promise if predictions else replace(recipe.promise, review_budget=None)
    tested = decided(predictions, rows.calibration, labels, prior)
    priced, apart = None, measures([row.topic for row in rows.calibration])
    if isinstance(asked, PricedPromise) and apart.any() and not apart.all():
        priced = PricedRows.of(tested, _targets(rows.calibration, labels), labels, asked.costs)
        found = by_costs(priced.take(~apart), labels, asked, level=recipe.level)
    else:
        certified_only = recipe.certified_only or isinstance(asked, PricedPromise)
        found = promised(tested, labels, asked, certified_only=certified_only, level=recipe.level)
    draft = draft.saying(threshold=found.threshold, thresholds=found.thresholds, trade=found.trade)
    limits = NO_LIMITS
    if predictions:
        limits = reference.limits_of(predictions, known_words=known_words, strangeness=network.strangeness_limit)
    training = {**draft.manifest.training, **recipe.record}
    if recipe.proving:
        training |= progress.record(answered, tested, labels, asked, look=recipe.look or 1)
    if gate is not None:
        limit = strangers.limited(
            gate, classifier, predictions, thresholds=draft.manifest.asked_below(), limits=replace(limits, strangeness=None)
        )
        limits, training = replace(limits, strangeness=limit.value), {**training, strangers.RECORD: limit.record}
    watched = recipe.seen or rows.calibration or answered
    if priced is not None and isinstance(asked, PricedPromise):
        strange = np.array([limits.is_strange(prediction) for prediction in compress(predictions, apart)], dtype=np.bool_)
        vector = [found.thresholds[label].confidence for label in labels]
        draft = draft.saying(priced=measured(priced.take(apart), labels, asked.costs, vector, asked=strange))
    described = reference.describe(
        predictions if watched == rows.calibration else classifier.classify([row.text for row in watched]),
        labels,
        texts=[row.text for row in watched],
        described=[row.described for row in watched],
        limits=limits,
        known_words=known_words,
    )
    metrics = None
    if predictions:
        metrics = bundle_metrics.measure(
            classifier,
            rows,
            calibration=predictions,
            thresholds=draft.manifest.asked_below(),
            limits=limits,
        )
    draft = draft.saying(
        golden=_golden(classifier, recipe.golden),
        arithmetic=classifier.arithmetic,
        reference=described,
        metrics={} if metrics is None else metrics.as_json(),
        parity=_proofs(network, classifier, draft.manifest, recipe.limits),
        training=training if recipe.level_sources else {**training, LEVELS_SOURCES: False},
    )
    return Finished(draft=draft, metrics=metrics)


def with_second_head(finished: Finished, network: Network, recipe: BundleRecipe) -> Finished:
    """
    Return the bundle with the second head of the recipe, or of its network; without either, return it unchanged.

    Args:
        finished: The bundle with one label for a text.
        network: The bundle's network.
        recipe: The recipe of the bundle.
    """
    second, draft, rows = network.second_head, finished.draft, recipe.rows
    if recipe.second_head is not None:
        second = multilabel.fitted(draft, rows, recipe.second_head)
    if second is None:
        return finished
    unseen = None
    if network.out_of_fold is not None:
        manifest = draft.manifest
        judged = network.out_of_fold.predictions(manifest.labels, manifest.temperature, manifest.offsets())
        # `judged` has the training rows first, then the calibration rows: the network has learned from both.
        unseen = judged[-len(rows.calibration) :]
    return Finished(draft=multilabel.promised(draft, second, rows, unseen), metrics=finished.metrics)


def first_draft(
    network: Network, recipe: BundleRecipe, *, temperature: float, prior: Prior, known_words: Sequence[str]
) -> Draft:
    """
    Return a bundle that can be loaded, with an empty threshold and without measurements.

    Args:
        network: The network.
        recipe: The recipe of the bundle.
        temperature: The divisor of the logits, over 0.
        prior: The expected shares of the labels.
        known_words: The familiar words, for the bundle's reference.
    """
    raw, labels = network.tokenizer.to_str().encode(), network.trained.labels
    rows = batches.windows(batches.load_tokenizer(raw, network.max_length), recipe.golden, recipe.windows)
    offsets = tuple(prior.offsets[label] for label in labels)
    manifest = Manifest(
        format=FORMAT,
        name=recipe.name,
        version=recipe.version,
        labels=labels,
        max_length=network.max_length,
        temperature=temperature,
        threshold=NO_THRESHOLD,
        golden=tuple(
            GoldenText(text=text, probabilities=score(values.tolist(), temperature, offsets))
            for text, values in zip(recipe.golden, parity.means(network.model, rows), strict=True)
        ),
        reference={"known_words": list(known_words)},
        metrics={},
        parity={},
        training=network.trained.record,
        files={},
        prior=prior,
        windows=recipe.windows,
        alone=network.alone,
    )
    return Draft(manifest=manifest, model=network.model, tokenizer=raw)


def fitted_temperature(logits: Floats, rows: Sequence[Row], labels: Sequence[str], prior: Prior, *, level: bool) -> float:
    """
    Fit the temperature, with the offsets of the prior.

    Rows are weighted to the shares of the prior, unless the prior was counted in these rows.

    Args:
        logits: Logits of the calibration rows, [rows, labels], from networks that have not seen the rows.
        rows: The calibration rows.
        labels: The labels.
        prior: The prior.
        level: Give every source of rows the same weight, however many rows it has.

    Raises:
        CalibrationError: There are no rows, or there is no row of a label that the prior expects.
    """
    targets = _targets(rows, labels)
    weights = level_sources([row.source for row in rows]) if level else None
    if prior.source != "rows" and len(rows):
        weights = _weighted(targets, prior, labels, weights)
    return fit_temperature(logits, targets, weights, priors.in_order(prior.offsets, labels))


def decided(predictions: Sequence[Prediction], rows: Sequence[Row], labels: Sequence[str], prior: Prior) -> DecidedRows:
    """
    Return calibration rows with their predictions, weighted to the prior. All weights are 1 if the prior was counted in these rows.

    Args:
        predictions: The prediction of each row, by a network that has not seen the row.
        rows: The calibration rows.
        labels: The bundle's labels, in its order.
        prior: The expected shares of the labels.

    Raises:
        CalibrationError: A label that the prior expects has no row.
    """
    targets = _targets(rows, labels)
    return DecidedRows(
        said=np.array([labels.index(found.label) for found in predictions], dtype=np.int64),
        confidence=np.array([found.confidence for found in predictions]),
        right=np.array([found.label == row.tag for found, row in zip(predictions, rows, strict=True)], dtype=np.bool_),
        weight=np.ones(len(rows)) if prior.source == "rows" else _weighted(targets, prior, labels),
    )


def _weighted(targets: Ints, prior: Prior, labels: Sequence[str], base: Floats | None = None) -> Floats:
    """Return the weights of rows by a prior. Refuse a prior that expects a label without rows: this label would be certified untested."""
    lacking = [label for label, count in zip(labels, np.bincount(targets, minlength=len(labels)), strict=True) if not count]
    if lacking and len(targets):
        named = ", ".join(f"{label} ({prior.shares[label]:.1%} of the stream)" for label in lacking)
        msg = (
            f"no calibration row has {'this label' if len(lacking) == 1 else 'these labels'}, so that nothing tests decisions about its "
            f"texts: {named}. Next: give rows of every label to calibrate on (--data)."
        )
        raise CalibrationError(msg)
    return priors.row_weights(targets, priors.in_order(prior.shares, labels), base) if len(targets) else np.ones(0)


def _targets(rows: Sequence[Row], labels: Sequence[str]) -> Ints:
    return np.array([labels.index(row.tag) for row in rows], dtype=np.int64)


def _proofs(network: Network, classifier: Classifier, manifest: Manifest, limits: parity.GateLimits) -> dict[str, object]:
    compared = network.compared
    texts = [row.text for row in network.rows.calibration[:PARITY_ROWS]]
    flips: dict[str, object] = {}
    if compared.logits is not None:
        below = list(manifest.asked_below().values())
        # Offsets are added after the division by the temperature, so they are multiplied by it here.
        moved = np.array(manifest.offsets()) * manifest.temperature
        before, after = (logits + moved for logits in compared.logits)
        share = parity.routing_flips(before, after, temperature=manifest.temperature, thresholds=below)
        flips["routing_flips"] = parity.check_flips(share, limits)
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
