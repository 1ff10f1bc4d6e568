"""Estimates live quality once a minute, in a thread of its own, for the console's page and for Prometheus."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tagstream.monitoring.quality.costs import Costs
from tagstream.monitoring.quality.metrics import QualityMetrics
from tagstream.monitoring.quality.value import ValueReport
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.logs import logger
from tagstream.stream.review.bundles import Bundles
from tagstream.stream.review.live_quality import LiveQuality, live_quality
from tagstream.stream.review.live_value import live_value
from tagstream.stream.review.store.records import unix_ms
from tagstream.stream.review.store.store import Store

EVERY_SECONDS = 60.0
# Summing a large store takes some time. The pause after an estimate is at least this multiple of the estimate's duration.
REST = 10
# The longest wait for the thread, which may be in the middle of an estimate.
STOP_SECONDS = 30.0

log = logger("tagstream.review")


class QualityThread:
    """
    The newest estimate of a store.

    Attributes:
        latest: The newest estimate; None until the first estimate is made.
        worth: What the decisions of that estimate are worth; None until then.
        failure: The reason why the last estimate failed; None if it did not fail.
    """

    def __init__(
        self,
        store: Store,
        metrics: QualityMetrics,
        *,
        bundles: Bundles,
        costs: Costs | None = None,
        clock: Callable[[], int] = unix_ms,
    ) -> None:
        """
        Prepare the thread. Nothing is estimated yet.

        Args:
            store: The store to estimate from.
            metrics: Receive each estimate.
            bundles: Looks up the bundles that decided.
            costs: The prices of people's time and of mistakes; None for no money.
            clock: Returns Unix milliseconds.
        """
        self._bundles = bundles
        self._costs = costs
        self._clock = clock
        self._store = store
        self._metrics = metrics
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="measuring", daemon=True)
        self._text = threading.Lock()
        self.latest: LiveQuality | None = None
        self.worth: ValueReport | None = None
        self.failure: str | None = None

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the thread, within `STOP_SECONDS`."""
        self._stop.set()
        self._thread.join(timeout=STOP_SECONDS)

    def measure(self) -> None:
        """
        Estimate now.

        Raises:
            DatabaseUnavailableError: The store does not answer.
        """
        now_ms = self._clock()
        found = live_quality(self._store, now_ms=now_ms, bundles=self._bundles)
        worth = live_value(self._store, found, self._costs)
        with self._text:
            self._metrics.value(worth)
            self._metrics.viewers.set(found.viewers.values())
            self._metrics.left_out(decisions=found.left_out.unsound, answers=found.left_out.strays)
            if found.report is not None:
                self._metrics.report(found.report, now=now_ms / 1000)
        self.latest, self.worth = found, worth

    def metrics(self) -> bytes:
        """
        Return the text of `/metrics`: the figures of the queue now, and the newest estimate.

        Raises:
            DatabaseUnavailableError: The store does not answer.
        """
        queue = self._store.queue.figures()
        with self._text:
            self._metrics.queue(
                waiting={door.value: count for door, count in queue.open.items()},
                held=queue.held,
                oldest_ms=queue.oldest_ms,
                answered=queue.answered,
                unmatched_reports=queue.unmatched_reports,
            )
            return self._metrics.text()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self.measure()
                self.failure = None
            except DatabaseUnavailableError as error:
                self._failed(str(error))
                log.warning("quality_not_measured", error=str(error))
            # A failed estimate must not end the thread or the console, because people go on answering.
            except Exception as error:
                self._failed(f"{type(error).__name__}: {error}")
                log.exception("quality_not_measured")
            self._stop.wait(max(EVERY_SECONDS, REST * (time.monotonic() - began)))

    def _failed(self, why: str) -> None:
        self.failure = why
        with self._text:
            self._metrics.failed()
