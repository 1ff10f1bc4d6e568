"""Where the worker stands, told every second, also while the broker does not answer."""

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry

from monitoring.health import Progress
from monitoring.metrics import Metrics
from stream.position import Position
from tests.fakes import LABELS, Clock


class SilentBroker:
    """A Faust app whose broker is gone."""

    @property
    def consumer(self) -> Any:
        """Nothing can be asked."""
        msg = "gone"
        raise ConnectionError(msg)


class Waiting:
    """A delivery with events in hand."""

    inflight = 3

    def oldest_seconds(self, now: float) -> float:
        """One was written a minute and a half ago."""
        assert now > 0
        return 90.0


def test_what_is_in_hand_is_told_while_the_broker_is_silent() -> None:
    """The age of the oldest event matters most when nothing moves."""
    registry, delivery, app = CollectorRegistry(), Waiting(), SilentBroker()
    metrics = Metrics(registry, labels=LABELS, topic="content")
    progress = Progress(stall_seconds=20, monotonic=Clock())
    asyncio.run(Position(app, delivery, metrics, progress).tick())  # type: ignore[arg-type]
    names = ("oldest_unprocessed_seconds", "inflight_events", "committed_lag_events", "last_commit_timestamp_seconds")
    assert [registry.get_sample_value(f"tagstream_{name}") for name in names] == [90.0, 3.0, 0.0, 0.0]
