"""
The search for the topic `rollout`, which every worker does. Once the topic is found, the part that follows it is loaded.

A worker whose settings name a depot loads that part at its start. While there is no topic, the search only looks for it every
`SEARCH_SECONDS`.
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

# A worker fetches a bundle, tries it in a process of its own, loads it and takes its memory before it reports that it is ready.
LOADING_SECONDS = TRIAL_SECONDS + 60.0
# The number of files of a bundle. Each file is fetched within `rollout.fetch_seconds`.
FILES = 3

log = logger("tagstream.rollout")


Follow = Callable[[dict[str, str], bool], WorkerPart]
"""Makes the part that follows the topic. Arguments: the topic ids by name, and whether an event has already begun."""


class RolloutPart(WorkerPart):
    """A worker's part that holds events until it is known which model decides. For one event loop."""

    def __init__(self, settings: Settings, fail: Callable[[BaseException], NoReturn], *, works: bool) -> None:
        """
        Begin without knowing which model decides.

        Args:
            settings: Topics and bounds.
            fail: Ends the process.
            works: True once the first event has begun. Before that, an error is a configuration error of this worker.
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
        """Follow until this is cancelled. An error is raised in `until_known`; some errors before the first event end the process."""
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
        Wait until it is known which model decides. Returns early once `given_up` returns True.

        Raises:
            DeliveryError: `follow` has failed.
        """
        while not (self._known.is_set() or given_up()):
            await within(LOOK_SECONDS, self._known)
        if self._error is not None:
            raise lost(self._error) from self._error


class RolloutSearch(RolloutPart):
    """One worker's search for the topic `rollout`."""

    def __init__(self, settings: Settings, make: Follow, fail: Callable[[BaseException], NoReturn] = die) -> None:
        """
        Begin without knowing whether there is a topic, so that events wait.

        Args:
            settings: Topics and bounds.
            make: Makes the part that follows the topic, once the topic is found.
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
        Wait until it is known that there is no rollout, or until the part that follows the rollout admits these events.

        Raises:
            DeliveryError: It did not become known in time whether there is a rollout, or the rollout can no longer be read.
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
        """Search again after partitions were assigned, while their events wait: a rollout may have begun meanwhile."""
        if self._following is None and self._error is None:
            self._known.clear()
            self._wake.set()

    async def leave(self) -> None:
        """Leave the rollout, if it is followed."""
        if self._following is not None:
            await self._following.leave()

    async def _found(self) -> dict[str, str]:
        """Wait until the topic exists. Return the ids of the topic and of the content topics, by name."""
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
    """Return the longest wait of a worker's first event until its model is known and loaded."""
    return FILES * settings.rollout.fetch_seconds + LOADING_SECONDS


def lost(error: BaseException) -> DeliveryError:
    """Return the error for events whose model can no longer be known."""
    return DeliveryError(f"it cannot be known which model decides: {error}")


def unknown(error: BrokerUnreachableError) -> None:
    """Log that no broker answered whether there is a rollout."""
    log.warning("rollout_unknown", why=str(error), consequence="none as long as no event comes", again_seconds=SEARCH_SECONDS)


async def within(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, at most `seconds`. `asyncio.wait_for` of Python 3.11 loses a cancellation that comes with the event."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
