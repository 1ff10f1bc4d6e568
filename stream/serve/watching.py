"""
`tagstream serve` watches its requests for drift as a worker watches its events: by the same series, detectors and findings.

Each process watches its own requests. Its reference is the past of `serve`, under the group name `GROUP-serve`: requests need not be like
the stream. Brokers are not needed: without them a process learns a reference of its own, and its findings are in log and metrics.
"""

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from tagstream.monitoring.metrics.decisions import DecisionMetrics
from tagstream.monitoring.metrics.http import HttpMetrics
from tagstream.monitoring.observer import NullObserver, Observation, Observer
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.announcement import announce
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.drift.observer import PUBLISH_SECONDS, DriftObserver, Send, watch_of
from tagstream.stream.drift.references import References
from tagstream.stream.kafka.admin import require
from tagstream.stream.kafka.producer import VerbatimSender, verbatim_sender
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.settings.settings import Settings

# Silent brokers hold the thread that reads the reference, and so the end of the process, for at most this time.
BROKER_SECONDS = 5.0


def of_serve(settings: Settings) -> Settings:
    """The settings of the watch: the group that learns the reference of `serve`, and a short wait for brokers."""
    seconds = min(BROKER_SECONDS, settings.startup_timeout_seconds)
    return settings.model_copy(update={"group": f"{settings.group}-serve", "startup_timeout_seconds": seconds})


class RequestMetrics(NullObserver, DecisionMetrics):
    """The decisions on requests. Implements the `Recorder` of drift."""

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:  # noqa: ARG002 - the observer's form
        """Count decisions that were made."""
        self.decided(observations)


class Watching:
    """The watch beside the requests of this process. Entered, it looks at them once a second."""

    def __init__(self, settings: Settings, pipeline: Pipeline, metrics: HttpMetrics) -> None:
        """
        Show the decider in force in the metrics, and make its detectors.

        Args:
            settings: Group, brokers, topics, windows and thresholds.
            pipeline: Decides the requests. If another decider comes into force, the watch begins anew.
            metrics: Its registry gets the series of the decisions.

        Raises:
            BaselineError: The file `drift_reference` is not a drift reference.
        """
        self._settings = of_serve(settings)
        self._metrics = RequestMetrics(
            metrics.registry, labels=pipeline.decider.labels, known_sources=settings.known_source_names
        )
        self._sender = TopicSender(self._settings)
        self._drift: DriftObserver | None = None
        self._task: asyncio.Task[None] | None = None
        pipeline.follow(functools.partial(announce, metrics=self._metrics))
        pipeline.follow(self._begin)

    def _begin(self, decider: Decider) -> None:
        watch = watch_of(self._settings, decider)
        if self._drift is not None:
            self._drift.renew(watch)
        elif watch is not None:
            # A reference from a file is not shared.
            shared = watch.learning
            self._drift = DriftObserver(
                watch,
                recorder=self._metrics,
                send=self._sender.to("drift"),
                note=self._sender.to("references") if shared else None,
                references=References(self._settings) if shared else None,
            )

    @property
    def observer(self) -> Observer:
        """Is told of each batch of decisions. It only counts and appends to a list."""
        return self._metrics if self._drift is None else self._drift

    async def __aenter__(self) -> Self:
        """Begin to look."""
        if self._drift is not None:
            self._task = asyncio.create_task(self._drift.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._sender.close()


class TopicSender:
    """Sends findings and notes, in a thread of its own that connects at the first of them."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="drift-topics")
        self._opened = contextlib.ExitStack()
        self._sender: VerbatimSender | None = None
        self._allowed: set[str] = set()

    def to(self, key: str) -> Send:
        """
        Return the function that queues a record (key, value) on a topic, named by its key in the settings.

        What it returns raises, once awaited, if the record may not have arrived: no broker answers, there is no such topic, or this user
        may not write to it.
        """

        async def send(record_key: bytes, value: bytes) -> Awaitable[None]:
            until = time.monotonic() + PUBLISH_SECONDS
            return asyncio.get_running_loop().run_in_executor(self._thread, self._deliver, key, record_key, value, until)

        return send

    def _deliver(self, key: str, record_key: bytes, value: bytes, until: float) -> None:
        topic = self._settings.topic_names[key]
        if key not in self._allowed:
            # Asked for first: a producer's question for a topic that does not exist would create it on some clusters.
            require(self._settings, {key: topic}, operations={key: Operation.WRITE})
            self._allowed.add(key)
        if self._sender is None:
            self._sender = self._opened.enter_context(verbatim_sender(self._settings, idempotent=False))
        (error,) = self._sender.deliver([Record(key=record_key, value=value, topic=topic)], until=until)
        if error is not None:
            raise error

    def close(self) -> None:
        """Close the connection, without a wait."""
        self._thread.submit(self._opened.close)
        self._thread.shutdown(wait=False)
