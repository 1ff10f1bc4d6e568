"""Changes the model of a running stream by hand: begin an epoch, go back to the one before, and see where the group stands."""

import asyncio
import getpass
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.bundle import BundleError, read_manifest
from tagstream.model_export.bundle.depot import Depot
from tagstream.model_export.bundle.manifest import Manifest
from tagstream.model_export.measure.slices import TEXT_SLICES
from tagstream.model_export.verify import TRIAL_SECONDS, verify
from tagstream.monitoring.vocabulary import few
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import milliseconds
from tagstream.stream.contract.rollout import (
    BundleName,
    Challenger,
    Close,
    Guards,
    Mark,
    Marks,
    Partition,
    RolloutRecord,
    Start,
    WorkerState,
)
from tagstream.stream.contract.shadow import slice_name
from tagstream.stream.kafka.consumer_group import look
from tagstream.stream.kafka.errors import NotAuthorizedError
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.rollout.arm_size import ArmSize, arm_size
from tagstream.stream.rollout.control import (
    JOIN_SECONDS,
    Control,
    content_partitions,
    controlling,
    epochs_now,
    workers_of,
)
from tagstream.stream.rollout.controller import FencedError
from tagstream.stream.rollout.deciders import NotReadyError, depot_of, require_labels
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.left_closing import FINISH_SECONDS
from tagstream.stream.rollout.presence import rollout_topic
from tagstream.stream.rollout.topic import rollout_reader
from tagstream.stream.settings.settings import Settings

# A worker looks for the topic every 15 s, and then says what it has.
FIRST_WORD_SECONDS = 40.0
ASK_SECONDS = 0.5


class RolloutError(Exception):
    """The model cannot be changed as asked: the message says why, and the next step."""

    exit_code = 1


class NoRolloutError(RolloutError):
    """There is no topic `rollout`, or nothing in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """
    An epoch that has begun.

    Attributes:
        models: Its models.
        marks: Where it begins.
        closed_seconds: So long no event could begin anywhere.
        workers: How many were asked.
        by_another: A worker or a watch wrote the marks, since this command came late to them.
        ahead_seconds: So far this machine's clock is ahead of the brokers', negative behind it; 0 where their clock is not known.
    """

    models: Models
    marks: tuple[Mark, ...]
    closed_seconds: float
    workers: int
    by_another: bool = False
    ahead_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """
    The events that a challenger decides.

    Attributes:
        share: Of the units, above 0, to 1.
        unit: `key`: all events of a key; `id`: each event by itself. None: as the canary that goes on has it, or else `key`.
        sources: Of these sources alone; empty for all. None: as the canary that goes on has them, or else all.
    """

    share: float
    unit: str | None = None
    sources: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    Where a rollout stands.

    Attributes:
        epochs: The records of the topic, folded; not started where there is none.
        workers: Host and last word of each member of the group; None for one that has said nothing.
        closed_at: When the epoch that is closing was closed, by its controller's clock; None if none is closing.
        unlisted: The partitions of `content` that no record lists, so that their events are held; none before the start.
        waiting: The events that wait, by topic and partition, where events are held; None if this user may not know.
    """

    epochs: Epochs
    workers: Sequence[tuple[str, WorkerState | None]]
    closed_at: str | None = None
    unlisted: Sequence[Partition] = ()
    waiting: Mapping[tuple[str, int], int] | None = None

    @property
    def silent(self) -> list[str]:
        """The hosts of members that have said nothing, though a rollout has begun: they may decide by another model than the topic says."""
        return sorted(host for host, state in self.workers if state is None and self.epochs.started)

    @property
    def back(self) -> tuple[Models, str] | None:
        """Where `rollback` goes (`goes_back_to`), once an epoch that is closing has begun."""
        closing = () if self.epochs.closing is None or self.epochs.planned is None else (self.epochs.planned,)
        return goes_back_to((*self.epochs.begun(), *closing))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    A record of the topic.

    Attributes:
        record: It.
        offset: Its offset.
        counts: Whether it counts.
        written_ms: When it was written, Unix milliseconds (`RolloutReader.written_ms`).
    """

    record: RolloutRecord
    offset: int
    counts: bool
    written_ms: int

    @property
    def ahead_seconds(self) -> float:
        """So far the clock of whoever wrote it was ahead of the brokers', negative behind it; about 0 where the topic has no time of theirs."""
        return (milliseconds(self.record.at) - self.written_ms) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """
    The first event of a partition from a moment on.

    Attributes:
        partition: Which one.
        is_there: Its topic is still the one that the records list.
        offset: Of the first event that was written at that moment or later; None where there is none yet, or the topic is gone.
        written_ms: When that event was written, by its producer, Unix milliseconds.
        models: Of that event's epoch; None without an event.
    """

    partition: Partition
    is_there: bool = True
    offset: int | None = None
    written_ms: int | None = None
    models: Models | None = None


