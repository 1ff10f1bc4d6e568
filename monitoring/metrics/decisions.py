"""
Counts the decisions of a model: which labels, how sure, on what texts, and their drift. A worker and `serve` export the same series.

Prometheus' label `job` tells them apart, so each rule, alert and board judges either.
"""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry

from tagstream.monitoring.metrics.bulk import observe_all
from tagstream.monitoring.metrics.families import DriftFamilies, InputFamilies, ModelFamilies
from tagstream.monitoring.metrics.reference import ReferenceGauges, distances
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import DriftSignal, Signals
from tagstream.monitoring.vocabulary import DriftKind, DriftScore, SourceKind, TextFlag

# A label that the bundle does not have is counted under this name, so that the label set stays closed. Its series is made only then, so the
# page of a bundle without such a label has no line for it.
UNKNOWN_LABEL = "other"
NOTHING: Mapping[str, Any] = MappingProxyType({})


class DecisionMetrics:
    """The decisions of one process, on one registry; updates are per batch."""

    def __init__(self, registry: CollectorRegistry, *, labels: Sequence[str], known_sources: Collection[str] = ()) -> None:
        """
        Register every metric and create every series.

        Args:
            registry: The registry for the metrics.
            labels: The bundle's labels, the closed set of the label `label`.
            known_sources: The expected producers; if empty, every producer that gives a name is known.
        """
        self._model = ModelFamilies(registry)
        self._inputs = InputFamilies(registry, labels=labels)
        self._drift = DriftFamilies(registry)
        self._reference = ReferenceGauges(labels=labels)
        registry.register(self._reference)
        self._of_bundle: Mapping[str, Any] = NOTHING
        self._labels = frozenset(labels)
        self._known_sources = frozenset(known_sources)

    def know(self, labels: Collection[str]) -> None:
        """Begin the series of these labels, if they are new."""
        self._labels |= frozenset(labels)
        self._inputs.know(labels)

    def known(self, label: str) -> str:
        """The name under which decisions of this label are counted."""
        return label if label in self._labels else UNKNOWN_LABEL

    def model_loaded(
        self,
        *,
        name: str,
        version: str,
        digest: str,
        arithmetic: str | None = None,
        now: float,
        thresholds: Mapping[str, float] = NOTHING,
        reference: Mapping[str, Any] = NOTHING,
    ) -> None:
        """
        Show the bundle that decides from now on. Counters of labels that only earlier bundles had stay.

        Args:
            name: The bundle's name.
            version: The bundle's version.
            digest: The bundle's digest.
            arithmetic: The processor's arithmetic, if it differs from the arithmetic of the machine that made the bundle; else None.
            now: The time of the loading, Unix seconds.
            thresholds: By label, for all labels of the bundle, the confidence below which a person is asked.
            reference: The reference in the bundle's manifest; empty if it has none.
        """
        own = {"arithmetic": arithmetic} if arithmetic is not None else {}
        self._model.model.info({"name": name, "version": version, "digest": digest, **own})
        self._model.model_loaded.set(now)
        self._model.threshold.clear()
        self._reference.labels = tuple(thresholds) or self._reference.labels
        self.know(thresholds)
        for label, threshold in thresholds.items():
            self._model.threshold.labels(label).set(threshold)
        self._reference.replace(reference)
        self._of_bundle = reference
        self._drift.from_bundle.clear()

    def decided(self, observations: Sequence[Observation]) -> None:
        """Count decisions. Dead letters are left out."""
        confidences: defaultdict[str, list[float]] = defaultdict(list)
        flags: Tally[TextFlag] = Tally()
        truncated = 0
        for seen in observations:
            truncated += seen.truncated
            # Most events have no flags, and an update without values costs as much as any other.
            if seen.text_flags:
                flags.update(seen.text_flags)
            if seen.label is not None and seen.confidence is not None:
                confidences[self.known(seen.label)].append(seen.confidence)
        for label, values in confidences.items():
            self._inputs.predictions.labels(label).inc(len(values))
            observe_all(self._inputs.confidence.labels(label), values)
        for flag, count in flags.items():
            self._inputs.flags.labels(flag.value).inc(count)
        self._inputs.truncated.inc(truncated)
        self._observe_signals([seen.signals for seen in observations if seen.signals is not None])

    def _observe_signals(self, signals: Sequence[Signals]) -> None:
        sources: Tally[SourceKind] = Tally()
        undescribed = strange = 0
        for seen in signals:
            undescribed += not seen.described
            strange += seen.out_of_distribution
            sources[self._kind_of(seen.source)] += 1
        for value, histogram in self._inputs.numbers:
            observe_all(histogram, list(map(value, signals)))
        for source, count in sources.items():
            self._inputs.sources.labels(source.value).inc(count)
        self._inputs.undescribed.inc(undescribed)
        self._inputs.ood.inc(strange)

    def _kind_of(self, source: str | None) -> SourceKind:
        if source is None:
            return SourceKind.MISSING
        return SourceKind.KNOWN if not self._known_sources or source in self._known_sources else SourceKind.UNSEEN

    def drift_reference(self, reference: Mapping[str, Any]) -> None:
        """Show the reference in force from now on; empty while the group learns."""
        self._reference.replace(reference)
        self._drift.from_bundle.clear()
        for figure, distance in distances(reference, self._of_bundle).items():
            self._drift.from_bundle.labels(figure).set(distance)

    def drift_learned(self, ratio: float) -> None:
        """Show the share of the reference that the group has learned, 0 to 1."""
        self._drift.learned.set(ratio)

    def drift_change(self, signal: str, now: float) -> None:
        """A signal, one of `DriftSignal`, changed suddenly, and it was seen at `now` (Unix seconds)."""
        self._drift.last_change.set(now)
        self._drift.changes.labels(DriftSignal(signal).value).inc()

    def drift_evaluated(
        self, window_events: int, scores: Mapping[str, float], now: float, floods: Mapping[str, float] = NOTHING
    ) -> None:
        """
        A window was compared with the reference.

        Args:
            window_events: The number of decisions in the window.
            scores: The scores that could be computed, by `DriftScore`.
            now: The time of the comparison, Unix seconds.
            floods: By score that is a finding of one producer alone, that producer's share of the window.
        """
        for score, value in scores.items():
            self._drift.scores.labels(DriftScore(score).value).set(value)
        for score in DriftScore:
            self._drift.floods.labels(score.value).set(floods.get(score.value, 0.0))
        self._drift.window.set(window_events)
        self._drift.evaluated.set(now)

    def drift_finding(self, kind: str) -> None:
        """A drift event of this kind, one of `DriftKind`, was published."""
        self._drift.findings.labels(DriftKind(kind).value).inc()

    def drift_unpublished(self, kind: str) -> None:
        """A finding of this kind, one of `DriftKind`, could not be published."""
        self._drift.unpublished.labels(DriftKind(kind).value).inc()

    def drift_plan(self, window_events: int, thresholds: Mapping[str, float]) -> None:
        """The size of a window, and by `DriftScore` the score from which a window is a finding."""
        self._drift.window.set(window_events)
        for score, value in thresholds.items():
            self._drift.thresholds.labels(DriftScore(score).value).set(value)
