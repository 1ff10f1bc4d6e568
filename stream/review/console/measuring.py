"""Live quality beside the console: estimated once a minute in a thread of its own, for the page and for Prometheus."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from monitoring.metrics.quality import QualityMetrics
from monitoring.quality import words
from monitoring.quality.words import Table
from stream.contract.publication import timestamp
from stream.database.database import DatabaseUnavailableError
from stream.logs import logger
from stream.review.live_quality import LiveQuality, live_quality
from stream.review.store.store import Store, unix_ms

EVERY_SECONDS = 60.0
# A large store takes some time to be summed: an estimate rests so many times as long as it took.
REST = 10
# The thread may be in the middle of an estimate.
STOP_SECONDS = 30.0

log = logger("tagstream.review")


def advice(found: LiveQuality) -> str:
    """Whether new thresholds are worth doing; empty where nothing was measured."""
    return "" if found.report is None else words.verdict(found.report)


def tables(found: LiveQuality) -> tuple[Table, ...]:
    """The tables of `tagstream quality`; none where nothing was measured."""
    return () if found.report is None else words.tables(found.report)


def headline(found: LiveQuality | None, failure: str | None = None) -> str:
    """The one sentence to read."""
    if failure is not None:
        before = "No estimate was made yet" if found is None else f"What follows was estimated at {timestamp(found.until_ms)}"
        return f"The last estimate failed ({failure}). {before}. Next: see the console's log for quality_not_measured."
    if found is None:
        return "The first estimate is being made. Next: look again in a minute."
    if found.report is None:
        return "No decision of the last 30 days was drawn for people, so nothing can be measured. Next: see that the topic audit is there."
    return words.headline(found.report, days=found.days)


class Measuring:
    """
    The newest estimate of a store.

    Attributes:
        latest: None until the first one is made.
        failure: Why the last look made none; None where it did.
    """

    def __init__(self, store: Store, metrics: QualityMetrics, *, bundle: Path, clock: Callable[[], int] = unix_ms) -> None:
        """Estimate nothing yet; `bundle` is the folder of the one that decides, `clock` is Unix milliseconds."""
        self._bundle = bundle
        self._clock = clock
        self._store = store
        self._metrics = metrics
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="measuring", daemon=True)
        self._text = threading.Lock()
        self.latest: LiveQuality | None = None
        self.failure: str | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End, within `STOP_SECONDS`."""
        self._stop.set()
        self._thread.join(timeout=STOP_SECONDS)

    def measure(self) -> None:
        """
        Estimate now.

        Raises:
            DatabaseUnavailableError: The store does not answer.
        """
        now_ms = self._clock()
        found = live_quality(self._store, now_ms=now_ms, bundle=self._bundle)
        with self._text:
            self._metrics.left_out(decisions=found.left_out.unsound, answers=found.left_out.strays)
            if found.report is not None:
                self._metrics.report(found.report, now=now_ms / 1000)
        self.latest = found

    def metrics(self) -> bytes:
        """
        The text of `/metrics`: what waits now, and the newest estimate.

        Raises:
            DatabaseUnavailableError: The store does not answer.
        """
        queue = self._store.queue()
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
            # People go on answering: an estimate that fails ends nothing but itself.
            except Exception as error:
                self._failed(f"{type(error).__name__}: {error}")
                log.exception("quality_not_measured")
            self._stop.wait(max(EVERY_SECONDS, REST * (time.monotonic() - began)))

    def _failed(self, why: str) -> None:
        self.failure = why
        with self._text:
            self._metrics.failed()