def store(settings: Settings, bundle: Path) -> BundleName:
    """
    Put a bundle into the place where workers find it.

    Raises:
        BundleError: It is no bundle that can be trusted, or it is not signed by a key of the settings.
        DepotError: The settings name no place, or it does not take the bundle.
    """
    found = depot_of(settings).write(bundle)
    return BundleName(digest=found.digest, name=found.manifest.name, version=found.manifest.version)


async def _tried(settings: Settings, bundle: Path) -> BundleName:
    """
    Verify a bundle as `model verify` does, in a process that is ended after `TRIAL_SECONDS`; then put it into its place.

    It has the labels of the group, and decides the golden texts of the group's bundle too. Nothing is planned before: what a worker would refuse at
    its start must not decide where no worker is there to refuse it.

    Raises:
        RolloutError: It has other labels.
        BundleError: It is no bundle that can be trusted, or it does not end to load.
        ParityError: A prediction of it depends on its batch.
        DepotError: The place of bundles does not take it.
    """
    depot = depot_of(settings)
    manifest, digest = await asyncio.to_thread(read_manifest, bundle)
    epochs = await epochs_now(settings)
    require_group(settings, epochs)
    before = await asyncio.to_thread(_of_the_group, settings, depot, epochs)
    try:
        require_labels(digest, manifest, before.labels, f"the group's {before.name} {before.version}")
    except NotReadyError as error:
        raise RolloutError(str(error)) from error
    over = threading.Event()
    try:
        await asyncio.to_thread(
            verify, bundle, seconds=TRIAL_SECONDS, texts=[one.text for one in before.golden], goes_on=lambda: not over.is_set()
        )
    finally:
        # The thread goes on where this task was cancelled.
        over.set()
    return await asyncio.to_thread(store, settings, bundle)


def _of_the_group(settings: Settings, depot: Depot, epochs: Epochs) -> Manifest:
    """The manifest of the oldest bundle of the group that can be had: all have the labels of the start, which workers hold theirs against."""
    if not epochs.started:
        return read_manifest(settings.bundle)[0]
    missing: BundleError | None = None
    for models in epochs.begun():
        try:
            return depot.manifest(models.champion.digest)
        except BundleError as error:
            missing = missing or error
    assert missing is not None
    raise missing


