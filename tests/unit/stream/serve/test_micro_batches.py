"""The queue before the model: rows are counted, what does not fit is refused at once, and each wait has a bound."""

import asyncio
import threading
from collections.abc import Sequence

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.deliver.fatal import DeliveryError, InferenceTimeoutError
from tagstream.stream.serve.errors import RETRY_SECONDS
from tests.fakes import deciding
from tests.unit.stream.serve.conftest import MOST_WAITING, Served, run
from tests.waiting import HANG_SECONDS, until

PIPELINE = Pipeline(decider=deciding(), observer=NullObserver())


class Gate:
    """A pipeline that decides only while the gate is open, and keeps the sizes of its batches."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.sizes: list[int] = []

    def decide(self, records: Sequence[Record]) -> list[Publication]:
        """Wait for the gate."""
        self.sizes.append(len(records))
        self.entered.set()
        assert self.open.wait(HANG_SECONDS)
        return PIPELINE.publications(records)


def rows(count: int, word: str = "image") -> bytes:
    """An array of so many events."""
    return b"[%b]" % b",".join(b'{"id":"%b-%d","title":"An %b"}' % (word.encode(), row, word.encode()) for row in range(count))


async def entered(gate: Gate) -> None:
    """Wait until a batch is in the model."""
    assert await asyncio.to_thread(gate.entered.wait, HANG_SECONDS)


def test_rows_are_counted_not_requests() -> None:
    """One row is in the model, `MOST_WAITING` wait in two requests; one more is 503 with a time to come back, and the others lose nothing."""
    gate = Gate()

    async def scenario(service: Served) -> tuple[list[httpx.Response], httpx.Response]:
        first = asyncio.create_task(service.client.post("/classify", content=rows(1)))
        await entered(gate)
        waiting = [first]
        waiting += [
            asyncio.create_task(service.client.post("/classify", content=rows(count))) for count in (MOST_WAITING - 1, 1)
        ]
        await asyncio.to_thread(until, lambda: b"waiting_rows 8.0" in service.metrics.text(), "all other rows wait")
        refused = await service.client.post("/classify", content=rows(1))
        gate.open.set()
        return await asyncio.gather(*waiting), refused

    answered, refused = run(scenario, decide=gate.decide)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, str(RETRY_SECONDS))
    assert "8 rows wait" in refused.json()["detail"]
    assert [found.status_code for found in answered] == [200] * 3
    assert [len(found.json()) for found in answered] == [1, MOST_WAITING - 1, 1]
    # Rows of two requests went together, and no batch had more than its bound.
    assert sum(gate.sizes) == MOST_WAITING + 1
    assert max(gate.sizes) == 4


def test_rows_that_would_be_late_are_refused_at_once() -> None:
    """The rows of a full batch took longer than the deadline, each, by the service's clock: behind one that waits the next is 503 with that time, though there is room; an idle queue takes it."""
    gate = Gate()
    gate.open.set()
    now = 0.0

    def decide(records: Sequence[Record]) -> list[Publication]:
        nonlocal now
        now += 16 * HANG_SECONDS
        return gate.decide(records)

    async def scenario(service: Served) -> tuple[list[httpx.Response], httpx.Response]:
        first = await service.client.post("/classify", content=rows(4))
        gate.open.clear()
        gate.entered.clear()
        waiting = [asyncio.create_task(service.client.post("/classify", content=rows(1)))]
        await entered(gate)
        waiting.append(asyncio.create_task(service.client.post("/classify", content=rows(1))))
        await asyncio.to_thread(until, lambda: b"waiting_rows 1.0" in service.metrics.text(), "a row waits")
        refused = await service.client.post("/classify", content=rows(1))
        gate.open.set()
        return [first, *await asyncio.gather(*waiting)], refused

    answered, refused = run(scenario, decide=decide, clock=lambda: now)
    assert [found.status_code for found in answered] == [200] * 3
    assert (refused.status_code, refused.headers["retry-after"]) == (503, str(int(2 * HANG_SECONDS)))


