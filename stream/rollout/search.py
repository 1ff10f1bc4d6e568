"""
Whether the model of a worker is changed: the part that every worker has, and that loads the rest once there is a topic `rollout`.

A worker whose settings name a place for bundles loads the rest at its start. Without the topic this looks for it now and then, and does nothing else.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tagstream.model_export.verify import TRIAL_SECONDS
from tagstream.stream.contract.rollout_records import RolloutRecordError
from tagstream.stream.deliver.fatal import DeliveryError, NotStartedError, die
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.logs import logger
from tagstream.stream.rollout.presence import LOOK_SECONDS, SEARCH_SECONDS, rollout_topic
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.part import WorkerPart

# A worker fetches a bundle, tries it in a process of its own, loads it and takes its memory before it says that it is ready.
LOADING_SECONDS = TRIAL_SECONDS + 60.0
# Of a bundle: each is fetched within `rollout.fetch_seconds`.
FILES = 3

log = logger("tagstream.rollout")


Follow = Callable[[dict[str, str], bool], WorkerPart]
"""Makes the part that follows the topic, of the ids of the topics and of whether an event has begun without it."""


class RolloutPart(WorkerPart):
    """Lets no event begin before it is known which model decides. For one event loop."""

    def __init__(self, settings: Settings, fail: Callable[[BaseException], NoReturn], *, works: bool) -> None:
        """
        Nothing is known yet.

        Args:
            settings: Topics and bounds.
            fail: Ends the process.
            works: Whether an event has begun: before the first one, an error is a matter of this worker's settings.
        """
        self._settings = settings
        self._fail = fail
        self._works = works
        self._known = asyncio.Event()
        self._error: BaseException | None = None

    async def follow(self) -> None:
        """Learn which model decides, until this is cancelled."""
        raise NotImplementedError

    async def run(self) -> None:
        """Follow until this is cancelled. An error is raised to the events that wait (`until_known`); before the first one it ends the process."""
        try:
            await self.follow()
        except NotStartedError as error:
            self._fail(error)
        except RolloutRecordError as error:
            if not self._works:
                self._fail(NotStartedError(f"this worker cannot begin: {error}"))
            self._give_up(error)
        except Exception as error:  # noqa: BLE001 - an agent that waits for its epoch ends the process with it
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._error = error
        self._known.set()
        log.critical("rollout_lost", why=f"{type(error).__name__}: {error}", consequence="no further event begins")

    async def until_known(self, given_up: Callable[[], bool]) -> None:
        """
        Return once it is known, or `given_up` says yes.

        Raises:
            DeliveryError: It cannot be known any more.
        """
        while not (self._known.is_set() or given_up()):
            await within(LOOK_SECONDS, self._known)
        if self._error is not None:
            raise lost(self._error) from self._error


class RolloutSearch(RolloutPart):
    """One worker's search."""

    def __init__(self, settings: Settings, make: Follow, fail: Callable[[BaseException], NoReturn] = die) -> None:
        """
        Nothing is known yet, so no event may begin.

        Args:
            settings: Topics and bounds.
            make: Makes the part that follows the topic, once it is there.
            fail: Ends the process.
        """
        super().__init__(settings, fail, works=False)
        self._make = make
        self._following: WorkerPart | None = None
        self._wake = asyncio.Event()

    async def follow(self) -> None:
        """Look for the topic, then follow it."""
        self._following = self._make(await self._found(), self._works)
        self._known.set()
        await self._following.run()

    async def admit(self, taken: Sequence[Any], given_up: Callable[[], bool]) -> None:
        """
        Return once it is known that there is no rollout, or that the part which follows it lets these events begin.

        Raises:
            DeliveryError: It did not become known in time, or is not known any more.
        """
        try:
            async with asyncio.timeout(seconds_to_begin(self._settings)):
                await self.until_known(given_up)
        except TimeoutError as error:
            msg = f"it was not known in time whether another model decides {len(taken)} events: no broker said so. Next: `tagstream doctor`."
            raise DeliveryError(msg) from error
        if self._following is not None:
            await self._following.admit(taken, given_up)
        self._works = True

    def assigned(self) -> None:
        """Partitions were assigned: their events wait until it is known again whether there is a rollout, which may have begun meanwhile."""
        if self._following is None and self._error is None:
            self._known.clear()
            self._wake.set()

    async def leave(self) -> None:
        """What follows the topic leaves."""
        if self._following is not None:
            await self._following.leave()

    async def _found(self) -> dict[str, str]:
        """Wait until the topic is there; returns the ids of the topic and of the content topics by name."""
        while True:
            self._wake.clear()
            try:
                found = await asyncio.to_thread(rollout_topic, self._settings)
            except BrokerUnreachableError as error:
                unknown(error)
            else:
                if found:
                    return found
                if not self._wake.is_set():
                    self._known.set()
            await within(SEARCH_SECONDS, self._wake)


def seconds_to_begin(settings: Settings) -> float:
    """The most that a worker's first event waits until it is known, and loaded, which model decides it."""
    return FILES * settings.rollout.fetch_seconds + LOADING_SECONDS


def lost(error: BaseException) -> DeliveryError:
    """The error of events that may not begin any more."""
    return DeliveryError(f"it cannot be known which model decides: {error}")


def unknown(error: BrokerUnreachableError) -> None:
    """Say that no broker told whether there is a rollout."""
    log.warning("rollout_unknown", why=str(error), consequence="none as long as no event comes", again_seconds=SEARCH_SECONDS)


async def within(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, at most so long. `asyncio.wait_for` of Python 3.11 loses a cancellation that comes with the event."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