async def promote(
    settings: Settings, bundle: Path, *, asks_people: bool = False, without_workers: bool = False, why: str = ""
) -> Begun:
    """
    Let a bundle decide all events from a point in the log on.

    The first change writes the start of the rollout too: the bundle of the settings, which the workers must have, decided until then.

    Args:
        settings: Brokers, group, topics, and the place of bundles.
        bundle: Its folder.
        asks_people: Every event goes to a person, with the tag of this bundle as a suggestion, until the next epoch.
        without_workers: The group may have no worker now, so that none says whether it can load the bundle.
        why: For people, in the topic.

    Raises:
        RolloutError: The workers' bundle is not that of the settings, the new one decides already or has other labels, or the group has no worker.
        PlanGivenUpError: A worker refused, or did not answer in time; nothing has changed.
        BundleError: It is no bundle that can be trusted, or it does not end to load.
        ParityError: A prediction of it depends on its batch.
        DepotError: The place of bundles does not take it.
    """
    champion = await _tried(settings, bundle)
    async with controlling(settings, by=name_here()) as control:
        await require_workers(settings, control, without_workers=without_workers)
        now = await _begin(settings, control)
        return await begin_as(
            control, replace(now, champion=champion, challenger=None, asks_people=asks_people, guards=None), why
        )


async def canary(
    settings: Settings,
    bundle: Path,
    audience: Audience,
    *,
    guards: Guards | None = None,
    without_workers: bool = False,
    why: str = "",
    tell: Callable[[Challenger, ArmSize], None] = lambda *_: None,
) -> Begun:
    """
    Let a bundle decide a share of the events, beside the champion, from a point in the log on.

    Where the same bundle is the challenger already, a larger share of the same units keeps every unit that it has, and the evidence and its
    guards go on. Another challenger draws its units anew.

    Args:
        settings: Brokers, group, topics, and the place of bundles.
        bundle: Its folder.
        audience: The events that it decides.
        guards: By which it is judged (`tagstream rollout watch`), with the promise that the bundle has; None: the defaults, or those of the
            canary that goes on.
        without_workers: The group may have no worker now, so that none says whether it can load the bundle.
        why: For people, in the topic.
        tell: Called before anything is planned, with what will be, and how many of the newest events that would have been.

    Raises:
        RolloutError: The workers' bundle is not that of the settings, or nothing would change, or it has other labels, or is the champion, or it has guards already, or one
            of them is of a slice that there is not, or the group has no worker.
        PlanGivenUpError: A worker refused, or did not answer in time; nothing has changed.
        BundleError: It is no bundle that can be trusted, or it does not end to load.
        ParityError: A prediction of it depends on its batch.
        DepotError: The place of bundles does not take it.
    """
    if not 0 < audience.share <= 1:
        msg = f"a challenger decides a share above 0, to 1, and not {audience.share:g}. Next: give such a share; `tagstream rollout rollback` ends a canary."
        raise RolloutError(msg)
    name = await _tried(settings, bundle)
    async with controlling(settings, by=name_here()) as control:
        await require_workers(settings, control, without_workers=without_workers)
        now = await _begin(settings, control)
        if name.digest == now.champion.digest:
            msg = f"bundle {name.digest[:12]} ({name.name} {name.version}) is the champion, and cannot be its own challenger. Next: name another bundle."
            raise RolloutError(msg)
        before = now.challenger if now.challenger is not None and now.challenger.bundle == name else None
        challenger = Challenger(
            bundle=name,
            share=audience.share,
            unit=audience.unit or ("key" if before is None else before.unit),
            salt=secrets.token_hex(8),
            sources=audience.sources if audience.sources is not None else () if before is None else before.sources,
        )
        if before is not None:
            same = msgspec.structs.replace(before, share=challenger.share, salt=challenger.salt) == challenger
            if guards is not None or not same:
                msg = "the guards, unit and sources of a canary are fixed before its first answer. Next: give another --share alone; or `tagstream rollout rollback`, and begin again."
                raise RolloutError(msg)
            challenger, guards = msgspec.structs.replace(challenger, salt=before.salt), now.guards
        else:
            manifest, _ = await asyncio.to_thread(read_manifest, bundle)
            _require_slices(guards or Guards(), manifest.labels)
            promised = manifest.threshold
            guards = msgspec.structs.replace(
                guards or Guards(), promise=promised.target_precision if promised.certified else None
            )
        wanted = replace(now, challenger=challenger, guards=guards)
        _require_change(control.reader.epochs, wanted)
        tell(challenger, await asyncio.to_thread(arm_size, settings, challenger))
        return await begin_as(control, wanted, why)


