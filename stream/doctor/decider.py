"""Checks of the decider: bundle or rules, thresholds, drift reference, and whether an open circuit breaker stops it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from tagstream.model_export.bundle.bundle import BundleError
from tagstream.model_export.bundle.bundle import read as read_bundle
from tagstream.model_export.bundle.manifest import LabelThreshold, Threshold
from tagstream.model_export.bundle.promise.promise import FOR_TEXTS
from tagstream.model_export.bundle.rules import RulesError
from tagstream.monitoring.drift import baseline
from tagstream.monitoring.vocabulary import few
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.decide.from_settings import RULES_CONSEQUENCE, decider_of, rules_of
from tagstream.stream.decide.pipeline import Decider, release_of
from tagstream.stream.deliver.breaker import BreakerFile
from tagstream.stream.doctor.findings import CheckFinding, Status, finding_of
from tagstream.stream.settings.settings import Settings


def decider(settings: Settings) -> Iterator[CheckFinding]:
    """Check the decider. Under `decider = rules`, yield a warning, and also check the bundle: a return to the model needs it."""
    if settings.decider == "model":
        yield _bundle(settings, refused=Status.FAIL)
        if settings.rules is not None:
            yield from _no_fallback(settings)
        return
    try:
        rules = decider_of(settings).model
    except RulesError as error:
        yield finding_of("decider", Status.FAIL, error)
        return
    bundle = _bundle(settings.model_copy(update={"decider": "model"}), refused=Status.WARN)
    yield CheckFinding(
        check="decider",
        status=Status.WARN,
        detail=f"{rules.name} {rules.version}, digest {rules.digest[:12]}: {RULES_CONSEQUENCE}",
        fix=f"TAGSTREAM_DECIDER=model {'now: the bundle verifies' if bundle.status is Status.OK else 'once the bundle verifies'}",
    )
    yield bundle


def _no_fallback(settings: Settings) -> Iterator[CheckFinding]:
    """Yield a warning if the rules file of the settings cannot be used, before the day on which an operator needs it."""
    try:
        rules_of(settings, read_bundle(settings.bundle))
    except RulesError as error:
        yield finding_of("rules", Status.WARN, error)
    except BundleError:
        # The check `bundle` has already reported this error.
        return


def _bundle(settings: Settings, *, refused: Status) -> CheckFinding:
    try:
        found = decider_of(settings)
    except BundleError as error:
        return finding_of("bundle", refused, error)
    model = found.model
    manifest = found.bundle.manifest if found.bundle is not None else None
    certificates, overall = (manifest.thresholds, manifest.threshold) if manifest is not None else ({}, None)
    thresholds = thresholds_in_words(found, certificates, settings.confidence_threshold, overall)
    detail = f"{model.name} {model.version}, digest {model.digest[:12]}, {thresholds}, {_golden(model)}"
    return CheckFinding(check="bundle", status=Status.OK, detail=detail)


def _golden(model: ModelRef) -> str:
    if model.arithmetic is None:
        return "golden texts agree"
    return f"golden texts agree within rounding (this processor's arithmetic is {model.arithmetic}, decisions have ids of their own)"


def thresholds_in_words(
    decider: Decider,
    certificates: Mapping[str, LabelThreshold],
    threshold: float | None,
    overall: Threshold | None = None,
) -> str:
    """
    Describe the thresholds that a worker applies, and say how many thresholds are certified.

    Args:
        decider: Applies the thresholds.
        certificates: The bundle's thresholds by label; empty for a bundle with one threshold for all labels.
        threshold: The setting `confidence_threshold`; None if it is not set.
        overall: The bundle's promise about all labels; None without a bundle.
    """
    if threshold is not None:
        return f"threshold {threshold} for every tag (setting confidence_threshold)"
    if not certificates:
        return f"threshold {decider.threshold}"
    below = {label: decider.asked_below(label) for label in certificates}
    own = few([f"{label} {'never' if at > 1 else at}" for label, at in below.items()])
    if overall is not None and overall.certified:
        return f"thresholds {own} (precision {overall.target_precision} certified of all published together, {FOR_TEXTS})"
    certified = sum(found.certified for found in certificates.values())
    return f"thresholds {own} ({certified} of {len(certificates)} certified, {FOR_TEXTS})"


def drift_reference(settings: Settings) -> CheckFinding:
    """Read the drift reference as a worker does. A worker does not start if it cannot read its reference."""
    if not settings.drift_window_events:
        return CheckFinding(check="drift", status=Status.OK, detail="not looked for (drift_window_events is 0)")
    path, by_model = settings.drift_reference, settings.decider == "model"
    if path is None and not by_model:
        return CheckFinding(check="drift", status=Status.OK, detail="not looked for while the rules decide")
    if path is None:
        windows = f"the first {settings.drift_reference_windows} windows of {settings.drift_window_events} decisions"
        detail = f"the group learns {windows}, over {settings.drift_learning_seconds:g} s at least"
        return CheckFinding(check="drift", status=Status.OK, detail=detail)
    try:
        reference = baseline.read(path)
    except baseline.BaselineError as error:
        # Under the rules no worker reads the reference. A worker reads it again when the model decides again.
        return finding_of("drift", Status.FAIL if by_model else Status.WARN, error)
    detail = f"{path}: {reference.events} events, digest {reference.digest[:12]}"
    other = _other_bundle(settings, reference)
    if other is None:
        return CheckFinding(check="drift", status=Status.OK, detail=detail)
    return CheckFinding(
        check="drift",
        status=Status.WARN,
        detail=f"{detail}, {other}: the difference between the two looks like drift",
        fix=f"make one with this bundle: tagstream drift --from FILE --out {path}",
    )


def _other_bundle(settings: Settings, reference: baseline.Baseline) -> str | None:
    """Return a phrase if another bundle than the settings' decided the reference's events; None if the same did, or if it is not known."""
    try:
        digest = read_bundle(settings.bundle).digest
    except BundleError:
        # The check `bundle` has already reported this error.
        return None
    if reference.model in {"", digest}:
        return None
    return f"made with the bundle {reference.model[:12]} and not with {digest[:12]}"


def circuit_breaker(settings: Settings, *, opened: Status) -> Iterator[CheckFinding]:
    """
    Check whether an open circuit breaker makes a worker of these settings wait. The check does not close the breaker.

    Args:
        settings: The settings that a worker would run with.
        opened: The finding's status if the breaker is open.
    """
    try:
        by_model = settings.decider == "model"
        digest = read_bundle(settings.bundle).digest if by_model else decider_of(settings).model.digest
    except BundleError:
        # No worker starts with this bundle, and a change of the bundle may close the breaker.
        return
    file = BreakerFile(settings, release=release_of(digest))
    found = file.look()
    if found is None:
        yield CheckFinding(check="circuit breaker", status=Status.OK, detail="closed")
        return
    since = "" if found.since is None else f" since {datetime.fromtimestamp(found.since, UTC):%Y-%m-%dT%H:%M:%SZ}"
    if found.answered:
        yield CheckFinding(
            check="circuit breaker",
            status=Status.WARN,
            detail=f"{file.path}: was open{since} under another release, bundle or limit: {found.why}",
            fix="start a worker with these settings: it removes the file, and the waiting workers go on",
        )
        return
    yield CheckFinding(
        check="circuit breaker",
        status=opened,
        detail=f"{file.path}: open{since}, a worker waits and decides nothing: {found.why}",
        fix=f"docs/runbooks/CircuitBreakerOpen.md, then remove {file.path}",
    )
