"""The fake engine keeps what every engine must, and engines that do not are found. Faust's: `tests/integration/delivery/test_engine.py`."""

import asyncio
from collections.abc import Sequence

import pytest

from tagstream.monitoring.health import Progress
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.delivery import Delivery
from tagstream.stream.settings.settings import Settings
from tests.contract.engine.bad import BAD
from tests.contract.engine.checks import CHECKS, Check, record
from tests.contract.engine.memory import TOPIC, Log, MemoryBench, MemoryEngine
from tests.fakes import Clock, Death
from tests.replacing import replace
from tests.unit.stream.deliver.delivering import decided, drive

EVENTS = 400


def run(check: Check, engine: type[MemoryEngine] = MemoryEngine) -> None:
    """One check, on a log of its own."""

    async def scenario() -> None:
        await check(MemoryBench(engine))

    asyncio.run(scenario())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_fake_engine_keeps_the_contract(check: Check) -> None:
    """So a delivery that is tested on it is tested on what every engine promises."""
    run(check)


@pytest.mark.parametrize(("engine", "check"), BAD, ids=lambda part: part.__name__)
def test_an_engine_that_breaks_the_contract_is_found(engine: type[MemoryEngine], check: Check) -> None:
    """By the check that says what it breaks."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(check, engine)


def test_every_check_finds_a_bad_engine() -> None:
    """A check that finds none would say nothing."""
    assert {check for _, check in BAD} == set(CHECKS)


@pytest.mark.parametrize("transacts", [False, True], ids=["at least once", "exactly once"])
def test_deliveries_lose_no_event_while_members_of_the_group_come_and_go(transacts: bool) -> None:
    """What the core does on one side of the verbs fits what an engine promises on the other."""
    death = Death()
    log = Log({0: EVENTS, 1: EVENTS})

    def decide(events: Sequence[Record]) -> list[Publication]:
        return [replace(one, key=event.key) for one, event in zip(decided(events), events, strict=True)]

    async def joined() -> MemoryEngine:
        engine = MemoryEngine(log, transacts=transacts)
        delivery = Delivery(
            decide=decide,
            engine=engine,
            observer=NullObserver(),
            progress=Progress(stall_seconds=20, monotonic=Clock()),
            settings=Settings(batch_max_events=4, inference_threads=2),
            fail=death,
        )
        engine.subscribe("classify", [TOPIC], delivery.run)
        engine.held_by(delivery)
        await engine.start()
        return engine

    async def until_committed(events: int) -> None:
        while sum(log.commits.values()) < events:
            await asyncio.sleep(0.001)
            assert death.causes == []

    async def scenario() -> None:
        first = await joined()
        await until_committed(100)
        second = await joined()
        await until_committed(300)
        await first.stop()
        await until_committed(500)
        third = await joined()
        await until_committed(2 * EVENTS)
        for member in (second, third):
            await member.stop()

    drive(scenario)
    keys = [key for key, _ in log.topics["tagged"]]
    assert set(keys) == {record(partition, offset)[0] for partition in (0, 1) for offset in range(EVENTS)}
    if transacts:
        assert len(keys) == 2 * EVENTS
    assert log.commits == {0: EVENTS, 1: EVENTS}