def _require_slices(guards: Guards, labels: Sequence[str]) -> None:
    """A slice that no record names would never have an answer. Sources are the producers' names, so any may come."""
    known = {slice_name("label", label) for label in labels} | {slice_name(kind.group, kind.name) for kind in TEXT_SLICES}
    source = slice_name("source", "")
    for one in guards.slices:
        if one.name not in known and not (one.name.startswith(source) and one.name != source):
            msg = f"there is no slice {one.name!r}. Next: name one of {few(sorted(known), most=len(known))}; or '{source}NAME'."
            raise RolloutError(msg)


async def rollback(settings: Settings, *, why: str = "", tell: Callable[[Models, str], None] = lambda *_: None) -> Begun:
    """
    End what the present epoch has begun, from now on and as an epoch of its own.

    A challenger goes, and the champion decides all. Without one the champion that was there before decides again. Its first events are those that
    wait in the log and that no worker has begun. Workers that are not there, or that end at each start, do not keep it from deciding.

    Args:
        settings: Brokers, group, topics, and the place of bundles.
        why: For people, in the topic.
        tell: Called before anything is planned, with where it goes (`goes_back_to`).

    Raises:
        NoRolloutError: There is no rollout, or no epoch before.
        PlanGivenUpError: A worker refused, or one that works did not answer in time; nothing has changed.
        BundleError: The bundle is not in the place of bundles any more.
        DepotError: The settings name no such place, or it does not answer.
    """
    _require(settings, await asyncio.to_thread(rollout_topic, settings))
    async with controlling(settings, by=name_here()) as control:
        epochs = await control.begin()
        require_group(settings, epochs)
        found = goes_back_to(epochs.begun())
        if found is None:
            msg = "there is no model before the present one to go back to. Next: `tagstream rollout promote BUNDLE`."
            raise NoRolloutError(msg)
        models, words = found
        tell(models, words)
        if models.champion != epochs.models(epochs.newest).champion:
            # A model whose bundle is gone could be loaded by no worker.
            await asyncio.to_thread(depot_of(settings).manifest, models.champion.digest)
        return await begin_as(control, models, why or words, goes_back=True)


async def finish(settings: Settings) -> Epochs:
    """
    Finish what a controller has left, and change nothing else: mark an epoch that is closing, give up a plan, list new partitions.

    Returns:
        What the topic says then.

    Raises:
        NoRolloutError: There is no rollout.
    """
    _require(settings, await asyncio.to_thread(rollout_topic, settings))
    async with controlling(settings, by=name_here()) as control:
        epochs = await control.begin()
        require_group(settings, epochs)
        return epochs


def goes_back_to(begun: Sequence[Models]) -> tuple[Models, str] | None:
    """
    Where a rollback goes: the newest epoch without its challenger, or else the epoch before (`champion_before`).

    Args:
        begun: All epochs that have begun, in their order.

    Returns:
        The models that decide then, and the words on it; None where there is nothing to go back to.
    """
    if begun and begun[-1].challenger is not None:
        return replace(begun[-1], challenger=None, guards=None), "the challenger goes"
    before = champion_before(begun)
    return None if before is None else (before, f"back to that of epoch {before.epoch}")


def champion_before(begun: Sequence[Models]) -> Models | None:
    """
    The epoch whose champion decided all before the present one was promoted; None if there is none.

    Going back is an epoch too. So the epochs are a stack, and going back twice goes on to the one before, instead of forth again.

    Args:
        begun: All epochs that have begun, in their order.
    """
    stack: list[Models] = []
    for one in begun:
        # A challenger comes and goes beside the champion.
        if one.challenger is not None or (stack and stack[-1].decides_as(one)):
            continue
        if len(stack) > 1 and stack[-2].decides_as(one):
            stack.pop()
        else:
            stack.append(one)
    return stack[-2] if len(stack) > 1 else None


