"""The application of `tagstream serve` in this process, over the keyword classifier, with a broker that keeps what it is sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import httpx

from tagstream.monitoring.metrics.http import HttpMetrics
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.kafka.producer import UndeliveredError
from tagstream.stream.serve.app import Service, application
from tagstream.stream.serve.feedback import Feedback
from tagstream.stream.serve.micro_batches import MicroBatches
from tagstream.stream.serve.publishing import Publishing
from tagstream.stream.serve.row_answers import RowAnswers
from tagstream.stream.serve.table_answers import TableAnswers
from tagstream.stream.settings.settings import Settings
from tests.fakes import deciding
from tests.waiting import HANG_SECONDS

T = TypeVar("T")
MOST_WAITING = 8


@dataclass
class Broker:
    """Stands in for the sender: keeps every record, and answers each with `word`."""

    word: UndeliveredError | None = None
    raises: Exception | None = None
    records: list[Record] = field(default_factory=list)

    def deliver(self, records: Sequence[Record]) -> list[UndeliveredError | None]:
        """Take them all."""
        self.records.extend(records)
        return [self.word] * len(records)

    @contextlib.contextmanager
    def sender(self) -> Iterator["Broker"]:
        """Connect, or raise."""
        if self.raises is not None:
            raise self.raises
        yield self


@dataclass
class Served:
    """The application and its parts."""

    app: Any
    client: httpx.AsyncClient
    metrics: HttpMetrics
    broker: Broker
    answering: RowAnswers


@contextlib.asynccontextmanager
async def served(
    *,
    pipeline: Pipeline | None = None,
    decide: Callable[[Sequence[Record]], list[Publication]] | None = None,
    broker: Broker | None = None,
    cached: TableAnswers | None = None,
    token: str | None = None,
    deadline_seconds: float = HANG_SECONDS,
    most_waiting: int = MOST_WAITING,
    most_requests: int = 100,
    inference_timeout_seconds: float = HANG_SECONDS,
    clock: Callable[[], float] = lambda: 0.0,
    table_seconds: float = HANG_SECONDS,
    unknown: str | None = None,
    feedback: Feedback | None = None,
) -> AsyncIterator[Served]:
    """A service, and a client on this machine. By its own clock the model takes no time, so that no slow machine has rows refused."""
    metrics = HttpMetrics.alone()
    made = Pipeline(decider=deciding(), observer=NullObserver()) if pipeline is None else pipeline
    settings = Settings(inference_threads=1, batch_max_events=4, inference_timeout_seconds=inference_timeout_seconds)
    queue = MicroBatches(
        decide or made.publications,
        settings,
        most_waiting=most_waiting,
        deadline_seconds=deadline_seconds,
        counts=metrics,
        clock=clock,
    )
    kept = Broker() if broker is None else broker
    sender: Callable[[], AbstractContextManager[Broker]] = kept.sender
    publishing = Publishing(sender, "content", wait_seconds=HANG_SECONDS)
    voting = Publishing(sender, "reports", wait_seconds=HANG_SECONDS)
    answering = RowAnswers(queue, publishing, metrics, cached, labels=made.decider.labels, table_seconds=table_seconds)
    service = Service(
        answering=answering,
        metrics=metrics,
        model=lambda: made.decider.model,
        trouble=lambda: None if answering.broken is None else "it is broken",
        unknown=lambda: unknown,
        most_rows=most_waiting,
        most_requests=most_requests,
        token=token,
        feedback=None if feedback is None else replace(feedback, publish=voting.publish),
    )
    app = application(service)
    transport = httpx.ASGITransport(app)
    async with queue, publishing, voting, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8091") as client:
        yield Served(app, client, metrics, kept, answering)
    answering.close()


def run(scenario: Callable[[Served], Awaitable[T]], **parts: Any) -> T:
    """The result of a scenario with a service of these parts."""

    async def whole() -> T:
        async with served(**parts) as service:
            return await scenario(service)

    return asyncio.run(asyncio.wait_for(whole(), HANG_SECONDS))


def ask(method: str, path: str, parts: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
    """The answer to one request."""

    async def scenario(service: Served) -> httpx.Response:
        return await service.client.request(method, path, **more)

    return run(scenario, **(parts or {}))


def without_clock(answer: bytes) -> bytes:
    """The answer up to the clock reading."""
    return answer.partition(b',"tagged_at"')[0]