def test_an_idle_service_takes_as_many_rows_as_may_wait() -> None:
    """No request that fits is refused because of its own size."""

    async def scenario(service: Served) -> list[int]:
        return [(await service.client.post("/classify", content=rows(MOST_WAITING))).status_code for _ in range(3)]

    assert run(scenario) == [200] * 3


def test_a_request_has_a_deadline_and_its_rows_are_not_decided() -> None:
    """504; what waits behind it is decided, and the rows of the late request are not."""
    gate = Gate()

    async def scenario(service: Served) -> tuple[list[int], int]:
        late = [asyncio.create_task(service.client.post("/classify", content=rows(1)))]
        await entered(gate)
        late.append(asyncio.create_task(service.client.post("/classify", content=rows(3))))
        statuses = [(await one).status_code for one in late]
        gate.open.set()
        # It may be late too, while the first batch is still in the model; then it is asked again.
        while (after := await service.client.post("/classify", content=rows(2))).status_code == 504:
            pass
        return statuses, after.status_code

    assert run(scenario, decide=gate.decide, deadline_seconds=0.5) == ([504, 504], 200)
    assert 3 not in gate.sizes


def test_a_model_that_does_not_answer_breaks_the_service() -> None:
    """The one who asked, the ones who wait and all later ones get 503 at once; readiness fails; the owner learns why."""
    gate = Gate()

    async def scenario(service: Served) -> tuple[list[int], BaseException | None]:
        found = [service.client.post("/classify", content=rows(4)), service.client.post("/classify", content=rows(2))]
        statuses = [one.status_code for one in await asyncio.gather(*found)]
        statuses.append((await service.client.post("/classify", content=rows(1))).status_code)
        statuses.append((await service.client.get("/readyz")).status_code)
        statuses.append((await service.client.get("/healthz")).status_code)
        gate.open.set()
        return statuses, service.answering.broken

    statuses, broken = run(scenario, decide=gate.decide, inference_timeout_seconds=0.5)
    assert statuses == [503, 503, 503, 503, 200]
    assert isinstance(broken, InferenceTimeoutError)


@pytest.mark.parametrize("error", [MemoryError("no more"), None])
def test_a_broken_machine_is_no_rejection(error: Exception | None) -> None:
    """What the pipeline raises, or a wrong number of outcomes, ends the service; no event is blamed."""

    def decide(records: Sequence[Record]) -> list[Publication]:
        if error is not None:
            raise error
        return PIPELINE.publications(records)[1:]

    async def scenario(service: Served) -> tuple[int, BaseException | None]:
        return (await service.client.post("/classify", content=rows(2))).status_code, service.answering.broken

    status, broken = run(scenario, decide=decide)
    assert status == 503
    assert isinstance(broken, MemoryError if error is not None else DeliveryError)


def test_rows_that_wait_for_a_broken_model_are_told_at_once() -> None:
    """They do not go to the model, where each batch may wait for its whole bound."""
    gate = Gate()

    def decide(records: Sequence[Record]) -> list[Publication]:
        gate.decide(records)
        msg = "no more"
        raise MemoryError(msg)

    async def scenario(service: Served) -> list[int]:
        waiting = [asyncio.create_task(service.client.post("/classify", content=rows(1)))]
        await entered(gate)
        waiting.append(asyncio.create_task(service.client.post("/classify", content=rows(3))))
        await asyncio.to_thread(until, lambda: b"waiting_rows 3.0" in service.metrics.text(), "three rows wait")
        gate.open.set()
        return [found.status_code for found in await asyncio.gather(*waiting)]

    assert run(scenario, decide=decide) == [503, 503]
    assert gate.sizes == [1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=12))
def test_every_request_gets_its_own_answers(counts: list[int]) -> None:
    """However requests fall into batches: as many answers as rows, in their order, each of its own event."""

    async def scenario(service: Served) -> list[list[str]]:
        found = await asyncio.gather(
            *(service.client.post("/classify", content=rows(count, f"image{at}")) for at, count in enumerate(counts))
        )
        return [[answer["id"] for answer in one.json()] for one in found]

    answers = run(scenario, most_waiting=sum(counts) + 12)
    assert answers == [[f"image{at}-{row}" for row in range(count)] for at, count in enumerate(counts)]
