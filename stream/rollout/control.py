"""The topic `rollout` on Kafka, as a controller writes it, with the workers' words and the content topics as the controller asks for them.

aiokafka reads and writes the records; kafka-python, which knows the ids of topics, asks for partitions and their ends.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka import TopicPartition as PlainTopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    NotCoordinatorError,
)

from tagstream.monitoring.vocabulary import few
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.rollout import (
    Partition,
    RolloutRecord,
    WorkerReach,
    WorkerState,
    read_worker_reach,
    read_worker_state,
    write_rollout,
)
from tagstream.stream.kafka.admin import admin, describe
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.kafka.errors import (
    BrokerUnreachableError,
    NotAuthorizedError,
    translated,
    unreachable,
)
from tagstream.stream.kafka.reading.log import Log, log_of
from tagstream.stream.kafka.rights import Resource, Role, missing, rights
from tagstream.stream.logs import logger
from tagstream.stream.rollout.controller import (
    Controller,
    ControllerError,
    FencedError,
    LeftClosingError,
    Readiness,
    unbegun,
)
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.presence import require_never_begun, rollout_topic
from tagstream.stream.rollout.search import LOADING_SECONDS
from tagstream.stream.rollout.topic import (
    METADATA_MS,
    MOST_BYTES,
    OPTIONS_OF_WORKERS,
    RolloutReader,
    make_topic,
    rollout_reader,
)
from tagstream.stream.settings.settings import Settings

ASK_SECONDS = 0.25
# So long a command waits for a first worker of the group: after a restart of all of them they join within seconds.
JOIN_SECONDS = 10.0
JOINING_SECONDS = 60.0
# A worker that works under the present epoch says so within this time after it has joined; one that does not is not waited for on the way back.
FIRST_WORD_SECONDS = 20.0
COORDINATOR_LATER = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)
# The resource on which a user lacks a right, by the code of the refusal; both clients have the same codes.
REFUSALS = {
    TopicAuthorizationFailedError.errno: Resource.TOPIC,
    GroupAuthorizationFailedError.errno: Resource.GROUP,
    TransactionalIdAuthorizationFailed.errno: Resource.TRANSACTIONAL_ID,
}
# What was decided is kept for ever, and of each worker the last word.
OPTIONS_OF_RECORDS = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
# Records of a topic that is made here have the broker's time: `rollout log --at` then depends on no clock of whoever changes the model.
BROKERS_TIME = {"message.timestamp.type": "LogAppendTime"}
APPENDED = 1
log = logger("tagstream.rollout")


class NoGroupError(ControllerError):
    """The brokers know no such group, so there is nothing to change."""


class RolloutWriter:
    """
    The topic as its one writer sees it (`tagstream.stream.rollout.controller.RolloutTopic`).

    Attributes:
        ahead_seconds: So far this machine's clock was ahead of the broker's when the last record was written, negative behind it; 0 where the topic has no
            time of the broker.
    """

    def __init__(self, settings: Settings, reader: RolloutReader) -> None:
        """Write beside this reader."""
        self._settings = settings
        self._reader = reader
        self._producer: AIOKafkaProducer | None = None
        self.ahead_seconds = 0.0

    async def fence(self) -> None:
        """Begin the producer of the group's transactional id, which ends the one before."""
        asyncio.get_running_loop().set_exception_handler(_say_all_but_fencing)
        settings = self._settings
        timeout_ms = int(settings.produce_timeout_seconds * 1000)
        producer = AIOKafkaProducer(
            **client_options(settings),
            client_id="tagstream-controller",
            transactional_id=settings.rollout.topic,
            transaction_timeout_ms=timeout_ms,
            request_timeout_ms=timeout_ms,
            max_request_size=MOST_BYTES,
            metadata_max_age_ms=METADATA_MS,
        )
        self._producer = producer
        try:
            async with asyncio.timeout(settings.startup_timeout_seconds):
                await producer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise unreachable(settings, error) from error

    async def read_to_end(self) -> Epochs:
        """See the protocol."""
        return await self._reader.read_to(await self._reader.end())

    async def append(self, record: RolloutRecord) -> int:
        """See the protocol."""
        (offset,) = await self._in_a_transaction([(self._settings.rollout.topic, None, write_rollout(record))])
        return offset

    async def _in_a_transaction(self, records: Sequence[tuple[str, bytes | None, bytes | None]]) -> list[int]:
        """Topic, key and value of each record; their offsets."""
        assert self._producer is not None, "a controller fences first"
        try:
            async with asyncio.timeout(self._settings.produce_timeout_seconds):
                await self._producer.begin_transaction()
                queued = [await self._producer.send(topic, key=key, value=value, partition=0) for topic, key, value in records]
                sent = [await one for one in queued]
                await self._producer.commit_transaction()
        except ProducerFenced as error:
            raise FencedError from error
        except (KafkaError, TimeoutError) as error:
            raise unreachable(self._settings, error) from error
        for one in sent:
            if one.timestamp_type == APPENDED:
                self.ahead_seconds = time.time() - one.timestamp / 1000
        return [int(one.offset) for one in sent]

    async def forget(self, keys: Sequence[bytes]) -> None:
        """
        Remove these keys from the workers' topic, as the only writer.

        Raises:
            FencedError: Another controller has begun.
            BrokerUnreachableError: No broker answered.
        """
        topic = self._settings.rollout.workers_topic
        await self._in_a_transaction([(topic, key, None) for key in keys])

    async def read_past(self, offset: int) -> tuple[Epochs, bool]:
        """See the protocol."""
        epochs = await self._reader.read_to(offset + 1)
        return epochs, self._reader.counts(offset)

    async def stop(self) -> None:
        """Write no more."""
        if self._producer is not None:
            await self._producer.stop()


