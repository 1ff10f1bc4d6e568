"""The thresholds of a bundle earned from people's answers: network, tokenizer and temperature stay to the byte."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from model_export.bundle import bundle as bundles
from model_export.bundle.bundle import Bundle
from model_export.bundle.classifier import OnnxClassifier
from model_export.bundle.manifest import ALWAYS_ASK, Manifest
from model_export.bundle.promise.promise import FOR_TEXTS, certainty
from model_export.bundle.strangeness import limits_in
from model_export.calibrate.earned import Earned, Evidence, earn
from model_export.calibrate.errors import CalibrationError
from model_export.calibrate.together import ALL, earn_together
from model_export.data.splits import Splits
from model_export.measure import bundle_metrics

# The part of `training` in a manifest that says what was earned.
EARNED = "earned"
SUFFIX = "-earned."


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """
    A bundle with earned thresholds, and what it buys.

    Attributes:
        bundle: The bundle that was written.
        verdicts: By label; one on `together.ALL` where the promise is about all published decisions together.
        before: The share of events, 0 to 1, that the old thresholds publish; an estimate from the answers.
        after: The same for the new thresholds.
        answers: How many answers it rests on.
    """

    bundle: Bundle
    verdicts: Mapping[str, Earned]
    before: float
    after: float
    answers: int

    def as_text(self) -> str:
        """The figures as lines of text."""
        manifest = self.bundle.manifest
        return "\n".join(
            [
                f"{manifest.name} {manifest.version}, digest {self.bundle.digest[:12]}, in {self.bundle.path}",
                f"published without asking: {self.after:.1%} of events, {self.before:.1%} before, by {self.answers:,} answers",
                *(sentence(label, found) for label, found in self.verdicts.items()),
            ]
        )

    def as_record(self) -> dict[str, object]:
        """The figures for programs."""
        return {
            "digest": self.bundle.digest,
            "version": self.bundle.manifest.version,
            "answers": self.answers,
            "published_before": round(self.before, 6),
            "published_after": round(self.after, 6),
            "labels": {
                label: {"verdict": found.verdict, **msgspec.to_builtins(found.threshold)}
                for label, found in self.verdicts.items()
            },
        }


def lineage(manifest: Manifest, digest: str) -> tuple[str, ...]:
    """The digests of the bundles whose answers this one can use: its own, and those that its thresholds were earned from."""
    return (*_record(manifest).get("lineage", ()), digest)


def earn_bundle(folder: Path, *, bundle: Bundle, evidence: Evidence, splits: Splits, precision: float) -> Gain:
    """
    Write a bundle with the thresholds that the answers prove.

    Args:
        folder: Where the new bundle goes.
        bundle: The one whose network is kept.
        evidence: The answers about decisions of this network.
        splits: The rows on which the new thresholds are measured too. The old figures stay where they have other labels.
        precision: The share right that the thresholds shall reach.

    Raises:
        CalibrationError: The answers change no threshold, or the bundle has none by label; the message says what is missing.
    """
    manifest = bundle.manifest
    record = _record(manifest)
    if not manifest.thresholds or not 0.0 < precision < 1.0:
        msg = (
            "thresholds are earned label by label, for a precision between 0 and 1, and this bundle has one threshold for all. "
            "Next: `tagstream model calibrate` without --reviewed gives each label its own."
        )
        raise CalibrationError(msg)
    # Where a walk begins is fixed once, before the first answer: the thresholds of the first bundle.
    fixed = record.get("start") or {}
    together = manifest.threshold
    if together.promise is None:
        start = {label: fixed.get(label, found.confidence) for label, found in manifest.thresholds.items()}
        verdicts = earn(evidence, present=manifest.thresholds, start=start, target_precision=precision)
        own = {label: found.threshold for label, found in verdicts.items()}
    else:
        start = {ALL: fixed.get(ALL, together.confidence)}
        earned_together = earn_together(
            evidence, threshold=together, present=manifest.thresholds, start=start[ALL], target_precision=precision
        )
        verdicts, own = {ALL: earned_together.verdict}, earned_together.thresholds
        together = earned_together.threshold
    less = [
        label for label, found in verdicts.items() if found.verdict == "kept" and found.threshold.target_precision < precision
    ]
    if less:
        msg = (
            f"the answers do not prove {precision} for {', '.join(less)}, whose present threshold promises less. Next: give "
            f"--precision {min(verdicts[label].threshold.target_precision for label in less)}, or more answers."
        )
        raise CalibrationError(msg)
    old, new = manifest.asked_below(), {label: found.confidence for label, found in own.items()}
    if own == manifest.thresholds:
        raise _refusal(verdicts, evidence.answers)
    before, after = evidence.published(old), evidence.published(new)
    number = int(record.get("number", 0)) + 1
    earned = {
        "number": number,
        "start": start,
        "lineage": list(lineage(manifest, bundle.digest)),
        "answers": evidence.answers,
        "published_before": round(before, 6),
        "published_after": round(after, 6),
    }
    metrics = manifest.metrics
    if set(splits.labels) <= set(manifest.labels):
        measured = bundle_metrics.measure(OnnxClassifier(bundle), splits, thresholds=new, limits=limits_in(manifest.reference))
        metrics = measured.as_json()
    made = msgspec.structs.replace(
        manifest,
        version=f"{manifest.version.partition(SUFFIX)[0]}{SUFFIX}{number}",
        threshold=together,
        thresholds=own,
        metrics=metrics,
        training={**manifest.training, EARNED: earned},
        # How many texts rounding sends to another topic depends on the thresholds, and the network before rounding is gone.
        parity={name: found for name, found in manifest.parity.items() if name != "routing_flips"},
    )
    written = bundles.write(folder, manifest=made, model=bundle.model, tokenizer=bundle.tokenizer)
    return Gain(bundle=written, verdicts=verdicts, before=before, after=after, answers=evidence.answers)


def sentence(label: str, found: Earned) -> str:
    """The verdict on a label in words."""
    threshold = found.threshold
    match found.verdict:
        case "earned":
            return (
                f"{label}: earned from confidence {threshold.confidence} on. {threshold.rows:,} answers there say that "
                f"{threshold.precision:.4f} is right; with {certainty(threshold.bound_level)} certainty, on all days together, it is "
                f"{threshold.precision_lower_bound:.4f} or more, {FOR_TEXTS}"
            )
        case "withdrawn":
            return (
                f"{label}: the answers disprove a precision of {threshold.target_precision}: a person is asked about all of it "
                "until they prove a part of it"
            )
        case "kept":
            at = "a person is always asked" if threshold.confidence == ALWAYS_ASK else f"it stays at {threshold.confidence}"
            if not found.answers:
                return f"{label}: there are no answers about it, {at}"
            missing = (
                f"{found.times_needed:.1f} times as many answers like these would begin to"
                if found.times_needed is not None
                else "no number of answers like these would"
            )
            return f"{label}: the answers prove nothing new, {at}; {missing}"


def _refusal(verdicts: Mapping[str, Earned], answers: int) -> CalibrationError:
    found = "; ".join(sentence(label, each) for label, each in verdicts.items())
    return CalibrationError(
        f"{answers:,} answers prove no other threshold than the present ones, so no bundle is written. {found}. "
        "Next: answer more of what is asked, audits first, and calibrate again."
    )


def _record(manifest: Manifest) -> dict[str, Any]:
    found = manifest.training.get(EARNED)
    return found if isinstance(found, dict) else {}