def require_group(settings: Settings, epochs: Epochs) -> None:
    """
    Is the rollout that of this group?

    Raises:
        RolloutError: It is another one's.
    """
    if epochs.started and epochs.group != settings.group:
        msg = (
            f"the topic {settings.rollout.topic} is that of the group {epochs.group!r}, and the settings name {settings.group!r}. "
            "Next: set TAGSTREAM_GROUP, or give each group a topic of its own by TAGSTREAM_ROLLOUT__TOPIC."
        )
        raise RolloutError(msg)


async def status(settings: Settings) -> Standing:
    """
    Where the rollout stands; asks and changes nothing.

    Raises:
        NoRolloutError: There is no topic `rollout`.
    """
    entries, epochs = await history(settings)
    closes = [entry.record for entry in entries if entry.counts and isinstance(entry.record, Close)]
    unlisted = await asyncio.to_thread(_unlisted, settings, epochs)
    closing = epochs.closing is not None
    return Standing(
        epochs=epochs,
        workers=await asyncio.to_thread(workers_of, settings),
        closed_at=closes[-1].at if closing else None,
        unlisted=unlisted,
        waiting=await asyncio.to_thread(
            _waiting, settings, None if closing else {(place.topic, place.partition) for place in unlisted}
        ),
    )


def _unlisted(settings: Settings, epochs: Epochs) -> list[Partition]:
    if not epochs.started:
        return []
    return sorted(content_partitions(settings) - epochs.partitions, key=lambda place: (place.topic, place.partition))


def _waiting(settings: Settings, held: Collection[tuple[str, int]] | None) -> dict[tuple[str, int], int] | None:
    """The events that wait in these partitions, in all for None; None if this user may not know."""
    if held is not None and not held:
        return {}
    try:
        standings = [look(one) for one in settings.each_content]
    except NotAuthorizedError:
        return None
    waiting = {(one.topic, place.partition): place.waiting for one in standings for place in one.places}
    return {place: count for place, count in waiting.items() if held is None or place in held}


async def history(settings: Settings) -> tuple[list[Entry], Epochs]:
    """
    Every record of the topic, and what they come to.

    Raises:
        NoRolloutError: There is no topic `rollout`.
    """
    _require(settings, await asyncio.to_thread(rollout_topic, settings))
    found: list[tuple[RolloutRecord, int, bool]] = []
    async with rollout_reader(settings, lambda *taken: found.append(taken)) as reader:
        epochs = await reader.read_to(await reader.end())
        return [
            Entry(record=record, offset=offset, counts=counts, written_ms=reader.written_ms(offset))
            for record, offset, counts in found
        ], epochs


def begun_at(entries: Sequence[Entry], moment_ms: int) -> Entry:
    """
    The record with which the epoch began that was the newest one at a moment: its marks, or the start.

    A record counts from the latest time of those up to it on. So one that is written later, by whichever clock, changes no answer about the time before the
    others.

    Args:
        entries: All records of the topic, in their order.
        moment_ms: Unix milliseconds.

    Raises:
        NoRolloutError: The moment lies before the first record.
        RolloutError: It has not come yet.
    """
    counted = [entry for entry in entries if entry.counts]
    began: Entry | None = None
    for entry in counted:
        if entry.written_ms > moment_ms:
            break
        # Later marks of the same epoch list partitions that are new.
        if isinstance(entry.record, Start | Marks) and (began is None or entry.record.epoch > began.record.epoch):
            began = entry
    if began is None:
        first = f"its first record is of {timestamp(counted[0].written_ms)}" if counted else "it has no record"
        msg = (
            f"what decided at {timestamp(moment_ms)} is not known from the topic: {first}. Next: each decision on `tagged` and `review` names its bundle by "
            "`model.digest`."
        )
        raise NoRolloutError(msg)
    now_ms = max(int(time.time() * 1000), counted[-1].written_ms)
    if moment_ms > now_ms:
        msg = f"{timestamp(moment_ms)} has not come yet: this machine's clock says {timestamp(now_ms)}. Next: give a time that is over."
        raise RolloutError(msg)
    return began


