"""New thresholds of a bundle, earned from people's answers. Network, tokenizer and temperature do not change."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold, Manifest, Threshold
from tagstream.model_export.bundle.model import OnnxClassifier, limits_in
from tagstream.model_export.bundle.promise.promise import FOR_TEXTS, certainty
from tagstream.model_export.calibrate.earned_overall import ALL, earn_overall
from tagstream.model_export.calibrate.earned_thresholds import Earned, Evidence, earn
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make.draft import Draft, Finished
from tagstream.model_export.measure import bundle_metrics

# The entry of `training` in a manifest with the record of the earned thresholds.
EARNED = "earned"
SUFFIX = "-earned."
# The cost is that of so many.
EVENTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """
    The reviews that earned thresholds save.

    Attributes:
        verdicts: The verdicts by label. A promise about all published decisions together has one verdict, on `earned_overall.ALL`.
        before: The share of events, 0 to 1, that the old thresholds publish; an estimate from the answers.
        after: The share of events, 0 to 1, that the new thresholds publish; an estimate from the answers.
        answers: Number of answers behind the estimates.
        costs: What an event costs under the old and under the new thresholds, an estimate from the answers; None without prices.
        currency: The unit of the costs; may be empty.
    """

    verdicts: Mapping[str, Earned]
    before: float
    after: float
    answers: int
    costs: tuple[float, float] | None = None
    currency: str = ""

    def lines(self) -> list[str]:
        """Return the figures as lines of text."""
        return [
            f"published without asking: {self.after:.1%} of events, {self.before:.1%} before, by {self.answers:,} answers",
            *self._cost(),
            *(sentence(label, found) for label, found in self.verdicts.items()),
        ]

    def as_record(self) -> dict[str, object]:
        """Return the figures for programs."""
        return {
            "answers": self.answers,
            "published_before": round(self.before, 6),
            "published_after": round(self.after, 6),
            **({} if self.costs is None else {"cost_before": round(self.costs[0], 6), "cost_after": round(self.costs[1], 6)}),
            "labels": {
                label: {"verdict": found.verdict, **msgspec.to_builtins(found.threshold)}
                for label, found in self.verdicts.items()
            },
        }

    def _cost(self) -> list[str]:
        if self.costs is None:
            return []
        before, after = (f"{EVENTS * one:,.0f}" for one in self.costs)
        unit = f" {self.currency}" if self.currency else ""
        return [
            f"{EVENTS:,} events cost {after}{unit}, {before} before: mistakes and people, by the answers that prove the thresholds"
        ]


def lineage(manifest: Manifest, digest: str) -> tuple[str, ...]:
    """Return the digests of the bundles whose answers this bundle can use: its predecessors in earning thresholds, and itself."""
    return (*_record(manifest).get("lineage", ()), digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earning:
    """
    The change of a bundle's thresholds by people's answers. Network, tokenizer, temperature and reference do not change.

    Attributes:
        bundle: The bundle.
        evidence: The answers about decisions of the bundle's network.
        precision: The target precision of the thresholds, over 0 and below 1.
    """

    bundle: Bundle
    evidence: Evidence
    precision: float

    def finished(self, rows: Splits) -> tuple[Finished, Gain]:
        """
        Return the bundle with the thresholds that the answers prove, and the reviews that they save.

        Args:
            rows: Rows on which the new thresholds are measured.

        Raises:
            CalibrationError: The answers change no threshold, or the bundle does not have a threshold for each label. The message names
                what is missing.
        """
        manifest, evidence = self.bundle.manifest, self.evidence
        walk = self._walk()
        _refuse_less(walk.verdicts, self.precision)
        if walk.thresholds == manifest.thresholds:
            raise _refusal(walk.verdicts, evidence.answers)
        new = {label: found.confidence for label, found in walk.thresholds.items()}
        gain = Gain(
            verdicts=walk.verdicts,
            before=evidence.published(manifest.asked_below()),
            after=evidence.published(new),
            answers=evidence.answers,
            costs=_costs(evidence, manifest.asked_below(), new),
            currency="" if evidence.prices is None else evidence.prices.currency,
        )
        metrics = None
        if set(rows.labels) <= set(manifest.labels):
            metrics = bundle_metrics.measure(
                OnnxClassifier(self.bundle), rows, thresholds=new, limits=limits_in(manifest.reference)
            )
        number = int(_record(manifest).get("number", 0)) + 1
        earned = {
            "number": number,
            "start": walk.start,
            "lineage": list(lineage(manifest, self.bundle.digest)),
            "answers": gain.answers,
            "published_before": round(gain.before, 6),
            "published_after": round(gain.after, 6),
        }
        draft = Draft.of(self.bundle).saying(
            version=f"{manifest.version.partition(SUFFIX)[0]}{SUFFIX}{number}",
            threshold=walk.threshold,
            thresholds=walk.thresholds,
            # The old thresholds had this cost, on rows that had chosen none. There are no such answers.
            priced=None,
            metrics=manifest.metrics if metrics is None else metrics.as_json(),
            training={**manifest.training, EARNED: earned},
            # "routing_flips" depends on the thresholds. It cannot be measured again, because the network before rounding is gone.
            parity={name: found for name, found in manifest.parity.items() if name != "routing_flips"},
        )
        return Finished(draft=draft, metrics=metrics), gain

    def _walk(self) -> "_Walk":
        manifest, threshold = self.bundle.manifest, self.bundle.manifest.threshold
        if not manifest.thresholds or not 0.0 < self.precision < 1.0:
            msg = (
                "thresholds are earned label by label, for a precision between 0 and 1, and this bundle has one threshold for all. "
                "Next: `tagstream model calibrate` without --reviewed gives each label its own."
            )
            raise CalibrationError(msg)
        if manifest.priced is not None and self.evidence.prices is None:
            msg = (
                "the bundle's thresholds follow prices, and without prices the answers would lower them as far as they prove the promise. "
                "Next: give --costs FILE too."
            )
            raise CalibrationError(msg)
        if threshold.promise is not None and self.evidence.prices is not None:
            msg = (
                "prices choose a threshold for each label, and this bundle has one promise about all labels together. "
                "Next: leave out --costs; or `tagstream model calibrate --costs FILE` without --reviewed first."
            )
            raise CalibrationError(msg)
        # The start of a walk is fixed before the first answer: the thresholds of the first bundle.
        fixed = _record(manifest).get("start") or {}
        if threshold.promise is None:
            start = {label: fixed.get(label, found.confidence) for label, found in manifest.thresholds.items()}
            verdicts = earn(self.evidence, present=manifest.thresholds, start=start, target_precision=self.precision)
            own = {label: found.threshold for label, found in verdicts.items()}
            return _Walk(start=start, verdicts=verdicts, threshold=threshold, thresholds=own)
        start = {ALL: fixed.get(ALL, threshold.confidence)}
        found = earn_overall(
            self.evidence, threshold=threshold, present=manifest.thresholds, start=start[ALL], target_precision=self.precision
        )
        return _Walk(start=start, verdicts={ALL: found.verdict}, threshold=found.threshold, thresholds=found.thresholds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """The start of a walk over the answers, and its results: verdicts and thresholds."""

    start: Mapping[str, float]
    verdicts: Mapping[str, Earned]
    threshold: Threshold
    thresholds: dict[str, LabelThreshold]


def _costs(evidence: Evidence, old: Mapping[str, float], new: Mapping[str, float]) -> tuple[float, float] | None:
    before, after = evidence.cost(old), evidence.cost(new)
    return None if before is None or after is None else (before, after)


def _refuse_less(verdicts: Mapping[str, Earned], precision: float) -> None:
    less = [
        label for label, found in verdicts.items() if found.verdict == "kept" and found.threshold.target_precision < precision
    ]
    if less:
        msg = (
            f"the answers do not prove {precision} for {', '.join(less)}, whose present threshold promises less. Next: give "
            f"--precision {min(verdicts[label].threshold.target_precision for label in less)}, or more answers."
        )
        raise CalibrationError(msg)


def sentence(label: str, found: Earned) -> str:
    """Return the verdict on a label in words."""
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
                f"{label}: the answers disprove a precision of {threshold.target_precision}: a person is asked about every "
                "decision for this label until the answers prove a part of them"
            )
        case "asked":
            return f"{label}: by the answers and the prices a person costs less than the mistakes: a person is always asked"
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
