"""Do the brokers accept us? A connection to each with the settings' credentials, before any client is made.

The clients retry until their time is over and then report that no broker answered, so that a wrong password or a port without a
listener would look like a broker that is slow.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from stream.kafka.connect.addresses import ABSENT, Attempt, advice, connect_to_each
from stream.kafka.connect.refusal import sentence
from stream.kafka.credentials import client_options
from stream.kafka.errors import BrokerAbsentError, BrokerRefusedError
from stream.settings.settings import Settings
from stream.terminal.text import counted

ANSWER_SECONDS = 5.0
CLOSE_SECONDS = 0.5
# A broker that is not there is tried again for so long, since one that restarts may be back; a command then says so.
ABSENT_SECONDS, PAUSE_SECONDS = 3.0, 1.0


def admitted(settings: Settings) -> tuple[dict[str, Any], float]:
    """
    Options for a client, and the seconds that are left of `startup_timeout_seconds`, once it is known that no broker refuses us.

    One broker that accepts us is enough. A broker that takes the connection and does not answer may be starting: the client waits
    for it during the seconds that are left.

    Raises:
        BrokerAbsentError: No address has taken a connection for `ABSENT_SECONDS`; the message says why, for each.
        BrokerRefusedError: A broker answered and refused us; the message says why.
        SecurityError: A file of the settings cannot be used.
    """
    started = time.monotonic()
    _enter_within(settings, min(ABSENT_SECONDS, settings.startup_timeout_seconds))
    return client_options(settings), max(1.0, settings.startup_timeout_seconds - (time.monotonic() - started))


def await_listener(settings: Settings, *, say: Callable[[str], None]) -> None:
    """
    Wait for a broker that is not there yet, as a worker does whose broker is started beside it.

    Args:
        settings: Brokers, and the bound `startup_timeout_seconds`.
        say: Called once, before the wait, with how the connections ended.

    Raises:
        BrokerAbsentError: No address has taken a connection within the bound.
        BrokerRefusedError: A broker answered and refused us; the message says why.
        SecurityError: A file of the settings cannot be used.
    """
    _enter_within(settings, settings.startup_timeout_seconds, say)


def _enter_within(settings: Settings, seconds: float, say: Callable[[str], None] = lambda _: None) -> None:
    """Try all brokers until one accepts us, or may still answer; raises as `await_listener`."""
    started, tries = time.monotonic(), 0
    while True:
        tries += 1
        accepted, refused = _knock(settings)
        if accepted:
            return
        if refused is not None:
            raise BrokerRefusedError(refused)
        found = connect_to_each(settings)
        if any(one.reach not in ABSENT for one in found):
            return
        if time.monotonic() - started + PAUSE_SECONDS > seconds:
            raise _absent(settings, found, tries, seconds)
        if tries == 1:
            say("; ".join(map(str, found)))
        time.sleep(PAUSE_SECONDS)


def _absent(settings: Settings, found: tuple[Attempt, ...], tries: int, seconds: float) -> BrokerAbsentError:
    ended, times = "; ".join(map(str, found)), counted(tries, "attempt")
    return BrokerAbsentError(
        f"no Kafka broker answered at {settings.brokers} within {seconds:g} s: {ended} ({times}). Next: {advice(settings, found)}."
    )


def _knock(settings: Settings) -> tuple[bool, str | None]:
    """
    Connect to all brokers at once: does one accept us, and if none does, why are we refused? None if no broker refuses us.

    Takes at most `ANSWER_SECONDS`, and as long again for the look at why a broker refused.
    """
    options = client_options(settings)
    del options["bootstrap_servers"]
    # `asyncio.run` needs a thread without an event loop, and the caller may be a coroutine.
    with ThreadPoolExecutor(1, thread_name_prefix="handshake") as executor:
        return executor.submit(asyncio.run, _first(settings, options)).result()


async def _first(settings: Settings, options: dict[str, Any]) -> tuple[bool, str | None]:
    """The first broker that accepts us decides; else the first in the order of the settings that refuses us."""
    answers = [asyncio.create_task(_answer(settings, address, options)) for address in settings.broker_list]
    try:
        async with asyncio.timeout(settings.startup_timeout_seconds):
            for answer in asyncio.as_completed(answers):
                accepted, _ = await answer
                if accepted:
                    return True, None
    except TimeoutError:
        pass
    finally:
        for task in answers:
            task.cancel()
        await asyncio.wait(answers)
    refusals = [task.result()[1] for task in answers if not task.cancelled()]
    return False, next((refusal for refusal in refusals if refusal is not None), None)


async def _answer(settings: Settings, address: str, options: dict[str, Any]) -> tuple[bool, str | None]:
    try:
        await _enter(address, options)
    except (KafkaError, OSError, TimeoutError, ValueError) as error:
        return False, await sentence(settings, address, error)
    return True, None


async def _enter(address: str, options: dict[str, Any]) -> None:
    host, _, port = address.rpartition(":")
    connection = AIOKafkaConnection(
        host.strip("[]"), int(port), client_id="tagstream-handshake", request_timeout_ms=int(ANSWER_SECONDS * 1000), **options
    )
    async with asyncio.timeout(ANSWER_SECONDS):
        try:
            await connection.connect()
            # A broker that requires a user, or a client certificate under TLS 1.3, refuses only the first request.
            await connection.send(MetadataRequest([]))
        except OSError:
            # The connection was never open, so that waiting for its end would not end.
            raise
        except BaseException:
            await _close(connection)
            raise
        await _close(connection)


async def _close(connection: AIOKafkaConnection) -> None:
    closed = connection.close()
    if closed is not None:
        await asyncio.wait({closed}, timeout=CLOSE_SECONDS)
