"""The reference in force as gauges, and its distance from the bundle's reference. A missing figure has no series, and not a zero.

This is a collector and not single gauges, because a new reference replaces all figures of the previous reference.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from tagstream.monitoring.comparison import ks, psi
from tagstream.monitoring.signals import DISTRIBUTIONS, JUDGED, Distribution

# By metric name after `tagstream_reference_`, the key in the reference and the help text.
SHARES = {
    "ood_ratio": ("ood_ratio", "Share of reference texts that are out of distribution."),
    "truncated_ratio": ("truncated_ratio", "Share of reference texts that did not fit into the network."),
    "without_description_ratio": ("without_description_ratio", "Share of reference texts that are a title alone."),
    "review_ratio": ("review_ratio", "Share of reference decisions that went to a person."),
    "events": ("rows", "Texts in the reference."),
}
PREFIX = "tagstream_reference_"


def distances(reference: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """
    The distances between two references, by figure: `labels` by the stability index, the others by their distributions.

    >>> distances({"energy_cdf": {"0.0": 0.25}}, {"energy_cdf": {"0.0": 0.5}, "label_ratio": {"mlops": 1.0}})
    {'energy': 0.25}
    """
    found = {"labels": psi(reference.get("label_ratio") or {}, other.get("label_ratio") or {})}
    for signal in JUDGED:
        found[signal.name] = ks(reference.get(signal.cdf) or {}, other.get(signal.cdf) or {})
    return {name: value for name, value in found.items() if value is not None}


class ReferenceGauges(Collector):
    """
    The gauges of a reference, the figures of ordinary traffic.

    >>> gauges = ReferenceGauges(labels=("mlops", "other"))
    >>> gauges.replace({"rows": 9, "label_ratio": {"mlops": 0.25, "other": 0.75}})
    >>> [(sample.name, sample.value) for family in gauges.collect() for sample in family.samples][:2]
    [('tagstream_reference_label_ratio', 0.25), ('tagstream_reference_label_ratio', 0.75)]
    """

    def __init__(self, *, labels: Sequence[str]) -> None:
        """`labels` is the closed set of the label `label`. There are no series before the first `replace`."""
        self.labels = labels
        self._families = self._made_of({})

    def replace(self, reference: Mapping[str, Any]) -> None:
        """Show this reference from now on."""
        self._families = self._made_of(reference)

    def collect(self) -> Iterable[Metric]:
        """The present series, for the registry."""
        return self._families

    def describe(self) -> Iterable[Metric]:
        """The names of the series, so that the registry can refuse duplicates."""
        return self._made_of({})

    def _made_of(self, reference: Mapping[str, Any]) -> list[Metric]:
        ratios = GaugeMetricFamily(f"{PREFIX}label_ratio", "Share of each predicted label in the reference.", labels=["label"])
        found: Mapping[str, float] = reference.get("label_ratio") or {}
        for label in self.labels:
            if label in found:
                ratios.add_metric([label], found[label])
        return [
            ratios,
            *(_distribution(counted, reference.get(signal.cdf) or {}) for signal, counted in DISTRIBUTIONS.items()),
            *(_share(PREFIX + name, text, reference.get(key)) for name, (key, text) in SHARES.items()),
        ]


def _distribution(counted: Distribution, found: Mapping[str, float]) -> Metric:
    """
    The edges of the live histogram, spelled as the client library spells them; PromQL joins on this text.

    The label is not `le`, because `promtool check metrics` allows `le` only on histograms.
    """
    family = GaugeMetricFamily(counted.reference, counted.reference_meaning, labels=["at_most"])
    for edge in counted.edges:
        if str(edge) in found:
            family.add_metric([floatToGoString(edge)], found[str(edge)])  # type: ignore[no-untyped-call]
    if family.samples:
        family.add_metric([floatToGoString(float("inf"))], 1.0)  # type: ignore[no-untyped-call]
    return family


def _share(name: str, text: str, found: float | None) -> Metric:
    family = GaugeMetricFamily(name, text)
    if found is not None:
        family.add_metric([], found)
    return family