def first_events(settings: Settings, epochs: Epochs, moment_ms: int, partition: int | None = None) -> list[Then]:
    """
    The first event of each listed partition from a moment on, by the times of the events, and what decides it.

    Args:
        settings: Brokers and topics.
        epochs: The records of the topic.
        moment_ms: Unix milliseconds.
        partition: Of this one alone; None for all.

    Raises:
        RolloutError: The topic has no such partition, or no record lists it.
    """
    ids = rollout_topic(settings)
    _require(settings, ids)
    events: dict[tuple[str, int], tuple[int, int] | None] = {}
    for topic in settings.content_topics:
        with log_of(settings, topic) as log:
            events |= {(topic, number): event for number, event in log.first_since(moment_ms).items()}
    listed = {place for place in epochs.partitions if partition in {None, place.partition}}
    there = {
        place for place in listed if (ids or {}).get(place.topic) == place.topic_id and (place.topic, place.partition) in events
    }
    topics = " and ".join(settings.content_topics)
    if partition is not None and partition not in {number for _, number in events}:
        most = 1 + max(number for _, number in events)
        msg = f"{topics} {'have' if settings.contents else 'has'} no partition {partition}; there are {most}, from 0 on."
        raise RolloutError(msg)
    if partition is not None and not there:
        msg = f"partition {partition} of {topics} is in no record, so its events are held. Next: `tagstream rollout finish` lists it."
        raise RolloutError(msg)

    def then(place: Partition) -> Then:
        if place not in there:
            # Offsets of a topic that was made again under the same name are those of other events.
            return Then(partition=place, is_there=False)
        event = events[place.topic, place.partition]
        if event is None:
            return Then(partition=place)
        offset, written_ms = event
        return Then(partition=place, offset=offset, written_ms=written_ms, models=epochs.models(epochs.epoch_of(place, offset)))

    return sorted(
        map(then, listed),
        key=lambda one: (not one.is_there, one.partition.topic, one.partition.topic_id, one.partition.partition),
    )