def _say_all_but_fencing(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """No traceback of a producer that was fenced: `FencedError` says it, and aiokafka leaves two futures with it that nobody outside can await."""
    if not isinstance(context.get("exception"), ProducerFenced):
        loop.default_exception_handler(context)


class ContentOnKafka:
    """The content topics (`tagstream.stream.rollout.controller.ContentTopics`), asked by a client that stays connected."""

    def __init__(self, settings: Settings, client: KafkaAdminClient) -> None:
        """Ask by a client that stays connected."""
        self._settings = settings
        self._client = client
        self._topics = settings.content_topics

    async def partitions(self) -> AbstractSet[Partition]:
        """See the protocol."""
        return await asyncio.to_thread(self.partitions_now)

    async def ends(self, partitions: AbstractSet[Partition]) -> Mapping[Partition, int | None]:
        """See the protocol."""
        return await asyncio.to_thread(self._ends, partitions)

    def partitions_now(self) -> AbstractSet[Partition]:
        """As `partitions`, in this thread."""
        with translated(self._settings):
            described = self._client.describe_topics(list(self._topics))
        for topic in described:
            if (code := topic["error_code"]) and code != UnknownTopicOrPartitionError.errno:
                # Not seen is not the same as not there: an epoch would begin nowhere.
                raise unreachable(self._settings, for_code(code)(topic["name"]))
        return {
            Partition(topic=topic["name"], topic_id=str(topic["topic_id"]), partition=partition["partition_index"])
            for topic in described
            for partition in topic["partitions"]
        }

    def _ends(self, partitions: AbstractSet[Partition]) -> dict[Partition, int | None]:
        asked = {PlainTopicPartition(at.topic, at.partition): at for at in partitions & self.partitions_now()}
        with translated(self._settings):
            # With open transactions: the last stable offset may lie below what workers have read.
            found = self._client.list_partition_offsets(dict.fromkeys(asked, OffsetSpec.LATEST)) if asked else {}
        return dict.fromkeys(partitions) | {asked[at]: int(end.offset) for at, end in found.items()}


def content_partitions(settings: Settings) -> AbstractSet[Partition]:
    """
    The partitions of the content topics, under the ids that these have now.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    with admin(settings) as client:
        return ContentOnKafka(settings, client).partitions_now()


class WorkersOnKafka:
    """The workers of the group as the controller asks them: the members that the brokers know, and what each has said of itself."""

    def __init__(
        self, settings: Settings, client: KafkaAdminClient, states: Log, *, epochs: Callable[[], Epochs | None] = lambda: None
    ) -> None:
        """See `controlling`. `epochs` gives the topic's records as far as they are read: a plan that another controller has given up is not waited for."""
        self._epochs = epochs
        self._settings = settings
        self._client = client
        self._log = states
        self._next: dict[int, int] = {}
        self._states: dict[str, WorkerState] = {}
        self._reach: dict[bytes, WorkerReach] = {}

    async def look(self) -> list[tuple[str, WorkerState | None]]:
        """Host and state of each member of the group; None for one that has said nothing, as one of an older version does."""
        return await asyncio.to_thread(self.look_now)

    async def readiness(self, models: Models, *, goes_back: bool) -> tuple[Readiness, str]:
        """
        Wait until every member is ready for a plan, one has refused it, or `rollout.fetch_seconds` and the start of a model have passed.

        On the way back a member that has said nothing is waited for `FIRST_WORD_SECONDS` alone: it may be one that ends at each start, since it cannot
        load the model that is to go.
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
        return await asyncio.to_thread(self._begun, epochs)

    def _begun(self, epochs: Epochs) -> dict[Partition, int]:
        # The topic's end is asked for here, after the close was read back.
        self._read()
        return unbegun(epochs, self._reach.values(), self._commits())

    def look_now(self) -> list[tuple[str, WorkerState | None]]:
        """As `look`, in this thread."""
        members = _members(self._settings, self._client)
        self._read()
        return [(host, self._states.get(member)) for member, host in members]

    async def stale(self, newest: int) -> list[bytes]:
        """The keys of members that have spoken and whom the group, asked afterwards, does not have; and those of reaches in epochs before this one."""
        return await asyncio.to_thread(self._stale, newest)

    def _stale(self, newest: int) -> list[bytes]:
        self._read()
        # One that joins just now may speak before the group lists it.
        before = timestamp(int((time.time() - JOINING_SECONDS) * 1000))
        spoken = {member for member, state in self._states.items() if state.at < before}
        gone = spoken - {member for member, _ in _members(self._settings, self._client)}
        return sorted(
            [*(member.encode() for member in gone), *(key for key, said in self._reach.items() if said.epoch < newest)]
        )

    def _commits(self) -> dict[tuple[str, int], int]:
        """The group's offsets by topic and partition."""
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

    async def require_group(self) -> None:
        """As `require_group`."""
        await asyncio.to_thread(require_group, self._settings, self._client)

    def _read(self) -> None:
        """The words that are new."""
        ends = self._log.ends()
        for record in self._log.read(dict.fromkeys(ends, 0) | self._next, ends):
            if record.value is None:
                self._states.pop((record.key or b"").decode(errors="replace"), None)
                self._reach.pop(record.key or b"", None)
                continue
            if (reach := read_worker_reach(record)) is not None:
                self._reach[reach.key] = reach
            state = read_worker_state(record)
            # A worker speaks for itself alone.
            if state is not None and record.key == state.member.encode():
                self._states[state.member] = state
        self._next = ends


def _ready_but_for_the_mute(workers: Sequence[tuple[str, WorkerState | None]], models: Models) -> bool:
    """Whether every member that has said something is ready for a plan."""
    spoken = [(host, state) for host, state in workers if state is not None]
    return readiness_of(spoken, models)[0] is Readiness.READY


async def to_its_end(work: Coroutine[Any, Any, Epochs]) -> Epochs:
    """Run a span that must not be parted: a cancellation is raised after its end. The span's own bounds hold."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: BLE001 - raised below, from the task
            break
    found = task.result()
    if cancelled is not None:
        raise cancelled
    return found


def require_group(settings: Settings, client: KafkaAdminClient) -> None:
    """
    Do the brokers know the group, by a member, or by a commit on a topic of events? Workers that are starting have `JOIN_SECONDS` to join.

    Raises:
        NoGroupError: They do not.
        BrokerUnreachableError: No broker answered, or this user may not know.
    """
    name = settings.group
    until = time.monotonic() + JOIN_SECONDS
    while True:
        if _members(settings, client):
            return
        # Brokers leave out the commits on a topic that this user may not see; this raises then.
        ContentOnKafka(settings, client).partitions_now()
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
    """Id and host of each member that the brokers know."""
    until = time.monotonic() + settings.startup_timeout_seconds
    while True:
        with translated(settings):
            try:
                described = client.describe_groups([settings.group])[settings.group]
                error = str(described.get("error") or "")
                # Some refusals are raised, and others stand in the answer.
                if not any(kind.__name__ in error for kind in COORDINATOR_LATER) or time.monotonic() > until:
                    break
            except COORDINATOR_LATER:
                # A cluster makes its offsets topic for its first group, and a coordinator moves with its broker.
                if time.monotonic() > until:
                    raise
        time.sleep(ASK_SECONDS)
    if error and GroupIdNotFoundError.__name__ not in error:
        # Nobody is known to be in the group, which is not the same as an empty one.
        kind = GroupAuthorizationFailedError if GroupAuthorizationFailedError.__name__ in error else KafkaError
        raise unreachable(settings, kind(error))
    return [(member["member_id"], member["client_host"].removeprefix("/")) for member in described["members"]]


def workers_of(settings: Settings) -> list[tuple[str, WorkerState | None]]:
    """
    Host and last word of each member of the group; None for one that has said nothing.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    with admin(settings) as client, log_of(settings, settings.rollout.workers_topic) as states:
        return WorkersOnKafka(settings, client, states).look_now()


def readiness_of(workers: Sequence[tuple[str, WorkerState | None]], models: Models) -> tuple[Readiness, str]:
    """
    What the members of a group say of a plan.

    Args:
        workers: Host and state of each member; None for one that has said nothing.
        models: The plan.

    Returns:
        READY if all are, or if there is none; REFUSED, and why; SILENT, and who has not spoken of it.
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
    The hosts that say the same, and the words once, those that most say first; figures may differ, as free memory does.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """
    A controller on the brokers, and what it asks.

    Attributes:
        controller: Begins, changes and ends epochs.
        workers: The group.
        reader: The topic.
        writer: The controller's own.
    """

    controller: Controller
    workers: WorkersOnKafka
    reader: RolloutReader
    writer: RolloutWriter

    async def begin(self) -> Epochs:
        """
        As `Controller.begin`; then words that mean nothing any more are removed: each process has another name in the group.

        Raises:
            FencedError: Another controller has begun.
            BrokerUnreachableError: No broker answered.
        """
        epochs = await self.controller.begin()
        if stale := await self.workers.stale(epochs.newest):
            await self.writer.forget(stale)
        return epochs


@contextlib.asynccontextmanager
async def controlling(settings: Settings, *, by: str) -> AsyncIterator[Control]:
    """
    A controller, which has not begun yet; its two topics are made if they are not there.

    Args:
        settings: Brokers, topics, group and bounds.
        by: Its name in the records.

    Raises:
        BrokerUnreachableError: No broker answered.
        NotAuthorizedError: This user lacks a right; the message names it.
        TopicsRefusedError: The brokers did not make the topics.
        NoGroupError: There is neither a topic of a rollout nor such a group.
        LeftClosingError: One of the first two, between the close of an epoch and its marks.
    """
    one: Controller | None = None
    try:
        await asyncio.to_thread(_make_topics, settings)
        async with rollout_reader(settings) as reader:
            writer = RolloutWriter(settings, reader)
            with admin(settings) as client, log_of(settings, settings.rollout.workers_topic) as states:
                workers = WorkersOnKafka(settings, client, states, epochs=lambda: reader.epochs)
                content = ContentOnKafka(settings, client)
                one = Controller(
                    writer, content, workers, by=by, clock=lambda: timestamp(int(time.time() * 1000)), whole=to_its_end
                )
                try:
                    yield Control(controller=one, workers=workers, reader=reader, writer=writer)
                finally:
                    await writer.stop()
    except BrokerUnreachableError as error:
        why = await asyncio.to_thread(_explained, settings, error)
        if one is not None and one.closing is not None:
            raise LeftClosingError(one.closing, is_read=reader.epochs.closing == one.closing, error=why) from error
        raise why from error.__cause__


async def epochs_now(settings: Settings) -> Epochs:
    """
    The records of the topic `rollout`, folded; none where there is no topic.

    Raises:
        BrokerUnreachableError: No broker answered.
        NotAuthorizedError: This user lacks a right of a controller; the message names it.
    """
    try:
        if await asyncio.to_thread(rollout_topic, settings) is None:
            return Epochs()
        async with rollout_reader(settings) as reader:
            return await reader.read_to(await reader.end())
    except BrokerUnreachableError as error:
        raise await asyncio.to_thread(_explained, settings, error) from error.__cause__


def _explained(settings: Settings, error: BrokerUnreachableError) -> Exception:
    """The same error, or the right that this user lacks, where a broker has refused it for that."""
    resource = REFUSALS.get(getattr(error.__cause__, "errno", None) or 0)
    if resource is None:
        return error
    needed = [right for right in rights(settings, Role.CONTROLLER) if right.resource is resource]
    allowed: dict[str, frozenset[str] | None] = {}
    if resource is Resource.TOPIC:
        # A client says on which topic, and not what it wanted there.
        with contextlib.suppress(BrokerUnreachableError):
            allowed = {name: found.operations for name, found in describe(settings, [right.name for right in needed]).items()}
    denied = [missing(settings, right, allowed.get(right.name) if resource is Resource.TOPIC else ()) for right in needed]
    return _denied(
        settings, next((one for one in denied if one is not None), f"{error.__cause__}. Next: see the brokers' log.")
    )


def _denied(settings: Settings, lacking: str) -> NotAuthorizedError:
    user = settings.security.username or "USER"
    return NotAuthorizedError(f"{lacking} All rights of a controller: `tagstream doctor --acls {user} --role controller`.")


def _make_topics(settings: Settings) -> None:
    """The two topics of a rollout, where they are not there."""
    wanted = {settings.rollout.topic: OPTIONS_OF_RECORDS | BROKERS_TIME, settings.rollout.workers_topic: OPTIONS_OF_WORKERS}
    with admin(settings) as client:
        described = client.describe_topics(list(wanted))
        for topic in described:
            if topic["error_code"] == TopicAuthorizationFailedError.errno:
                right = next(right for right in rights(settings, Role.CONTROLLER) if right.name == topic["name"])
                raise _denied(settings, str(missing(settings, right, ())))
        absent = [topic["name"] for topic in described if topic["error_code"]]
        if settings.rollout.topic in absent:
            require_never_begun(settings, client)
            require_group(settings, client)
        for name in absent:
            make_topic(settings, client, name, wanted[name])
