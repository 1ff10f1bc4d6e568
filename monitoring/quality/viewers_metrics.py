"""The metrics of viewers' answers, on the registry of a review console."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge

from tagstream.monitoring.quality.feedback import ViewersAnswers

STATES = ("asked", "answered")
ANSWERS = ("right", "wrong")


class ViewersMetrics:
    """The gauges. Who answers is not drawn, so no gauge of live quality contains them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the gauges, at 0."""
        self._decisions = Gauge(
            "tagstream_viewers_decisions",
            "Decisions of the window that viewers were asked about, and of these the ones with an answer.",
            ["state"],
            registry=registry,
        )
        self._votes = Gauge(
            "tagstream_viewers_votes", "What viewers said about these, one vote of each viewer.", ["answer"], registry=registry
        )
        self.set(())

    def set(self, found: Iterable[ViewersAnswers]) -> None:
        """Set the gauges to the sums over all models."""
        whole = sum(found, ViewersAnswers())
        for state, count in zip(STATES, (whole.asked, whole.answered), strict=True):
            self._decisions.labels(state).set(count)
        for answer, count in zip(ANSWERS, (whole.right, whole.votes - whole.right), strict=True):
            self._votes.labels(answer).set(count)
