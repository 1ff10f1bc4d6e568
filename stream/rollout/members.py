"""The workers of a group, for a controller: the group's members by the brokers, and the state and reach that each worker has written."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    NotCoordinatorError,
)

from tagstream.monitoring.vocabulary import few
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.rollout_records import (
    Partition,
    WorkerReach,
    WorkerState,
    read_worker_reach,
    read_worker_state,
)
from tagstream.stream.kafka.admin import admin
from tagstream.stream.kafka.errors import translated, unreachable
from tagstream.stream.kafka.reading.log import Log, log_of
from tagstream.stream.rollout.content_ends import content_partitions
from tagstream.stream.rollout.controller import ControllerError, Readiness, unbegun
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.errors import RolloutError
from tagstream.stream.rollout.search import LOADING_SECONDS
from tagstream.stream.settings.settings import Settings

ASK_SECONDS = 0.25
# How long a command waits for the first worker of the group. After a restart of all workers they join within seconds.
JOIN_SECONDS = 10.0
JOINING_SECONDS = 60.0
# A worker that works under the present epoch writes its state within this time after it has joined. A rollback does not wait longer for a
# worker without a state.
FIRST_WORD_SECONDS = 20.0
COORDINATOR_LATER = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)


class NoGroupError(ControllerError):
    """The brokers do not know the group, so there is nothing to change."""


class WorkersOnKafka:
    """The workers of the group (`tagstream.stream.rollout.controller.Workers`), on Kafka."""

    def __init__(
        self, settings: Settings, client: KafkaAdminClient, states: Log, *, epochs: Callable[[], Epochs | None] = lambda: None
    ) -> None:
        """
        Keep the connected client and the log of the workers' topic (see `controlling`).

        `epochs` returns the epochs read so far, so that `readiness` ends when another controller has given the plan up.
        """
        self._epochs = epochs
        self._settings = settings
        self._client = client
        self._log = states
        self._next: dict[int, int] = {}
        self._states: dict[str, WorkerState] = {}
        self._reach: dict[bytes, WorkerReach] = {}

    async def look(self) -> list[tuple[str, WorkerState | None]]:
        """Return host and state of each member of the group. A member of an older version writes no state: None."""
        found = await asyncio.to_thread(_members, self._settings, self._client)
        await asyncio.to_thread(self._read)
        return [(host, self._states.get(member)) for member, host in found]

    async def require_any(self) -> None:
        """
        Require that the group has a worker, which can say whether it can load a bundle. Starting workers have `JOIN_SECONDS` to join.

        Raises:
            RolloutError: The group has no worker.
        """
        until = time.monotonic() + JOIN_SECONDS
        while not await self.look():
            if time.monotonic() > until:
                msg = (
                    f"the group {self._settings.group} has no worker now, so it is not known whether workers can load the bundle; nothing has changed. "
                    "Next: start the workers, then try again; --without-workers changes the model all the same."
                )
                raise RolloutError(msg)
            await asyncio.sleep(ASK_SECONDS)

    async def readiness(self, models: Models, *, goes_back: bool) -> tuple[Readiness, str]:
        """
        Wait until every member is ready for a plan or one has refused it, at most `rollout.fetch_seconds` plus `LOADING_SECONDS`.

        A rollback waits only `FIRST_WORD_SECONDS` for a member without a state: that worker may end at each start, because it cannot
        load the model that the rollback removes.
        """
        now = asyncio.get_running_loop().time
        started = now()
        most = self._settings.rollout.fetch_seconds + LOADING_SECONDS
        while True:
            workers = await self.look()
            known = self._epochs()
            if known is not None and (known.planned is None or known.planned.epoch != models.epoch):
                return Readiness.SILENT, "another controller has given the plan up"
            said, words = readiness_of(workers, models)
            only_mute = goes_back and now() - started > FIRST_WORD_SECONDS and _ready_but_for_the_mute(workers, models)
            if said is not Readiness.SILENT or only_mute or now() - started > most:
                return said, words
            await asyncio.sleep(ASK_SECONDS)

    async def begun(self, epochs: Epochs) -> Mapping[Partition, int]:
        """See the protocol (`tagstream.stream.rollout.controller.Workers`)."""
        # `_read` asks for the topic's end here, after the close was read back.
        await asyncio.to_thread(self._read)
        return unbegun(epochs, self._reach.values(), await asyncio.to_thread(self._commits))

    async def stale(self, newest: int) -> list[bytes]:
        """Return the keys of stale records: states of workers that left the group, and reaches of epochs before `newest`."""
        await asyncio.to_thread(self._read)
        # A worker that is joining may write its state before the group lists it, so young states are kept.
        before = timestamp(int((time.time() - JOINING_SECONDS) * 1000))
        spoken = {member for member, state in self._states.items() if state.at < before}
        gone = spoken - {member for member, _ in await asyncio.to_thread(_members, self._settings, self._client)}
        return sorted(
            [*(member.encode() for member in gone), *(key for key, said in self._reach.items() if said.epoch < newest)]
        )

    def _commits(self) -> dict[tuple[str, int], int]:
        """Return the group's committed offsets by topic and partition."""
        until = time.monotonic() + self._settings.startup_timeout_seconds
        while True:
            with translated(self._settings):
                try:
                    found = self._client.list_group_offsets([self._settings.group])[self._settings.group]
                    return {(at.topic, at.partition): one.offset for at, one in found.items()}
                except COORDINATOR_LATER:
                    if time.monotonic() > until:
                        raise
            time.sleep(ASK_SECONDS)

    def _read(self) -> None:
        """Read the new states and reaches."""
        ends = self._log.ends()
        for record in self._log.read(dict.fromkeys(ends, 0) | self._next, ends):
            if record.value is None:
                self._states.pop((record.key or b"").decode(errors="replace"), None)
                self._reach.pop(record.key or b"", None)
                continue
            if (reach := read_worker_reach(record)) is not None:
                self._reach[reach.key] = reach
            state = read_worker_state(record)
            # A state counts only under the key of its own member.
            if state is not None and record.key == state.member.encode():
                self._states[state.member] = state
        self._next = ends


