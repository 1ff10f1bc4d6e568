"""The composition root of a decision: from the settings to a decider, and to the pipeline that all doors call.

The settings name the bundle's model, or, if a person says so, the keyword rules. The rules are for the hours in which no model can be
trusted: the bundle is lost or refused, or the circuit breaker is open. A worker never falls back to the rules by itself: a stream that
silently publishes guesses is worse than a stream that stands still. While the rules decide, every event goes to people, with the rules' tag
as a first guess.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from tagstream.model_export.bundle.bundle import Bundle, BundleError, read
from tagstream.model_export.bundle.model import Classifier, OnnxClassifier, limits_in
from tagstream.monitoring.observer import NullObserver, Observer
from tagstream.monitoring.vocabulary import few
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.decide.pipeline import PROBE, Decider, Draw, Pipeline, Unframe
from tagstream.stream.decide.repeats import PredictionTable, Repeats
from tagstream.stream.settings.loading import SettingsError
from tagstream.stream.settings.settings import Settings

if TYPE_CHECKING:
    from tagstream.model_export.bundle.rules import RulesClassifier

RULES_CONSEQUENCE = "no model is loaded; every event goes to review, with the rules' tag as a first guess"
# Above every confidence of the rules, so that a consumer that recomputes the outcome from a record gets the same topic.
RULES_THRESHOLD = 1.0


class UnknownLabelError(SettingsError):
    """`audit_rates` names a label that the decider does not have: the message names both."""


def pipeline_of(
    settings: Settings, *, decider: Decider | None = None, observer: Observer | None = None, unframe: Unframe | None = None
) -> Pipeline:
    """
    The pipeline of these settings.

    Args:
        settings: Limits on an event, attempts, and the decider if none is given.
        decider: Replaces the settings' decider.
        observer: Is told of stages, and of a model that raised; None for no observer.
        unframe: Takes values out of the frames of a Schema Registry; None if no registry is set. Only records of a topic have frames: a
            request or a row is JSON, and must not wait for a registry.

    Raises:
        BundleError: The bundle is refused.
    """
    decider = decider_of(settings) if decider is None else decider
    observer = NullObserver() if observer is None else observer
    table = PredictionTable(settings.repeats_bytes, observer) if settings.repeats_bytes else None
    return Pipeline(
        decider=remembering(decider, table),
        observer=observer,
        limits=settings.limits,
        attempts=settings.model_attempts,
        unframe=unframe,
    )


def remembering(decider: Decider, table: PredictionTable | None) -> Decider:
    """The decider with a table before its model; unchanged without a table, or if rules decide, which are faster than the table."""
    if table is None or decider.kind == "rules":
        return decider
    return replace(decider, classifier=Repeats(decider.classifier, table, model=decider.model.digest, probe=decider.probe))


def table_of(decider: Decider) -> PredictionTable | None:
    """The table before a decider's model; None if it has no table."""
    return decider.classifier.table if isinstance(decider.classifier, Repeats) else None


def decider_of(settings: Settings, *, of_stream: bool = True) -> Decider:
    """
    The decider that the settings name: the model of the bundle, or the keyword rules.

    Args:
        settings: Name the decider.
        of_stream: True if the message on a refused bundle must name the rules as a way to keep events flowing to people.

    Raises:
        BundleError: The bundle is refused.
        RulesError: The rules are refused, or have other labels than the bundle.
    """
    return _rules(settings) if settings.decider == "rules" else _model(settings, of_stream=of_stream)


def _model(settings: Settings, *, of_stream: bool) -> Decider:
    try:
        return load_decider(read(settings.bundle), threshold=settings.confidence_threshold)
    except BundleError as error:
        if not of_stream:
            raise
        msg = (
            f"{error} Until then TAGSTREAM_DECIDER=rules keeps the stream flowing to people: without a model, every event to "
            f"{settings.topics.review}{'' if settings.rules else ' (labels of your own need TAGSTREAM_RULES, too)'}."
        )
        raise BundleError(msg) from error


def load_decider(bundle: Bundle, *, threshold: float | None) -> Decider:
    """
    The decider of a verified bundle, whose network is loaded now.

    Args:
        bundle: The bundle.
        threshold: Replaces the bundle's thresholds for every label; None to keep them.

    Raises:
        BundleError: The network is refused (`OnnxClassifier`).
    """
    classifier = OnnxClassifier(bundle)
    found = decider_of_bundle(bundle.without_files(), classifier, threshold=threshold, arithmetic=classifier.arithmetic)
    return replace(found, warm_up=classifier.warm_up)


def decider_of_bundle(
    bundle: Bundle, classifier: Classifier, *, threshold: float | None = None, arithmetic: str | None = None
) -> Decider:
    """
    The decider of a loaded bundle.

    Args:
        bundle: The bundle.
        classifier: Runs its network.
        threshold: Replaces the bundle's thresholds for every label; None to keep them.
        arithmetic: `OnnxClassifier.arithmetic`; None if this machine computes like the machine that made the bundle.
    """
    manifest = bundle.manifest
    as_made = arithmetic is None or manifest.arithmetic in {None, arithmetic}
    return Decider(
        classifier=classifier,
        model=ModelRef(
            name=manifest.name,
            version=manifest.version,
            digest=bundle.digest,
            arithmetic=None if as_made else arithmetic,
        ),
        threshold=manifest.threshold.confidence if threshold is None else threshold,
        thresholds=manifest.asked_below() if threshold is None else {},
        ood=limits_in(manifest.reference),
        probe=[text.text for text in manifest.golden] or PROBE,
        reference=manifest.reference,
        bundle=bundle,
    )


def rules_of(settings: Settings, bundle: Bundle | None) -> "RulesClassifier":
    """
    The keyword rules that the settings name.

    Args:
        settings: Name a file of rules; by default the rules for the shipped labels are taken.
        bundle: The settings' bundle, whose labels the rules must have. None if the bundle is lost or refused, so its labels are not known.

    Raises:
        RulesError: The rules are refused, or have other labels than the bundle.
    """
    from tagstream.model_export.bundle.rules import RULES, RulesClassifier

    classifier = RulesClassifier(settings.rules or RULES)
    if bundle is not None:
        classifier.check_labels(bundle.manifest.labels, of=settings.bundle)
    return classifier


def _rules(settings: Settings) -> Decider:
    try:
        bundle = read(settings.bundle)
    except BundleError:
        # The rules must also work if the bundle is lost or refused.
        bundle = None
    from tagstream.model_export.bundle.rules import NAME

    classifier = rules_of(settings, bundle)
    model = ModelRef(name=NAME, version=classifier.version, digest=classifier.digest)
    return Decider(classifier=classifier, model=model, threshold=RULES_THRESHOLD, kind="rules")


def draw_of(settings: Settings, labels: Collection[str]) -> Draw:
    """
    The draw of the settings.

    Raises:
        UnknownLabelError: `audit_rates` names a label that is not among `labels`.
    """
    unknown = sorted(settings.audit_rate_by_label.keys() - set(labels))
    if unknown:
        msg = (
            f"audit_rates names the label {unknown[0]!r}, and the bundle has {few(sorted(labels))}. "
            f"Next: correct TAGSTREAM_AUDIT_RATES."
        )
        raise UnknownLabelError(msg)
    return Draw(rate=settings.audit_rate, rates=settings.audit_rate_by_label, salt=settings.audit_salt)