def name_here() -> str:
    """The name under which this process writes: the user and the host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


async def _begin(settings: Settings, control: Control) -> Models:
    """Become the controller, and write the start where there is none: what decides now."""
    epochs = await control.begin()
    if not epochs.started:
        epochs = await control.controller.start(await _champion_of_the_start(settings, control), settings.group)
    require_group(settings, epochs)
    return epochs.models(epochs.newest)


async def begin_as(control: Control, wanted: Models, why: str, *, goes_back: bool = False) -> Begun:
    """
    Begin an epoch.

    Args:
        control: A controller that has begun.
        wanted: Its models; the number does not matter.
        why: For people.
        goes_back: Its champion has decided before.

    Raises:
        RolloutError: The newest epoch decides so already.
        PlanGivenUpError: A worker refused, or did not answer in time; nothing has changed.
    """
    epochs = control.reader.epochs
    _require_change(epochs, wanted)
    # Before the change: a question that fails after it would look like a change that failed.
    asked = len(await control.workers.look())
    seen: list[tuple[RolloutRecord, float]] = []
    control.reader.follow(lambda record, _, __: seen.append((record, time.monotonic())))
    epoch = epochs.next_epoch
    by_another = False
    try:
        await control.controller.change(
            wanted.champion,
            wanted.challenger,
            asks_people=wanted.asks_people,
            guards=wanted.guards,
            goes_back=goes_back,
            why=why,
        )
    except asyncio.CancelledError:
        # A signal that comes after the close changes nothing: the epoch has begun, and this says so.
        if control.reader.epochs.newest != epoch:
            raise
    except FencedError:
        if control.controller.closing != epoch or not await _is_begun(control, epoch):
            raise
        by_another = True
    # The worker that finishes an epoch lists new partitions after its marks.
    at = next(at for at, (record, _) in enumerate(seen) if isinstance(record, Marks) and record.epoch == epoch)
    (marks, marked), (_, closed) = seen[at], seen[at - 1]
    assert isinstance(marks, Marks)
    return Begun(
        models=epochs.models(epoch),
        marks=marks.marks,
        closed_seconds=marked - closed,
        workers=asked,
        by_another=by_another,
        ahead_seconds=control.writer.ahead_seconds,
    )


async def _is_begun(control: Control, epoch: int) -> bool:
    """Whether another controller begins an epoch that this one has closed; it fenced this one, and reads and writes meanwhile."""
    until = time.monotonic() + 2 * FINISH_SECONDS
    while control.reader.epochs.newest != epoch and time.monotonic() < until:
        await control.reader.wait_for_more()
    return control.reader.epochs.newest == epoch


async def require_workers(settings: Settings, control: Control, *, without_workers: bool = False) -> None:
    """
    Has the group a worker that says whether it can load a bundle? Workers that are starting have `JOIN_SECONDS` to join.

    Raises:
        RolloutError: It has none, and that was not asked for.
    """
    if without_workers:
        return
    until = time.monotonic() + JOIN_SECONDS
    while not await control.workers.look():
        if time.monotonic() > until:
            msg = (
                f"the group {settings.group} has no worker now, so none says whether it can load the bundle, and nothing has changed. "
                "Next: start the workers, then try again; --without-workers changes the model all the same."
            )
            raise RolloutError(msg)
        await asyncio.sleep(ASK_SECONDS)


def _require_change(epochs: Epochs, wanted: Models) -> None:
    """Would another epoch decide otherwise than the newest one?"""
    if epochs.models(epochs.newest).decides_as(wanted):
        champion = wanted.champion
        msg = f"bundle {champion.digest[:12]} ({champion.name} {champion.version}) decides so already, in epoch {epochs.newest}; nothing was to be done."
        raise RolloutError(msg)


async def _champion_of_the_start(settings: Settings, control: Control) -> BundleName:
    """The bundle of the settings, if it is what the workers decide by."""
    # An administrator may have made the topic.
    await control.workers.require_group()
    manifest, digest = await asyncio.to_thread(read_manifest, settings.bundle)
    until = time.monotonic() + FIRST_WORD_SECONDS
    while True:
        workers = await control.workers.look()
        silent = [host for host, state in workers if state is None]
        if not silent or time.monotonic() > until:
            break
        await asyncio.sleep(ASK_SECONDS)
    if silent:
        msg = (
            f"{len(silent)} of {len(workers)} workers of the group {settings.group} do not follow the topic {settings.rollout.topic} "
            f"({', '.join(sorted(set(silent)))}): they are of an older version, or decide by rules. Next: run this version on all of them, then try again."
        )
        raise RolloutError(msg)
    others = sorted({state.digest for _, state in workers if state is not None} - {digest})
    if others:
        msg = (
            f"the workers decide by bundle {others[0][:12]}, and the setting `bundle` names {digest[:12]} ({settings.bundle}). "
            "Next: set TAGSTREAM_BUNDLE for this command to the workers' bundle."
        )
        raise RolloutError(msg)
    # Workers that restart under a later setting read the events of the start again with it.
    await asyncio.to_thread(depot_of(settings).write, settings.bundle)
    return BundleName(digest=digest, name=manifest.name, version=manifest.version)


def _require(settings: Settings, found: dict[str, str] | None) -> None:
    if found is None:
        msg = (
            f"there is no topic {settings.rollout.topic}: the workers decide by the bundle of their settings. "
            "Next: `tagstream rollout promote BUNDLE` makes it."
        )
        raise NoRolloutError(msg)
