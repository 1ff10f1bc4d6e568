"""The fake engine keeps what every engine must, and engines that do not are found. Faust's: `tests/integration/delivery/test_engine.py`."""

import asyncio

import pytest

from tests.contract.engine.bad import BAD
from tests.contract.engine.checks import CHECKS, Check
from tests.contract.engine.memory import MemoryBench, MemoryEngine


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