def _ready_but_for_the_mute(workers: Sequence[tuple[str, WorkerState | None]], models: Models) -> bool:
    """Return True if every member with a state is ready for a plan."""
    spoken = [(host, state) for host, state in workers if state is not None]
    return readiness_of(spoken, models)[0] is Readiness.READY


def require_known_group(settings: Settings) -> None:
    """
    Require that the brokers know the group, by a member or by a commit on a content topic. Starting workers have `JOIN_SECONDS` to join.

    Raises:
        NoGroupError: The brokers do not know the group.
        BrokerUnreachableError: No broker answered, or this user may not describe the topics.
    """
    name = settings.group
    until = time.monotonic() + JOIN_SECONDS
    with admin(settings) as client:
        while True:
            if _members(settings, client):
                return
            # Brokers leave out commits on a topic that this user may not see. In that case this call raises.
            content_partitions(settings, client)
            with translated(settings):
                found = client.list_group_offsets([name])[name]
            if any(at.topic in settings.content_topics and one.offset >= 0 for at, one in found.items()):
                return
            if time.monotonic() > until:
                break
            time.sleep(ASK_SECONDS)
    msg = (
        f"there is no group {name!r}: it has no worker, and has committed nothing on {' and '.join(settings.content_topics)}, so nothing is changed. "
        "Next: correct TAGSTREAM_GROUP; a group that has not begun yet decides by TAGSTREAM_BUNDLE of its workers."
    )
    raise NoGroupError(msg)


def _members(settings: Settings, client: KafkaAdminClient) -> list[tuple[str, str]]:
    """Return id and host of each member of the group."""
    until = time.monotonic() + settings.startup_timeout_seconds
    while True:
        with translated(settings):
            try:
                described = client.describe_groups([settings.group])[settings.group]
                error = str(described.get("error") or "")
                # The client raises some errors, and returns others in the answer.
                if not any(kind.__name__ in error for kind in COORDINATOR_LATER) or time.monotonic() > until:
                    break
            except COORDINATOR_LATER:
                # There is no coordinator while a cluster makes its offsets topic for its first group, or while a broker is replaced.
                if time.monotonic() > until:
                    raise
        time.sleep(ASK_SECONDS)
    if error and GroupIdNotFoundError.__name__ not in error:
        # The members are unknown. That is not an empty group.
        kind = GroupAuthorizationFailedError if GroupAuthorizationFailedError.__name__ in error else KafkaError
        raise unreachable(settings, kind(error))
    return [(member["member_id"], member["client_host"].removeprefix("/")) for member in described["members"]]


async def workers_of(settings: Settings) -> list[tuple[str, WorkerState | None]]:
    """
    Return host and state of each member of the group. The state is None if the member has written none.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    with admin(settings) as client, log_of(settings, settings.rollout.workers_topic) as states:
        return await WorkersOnKafka(settings, client, states).look()


def readiness_of(workers: Sequence[tuple[str, WorkerState | None]], models: Models) -> tuple[Readiness, str]:
    """
    Return the readiness of a group's members for a plan.

    Args:
        workers: Host and state of each member; the state is None if the member has written none.
        models: The models of the plan.

    Returns:
        READY if all members are ready, or if there are none; REFUSED and the reasons; or SILENT and the members that have not answered.
    """
    refused = [
        (host, state.why) for host, state in workers if state and (state.epoch, state.state) == (models.epoch, "refused")
    ]
    if refused:
        return Readiness.REFUSED, "; ".join(f"{hosts}: {why}" for hosts, why in _alike(refused))
    digest = models.champion.digest
    ready = [
        state for _, state in workers if state and (state.epoch, state.state, state.digest) == (models.epoch, "ready", digest)
    ]
    silent = [
        (host, "has said nothing: is it of an older version?" if state is None else f"version {state.version}")
        for host, state in workers
        if state is None or (state.epoch, state.state, state.digest) != (models.epoch, "ready", digest)
    ]
    if silent:
        return Readiness.SILENT, f"not ready: {', '.join(f'{hosts} ({why})' for hosts, why in _alike(silent))}"
    if len({state.arithmetic for state in ready}) > 1:
        kinds = ", ".join(sorted(f"{state.host} {state.arithmetic or 'as it was made'}" for state in ready))
        return (
            Readiness.REFUSED,
            f"the workers' processors compute this bundle differently ({kinds}): an event would get another decision on another worker",
        )
    return Readiness.READY, ""


def _alike(said: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """
    Group hosts by their reason, the most frequent reason first. Reasons that differ only in numbers are the same.

    >>> list(_alike([("a", "too large: 7 MiB are free"), ("b", "no such bundle"), ("c", "too large: 9 MiB are free"), ("c", "too large: 8 MiB are free")]))
    [('3 workers (a, c)', 'too large: 7 MiB are free'), ('b', 'no such bundle')]
    """
    hosts: dict[str, list[str]] = {}
    words: dict[str, str] = {}
    for host, why in sorted(said):
        kind = re.sub(r"\d+", "0", why)
        hosts.setdefault(kind, []).append(host)
        words.setdefault(kind, why)
    for kind, names in sorted(hosts.items(), key=lambda one: -len(one[1])):
        yield names[0] if len(names) == 1 else f"{len(names)} workers ({few(sorted(set(names)))})", words[kind]
