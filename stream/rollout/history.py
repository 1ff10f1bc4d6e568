"""The history of a rollout: which model decided at a moment, and from which event on."""

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tagstream.monitoring.vocabulary import few
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import milliseconds
from tagstream.stream.contract.rollout_records import Marks, Partition, RolloutRecord, Start
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.errors import NoRolloutError, RolloutError
from tagstream.stream.rollout.presence import rollout_topic
from tagstream.stream.rollout.topic import rollout_reader
from tagstream.stream.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    A record of the topic.

    Attributes:
        record: The record.
        offset: The record's offset.
        counts: True if the record counts (`Epochs.take`).
        written_ms: When the record was written, Unix milliseconds (`RolloutReader.written_ms`).
    """

    record: RolloutRecord
    offset: int
    counts: bool
    written_ms: int

    @property
    def ahead_seconds(self) -> float:
        """How far the writer's clock was ahead of the brokers', negative if behind; about 0 in a topic with the writers' times."""
        return (milliseconds(self.record.at) - self.written_ms) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstEvent:
    """
    The first event of a partition from a moment on.

    Attributes:
        partition: The partition.
        is_there: True if the partition exists and its topic still has the id in the records.
        offset: The offset of the first event that was written at the moment or later; None if there is no such event.
        written_ms: When that event was written, by its producer's clock, Unix milliseconds; None without an event.
        models: The models of that event's epoch; None without an event.
    """

    partition: Partition
    is_there: bool = True
    offset: int | None = None
    written_ms: int | None = None
    models: Models | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedAt:
    """
    The models that decided at a moment.

    Attributes:
        moment_ms: The moment, Unix milliseconds.
        began: The record that began the epoch of that moment.
        models: The models of that epoch.
        events: The first event of each partition since the moment.
    """

    moment_ms: int
    began: Entry
    models: Models
    events: Sequence[FirstEvent]


def require_rollout(settings: Settings) -> dict[str, str]:
    """
    Return the ids of the topic `rollout` and of the content topics, by name.

    Raises:
        NoRolloutError: There is no topic `rollout`.
        RolloutRecordError: The topic `rollout` is gone (`rollout_topic`).
        BrokerUnreachableError: No broker answered.
    """
    found = rollout_topic(settings)
    if found is None:
        msg = (
            f"there is no topic {settings.rollout.topic}: the workers decide by the bundle of their settings. "
            "Next: `tagstream rollout promote BUNDLE` makes it."
        )
        raise NoRolloutError(msg)
    return found


def require_group(settings: Settings, epochs: Epochs) -> None:
    """
    Require that the rollout belongs to the group of the settings.

    Raises:
        RolloutError: The rollout belongs to another group.
    """
    if epochs.started and epochs.group != settings.group:
        msg = (
            f"the topic {settings.rollout.topic} belongs to the group {epochs.group!r}, and the settings name {settings.group!r}. "
            "Next: set TAGSTREAM_GROUP, or give each group a topic of its own by TAGSTREAM_ROLLOUT__TOPIC."
        )
        raise RolloutError(msg)


def require_begun(epochs: Epochs) -> None:
    """
    Require that the topic has the first record of a rollout.

    Raises:
        NoRolloutError: No rollout has begun.
    """
    if not epochs.started:
        msg = "no rollout has begun, so the topic does not say which model decided."
        raise NoRolloutError(msg)


async def history(settings: Settings) -> tuple[list[Entry], Epochs]:
    """
    Return all records of the topic, and their epochs.

    Raises:
        NoRolloutError: There is no topic `rollout`.
    """
    await asyncio.to_thread(require_rollout, settings)
    found: list[tuple[RolloutRecord, int, bool]] = []
    async with rollout_reader(settings, lambda *taken: found.append(taken)) as reader:
        epochs = await reader.read_to(await reader.end())
        return [
            Entry(record=record, offset=offset, counts=counts, written_ms=reader.written_ms(offset))
            for record, offset, counts in found
        ], epochs


def decided_at(
    settings: Settings, entries: Sequence[Entry], epochs: Epochs, moment_ms: int, partition: int | None = None
) -> DecidedAt:
    """
    Return the models that decided at a moment, and the first events since the moment.

    Args:
        settings: Brokers and topics.
        entries: All records of the topic, in their order.
        epochs: The epochs of these records.
        moment_ms: The moment, Unix milliseconds.
        partition: Only the first event of this partition; None for all partitions.

    Raises:
        NoRolloutError: No rollout has begun, or the moment lies before its first record.
        RolloutError: The moment has not come yet, or the topic has no such partition, or no record lists it.
    """
    require_begun(epochs)
    began = begun_at(entries, moment_ms)
    events = first_events(settings, epochs, moment_ms, partition)
    return DecidedAt(moment_ms=moment_ms, began=began, models=epochs.models(began.record.epoch), events=events)


