"""The figures with a limit, one record each. Page and `top` judge by the records, and `alarms` makes Prometheus' alerts of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tagstream.monitoring import limits
from tagstream.monitoring.signals import DISTRIBUTIONS, JUDGED, Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """
    A figure, and the limit above which it is an alarm.

    Attributes:
        name: The figure's name in JSON; empty for a figure that the page does not show as a measure.
        title: The figure's name on the page and in the terminal.
        series: PromQL of the figure for each job, over the span of Prometheus.
        limit: The limit in the figure's own unit. With a reference, it is added to `times` the reference's figure.
        reference: The series of the same figure, a share, in the reference in force; empty if the limit does not depend on a reference.
        times: The factor of the reference's figure.
        least: The least value that counts for the reference's figure; 0 for no least value.
    """

    name: str = ""
    title: str = ""
    series: str
    limit: float = 0.0
    reference: str = ""
    times: float = 1.0
    least: float = 0.0

    def at(self, reference: float | None) -> float | None:
        """
        Return the limit for this figure of the reference; None if the limit depends on a reference that is missing.

        >>> strange = Limited(series="ood", reference="usual", times=5, least=0.01)
        >>> strange.at(0.1), strange.at(0.001), strange.at(None)
        (0.5, 0.05, None)
        """
        if not self.reference:
            return self.limit
        if reference is None:
            return None
        usual = max(reference, self.least) if self.least else reference
        return min(1.0, self.limit + self.times * usual)

    def promql(self, where: str = "") -> str:
        """
        Return the limit in PromQL; `where` selects series of the reference.

        >>> Limited(series="ood", reference="usual", times=5, least=0.01).promql('{job="a"}')
        '5 * clamp_min(max by (job) (usual{job="a"}), 0.01)'
        """
        if not self.reference:
            return f"{self.limit:g}"
        usual = f"max by (job) ({self.reference}{where})"
        usual = f"clamp_min({usual}, {self.least:g})" if self.least else usual
        usual = f"{self.times:g} * {usual}" if self.times != 1 else usual
        return f"{self.limit:g} + {usual}" if self.limit else usual

    @property
    def exceeded(self) -> str:
        """The condition in PromQL that the figure is above its limit."""
        return f"{self.series}\n  > on (job)\n{self.promql()}" if self.reference else f"{self.series} > {self.promql()}"


# A share of the outcomes with an age. At this limit, an hour burns 2 % of a month's budget (FreshnessBurn).
LATE = Limited(
    name="stale", title=f"older than {limits.STALE_SECONDS:.0f} s", series="job:tagstream_event_age:stale_ratio5m", limit=0.144
)
# A share of all outcomes.
DEAD_LETTERS = Limited(name="dead_letter", title="dead letters", series="job:tagstream_dead_letter:ratio10m", limit=0.01)
# Shares of the decisions: the budget, which is also in recording.yml, and a rise above the reference that is reported within the budget.
REVIEW_BUDGET = Limited(name="review", title="sent to a person", series="job:tagstream_review:ratio1h", limit=0.8)
REVIEW_RISE = Limited(
    name="review",
    title="sent to a person",
    series="job:tagstream_review:ratio1h",
    limit=0.15,
    reference="tagstream_reference_review_ratio",
)
LABEL_MIX = Limited(name="labels", title="label mix (PSI)", series="job:tagstream_prediction_drift:psi1h", limit=0.2)
DISTANCES: Mapping[Signal, Limited] = MappingProxyType(
    {
        signal: Limited(name=signal.name, title=f"{DISTRIBUTIONS[signal].title} (KS)", series=signal.distance, limit=limit)
        for signal, limit in JUDGED.items()
    }
)
# The reference's share is only roughly known from a thousand rows.
STRANGE = Limited(
    name="out_of_distribution",
    title="unlike the training text",
    series="job:tagstream_ood:ratio1h",
    reference="tagstream_reference_ood_ratio",
    times=5,
    least=0.005,
)
UNDESCRIBED = Limited(
    name="without_description",
    title="title alone",
    series="job:tagstream_without_description:ratio1h",
    limit=0.2,
    reference="tagstream_reference_without_description_ratio",
)
UNSEEN_SOURCES = Limited(name="unseen_source", title="unknown source", series="job:tagstream_unseen_source:ratio1h", limit=0.1)

# Seconds for which the last stable offset of a partition has stood still before the end of the log.
OPEN_TRANSACTION = Limited(
    series="max by (job, partition) (time() - tagstream_open_transaction_since_timestamp_seconds)",
    limit=limits.OPEN_TRANSACTION_SECONDS,
)
# Seconds. A change of the model holds events for tens of milliseconds. A worker ends after `rollout.hold_seconds`, by default 30.
HELD = Limited(series="max by (job) (max_over_time(tagstream_rollout_held_seconds[2m]))", limit=10.0)
OPEN_BREAKERS = Limited(series="sum by (job) (tagstream_circuit_breaker_open)")
# The number of different bundles, and of different arithmetics of one bundle.
MODELS = Limited(series="count by (job) (count by (job, digest, arithmetic) (tagstream_model_info))", limit=1)
REFUSALS = Limited(series="sum by (job) (increase(tagstream_rollout_refusals_total[1h]))")
CHANGES = Limited(series="sum by (job, signal) (increase(tagstream_drift_changes_total[1h]))")
# The distance of the reference in force from the bundle's: of confidence or energy, whichever is larger.
UNLIKE_BUNDLE = Limited(
    series='max by (job) (tagstream_reference_distance_from_bundle{figure=~"confidence|energy"})', limit=0.1
)