def moment_of(text: str) -> int:
    """
    Parse a time, and return it in Unix milliseconds. A time without a zone is UTC.

    Raises:
        RolloutError: The text is not a time.
    """
    try:
        moment_ms = milliseconds_of(dt.datetime.fromisoformat(text))
        # Also a time that is outside the calendar in UTC is refused here.
        timestamp(moment_ms)
    except (ValueError, OverflowError) as error:
        msg = f"{text!r} is no time. Next: write it as 2026-01-31T12:00Z."
        raise RolloutError(msg) from error
    return moment_ms


def milliseconds_of(moment: dt.datetime) -> int:
    """Return a time in Unix milliseconds. A time without a zone is UTC, and not local, so that it is the same on every machine."""
    known = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
    return int(known.timestamp() * 1000)


def begun_at(entries: Sequence[Entry], moment_ms: int) -> Entry:
    """
    Return the record (start or marks) that began the newest epoch of a moment.

    A record holds from the latest time among the records up to it. So a later record with an earlier clock does not change the answer
    for times before the other records.

    Args:
        entries: All records of the topic, in their order.
        moment_ms: The moment, Unix milliseconds.

    Raises:
        NoRolloutError: The moment lies before the first record.
        RolloutError: The moment has not come yet.
    """
    counted = [entry for entry in entries if entry.counts]
    began: Entry | None = None
    for entry in counted:
        if entry.written_ms > moment_ms:
            break
        # Later marks of the same epoch only list new partitions.
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


def beginning_of(entries: Sequence[Entry], epochs: Epochs, epoch: int) -> Entry:
    """
    Return the record (start or marks) that began an epoch.

    Args:
        entries: All records of the topic, in their order.
        epochs: The epochs of these records.
        epoch: The number of the epoch.

    Raises:
        RolloutError: The epoch has not begun.
    """
    begun = [models.epoch for models in epochs.begun()]
    if epoch not in begun:
        msg = f"no epoch {epoch} has begun, and {few([*map(str, begun)])} {'has' if len(begun) == 1 else 'have'}. Next: `tagstream rollout log` shows each."
        raise RolloutError(msg)
    return next(
        entry for entry in entries if entry.counts and isinstance(entry.record, Start | Marks) and entry.record.epoch == epoch
    )


def first_events(settings: Settings, epochs: Epochs, moment_ms: int, partition: int | None = None) -> list[FirstEvent]:
    """
    Return the first event of each listed partition since a moment, by the times of the events, with the models that decide it.

    Args:
        settings: Brokers and topics.
        epochs: The epochs of the topic.
        moment_ms: The moment, Unix milliseconds.
        partition: Only this partition; None for all partitions.

    Raises:
        RolloutError: The topic has no such partition, or no record lists it.
    """
    ids = require_rollout(settings)
    events: dict[tuple[str, int], tuple[int, int] | None] = {}
    for topic in settings.content_topics:
        with log_of(settings, topic) as log:
            events |= {(topic, number): event for number, event in log.first_since(moment_ms).items()}
    listed = {place for place in epochs.partitions if partition in {None, place.partition}}
    there = {place for place in listed if ids.get(place.topic) == place.topic_id and (place.topic, place.partition) in events}
    topics = " and ".join(settings.content_topics)
    if partition is not None and partition not in {number for _, number in events}:
        most = 1 + max(number for _, number in events)
        msg = f"{topics} {'have' if settings.contents else 'has'} no partition {partition}; there are {most}, from 0 on."
        raise RolloutError(msg)
    if partition is not None and not there:
        msg = f"partition {partition} of {topics} is in no record, so its events are held. Next: `tagstream rollout finish` lists it."
        raise RolloutError(msg)

    def then(place: Partition) -> FirstEvent:
        if place not in there:
            # A topic that was made again under the same name has other events at these offsets.
            return FirstEvent(partition=place, is_there=False)
        event = events[place.topic, place.partition]
        if event is None:
            return FirstEvent(partition=place)
        offset, written_ms = event
        return FirstEvent(
            partition=place, offset=offset, written_ms=written_ms, models=epochs.models(epochs.epoch_of(place, offset))
        )

    return sorted(
        map(then, listed),
        key=lambda one: (not one.is_there, one.partition.topic, one.partition.topic_id, one.partition.partition),
    )
